/* Reading a graph.
 *
 * The file may be damaged or hostile. Its bytes are walked in place: nothing is copied,
 * and memory is taken only for tables whose rows have been counted before, each row being
 * backed by bytes that are there. Nothing here recurses: a GraphDef holds a list of nodes
 * and a list of functions, each with a list of nodes, and nothing deeper is looked at but
 * attributes that are asked for.
 */
#include "graph_file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 4000000, MAX_FUNCTIONS = 1000000 };

/* GraphDef */
enum { GRAPH_NODE = 1, GRAPH_LIBRARY = 2, LIBRARY_FUNCTION = 1 };
/* FunctionDef, whose OpDef's first field is the name */
enum { FUNCTION_SIGNATURE = 1, FUNCTION_NODE = 3 };
/* NodeDef */
enum { NODE_NAME = 1, NODE_OP = 2, NODE_INPUT = 3, NODE_ATTRIBUTE = 5 };
/* An entry of a map */
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

static vonk_status fail_damaged(const tf_place *place, const char *what,
                                vonk_error *err) {
  return vonk_kit_fail(err, VONK_MODEL,
                       "'%s': %s cannot be read: the file is cut off, damaged, or no "
                       "TensorFlow model: save it again",
                       place->path, what);
}

/* The last field of that number, which is the one that counts; empty if there is none.
 * False if the message is damaged. */
static bool find_bytes(kit_slice message, uint32_t number, kit_slice *out) {
  kit_field field;
  int more;
  *out = (kit_slice){0};
  while ((more = vonk_kit_wire_next(&message, &field)) == 1) {
    if (field.number == number) {
      if (field.wire != KIT_WIRE_BYTES) {
        return false;
      }
      *out = field.bytes;
    }
  }
  return more == 0;
}

/* --- tables of nodes --------------------------------------------------------------- */

static uint32_t hash(kit_slice name) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < name.size; ++i) {
    h = (h ^ name.data[i]) * 16777619u;
  }
  return h ^ (h >> 15);
}

static bool is_same(kit_slice a, kit_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The slot of that name, or the empty one where it belongs. */
static uint32_t find_slot(const tf_nodes *nodes, kit_slice name) {
  uint32_t slot = hash(name) & nodes->mask;
  while (nodes->slots[slot] != 0 &&
         !is_same(nodes->rows[nodes->slots[slot] - 1].name, name)) {
    slot = (slot + 1) & nodes->mask;
  }
  return slot;
}

const tf_node *vonk_tf_node_find(const tf_nodes *nodes, kit_slice name) {
  if (nodes->n == 0) {
    return NULL;
  }
  uint32_t row = nodes->slots[find_slot(nodes, name)];
  return row == 0 ? NULL : &nodes->rows[row - 1];
}

static bool read_node(kit_slice body, tf_node *out) {
  *out = (tf_node){.body = body};
  kit_field field;
  int more;
  while ((more = vonk_kit_wire_next(&body, &field)) == 1) {
    if (field.number > NODE_INPUT && field.number != NODE_ATTRIBUTE) {
      continue;
    }
    if (field.wire != KIT_WIRE_BYTES) {
      return false;
    }
    if (field.number == NODE_NAME) {
      out->name = field.bytes;
    } else if (field.number == NODE_OP) {
      out->op = field.bytes;
    }
  }
  return more == 0 && out->name.size != 0 && out->op.size != 0;
}

static vonk_status add_node(const tf_place *place, kit_slice body, tf_nodes *nodes,
                            vonk_error *err) {
  tf_node node;
  if (!read_node(body, &node)) {
    return fail_damaged(place, "a node", err);
  }
  uint32_t slot = find_slot(nodes, node.name);
  if (nodes->slots[slot] != 0) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': has two nodes of the name '%.*s': save the model again",
                         place->path, node.name.size > 200 ? 200 : (int)node.name.size,
                         (const char *)node.name.data);
  }
  nodes->rows[nodes->n++] = node;
  nodes->slots[slot] = nodes->n;
  return VONK_OK;
}

/* Reads all fields of that number as nodes. */
static vonk_status read_nodes(const tf_place *place, kit_slice message, uint32_t number,
                              const char *what, tf_nodes *out, vonk_error *err) {
  kit_slice rest = message;
  kit_field field;
  uint32_t count = 0;
  int more;
  while ((more = vonk_kit_wire_next(&rest, &field)) == 1) {
    if (field.number == number && (field.wire != KIT_WIRE_BYTES || ++count > MAX_NODES)) {
      break;
    }
  }
  if (count > MAX_NODES) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': has more than %d nodes: that is beyond what vonk reads",
                         place->path, MAX_NODES);
  }
  if (more != 0) {
    return fail_damaged(place, what, err);
  }
  uint32_t n_slots = 2;
  while (n_slots < 2 * count) {
    n_slots *= 2;
  }
  *out = (tf_nodes){.mask = n_slots - 1};
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *out->rows, &out->rows, err));
  VONK_TRY(vonk_kit_new(place->arena, n_slots, sizeof *out->slots, &out->slots, err));
  while (vonk_kit_wire_next(&message, &field) == 1) {
    if (field.number == number) {
      VONK_TRY(add_node(place, field.bytes, out, err));
    }
  }
  return VONK_OK;
}

