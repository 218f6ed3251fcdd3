/* vonk plug-in interface, version 1: the one header that a plug-in for a deep-learning
 * framework includes.
 *
 * A plug-in is a shared object that exports one function, `vonk_plugin_init_v1`, and
 * fills a table of functions with which vonk opens models and runs them. docs/plugins.md
 * is the guide, examples/plugin/ a complete small plug-in, and `vonk plugins
 * --conformance PATH` tests a plug-in against the rules below.
 *
 * Rules that hold everywhere
 *  - Growth. Structs marked "grows" begin with struct_size, the size that the one who
 *    filled it knew. Fields are only appended; test a late one with VONK_HAS. Such a
 *    struct is never an element of an array (arrays hold pointers). Structs marked
 *    "frozen" never change. A break of the interface ships as another entry symbol,
 *    ..._v2.
 *  - Errors. A fallible function returns a vonk_status, VONK_OK being 0, and describes a
 *    failure in the caller-owned vonk_error given last, which may be NULL. Outputs are
 *    untouched on failure.
 *  - Text is UTF-8 and NUL-terminated. Sizes are in bytes, dimensions and lengths in
 *    elements.
 *  - Memory. What the host passes in is borrowed for the call. What a plug-in returns
 *    says how long it lives.
 *  - Threads. Every function may be called from any thread, and several at a time, unless
 *    its comment says otherwise.
 *  - Manners. Loading a plug-in loads no framework, starts no thread and prints nothing;
 *    that waits for `runtime` or `open_model`. A plug-in never writes to stdout or
 *    stderr, never installs a signal handler, never changes the floating-point mode of a
 *    thread it was called on, and opens no file outside the model's own folder.
 */
#ifndef VONK_PLUGIN_H
#define VONK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VONK_ABI_MAJOR 1u /* stands in the entry symbol's name */
#define VONK_ABI_MINOR 1u /* counts appended fields */

/* True if the one who filled *p knew `field`. */
#define VONK_HAS(p, field)     \
  ((size_t)(p)->struct_size >= \
   (size_t)((const char *)(&(p)->field + 1) - (const char *)(p)))

/* --- status and error --- */

typedef int32_t vonk_status;
enum {
  VONK_OK = 0,
  VONK_INVALID = 1,     /* the caller's argument or data is wrong */
  VONK_NOMEM = 2,       /* memory, of the host or of the device, ran out */
  VONK_IO = 3,          /* a file could not be found, read or written */
  VONK_UNSUPPORTED = 4, /* well-formed, but this build or framework cannot do it */
  VONK_ABI = 5,         /* plug-in and host do not fit */
  VONK_MODEL = 6,       /* the model file is damaged, or is not what it says */
  VONK_BACKEND = 7,     /* the framework failed while running */
  VONK_CANCELLED = 8,   /* somebody asked for it */
  VONK_DEVICE = 9,      /* the device is not there, or failed */
  VONK_FORKED = 10      /* the process was forked after the runtime had started */
};

/* Grows. Caller-owned and flat: it outlives whoever filled it, and there is nothing to
 * free. */
typedef struct vonk_error {
  uint32_t
      struct_size; /* 0 is read as the first version's size, so a zeroed struct will do */
  vonk_status code;
  int64_t native_code; /* the framework's own code; 0 = none */
  int64_t row; /* the first row at fault, counted in the call's rows; -1 = not about one
                  row */
  char message[1024]; /* what: why: what to do. Cut at a character boundary if longer */
} vonk_error;

/* --- small shared types --- */

/* Frozen. */
typedef struct vonk_kv {
  const char *key, *value;
} vonk_kv;

/* Frozen. kind is Arrow's ArrowDeviceType: 1 CPU, 2 CUDA, 10 ROCm, ... */
typedef struct vonk_device {
  int32_t kind, index;
} vonk_device;
enum { VONK_DEVICE_CPU = 1, VONK_DEVICE_CUDA = 2, VONK_DEVICE_ROCM = 10 };

/* Element types. The numbers are frozen. */
typedef int32_t vonk_dtype;
enum {
  VONK_F16 = 1,
  VONK_BF16 = 2,
  VONK_F32 = 3,
  VONK_F64 = 4,
  VONK_I8 = 5,
  VONK_I16 = 6,
  VONK_I32 = 7,
  VONK_I64 = 8,
  VONK_U8 = 9,
  VONK_U16 = 10,
  VONK_U32 = 11,
  VONK_U64 = 12,
  VONK_BOOL8 = 13, /* one byte an element, 0 or 1 */
  VONK_BYTES = 14  /* strings and blobs of any length */
};

