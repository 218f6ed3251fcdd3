/* Looking into a model file before ONNX Runtime does. onnx_file.c explains. */
#ifndef VONK_ONNX_FILE_H
#define VONK_ONNX_FILE_H

#include "onnx_plugin.h"

/* What the file says of itself. Texts live in the arena given. */
typedef struct onnx_file_facts {
  bool is_ort_format; /* then nothing below is known, and the numbers are -1 */
  /* Numbers in initializers, without indices (int64), flags and texts; and floats that
   * operators of ai.onnx.ml have as attributes. */
  int64_t n_params;
  int64_t weight_bytes;       /* of those, indices, flags and external files included */
  const char *producer;       /* "pytorch 2.13.0"; NULL = unknown */
  const onnx_name *shapeless; /* inputs and outputs without a shape */
  /* Of a model in memory: the files beside it that hold weights of its graph, by location,
   * none twice. */
  const onnx_companion *companions;
  uint32_t n_companions;
  vonk_kv *metadata;
  uint32_t n_metadata;
} onnx_file_facts;

/* Checks a model's own file, whose bytes are given, and the files that it names: VONK_OK
 * if it is worth showing to ONNX Runtime. */
vonk_status vonk_onnx_file_check(const kit_source *, kit_slice file, kit_arena *,
                                 onnx_file_facts *out, vonk_error *err);

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
  const kit_source *source;
  char *resolved[2]; /* the folder of the path, and the one that the file really is in */
  kit_slice checked; /* the location looked at last, in the model's bytes */
  uint64_t checked_size;
  const vonk_file *checked_file; /* of a model in memory */
  kit_slice noted;               /* the location noted last */
  struct onnx_note *notes;       /* the last one first */
  uint32_t n_notes;
} onnx_folder;
vonk_status vonk_onnx_external_check(onnx_folder *, const onnx_external *,
                                     vonk_error *err);
/* Of a model in memory: what was just checked is to be given to ONNX Runtime with it. */
vonk_status vonk_onnx_external_note(onnx_folder *, kit_arena *, vonk_error *err);
/* All that was noted. */
vonk_status vonk_onnx_companions_list(const onnx_folder *, kit_arena *,
                                      onnx_file_facts *out, vonk_error *err);
void vonk_onnx_folder_release(onnx_folder *);

/* Says what a file that is no model is instead, by its first bytes; NULL if it may be
 * one. */
const char *vonk_onnx_what_else(const uint8_t *head, size_t n_head);

#endif /* VONK_ONNX_FILE_H */
