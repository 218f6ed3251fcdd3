/* What a run would execute: all nodes from which something flows to the given ones, and
 * all functions that they call.
 *
 * Two things are learned. How many numbers the variables hold, which is the model's size.
 * And whether an operation among them does what a model must not do in the user's
 * process: run Python, read or write files of its own choosing, talk to other computers,
 * print, end the process. What is not reached is not run by TensorFlow either, so the
 * saver in a graph does no harm.
 *
 * Work is bounded: a node and a function is visited once.
 */
#include <stdlib.h>
#include <string.h>

#include "opening.h"

/* AttrValue, and what it may hold */
enum {
  ATTR_LIST = 1,
  ATTR_TYPE = 6,
  ATTR_SHAPE = 7,
  ATTR_TENSOR = 8,
  ATTR_FUNCTION = 10
};
enum { LIST_FUNCTION = 9, FUNCTION_NAME = 1, FUNCTION_ATTRIBUTE = 2 };
enum { TENSOR_DTYPE = 1, TENSOR_SHAPE = 2 };
enum { NODE_ATTRIBUTE = 5, MAX_DEPTH = 16 };

/* --- operations that are refused ----------------------------------------------------- */

static const char runs_python[] = "runs Python code of the program that saved the model";
static const char reads_files[] = "reads files that the model chooses";
static const char writes_files[] = "writes files that the model chooses";
static const char uses_network[] = "talks to other computers";
static const char prints[] = "prints, or writes a log";
static const char calls_out[] = "calls compiled code that is not in the model";
static const char ends[] = "ends the process";

/* Sorted by name. One that ends in '*' stands for all that begin like it. */
static const struct refused {
  const char *op, *why;
  int allowed; /* for which purpose it is all right; -1: none */
} refused[] = {
    {"Abort", ends, -1},
    {"BigQueryReader", uses_network, -1},
    {"BigtableClient", uses_network, -1},
    {"CSVDataset*", reads_files, -1},
    {"CacheDataset*", writes_files, -1},
    {"CalibrationStatisticsSaver", writes_files, -1},
    {"Collective*", uses_network, -1},
    {"CreateSummary*", writes_files, -1},
    {"DTensorRestoreV2", reads_files, -1},
    {"DataService*", uses_network, -1},
    {"DatasetToTFRecord", writes_files, -1},
    {"DebugIdentity*", writes_files, -1},
    {"DebugNanCount", writes_files, -1},
    {"DebugNumericSummary*", writes_files, -1},
    {"DecodeProtoV2", reads_files, -1},
    {"DistributedSave", writes_files, -1},
    {"DumpTensor", writes_files, -1},
    {"EagerPyFunc", runs_python, -1},
    {"EncodeProto", reads_files, -1},
    {"ExperimentalCSVDataset", reads_files, -1},
    {"ExperimentalDatasetToTFRecord", writes_files, -1},
    {"ExperimentalLMDBDataset", reads_files, -1},
    {"ExperimentalMatchingFiles*", reads_files, -1},
    {"ExperimentalSqlDataset", reads_files, -1},
    {"FileSystemSetConfiguration", reads_files, -1},
    {"FixedLengthRecord*", reads_files, -1},
    {"FixedUnigramCandidateSampler", reads_files, -1},
    {"GcsConfigure*", uses_network, -1},
    {"GenerateVocabRemapping", reads_files, -1},
    {"ImmutableConst", reads_files, -1},
    {"InitializeTRTResource", reads_files, -1},
    {"InitializeTableFromTextFile*", reads_files, VONK_TF_FOR_INIT},
    {"LMDBDataset", reads_files, -1},
    {"LMDBReader", reads_files, -1},
    {"ListSnapshotChunksDataset", reads_files, -1},
    {"LoadAndRemapMatrix", reads_files, -1},
    {"LoadDataset*", reads_files, -1},
    {"MatchingFiles*", reads_files, -1},
    {"MergeV2Checkpoints", writes_files, -1},
    {"Print", prints, -1},
    {"PrintV2", prints, -1},
    {"PyFunc", runs_python, -1},
    {"PyFuncStateless", runs_python, -1},
    {"ReadFile", reads_files, -1},
    {"ReaderRead*", reads_files, -1},
    {"RecordInput", reads_files, -1},
    {"RegisterDataset*", uses_network, -1},
    {"RemoteCall", uses_network, -1},
    {"Restore", reads_files, VONK_TF_FOR_RESTORE},
    {"RestoreSlice", reads_files, VONK_TF_FOR_RESTORE},
    {"RestoreV2", reads_files, VONK_TF_FOR_RESTORE},
    {"RpcCall", uses_network, -1},
    {"RpcClient", uses_network, -1},
    {"RpcServer*", uses_network, -1},
    {"SSTableReader*", reads_files, -1},
    {"Save", writes_files, -1},
    {"SaveDataset*", writes_files, -1},
    {"SaveSlices", writes_files, -1},
    {"SaveV2", writes_files, -1},
    {"Skipgram", reads_files, -1},
    {"Snapshot*", writes_files, -1},
    {"SqlDataset", reads_files, -1},
    {"TFRecordDataset*", reads_files, -1},
    {"TFRecordReader*", reads_files, -1},
    {"TextLineDataset", reads_files, -1},
    {"TextLineReader*", reads_files, -1},
    {"WholeFileReader*", reads_files, -1},
    {"WriteAudioSummary", writes_files, -1},
    {"WriteFile", writes_files, -1},
    {"WriteGraphSummary", writes_files, -1},
    {"WriteHistogramSummary", writes_files, -1},
    {"WriteImageSummary", writes_files, -1},
    {"WriteRawProtoSummary", writes_files, -1},
    {"WriteScalarSummary", writes_files, -1},
    {"WriteSummary", writes_files, -1},
    {"XlaCustomCall*", calls_out, -1},
    {"_Py*", runs_python, -1},
};

