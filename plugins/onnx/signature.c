/* Inputs, outputs and metadata of a loaded session, copied into the model. */
#include <stdio.h>
#include <string.h>

#include "onnx_plugin.h"

/* The entries for one side of the signature. */
typedef struct io_side {
  const char *kind; /* "input" or "output" */
  ort_status *(*count)(const ort_session *, size_t *);
  ort_status *(*name)(const ort_session *, size_t, ort_allocator *, char **);
  ort_status *(*type)(const ort_session *, size_t, ort_type_info **);
  bool may_hide;
} io_side;

/* Copies a string that ONNX Runtime made, and gives it back. */
static vonk_status take_text(vonk_plugin_model *model, char *text, const char **out,
                             vonk_error *err) {
  vonk_status status =
      vonk_kit_new_text(&model->arena, text, text == NULL ? 0 : strlen(text), out, err);
  ort_status *ignored =
      model->runtime->api.AllocatorFree(model->runtime->allocator, text);
  model->runtime->api.ReleaseStatus(ignored);
  return status;
}

static bool is_shapeless(const vonk_plugin_model *model, const char *name) {
  for (const onnx_name *n = model->shapeless; n != NULL; n = n->next) {
    if (strcmp(n->text, name) == 0) {
      return true;
    }
  }
  return false;
}

static vonk_status read_dims(vonk_plugin_model *model, const ort_tensor_info *info,
                             vonk_io *io, vonk_error *err) {
  const ort_api *api = &model->runtime->api;
  size_t rank = 0;
  VONK_TRY(vonk_onnx_check(model->runtime, api->GetDimensionsCount(info, &rank), err,
                           "'%s'", io->name));
  if (rank > VONK_MAX_RANK) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': tensor '%s': has %zu dimensions: at most %d are possible",
                         model->path, io->name, rank, VONK_MAX_RANK);
  }
  int64_t *shape;
  const char *symbols[VONK_MAX_RANK] = {0}, **names;
  VONK_TRY(vonk_kit_new(&model->arena, rank + 1, sizeof *shape, &shape, err));
  VONK_TRY(vonk_kit_new(&model->arena, rank + 1, sizeof *names, &names, err));
  VONK_TRY(vonk_onnx_check(model->runtime, api->GetDimensions(info, shape, rank), err,
                           "'%s'", io->name));
  VONK_TRY(vonk_onnx_check(model->runtime,
                           api->GetSymbolicDimensions(info, symbols, rank), err, "'%s'",
                           io->name));
  for (size_t i = 0; i < rank; ++i) {
    shape[i] = shape[i] < 0 ? -1 : shape[i];
    if (shape[i] < 0 && symbols[i] != NULL && symbols[i][0] != '\0') {
      VONK_TRY(vonk_kit_new_text(&model->arena, symbols[i], strlen(symbols[i]), &names[i],
                                 err));
    }
  }
  io->rank = rank == 0 && is_shapeless(model, io->name) ? -1 : (int32_t)rank;
  io->shape = shape;
  io->dim_names = names;
  return VONK_OK;
}

static const char *type_name(int type) {
  static const char *const names[] = {
      "of unknown type", "a tensor",        "a sequence", "a map",
      "of opaque type",  "a sparse tensor", "optional"};
  return type >= 0 && (size_t)type < sizeof names / sizeof names[0] ? names[type]
                                                                    : names[0];
}

/* VONK_UNSUPPORTED if vonk has no such values. */
static vonk_status read_type(vonk_plugin_model *model, const char *kind,
                             const ort_type_info *info, vonk_io *io, vonk_error *err) {
  const ort_api *api = &model->runtime->api;
  int type = ORT_TYPE_UNKNOWN, ort_dtype = 0;
  VONK_TRY(vonk_onnx_check(model->runtime, api->GetOnnxTypeFromTypeInfo(info, &type), err,
                           "'%s'", io->name));
  const ort_tensor_info *tensor = NULL;
  VONK_TRY(vonk_onnx_check(model->runtime, api->CastTypeInfoToTensorInfo(info, &tensor),
                           err, "'%s'", io->name));
  if (type != ORT_TYPE_TENSOR || tensor == NULL) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': %s '%s': is %s: vonk has tensors only: export the model with "
        "tensors there (skl2onnx: options={'zipmap': False})",
        model->path, kind, io->name, type_name(type));
  }
  VONK_TRY(vonk_onnx_check(model->runtime, api->GetTensorElementType(tensor, &ort_dtype),
                           err, "'%s'", io->name));
  const onnx_dtype *dtype = vonk_onnx_dtype_of_ort(ort_dtype);
  if (dtype == NULL || dtype->dtype == 0) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': %s '%s': is a tensor of %s: vonk has none such: put a Cast "
        "there",
        model->path, kind, io->name, dtype == NULL ? "unknown dtype" : dtype->name);
  }
  io->dtype = dtype->dtype;
  return read_dims(model, tensor, io, err);
}

