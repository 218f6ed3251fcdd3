/* SavedModels: a folder with saved_model.pb, variables/ and assets/. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "opening.h"

static vonk_status choose_graph(tf_opening *opening, vonk_error *err) {
  kit_slice rest = opening->file, bytes;
  int more;
  while ((more = vonk_tf_saved_model_next(&rest, &bytes)) == 1) {
    return vonk_tf_meta_read(&opening->place, bytes, &opening->meta, err);
  }
  return vonk_kit_fail(err, VONK_MODEL, "'%s': no graph", opening->place.path);
}

vonk_status vonk_tf_savedmodel_open(tf_opening *opening, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/saved_model.pb", opening->place.path);
  VONK_TRY(vonk_kit_map(path, INT32_MAX, "a SavedModel", &opening->file, err));
  VONK_TRY(choose_graph(opening, err));
  VONK_TRY(
      vonk_tf_graph_read(&opening->place, opening->meta.graph, &opening->graph, err));
  VONK_TRY(vonk_tf_signature_take(opening, err));
  model->info.format = "savedmodel";
  if (opening->meta.restore_node.size != 0) {
    tf_port restore;
    VONK_TRY(vonk_tf_port_take(opening, opening->meta.restore_node, &restore, err));
    model->restore_node = restore.node;
    VONK_TRY(vonk_tf_port_take(opening, opening->meta.filename_tensor,
                               &model->prefix_port, err));
    snprintf(path, sizeof path, "%s/variables/variables", opening->place.path);
    VONK_TRY(vonk_kit_new_text(&model->arena, path, strlen(path), &model->prefix, err));
  }
  return VONK_OK;
}
