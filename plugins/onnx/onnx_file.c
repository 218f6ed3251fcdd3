/* Looking into a model file before ONNX Runtime does.
 *
 * An .onnx file is one protobuf message, ModelProto. We walk it once, along a table that
 * says which fields hold which messages, and skip the rest. On the way every tensor is
 * measured (for the number of parameters, and because sizes that do not fit are a common
 * damage), every reference to a file outside is checked wherever it hides (initializers,
 * attributes, subgraphs, functions, training graphs), and every operator's domain is
 * compared with those that ONNX Runtime itself knows: an operator library is code, and
 * vonk runs none from a model.
 *
 * Memory does not depend on what the file claims. Depth is bounded as protobuf bounds it.
 * Where protobuf would merge two occurrences of a single message we refuse, for what we
 * then checked would not be what ONNX Runtime gets to see.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "onnx_walk.h"

enum { MAX_DEPTH = 100 };

/* A field that holds a message. */
typedef struct child {
  uint32_t number;
  message_kind kind;
  bool is_single, is_weight;
} child;

static vonk_status visit_model(walk *, kit_slice, const place *);
static vonk_status visit_graph(walk *, kit_slice, const place *);
static vonk_status visit_function(walk *, kit_slice, const place *);

enum { MAX_CHILDREN = 8 };
static const struct {
  const char *name;
  vonk_status (*visit)(walk *, kit_slice, const place *);
  child children[MAX_CHILDREN]; /* ends with number 0 */
} kinds[KIND_COUNT] = {
    [IS_MODEL] = {"model",
                  visit_model,
                  {{7, IS_GRAPH, true, false},
                   {14, IS_TEXT_PAIR, false, false},
                   {20, IS_TRAINING, false, false},
                   {25, IS_FUNCTION, false, false}}},
    [IS_TRAINING] = {"training information",
                     NULL,
                     {{1, IS_GRAPH, true, false}, {2, IS_GRAPH, true, false}}},
    [IS_FUNCTION] = {"function",
                     visit_function,
                     {{7, IS_NODE, false, false},
                      {11, IS_ATTRIBUTE, false, false},
                      {12, IS_VALUE, false, false}}},
    [IS_GRAPH] = {"graph",
                  visit_graph,
                  {{1, IS_NODE, false, false},
                   {5, IS_TENSOR, false, true},
                   {11, IS_VALUE, false, false},
                   {12, IS_VALUE, false, false},
                   {13, IS_VALUE, false, false},
                   {15, IS_SPARSE_TENSOR, false, true}}},
    [IS_NODE] = {"node", vonk_onnx_visit_node, {{5, IS_ATTRIBUTE, false, false}}},
    [IS_ATTRIBUTE] = {"attribute",
                      NULL,
                      {{5, IS_TENSOR, true, false},
                       {6, IS_GRAPH, true, false},
                       {10, IS_TENSOR, false, false},
                       {11, IS_GRAPH, false, false},
                       {14, IS_TYPE, true, false},
                       {15, IS_TYPE, false, false},
                       {22, IS_SPARSE_TENSOR, true, false},
                       {23, IS_SPARSE_TENSOR, false, false}}},
    [IS_TENSOR] = {"tensor", vonk_onnx_visit_tensor, {{13, IS_TEXT_PAIR, false, false}}},
    [IS_SPARSE_TENSOR] = {"sparse tensor",
                          NULL,
                          {{1, IS_TENSOR, true, true}, {2, IS_TENSOR, true, false}}},
    [IS_VALUE] = {"value", NULL, {{2, IS_TYPE, true, false}}},
    [IS_TYPE] = {"type",
                 NULL,
                 {{1, IS_TENSOR_TYPE, true, false},
                  {4, IS_SEQUENCE_TYPE, true, false},
                  {5, IS_MAP_TYPE, true, false},
                  {8, IS_TENSOR_TYPE, true, false},
                  {9, IS_SEQUENCE_TYPE, true, false}}},
    [IS_TENSOR_TYPE] = {"tensor type", NULL, {{2, IS_SHAPE, true, false}}},
    [IS_SEQUENCE_TYPE] = {"sequence type", NULL, {{1, IS_TYPE, true, false}}},
    [IS_MAP_TYPE] = {"map type", NULL, {{2, IS_TYPE, true, false}}},
    [IS_SHAPE] = {"shape", NULL, {{0}}},
    [IS_TEXT_PAIR] = {"text pair", NULL, {{0}}},
};

static vonk_status fail_damaged(const walk *w, message_kind kind, const uint8_t *at,
                                const char *why) {
  return vonk_kit_fail(w->err, VONK_MODEL,
                       "'%s': is a damaged ONNX file: %s in the %s at byte %td of %zu: "
                       "download or export it again",
                       w->path, why, kinds[kind].name, at - w->whole.data, w->whole.size);
}

