/* Tensors between the host and TensorFlow. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tf_plugin.h"

static const tf_dtype dtypes[] = {
    {1, VONK_F32, 32, true, "float32"},
    {2, VONK_F64, 64, true, "float64"},
    {3, VONK_I32, 32, false, "int32"},
    {4, VONK_U8, 8, false, "uint8"},
    {5, VONK_I16, 16, false, "int16"},
    {6, VONK_I8, 8, true, "int8"},
    {7, VONK_BYTES, 0, false, "string"},
    {8, 0, 64, true, "complex64"},
    {9, VONK_I64, 64, false, "int64"},
    {10, VONK_BOOL8, 8, false, "bool"},
    {11, 0, 8, true, "qint8"},
    {12, 0, 8, true, "quint8"},
    {13, 0, 32, true, "qint32"},
    {14, VONK_BF16, 16, true, "bfloat16"},
    {15, 0, 16, true, "qint16"},
    {16, 0, 16, true, "quint16"},
    {17, VONK_U16, 16, false, "uint16"},
    {18, 0, 128, true, "complex128"},
    {19, VONK_F16, 16, true, "float16"},
    {20, 0, 0, false, "resource"},
    {21, 0, 0, false, "variant"},
    {22, VONK_U32, 32, false, "uint32"},
    {23, VONK_U64, 64, false, "uint64"},
    {24, 0, 8, true, "float8_e5m2"},
    {25, 0, 8, true, "float8_e4m3fn"},
    {26, 0, 8, true, "float8_e4m3fnuz"},
    {27, 0, 8, true, "float8_e4m3b11fnuz"},
    {28, 0, 8, true, "float8_e5m2fnuz"},
    {29, 0, 8, true, "int4"},
    {30, 0, 8, true, "uint4"},
    {31, 0, 8, true, "int2"},
    {32, 0, 8, true, "uint2"},
};

const tf_dtype *vonk_tf_dtype(uint64_t tf) {
  return tf >= 1 && tf <= sizeof dtypes / sizeof dtypes[0] ? &dtypes[tf - 1] : NULL;
}

const tf_dtype *vonk_tf_dtype_of(vonk_dtype dtype) {
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; ++i) {
    if (dtypes[i].dtype == dtype && dtype != 0) {
      return &dtypes[i];
    }
  }
  return NULL;
}

/* --- in ---------------------------------------------------------------------------- */

/* The memory is the host's, or of strings whose views need no release. */
static void keep(void *data, size_t nbytes, void *arg) {
  (void)data;
  (void)nbytes;
  (void)arg;
}

static const char *text_of(const vonk_tensor *tensor, size_t i) {
  return tensor->data == NULL ? "" : (const char *)tensor->data + tensor->offsets[i];
}

static size_t length_of(const vonk_tensor *tensor, size_t i) {
  return (size_t)(tensor->offsets[i + 1] - tensor->offsets[i]);
}

/* Views of the host's bytes, which outlive the run. */
static tf_tensor *view_strings(const tf_api *api, const vonk_tensor *tensor,
                               size_t count) {
  tf_tensor *value = api->AllocateTensor(TF_TYPE_STRING, tensor->shape, tensor->rank,
                                         count * sizeof(tf_string));
  tf_string *elements = value == NULL || count == 0 ? NULL : api->TensorData(value);
  for (size_t i = 0; elements != NULL && i < count; ++i) {
    api->StringInit(&elements[i]);
    api->StringAssignView(&elements[i], text_of(tensor, i), length_of(tensor, i));
  }
  return value;
}

static void release_strings(void *data, size_t nbytes, void *arg) {
  const tf_api *api = arg;
  tf_string *elements = data;
  for (size_t i = 0; i < nbytes / sizeof *elements; ++i) {
    api->StringDealloc(&elements[i]);
  }
  vonk_kit_free(data);
}

/* Strings of their own, for a view that is copied stays a view. They are released when
 * TensorFlow has no use for the tensor any more. */
static tf_tensor *copy_strings(const tf_api *api, const vonk_tensor *tensor,
                               size_t count) {
  const size_t nbytes = count * sizeof(tf_string);
  tf_string *elements = vonk_kit_alloc_aligned(nbytes == 0 ? 1 : nbytes, 64);
  for (size_t i = 0; elements != NULL && i < count; ++i) {
    api->StringInit(&elements[i]);
    api->StringCopy(&elements[i], text_of(tensor, i), length_of(tensor, i));
  }
  return elements == NULL
             ? NULL
             : api->NewTensor(TF_TYPE_STRING, tensor->shape, tensor->rank, elements,
                              nbytes, release_strings, (void *)(uintptr_t)api);
}

/* A tensor of TensorFlow's own memory. */
static tf_tensor *new_copy(const tf_api *api, const vonk_tensor *tensor,
                           const tf_dtype *dtype, size_t nbytes) {
  tf_tensor *value = api->AllocateTensor(dtype->tf, tensor->shape, tensor->rank, nbytes);
  if (value != NULL && nbytes != 0) {
    memcpy(api->TensorData(value), tensor->data, nbytes);
  }
  return value;
}

