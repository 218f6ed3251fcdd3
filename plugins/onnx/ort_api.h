/* The part of ONNX Runtime's C interface that the plug-in uses, in our own words.
 *
 * ONNX Runtime hands out one table of function pointers, to which entries are only ever
 * appended. So an entry is its place in the table and its type; each row of
 * VONK_ORT_ENTRIES says both, and vonk_ort_api_take copies the rows out of the table.
 * tools/check_ort_slots.py compares the rows with the header of a released version.
 */
#ifndef VONK_ONNX_ORT_API_H
#define VONK_ONNX_ORT_API_H

#include <stddef.h>
#include <stdint.h>

/* The oldest interface that has every entry below (ONNX Runtime 1.16), and how many
 * entries that one has. */
#define VONK_ORT_API_VERSION 16
#define VONK_ORT_OLDEST "1.16"
#define VONK_ORT_ENTRY_COUNT 259
/* That of the entries which may be missing (ONNX Runtime 1.18). */
#define VONK_ORT_LATER_VERSION 18
#define VONK_ORT_LATER "1.18"

/* Opaque. All are released with the Release... entry of their name, which takes NULL. */
typedef struct ort_status ort_status; /* NULL = success */
typedef struct ort_env ort_env;
typedef struct ort_session ort_session;
typedef struct ort_session_options ort_session_options;
typedef struct ort_run_options ort_run_options;
typedef struct ort_value ort_value;
typedef struct ort_memory_info ort_memory_info;
typedef struct ort_type_info ort_type_info;
typedef struct ort_tensor_info ort_tensor_info;
typedef struct ort_allocator ort_allocator;
typedef struct ort_metadata ort_metadata;
typedef struct ort_cuda_options ort_cuda_options;
typedef struct ort_rocm_options ort_rocm_options;

enum { /* error codes */
       ORT_CODE_FAIL = 1,
       ORT_CODE_INVALID_ARGUMENT = 2,
       ORT_CODE_NO_SUCH_FILE = 3,
       ORT_CODE_NO_MODEL = 4,
       ORT_CODE_ENGINE_ERROR = 5,
       ORT_CODE_RUNTIME_EXCEPTION = 6,
       ORT_CODE_INVALID_PROTOBUF = 7,
       ORT_CODE_MODEL_LOADED = 8,
       ORT_CODE_NOT_IMPLEMENTED = 9,
       ORT_CODE_INVALID_GRAPH = 10,
       ORT_CODE_EP_FAIL = 11
};
enum { ORT_LOG_FATAL = 4 };
enum { ORT_ALLOCATOR_DEVICE = 0, ORT_ALLOCATOR_ARENA = 1 };
enum { ORT_MEMORY_CPU = -1, ORT_MEMORY_DEFAULT = 0 };
enum { ORT_ELEMENT_STRING = 8 };
enum { ORT_DEVICE_CPU = 0, ORT_DEVICE_GPU = 1 };
enum {
  ORT_TYPE_UNKNOWN,
  ORT_TYPE_TENSOR,
  ORT_TYPE_SEQUENCE,
  ORT_TYPE_MAP,
  ORT_TYPE_OPAQUE,
  ORT_TYPE_SPARSE,
  ORT_TYPE_OPTIONAL
};

/* X(slot, returned type, name, parameters). Strings are UTF-8 and NUL-terminated. `char
 * *` results come from the allocator given and go back to it. */
