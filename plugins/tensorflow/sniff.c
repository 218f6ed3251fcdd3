/* What a file or folder is, by its name and first bytes.
 *
 * The host shows the first bytes of a file; that is enough to tell a MetaGraphDef from a
 * GraphDef and both from ONNX. Keras files are TensorFlow's as well, but only Python can
 * rebuild what is in them: they are recognised, so that the error says what to do.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "opening.h"

/* What a file may be. */
typedef enum file_kind {
  KIND_NONE,
  KIND_SAVED_MODEL,
  KIND_META,
  KIND_GRAPH,
  KIND_TEXT_GRAPH,
  KIND_KERAS,
  KIND_HDF5,
  KIND_LITE
} file_kind;

static bool has_file(const char *folder, const char *name) {
  char path[PATH_MAX];
  struct stat facts;
  int n = snprintf(path, sizeof path, "%s/%s", folder, name);
  return n > 0 && n < (int)sizeof path && stat(path, &facts) == 0 &&
         S_ISREG(facts.st_mode);
}

static bool starts(const uint8_t *head, size_t n_head, size_t at, const char *text,
                   size_t n_text) {
  return n_head >= at + n_text && memcmp(head + at, text, n_text) == 0;
}

/* --- protobuf ------------------------------------------------------------------------- */

/* Takes the next field of bytes, which may be cut off: then *out has what there is of
 * it, and *rest is empty. */
static bool next_field(kit_slice *rest, kit_field *out) {
  kit_slice before = *rest;
  if (vonk_kit_wire_next(rest, out) == 1) {
    return true;
  }
  uint64_t key, length;
  *rest = before;
  if (!vonk_kit_wire_number(rest, &key) || (key & 7) != KIT_WIRE_BYTES || key >> 3 == 0 ||
      key >> 3 > 100 || !vonk_kit_wire_number(rest, &length) || length > INT32_MAX) {
    return false;
  }
  *out =
      (kit_field){.number = (uint32_t)(key >> 3), .wire = KIT_WIRE_BYTES, .bytes = *rest};
  *rest = (kit_slice){0};
  return true;
}

/* Whether it begins like a NodeDef: a name and an operation, both short text. */
static bool is_node(kit_slice bytes) {
  kit_field field;
  bool has_name = false;
  while (next_field(&bytes, &field)) {
    if (field.number > 7 || field.wire != KIT_WIRE_BYTES) {
      return false;
    }
    if (field.number <= 2 &&
        (field.bytes.size == 0 ||
         !vonk_kit_is_text((const char *)field.bytes.data, field.bytes.size))) {
      return false;
    }
    has_name |= field.number == 1;
    if (field.number >= 2) {
      return has_name;
    }
  }
  return has_name;
}

/* GraphDef: 1 nodes, 2 library, 3 a number, 4 versions */
static bool is_graph(kit_slice bytes) {
  kit_field field;
  if (!next_field(&bytes, &field)) {
    return false;
  }
  if (field.number == 4 && field.wire == KIT_WIRE_BYTES) { /* versions first: rare */
    return next_field(&bytes, &field) && field.number == 1 && is_node(field.bytes);
  }
  return field.number == 1 && field.wire == KIT_WIRE_BYTES && is_node(field.bytes);
}

/* MetaInfoDef: 1 version, 2 list of operations {1 {1 name}}, 4 tags, 5 version of
 * TensorFlow */
static bool is_meta_info(kit_slice bytes) {
  kit_field field, op, name;
  while (next_field(&bytes, &field)) {
    if (field.number > 8) {
      return false;
    }
    if (field.number == 2 && field.wire == KIT_WIRE_BYTES) {
      return next_field(&field.bytes, &op) && op.number == 1 &&
             op.wire == KIT_WIRE_BYTES && next_field(&op.bytes, &name) &&
             name.number == 1 && name.wire == KIT_WIRE_BYTES &&
             vonk_kit_is_text((const char *)name.bytes.data, name.bytes.size);
    }
    if (field.number == 5 && field.wire == KIT_WIRE_BYTES) {
      return vonk_kit_is_text((const char *)field.bytes.data, field.bytes.size);
    }
  }
  return false;
}