static bool is_op(kit_slice op, const char *pattern) {
  size_t n = strlen(pattern);
  return pattern[n - 1] == '*' ? op.size >= n - 1 && memcmp(op.data, pattern, n - 1) == 0
                               : op.size == n && memcmp(op.data, pattern, n) == 0;
}

/* Whether an operation may store a tensor beyond the run: it shares the memory. */
static bool does_keep(kit_slice op) {
  static const char *const keepers[] = {"Assign*",
                                        "ResourceScatter*",
                                        "Stack*",
                                        "QueueEnqueue*",
                                        "Barrier*",
                                        "Stage",
                                        "MapStage*",
                                        "OrderedMapStage*",
                                        "LookupTable*",
                                        "MutableHash*",
                                        "MutableDense*",
                                        "AccumulatorApply*",
                                        "ResourceAccumulator*",
                                        "TensorArrayWrite*",
                                        "Iterator*",
                                        "MakeIterator",
                                        "Session*",
                                        "GetSessionHandle*"};
  for (size_t i = 0; i < sizeof keepers / sizeof keepers[0]; ++i) {
    if (is_op(op, keepers[i]) && !is_op(op, "LookupTableFind*") &&
        !is_op(op, "LookupTableSize*")) {
      return true;
    }
  }
  return false;
}

static vonk_status check_op(const tf_opening *opening, const tf_node *node, int purpose,
                            vonk_error *err) {
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; ++i) {
    if (is_op(node->op, refused[i].op) && refused[i].allowed != purpose) {
      return vonk_kit_fail(
          err, VONK_UNSUPPORTED,
          "'%s': node '%.*s': its operation %.*s %s: vonk treats models as data and does "
          "not run it: export the model without it",
          opening->place.path, VONK_TF_SHOWN(node->name), VONK_TF_SHOWN(node->op),
          refused[i].why);
    }
  }
  return VONK_OK;
}

/* --- counting ------------------------------------------------------------------------ */

/* The last field of that number; false if there is none. */
static bool last_field(kit_slice message, uint32_t number, kit_field *out) {
  kit_field field;
  bool found = false;
  while (vonk_kit_wire_next(&message, &field) == 1) {
    if (field.number == number) {
      *out = field;
      found = true;
    }
  }
  return found;
}

/* Adds what a tensor of that dtype and shape holds. */
static void add_numbers(uint64_t type, kit_slice shape_bytes, tf_count *count) {
  const tf_dtype *dtype = vonk_tf_dtype(type);
  tf_shape shape;
  if (dtype == NULL || !dtype->is_weight) {
    return;
  }
  int64_t n = 1, nbytes;
  bool is_known = vonk_tf_shape_read(shape_bytes, &shape) && shape.rank >= 0 &&
                  shape.rank <= VONK_MAX_RANK;
  for (int32_t i = 0; is_known && i < shape.rank; ++i) {
    is_known = shape.dims[i] >= 0 && !__builtin_mul_overflow(n, shape.dims[i], &n);
  }
  if (!is_known || __builtin_mul_overflow(n, (int64_t)(dtype->bits / 8), &nbytes) ||
      __builtin_add_overflow(count->n, n, &count->n) ||
      __builtin_add_overflow(count->nbytes, nbytes, &count->nbytes)) {
    count->is_unknown = true;
    count->n = count->nbytes = 0;
  }
}

