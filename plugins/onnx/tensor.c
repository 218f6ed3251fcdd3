/* Tensors between the host and ONNX Runtime.
 *
 * In: the host's memory is wrapped as it is (ONNX Runtime needs no more than the
 * element's own alignment); only strings are copied, because ONNX Runtime keeps them as
 * objects. Out: where the host gave memory, ONNX Runtime writes into it. Else the value
 * that it made is handed over: the tensor's release gives it back, and holds the
 * session's memory until then.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "onnx_plugin.h"

static const onnx_dtype dtypes[] = {
    {1, VONK_F32, 32, "f32"},   {2, VONK_U8, 8, "u8"},
    {3, VONK_I8, 8, "i8"},      {4, VONK_U16, 16, "u16"},
    {5, VONK_I16, 16, "i16"},   {6, VONK_I32, 32, "i32"},
    {7, VONK_I64, 64, "i64"},   {ORT_ELEMENT_STRING, VONK_BYTES, 0, "string"},
    {9, VONK_BOOL8, 8, "bool"}, {10, VONK_F16, 16, "f16"},
    {11, VONK_F64, 64, "f64"},  {12, VONK_U32, 32, "u32"},
    {13, VONK_U64, 64, "u64"},  {14, 0, 64, "complex64"},
    {15, 0, 128, "complex128"}, {16, VONK_BF16, 16, "bf16"},
    {17, 0, 8, "float8e4m3fn"}, {18, 0, 8, "float8e4m3fnuz"},
    {19, 0, 8, "float8e5m2"},   {20, 0, 8, "float8e5m2fnuz"},
    {21, 0, 4, "uint4"},        {22, 0, 4, "int4"},
    {23, 0, 4, "float4e2m1"},   {24, 0, 8, "float8e8m0"},
    {25, 0, 2, "uint2"},        {26, 0, 2, "int2"},
};

const onnx_dtype *vonk_onnx_dtype_of_ort(int ort) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].ort == ort) {
      return &dtypes[i];
    }
  }
  return NULL;
}

const onnx_dtype *vonk_onnx_dtype_of(vonk_dtype dtype) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].dtype == dtype && dtype != 0) {
      return &dtypes[i];
    }
  }
  return NULL;
}

static vonk_status wrap(const vonk_plugin_session *session, const vonk_tensor *tensor,
                        const vonk_io *io, size_t count, ort_value **out,
                        vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  const onnx_dtype *dtype = vonk_onnx_dtype_of(tensor->dtype);
  static max_align_t nothing; /* ONNX Runtime wants an address even for no element */
  const ort_memory_info *memory = runtime->cpu;
  if (tensor->device.kind > VONK_DEVICE_CPU) {
    vonk_device device = session->core->device;
    if (tensor->device.kind != device.kind || tensor->device.index != device.index) {
      return vonk_kit_fail(err, VONK_INVALID,
                           "'%s': is on device %" PRId32 ":%" PRId32
                           ": the session is on %" PRId32 ":%" PRId32,
                           io->name, tensor->device.kind, tensor->device.index,
                           device.kind, device.index);
    }
    memory = session->core->device_memory;
  }
  return vonk_onnx_check(
      runtime,
      runtime->api.CreateTensorWithDataAsOrtValue(
          memory, count == 0 ? (void *)&nothing : tensor->data, count * (dtype->bits / 8),
          tensor->shape, (size_t)tensor->rank, dtype->ort, out),
      err, "'%s'", io->name);
}

static vonk_status fill_strings(const onnx_runtime *runtime, const vonk_tensor *tensor,
                                const vonk_io *io, size_t count, ort_value *value,
                                vonk_error *err) {
  const int32_t *offsets = tensor->offsets;
  for (size_t i = 0; i < count; ++i) {
    size_t nbytes = (size_t)(offsets[i + 1] - offsets[i]);
    char *element;
    VONK_TRY(vonk_onnx_check(
        runtime,
        runtime->api.GetResizedStringTensorElementBuffer(value, i, nbytes, &element), err,
        "input '%s'", io->name));
    if (nbytes != 0) {
      memcpy(element, (const char *)tensor->data + offsets[i], nbytes);
    }
  }
  return VONK_OK;
}

