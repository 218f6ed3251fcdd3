/* Bundles: a model with all that belongs to it, in one uncompressed zip file or in a
 * folder. docs/bundle.md describes the format. This header is the layer's only door.
 * Nothing here knows a plug-in or Arrow.
 *
 * Thread safety: every function may be called from any thread, on objects of its own; an
 * opened bundle is not changed any more. */
#ifndef VONK_BUNDLE_H
#define VONK_BUNDLE_H

#include "base/base.h"
#include "vonk/vonk.h"

enum {
  VONK_BUNDLE_VERSION = 1, /* of the manifest's schema: "vonk_bundle": 1 */
  VONK_BUNDLE_MAX_PORTS = 256
};

/* An input or output, as users see it and as the plug-in calls it. */
typedef struct vonk_port {
  const char *name;   /* the user's */
  const char *tensor; /* the plug-in's */
  vonk_dtype dtype;
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];         /* -1 = free; the first counts rows */
  const char *dim_names[VONK_MAX_RANK]; /* NULL = no name */
  const char *const *labels;            /* of an output's classes; NULL = none */
  uint32_t n_labels;
} vonk_port;

/* One step of preprocessing, on one input in place. rescale: x * scale + offset;
 * normalize: (x - mean) / std; both in the input's own dtype, float32 or float64. */
typedef enum vonk_step_kind { VONK_STEP_RESCALE = 1, VONK_STEP_NORMALIZE } vonk_step_kind;
typedef struct vonk_step {
  vonk_step_kind kind;
  uint32_t input; /* index of its port */
  int32_t axis;   /* the dimension that a and b run along, counted with the rows as 0 */
  uint32_t n;     /* numbers in a and b: 1, or the size of that dimension */
  const double *a, *b; /* scale and offset, or mean and std */
} vonk_step;

/* One tensor of the self-test: `rows` rows of a port. */
typedef struct vonk_selftest_tensor {
  uint32_t port; /* index among the inputs, or among the outputs */
  int32_t rank;
  int64_t shape[VONK_MAX_RANK]; /* all known, the first is the rows */
  const void *data; /* dense, row-major, little-endian; unaligned; VONK_BYTES: the
                       texts one after the other */
  uint64_t nbytes;
  const int32_t *offsets; /* VONK_BYTES: elements + 1; else NULL */
} vonk_selftest_tensor;

typedef struct vonk_selftest {
  int64_t rows; /* 0 = there is none */
  double tolerance;
  const vonk_selftest_tensor *inputs, *outputs; /* one per port; outputs may lack some */
  uint32_t n_inputs, n_outputs;
} vonk_selftest;

typedef struct vonk_manifest {
  const char *name, *description, *licence; /* NULL = not said */
  const char *format;                       /* "onnx", "savedmodel", ... */
  const char *plugin;                       /* that opens it */
  const char *model; /* file or folder inside the bundle: "model/digit.onnx", "model" */
  const vonk_kv *options; /* for the plug-in, sorted by key; never allow_native_code */
  const vonk_port *inputs, *outputs;
  const vonk_step *steps;
  const char *const *step_texts; /* one readable line each */
  const vonk_kv *provenance;
  vonk_selftest selftest;
  uint32_t n_options, n_inputs, n_outputs, n_steps, n_provenance;
} vonk_manifest;

typedef struct vonk_bundle vonk_bundle;

/* Whether path is to be opened as a bundle: a folder with a manifest.json, or a zip file
 * whose first entry is manifest.json (head: its first bytes). Being named .vonk is enough,
 * too: then opening says what is wrong with it. */
bool vonk_bundle_recognise(const char *path, const uint8_t *head, size_t n_head);

/* Maps it, reads its manifest and checks the sha256 of every file. Errors: VONK_IO,
 * VONK_MODEL damaged, hostile, or not what the manifest says, VONK_UNSUPPORTED of a newer
 * version or with an unknown step. The whole bundle is checked before anything of it is
 * used. */
vonk_status vonk_bundle_open(const char *path, vonk_bundle **out, vonk_error *err);
void vonk_bundle_release(vonk_bundle *); /* NULL is fine */

const vonk_manifest *vonk_bundle_manifest(const vonk_bundle *);

/* A bundle that is a folder: the model's path in it. NULL for a zip file. */
const char *vonk_bundle_model_path(const vonk_bundle *);
/* The model's files, in memory as long as the bundle is. */
const vonk_files *vonk_bundle_files(const vonk_bundle *);
/* Writes the model's files to a new folder below TMPDIR (/tmp) that only this user may
 * enter, for a plug-in that wants a path. *model_path lives as long as the bundle, whose
 * release removes the folder. */
vonk_status vonk_bundle_unpack(vonk_bundle *, const char **model_path, vonk_error *err);

#endif /* VONK_BUNDLE_H */