/* Grows. A dense row-major block of elements. */
typedef struct vonk_tensor {
  uint32_t struct_size;
  uint32_t flags; /* VONK_READONLY */
  vonk_dtype dtype;
  int32_t rank;         /* 0 to VONK_MAX_RANK */
  const int64_t *shape; /* rank dimensions, each >= 0; lives as long as the tensor */
  void *data; /* NULL if there is no element. No alignment beyond the element's own is
                 promised */
  const int32_t *offsets; /* VONK_BYTES: elements + 1 rising offsets into data, the first
                             may be > 0; else NULL */
  uint64_t nbytes;        /* bytes at data (VONK_BYTES: the last offset) */
  vonk_device device;     /* where data is */
  void (*release)(struct vonk_tensor *); /* NULL: borrowed. Sets itself to NULL. Callable
                                            from any thread */
  void *private_data;                    /* of whoever set release */
} vonk_tensor;
#define VONK_READONLY 1u
#define VONK_MAX_RANK 8

/* Grows. One input or output of a model. Everything it points to lives as long as the
 * model. */
typedef struct vonk_io {
  uint32_t struct_size;
  vonk_dtype dtype;
  const char *name;
  int32_t rank;         /* -1: the model does not say */
  int32_t reserved;     /* 0 */
  const int64_t *shape; /* rank dimensions; -1 = free. The first one counts rows */
  const char *const
      *dim_names; /* NULL, or rank names of free dimensions, each of which may be NULL */
} vonk_io;

/* Grows. Everything it points to lives as long as the model. */
typedef struct vonk_model_info {
  uint32_t struct_size;
  uint32_t n_inputs, n_outputs;
  uint32_t n_metadata;
  int64_t n_params;     /* trained numbers in the model; -1 = the format does not say */
  int64_t weight_bytes; /* their size in the file(s); -1 = the format does not say */
  const char *format;   /* one of the plug-in's formats */
  const char *producer; /* what wrote the file, "pytorch 2.13.0"; NULL = unknown */
  const vonk_kv *metadata; /* what the author wrote into the file */
} vonk_model_info;

/* Frozen. One file of a model that the host has in memory. */
typedef struct vonk_file {
  const char *name; /* below the model's folder: "digit.onnx", "assets/words.txt" */
  const void *data; /* read-only, of no promised alignment; NULL if there is none */
  uint64_t nbytes;
} vonk_file;

/* Grows. A model whose files are in memory, for they stand in a bundle. */
typedef struct vonk_files {
  uint32_t struct_size;
  uint32_t n_files;
  const char *path; /* what messages call the model, "/a/digit.vonk/model/digit.onnx":
                       nothing can be opened there */
  const char *main; /* the name of the model's own file, others go with it; NULL: the
                       model is the folder that all of them lie in */
  const vonk_file *files; /* by name, in the order of strcmp; no name leaves the folder */
} vonk_files;

/* --- what the host offers --- */

/* A request to stop one run, made by the host. */
typedef struct vonk_cancel vonk_cancel;

enum { VONK_LOG_DEBUG = 0, VONK_LOG_INFO = 1, VONK_LOG_WARNING = 2, VONK_LOG_ERROR = 3 };

/* Grows. Valid until the process ends; one per copy of the vonk library in the process,
 * so a plug-in that keeps state keeps it per host table. Every function takes ctx first.
 */
typedef struct vonk_host {
  uint32_t struct_size;
  uint32_t abi_minor;
  void *ctx;
  /* size bytes at a multiple of align (a power of two, 0 = malloc's), or NULL. Freed with
   * `free`, which takes NULL. */
  void *(*alloc)(void *ctx, size_t size, size_t align);
  void (*free)(void *ctx, void *ptr);
  void (*log)(void *ctx, int32_t level, const char *where, const char *message);
  /* What set-up recorded under `key`, such as "onnxruntime", the path of a library; NULL
   * = nothing. Lives for ever. */
  const char *(*config)(void *ctx, const char *key);
  /* Calls stop(arg) once, from any thread, when the run that was given `cancel` is to
   * end; at once if that has been asked before. stop must not block. stop = NULL ends the
   * watch and waits for a call in progress: do so before arg goes away. */
  void (*watch_cancel)(void *ctx, vonk_cancel *cancel, void (*stop)(void *arg),
                       void *arg);
} vonk_host;

/* --- what a plug-in implements --- */

typedef struct vonk_plugin_model
    vonk_plugin_model; /* the plug-in's own: an opened model file */
typedef struct vonk_plugin_session
    vonk_plugin_session; /* the plug-in's own: a model ready to run on one device */

