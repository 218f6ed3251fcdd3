/* Where the names of the files come from that a model reads when it is loaded.
 *
 * A node that fills a table from a text file, or restores variables, takes the file's
 * name as a string. A model may read its own files only, so the name must be one that
 * vonk feeds: an asset's path, or the checkpoint's. It is followed backwards: through
 * Identity, from a function's argument to the caller's, and through a variable that was
 * assigned right before (as TensorFlow 2 saves the paths of assets). Whatever comes from
 * elsewhere is refused.
 *
 * Calls are followed call by call, since each may pass another name; their number and
 * depth are bounded.
 */
#include <string.h>

#include "opening.h"

enum { MAX_DEPTH = 32, MAX_CALLS = 10000, MAX_STEPS = 1000 };
enum { OP_DEF_ARGUMENT = 2, ARGUMENT_NAME = 1 };

/* A function that is being called, or the graph itself. */
typedef struct frame {
  const struct frame *caller; /* NULL: the graph */
  const tf_function *function;
  const tf_nodes *nodes;
  const tf_node *call; /* in the caller's nodes */
} frame;

typedef struct search {
  tf_opening *opening;
  const tf_reach *reach;
  int purpose;
  uint32_t n_calls;
} search;

/* --- small looks --------------------------------------------------------------------- */

/* The n-th input that is no control input; empty if there is none. */
static kit_slice nth_input(const tf_node *node, uint32_t n) {
  kit_slice rest = node->body, input;
  while (vonk_tf_node_input(&rest, &input)) {
    if ((input.size == 0 || input.data[0] != '^') && n-- == 0) {
      return input;
    }
  }
  return (kit_slice){0};
}

static bool has_control(const tf_node *node, const tf_node *before) {
  kit_slice rest = node->body, input;
  while (vonk_tf_node_input(&rest, &input)) {
    if (input.size == before->name.size + 1 && input.data[0] == '^' &&
        memcmp(input.data + 1, before->name.data, before->name.size) == 0) {
      return true;
    }
  }
  return false;
}

/* What stands before the first colon: in a function an input is "node:output:0". */
static kit_slice before_colon(kit_slice input) {
  const uint8_t *colon = input.size == 0 ? NULL : memchr(input.data, ':', input.size);
  return colon == NULL ? input : (kit_slice){input.data, (size_t)(colon - input.data)};
}

/* The number of the argument of that name, or -1. */
static int64_t argument_number(const tf_function *function, kit_slice name) {
  kit_slice rest = function->signature;
  kit_field field, inner;
  for (int64_t i = 0; vonk_kit_wire_next(&rest, &field) == 1;) {
    if (field.number != OP_DEF_ARGUMENT) {
      continue;
    }
    kit_slice argument = field.bytes;
    while (vonk_kit_wire_next(&argument, &inner) == 1) {
      if (inner.number == ARGUMENT_NAME && inner.bytes.size == name.size &&
          memcmp(inner.bytes.data, name.data, name.size) == 0) {
        return i;
      }
    }
    ++i;
  }
  return -1;
}

/* Whether a node of the graph is one that vonk feeds. */
static bool is_fed(const search *s, kit_slice node) {
  const vonk_plugin_model *model = s->opening->model;
  if (s->purpose == VONK_TF_FOR_RESTORE) {
    kit_slice prefix = vonk_tf_input_node(s->opening->meta.filename_tensor);
    return prefix.size == node.size && memcmp(prefix.data, node.data, node.size) == 0;
  }
  for (uint32_t i = 0; i < model->n_assets; ++i) {
    if (vonk_kit_slice_equals(node, model->assets[i].port.node)) {
      return true;
    }
  }
  return false;
}

/* --- going back ---------------------------------------------------------------------- */

/* Whether all that is assigned on the way are names that are fed. */
static bool assigns_only_fed(const search *s) {
  const tf_nodes *nodes = &s->opening->graph.nodes;
  for (uint32_t i = 0; i < nodes->n; ++i) {
    const tf_node *node = &nodes->rows[i];
    bool is_assign = node->op.size >= 6 && memcmp(node->op.data, "Assign", 6) == 0;
    if (s->reach->seen[i] == 1 && is_assign &&
        !is_fed(s, vonk_tf_input_node(nth_input(node, 1)))) {
      return false;
    }
  }
  return !s->reach->assigns_in_functions;
}

/* A variable that is read counts if it was assigned right before, from a node that is
 * fed. */
