/* SavedModels: a folder with saved_model.pb, variables/ and assets/.
 *
 * saved_model.pb holds one or several graphs, each with a set of tags, and each graph has
 * signatures. TensorFlow's own loader is not used: it would read the file again, and run
 * what it finds there. Here the graph that is read and checked is the one that is given
 * to TensorFlow, and what has to run when a session starts is known by then: the node that
 * restores the variables, and the one that fills tables.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opening.h"

enum { MAX_GRAPHS = 1000, MAX_LIST = 100000 };

/* --- choosing a graph ---------------------------------------------------------------- */

/* Whether the tags are those in the comma-separated list, in any order. */
static bool has_tags(const tf_meta_file *meta, const char *wanted) {
  uint32_t n_wanted = 0;
  for (const char *start = wanted;;) {
    size_t length = strcspn(start, ",");
    size_t left = strspn(start, " ");
    left = left > length ? length : left;
    size_t end = length;
    while (end > left && start[end - 1] == ' ') {
      --end;
    }
    bool found = end == left;
    n_wanted += end != left;
    for (uint32_t i = 0; !found && i < meta->n_tags; ++i) {
      found = meta->tags[i].size == end - left &&
              memcmp(meta->tags[i].data, start + left, end - left) == 0;
    }
    if (!found) {
      return false;
    }
    if (start[length] == '\0') {
      return n_wanted == meta->n_tags;
    }
    start += length + 1;
  }
}

/* Appends "{serve, gpu} " to text. */
static void list_tags(const tf_meta_file *meta, char *text, size_t capacity) {
  size_t used = strlen(text);
  for (uint32_t i = 0; i <= meta->n_tags && used < capacity; ++i) {
    bool is_end = i == meta->n_tags;
    int n = is_end ? snprintf(text + used, capacity - used, "%s} ", i == 0 ? "{" : "")
                   : snprintf(text + used, capacity - used, "%s%.*s", i == 0 ? "{" : ",",
                              VONK_TF_SHOWN(meta->tags[i]));
    used += n > 0 ? (size_t)n : 0;
  }
}

static vonk_status fail_tags(const tf_opening *opening, const char *seen,
                             vonk_error *err) {
  if (seen[0] == '\0') {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': saved_model.pb has no graph: save the model again",
                         opening->place.path);
  }
  if (opening->tags != NULL) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "'%s': has no graph with the tags '%.200s': it has: %s: choose "
                         "one of these with the option tags",
                         opening->place.path, opening->tags, seen);
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "'%s': has several graphs, and none with the tag serve alone: it "
                       "has: %s: choose one with the option tags",
                       opening->place.path, seen);
}

static vonk_status choose_graph(tf_opening *opening, vonk_error *err) {
  kit_slice rest = opening->file, bytes;
  tf_meta_file meta;
  uint32_t n = 0;
  int more;
  char seen[512] = "";
  bool is_found = false;
  while ((more = vonk_tf_saved_model_next(&rest, &bytes)) == 1 && n < MAX_GRAPHS) {
    VONK_TRY(vonk_tf_meta_read(&opening->place, bytes, &meta, err));
    ++n;
    list_tags(&meta, seen, sizeof seen);
    bool is_wanted = has_tags(&meta, opening->tags == NULL ? "serve" : opening->tags);
    if (is_wanted || n == 1) {
      opening->meta = meta;
    }
    is_found |= is_wanted;
  }
  if (more != 0) {
    return vonk_kit_fail(
        err, VONK_MODEL,
        "'%s': saved_model.pb cannot be read: it is cut off, damaged, or "
        "no SavedModel: save the model again",
        opening->place.path);
  }
  is_found |= n == 1 && opening->tags == NULL;
  return is_found ? VONK_OK : fail_tags(opening, seen, err);
}

/* --- what a session has to run first -------------------------------------------------- */