/* MetaGraphDef: 1 its description, 2 the graph */
static bool is_meta(kit_slice bytes) {
  kit_field field;
  if (!next_field(&bytes, &field) || field.wire != KIT_WIRE_BYTES) {
    return false;
  }
  return (field.number == 1 && is_meta_info(field.bytes)) ||
         (field.number == 2 && is_graph(field.bytes));
}

/* SavedModel: 1 a version, 2 MetaGraphDefs */
static bool is_saved_model(kit_slice bytes) {
  kit_field field;
  return next_field(&bytes, &field) && field.number == 1 &&
         field.wire == KIT_WIRE_VARINT && next_field(&bytes, &field) &&
         field.number == 2 && field.wire == KIT_WIRE_BYTES && is_meta(field.bytes);
}

/* --- files ---------------------------------------------------------------------------- */

/* *is_sure: by its content. */
static file_kind find_kind(const char *path, const uint8_t *head, size_t n_head,
                           bool *is_sure) {
  const kit_slice bytes = {head, n_head};
  *is_sure = true;
  if (starts(head, n_head, 4, "TFL3", 4)) {
    return KIND_LITE;
  }
  if (is_saved_model(bytes)) {
    return KIND_SAVED_MODEL;
  }
  if (is_meta(bytes)) {
    return KIND_META;
  }
  if (is_graph(bytes)) {
    return KIND_GRAPH;
  }
  /* Keras writes its configuration first into the archive. */
  if (starts(head, n_head, 0, "PK\x03\x04", 4) &&
      (memmem(head, n_head, "metadata.json", 13) != NULL ||
       memmem(head, n_head, "config.json", 11) != NULL) &&
      memmem(head, n_head, "keras", 5) != NULL) {
    return KIND_KERAS;
  }
  *is_sure = false;
  static const struct {
    const char *extension;
    file_kind kind;
  } names[] = {{"saved_model.pb", KIND_SAVED_MODEL},
               {".pbtxt", KIND_TEXT_GRAPH},
               {".pb", KIND_GRAPH},
               {".meta", KIND_META},
               {".keras", KIND_KERAS},
               {".h5", KIND_HDF5},
               {".hdf5", KIND_HDF5},
               {".tflite", KIND_LITE}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    if (vonk_kit_has_extension(path, names[i].extension)) {
      return names[i].kind;
    }
  }
  return starts(head, n_head, 0, "\x89HDF\r\n\x1a\n", 8) ? KIND_HDF5 : KIND_NONE;
}

int32_t vonk_tf_recognise(const char *path, const uint8_t *head, size_t n_head) {
  if (head == NULL) {
    return has_file(path, "saved_model.pb")                                      ? 2
           : has_file(path, "saved_model.pbtxt") || has_file(path, "checkpoint") ? 1
                                                                                 : 0;
  }
  bool is_sure;
  file_kind kind = find_kind(path, head, n_head, &is_sure);
  return kind == KIND_NONE ? 0 : is_sure ? 2 : 1;
}

/* --- opening -------------------------------------------------------------------------- */

static bool is_folder(const kit_source *source) {
  struct stat facts;
  return source->files != NULL
             ? source->files->main == NULL
             : stat(source->path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

static bool holds(const kit_source *source, const char *name) {
  const kit_slice text = {(const uint8_t *)name, strlen(name)};
  return source->files != NULL ? vonk_kit_source_find(source, text) != NULL
                               : has_file(source->path, name);
}

static vonk_status fail_keras(const char *path, const char *what, vonk_error *err) {
  const char *slash = strrchr(path, '/');
  const char *name = slash == NULL ? path : slash + 1;
  const char *dot = strrchr(name, '.');
  int n = dot == NULL || dot == name ? (int)strlen(name) : (int)(dot - name);
  return vonk_kit_fail(err, VONK_UNSUPPORTED,
                       "'%s': is %s, from which only Python's Keras can rebuild the "
                       "model: convert it once: vonk pack %s -o %.*s.vonk",
                       path, what, name, n, name);
}

static vonk_status fail_folder(const kit_source *source, vonk_error *err) {
  const char *path = source->path;
  if (holds(source, "saved_model.pbtxt")) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': is a SavedModel in text form (saved_model.pbtxt): save it "
        "again in binary form",
        path);
  }
  if (holds(source, "checkpoint")) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': is a folder of checkpoints, which hold variables without "
        "a network: give the .meta file in it if there is one, or export "
        "the model as a SavedModel",
        path);
  }
  return vonk_kit_fail(err, VONK_MODEL,
                       "'%s': is a folder without saved_model.pb: give the folder that "
                       "holds it",
                       path);
}