static void count_node(const tf_node *node, tf_reach *reach) {
  kit_slice attribute;
  kit_field type, shape;
  if (vonk_kit_slice_equals(node->op, "VarHandleOp") ||
      vonk_kit_slice_equals(node->op, "VariableV2") ||
      vonk_kit_slice_equals(node->op, "Variable")) {
    ++reach->n_variables;
    bool is_told = vonk_tf_node_attribute(node, "dtype", &attribute) &&
                   last_field(attribute, ATTR_TYPE, &type) &&
                   vonk_tf_node_attribute(node, "shape", &attribute) &&
                   last_field(attribute, ATTR_SHAPE, &shape);
    if (is_told) {
      add_numbers(type.value, shape.bytes, &reach->variables);
    }
  } else if (vonk_kit_slice_equals(node->op, "Const")) {
    kit_field tensor;
    tf_shape dims;
    bool is_weight = vonk_tf_node_attribute(node, "value", &attribute) &&
                     last_field(attribute, ATTR_TENSOR, &tensor) &&
                     last_field(tensor.bytes, TENSOR_DTYPE, &type) &&
                     last_field(tensor.bytes, TENSOR_SHAPE, &shape) &&
                     vonk_tf_shape_read(shape.bytes, &dims) && dims.rank >= 1;
    if (is_weight) {
      add_numbers(type.value, shape.bytes, &reach->constants);
    }
  }
}

/* --- walking ------------------------------------------------------------------------- */

typedef struct walk {
  const tf_opening *opening;
  tf_reach *reach;
  int purpose;
  uint8_t *seen_functions;
  uint32_t *nodes, *functions; /* that are still to be visited */
  uint32_t n_nodes, n_functions;
  uint32_t n_named; /* how often an attribute named a function */
} walk;

static void push_function(walk *w, kit_slice name) {
  const tf_graph_file *graph = &w->opening->graph;
  const tf_function *function = vonk_tf_function_find(graph, name);
  if (function == NULL) {
    return;
  }
  uint32_t i = (uint32_t)(function - graph->functions);
  if (!w->seen_functions[i]) {
    w->seen_functions[i] = 1;
    w->functions[w->n_functions++] = i;
  }
}

static bool push_functions(walk *w, kit_slice value, int depth);

/* A NameAttrList: the function, and what its attributes name. */
static bool push_named(walk *w, kit_slice bytes, int depth) {
  kit_field field, value;
  while (vonk_kit_wire_next(&bytes, &field) == 1) {
    if (field.number == FUNCTION_NAME && field.wire == KIT_WIRE_BYTES) {
      w->n_named += vonk_tf_function_find(&w->opening->graph, field.bytes) != NULL;
      push_function(w, field.bytes);
    } else if (field.number == FUNCTION_ATTRIBUTE && last_field(field.bytes, 2, &value) &&
               !push_functions(w, value.bytes, depth + 1)) {
      return false;
    }
  }
  return true;
}

/* All functions that an AttrValue names; false if they are nested too deep. */
static bool push_functions(walk *w, kit_slice value, int depth) {
  kit_field field, inner;
  while (depth <= MAX_DEPTH && vonk_kit_wire_next(&value, &field) == 1) {
    kit_slice list = field.number == ATTR_LIST ? field.bytes : (kit_slice){0};
    if (field.number == ATTR_FUNCTION && !push_named(w, field.bytes, depth)) {
      return false;
    }
    while (vonk_kit_wire_next(&list, &inner) == 1) {
      if (inner.number == LIST_FUNCTION && !push_named(w, inner.bytes, depth)) {
        return false;
      }
    }
  }
  return depth <= MAX_DEPTH;
}

bool vonk_tf_called_function(const tf_node *node, kit_slice *out) {
  kit_slice attribute;
  kit_field function, name;
  bool is_call = vonk_kit_slice_equals(node->op, "PartitionedCall") ||
                 vonk_kit_slice_equals(node->op, "StatefulPartitionedCall");
  if (!is_call || !vonk_tf_node_attribute(node, "f", &attribute) ||
      !last_field(attribute, ATTR_FUNCTION, &function) ||
      !last_field(function.bytes, FUNCTION_NAME, &name)) {
    return false;
  }
  *out = name.bytes;
  return true;
}