static const child *find_child(message_kind kind, uint32_t number, size_t *index) {
  const child *children = kinds[kind].children;
  for (size_t i = 0; i < MAX_CHILDREN && children[i].number != 0; ++i) {
    if (children[i].number == number) {
      *index = i;
      return &children[i];
    }
  }
  return NULL;
}

static vonk_status walk_message(walk *w, message_kind kind, kit_slice bytes,
                                const place *here) {
  if (here->depth > MAX_DEPTH) {
    return fail_damaged(w, kind, bytes.data, "more than 100 levels of nesting");
  }
  if (kinds[kind].visit != NULL) {
    VONK_TRY(kinds[kind].visit(w, bytes, here));
  }
  unsigned seen = 0;
  kit_field field;
  kit_slice rest = bytes;
  const uint8_t *at = rest.data;
  int found;
  while ((found = vonk_kit_wire_next(&rest, &field)) == 1) {
    size_t index = 0;
    const child *row = find_child(kind, field.number, &index);
    if (row != NULL && field.wire == KIT_WIRE_BYTES) {
      if (row->is_single && (seen & (1u << index)) != 0) {
        return fail_damaged(w, kind, at, "a part that occurs twice");
      }
      seen |= 1u << index;
      bool is_weight = row->is_weight && (kind == IS_GRAPH || here->is_weight);
      bool is_main = kind == IS_GRAPH && here->parent == IS_MODEL;
      place below = {kind, here->depth + 1, is_weight, is_main};
      VONK_TRY(walk_message(w, row->kind, field.bytes, &below));
    }
    at = rest.data;
  }
  return found == 0 ? VONK_OK : fail_damaged(w, kind, at, "a field that cannot be read");
}

void vonk_onnx_read_pair(kit_slice pair, kit_slice *key, kit_slice *value) {
  kit_field field;
  while (vonk_kit_wire_next(&pair, &field) == 1) {
    if (field.wire == KIT_WIRE_BYTES && field.number <= 2) {
      *(field.number == 1 ? key : value) = field.bytes;
    }
  }
}

/* --- the graph and the model ------------------------------------------------------- */

static vonk_status visit_function(walk *w, kit_slice bytes, const place *here) {
  (void)bytes;
  (void)here;
  vonk_onnx_functions_enter(w, false);
  return VONK_OK;
}

/* The last field of that number that holds a message; empty if there is none. */
static kit_slice find_message(kit_slice message, uint32_t number, bool *found) {
  kit_field field;
  kit_slice last = {0};
  *found = false;
  while (vonk_kit_wire_next(&message, &field) == 1) {
    if (field.number == number && field.wire == KIT_WIRE_BYTES) {
      last = field.bytes;
      *found = true;
    }
  }
  return last;
}

/* An input or output: its name has to be text. Remembers it if it has no shape, which
 * ONNX Runtime would report as a single value's. */
static vonk_status note_value(walk *w, kit_slice value) {
  bool has_name, has_type, is_tensor, has_shape;
  kit_slice name = find_message(value, 1, &has_name);
  if (has_name &&
      (name.size == 0 || !vonk_kit_is_text((const char *)name.data, name.size))) {
    return fail_damaged(w, IS_GRAPH, name.data,
                        "an input or output whose name is empty or no text");
  }
  kit_slice type = find_message(value, 2, &has_type);
  kit_slice tensor = find_message(type, 1, &is_tensor);
  find_message(tensor, 2, &has_shape);
  if (!has_name || has_shape || (has_type && !is_tensor)) {
    return VONK_OK;
  }
  onnx_name *shapeless;
  VONK_TRY(vonk_kit_new(w->arena, 1, sizeof *shapeless, &shapeless, w->err));
  shapeless->next = w->facts->shapeless;
  w->facts->shapeless = shapeless;
  return vonk_kit_new_text(w->arena, (const char *)name.data, name.size, &shapeless->text,
                           w->err);
}

/* The main graph's inputs and outputs; there has to be an output. */
static vonk_status visit_graph(walk *w, kit_slice bytes, const place *here) {
  if (here->parent != IS_MODEL) {
    return VONK_OK;
  }
  vonk_onnx_functions_enter(w, true);
  kit_field field;
  size_t n_outputs = 0;
  for (kit_slice rest = bytes; vonk_kit_wire_next(&rest, &field) == 1;) {
    if (field.wire != KIT_WIRE_BYTES || (field.number != 11 && field.number != 12)) {
      continue;
    }
    n_outputs += field.number == 12;
    VONK_TRY(note_value(w, field.bytes));
  }
  if (n_outputs == 0) {
    return vonk_kit_fail(w->err, VONK_MODEL,
                         "'%s': has no output, so there is nothing to predict: export it "
                         "again",
                         w->path);
  }
  return VONK_OK;
}

