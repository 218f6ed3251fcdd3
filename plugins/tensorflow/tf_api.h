/* The part of TensorFlow's C interface that we use, in declarations of our own.
 *
 * Nothing is linked: runtime.c looks every entry up by its name, "TF_" before the name
 * here. Numbers and layouts are those of TensorFlow 2.
 */
#ifndef VONK_TF_API_H
#define VONK_TF_API_H

#include <stddef.h>
#include <stdint.h>

#include "kit/kit.h"

/* TensorFlow's own objects, seen from outside. */
typedef struct tf_status tf_status;
typedef struct tf_graph tf_graph;
typedef struct tf_import_options tf_import_options;
typedef struct tf_operation tf_operation;
typedef struct tf_session tf_session;
typedef struct tf_session_options tf_session_options;
typedef struct tf_tensor tf_tensor;
typedef struct tf_writable_file tf_writable_file;

/* TF_Buffer */
typedef struct tf_buffer {
  const void *data;
  size_t length;
  void (*release)(void *data, size_t length);
} tf_buffer;

/* TF_Output: one output of one operation. */
typedef struct tf_output {
  tf_operation *operation;
  int32_t index;
} tf_output;

/* TF_TString: 24 bytes, of which only TensorFlow knows the inside. */
typedef struct tf_string {
  uint64_t opaque[3];
} tf_string;

/* What becomes of a tensor's memory when TensorFlow does not need it any more. */
typedef void (*tf_deallocate)(void *data, size_t length, void *arg);

/* TF_Code */
enum {
  TF_CODE_OK = 0,
  TF_CODE_CANCELLED = 1,
  TF_CODE_INVALID_ARGUMENT = 3,
  TF_CODE_DEADLINE_EXCEEDED = 4,
  TF_CODE_NOT_FOUND = 5,
  TF_CODE_PERMISSION_DENIED = 7,
  TF_CODE_RESOURCE_EXHAUSTED = 8,
  TF_CODE_FAILED_PRECONDITION = 9,
  TF_CODE_OUT_OF_RANGE = 11,
  TF_CODE_UNIMPLEMENTED = 12,
  TF_CODE_DATA_LOSS = 15
};

/* TF_DataType, as far as code names one; tensor.c has the table of all. */
enum { TF_TYPE_STRING = 7, TF_TYPE_RESOURCE = 20, TF_TYPE_VARIANT = 21 };

/* result, name, parameters */
#define VONK_TF_ENTRIES(X)                                                           \
  X(const char *, Version, (void))                                                   \
  X(tf_status *, NewStatus, (void))                                                  \
  X(void, DeleteStatus, (tf_status *))                                               \
  X(int, GetCode, (const tf_status *))                                               \
  X(const char *, Message, (const tf_status *))                                      \
  X(tf_graph *, NewGraph, (void))                                                    \
  X(void, DeleteGraph, (tf_graph *))                                                 \
  X(tf_import_options *, NewImportGraphDefOptions, (void))                           \
  X(void, DeleteImportGraphDefOptions, (tf_import_options *))                        \
  X(void, GraphImportGraphDef,                                                       \
    (tf_graph *, const tf_buffer *, const tf_import_options *, tf_status *))         \
  X(tf_operation *, GraphOperationByName, (tf_graph *, const char *))                \
  X(int, GraphGetTensorNumDims, (tf_graph *, tf_output, tf_status *))                \
  X(void, GraphGetTensorShape, (tf_graph *, tf_output, int64_t *, int, tf_status *)) \
  X(int, OperationNumOutputs, (tf_operation *))                                      \
  X(int, OperationOutputType, (tf_output))                                           \
  X(tf_session_options *, NewSessionOptions, (void))                                 \
  X(void, DeleteSessionOptions, (tf_session_options *))                              \
  X(void, SetConfig, (tf_session_options *, const void *, size_t, tf_status *))      \
  X(tf_session *, NewSession, (tf_graph *, const tf_session_options *, tf_status *)) \
  X(void, CloseSession, (tf_session *, tf_status *))                                 \
  X(void, DeleteSession, (tf_session *, tf_status *))                                \
  X(void, SessionRun,                                                                \
    (tf_session *, const tf_buffer *run_options, const tf_output *inputs,            \
     tf_tensor *const *input_values, int n_inputs, const tf_output *outputs,         \
     tf_tensor **output_values, int n_outputs, const tf_operation *const *targets,   \
     int n_targets, tf_buffer *metadata, tf_status *))                               \
  X(tf_tensor *, NewTensor,                                                          \
    (int type, const int64_t *shape, int rank, void *data, size_t nbytes,            \
     tf_deallocate release, void *arg))                                              \
  X(tf_tensor *, AllocateTensor,                                                     \
    (int type, const int64_t *shape, int rank, size_t nbytes))                       \
  X(void, DeleteTensor, (tf_tensor *))                                               \
  X(int, TensorType, (const tf_tensor *))                                            \
  X(int, NumDims, (const tf_tensor *))                                               \
  X(int64_t, Dim, (const tf_tensor *, int))                                          \
  X(size_t, TensorByteSize, (const tf_tensor *))                                     \
  X(void *, TensorData, (const tf_tensor *))                                         \
  X(void, StringInit, (tf_string *))                                                 \
  X(void, StringAssignView, (tf_string *, const char *, size_t))                     \
  X(void, StringCopy, (tf_string *, const char *, size_t))                           \
  X(const char *, StringGetDataPointer, (const tf_string *))                         \
  X(size_t, StringGetSize, (const tf_string *))                                      \
  X(void, StringDealloc, (tf_string *))                                              \
  X(void, NewWritableFile, (const char *, tf_writable_file **, tf_status *))         \
  X(void, AppendWritableFile,                                                        \
    (tf_writable_file *, const char *bytes, size_t nbytes, tf_status *))             \
  X(void, CloseWritableFile, (tf_writable_file *, tf_status *))                      \
  X(void, DeleteFile, (const char *, tf_status *))

#define VONK_TF_MEMBER(result, name, parameters) result(*name) parameters;
typedef struct tf_api {
  VONK_TF_ENTRIES(VONK_TF_MEMBER)
} tf_api;
#undef VONK_TF_MEMBER

/* Looks all entries up in a loaded library. NULL, or the name of one that it lacks. */
const char *vonk_tf_api_take(void *library, tf_api *out);

#endif /* VONK_TF_API_H */
