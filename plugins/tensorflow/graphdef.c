/* Graphs without signatures: frozen ones in .pb files, and those of most .meta files.
 *
 * Such a graph does not say what its inputs and outputs are. Inputs are the placeholders
 * that the outputs need, in the file's order. Outputs are what the user names; without
 * that, the nodes whose result nobody uses, as long as they are results: in a graph that
 * was saved for training those are losses and savers, so there the user has to choose.
 */
#include <stdio.h>
#include <string.h>

#include "opening.h"

vonk_status vonk_tf_graphdef_open(tf_opening *opening, vonk_error *err) {
  VONK_TRY(vonk_tf_folder_take(opening, false, err));
  VONK_TRY(vonk_kit_source_map(&opening->model->source, INT32_MAX, "a graph (.pb)",
                               &opening->file, err));
  opening->meta = (tf_meta_file){.graph = opening->file};
  VONK_TRY(
      vonk_tf_graph_read(&opening->place, opening->meta.graph, &opening->graph, err));
  opening->model->info.format = "graphdef";
  VONK_TRY(vonk_tf_graph_ports_take(opening, err));
  return vonk_tf_loading_take(opening, NULL, err);
}

/* --- which nodes are results ---------------------------------------------------------- */

static bool is_op(const tf_node *node, const char *op) {
  return vonk_kit_slice_equals(node->op, op);
}

static bool op_starts(const tf_node *node, const char *start) {
  size_t n = strlen(start);
  return node->op.size >= n && memcmp(node->op.data, start, n) == 0;
}

static bool op_ends(const tf_node *node, const char *end) {
  size_t n = strlen(end);
  return node->op.size >= n && memcmp(node->op.data + node->op.size - n, end, n) == 0;
}

/* Operations that change variables from gradients: only training has them. */
static bool is_training(const tf_node *node) {
  return op_starts(node, "Apply") || op_starts(node, "ResourceApply") ||
         op_starts(node, "ResourceSparseApply") || op_starts(node, "SparseApply");
}

/* Nodes that are there for something else than a result. */
static bool is_no_result(const tf_node *node) {
  static const char *const begins[] = {
      "Assign",       "Save",        "Restore",        "Merge",     "Scatter",
      "Queue",        "Reader",      "Variable",       "VarHandle", "VarIs",
      "ReadVariable", "Destroy",     "Initialize",     "Lookup",    "HashTable",
      "Sharded",      "Placeholder", "ResourceScatter"};
  static const char *const whole[] = {"NoOp",
                                      "Const",
                                      "Assert",
                                      "Print",
                                      "PrintV2",
                                      "ControlTrigger",
                                      "IsVariableInitialized"};
  bool found =
      is_training(node) || op_ends(node, "Summary") || op_ends(node, "SummaryV2");
  for (size_t i = 0; !found && i < sizeof begins / sizeof begins[0]; ++i) {
    /* LookupTableFind and the like give results */
    found = op_starts(node, begins[i]) && !op_starts(node, "LookupTableFind");
  }
  for (size_t i = 0; !found && i < sizeof whole / sizeof whole[0]; ++i) {
    found = is_op(node, whole[i]);
  }
  return found;
}

/* What the search for outputs knows of a node. */
enum { MARK_USED = 1, MARK_FROM_INPUT = 2, MAX_PASSES = 64, MAX_OUTPUTS = 16 };

/* Marks the nodes that something flows to from a placeholder. Files list a node after its
 * inputs as a rule, so two passes are enough. */
