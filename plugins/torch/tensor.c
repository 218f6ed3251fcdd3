/* Tensors between the host and PyTorch, through PyTorch's C functions.
 *
 * In: the host's memory is wrapped as it is. Out: what PyTorch made is handed over; the
 * tensor's release gives it back. An output is copied if its memory is an input's or if
 * its elements do not stand in row-major order.
 */
#include <inttypes.h>
#include <string.h>

#include "torch_plugin.h"

static const struct {
  vonk_dtype dtype;
  int32_t torch;
} dtypes[] = {
    {VONK_F16, ATEN_HALF},   {VONK_BF16, ATEN_BFLOAT16}, {VONK_F32, ATEN_FLOAT},
    {VONK_F64, ATEN_DOUBLE}, {VONK_I8, ATEN_INT8},       {VONK_I16, ATEN_INT16},
    {VONK_I32, ATEN_INT32},  {VONK_I64, ATEN_INT64},     {VONK_U8, ATEN_UINT8},
    {VONK_U16, ATEN_UINT16}, {VONK_U32, ATEN_UINT32},    {VONK_U64, ATEN_UINT64},
    {VONK_BOOL8, ATEN_BOOL},
};

int32_t vonk_torch_dtype(vonk_dtype dtype) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].dtype == dtype) {
      return dtypes[i].torch;
    }
  }
  return -1;
}

vonk_dtype vonk_torch_dtype_of(int32_t dtype) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].torch == dtype) {
      return dtypes[i].dtype;
    }
  }
  return 0;
}

static void row_major(const int64_t *shape, int32_t rank, int64_t *strides) {
  int64_t stride = 1;
  for (int32_t i = rank; i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i] > 1 ? shape[i] : 1;
  }
}

vonk_status vonk_torch_tensor_in(const torch_runtime *runtime, const vonk_tensor *tensor,
                                 const vonk_io *io, aten_tensor **out, vonk_error *err) {
  size_t count;
  VONK_TRY(vonk_kit_tensor_check(tensor, io, "input", &count, err));
  if (tensor->device.kind > VONK_DEVICE_CPU) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "input '%s': is on device %" PRId32 ":%" PRId32
                         ": the session is on the CPU",
                         io->name, tensor->device.kind, tensor->device.index);
  }
  static max_align_t nothing; /* an address even for no element */
  int64_t strides[VONK_MAX_RANK];
  row_major(tensor->shape, tensor->rank, strides);
  const torch_api *api = &runtime->api;
  if (api->create_tensor_from_blob(count == 0 ? (void *)&nothing : tensor->data,
                                   tensor->rank, tensor->shape, strides, 0,
                                   vonk_torch_dtype(tensor->dtype),
                                   api->device_type_cpu(), 0, out) != 0) {
    return vonk_kit_fail(err, VONK_BACKEND, "input '%s': PyTorch does not take it",
                         io->name);
  }
  return VONK_OK;
}

void vonk_torch_tensor_delete(const torch_runtime *runtime, aten_tensor *tensor) {
  if (tensor != NULL) {
    runtime->api.delete_tensor_object(tensor);
  }
}

/* --- outputs ------------------------------------------------------------------------- */

static bool is_row_major(const torch_tensor_facts *facts, const int64_t *strides) {
  int64_t expected[VONK_MAX_RANK];
  row_major(facts->shape, facts->rank, expected);
  for (int32_t i = 0; i < facts->rank; ++i) {
    if (facts->shape[i] > 1 && strides[i] != expected[i]) {
      return false;
    }
  }
  return true;
}

vonk_status vonk_torch_tensor_facts(const torch_runtime *runtime, aten_tensor *value,
                                    const char *name, torch_tensor_facts *out,
                                    vonk_error *err) {
  const torch_api *api = &runtime->api;
  int64_t rank = 0, *sizes = NULL, *strides = NULL;
  int32_t dtype = -1, device = -1;
  if (api->get_dim(value, &rank) != 0 || api->get_sizes(value, &sizes) != 0 ||
      api->get_strides(value, &strides) != 0 || api->get_dtype(value, &dtype) != 0 ||
      api->get_device_type(value, &device) != 0 || device != api->device_type_cpu()) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': is no dense tensor in the CPU's memory", name);
  }
  torch_tensor_facts facts = {.dtype = vonk_torch_dtype_of(dtype)};
  const kit_dtype *row = vonk_kit_dtype(facts.dtype);
  if (row == NULL) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "output '%s': is of a dtype that vonk does not have (PyTorch's "
                         "number %" PRId32 "): convert it in the module",
                         name, dtype);
  }
  if (rank < 0 || rank > VONK_MAX_RANK) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "output '%s': has %" PRId64
                         " dimensions: at most %d are possible",
                         name, rank, VONK_MAX_RANK);
  }
  facts.rank = (int32_t)rank;
  memcpy(facts.shape, sizes, (size_t)rank * sizeof *sizes);
  if (vonk_kit_count(facts.shape, facts.rank, &facts.count) != VONK_OK ||
      __builtin_mul_overflow(facts.count, row->bytes, &facts.nbytes)) {
    return vonk_kit_fail(err, VONK_BACKEND, "output '%s': has an impossible shape", name);
  }
  facts.is_contiguous = is_row_major(&facts, strides);
  *out = facts;
  return VONK_OK;
}