/* --- functions ---------------------------------------------------------------------- */

static vonk_status read_function(const tf_place *place, kit_slice body, tf_function *out,
                                 vonk_error *err) {
  *out = (tf_function){.body = body};
  if (!find_bytes(body, FUNCTION_SIGNATURE, &out->signature) ||
      !find_bytes(out->signature, 1, &out->name) || out->name.size == 0) {
    return fail_damaged(place, "a function", err);
  }
  return read_nodes(place, body, FUNCTION_NODE, "a function", &out->nodes, err);
}

/* Steps through the functions of all libraries: 1, 0 at the end, -1 if damaged. */
static int next_function(kit_slice *graph, kit_slice *library, kit_slice *out) {
  kit_field field;
  for (;;) {
    int more = vonk_kit_wire_next(library, &field);
    if (more == 1 && field.number == LIBRARY_FUNCTION) {
      *out = field.bytes;
      return field.wire == KIT_WIRE_BYTES ? 1 : -1;
    }
    if (more == -1) {
      return -1;
    }
    if (more == 0) {
      more = vonk_kit_wire_next(graph, &field);
      if (more != 1) {
        return more;
      }
      if (field.number == GRAPH_LIBRARY) {
        if (field.wire != KIT_WIRE_BYTES) {
          return -1;
        }
        *library = field.bytes;
      }
    }
  }
}

static int compare_functions(const void *a, const void *b) {
  const kit_slice *x = &((const tf_function *)a)->name,
                  *y = &((const tf_function *)b)->name;
  size_t n = x->size < y->size ? x->size : y->size;
  int order = memcmp(x->data, y->data, n);
  return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static vonk_status read_functions(const tf_place *place, tf_graph_file *graph,
                                  vonk_error *err) {
  kit_slice rest = graph->bytes, library = {0}, body;
  uint32_t count = 0;
  int more;
  while ((more = next_function(&rest, &library, &body)) == 1 && count < MAX_FUNCTIONS) {
    ++count;
  }
  if (more != 0) {
    return fail_damaged(place, "the list of functions", err);
  }
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *graph->functions,
                        &graph->functions, err));
  rest = graph->bytes;
  library = (kit_slice){0};
  while (graph->n_functions < count && next_function(&rest, &library, &body) == 1) {
    VONK_TRY(read_function(place, body, &graph->functions[graph->n_functions], err));
    ++graph->n_functions;
  }
  qsort(graph->functions, count, sizeof *graph->functions, compare_functions);
  return VONK_OK;
}

const tf_function *vonk_tf_function_find(const tf_graph_file *graph, kit_slice name) {
  tf_function wanted = {.name = name};
  return graph->n_functions == 0 || name.size == 0
             ? NULL
             : bsearch(&wanted, graph->functions, graph->n_functions,
                       sizeof *graph->functions, compare_functions);
}

vonk_status vonk_tf_graph_read(const tf_place *place, kit_slice bytes, tf_graph_file *out,
                               vonk_error *err) {
  *out = (tf_graph_file){.bytes = bytes};
  VONK_TRY(read_nodes(place, bytes, GRAPH_NODE, "the graph", &out->nodes, err));
  return read_functions(place, out, err);
}

/* --- what is in a node -------------------------------------------------------------- */

bool vonk_tf_node_attribute(const tf_node *node, const char *name, kit_slice *out) {
  kit_slice rest = node->body;
  kit_field field;
  bool found = false;
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    kit_slice key, value;
    if (field.number == NODE_ATTRIBUTE && find_bytes(field.bytes, ENTRY_KEY, &key) &&
        vonk_kit_slice_equals(key, name) &&
        find_bytes(field.bytes, ENTRY_VALUE, &value)) {
      *out = value;
      found = true;
    }
  }
  return found;
}

bool vonk_tf_node_input(kit_slice *rest, kit_slice *out) {
  kit_field field;
  while (vonk_kit_wire_next(rest, &field) == 1) {
    if (field.number == NODE_INPUT) {
      *out = field.bytes;
      return true;
    }
  }
  return false;
}

/* TensorShapeProto: 2 dimensions {1 size, 2 name}, 3 unknown rank */
bool vonk_tf_shape_read(kit_slice bytes, tf_shape *out) {
  kit_field field;
  int more;
  bool is_unknown = false;
  *out = (tf_shape){0};
  while ((more = vonk_kit_wire_next(&bytes, &field)) == 1) {
    if (field.number == 3) {
      is_unknown = field.value != 0;
    }
    if (field.number != 2) {
      continue;
    }
    kit_slice dim = field.bytes;
    int64_t size = 0;
    kit_slice name = {0};
    while ((more = vonk_kit_wire_next(&dim, &field)) == 1) {
      size = field.number == 1 ? (int64_t)field.value : size;
      name = field.number == 2 ? field.bytes : name;
    }
    if (more != 0 || size < -1) {
      return false;
    }
    if (out->rank < VONK_MAX_RANK) {
      out->dims[out->rank] = size;
      out->names[out->rank] = name;
    }
    out->rank += out->rank < INT32_MAX;
  }
  out->rank = is_unknown ? -1 : out->rank;
  return more == 0;
}