static void mark_from_inputs(const tf_nodes *nodes, uint8_t *marks) {
  bool changes = true;
  for (int pass = 0; changes && pass < MAX_PASSES; ++pass) {
    changes = false;
    for (uint32_t i = 0; i < nodes->n; ++i) {
      if ((marks[i] & MARK_FROM_INPUT) != 0) {
        continue;
      }
      kit_slice rest = nodes->rows[i].body, input;
      bool is_marked = is_op(&nodes->rows[i], "Placeholder");
      while (!is_marked && vonk_tf_node_input(&rest, &input)) {
        const tf_node *node = vonk_tf_node_find(nodes, vonk_tf_input_node(input));
        is_marked = node != NULL && (marks[node - nodes->rows] & MARK_FROM_INPUT) != 0;
      }
      if (is_marked) {
        marks[i] |= MARK_FROM_INPUT;
        changes = true;
      }
    }
  }
}

static vonk_status mark_nodes(tf_opening *opening, uint8_t **out, vonk_error *err) {
  const tf_nodes *nodes = &opening->graph.nodes;
  uint8_t *marks;
  VONK_TRY(vonk_kit_new(opening->place.arena, nodes->n + 1, 1, &marks, err));
  for (uint32_t i = 0; i < nodes->n; ++i) {
    kit_slice rest = nodes->rows[i].body, input;
    while (!is_no_result(&nodes->rows[i]) && vonk_tf_node_input(&rest, &input)) {
      const tf_node *node = vonk_tf_node_find(nodes, vonk_tf_input_node(input));
      if (node != NULL) {
        marks[node - nodes->rows] |= MARK_USED;
      }
    }
  }
  mark_from_inputs(nodes, marks);
  *out = marks;
  return VONK_OK;
}

/* A result of the inputs that no other result uses. */
static bool is_sink(const tf_node *node, uint8_t mark) {
  return mark == MARK_FROM_INPUT && !is_no_result(node);
}

static bool is_in_scope(const tf_node *node, const char *scope) {
  size_t n = strlen(scope);
  return node->name.size > n && memcmp(node->name.data, scope, n) == 0;
}

/* What networks end in. */
static bool is_head(const tf_node *node, uint8_t mark) {
  static const char *const heads[] = {"Softmax", "LogSoftmax", "Sigmoid", "ArgMax",
                                      "BiasAdd"};
  bool found = false;
  for (size_t i = 0; !found && i < sizeof heads / sizeof heads[0]; ++i) {
    found = is_op(node, heads[i]);
  }
  return found && (mark & MARK_FROM_INPUT) != 0;
}

static bool is_shown(const tf_node *node, uint8_t mark, bool heads) {
  return (heads ? is_head(node, mark)
                : is_sink(node, mark) && !is_head(node, mark) &&
                      !op_starts(node, "Shape")) &&
         !is_in_scope(node, "gradients/") && !is_in_scope(node, "save/");
}

static vonk_status fail_ambiguous(const tf_opening *opening, const uint8_t *marks,
                                  const char *why, vonk_error *err) {
  const tf_nodes *nodes = &opening->graph.nodes;
  char list[600] = "";
  size_t used = 0;
  const tf_node *first = NULL;
  for (int heads = 1; heads >= 0; --heads) {
    for (uint32_t i = nodes->n; i-- > 0 && used < 300;) {
      const tf_node *node = &nodes->rows[i];
      if (is_shown(node, marks[i], heads != 0)) {
        int n = snprintf(list + used, sizeof list - used, "%s%.*s", used == 0 ? "" : ", ",
                         node->name.size > 100 ? 100 : (int)node->name.size,
                         (const char *)node->name.data);
        used += n > 0 ? (size_t)n : 0;
        first = first == NULL ? node : first;
      }
    }
  }
  if (first == NULL) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "'%s': %s: name the nodes with the option outputs",
                         opening->place.path, why);
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "'%s': %s: name them with the option outputs, such as "
                       "outputs='%.*s': candidates are %s",
                       opening->place.path, why, VONK_TF_SHOWN(first->name), list);
}

/* --- ports ---------------------------------------------------------------------------- */