static vonk_status note_producer(walk *w, kit_slice name, kit_slice version) {
  char text[256];
  int n_name = name.size > 120 ? 120 : (int)name.size;
  int n_version = version.size > 120 ? 120 : (int)version.size;
  if (n_name == 0) {
    return VONK_OK;
  }
  int length = snprintf(text, sizeof text, "%.*s%s%.*s", n_name, (const char *)name.data,
                        n_version == 0 ? "" : " ", n_version,
                        n_version == 0 ? "" : (const char *)version.data);
  return vonk_kit_new_text(w->arena, text, (size_t)length, &w->facts->producer, w->err);
}

static vonk_status note_metadata(walk *w, kit_slice model, uint32_t count) {
  kit_field field;
  vonk_kv *rows = NULL;
  if (count == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_kit_new(w->arena, count, sizeof *rows, &rows, w->err));
  w->facts->metadata = rows;
  while (w->facts->n_metadata < count && vonk_kit_wire_next(&model, &field) == 1) {
    if (field.number != 14 || field.wire != KIT_WIRE_BYTES) {
      continue;
    }
    kit_slice key = {0}, value = {0};
    vonk_onnx_read_pair(field.bytes, &key, &value);
    vonk_kv *row = &rows[w->facts->n_metadata++];
    VONK_TRY(
        vonk_kit_new_text(w->arena, (const char *)key.data, key.size, &row->key, w->err));
    VONK_TRY(vonk_kit_new_text(w->arena, (const char *)value.data, value.size,
                               &row->value, w->err));
  }
  return VONK_OK;
}

/* Before the walk: what the nodes' check needs, and what the file says of itself. */
static vonk_status visit_model(walk *w, kit_slice bytes, const place *here) {
  (void)here;
  kit_slice producer = {0}, producer_version = {0}, rest = bytes;
  uint32_t n_metadata = 0;
  bool has_graph = false, has_version = false;
  kit_field field;
  int found;
  while ((found = vonk_kit_wire_next(&rest, &field)) == 1) {
    has_version |= field.number == 1 && field.wire == KIT_WIRE_VARINT;
    if (field.wire != KIT_WIRE_BYTES) {
      continue;
    }
    has_graph |= field.number == 7;
    n_metadata += field.number == 14;
    if (field.number == 2) {
      producer = field.bytes;
    } else if (field.number == 3) {
      producer_version = field.bytes;
    }
  }
  if (!has_version && !has_graph) {
    return vonk_kit_fail(
        w->err, VONK_MODEL,
        "'%s': is not an ONNX file: its first bytes are not those of one", w->path);
  }
  if (found == 0 && !has_graph) {
    return vonk_kit_fail(
        w->err, VONK_MODEL,
        "'%s': is a damaged ONNX file: it has no graph: download or export "
        "it again",
        w->path);
  }
  VONK_TRY(vonk_onnx_functions_find(w, bytes));
  VONK_TRY(note_producer(w, producer, producer_version));
  return note_metadata(w, bytes, n_metadata);
}

static vonk_status check_onnx(const kit_source *source, kit_slice file, kit_arena *arena,
                              onnx_file_facts *out, vonk_error *err) {
  walk w = {
      .path = source->path, .whole = file, .arena = arena, .facts = out, .err = err};
  w.folder.source = source;
  const place top = {.parent = IS_NOTHING};
  vonk_status status = walk_message(&w, IS_MODEL, w.whole, &top);
  if (status == VONK_OK) {
    status = vonk_onnx_functions_check(&w);
  }
  if (status == VONK_OK) {
    status = vonk_onnx_companions_list(&w.folder, arena, out, err);
  }
  vonk_onnx_folder_release(&w.folder);
  return status;
}

vonk_status vonk_onnx_file_check(const kit_source *source, kit_slice file,
                                 kit_arena *arena, onnx_file_facts *out,
                                 vonk_error *err) {
  const char *path = source->path;
  *out = (onnx_file_facts){.n_params = 0};
  if (file.size == 0) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': is empty: download or export it again",
                         path);
  }
  if (file.size > INT_MAX) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': has %zu bytes: an ONNX file has less than 2 GiB: save "
                         "the model with external data",
                         path, file.size);
  }
  if (file.size >= 8 && memcmp(file.data + 4, "ORTM", 4) == 0) {
    out->is_ort_format = true;
    out->n_params = out->weight_bytes = -1;
    return VONK_OK;
  }
  const char *answer =
      vonk_onnx_what_else(file.data, file.size < 4096 ? file.size : 4096);
  return answer != NULL ? vonk_kit_fail(err, VONK_MODEL, "'%s': %s", path, answer)
                        : check_onnx(source, file, arena, out, err);
}