static vonk_status read_one(vonk_plugin_model *model, ort_session *session,
                            const io_side *side, size_t index, vonk_io *io,
                            vonk_error *err) {
  const onnx_runtime *runtime = model->runtime;
  char *name = NULL;
  *io = (vonk_io){.struct_size = (uint32_t)sizeof *io};
  VONK_TRY(vonk_onnx_check(runtime, side->name(session, index, runtime->allocator, &name),
                           err, "'%s': %s %zu", model->path, side->kind, index));
  VONK_TRY(take_text(model, name, &io->name, err));
  ort_type_info *info = NULL;
  VONK_TRY(vonk_onnx_check(runtime, side->type(session, index, &info), err,
                           "'%s': %s '%s'", model->path, side->kind, io->name));
  vonk_status status = read_type(model, side->kind, info, io, err);
  runtime->api.ReleaseTypeInfo(info);
  return status;
}

/* Fills *out with the values that vonk has. Hidden ones are logged, unless there are no
 * others: then the reason of the last one is the error. */
static vonk_status read_side(vonk_plugin_model *model, ort_session *session,
                             const io_side *side, vonk_io **out, uint32_t *out_count,
                             vonk_error *err) {
  size_t count = 0;
  VONK_TRY(vonk_onnx_check(model->runtime, side->count(session, &count), err, "'%s'",
                           model->path));
  if (count > UINT32_MAX) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': has too many %ss", model->path,
                         side->kind);
  }
  vonk_io *rows;
  uint32_t n_rows = 0;
  VONK_TRY(vonk_kit_new(&model->arena, count + 1, sizeof *rows, &rows, err));
  vonk_error why = {.struct_size = (uint32_t)sizeof why};
  for (size_t i = 0; i < count; ++i) {
    vonk_status status = read_one(model, session, side, i, &rows[n_rows], &why);
    if (status == VONK_OK) {
      ++n_rows;
    } else if (status != VONK_UNSUPPORTED || !side->may_hide) {
      return vonk_kit_fail(err, status, "%s", why.message);
    } else {
      const vonk_host *host = vonk_kit_host();
      host->log(host->ctx, VONK_LOG_WARNING, "onnx", why.message);
    }
  }
  if (side->may_hide && n_rows == 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "%s", why.message);
  }
  *out = rows;
  *out_count = n_rows;
  return VONK_OK;
}

/* An .ort file's metadata, which only ONNX Runtime can read. */
static vonk_status read_metadata(vonk_plugin_model *model, const ort_metadata *metadata,
                                 vonk_error *err) {
  const onnx_runtime *runtime = model->runtime;
  const ort_api *api = &runtime->api;
  char *producer = NULL, **keys = NULL;
  int64_t n_keys = 0;
  VONK_TRY(vonk_onnx_check(
      runtime, api->ModelMetadataGetProducerName(metadata, runtime->allocator, &producer),
      err, "'%s'", model->path));
  VONK_TRY(take_text(model, producer, &model->info.producer, err));
  if (model->info.producer[0] == '\0') {
    model->info.producer = NULL;
  }
  VONK_TRY(vonk_onnx_check(runtime,
                           api->ModelMetadataGetCustomMetadataMapKeys(
                               metadata, runtime->allocator, &keys, &n_keys),
                           err, "'%s'", model->path));
  vonk_kv *rows = NULL;
  vonk_status status =
      vonk_kit_new(&model->arena, (size_t)n_keys + 1, sizeof *rows, &rows, err);
  for (int64_t i = 0; i < n_keys; ++i) {
    char *value = NULL;
    if (status == VONK_OK) {
      status = vonk_onnx_check(runtime,
                               api->ModelMetadataLookupCustomMetadataMap(
                                   metadata, runtime->allocator, keys[i], &value),
                               err, "'%s'", model->path);
    }
    if (status == VONK_OK) {
      status = take_text(model, value, &rows[i].value, err);
    }
    if (status == VONK_OK) {
      status =
          vonk_kit_new_text(&model->arena, keys[i], strlen(keys[i]), &rows[i].key, err);
    }
    api->ReleaseStatus(api->AllocatorFree(runtime->allocator, keys[i]));
  }
  api->ReleaseStatus(api->AllocatorFree(runtime->allocator, keys));
  VONK_TRY(status);
  model->info.metadata = rows;
  model->info.n_metadata = (uint32_t)n_keys;
  return VONK_OK;
}

vonk_status vonk_onnx_read_signature(vonk_plugin_model *model, ort_session *session,
                                     vonk_error *err) {
  const ort_api *api = &model->runtime->api;
  const io_side inputs = {"input", api->SessionGetInputCount, api->SessionGetInputName,
                          api->SessionGetInputTypeInfo, false};
  const io_side outputs = {"output", api->SessionGetOutputCount,
                           api->SessionGetOutputName, api->SessionGetOutputTypeInfo,
                           true};
  VONK_TRY(
      read_side(model, session, &inputs, &model->inputs, &model->info.n_inputs, err));
  VONK_TRY(
      read_side(model, session, &outputs, &model->outputs, &model->info.n_outputs, err));
  if (!model->is_ort_format) {
    return VONK_OK;
  }
  ort_metadata *metadata = NULL;
  VONK_TRY(vonk_onnx_check(model->runtime,
                           api->SessionGetModelMetadata(session, &metadata), err, "'%s'",
                           model->path));
  vonk_status status = read_metadata(model, metadata, err);
  api->ReleaseModelMetadata(metadata);
  return status;
}
