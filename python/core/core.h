/* The C half of the Python package: module vonk._core, over the public header alone.
 *
 * Who owns what. Objects that live beyond a call and are used without the interpreter's
 * lock (models, predictors, streams of predictions) are plain C with a count of
 * references, so that an Arrow consumer may release them from any thread. Python objects
 * hold one such reference each. Everything the package shows to users is Python
 * (python/vonk); the types here are its building blocks. */
#ifndef VONK_PYTHON_CORE_H
#define VONK_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vonk/vonk.h"

#if defined(Py_LIMITED_API) && Py_LIMITED_API != 0x030A0000
#error "this module promises the stable ABI of CPython 3.10"
#endif

#define VONK_PY_ERROR_INIT {.struct_size = (uint32_t)sizeof(vonk_error), .row = -1}
/* A slot of a type or module: ISO C lets a function pointer become an object pointer only
 * by way of an integer. */
#define VONK_PY_SLOT(ID, FUNCTION) {ID, (void *)(uintptr_t)(FUNCTION)}

enum { VONK_PY_N_STATUSES = VONK_FORKED + 1 };

/* Of one interpreter's module. */
typedef struct vonk_py_state {
  PyObject *errors[VONK_PY_N_STATUSES]; /* exception classes by status; [0] is Error */
  PyTypeObject *model, *predictor, *source, *batches, *stream;
} vonk_py_state;

vonk_py_state *vonk_py_state_of(PyObject *object); /* of a type of ours */

/* --- errors.c --- */