static vonk_status new_side(vonk_plugin_model *model, bool is_output, uint32_t n,
                            vonk_error *err) {
  vonk_io **ios = is_output ? &model->outputs : &model->inputs;
  tf_port **ports = is_output ? &model->output_ports : &model->input_ports;
  *(is_output ? &model->info.n_outputs : &model->info.n_inputs) = 0;
  VONK_TRY(vonk_kit_new(&model->arena, n + 1, sizeof **ios, ios, err));
  return vonk_kit_new(&model->arena, n + 1, sizeof **ports, ports, err);
}

/* Adds a tensor, "node" or "node:1", under the name that users know. */
static vonk_status add_port(tf_opening *opening, bool is_output, kit_slice tensor,
                            vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  uint32_t *n = is_output ? &model->info.n_outputs : &model->info.n_inputs;
  vonk_io *io = &(is_output ? model->outputs : model->inputs)[*n];
  tf_port *port = &(is_output ? model->output_ports : model->input_ports)[*n];
  VONK_TRY(vonk_tf_port_take(opening, tensor, port, err));
  const kit_slice node = {(const uint8_t *)port->node, strlen(port->node)};
  if (vonk_tf_node_find(&opening->graph.nodes, node) == NULL) {
    return vonk_kit_fail(
        err, VONK_INVALID, "'%s': has no node '%s', which the option %s names",
        opening->place.path, port->node, is_output ? "outputs" : "inputs");
  }
  *io = (vonk_io){.struct_size = (uint32_t)sizeof *io, .rank = -1};
  /* ":0" goes without saying */
  VONK_TRY(vonk_kit_new_text(&model->arena, (const char *)tensor.data,
                             port->index == 0 ? node.size : tensor.size, &io->name, err));
  ++*n;
  return VONK_OK;
}

static vonk_status take_named(tf_opening *opening, bool is_output, vonk_error *err) {
  const char *option = is_output ? "outputs" : "inputs";
  const kit_spec *specs;
  uint32_t n;
  VONK_TRY(vonk_kit_spec_parse(opening->place.arena, option,
                               is_output ? opening->outputs : opening->inputs, &specs, &n,
                               err));
  VONK_TRY(new_side(opening->model, is_output, n, err));
  for (uint32_t i = 0; i < n; ++i) {
    const kit_slice name = {(const uint8_t *)specs[i].name, strlen(specs[i].name)};
    VONK_TRY(add_port(opening, is_output, name, err));
  }
  return VONK_OK;
}

static vonk_status take_sinks(tf_opening *opening, vonk_error *err) {
  const tf_nodes *nodes = &opening->graph.nodes;
  uint8_t *marks;
  VONK_TRY(mark_nodes(opening, &marks, err));
  uint32_t n = 0;
  bool trains = false;
  for (uint32_t i = 0; i < nodes->n; ++i) {
    n += is_sink(&nodes->rows[i], marks[i]);
    trains |= is_training(&nodes->rows[i]);
  }
  if (trains || n == 0 || n > MAX_OUTPUTS) {
    return fail_ambiguous(opening, marks,
                          trains   ? "was saved for training, and does not say what its "
                                     "outputs are"
                          : n == 0 ? "has no node that looks like an output"
                                   : "has many nodes that may be outputs",
                          err);
  }
  VONK_TRY(new_side(opening->model, true, n, err));
  for (uint32_t i = 0; i < nodes->n; ++i) {
    if (is_sink(&nodes->rows[i], marks[i])) {
      VONK_TRY(add_port(opening, true, nodes->rows[i].name, err));
    }
  }
  return VONK_OK;
}

