/* What the files of src/bundle share.
 *
 *   bundle.c ── zip.c or folder.c      which files there are
 *            ── manifest.c             what the manifest says (json.c reads JSON)
 *               ── verify.c            the list of files against those there
 *               ── ports.c, steps.c    inputs, outputs, preprocessing
 *               ── selftest.c
 *            ── verify.c               the digests
 *            ── labels.c, selftest.c   what the files of the manifest hold
 *            ── unpack.c               only for a plug-in that wants a path */
#ifndef VONK_BUNDLE_INTERNAL_H
#define VONK_BUNDLE_INTERNAL_H

#include <yyjson.h>

#include "bundle/bundle.h"

#define VONK_MANIFEST "manifest.json"
enum {
  VONK_BUNDLE_MAX_FILES = 65536, /* besides the manifest */
  VONK_BUNDLE_MAX_NAME = 4096,   /* bytes of a file's or tensor's name */
  VONK_MANIFEST_MAX = 4 << 20,   /* bytes */
  VONK_SHOWN = 96                /* bytes of a shown name, its NUL included */
};

/* One file of a bundle. */
typedef struct bundle_file {
  const char *name;    /* within the bundle */
  const uint8_t *data; /* NULL: it is empty, or lies in a folder and was not read */
  uint64_t size;
  const char *sha256; /* 64 hex digits, not terminated; what the manifest says */
  bool is_kept;       /* the manifest speaks of its content: it is read */
} bundle_file;

/* What a label or self-test tensor is read from, once the digests are checked. */
typedef struct bundle_source {
  const bundle_file *file;
  yyjson_val *values; /* instead of a file: the texts of a string tensor */
} bundle_source;

typedef struct bundle_block bundle_block;

struct vonk_bundle {
  char *path; /* absolute, links resolved */
  bool is_folder;
  vonk_mapping map; /* of a zip file */

  bundle_block *blocks; /* memory that goes with the bundle */
  yyjson_doc *doc;      /* texts of the manifest lie here */

  const uint8_t *text; /* the manifest as it stands in the bundle */
  size_t n_text;
  bundle_file *files; /* but the manifest, by strcmp of their names */
  size_t n_files;

  vonk_manifest manifest;
  bundle_source *label_sources;              /* one per output */
  bundle_source *test_inputs, *test_outputs; /* one per tensor of the self-test */
  vonk_selftest_tensor *test_in, *test_out;  /* the manifest's, while it is filled */
  vonk_port *output_ports;                   /* the same */

  vonk_files model;
  const char *model_path; /* of a folder */
  char *unpacked;         /* the private folder, NULL = there is none */
  const char *unpacked_model;
};

/* --- memory, messages, names (memory.c, names.c) --- */

/* Zeroed, and freed with the bundle. */
vonk_status vonk_bundle_new(vonk_bundle *, size_t count, size_t size, void *out_pointer,
                            vonk_error *err);
/* A text that ends before the first NUL or after n bytes. */
vonk_status vonk_bundle_text(vonk_bundle *, const char *text, size_t n, const char **out,
                             vonk_error *err);
void vonk_bundle_free_blocks(vonk_bundle *);

/* "bundle '<path>': <message>" */
vonk_status vonk_bundle_fail(const vonk_bundle *, vonk_error *err, vonk_status code,
                             const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* VONK_MODEL: "bundle '<path>': manifest.json: <where>: <message>"; where may be "". */
vonk_status vonk_manifest_fail(const vonk_bundle *, vonk_error *err, const char *where,
                               const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Text that came from outside, fit for a message: cut, without control characters. */
const char *vonk_bundle_show(const char *text, size_t n, char out[VONK_SHOWN]);
bool vonk_text_is_utf8(const char *text, size_t n);
/* Why that cannot be the name of a file inside a bundle ("is absolute"), or NULL. */
const char *vonk_bundle_name_fault(const char *name, size_t n);
void vonk_bundle_sort_files(bundle_file *files, size_t n);
bundle_file *vonk_bundle_find(const vonk_bundle *, const char *name);

/* --- which files there are --- */

/* Fill text, files and n_files. */
vonk_status vonk_zip_read(vonk_bundle *, vonk_error *err);
vonk_status vonk_folder_read(vonk_bundle *, vonk_error *err);
uint32_t vonk_crc32(const uint8_t *bytes, size_t n); /* as zip files have it */

/* --- the manifest --- */

vonk_status vonk_manifest_read(vonk_bundle *, vonk_error *err);
/* `files` of the manifest against those there: names and sizes. */
vonk_status vonk_files_match(vonk_bundle *, yyjson_val *files, vonk_error *err);
vonk_status vonk_ports_read(vonk_bundle *, yyjson_val *root, vonk_error *err);
vonk_status vonk_steps_read(vonk_bundle *, yyjson_val *root, vonk_error *err);
vonk_status vonk_selftest_read(vonk_bundle *, yyjson_val *root, vonk_error *err);

/* The digests; reads what is kept of a folder. */
vonk_status vonk_files_verify(vonk_bundle *, vonk_error *err);
/* From verified files. */
vonk_status vonk_labels_load(vonk_bundle *, vonk_error *err);
vonk_status vonk_selftest_load(vonk_bundle *, vonk_error *err);

/* Bytes of an element, 0 for VONK_BYTES. */
size_t vonk_port_item_size(vonk_dtype);

/* Removes a folder and all that is in it. */
void vonk_unpacked_remove(const char *folder);

/* --- reading JSON (json.c) ---
 * where names the object for messages: "inputs[2]"; "" is the manifest itself. */

/* Parses b->text into b->doc. The nesting is bounded, no key stands twice in an object. */
vonk_status vonk_json_parse(vonk_bundle *, vonk_error *err);
/* NULL if it is not there, or null. */
yyjson_val *vonk_json_get(yyjson_val *object, const char *key);
/* *out stays as it is where an optional key is missing. Texts have no NUL and live as
 * long as the bundle. */
vonk_status vonk_json_text(const vonk_bundle *, yyjson_val *object, const char *where,
                           const char *key, bool is_required, const char **out,
                           vonk_error *err);
vonk_status vonk_json_object(const vonk_bundle *, yyjson_val *object, const char *where,
                             const char *key, bool is_required, yyjson_val **out,
                             vonk_error *err);
vonk_status vonk_json_list(const vonk_bundle *, yyjson_val *object, const char *where,
                           const char *key, bool is_required, yyjson_val **out,
                           vonk_error *err);
/* "a number", "a text", ... */
const char *vonk_json_kind(yyjson_val *);

#endif /* VONK_BUNDLE_INTERNAL_H */
