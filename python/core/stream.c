/* Predictions of a stream, one batch at a time, for Python and for any Arrow consumer.
 *
 * How it works: both read the same state, which takes a batch from the source, predicts
 * and counts. A foreign consumer knows nothing of Python: what a signal handler or the
 * progress function raises becomes the stream's error; a KeyboardInterrupt is besides
 * raised again, once the consumer has given control back to Python. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { TELL_EVERY_NS = 100000000 };

typedef struct stream {
  _Atomic size_t references;
  pthread_mutex_t mutex; /* of all below; never waited for: a reader may hold Python's */
  vonk_py_predictor *predictor;
  vonk_py_source *source;
  PyObject *progress; /* called with (rows, is_finished); NULL = nobody */
  int64_t told_ns, rows;
  bool is_finished;
  vonk_error error;
} stream;

typedef struct stream_object {
  PyObject_HEAD stream *stream;
} stream_object;

static void release_stream(stream *s) {
  if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  vonk_py_source_clear(s->source);
  free(s->source);
  vonk_py_predictor_release(s->predictor);
  if (s->progress != NULL && Py_IsInitialized()) {
    PyGILState_STATE lock = PyGILState_Ensure();
    Py_DECREF(s->progress);
    PyGILState_Release(lock);
  }
  (void)pthread_mutex_destroy(&s->mutex);
  free(s);
}

/* Tells the progress function; VONK_CANCELLED with its exception pending. */
static vonk_status tell(stream *s, vonk_error *err) {
  int64_t now = vonk_py_now_ns();
  if (s->progress == NULL || (!s->is_finished && now - s->told_ns < TELL_EVERY_NS)) {
    return VONK_OK;
  }
  s->told_ns = now;
  PyGILState_STATE lock = PyGILState_Ensure();
  PyObject *result = PyObject_CallFunction(s->progress, "LO", (long long)s->rows,
                                           s->is_finished ? Py_True : Py_False);
  bool raised = result == NULL;
  Py_XDECREF(result);
  PyGILState_Release(lock);
  return raised ? vonk_py_fail(err, VONK_CANCELLED, "progress: the function raised")
                : VONK_OK;
}

static vonk_status predict_next(stream *s, struct ArrowArray *out, vonk_error *err) {
  struct ArrowArray rows = {.release = NULL};
  vonk_status status = vonk_py_source_next(s->source, s->predictor->handle, &rows, err);
  if (status == VONK_OK && rows.release == NULL) {
    bool was_finished = s->is_finished;
    s->is_finished = true;
    return was_finished ? VONK_OK : tell(s, err);
  }
  int64_t n_rows = rows.length;
  if (status == VONK_OK) {
    status = vonk_py_run(s->predictor, &rows, out, err);
    rows.release(&rows);
  }
  if (status != VONK_OK) {
    err->row += err->row < 0 ? 0 : s->rows;
    return status;
  }
  s->rows += n_rows;
  status = vonk_py_check_signals(err);
  if (status == VONK_OK) {
    status = tell(s, err);
  }
  if (status != VONK_OK) {
    out->release(out);
  }
  return status;
}

/* The next predictions, out->release NULL at the end. Called without the lock; an
 * exception may be pending with VONK_CANCELLED. After a failure there are no more. */
static vonk_status next(stream *s, struct ArrowArray *out, vonk_error *err) {
  out->release = NULL;
  if (pthread_mutex_trylock(&s->mutex) != 0) {
    return vonk_py_fail(err, VONK_INVALID,
                        "prediction stream: another thread is reading it: read it from "
                        "one thread at a time");
  }
  vonk_status status = s->error.code;
  if (status == VONK_OK) {
    status = predict_next(s, out, err);
    if (status != VONK_OK) {
      out->release = NULL;
      s->error = *err;
      s->error.code = status;
    }
  } else {
    *err = s->error;
  }
  (void)pthread_mutex_unlock(&s->mutex);
  return status;
}

/* --- as an Arrow stream --- */

static int arrow_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  stream *s = self->private_data;
  vonk_error err = VONK_PY_ERROR_INIT;
  return vonk_predictor_schema(s->predictor->handle, out, &err) == VONK_OK ? 0 : ENOMEM;
}

static int errno_of(vonk_status status) {
  static const int codes[VONK_PY_N_STATUSES] = {
      [VONK_INVALID] = EINVAL,
      [VONK_NOMEM] = ENOMEM,
      [VONK_UNSUPPORTED] = ENOTSUP,
      [VONK_CANCELLED] = ECANCELED,
  };
  return status == VONK_OK ? 0 : codes[status] == 0 ? EIO : codes[status];
}