/* Files list an asset twice if two nodes use it. */
static bool has_asset(const vonk_plugin_model *model, const tf_port *port) {
  for (uint32_t i = 0; i < model->n_assets; ++i) {
    if (strcmp(model->assets[i].port.node, port->node) == 0 &&
        model->assets[i].port.index == port->index) {
      return true;
    }
  }
  return false;
}

static vonk_status take_assets(tf_opening *opening, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  const tf_meta_file *meta = &opening->meta;
  VONK_TRY(vonk_kit_new(&model->arena, meta->n_assets + 1, sizeof *model->assets,
                        &model->assets, err));
  for (uint32_t i = 0; i < meta->n_assets; ++i) {
    tf_asset *asset = &model->assets[model->n_assets];
    kit_slice tensor, name;
    if (!vonk_tf_asset_read(meta->assets[i].value, &tensor, &name)) {
      return vonk_kit_fail(err, VONK_MODEL,
                           "'%s': an asset cannot be read: save the model again",
                           opening->place.path);
    }
    VONK_TRY(vonk_tf_port_take(opening, tensor, &asset->port, err));
    if (has_asset(model, &asset->port)) {
      continue;
    }
    asset->port.dtype = vonk_tf_dtype(TF_TYPE_STRING);
    char path[PATH_MAX];
    if (name.size > PATH_MAX - 10) {
      name.size = PATH_MAX - 10;
    }
    int n = snprintf(path, sizeof path, "assets/%.*s", (int)name.size,
                     (const char *)name.data);
    kit_slice relative = {(const uint8_t *)path, n > 0 ? (size_t)n : 0};
    if (name.size == 0 || name.data[0] == '/' ||
        memchr(name.data, '\0', name.size) != NULL) {
      relative = name; /* wrong in itself */
    }
    VONK_TRY(vonk_tf_file_take(opening, "its asset", relative, &asset->path, err));
    ++model->n_assets;
  }
  return VONK_OK;
}

/* The node that initialises, by a signature made for that or by a collection. */
static vonk_status find_init(tf_opening *opening, kit_slice *out, vonk_error *err) {
  const tf_meta_file *meta = &opening->meta;
  *out = meta->init_node;
  for (uint32_t i = 0; i < meta->n_signatures; ++i) {
    if (!vonk_kit_slice_equals(meta->signatures[i].key, "__saved_model_init_op")) {
      continue;
    }
    tf_info *infos;
    uint32_t n;
    VONK_TRY(vonk_tf_signature_read(&opening->place, &meta->signatures[i], 2, &infos, &n,
                                    err));
    if (n == 1 && infos[0].tensor.size != 0) {
      *out = infos[0].tensor;
    }
  }
  return VONK_OK;
}

static vonk_status add_init(tf_opening *opening, kit_slice node, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  tf_reach reach;
  VONK_TRY(vonk_tf_reach(opening, &node, 1, VONK_TF_FOR_INIT, &reach, err));
  VONK_TRY(vonk_tf_origins_check(opening, &reach, VONK_TF_FOR_INIT, err));
  tf_port port;
  VONK_TRY(vonk_tf_port_take(opening, vonk_tf_input_node(node), &port, err));
  model->init_nodes[model->n_init_nodes++] = port.node;
  return VONK_OK;
}

static vonk_status take_inits(tf_opening *opening, vonk_error *err) {
  kit_slice node, rest = opening->meta.table_nodes;
  VONK_TRY(find_init(opening, &node, err));
  kit_field field;
  uint32_t n = 1;
  while (vonk_kit_wire_next(&rest, &field) == 1 && n < MAX_LIST) {
    ++n;
  }
  VONK_TRY(vonk_kit_new(&opening->model->arena, n, sizeof *opening->model->init_nodes,
                        &opening->model->init_nodes, err));
  if (node.size != 0) {
    return add_init(opening, node, err); /* it covers the tables as well */
  }
  rest = opening->meta.table_nodes;
  while (--n > 0 && vonk_kit_wire_next(&rest, &field) == 1) {
    VONK_TRY(add_init(opening, field.bytes, err));
  }
  return VONK_OK;
}