#define VONK_ORT_ENTRIES(X)                                                             \
  X(1, int, GetErrorCode, (const ort_status *))                                         \
  X(2, const char *, GetErrorMessage, (const ort_status *))                             \
  X(3, ort_status *, CreateEnv, (int log_level, const char *log_id, ort_env **))        \
  X(7, ort_status *, CreateSession,                                                     \
    (const ort_env *, const char *path, const ort_session_options *, ort_session **))   \
  X(8, ort_status *, CreateSessionFromArray,                                            \
    (const ort_env *, const void *bytes, size_t nbytes, const ort_session_options *,    \
     ort_session **))                                                                   \
  X(9, ort_status *, Run,                                                               \
    (ort_session *, const ort_run_options *, const char *const *input_names,            \
     const ort_value *const *inputs, size_t n_inputs, const char *const *output_names,  \
     size_t n_outputs, ort_value **outputs))                                            \
  X(10, ort_status *, CreateSessionOptions, (ort_session_options **))                   \
  X(22, ort_status *, SetSessionLogSeverityLevel, (ort_session_options *, int))         \
  X(23, ort_status *, SetSessionGraphOptimizationLevel, (ort_session_options *, int))   \
  X(24, ort_status *, SetIntraOpNumThreads, (ort_session_options *, int))               \
  X(25, ort_status *, SetInterOpNumThreads, (ort_session_options *, int))               \
  X(30, ort_status *, SessionGetInputCount, (const ort_session *, size_t *))            \
  X(31, ort_status *, SessionGetOutputCount, (const ort_session *, size_t *))           \
  X(33, ort_status *, SessionGetInputTypeInfo,                                          \
    (const ort_session *, size_t index, ort_type_info **))                              \
  X(34, ort_status *, SessionGetOutputTypeInfo,                                         \
    (const ort_session *, size_t index, ort_type_info **))                              \
  X(36, ort_status *, SessionGetInputName,                                              \
    (const ort_session *, size_t index, ort_allocator *, char **))                      \
  X(37, ort_status *, SessionGetOutputName,                                             \
    (const ort_session *, size_t index, ort_allocator *, char **))                      \
  X(39, ort_status *, CreateRunOptions, (ort_run_options **))                           \
  X(46, ort_status *, RunOptionsSetTerminate, (ort_run_options *))                      \
  X(48, ort_status *, CreateTensorAsOrtValue,                                           \
    (ort_allocator *, const int64_t *shape, size_t rank, int element_type,              \
     ort_value **))                                                                     \
  X(49, ort_status *, CreateTensorWithDataAsOrtValue,                                   \
    (const ort_memory_info *, void *data, size_t nbytes, const int64_t *shape,          \
     size_t rank, int element_type, ort_value **))                                      \
  X(51, ort_status *, GetTensorMutableData, (ort_value *, void **))                     \
  X(53, ort_status *, GetStringTensorDataLength, (const ort_value *, size_t *))         \
  X(54, ort_status *, GetStringTensorContent,                                           \
    (const ort_value *, void *bytes, size_t nbytes, size_t *offsets, size_t n_offsets)) \
  X(55, ort_status *, CastTypeInfoToTensorInfo,                                         \
    (const ort_type_info *, const ort_tensor_info **))                                  \
  X(56, ort_status *, GetOnnxTypeFromTypeInfo, (const ort_type_info *, int *))          \
  X(60, ort_status *, GetTensorElementType, (const ort_tensor_info *, int *))           \
  X(61, ort_status *, GetDimensionsCount, (const ort_tensor_info *, size_t *))          \
  X(62, ort_status *, GetDimensions, (const ort_tensor_info *, int64_t *, size_t))      \
  X(63, ort_status *, GetSymbolicDimensions,                                            \
    (const ort_tensor_info *, const char **, size_t))                                   \
  X(65, ort_status *, GetTensorTypeAndShape, (const ort_value *, ort_tensor_info **))   \
  X(67, ort_status *, GetValueType, (const ort_value *, int *))                         \
  X(68, ort_status *, CreateMemoryInfo,                                                 \
    (const char *name, int allocator_type, int device_id, int memory_type,              \
     ort_memory_info **))                                                               \
  X(69, ort_status *, CreateCpuMemoryInfo,                                              \
    (int allocator_type, int memory_type, ort_memory_info **))                          \
  X(76, ort_status *, AllocatorFree, (ort_allocator *, void *))                         \
  X(78, ort_status *, GetAllocatorWithDefaultOptions, (ort_allocator **))               \
  X(93, void, ReleaseStatus, (ort_status *))                                            \
  X(94, void, ReleaseMemoryInfo, (ort_memory_info *))                                   \
  X(95, void, ReleaseSession, (ort_session *))                                          \
  X(96, void, ReleaseValue, (ort_value *))                                              \
  X(97, void, ReleaseRunOptions, (ort_run_options *))                                   \
  X(98, void, ReleaseTypeInfo, (ort_type_info *))                                       \
  X(99, void, ReleaseTensorTypeAndShapeInfo, (ort_tensor_info *))                       \
  X(100, void, ReleaseSessionOptions, (ort_session_options *))                          \
  X(111, ort_status *, SessionGetModelMetadata, (const ort_session *, ort_metadata **)) \
  X(112, ort_status *, ModelMetadataGetProducerName,                                    \
    (const ort_metadata *, ort_allocator *, char **))                                   \
  X(116, ort_status *, ModelMetadataLookupCustomMetadataMap,                            \
    (const ort_metadata *, ort_allocator *, const char *key, char **))                  \
  X(118, void, ReleaseModelMetadata, (ort_metadata *))                                  \
  X(123, ort_status *, ModelMetadataGetCustomMetadataMapKeys,                           \
    (const ort_metadata *, ort_allocator *, char ***keys, int64_t *n_keys))             \
  X(125, ort_status *, GetAvailableProviders, (char ***names, int *n_names))            \
  X(126, ort_status *, ReleaseAvailableProviders, (char **names, int n_names))          \
  X(130, ort_status *, AddSessionConfigEntry,                                           \
    (ort_session_options *, const char *key, const char *value))                        \
  X(153, ort_status *, SessionOptionsAppendExecutionProvider_ROCM,                      \
    (ort_session_options *, const ort_rocm_options *))                                  \
  X(194, ort_status *, GetTensorMemoryInfo,                                             \
    (const ort_value *, const ort_memory_info **))                                      \
  X(204, ort_status *, SessionOptionsAppendExecutionProvider_CUDA_V2,                   \
    (ort_session_options *, const ort_cuda_options *))                                  \
  X(205, ort_status *, CreateCUDAProviderOptions, (ort_cuda_options **))                \
  X(206, ort_status *, UpdateCUDAProviderOptions,                                       \
    (ort_cuda_options *, const char *const *keys, const char *const *values, size_t))   \
  X(208, void, ReleaseCUDAProviderOptions, (ort_cuda_options *))                        \
  X(225, void, MemoryInfoGetDeviceType, (const ort_memory_info *, int *device_type))    \
  X(252, ort_status *, GetResizedStringTensorElementBuffer,                             \
    (ort_value *, size_t index, size_t nbytes, char **))                                \
  X(255, ort_status *, CreateROCMProviderOptions, (ort_rocm_options **))                \
  X(256, ort_status *, UpdateROCMProviderOptions,                                       \
    (ort_rocm_options *, const char *const *keys, const char *const *values, size_t))   \
  X(258, void, ReleaseROCMProviderOptions, (ort_rocm_options *))