/* Sets the exception of a failure and returns NULL. */
PyObject *vonk_py_raise(const vonk_py_state *, vonk_status, const vonk_error *);
/* Writes "what: why: hint" and returns status. */
vonk_status vonk_py_fail(vonk_error *, vonk_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Finds the exception classes in vonk._errors. */
int vonk_py_errors_load(vonk_py_state *);
/* Moves the pending exception into err, as text. The lock is held. */
void vonk_py_error_take(vonk_error *err);

/* --- capsule.c: Arrow structs in capsules, and shared --- */

PyObject *vonk_py_schema_capsule(struct ArrowSchema *moved);
PyObject *vonk_py_array_capsule(struct ArrowArray *moved);
PyObject *vonk_py_stream_capsule(struct ArrowArrayStream *moved);
/* The struct inside, borrowed from the capsule; NULL with an exception if it is no such
 * capsule or has been consumed. */
struct ArrowSchema *vonk_py_schema_of(PyObject *capsule);
struct ArrowArray *vonk_py_array_of(PyObject *capsule);
struct ArrowArrayStream *vonk_py_stream_of(PyObject *capsule);

/* One tree that any number of consumers see, each with structs and release of its own. */
typedef struct vonk_py_shared vonk_py_shared;
vonk_py_shared *vonk_py_share_schema(
    struct ArrowSchema *moved); /* NULL = out of memory */
vonk_py_shared *vonk_py_share_array(struct ArrowArray *moved);
const struct ArrowSchema *vonk_py_shared_schema(const vonk_py_shared *);
const struct ArrowArray *vonk_py_shared_array(const vonk_py_shared *);
vonk_status vonk_py_export_schema(vonk_py_shared *, struct ArrowSchema *out);
vonk_status vonk_py_export_array(vonk_py_shared *, struct ArrowArray *out);
void vonk_py_unshare(vonk_py_shared *); /* NULL is fine */

/* --- model.c, predictor.c --- */

typedef struct vonk_py_model {
  _Atomic size_t references;
  vonk_model *handle;
} vonk_py_model;
void vonk_py_model_release(vonk_py_model *);

typedef struct vonk_py_predictor {
  _Atomic size_t references;
  vonk_predictor *handle;
  _Atomic int64_t ns_per_row; /* of the last call; 0 = none yet */
  _Atomic bool cancelled;
} vonk_py_predictor;
vonk_py_predictor *vonk_py_predictor_retain(vonk_py_predictor *);
void vonk_py_predictor_release(vonk_py_predictor *);
PyObject *vonk_py_predictor_new(vonk_py_state *, vonk_py_predictor *moved);

/* --- source.c, columns.c: what is read --- */

/* A struct schema and where its batches come from, if there are any. */
typedef struct vonk_py_source {
  struct ArrowSchema schema;
  struct ArrowSchema views; /* the same with its string views; released: it has none */
  struct ArrowArrayStream stream; /* released: there is at most the batch below */
  struct ArrowArray batch;
  bool is_lone; /* batches are one column, not a struct of columns */
} vonk_py_source;
/* The next batch for a predictor, out->release NULL at the end. Called without the lock: a
 * source may be Python code itself. */
vonk_status vonk_py_source_next(vonk_py_source *, const vonk_predictor *,
                                struct ArrowArray *out, vonk_error *);
void vonk_py_source_clear(vonk_py_source *);
/* The source inside a Source, for good: it is left empty. NULL with an exception if it
 * was taken before. */
vonk_py_source *vonk_py_source_take(PyObject *source);
const struct ArrowSchema *vonk_py_source_schema(PyObject *source);
PyObject *vonk_py_source_new(vonk_py_state *, vonk_py_source *moved);
/* columns: a tuple of (name, node), node being (format, length, null_count, buffer
 * addresses, child or None); owners keeps the memory alive. */
int vonk_py_columns_read(PyObject *columns, PyObject *owners, vonk_py_source *out);

/* --- layout.c --- */

/* VONK_INVALID, with the first column at fault, if rows are not of the bound schema. Both
 * are structs of columns that a Source has checked. */
vonk_status vonk_py_layout_check(const struct ArrowSchema *bound,
                                 const struct ArrowSchema *rows, vonk_error *err);

/* --- views.c --- */

/* Makes string views plain strings: in a schema, whose original form is kept if it has
 * any; in the columns of a batch that the predictor reads. */
int vonk_py_views_rename(struct ArrowSchema *schema, struct ArrowSchema *original);
vonk_status vonk_py_views_convert(const struct ArrowSchema *original,
                                  const vonk_predictor *, struct ArrowArray *batch,
                                  vonk_error *err);

/* --- run.c --- */

/* vonk_predict without the lock, ended by a signal if this is Python's main thread; then
 * the status is VONK_CANCELLED and the handler's exception is pending. */
vonk_status vonk_py_run(vonk_py_predictor *, const struct ArrowArray *rows,
                        struct ArrowArray *out, vonk_error *err);
/* Runs signal handlers if this is the main thread; VONK_CANCELLED with the exception
 * pending. Called without the lock. */
vonk_status vonk_py_check_signals(vonk_error *err);
/* Notes which thread Python runs signal handlers on. The lock is held. */
int vonk_py_note_main_thread(void);
/* Ours, of a clock that only goes forward. */
int64_t vonk_py_now_ns(void);

/* --- batches.c, stream.c: what is given back --- */

/* A result: moved schema and n arrays of it. */
PyObject *vonk_py_batches_new(vonk_py_state *, struct ArrowSchema *schema,
                              struct ArrowArray *arrays, size_t n);
PyObject *vonk_py_stream_new(vonk_py_state *, vonk_py_predictor *, vonk_py_source *moved,
                             PyObject *progress);

extern PyType_Spec vonk_py_model_spec, vonk_py_predictor_spec, vonk_py_source_spec,
    vonk_py_batches_spec, vonk_py_stream_spec;

/* --- functions of the module --- */

PyObject *vonk_py_open(PyObject *module, PyObject *args);
PyObject *vonk_py_plugins(PyObject *module, PyObject *unused);
PyObject *vonk_py_plugin_runtime(PyObject *module, PyObject *path);
PyObject *vonk_py_source_from_stream(PyObject *module, PyObject *capsule);
PyObject *vonk_py_source_from_array(PyObject *module, PyObject *args);
PyObject *vonk_py_source_from_columns(PyObject *module, PyObject *args);
PyObject *vonk_py_source_from_schema(PyObject *module, PyObject *capsule);

/* --- log.c --- */

PyObject *vonk_py_set_log(PyObject *module, PyObject *args);
PyObject *vonk_py_after_fork(PyObject *module, PyObject *unused);

/* Pairs of text of a Python tuple, borrowed from it. */
typedef struct vonk_py_pairs {
  vonk_kv *kvs;
  size_t n;
} vonk_py_pairs;
int vonk_py_pairs_read(PyObject *tuple, vonk_py_pairs *out);
void vonk_py_pairs_clear(vonk_py_pairs *);

#endif