vonk_status vonk_onnx_tensor_in(const vonk_plugin_session *session,
                                const vonk_tensor *tensor, const vonk_io *io,
                                ort_value **out, vonk_error *err) {
  size_t count;
  VONK_TRY(vonk_kit_tensor_check(tensor, io, "input", &count, err));
  if (tensor->dtype != VONK_BYTES) {
    return wrap(session, tensor, io, count, out, err);
  }
  const onnx_runtime *runtime = session->model->runtime;
  ort_value *value = NULL;
  VONK_TRY(vonk_onnx_check(runtime,
                           runtime->api.CreateTensorAsOrtValue(
                               runtime->allocator, tensor->shape, (size_t)tensor->rank,
                               ORT_ELEMENT_STRING, &value),
                           err, "input '%s'", io->name));
  vonk_status status = fill_strings(runtime, tensor, io, count, value, err);
  if (status != VONK_OK) {
    runtime->api.ReleaseValue(value);
    return status;
  }
  *out = value;
  return VONK_OK;
}

vonk_status vonk_onnx_tensor_place(const vonk_plugin_session *session,
                                   const vonk_tensor *tensor, const vonk_io *io,
                                   ort_value **out, vonk_error *err) {
  size_t count;
  if (tensor->dtype == VONK_BYTES) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "output '%s': is of strings, which cannot be written in place",
                         io->name);
  }
  VONK_TRY(vonk_kit_tensor_check(tensor, io, "output", &count, err));
  return wrap(session, tensor, io, count, out, err);
}

/* --- outputs that ONNX Runtime made ------------------------------------------------ */

/* The value may use the session's memory. */
static void drop_value(void *value, void *core) {
  const onnx_runtime *runtime;
  if (vonk_onnx_runtime_get(&runtime, NULL) == VONK_OK) {
    runtime->api.ReleaseValue(value);
  }
  vonk_onnx_core_release(core);
}

/* What ONNX Runtime says of a value. */
typedef struct value_facts {
  const onnx_dtype *dtype;
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
  size_t count, nbytes;
} value_facts;

static vonk_status read_facts(const onnx_runtime *runtime, const vonk_io *io,
                              const ort_value *value, value_facts *facts,
                              vonk_error *err) {
  const ort_api *api = &runtime->api;
  ort_tensor_info *info = NULL;
  int ort_dtype = 0;
  size_t rank = 0;
  VONK_TRY(vonk_onnx_check(runtime, api->GetTensorTypeAndShape(value, &info), err,
                           "output '%s'", io->name));
  vonk_status status = vonk_onnx_check(
      runtime, api->GetTensorElementType(info, &ort_dtype), err, "output '%s'", io->name);
  if (status == VONK_OK) {
    status = vonk_onnx_check(runtime, api->GetDimensionsCount(info, &rank), err,
                             "output '%s'", io->name);
  }
  if (status == VONK_OK && rank > VONK_MAX_RANK) {
    status = vonk_kit_fail(err, VONK_UNSUPPORTED,
                           "output '%s': has %zu dimensions: at most %d are possible",
                           io->name, rank, VONK_MAX_RANK);
  }
  if (status == VONK_OK) {
    status = vonk_onnx_check(runtime, api->GetDimensions(info, facts->shape, rank), err,
                             "output '%s'", io->name);
  }
  api->ReleaseTensorTypeAndShapeInfo(info);
  VONK_TRY(status);
  facts->dtype = vonk_onnx_dtype_of_ort(ort_dtype);
  facts->rank = (int32_t)rank;
  if (facts->dtype == NULL || facts->dtype->dtype != io->dtype ||
      vonk_kit_count(facts->shape, facts->rank, &facts->count) != VONK_OK ||
      __builtin_mul_overflow(facts->count, facts->dtype->bits / 8, &facts->nbytes)) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': came back as something else than the model says",
                         io->name);
  }
  return VONK_OK;
}

/* Where each string starts to `offsets`, and the nbytes of text behind them. */
static vonk_status copy_strings(const onnx_runtime *runtime, const vonk_io *io,
                                const ort_value *value, size_t count, size_t nbytes,
                                int32_t *offsets, vonk_error *err) {
  void *text = offsets + count + 1;
  size_t *starts = vonk_kit_alloc((count + 1) * sizeof *starts);
  if (starts == NULL) {
    return vonk_kit_fail_nomem(err, (count + 1) * sizeof *starts);
  }
  vonk_status status = VONK_OK;
  if (count != 0) {
    status = vonk_onnx_check(
        runtime, runtime->api.GetStringTensorContent(value, text, nbytes, starts, count),
        err, "output '%s'", io->name);
  }
  for (size_t i = 0; status == VONK_OK && i < count; ++i) {
    offsets[i] = (int32_t)starts[i];
  }
  offsets[count] = (int32_t)nbytes;
  vonk_kit_free(starts);
  return status;
}