/* The same for entries of VONK_ORT_LATER_VERSION, which are NULL in an older one. */
#define VONK_ORT_LATER_ENTRIES(X)                                         \
  X(279, ort_status *, AddExternalInitializersFromFilesInMemory,          \
    (ort_session_options *, const char *const *names, char *const *bytes, \
     const size_t *sizes, size_t n))

typedef void (*ort_entry)(void);

/* What OrtGetApiBase returns, the library's one exported function. get_api: NULL if the
 * library is too old. */
typedef struct ort_api_base {
  const ort_entry *(*get_api)(uint32_t version);
  const char *(*version)(void);
} ort_api_base;

typedef struct ort_api {
#define VONK_ORT_FIELD(slot, type, name, parameters) type(*name) parameters;
  VONK_ORT_ENTRIES(VONK_ORT_FIELD)
  VONK_ORT_LATER_ENTRIES(VONK_ORT_FIELD)
#undef VONK_ORT_FIELD
} ort_api;

#define VONK_ORT_CHECK(slot, type, name, parameters) \
  _Static_assert((slot) < VONK_ORT_ENTRY_COUNT,      \
                 #name " is younger than the version asked for");
VONK_ORT_ENTRIES(VONK_ORT_CHECK)
#undef VONK_ORT_CHECK

/* version: that of the table, at least VONK_ORT_API_VERSION. */
static inline void vonk_ort_api_take(const ort_entry *table, uint32_t version,
                                     ort_api *out) {
#define VONK_ORT_TAKE(slot, type, name, parameters) \
  out->name = (type(*) parameters)table[slot];
  VONK_ORT_ENTRIES(VONK_ORT_TAKE)
#undef VONK_ORT_TAKE
#define VONK_ORT_TAKE(slot, type, name, parameters) \
  out->name = version < VONK_ORT_LATER_VERSION ? NULL : (type(*) parameters)table[slot];
  VONK_ORT_LATER_ENTRIES(VONK_ORT_TAKE)
#undef VONK_ORT_TAKE
}

#endif /* VONK_ONNX_ORT_API_H */
