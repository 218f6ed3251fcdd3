/* vonk: deep-learning models over Arrow columns. Everything a program needs to embed the
 * library; examples/embed/ is a complete small program.
 *
 *   vonk_model_open        a model file, once per process
 *   vonk_predictor_create  binds its inputs to the columns you have: the contract is
 *                          checked here
 *   vonk_predict           a batch of rows in, a batch of predictions out, from any
 *                          number of threads
 *
 * Rules that hold everywhere
 *  - A fallible function returns a vonk_status (VONK_OK is 0) and describes a failure in
 *    the caller-owned vonk_error given last, which may be NULL. Outputs are untouched on
 *    failure. The library prints nothing and never ends the process.
 *  - Structs that begin with struct_size grow at their end in later versions: set it to
 *    sizeof of what you compiled with (the VONK_..._INIT macros do), all else may be
 *    zero.
 *  - Borrowed pointers say until when they live. Names and messages are UTF-8.
 *  - Thread safety: every function may be called from any thread. Releasing an object
 *    while another thread still uses that same object is the caller's error; everything
 *    else is safe.
 *  - fork: a child of a process that has predicted gets VONK_FORKED from every call that
 *    would run a model (threads do not survive a fork). Start worker processes before the
 *    first prediction, or with exec ("spawn").
 */
#ifndef VONK_H
#define VONK_H

#include "vonk/arrow_c_data.h"
#include "vonk/plugin.h" /* vonk_status, vonk_error, dtypes, vonk_kv, vonk_io */