static vonk_status take_restore(tf_opening *opening, const char *prefix,
                                vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  const kit_slice *node = &opening->meta.restore_node;
  tf_reach reach;
  VONK_TRY(vonk_tf_reach(opening, node, 1, VONK_TF_FOR_RESTORE, &reach, err));
  VONK_TRY(vonk_tf_origins_check(opening, &reach, VONK_TF_FOR_RESTORE, err));
  VONK_TRY(vonk_tf_variables_take(opening, prefix, &model->prefix, err));
  tf_port port;
  VONK_TRY(vonk_tf_port_take(opening, vonk_tf_input_node(*node), &port, err));
  VONK_TRY(vonk_tf_port_take(opening, opening->meta.filename_tensor, &model->prefix_port,
                             err));
  model->prefix_port.dtype = vonk_tf_dtype(TF_TYPE_STRING);
  model->restore_node = port.node;
  return VONK_OK;
}

/* --- the model's size ------------------------------------------------------------------ */

static vonk_status reach_outputs(tf_opening *opening, tf_reach *reach, vonk_error *err) {
  const vonk_plugin_model *model = opening->model;
  kit_slice *roots;
  uint32_t n = model->info.n_outputs;
  VONK_TRY(vonk_kit_new(opening->place.arena, n + 1, sizeof *roots, &roots, err));
  for (uint32_t i = 0; i < n; ++i) {
    const char *node = model->output_ports[i].node;
    roots[i] = (kit_slice){(const uint8_t *)node, strlen(node)};
  }
  return vonk_tf_reach(opening, roots, n, VONK_TF_FOR_RUN, reach, err);
}

vonk_status vonk_tf_loading_take(tf_opening *opening, const char *prefix,
                                 vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  tf_reach reach;
  VONK_TRY(reach_outputs(opening, &reach, err));
  model->keeps_inputs = reach.keeps_inputs;
  const tf_count *count = reach.n_variables != 0 ? &reach.variables : &reach.constants;
  model->info.n_params = count->is_unknown ? -1 : count->n;
  model->info.weight_bytes = count->is_unknown ? -1 : count->nbytes;
  if (prefix == NULL) {
    return reach.n_variables == 0
               ? VONK_OK
               : vonk_kit_fail(err, VONK_MODEL,
                               "'%s': has variables, and a graph alone does not hold "
                               "their values: give the SavedModel's folder or the .meta "
                               "file beside its checkpoint, or freeze the graph",
                               opening->place.path);
  }
  char index[PATH_MAX];
  snprintf(index, sizeof index, "%s.index", prefix);
  bool has_restore =
      opening->meta.restore_node.size != 0 && opening->meta.filename_tensor.size != 0;
  if (has_restore && (reach.n_variables != 0 || vonk_tf_file_exists(opening, index))) {
    VONK_TRY(take_restore(opening, prefix, err));
  } else if (reach.n_variables != 0) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': has variables, and no node that restores them: save the "
                         "model again",
                         opening->place.path);
  }
  VONK_TRY(take_assets(opening, err));
  return take_inits(opening, err);
}

/* --- opening --------------------------------------------------------------------------- */

vonk_status vonk_tf_savedmodel_open(tf_opening *opening, vonk_error *err) {
  bool is_folder = !vonk_kit_has_extension(opening->place.path, "saved_model.pb");
  VONK_TRY(vonk_tf_folder_take(opening, is_folder, err));
  VONK_TRY(vonk_tf_file_map(opening, "its file", "saved_model.pb", INT32_MAX,
                            "a SavedModel's folder", &opening->file, err));
  VONK_TRY(choose_graph(opening, err));
  VONK_TRY(
      vonk_tf_graph_read(&opening->place, opening->meta.graph, &opening->graph, err));
  opening->model->info.format = "savedmodel";
  VONK_TRY(vonk_tf_signature_take(opening, err));
  return vonk_tf_loading_take(opening, "variables/variables", err);
}