static vonk_status fail_kind(const char *path, file_kind kind, const uint8_t *head,
                             size_t n_head, vonk_error *err) {
  const char *what = vonk_kit_what_else(head, n_head);
  if (n_head == 0) {
    what = "is empty: copy the model again";
  } else if (starts(head, n_head, 0, "PK\x03\x04", 4) && kind != KIND_KERAS) {
    what = "is a zip archive, not a TensorFlow model: unpack it first";
  } else if (n_head >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5) {
    what = "is a Python pickle, which vonk never loads: export the model as a SavedModel";
  } else if (starts(head, n_head, 0,
                    "\x7f"
                    "ELF",
                    4)) {
    what = "is a program or library, not a TensorFlow model";
  }
  if (what != NULL) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': %s", path, what);
  }
  switch (kind) {
    case KIND_KERAS:
      return fail_keras(path, "a Keras file", err);
    case KIND_HDF5:
      return fail_keras(path, "an HDF5 file, as Keras used to write them", err);
    case KIND_LITE:
      return vonk_kit_fail(
          err, VONK_UNSUPPORTED,
          "'%s': is a TensorFlow Lite file, which TensorFlow's own "
          "library does not run: give the SavedModel that it was made of",
          path);
    case KIND_TEXT_GRAPH:
      return vonk_kit_fail(err, VONK_UNSUPPORTED,
                           "'%s': is a graph in text form: save it in binary form (.pb)",
                           path);
    default:
      return vonk_kit_fail(err, VONK_MODEL,
                           "'%s': is not a TensorFlow model, or is damaged: give a "
                           "SavedModel's folder, a .meta file or a frozen graph (.pb)",
                           path);
  }
}

/* The first bytes of a regular file. */
static vonk_status read_head(const kit_source *source, uint8_t head[4096], size_t *out_n,
                             vonk_error *err) {
  kit_slice file;
  VONK_TRY(vonk_kit_source_map(
      source, INT32_MAX, "a SavedModel's folder, a .meta or a .pb file", &file, err));
  *out_n = file.size < 4096 ? file.size : 4096;
  if (*out_n != 0) {
    memcpy(head, file.data, *out_n);
  }
  vonk_kit_source_unmap(source, file);
  return VONK_OK;
}

vonk_status vonk_tf_kind_find(const kit_source *source, tf_open_kind *out,
                              vonk_error *err) {
  const char *path = source->path;
  if (is_folder(source)) {
    if (!holds(source, "saved_model.pb")) {
      return fail_folder(source, err);
    }
    *out = vonk_tf_savedmodel_open;
    return VONK_OK;
  }
  uint8_t head[4096];
  size_t n_head;
  bool is_sure;
  VONK_TRY(read_head(source, head, &n_head, err));
  file_kind kind = find_kind(path, head, n_head, &is_sure);
  if (!is_sure || kind > KIND_GRAPH) {
    return fail_kind(path, kind, head, n_head, err);
  }
  if (kind == KIND_SAVED_MODEL && !vonk_kit_has_extension(path, "saved_model.pb")) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': is the file of a SavedModel under another name: give the "
                         "folder in which it is called saved_model.pb, beside variables/",
                         path);
  }
  *out = kind == KIND_SAVED_MODEL ? vonk_tf_savedmodel_open
         : kind == KIND_META      ? vonk_tf_checkpoint_open
                                  : vonk_tf_graphdef_open;
  return VONK_OK;
}
