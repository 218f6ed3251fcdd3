/* Tensors as the host hands them over, held against what the model says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kit/kit.h"

static const kit_dtype dtypes[] = {
    {VONK_F16, 2, "f16"},    {VONK_BF16, 2, "bf16"},    {VONK_F32, 4, "f32"},
    {VONK_F64, 8, "f64"},    {VONK_I8, 1, "i8"},        {VONK_I16, 2, "i16"},
    {VONK_I32, 4, "i32"},    {VONK_I64, 8, "i64"},      {VONK_U8, 1, "u8"},
    {VONK_U16, 2, "u16"},    {VONK_U32, 4, "u32"},      {VONK_U64, 8, "u64"},
    {VONK_BOOL8, 1, "bool"}, {VONK_BYTES, 0, "string"},
};

const kit_dtype *vonk_kit_dtype(vonk_dtype dtype) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].dtype == dtype) {
      return &dtypes[i];
    }
  }
  return NULL;
}

vonk_status vonk_kit_count(const int64_t *shape, int32_t rank, size_t *out) {
  size_t count = 1;
  bool is_empty = false;
  for (int32_t i = 0; i < rank; ++i) {
    is_empty |= shape[i] == 0;
    if (shape[i] < 0 ||
        (shape[i] != 0 && __builtin_mul_overflow(count, (uint64_t)shape[i], &count))) {
      return VONK_INVALID;
    }
  }
  *out = is_empty ? 0 : count;
  return VONK_OK;
}

void vonk_kit_shape_text(const int64_t *shape, int32_t rank, const char *const *dim_names,
                         char *out, size_t capacity) {
  size_t used = (size_t)snprintf(out, capacity, "[");
  for (int32_t i = 0; i < rank && used < capacity; ++i) {
    const char *comma = i == 0 ? "" : ", ";
    const char *name = dim_names != NULL && dim_names[i] != NULL ? dim_names[i] : "?";
    bool is_number = shape[i] >= 0 || dim_names == NULL;
    int more = is_number
                   ? snprintf(out + used, capacity - used, "%s%" PRId64, comma, shape[i])
                   : snprintf(out + used, capacity - used, "%s%.40s", comma, name);
    used += more > 0 ? (size_t)more : 0;
  }
  if (used + 1 < capacity) {
    memcpy(out + used, "]", 2);
  }
}

/* A place of another shape than the model yields is VONK_BACKEND, as the interface says. */
static vonk_status fail_shape(const vonk_tensor *tensor, const vonk_io *io,
                              const char *kind, vonk_error *err) {
  char found[256], expected[256];
  vonk_kit_shape_text(tensor->shape, tensor->rank, NULL, found, sizeof found);
  vonk_kit_shape_text(io->shape, io->rank, io->dim_names, expected, sizeof expected);
  vonk_status code = strcmp(kind, "output") == 0 ? VONK_BACKEND : VONK_INVALID;
  return vonk_kit_fail(err, code, "%s '%s': has shape %s: the model wants %s", kind,
                       io->name, found, expected);
}

static vonk_status check_offsets(const vonk_tensor *tensor, const vonk_io *io,
                                 const char *kind, size_t count, vonk_error *err) {
  const int32_t *offsets = tensor->offsets;
  for (size_t i = 0; i < count; ++i) {
    if (offsets[i] < 0 || offsets[i + 1] < offsets[i] ||
        (uint64_t)offsets[i + 1] > tensor->nbytes) {
      return vonk_kit_fail(err, VONK_INVALID, "%s '%s': offset %zu is out of order", kind,
                           io->name, i);
    }
  }
  return VONK_OK;
}

vonk_status vonk_kit_tensor_check(const vonk_tensor *tensor, const vonk_io *io,
                                  const char *kind, size_t *out_count, vonk_error *err) {
  const kit_dtype *found = vonk_kit_dtype(tensor->dtype);
  const kit_dtype *expected = vonk_kit_dtype(io->dtype);
  if (found != expected || found == NULL) {
    return vonk_kit_fail(err, VONK_INVALID, "%s '%s': is %s: the model wants %s", kind,
                         io->name, found == NULL ? "of an unknown dtype" : found->name,
                         expected == NULL ? "something else" : expected->name);
  }
  if (tensor->rank < 0 || tensor->rank > VONK_MAX_RANK) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "%s '%s': has rank %" PRId32 ": 0 to %d are possible", kind,
                         io->name, tensor->rank, VONK_MAX_RANK);
  }
  bool fits = io->rank < 0 || io->rank == tensor->rank;
  for (int32_t i = 0; fits && i < io->rank; ++i) {
    fits = io->shape[i] < 0 || io->shape[i] == tensor->shape[i];
  }
  size_t count = 0, nbytes = 0;
  if (!fits || vonk_kit_count(tensor->shape, tensor->rank, &count) != VONK_OK) {
    return fail_shape(tensor, io, kind, err);
  }
  bool is_fixed = found->bytes != 0;
  if ((is_fixed && (__builtin_mul_overflow(count, found->bytes, &nbytes) ||
                    nbytes > tensor->nbytes)) ||
      (count != 0 && is_fixed && tensor->data == NULL) ||
      (count != 0 && !is_fixed && tensor->offsets == NULL)) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "%s '%s': has %" PRIu64
                         " bytes: its %zu elements of %s need more",
                         kind, io->name, tensor->nbytes, count, found->name);
  }
  if (!is_fixed) {
    VONK_TRY(check_offsets(tensor, io, kind, count, err));
  }
  *out_count = count;
  return VONK_OK;
}

vonk_status vonk_kit_run_check(const char *path, const vonk_model_info *info, pid_t pid,
                               const vonk_run *run, vonk_error *err) {
  if (run->n_inputs != info->n_inputs || run->n_outputs != info->n_outputs) {
    return vonk_kit_fail(
        err, VONK_INVALID, "'%s': got %u inputs and %u outputs: the model has %u and %u",
        path, run->n_inputs, run->n_outputs, info->n_inputs, info->n_outputs);
  }
  if (pid != 0 && pid != getpid()) {
    return vonk_kit_fail(err, VONK_FORKED,
                         "'%s': the process was forked after its threads had started: "
                         "open the model in the child",
                         path);
  }
  return VONK_OK;
}

bool vonk_kit_is_input_memory(const vonk_run *run, const void *data, size_t nbytes) {
  uintptr_t first = (uintptr_t)data;
  for (uint32_t i = 0; i < run->n_inputs; ++i) {
    uintptr_t start = (uintptr_t)run->inputs[i]->data;
    if (start != 0 && first < start + run->inputs[i]->nbytes && start < first + nbytes) {
      return true;
    }
  }
  return false;
}
