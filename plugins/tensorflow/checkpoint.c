/* Checkpoints of TensorFlow 1: NAME.meta with the graph, NAME.index and NAME.data-* with
 * the variables beside it. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "opening.h"

vonk_status vonk_tf_checkpoint_open(tf_opening *opening, vonk_error *err) {
  const char *path = opening->place.path;
  const char *slash = strrchr(path, '/');
  const char *name = slash == NULL ? path : slash + 1;
  VONK_TRY(vonk_tf_folder_take(opening, false, err));
  VONK_TRY(vonk_kit_source_map(&opening->model->source, INT32_MAX, "a .meta file",
                               &opening->file, err));
  VONK_TRY(vonk_tf_meta_read(&opening->place, opening->file, &opening->meta, err));
  VONK_TRY(
      vonk_tf_graph_read(&opening->place, opening->meta.graph, &opening->graph, err));
  opening->model->info.format = "checkpoint";
  VONK_TRY(opening->meta.n_signatures != 0 ? vonk_tf_signature_take(opening, err)
                                           : vonk_tf_graph_ports_take(opening, err));
  char prefix[PATH_MAX];
  size_t length = strlen(name) - (vonk_kit_has_extension(name, ".meta") ? 5 : 0);
  if (length == 0 || length >= sizeof prefix - 10) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': is no name of a checkpoint: NAME.meta",
                         path);
  }
  snprintf(prefix, sizeof prefix, "%.*s", (int)length, name);
  return vonk_tf_loading_take(opening, prefix, err);
}