static bool is_fed_variable(const search *s, const tf_node *reader) {
  kit_slice variable = vonk_tf_input_node(nth_input(reader, 0));
  const tf_nodes *nodes = &s->opening->graph.nodes;
  for (uint32_t i = 0; i < nodes->n; ++i) {
    const tf_node *node = &nodes->rows[i];
    kit_slice target = vonk_tf_input_node(nth_input(node, 0));
    if (s->reach->seen[i] == 1 && vonk_kit_slice_equals(node->op, "AssignVariableOp") &&
        target.size == variable.size &&
        memcmp(target.data, variable.data, target.size) == 0 &&
        has_control(reader, node)) {
      return assigns_only_fed(s);
    }
  }
  return false;
}

static bool comes_from_fed(const search *s, const frame *at, kit_slice input) {
  for (int step = 0; step < MAX_STEPS; ++step) {
    if (at->caller != NULL) {
      int64_t n = argument_number(at->function, before_colon(input));
      if (n >= 0) {
        input = nth_input(at->call, (uint32_t)n);
        at = at->caller;
        continue;
      }
    }
    kit_slice name = at->caller == NULL ? vonk_tf_input_node(input) : before_colon(input);
    if (at->caller == NULL && is_fed(s, name)) {
      return true;
    }
    const tf_node *node = vonk_tf_node_find(at->nodes, name);
    if (node == NULL) {
      return false;
    }
    if (at->caller == NULL && vonk_kit_slice_equals(node->op, "ReadVariableOp")) {
      return is_fed_variable(s, node);
    }
    if (!vonk_kit_slice_equals(node->op, "Identity")) {
      return false;
    }
    input = nth_input(node, 0);
  }
  return false;
}

/* --- going forward ------------------------------------------------------------------- */

static vonk_status look_at(search *s, const frame *at, const tf_node *node, int depth,
                           vonk_error *err);

static vonk_status enter(search *s, const frame *at, const tf_node *node, int depth,
                         kit_slice name, vonk_error *err) {
  const tf_function *function = vonk_tf_function_find(&s->opening->graph, name);
  if (function == NULL) {
    return VONK_OK;
  }
  if (depth >= MAX_DEPTH || ++s->n_calls > MAX_CALLS) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': what it runs to load itself calls too many functions, or "
                         "functions that call each other in a ring",
                         s->opening->place.path);
  }
  const frame inside = {at, function, &function->nodes, node};
  for (uint32_t i = 0; i < function->nodes.n; ++i) {
    VONK_TRY(look_at(s, &inside, &function->nodes.rows[i], depth + 1, err));
  }
  return VONK_OK;
}

/* The input with the file's name, if the operation reads one. */
static bool reads_file(kit_slice op, uint32_t *out) {
  static const struct {
    const char *op;
    uint32_t input;
  } rows[] = {{"InitializeTableFromTextFile", 1},
              {"InitializeTableFromTextFileV2", 1},
              {"Restore", 0},
              {"RestoreSlice", 0},
              {"RestoreV2", 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
    if (vonk_kit_slice_equals(op, rows[i].op)) {
      *out = rows[i].input;
      return true;
    }
  }
  return false;
}

static vonk_status look_at(search *s, const frame *at, const tf_node *node, int depth,
                           vonk_error *err) {
  uint32_t input;
  kit_slice name;
  if (reads_file(node->op, &input) && !comes_from_fed(s, at, nth_input(node, input))) {
    return vonk_kit_fail(
        err, VONK_MODEL,
        "'%s': node '%.*s': reads a file that is not said to be one of the model's own: "
        "export the model again, as a SavedModel with its vocabularies as assets",
        s->opening->place.path, VONK_TF_SHOWN(node->name));
  }
  VONK_TRY(enter(s, at, node, depth, node->op, err));
  return vonk_tf_called_function(node, &name) ? enter(s, at, node, depth, name, err)
                                              : VONK_OK;
}

vonk_status vonk_tf_origins_check(tf_opening *opening, const tf_reach *reach, int purpose,
                                  vonk_error *err) {
  search s = {.opening = opening, .reach = reach, .purpose = purpose};
  const tf_nodes *nodes = &opening->graph.nodes;
  const frame graph = {NULL, NULL, nodes, NULL};
  if (reach->n_file_readers == 0) {
    return VONK_OK;
  }
  if (reach->calls_indirectly) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': reads a file while it is loaded, by functions that vonk "
                         "cannot follow: export the model again, with its vocabularies "
                         "read outside of conditions and loops",
                         opening->place.path);
  }
  for (uint32_t i = 0; i < nodes->n; ++i) {
    if (reach->seen[i] == 1) {
      VONK_TRY(look_at(&s, &graph, &nodes->rows[i], 0, err));
    }
  }
  return VONK_OK;
}
