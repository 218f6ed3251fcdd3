/* Looking into a model file before ONNX Runtime does. onnx_file.c explains. */
#ifndef VONK_ONNX_FILE_H
#define VONK_ONNX_FILE_H

#include "onnx_plugin.h"

/* What the file says of itself. Texts live in the arena given. */
typedef struct onnx_file_facts {
  bool is_ort_format; /* then nothing below is known, and the numbers are -1 */
  int64_t
      n_params; /* numbers in initializers, without indices (int64), flags and texts */
  int64_t weight_bytes;       /* of all initializers, those in external files included */
  const char *producer;       /* "pytorch 2.13.0"; NULL = unknown */
  const onnx_name *shapeless; /* inputs and outputs without a shape */
  vonk_kv *metadata;
  uint32_t n_metadata;
} onnx_file_facts;

/* Maps the file at path and checks it: VONK_OK if it is worth showing to ONNX Runtime. */
vonk_status vonk_onnx_file_check(const char *path, kit_arena *, onnx_file_facts *out,
                                 vonk_error *err);

/* The same for bytes in memory, of a model that would lie at path (for the fuzzer, too).
 */
vonk_status vonk_onnx_bytes_check(const char *path, const uint8_t *bytes, size_t nbytes,
                                  kit_arena *, onnx_file_facts *out, vonk_error *err);

/* 0, 1 or 2 as vonk_plugin_v1.recognise says. */
int32_t vonk_onnx_recognise(const char *path, const uint8_t *head, size_t n_head);

/* --- what the files behind this share ---------------------------------------------- */

/* Where a tensor's elements are, if not in the model file. */
typedef struct onnx_external {
  kit_slice name;     /* of the tensor */
  kit_slice location; /* relative to the model's folder */
  uint64_t offset;
  uint64_t nbytes; /* that are needed from there */
} onnx_external;

/* What was found out about the files beside one model. Zero it to start. */
typedef struct onnx_folder {
  const char *model_path;
  char *resolved[2]; /* the folder of the path, and the one that the file really is in */
  kit_slice checked; /* the location looked at last, in the model's bytes */
  uint64_t checked_size;
} onnx_folder;
vonk_status vonk_onnx_external_check(onnx_folder *, const onnx_external *,
                                     vonk_error *err);
void vonk_onnx_folder_release(onnx_folder *);

/* Says what a file that is no model is instead, by its first bytes; NULL if it may be
 * one. */
const char *vonk_onnx_what_else(const uint8_t *head, size_t n_head);

#endif /* VONK_ONNX_FILE_H */
