/* PyTorch's C functions that we use, declared by ourselves: those of libtorch_cpu, which
 * keep their names and parameters from one version to the next, and those that each
 * AOTInductor package brings along. Handles are opaque; a function returns 0 if it did
 * well. */
#ifndef VONK_TORCH_API_H
#define VONK_TORCH_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "torch/script/script.h"

/* --- libtorch_cpu ------------------------------------------------------------------- */

/* Each member is found by its name (runtime.c). */
typedef struct torch_api {
  uint64_t (*abi_version)(void); /* major, minor, patch in the three highest bytes */
  int32_t (*device_type_cpu)(void);
  bool (*grad_mode_is_enabled)(void);
  void (*grad_mode_set_enabled)(bool enabled);
  int32_t (*create_tensor_from_blob)(void *data, int64_t rank, const int64_t *sizes,
                                     const int64_t *strides, int64_t storage_offset,
                                     int32_t dtype, int32_t device_type,
                                     int32_t device_index, aten_tensor **out);
  int32_t (*empty_strided)(int64_t rank, const int64_t *sizes, const int64_t *strides,
                           int32_t dtype, int32_t device_type, int32_t device_index,
                           aten_tensor **out);
  int32_t (*copy)(aten_tensor *to, aten_tensor *from, int32_t is_non_blocking);
  int32_t (*delete_tensor_object)(aten_tensor *);
  int32_t (*get_data_ptr)(aten_tensor *, void **out);
  int32_t (*get_dim)(aten_tensor *, int64_t *out);
  int32_t (*get_sizes)(aten_tensor *, int64_t **out);
  int32_t (*get_strides)(aten_tensor *, int64_t **out);
  int32_t (*get_dtype)(aten_tensor *, int32_t *out);
  int32_t (*get_device_type)(aten_tensor *, int32_t *out);
} torch_api;

/* What a thread may use. Those that a build of PyTorch lacks are NULL. */
typedef struct torch_thread_api {
  int32_t (*torch_get_num_threads)(
      uint32_t *out); /* sets the thread up at its first use */
  int (*omp_get_max_threads)(void);
  void (*omp_set_num_threads)(int);
  int (*mkl_set_num_threads_local)(int); /* returns the last value; 0 = the process's */
} torch_thread_api;

/* Numbers of element types; they have never changed. */
enum {
  ATEN_UINT8 = 0,
  ATEN_INT8 = 1,
  ATEN_INT16 = 2,
  ATEN_INT32 = 3,
  ATEN_INT64 = 4,
  ATEN_HALF = 5,
  ATEN_FLOAT = 6,
  ATEN_DOUBLE = 7,
  ATEN_BOOL = 11,
  ATEN_BFLOAT16 = 15,
  ATEN_UINT16 = 27,
  ATEN_UINT32 = 28,
  ATEN_UINT64 = 29
};

/* --- an AOTInductor package --------------------------------------------------------- */

typedef struct aoti_container aoti_container;
typedef struct aoti_api {
  int32_t (*create_with_device)(aoti_container **out, size_t n_models, const char *device,
                                const char *kernel_folder);
  int32_t (*destroy)(aoti_container *);
  int32_t (*get_num_inputs)(aoti_container *, size_t *out);
  int32_t (*get_num_outputs)(aoti_container *, size_t *out);
  int32_t (*get_call_spec)(aoti_container *, const char **inputs, const char **outputs);
  /* Takes the inputs over. */
  int32_t (*run)(aoti_container *, aten_tensor **inputs, size_t n_inputs,
                 aten_tensor **outputs, size_t n_outputs, void *stream,
                 void *proxy_executor);
  /* NULL where a package lacks them. */
  int32_t (*get_num_constants)(aoti_container *, size_t *out);
  int32_t (*get_constant_dtype)(aoti_container *, size_t index, int32_t *out);
  int32_t (*get_constant_data_size)(aoti_container *, size_t index, size_t *out);
  int32_t (*get_constant_from_folded)(aoti_container *, size_t index, bool *out);
  int32_t (*update_constants_from_blob)(aoti_container *, const uint8_t *weights);
  int32_t (*get_constants_blob_size)(aoti_container *, uint64_t *out);
  int32_t (*get_last_error)(const char **out);
} aoti_api;

#endif /* VONK_TORCH_API_H */