/* A Python exception becomes text; Ctrl-C is raised again when Python runs next. */
static void take_exception(stream *s) {
  PyGILState_STATE lock = PyGILState_Ensure();
  if (PyErr_Occurred()) {
    bool is_interrupt = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0;
    vonk_py_error_take(&s->error);
    if (is_interrupt) {
      PyErr_SetInterrupt();
    }
  }
  PyGILState_Release(lock);
}

static int arrow_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  stream *s = self->private_data;
  vonk_error err = VONK_PY_ERROR_INIT;
  struct ArrowArray result = {.release = NULL};
  vonk_status status = next(s, &result, &err);
  if (status == VONK_CANCELLED) {
    take_exception(s);
  }
  if (status == VONK_OK) {
    if (result.release == NULL) {
      memset(&result, 0, sizeof result);
    }
    *out = result;
  }
  return errno_of(status);
}

static const char *arrow_error(struct ArrowArrayStream *self) {
  const stream *s = self->private_data;
  return s->error.code == VONK_OK ? NULL : s->error.message;
}

static void arrow_release(struct ArrowArrayStream *self) {
  release_stream(self->private_data);
  self->release = NULL;
}

/* --- the Python object --- */

static PyObject *stream_export(PyObject *self, PyObject *unused) {
  (void)unused;
  stream *s = ((stream_object *)self)->stream;
  (void)atomic_fetch_add(&s->references, 1);
  struct ArrowArrayStream arrow = {.get_schema = arrow_schema,
                                   .get_next = arrow_next,
                                   .get_last_error = arrow_error,
                                   .release = arrow_release,
                                   .private_data = s};
  return vonk_py_stream_capsule(&arrow);
}

static PyObject *stream_next(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_state *state = vonk_py_state_of(self);
  stream *s = ((stream_object *)self)->stream;
  struct ArrowArray result = {.release = NULL};
  struct ArrowSchema schema = {.release = NULL};
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = next(s, &result, &err);
  if (status == VONK_OK && result.release != NULL) {
    status = vonk_predictor_schema(s->predictor->handle, &schema, &err);
    if (status != VONK_OK) {
      result.release(&result);
    }
  }
  Py_END_ALLOW_THREADS;
  if (status != VONK_OK) {
    return PyErr_Occurred() ? NULL : vonk_py_raise(state, status, &err);
  }
  if (result.release == NULL) {
    Py_RETURN_NONE;
  }
  return vonk_py_batches_new(state, &schema, &result, 1);
}

static PyObject *stream_schema(PyObject *self, PyObject *unused) {
  (void)unused;
  struct ArrowSchema schema = {.release = NULL};
  vonk_error err = VONK_PY_ERROR_INIT;
  stream *s = ((stream_object *)self)->stream;
  vonk_status status = vonk_predictor_schema(s->predictor->handle, &schema, &err);
  return status == VONK_OK ? vonk_py_schema_capsule(&schema)
                           : vonk_py_raise(vonk_py_state_of(self), status, &err);
}

PyObject *vonk_py_stream_new(vonk_py_state *state, vonk_py_predictor *predictor,
                             vonk_py_source *moved, PyObject *progress) {
  stream *s = calloc(1, sizeof *s);
  stream_object *object = s == NULL ? NULL : PyObject_New(stream_object, state->stream);
  if (object == NULL) {
    free(s);
    vonk_py_source_clear(moved);
    free(moved);
    return PyErr_NoMemory();
  }
  atomic_init(&s->references, 1);
  (void)pthread_mutex_init(&s->mutex, NULL);
  s->predictor = vonk_py_predictor_retain(predictor);
  s->source = moved;
  s->progress = progress == Py_None ? NULL : Py_NewRef(progress);
  s->told_ns = vonk_py_now_ns();
  object->stream = s;
  return (PyObject *)object;
}

static void stream_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  stream *s = ((stream_object *)self)->stream;
  Py_BEGIN_ALLOW_THREADS;
  release_stream(s);
  Py_END_ALLOW_THREADS;
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"export", stream_export, METH_NOARGS, NULL},
    {"next", stream_next, METH_NOARGS, NULL},
    {"schema", stream_schema, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    VONK_PY_SLOT(Py_tp_dealloc, stream_dealloc),
    {0, NULL},
};

PyType_Spec vonk_py_stream_spec = {
    .name = "vonk._core.Stream",
    .basicsize = (int)sizeof(stream_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