/* Copies the strings: their bytes stand behind the int32 offsets, of which there is one
 * more than strings. */
static vonk_status adopt_strings(const vonk_plugin_session *session, const vonk_io *io,
                                 const value_facts *facts, ort_value *value,
                                 vonk_tensor *tensor, vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  size_t nbytes = 0;
  VONK_TRY(vonk_onnx_check(runtime,
                           runtime->api.GetStringTensorDataLength(value, &nbytes), err,
                           "output '%s'", io->name));
  kit_output *output;
  int32_t *offsets;
  char *text;
  VONK_TRY(vonk_kit_output_new_texts(io->name, facts->count, nbytes, &output, &offsets,
                                     &text, err));
  vonk_status status =
      copy_strings(runtime, io, value, facts->count, nbytes, offsets, err);
  if (status != VONK_OK) {
    vonk_kit_free(output);
    return status;
  }
  vonk_kit_output_give(output, VONK_BYTES, facts->rank, facts->shape,
                       facts->count == 0 ? NULL : text, nbytes, tensor);
  tensor->offsets = offsets;
  runtime->api.ReleaseValue(value);
  return VONK_OK;
}

/* Whether the elements are where the host can read them. */
static vonk_status check_memory(const onnx_runtime *runtime, const vonk_io *io,
                                const ort_value *value, vonk_error *err) {
  const ort_memory_info *memory = NULL;
  int device_type = ORT_DEVICE_CPU;
  VONK_TRY(vonk_onnx_check(runtime, runtime->api.GetTensorMemoryInfo(value, &memory), err,
                           "output '%s'", io->name));
  runtime->api.MemoryInfoGetDeviceType(memory, &device_type);
  if (device_type != ORT_DEVICE_CPU) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': came back in the device's own memory", io->name);
  }
  return VONK_OK;
}

vonk_status vonk_onnx_tensor_settle(const vonk_plugin_session *session, const vonk_io *io,
                                    ort_value *value, vonk_tensor *tensor,
                                    vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  void *data = NULL;
  VONK_TRY(vonk_onnx_check(runtime, runtime->api.GetTensorMutableData(value, &data), err,
                           "output '%s'", io->name));
  if (data == tensor->data || tensor->nbytes == 0) {
    return VONK_OK;
  }
  value_facts facts = {0};
  VONK_TRY(read_facts(runtime, io, value, &facts, err));
  if (facts.nbytes != tensor->nbytes) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': came with %zu bytes where %" PRIu64
                         " were expected",
                         io->name, facts.nbytes, tensor->nbytes);
  }
  memcpy(tensor->data, data, facts.nbytes);
  return VONK_OK;
}

vonk_status vonk_onnx_tensor_adopt(const vonk_plugin_session *session,
                                   const vonk_run *run, const vonk_io *io,
                                   ort_value *value, vonk_tensor *tensor,
                                   vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  value_facts facts = {0};
  void *data = NULL;
  VONK_TRY(read_facts(runtime, io, value, &facts, err));
  if (facts.dtype->dtype == VONK_BYTES) {
    return adopt_strings(session, io, &facts, value, tensor, err);
  }
  VONK_TRY(check_memory(runtime, io, value, err));
  VONK_TRY(vonk_onnx_check(runtime, runtime->api.GetTensorMutableData(value, &data), err,
                           "output '%s'", io->name));
  bool must_copy = vonk_kit_is_input_memory(run, data, facts.nbytes);
  kit_output *output;
  VONK_TRY(vonk_kit_output_new(must_copy ? facts.nbytes : 0, &output, err));
  if (must_copy) {
    memcpy(output->copy, data, facts.nbytes);
    runtime->api.ReleaseValue(value);
    data = output->copy;
  } else {
    output->value = value;
    output->owner = vonk_onnx_core_share(session->core);
    output->drop = drop_value;
  }
  vonk_kit_output_give(output, facts.dtype->dtype, facts.rank, facts.shape,
                       facts.count == 0 ? NULL : data, facts.nbytes, tensor);
  return VONK_OK;
}