/* Grows. One run of one micro-batch. */
typedef struct vonk_run {
  uint32_t struct_size;
  uint32_t n_inputs, n_outputs;
  uint32_t threads; /* how many threads the run may use at most, the calling one included;
                       >= 1 */
  const vonk_tensor *const *inputs; /* in the model's order, on the session's device or
                                       the CPU; never written */
  /* In the model's order. An entry may be NULL: that output is not wanted. Else, if data
   * is set (only with VONK_CAP_PREALLOCATED_OUT): dtype, rank, shape, data and nbytes are
   * set; write there, and fail with VONK_BACKEND if the model yields another shape. If
   * data is NULL: set dtype, rank, shape, data, offsets, nbytes, device and release (by
   * which all of it is freed; it may outlive the session but not the model). On failure
   * the host calls every release that is set. */
  vonk_tensor *const *outputs;
  /* NULL: cannot be cancelled. Else watch it, if the framework can stop a run, through
   * watch_cancel of `host`. */
  vonk_cancel *cancel;
  /* Who runs this; never NULL. Two copies of the vonk library in one process are two
   * hosts, and each calls the entry function with its own table. */
  const vonk_host *host;
} vonk_run;

/* What a plug-in can do. */
enum {
  VONK_CAP_CONCURRENT_RUN =
      1, /* `run` may be called on one session from several threads at a time */
  VONK_CAP_PREALLOCATED_OUT =
      2 /* `run` writes outputs of a known shape where the host says */
};

/* Grows. The host zeroes it, sets struct_size to the bytes it has, and calls the entry
 * function, which sets struct_size to the bytes it filled (at most that), abi_minor, and
 * the fields below. Functions marked optional may stay NULL. */
typedef struct vonk_plugin_v1 {
  uint32_t struct_size;
  uint32_t abi_minor;
  uint32_t caps;
  uint32_t reserved;          /* 0 */
  const char *name;           /* "onnx": [a-z0-9_]+, static like all text in this table */
  const char *version;        /* the plug-in's own */
  const char *const *formats; /* "onnx", "savedmodel", ...; ends with NULL */
  const vonk_kv *options; /* key and one line of help for each option of open_model; ends
                             with key NULL */

  /* How surely this plug-in can open what lies at path: 0 no, 1 its name says so, 2 its
   * content says so. head: the file's first n_head bytes (at most 4096), NULL for a
   * folder. Loads no framework. */
  int32_t (*recognise)(const char *path, const uint8_t *head, size_t n_head);

  /* Loads the framework if it was not, and tells its version and the path of the library
   * really used (both live for ever). A missing framework is VONK_UNSUPPORTED with every
   * place searched and what to install. */
  vonk_status (*runtime)(const char **version, const char **path, vonk_error *err);

  /* Optional: the CPU alone. Fills up to cap devices and the count there are. */
  vonk_status (*devices)(vonk_device *out, uint32_t cap, uint32_t *n, vonk_error *err);

  /* Opens a model file or folder; nothing in it is executed. options hold only keys of
   * `options`. */
  vonk_status (*open_model)(const char *path, const vonk_kv *options, size_t n_options,
                            vonk_plugin_model **out, vonk_error *err);
  vonk_status (*model_info)(const vonk_plugin_model *, vonk_model_info *out,
                            vonk_error *err);
  vonk_status (*describe)(const vonk_plugin_model *, int32_t is_output, uint32_t index,
                          vonk_io *out, vonk_error *err);

  /* A session holds the weights on its device. The host makes one per model where
   * VONK_CAP_CONCURRENT_RUN is set, else one per thread that runs. `threads` as in
   * vonk_run. */
  vonk_status (*create_session)(vonk_plugin_model *, vonk_device device, uint32_t threads,
                                vonk_plugin_session **out, vonk_error *err);
  vonk_status (*run)(vonk_plugin_session *, const vonk_run *, vonk_error *err);
  void (*release_session)(
      vonk_plugin_session *);                 /* takes NULL; before its model's release */
  void (*release_model)(vonk_plugin_model *); /* takes NULL */

  /* Optional. Joins the plug-in's threads; called at most once, last, never from an exit
   * handler. */
  void (*shutdown)(void);

  /* --- since minor 1 --- */

  /* Optional: the host writes the files to a folder of its own and calls open_model. Like
   * open_model for a model in memory; opens no file of the model. The files' bytes stay as
   * they are until release_model; the rest of *files is borrowed for the call. */
  vonk_status (*open_files)(const vonk_files *, const vonk_kv *options, size_t n_options,
                            vonk_plugin_model **out, vonk_error *err);
} vonk_plugin_v1;

/* The entry function. host outlives the plug-in. A plug-in that cannot work here fails
 * with a reason. */
typedef vonk_status (*vonk_plugin_init_v1_fn)(const vonk_host *host,
                                              vonk_plugin_v1 *plugin, vonk_error *err);
#define VONK_PLUGIN_ENTRY_V1 "vonk_plugin_init_v1"
#define VONK_PLUGIN_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
}
#endif
#endif /* VONK_PLUGIN_H */