static vonk_status visit(walk *w, const tf_node *node, vonk_error *err) {
  VONK_TRY(check_op(w->opening, node, w->purpose, err));
  count_node(node, w->reach);
  w->reach->n_file_readers +=
      is_op(node->op, "InitializeTableFromTextFile*") || is_op(node->op, "Restore*");
  w->reach->keeps_inputs |= does_keep(node->op);
  push_function(w, node->op);
  kit_slice called = {0}, rest = node->body;
  if (vonk_tf_called_function(node, &called)) {
    push_function(w, called);
  }
  uint32_t n_before = w->n_named;
  kit_field field, value;
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    if (field.number == NODE_ATTRIBUTE && last_field(field.bytes, 2, &value) &&
        !push_functions(w, value.bytes, 0)) {
      return vonk_kit_fail(err, VONK_MODEL, "'%s': node '%.*s': nests functions too deep",
                           w->opening->place.path, VONK_TF_SHOWN(node->name));
    }
  }
  uint32_t n_direct = called.size != 0 ? 1 : 0;
  w->reach->calls_indirectly |= w->n_named - n_before > n_direct;
  return VONK_OK;
}

kit_slice vonk_tf_input_node(kit_slice input) {
  if (input.size != 0 && input.data[0] == '^') {
    return (kit_slice){input.data + 1, input.size - 1};
  }
  for (size_t i = input.size; i > 0; --i) {
    if (input.data[i - 1] == ':') {
      return (kit_slice){input.data, i - 1};
    }
    if (input.data[i - 1] < '0' || input.data[i - 1] > '9') {
      break;
    }
  }
  return input;
}

static void push_node(walk *w, kit_slice name) {
  const tf_nodes *nodes = &w->opening->graph.nodes;
  const tf_node *node = vonk_tf_node_find(nodes, name);
  uint32_t i = node == NULL ? 0 : (uint32_t)(node - nodes->rows);
  if (node != NULL && !w->reach->seen[i]) {
    w->reach->seen[i] = 1;
    w->nodes[w->n_nodes++] = i;
  }
}

/* What is fed is not computed. */
static void mark_fed(walk *w) {
  const vonk_plugin_model *model = w->opening->model;
  const tf_nodes *nodes = &w->opening->graph.nodes;
  for (uint32_t i = 0; i < model->info.n_inputs; ++i) {
    const char *name = model->input_ports[i].node;
    const tf_node *node =
        vonk_tf_node_find(nodes, (kit_slice){(const uint8_t *)name, strlen(name)});
    if (node != NULL && vonk_kit_slice_equals(node->op, "Placeholder")) {
      w->reach->seen[node - nodes->rows] = 2;
    }
  }
}

static vonk_status go(walk *w, vonk_error *err) {
  const tf_graph_file *graph = &w->opening->graph;
  while (w->n_nodes > 0) {
    const tf_node *node = &graph->nodes.rows[w->nodes[--w->n_nodes]];
    VONK_TRY(visit(w, node, err));
    kit_slice rest = node->body, input;
    while (vonk_tf_node_input(&rest, &input)) {
      push_node(w, vonk_tf_input_node(input));
    }
  }
  while (w->n_functions > 0) {
    const tf_nodes *nodes = &graph->functions[w->functions[--w->n_functions]].nodes;
    for (uint32_t i = 0; i < nodes->n; ++i) {
      VONK_TRY(visit(w, &nodes->rows[i], err));
      w->reach->assigns_in_functions |= is_op(nodes->rows[i].op, "Assign*");
    }
  }
  return VONK_OK;
}

vonk_status vonk_tf_reach(tf_opening *opening, const kit_slice *roots, uint32_t n_roots,
                          int purpose, tf_reach *out, vonk_error *err) {
  const tf_graph_file *graph = &opening->graph;
  kit_arena *arena = opening->place.arena;
  walk w = {.opening = opening, .reach = out, .purpose = purpose};
  *out = (tf_reach){0};
  VONK_TRY(vonk_kit_new(arena, graph->nodes.n + 1, 1, &out->seen, err));
  VONK_TRY(vonk_kit_new(arena, graph->nodes.n + 1, sizeof *w.nodes, &w.nodes, err));
  VONK_TRY(vonk_kit_new(arena, graph->n_functions + 1, 1, &w.seen_functions, err));
  VONK_TRY(vonk_kit_new(arena, graph->n_functions + 1, sizeof *w.functions, &w.functions,
                        err));
  mark_fed(&w);
  for (uint32_t i = 0; i < n_roots; ++i) {
    push_node(&w, vonk_tf_input_node(roots[i]));
  }
  return go(&w, err);
}
