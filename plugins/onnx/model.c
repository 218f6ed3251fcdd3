/* Models: what a file holds, told before anything is run.
 *
 * Opening looks at the file itself first (onnx_file.c), then lets ONNX Runtime load it,
 * and copies inputs, outputs and metadata out of the loaded session, which knows shapes
 * that the file leaves to be inferred. Inputs that are no tensors are refused; such
 * outputs are hidden as long as there are others (classifiers from scikit-learn return a
 * list of maps besides).
 */
#include <stdlib.h>
#include <string.h>

#include "onnx_file.h"

const vonk_kv vonk_onnx_options[] = {
    {"graph_optimization",
     "how far ONNX Runtime rewrites the network: disable, basic, extended or all "
     "(default)"},
    {"shared_weights",
     "1: use the weights where the file has them, shared between processes, instead of a "
     "private rearranged copy: less memory and faster loading, slower runs (default 0)"},
    {NULL, NULL},
};

static vonk_status set_optimization(vonk_plugin_model *model, const char *value,
                                    vonk_error *err) {
  static const struct {
    const char *name;
    int level;
  } levels[] = {{"disable", 0}, {"basic", 1}, {"extended", 2}, {"all", 99}};
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; ++i) {
    if (strcmp(value, levels[i].name) == 0) {
      model->graph_optimization = levels[i].level;
      return VONK_OK;
    }
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "graph_optimization='%.80s': disable, basic, extended and all are "
                       "possible",
                       value);
}

static vonk_status set_option(vonk_plugin_model *model, const vonk_kv *option,
                              vonk_error *err) {
  if (strcmp(option->key, "graph_optimization") == 0) {
    return set_optimization(model, option->value, err);
  }
  if (strcmp(option->key, "shared_weights") == 0) {
    if (strcmp(option->value, "0") != 0 && strcmp(option->value, "1") != 0) {
      return vonk_kit_fail(err, VONK_INVALID,
                           "shared_weights='%.80s': 0 and 1 are possible", option->value);
    }
    model->share_weights = option->value[0] == '1';
    return VONK_OK;
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "option '%.80s': the ONNX plug-in has graph_optimization and "
                       "shared_weights",
                       option->key);
}

/* Looks at the model's own file and at what lies beside it. */
static vonk_status check(const vonk_plugin_model *model, kit_arena *arena,
                         onnx_file_facts *out, vonk_error *err) {
  kit_slice file;
  VONK_TRY(vonk_kit_source_map(&model->source, UINT64_MAX, "an .onnx or .ort file", &file,
                               err));
  vonk_status status = vonk_onnx_file_check(&model->source, file, arena, out, err);
  vonk_kit_source_unmap(&model->source, file);
  return status;
}

static vonk_status check_companions(const vonk_plugin_model *model, vonk_error *err) {
  return model->n_companions == 0 || model->runtime->takes_files
             ? VONK_OK
             : vonk_kit_fail(err, VONK_UNSUPPORTED,
                             "'%s': keeps weights in files beside it, which ONNX Runtime "
                             "%s at '%s' cannot take out of a bundle: update it to %s or "
                             "newer, or unpack the bundle",
                             model->path, model->runtime->version, model->runtime->path,
                             VONK_ORT_LATER);
}

static vonk_status fill(vonk_plugin_model *model, kit_source source,
                        const vonk_kv *options, size_t n_options, vonk_error *err) {
  model->graph_optimization = 99;
  for (size_t i = 0; i < n_options; ++i) {
    VONK_TRY(set_option(model, &options[i], err));
  }
  VONK_TRY(vonk_kit_source_keep(&model->arena, source, &model->source, err));
  model->path = model->source.path;
  onnx_file_facts facts;
  VONK_TRY(check(model, &model->arena, &facts, err));
  VONK_TRY(vonk_onnx_runtime_get(&model->runtime, err));
  model->companions = facts.companions;
  model->n_companions = facts.n_companions;
  VONK_TRY(check_companions(model, err));
  model->is_ort_format = facts.is_ort_format;
  model->shapeless = facts.shapeless;
  model->info = (vonk_model_info){
      .struct_size = (uint32_t)sizeof model->info,
      .n_metadata = facts.n_metadata,
      .n_params = facts.n_params,
      .weight_bytes = facts.weight_bytes,
      .format = facts.is_ort_format ? "ort" : "onnx",
      .producer = facts.producer,
      .metadata = facts.metadata,
  };
  const vonk_device cpu = {VONK_DEVICE_CPU, 0};
  VONK_TRY(vonk_onnx_core_create(model, cpu, 1, &model->resident, err));
  return vonk_onnx_read_signature(model, model->resident->session, err);
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
  vonk_status status = fill(model, source, options, n_options, err);
  if (status != VONK_OK) {
    vonk_onnx_release_model(model);
    return status;
  }
  *out = model;
  return VONK_OK;
}

vonk_status vonk_onnx_open_model(const char *path, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err) {
  return open_source((kit_source){path, NULL}, options, n_options, out, err);
}

vonk_status vonk_onnx_open_files(const vonk_files *files, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err) {
  return open_source((kit_source){files->path, files}, options, n_options, out, err);
}

vonk_status vonk_onnx_model_info(const vonk_plugin_model *model, vonk_model_info *out,
                                 vonk_error *err) {
  (void)err;
  vonk_kit_give(out, out->struct_size, &model->info, sizeof model->info);
  return VONK_OK;
}

vonk_status vonk_onnx_describe(const vonk_plugin_model *model, int32_t is_output,
                               uint32_t index, vonk_io *out, vonk_error *err) {
  const kit_tables tables = {model->path, &model->info, model->inputs, model->outputs};
  return vonk_kit_describe(&tables, is_output, index, out, err);
}

void vonk_onnx_release_model(vonk_plugin_model *model) {
  if (model != NULL) {
    vonk_onnx_core_release(model->resident);
    pthread_mutex_destroy(&model->lock);
    vonk_kit_arena_release(&model->arena);
    vonk_kit_free(model);
  }
}
