/* Fuzz target: the TensorFlow plug-in's look into model files.
 *
 * The input is read as a SavedModel, a MetaGraphDef and a GraphDef, as far as that works,
 * and everything that the plug-in asks of what it found is asked. A copy of the input,
 * cut as the host cuts a file's head, goes through the recogniser. What comes out is held
 * against what graph_file.h promises: slices lie inside the input, names are found again,
 * shapes are in range, a failure has a message. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "plugins/tensorflow/opening.h"
#include "tests/kit/host.h"

static kit_slice whole; /* the input */

static void check_inside(kit_slice slice) {
  CHECK(slice.size == 0 ||
        (slice.data >= whole.data && slice.data + slice.size <= whole.data + whole.size));
}

static void check_failure(const vonk_error *err, vonk_status status) {
  CHECK(err->code == status);
  CHECK(strncmp(err->message, "'/nowhere/m': ", 14) == 0 || status == VONK_NOMEM);
  CHECK(vonk_kit_is_text(err->message, strlen(err->message)));
}

static void check_shape(kit_slice bytes) {
  tf_shape shape;
  if (!vonk_tf_shape_read(bytes, &shape)) {
    return;
  }
  CHECK(shape.rank >= -1);
  for (int32_t i = 0; i < shape.rank && i < VONK_MAX_RANK; ++i) {
    CHECK(shape.dims[i] >= -1);
    check_inside(shape.names[i]);
  }
}

static void check_nodes(const tf_nodes *nodes) {
  for (uint32_t i = 0; i < nodes->n; ++i) {
    const tf_node *node = &nodes->rows[i];
    check_inside(node->name);
    check_inside(node->op);
    check_inside(node->body);
    CHECK(vonk_tf_node_find(nodes, node->name) == node);
    kit_slice rest = node->body, input, attribute, function;
    for (int n = 0; n < 1000 && vonk_tf_node_input(&rest, &input); ++n) {
      check_inside(vonk_tf_input_node(input));
    }
    if (vonk_tf_node_attribute(node, "shape", &attribute)) {
      check_inside(attribute);
      check_shape(attribute);
    }
    if (vonk_tf_called_function(node, &function)) {
      check_inside(function);
    }
  }
}

/* The walk from every node, and the search for where file names come from. */
static void check_reach(tf_opening *opening) {
  const tf_nodes *nodes = &opening->graph.nodes;
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  for (int purpose = VONK_TF_FOR_RUN; purpose <= VONK_TF_FOR_RESTORE; ++purpose) {
    tf_reach reach;
    uint32_t n = nodes->n < 8 ? nodes->n : 8;
    kit_slice roots[8];
    for (uint32_t i = 0; i < n; ++i) {
      roots[i] = nodes->rows[nodes->n - 1 - i].name;
    }
    vonk_status status = vonk_tf_reach(opening, roots, n, purpose, &reach, &err);
    if (status == VONK_OK) {
      CHECK(reach.variables.n >= 0 && reach.constants.nbytes >= 0);
      status = vonk_tf_origins_check(opening, &reach, purpose, &err);
    }
    if (status != VONK_OK) {
      check_failure(&err, status);
    }
  }
}

static void check_graph(tf_opening *opening, kit_slice bytes) {
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  vonk_status status = vonk_tf_graph_read(&opening->place, bytes, &opening->graph, &err);
  if (status != VONK_OK) {
    check_failure(&err, status);
    return;
  }
  check_nodes(&opening->graph.nodes);
  for (uint32_t i = 0; i < opening->graph.n_functions; ++i) {
    const tf_function *function = &opening->graph.functions[i];
    check_inside(function->name);
    CHECK(vonk_tf_function_find(&opening->graph, function->name) != NULL);
    check_nodes(&function->nodes);
  }
  check_reach(opening);
}

static void check_meta(tf_opening *opening, kit_slice bytes) {
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  tf_meta_file *meta = &opening->meta;
  vonk_status status = vonk_tf_meta_read(&opening->place, bytes, meta, &err);
  if (status != VONK_OK) {
    check_failure(&err, status);
    return;
  }
  check_inside(meta->graph);
  check_inside(meta->restore_node);
  check_inside(meta->init_node);
  for (uint32_t i = 0; i < meta->n_assets; ++i) {
    kit_slice tensor, name;
    if (vonk_tf_asset_read(meta->assets[i].value, &tensor, &name)) {
      check_inside(tensor);
      check_inside(name);
    }
  }
  for (uint32_t i = 0; i < meta->n_signatures; ++i) {
    tf_info *infos;
    uint32_t n;
    for (uint32_t side = 1; side <= 2; ++side) {
      status = vonk_tf_signature_read(&opening->place, &meta->signatures[i], side, &infos,
                                      &n, &err);
      for (uint32_t j = 0; status == VONK_OK && j < n; ++j) {
        check_inside(infos[j].tensor);
        CHECK(vonk_kit_is_text((const char *)infos[j].key.data, infos[j].key.size));
        CHECK(infos[j].shape.rank >= -1);
      }
    }
  }
  check_graph(opening, meta->graph);
}

static void check_recognise(const uint8_t *data, size_t size) {
  size_t n_head = size < 4096 ? size : 4096;
  uint8_t *head = malloc(n_head == 0 ? 1 : n_head);
  CHECK(head != NULL);
  if (n_head != 0) {
    memcpy(head, data, n_head);
  }
  int32_t sure = vonk_tf_recognise("/nowhere/m", head, n_head);
  CHECK(sure >= 0 && sure <= 2);
  free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  vonk_kit_set_host(&plain_host);
  whole = (kit_slice){data, size};
  for (int kind = 0; kind < 3; ++kind) {
    kit_arena tables = {0};
    vonk_plugin_model model = {0};
    tf_opening opening = {.model = &model,
                          .place = {.path = "/nowhere/m", .arena = &tables}};
    kit_slice rest = whole, bytes;
    if (kind == 0) {
      for (int n = 0; n < 4 && vonk_tf_saved_model_next(&rest, &bytes) == 1; ++n) {
        check_meta(&opening, bytes);
      }
    } else if (kind == 1) {
      check_meta(&opening, whole);
    } else {
      check_graph(&opening, whole);
    }
    vonk_kit_arena_release(&tables);
    vonk_kit_arena_release(&model.arena);
  }
  check_recognise(data, size);
  return 0;
}