/* The placeholders that the outputs need. */
static vonk_status take_placeholders(tf_opening *opening, vonk_error *err) {
  const vonk_plugin_model *model = opening->model;
  const tf_nodes *nodes = &opening->graph.nodes;
  kit_slice *roots;
  tf_reach reach;
  VONK_TRY(vonk_kit_new(opening->place.arena, model->info.n_outputs + 1, sizeof *roots,
                        &roots, err));
  for (uint32_t i = 0; i < model->info.n_outputs; ++i) {
    const char *node = model->output_ports[i].node;
    roots[i] = (kit_slice){(const uint8_t *)node, strlen(node)};
  }
  VONK_TRY(
      vonk_tf_reach(opening, roots, model->info.n_outputs, VONK_TF_FOR_RUN, &reach, err));
  uint32_t n = 0;
  for (uint32_t i = 0; i < nodes->n; ++i) {
    n += reach.seen[i] != 0 && is_op(&nodes->rows[i], "Placeholder");
  }
  VONK_TRY(new_side(opening->model, false, n, err));
  for (uint32_t i = 0; i < nodes->n; ++i) {
    if (reach.seen[i] != 0 && is_op(&nodes->rows[i], "Placeholder")) {
      VONK_TRY(add_port(opening, false, nodes->rows[i].name, err));
    }
  }
  return VONK_OK;
}

vonk_status vonk_tf_graph_ports_take(tf_opening *opening, vonk_error *err) {
  if (opening->signature != NULL) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "'%s': signature='%.80s': the file has no signatures: name its "
                         "nodes with the options inputs and outputs",
                         opening->place.path, opening->signature);
  }
  if (opening->inputs != NULL) {
    VONK_TRY(take_named(opening, false, err));
  }
  VONK_TRY(opening->outputs != NULL ? take_named(opening, true, err)
                                    : take_sinks(opening, err));
  if (opening->inputs == NULL) {
    VONK_TRY(take_placeholders(opening, err));
  }
  return VONK_OK;
}

/* --- what TensorFlow knows of them ----------------------------------------------------- */

static vonk_status describe_port(tf_opening *opening, const char *kind, tf_output where,
                                 vonk_io *io, tf_port *port, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  const tf_api *api = &model->runtime->api;
  port->dtype = vonk_tf_dtype((uint64_t)api->OperationOutputType(where));
  if (port->dtype == NULL || port->dtype->dtype == 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': %s '%s': is a tensor of %s: vonk has none such: choose "
                         "another node",
                         model->path, kind, io->name,
                         port->dtype == NULL ? "unknown dtype" : port->dtype->name);
  }
  io->dtype = port->dtype->dtype;
  tf_status *status = api->NewStatus();
  int rank = api->GraphGetTensorNumDims(model->graph, where, status);
  int64_t *dims;
  vonk_status code = vonk_tf_check(model->runtime, status, err, "'%s': %s '%s'",
                                   model->path, kind, io->name);
  if (code == VONK_OK && rank > VONK_MAX_RANK) {
    code = vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': %s '%s': has %d dimensions: at most %d are possible",
                         model->path, kind, io->name, rank, VONK_MAX_RANK);
  }
  if (code == VONK_OK) {
    code = vonk_kit_new(&model->arena, VONK_MAX_RANK, sizeof *dims, &dims, err);
  }
  if (code == VONK_OK && rank > 0) {
    api->GraphGetTensorShape(model->graph, where, dims, rank, status);
    code = vonk_tf_check(model->runtime, status, err, "'%s': %s '%s'", model->path, kind,
                         io->name);
  }
  api->DeleteStatus(status);
  VONK_TRY(code);
  io->rank = rank;
  io->shape = dims;
  return VONK_OK;
}

vonk_status vonk_tf_graph_ports_describe(tf_opening *opening, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  for (uint32_t i = 0; i < model->info.n_inputs; ++i) {
    VONK_TRY(describe_port(opening, "input", model->feeds[i], &model->inputs[i],
                           &model->input_ports[i], err));
  }
  for (uint32_t i = 0; i < model->info.n_outputs; ++i) {
    VONK_TRY(describe_port(opening, "output", model->fetches[i], &model->outputs[i],
                           &model->output_ports[i], err));
  }
  return VONK_OK;
}