#ifdef __cplusplus
extern "C" {
#endif

#define VONK_API __attribute__((visibility("default")))

#define VONK_VERSION_MAJOR 0
#define VONK_VERSION_MINOR 1
#define VONK_VERSION_PATCH 0

/* The library's version, "0.1.0"; static. */
VONK_API const char *vonk_version(void);
/* "VONK_INVALID" for VONK_INVALID; "unknown" for a number that is no status; static. */
VONK_API const char *vonk_status_name(vonk_status status);
/* "float32" for VONK_F32, "string" for VONK_BYTES; "unknown" for a number that is no
 * dtype; static. */
VONK_API const char *vonk_dtype_name(vonk_dtype dtype);

/* --- models ---
 * A model is opened once per process and shared: opening the same file with the same
 * options again gives another reference to the same weights; a file, or any file of a
 * model that is a folder, that has changed since (size, time) makes it be opened anew.
 * Nothing in a model file is executed. */
typedef struct vonk_model vonk_model;

/* path: a bundle (a .vonk file or folder, docs/bundle.md), or a model file or folder of a
 * format that a plug-in opens (`vonk plugins` lists them); "#sha256=<64 hex digits>" after
 * it pins the content.
 * options (may be NULL), keys the host knows:
 *   plugin           name or absolute path of the plug-in to use, instead of the one that
 *                    recognises the file
 *   device           "cpu" (default), "cuda", "cuda:1", "rocm:0"; never falls back to
 *                    another device
 *   threads_per_run  threads that the framework may use inside one run: 1 (default), since
 *                    micro-batches run side by side; more for a large model on few rows
 * Other keys belong to the plug-in (`vonk plugins` lists them); a key nobody knows is
 * VONK_INVALID.
 * Errors: VONK_IO no such file; VONK_MODEL damaged, or its content is not the pinned one;
 * VONK_UNSUPPORTED no plug-in or framework for it; VONK_NOMEM beyond
 * vonk_set_model_memory. */
VONK_API vonk_status vonk_model_open(const char *path, const vonk_kv *options,
                                     size_t n_options, vonk_model **out, vonk_error *err);
/* Gives one reference back; NULL is fine. The last one (predictors hold one each) frees
 * the weights. */
VONK_API void vonk_model_close(vonk_model *);

/* Grows. Everything it points to is borrowed from the model. */
typedef struct vonk_model_summary {
  uint32_t struct_size;
  uint32_t n_inputs, n_outputs, n_metadata;
  const char *path;            /* absolute, links resolved */
  const char *format;          /* "onnx" */
  const char *producer;        /* "pytorch 2.13.0"; NULL = unknown */
  const char *plugin;          /* "onnx" */
  const char *runtime_version; /* of the framework, "1.31.1" */
  const char *runtime_path;    /* the library really loaded */
  const char *device;          /* "cpu", "cuda:0" */
  int64_t n_params;            /* trained numbers; -1 = the format does not say */
  int64_t weight_bytes;        /* their size; -1 = the format does not say */
  int64_t file_bytes;          /* of the model file, or of all files of the folder */
  const vonk_io *const *inputs, *const *outputs;
  const vonk_kv *metadata; /* what the author wrote into the file */
} vonk_model_summary;
VONK_API const vonk_model_summary *vonk_model_summarize(const vonk_model *);

/* Grows. What a bundle says besides; borrowed from the model. Texts are NULL where it does
 * not say. */
typedef struct vonk_bundle_summary {
  uint32_t struct_size;
  uint32_t n_provenance, n_steps, n_labels;
  const char *name, *description, *licence; /* an SPDX identifier, or a text */
  const vonk_kv *provenance; /* "source", "framework", "created", ...: docs/bundle.md */
  const char *const *steps;  /* of preprocessing, in order, one readable line each */
  const char *const *labels; /* of the classes of output labels_output */
  uint32_t labels_output;
  int32_t reserved;
  int64_t selftest_rows; /* 0 = there is no self-test */
  double selftest_tolerance;
} vonk_bundle_summary;
/* NULL if the model is no bundle. */
VONK_API const vonk_bundle_summary *vonk_model_bundle(const vonk_model *);

/* Runs the bundle's self-test here: predicts the rows it holds and compares with what the
 * original model gave for them where it was packed. *difference, which may be NULL, becomes
 * the largest |found - expected| / max(1, |expected|); it is set on VONK_BACKEND too, which
 * says that it is above the tolerance, or that other values than floats differ.
 * VONK_UNSUPPORTED: there is no self-test. */
VONK_API vonk_status vonk_model_selftest(vonk_model *, double *difference,
                                         vonk_error *err);

/* SHA-256 of the file's content now, as 64 hex digits and a NUL. Reads the whole file. Of
 * a folder: the digest of the lines that sha256sum prints for all files below it, named
 * within the folder and sorted by the bytes of their names. */
VONK_API vonk_status vonk_model_sha256(const vonk_model *, char hex[65], vonk_error *err);

/* --- predictors ---
 * A predictor is a model bound to columns. Names, dtypes, shapes and nullability are
 * checked when it is made, before any row is read. Immutable afterwards: vonk_predict may
 * run on one predictor from any number of threads.
 *
 * How columns meet inputs, the first rule that fits:
 *   1. an explicit map (bind options, inputs) always wins;
 *   2. a single struct column: its fields take its place, and meet inputs by name;
 *   3. as many columns as inputs: by name, or by position when no name matches;
 *   4. one list column and one input: the list is the tensor (nested lists give the dims,
 *      a flat list fills the shape in row-major order); one scalar column fills [rows]
 *      and [rows, 1] alike;
 *   5. N scalar columns and one input of shape [rows, N]: packed in column order.
 * Columns that the map or the names leave over are an error only where a rule counts
 * columns.
 *
 * Conversions: equal dtypes are not converted and, where the rows lie densely, not
 * copied. A dtype widens silently when no value can change (int32 -> float64, uint8 ->
 * float32, float16 -> float32, bool -> any number); floats narrow (float64 -> float32)
 * because every SQL literal is a double; anything else is an error with the cast to
 * write. A binary column feeds a tensor of numbers with the bytes of its values: a row's
 * are its numbers in row-major order, as the tensor has them (little-endian; bool a byte,
 * 0 or 1), as many as the shape says; they are not copied where they are aligned.
 *
 * Rows of different lengths: a free dimension of the model may differ from row to row;
 * rows of one shape run together.
 *
 * Outputs: [rows] is a scalar; [rows, n...] a fixed-size list, nested for rank > 2
 * ([rows, free] a list); [rows, 1] a list of one unless squeeze is set. bfloat16 is
 * returned as float32, strings as utf8. */
typedef struct vonk_predictor vonk_predictor;

enum { VONK_NULLS_NULL = 0, VONK_NULLS_ERROR = 1 };
enum { VONK_ROWS_RAISE = 0, VONK_ROWS_NULL = 1, VONK_ROWS_REPORT = 2 };
/* Keywords, on_error='null'; or the functions of vonk's DuckDB extension, try_... */
enum { VONK_ADVICE_KEYWORDS = 0, VONK_ADVICE_DUCKDB = 1 };

/* Grows. */
typedef struct vonk_bind_options {
  uint32_t struct_size;
  /* VONK_NULLS_NULL: a row with a NULL gets a NULL prediction and is never sent to the
   * model; _ERROR: it is a bad row. */
  int32_t nulls;
  /* tensor -> column, or "a,b,c" to pack scalar columns in that order; "s.f" is field f
   * of struct s. */
  const vonk_kv *inputs;
  size_t n_inputs;
  /* tensor -> the column it becomes; none = all outputs under their own names. */
  const vonk_kv *outputs;
  size_t n_outputs;
  /* A row that cannot be converted or that the model refuses: VONK_ROWS_RAISE fails the
   * call; _NULL gives NULL and counts it; _REPORT also adds a utf8 column "error", which
   * says for every row without a prediction why, and is NULL for the others. */
  int32_t row_errors;
  int32_t squeeze;     /* 1: drop dimensions of 1 after the rows: [rows, 1] is a scalar */
  int64_t batch_rows;  /* of a micro-batch; 0 = chosen. A fixed batch dim always wins */
  int64_t batch_bytes; /* upper bound for one micro-batch's tensors; 0 = 64 MiB */
  /* NULL: the tensor; along its last dimension: "argmax": the index of the largest, int64;
   * "label": that class's label, utf8; "top5" (or another number): the five largest, most
   * likely first, a list of struct(index int64, label utf8, score float). Labels come from
   * the bundle; without any, "label" is an error and top5's are NULL. */
  const char *as;
  int32_t half_as_float; /* 1: float16 outputs become float32 */
  int32_t sql_casts; /* 1: as SQL's own casts do it, integers of any width become floats,
                        rounded to the nearest, and so do decimals of 128 bits */
  /* 1: outputs become lists with int32 offsets at every level, whose elements are called
   * "element", instead of fixed-size lists: for engines that have no others. Values are
   * not copied for it: a NULL row's list has elements, too. */
  int32_t variable_lists;
  /* 1: for engines without unsigned types. Unsigned outputs become the next wider signed
   * type, uint64 int64; unsigned inputs take signed integers, too. A value that the other
   * type does not hold makes its row a bad one. */
  int32_t signed_integers;
  int32_t advice; /* in whose words messages say what to write instead, VONK_ADVICE_... */
} vonk_bind_options;
#define VONK_BIND_OPTIONS_INIT {.struct_size = (uint32_t)sizeof(vonk_bind_options)}

/* columns: a struct schema, every child is a column; borrowed for the call. options may
 * be NULL. Takes a reference to the model. Errors: VONK_INVALID the columns do not fit
 * the signature (says which, what it is, what the model wants, what to write);
 * VONK_UNSUPPORTED a model that vonk cannot batch. */
VONK_API vonk_status vonk_predictor_create(vonk_model *,
                                           const struct ArrowSchema *columns,
                                           const vonk_bind_options *options,
                                           vonk_predictor **out, vonk_error *err);
VONK_API void vonk_predictor_release(vonk_predictor *); /* NULL is fine */

/* The type of the predictions: a struct schema with one child per output, and "error"
 * with VONK_ROWS_REPORT. */
VONK_API vonk_status vonk_predictor_schema(const vonk_predictor *,
                                           struct ArrowSchema *out, vonk_error *err);

/* Which columns of the struct schema the predictor reads: *indices (borrowed from it) has
 * *n entries. */
VONK_API void vonk_predictor_columns(const vonk_predictor *, const int64_t **indices,
                                     size_t *n);

/* One batch: a struct array of the bound schema in, a struct array of the same length
 * out; row i of out belongs to row i of rows. rows is borrowed for the call, *out is
 * filled with its own release. On failure *out is untouched and err->row is the row at
 * fault, counted in this batch, if it was a row's fault. Runs micro-batches on the
 * calling thread; helper threads join while the process's thread budget has room. */
VONK_API vonk_status vonk_predict(const vonk_predictor *, const struct ArrowArray *rows,
                                  struct ArrowArray *out, vonk_error *err);

/* A whole stream, lazily: each get_next of *out takes one batch from in. in is moved (its
 * release becomes NULL) on success only, and released with *out; it must deliver the
 * bound schema. */
VONK_API vonk_status vonk_predict_stream(const vonk_predictor *,
                                         struct ArrowArrayStream *in,
                                         struct ArrowArrayStream *out, vonk_error *err);

/* Ends all runs in flight on this predictor, and every later one, with VONK_CANCELLED. */
VONK_API void vonk_predictor_cancel(vonk_predictor *);

/* Grows. Counts since the predictor was made; monotone, readable at any time. Times are
 * nanoseconds summed over threads. */
typedef struct vonk_stats {
  uint32_t struct_size;
  uint32_t max_threads;   /* most threads that worked on one call */
  uint64_t rows;          /* rows taken in */
  uint64_t null_rows;     /* of these, with a NULL input */
  uint64_t error_rows;    /* of these, that failed */
  uint64_t micro_batches; /* runs of the model */
  uint64_t bytes_in;      /* of input values read */
  uint64_t bytes_copied; /* of these and of the outputs, copied or converted on the way */
  uint64_t convert_ns;   /* validating and converting columns to tensors */
  uint64_t infer_ns;     /* inside the framework */
  uint64_t emit_ns;      /* building the result */
  uint64_t wait_ns;      /* a caller waiting for its helpers */
} vonk_stats;
/* Fills as much of *out as out->struct_size says. */
VONK_API void vonk_predictor_stats(const vonk_predictor *, vonk_stats *out);
/* Rows in a micro-batch, as chosen or asked for. */
VONK_API int64_t vonk_predictor_batch_rows(const vonk_predictor *);

/* --- process --- */

/* The thread budget of the process: how many threads may run models at a time. 0 = the
 * cores granted to the process (affinity and cgroup limit), the default. Takes effect
 * with the next prediction. */
VONK_API void vonk_set_threads(uint32_t n);
VONK_API uint32_t vonk_get_threads(void);

/* Upper bound in bytes for the weights of all open models; a model that would exceed it
 * is VONK_NOMEM. 0 = none. */
VONK_API void vonk_set_model_memory(uint64_t nbytes);

/* Where messages of level VONK_LOG_... and above go; NULL (the default) = nowhere. sink
 * may be called from any thread. */
VONK_API void vonk_set_log(int32_t level,
                           void (*sink)(void *arg, int32_t level, const char *where,
                                        const char *message),
                           void *arg);

/* Optional, once, when nothing of vonk is in use any more: joins helper threads and ends
 * the plug-ins. */
VONK_API void vonk_shutdown(void);

/* --- plug-ins ---
 * Found in VONK_PLUGIN_PATH (absolute folders, separated by ':'), then in the library's
 * own folder, vonk/plugins. */

/* Grows. Borrowed for the call of the visitor. */
typedef struct vonk_plugin_summary {
  uint32_t struct_size;
  uint32_t caps;
  const char *path, *name, *version; /* name and version NULL if it could not be loaded */
  const char *const *formats;        /* ends with NULL */
  const vonk_kv *options;            /* ends with key NULL */
  const char *error;                 /* why it cannot be used; NULL = it can */
} vonk_plugin_summary;

/* Calls visit for every plug-in found, loaded or not; no framework is loaded. A visitor
 * that returns non-zero ends it. */
VONK_API vonk_status vonk_plugins_visit(int (*visit)(void *arg,
                                                     const vonk_plugin_summary *),
                                        void *arg, vonk_error *err);
/* How surely one of them can open what lies at path: 0 none can, 1 its name says so, 2 its
 * content says so; then *plugin, which may be NULL, is the plug-in's name, static, or
 * "bundle". Reads the first bytes of a file and loads no framework. */
VONK_API int32_t vonk_model_recognise(const char *path, const char **plugin);

/* Where the library of a framework is ("onnxruntime", "tensorflow", "torch"), for a program
 * that knows better than what set-up recorded: an absolute path, or NULL to take it back.
 * Holds for all copies of vonk in the process and is used when the framework is first
 * needed: after a copy that is loaded already and after the environment
 * (VONK_TORCH_LIBRARY and so on), before set-up's record. The Python package does it for
 * the frameworks of its interpreter. */
VONK_API vonk_status vonk_set_framework(const char *name, const char *path,
                                        vonk_error *err);
/* What was set last; NULL = nothing. Lives for ever. */
VONK_API const char *vonk_get_framework(const char *name);

/* Loads the framework of one plug-in (a name, or an absolute path) and tells its version
 * and path, static. */
VONK_API vonk_status vonk_plugin_runtime(const char *plugin, const char **version,
                                         const char **path, vonk_error *err);

#ifdef __cplusplus
}
#endif
#endif /* VONK_H */