vonk_status vonk_tf_tensor_in(const vonk_plugin_model *model, uint32_t index,
                              const vonk_tensor *tensor, tf_tensor **out,
                              vonk_error *err) {
  static max_align_t nothing; /* an address even for no element */
  const tf_api *api = &model->runtime->api;
  const vonk_io *io = &model->inputs[index];
  const tf_dtype *dtype = model->input_ports[index].dtype;
  size_t count;
  VONK_TRY(vonk_kit_tensor_check(tensor, io, "input", &count, err));
  size_t nbytes = count * (dtype->bits / 8);
  tf_tensor *value;
  if (tensor->dtype == VONK_BYTES) {
    value = model->keeps_inputs ? copy_strings(api, tensor, count)
                                : view_strings(api, tensor, count);
  } else if (model->keeps_inputs) {
    value = new_copy(api, tensor, dtype, nbytes);
  } else {
    value =
        api->NewTensor(dtype->tf, tensor->shape, tensor->rank,
                       count == 0 ? (void *)&nothing : tensor->data, nbytes, keep, NULL);
  }
  if (value == NULL) {
    return vonk_kit_fail(err, VONK_NOMEM, "input '%s': out of memory in TensorFlow",
                         io->name);
  }
  *out = value;
  return VONK_OK;
}

/* --- out --------------------------------------------------------------------------- */

/* What TensorFlow says of a tensor. */
typedef struct tensor_facts {
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
  size_t count, nbytes;
} tensor_facts;

static vonk_status read_facts(const tf_api *api, const vonk_io *io,
                              const tf_tensor *value, tensor_facts *facts,
                              vonk_error *err) {
  int rank = api->NumDims(value);
  const tf_dtype *dtype = vonk_tf_dtype((uint64_t)api->TensorType(value));
  if (rank > VONK_MAX_RANK || dtype == NULL || dtype->dtype != io->dtype) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': came back as %s with %d dimensions, which is "
                         "something else than the model says",
                         io->name, dtype == NULL ? "unknown dtype" : dtype->name, rank);
  }
  facts->rank = rank;
  for (int i = 0; i < rank; ++i) {
    facts->shape[i] = api->Dim(value, i);
  }
  facts->nbytes = api->TensorByteSize(value);
  return vonk_kit_count(facts->shape, rank, &facts->count);
}

/* Copies the strings: their bytes stand behind the int32 offsets, of which there is one
 * more than strings. */
static vonk_status adopt_strings(const tf_api *api, const vonk_io *io,
                                 const tensor_facts *facts, tf_tensor *value,
                                 vonk_tensor *tensor, vonk_error *err) {
  const tf_string *elements = api->TensorData(value);
  size_t nbytes = 0;
  for (size_t i = 0; i < facts->count; ++i) {
    nbytes += api->StringGetSize(&elements[i]);
  }
  kit_output *output;
  int32_t *offsets;
  char *text;
  VONK_TRY(vonk_kit_output_new_texts(io->name, facts->count, nbytes, &output, &offsets,
                                     &text, err));
  size_t used = 0;
  for (size_t i = 0; i < facts->count; ++i) {
    size_t length = api->StringGetSize(&elements[i]);
    offsets[i] = (int32_t)used;
    if (length != 0) {
      memcpy(text + used, api->StringGetDataPointer(&elements[i]), length);
    }
    used += length;
  }
  offsets[facts->count] = (int32_t)used;
  vonk_kit_output_give(output, io->dtype, facts->rank, facts->shape,
                       facts->count == 0 ? NULL : text, nbytes, tensor);
  tensor->offsets = offsets;
  api->DeleteTensor(value);
  return VONK_OK;
}

static void drop_tensor(void *value, void *owner) {
  (void)owner;
  const tf_runtime *runtime;
  if (vonk_tf_runtime_get(&runtime, NULL) == VONK_OK) {
    runtime->api.DeleteTensor(value);
  }
}

vonk_status vonk_tf_tensor_adopt(const tf_runtime *runtime, const vonk_run *run,
                                 const vonk_io *io, tf_tensor *value, vonk_tensor *tensor,
                                 vonk_error *err) {
  const tf_api *api = &runtime->api;
  tensor_facts facts = {0};
  VONK_TRY(read_facts(api, io, value, &facts, err));
  if (io->dtype == VONK_BYTES) {
    return adopt_strings(api, io, &facts, value, tensor, err);
  }
  void *data = api->TensorData(value);
  bool must_copy = vonk_kit_is_input_memory(run, data, facts.nbytes);
  kit_output *output;
  VONK_TRY(vonk_kit_output_new(must_copy ? facts.nbytes : 0, &output, err));
  if (must_copy) {
    memcpy(output->copy, data, facts.nbytes);
    api->DeleteTensor(value);
    data = output->copy;
  } else {
    output->value = value;
    output->drop = drop_tensor;
  }
  vonk_kit_output_give(output, io->dtype, facts.rank, facts.shape,
                       facts.count == 0 ? NULL : data, facts.nbytes, tensor);
  return VONK_OK;
}