static void drop_tensor(void *value, void *owner) {
  (void)owner;
  const torch_runtime *runtime;
  if (vonk_torch_runtime_get(&runtime, NULL) == VONK_OK) {
    vonk_torch_tensor_delete(runtime, value);
  }
}

/* Replaces *value by a row-major copy in memory of its own. */
static vonk_status copy_value(const torch_runtime *runtime, const char *name,
                              const torch_tensor_facts *facts, aten_tensor **value,
                              vonk_error *err) {
  const torch_api *api = &runtime->api;
  int64_t strides[VONK_MAX_RANK];
  row_major(facts->shape, facts->rank, strides);
  aten_tensor *copy = NULL;
  if (api->empty_strided(facts->rank, facts->shape, strides,
                         vonk_torch_dtype(facts->dtype), api->device_type_cpu(), 0,
                         &copy) != 0) {
    return vonk_kit_fail_nomem(err, facts->nbytes);
  }
  if (api->copy(copy, *value, 0) != 0) {
    api->delete_tensor_object(copy);
    return vonk_kit_fail(err, VONK_BACKEND, "output '%s': cannot be copied", name);
  }
  api->delete_tensor_object(*value);
  *value = copy;
  return VONK_OK;
}

vonk_status vonk_torch_tensor_copy(const torch_runtime *runtime, const char *name,
                                   aten_tensor **value, vonk_error *err) {
  torch_tensor_facts facts;
  VONK_TRY(vonk_torch_tensor_facts(runtime, *value, name, &facts, err));
  return copy_value(runtime, name, &facts, value, err);
}

static vonk_status check_facts(const vonk_io *io, const torch_tensor_facts *facts,
                               vonk_error *err) {
  if (facts->dtype != io->dtype) {
    return vonk_kit_fail(
        err, VONK_BACKEND, "output '%s': came back as %s: the model was said to give %s",
        io->name, vonk_kit_dtype(facts->dtype)->name, vonk_kit_dtype(io->dtype)->name);
  }
  bool fits = io->rank < 0 || io->rank == facts->rank;
  for (int32_t i = 0; fits && i < io->rank; ++i) {
    fits = io->shape[i] < 0 || io->shape[i] == facts->shape[i];
  }
  if (fits) {
    return VONK_OK;
  }
  char found[256], expected[256];
  vonk_kit_shape_text(facts->shape, facts->rank, NULL, found, sizeof found);
  vonk_kit_shape_text(io->shape, io->rank, io->dim_names, expected, sizeof expected);
  return vonk_kit_fail(err, VONK_BACKEND,
                       "output '%s': came back with shape %s: the model was said to give "
                       "%s: say so with the option outputs",
                       io->name, found, expected);
}

static vonk_status prepare(const torch_runtime *runtime, const vonk_run *run,
                           const vonk_io *io, aten_tensor **value,
                           torch_tensor_facts *facts, void **data, vonk_error *err) {
  const torch_api *api = &runtime->api;
  VONK_TRY(vonk_torch_tensor_facts(runtime, *value, io->name, facts, err));
  VONK_TRY(check_facts(io, facts, err));
  api->get_data_ptr(*value, data);
  if (!facts->is_contiguous || vonk_kit_is_input_memory(run, *data, facts->nbytes)) {
    VONK_TRY(copy_value(runtime, io->name, facts, value, err));
    api->get_data_ptr(*value, data);
  }
  return VONK_OK;
}

vonk_status vonk_torch_tensor_adopt(const torch_runtime *runtime, const vonk_run *run,
                                    const vonk_io *io, aten_tensor *value,
                                    vonk_tensor *tensor, vonk_error *err) {
  torch_tensor_facts facts;
  void *data = NULL;
  kit_output *output = NULL;
  vonk_status status = prepare(runtime, run, io, &value, &facts, &data, err);
  if (status == VONK_OK) {
    status = vonk_kit_output_new(0, &output, err);
  }
  if (status != VONK_OK) {
    vonk_torch_tensor_delete(runtime, value);
    return status;
  }
  output->value = value;
  output->drop = drop_tensor;
  vonk_kit_output_give(output, facts.dtype, facts.rank, facts.shape,
                       facts.count == 0 ? NULL : data, facts.nbytes, tensor);
  return VONK_OK;
}
