/* Models: what a file or folder holds, told before anything is run.
 *
 *   sniff.c       what it is
 *   savedmodel.c, checkpoint.c, graphdef.c
 *                 read the file, mapped or in memory (meta_file.c, graph_file.c); inputs and outputs
 *                 by its signature (signature.c) or by the graph's own look (graphdef.c)
 *   reach.c       what a run would execute: is it all harmless, how many numbers
 *   files.c, origin.c
 *                 the files beside it, and whether they are its own
 *   import.c      the graph handed to TensorFlow
 *
 * Only the last step needs TensorFlow. The file is unmapped when the model is open: all
 * that is kept are names. Variables are loaded by the first session (session.c), of a
 * model in memory out of there (ram.c).
 */
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opening.h"

const vonk_kv vonk_tf_options[] = {
    {"signature", "which signature of a SavedModel to run (default serving_default)"},
    {"tags",
     "which graph of a SavedModel, by its tags, comma-separated (default serve, or the "
     "only one there is)"},
    {"inputs",
     "inputs of a graph without signatures, or dtypes and shapes that the model does not "
     "say: x:f32[-1,4],ids:i64[-1,16]"},
    {"outputs", "outputs of a graph without signatures, such as softmax,logits"},
    {NULL, NULL},
};

static vonk_status set_option(tf_opening *opening, const vonk_kv *option,
                              vonk_error *err) {
  const struct {
    const char *key;
    const char **value;
  } rows[] = {{"signature", &opening->signature},
              {"tags", &opening->tags},
              {"inputs", &opening->inputs},
              {"outputs", &opening->outputs}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
    if (strcmp(option->key, rows[i].key) == 0) {
      *rows[i].value = option->value;
      return VONK_OK;
    }
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "option '%.80s': the TensorFlow plug-in has signature, tags, "
                       "inputs and outputs",
                       option->key);
}

/* "tensorflow 2.21.0" */
static vonk_status take_producer(tf_opening *opening, vonk_error *err) {
  kit_slice version = opening->meta.version;
  char text[128];
  if (version.size == 0 || version.size > 100) {
    return VONK_OK;
  }
  int n = snprintf(text, sizeof text, "tensorflow %.*s", (int)version.size,
                   (const char *)version.data);
  return vonk_kit_new_text(&opening->model->arena, text, (size_t)n,
                           &opening->model->info.producer, err);
}

static vonk_status fill(tf_opening *opening, const vonk_kv *options, size_t n_options,
                        vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  for (size_t i = 0; i < n_options; ++i) {
    VONK_TRY(set_option(opening, &options[i], err));
  }
  model->info = (vonk_model_info){
      .struct_size = (uint32_t)sizeof model->info, .n_params = -1, .weight_bytes = -1};
  tf_open_kind open_kind = NULL;
  VONK_TRY(vonk_tf_kind_find(&model->source, &open_kind, err));
  VONK_TRY(open_kind(opening, err));
  VONK_TRY(take_producer(opening, err));
  VONK_TRY(vonk_tf_runtime_get(&model->runtime, err));
  return vonk_tf_import(opening, err);
}

static vonk_status open_source(kit_source source, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err) {
  vonk_plugin_model *model = vonk_kit_alloc(sizeof *model);
  if (model == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *model);
  }
  *model = (vonk_plugin_model){0};
  pthread_mutex_init(&model->lock, NULL);
  kit_arena tables = {0}; /* of the file's reader, not needed afterwards */
  tf_opening opening = {.model = model, .place = {source.path, &tables}};
  vonk_status status = vonk_kit_source_keep(&model->arena, source, &model->source, err);
  if (status == VONK_OK) {
    model->path = model->source.path;
    fenv_t mode;
    fegetenv(&mode);
    status = fill(&opening, options, n_options, err);
    fesetenv(&mode);
  }
  vonk_kit_source_unmap(&source, opening.file);
  vonk_kit_arena_release(&tables);
  if (status != VONK_OK) {
    vonk_tf_release_model(model);
    return status;
  }
  *out = model;
  return VONK_OK;
}

vonk_status vonk_tf_open_model(const char *path, const vonk_kv *options, size_t n_options,
                               vonk_plugin_model **out, vonk_error *err) {
  return open_source((kit_source){path, NULL}, options, n_options, out, err);
}

vonk_status vonk_tf_open_files(const vonk_files *files, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err) {
  return open_source((kit_source){files->path, files}, options, n_options, out, err);
}

vonk_status vonk_tf_model_info(const vonk_plugin_model *model, vonk_model_info *out,
                               vonk_error *err) {
  (void)err;
  vonk_kit_give(out, out->struct_size, &model->info, sizeof model->info);
  return VONK_OK;
}

vonk_status vonk_tf_describe(const vonk_plugin_model *model, int32_t is_output,
                             uint32_t index, vonk_io *out, vonk_error *err) {
  const kit_tables tables = {model->path, &model->info, model->inputs, model->outputs};
  return vonk_kit_describe(&tables, is_output, index, out, err);
}

void vonk_tf_release_model(vonk_plugin_model *model) {
  if (model == NULL) {
    return;
  }
  vonk_tf_core_release(model->runtime, model->core);
  if (model->graph != NULL) {
    model->runtime->api.DeleteGraph(model->graph);
  }
  pthread_mutex_destroy(&model->lock);
  vonk_kit_arena_release(&model->arena);
  vonk_kit_free(model);
}
