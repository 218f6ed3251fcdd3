/* A model bound to columns: whole sources in, results out. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

typedef struct predictor_object {
  PyObject_HEAD vonk_py_predictor *predictor;
} predictor_object;

vonk_py_predictor *vonk_py_predictor_retain(vonk_py_predictor *predictor) {
  (void)atomic_fetch_add_explicit(&predictor->references, 1, memory_order_relaxed);
  return predictor;
}

void vonk_py_predictor_release(vonk_py_predictor *predictor) {
  if (predictor != NULL &&
      atomic_fetch_sub_explicit(&predictor->references, 1, memory_order_acq_rel) == 1) {
    vonk_predictor_release(predictor->handle);
    free(predictor);
  }
}

PyObject *vonk_py_predictor_new(vonk_py_state *state, vonk_py_predictor *moved) {
  predictor_object *object = PyObject_New(predictor_object, state->predictor);
  if (object == NULL) {
    vonk_py_predictor_release(moved);
    return NULL;
  }
  object->predictor = moved;
  return (PyObject *)object;
}

static vonk_py_predictor *predictor_of(PyObject *self) {
  return ((predictor_object *)self)->predictor;
}

/* --- predict --- */

typedef struct results {
  struct ArrowArray *arrays;
  size_t n, room;
} results;

static void release_results(results *r) {
  for (size_t i = 0; i < r->n; i++) {
    if (r->arrays[i].release != NULL) {
      r->arrays[i].release(&r->arrays[i]);
    }
  }
  free(r->arrays);
}

static vonk_status add_room(results *r, vonk_error *err) {
  if (r->n < r->room) {
    return VONK_OK;
  }
  size_t room = r->room == 0 ? 4 : 2 * r->room;
  struct ArrowArray *more = realloc(r->arrays, room * sizeof *more);
  if (more == NULL) {
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for %zu batches", room);
  }
  r->arrays = more;
  r->room = room;
  return VONK_OK;
}

/* All batches, without the lock. err->row counts in the source's rows. */
static vonk_status predict_all(vonk_py_predictor *predictor, vonk_py_source *source,
                               results *r, vonk_error *err) {
  int64_t rows_before = 0;
  for (;;) {
    struct ArrowArray rows = {.release = NULL};
    vonk_status status = vonk_py_source_next(source, predictor->handle, &rows, err);
    if (status != VONK_OK || rows.release == NULL) {
      return status;
    }
    int64_t n_rows = rows.length;
    status = add_room(r, err);
    if (status == VONK_OK) {
      status = vonk_py_run(predictor, &rows, &r->arrays[r->n], err);
    }
    rows.release(&rows);
    if (status != VONK_OK) {
      err->row += err->row < 0 ? 0 : rows_before;
      return status;
    }
    r->n++;
    rows_before += n_rows;
    status = vonk_py_check_signals(err);
    if (status != VONK_OK) {
      return status;
    }
  }
}

static PyObject *predictor_predict(PyObject *self, PyObject *source_object) {
  vonk_py_state *state = vonk_py_state_of(self);
  vonk_py_source *source = vonk_py_source_take(source_object);
  if (source == NULL) {
    return NULL;
  }
  vonk_py_predictor *predictor = vonk_py_predictor_retain(predictor_of(self));
  results r = {.n = 0};
  struct ArrowSchema schema = {.release = NULL};
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = predict_all(predictor, source, &r, &err);
  if (status == VONK_OK) {
    status = vonk_predictor_schema(predictor->handle, &schema, &err);
  }
  vonk_py_source_clear(source);
  free(source);
  vonk_py_predictor_release(predictor);
  if (status != VONK_OK) {
    release_results(&r);
  }
  Py_END_ALLOW_THREADS;
  if (status != VONK_OK) {
    return PyErr_Occurred() ? NULL : vonk_py_raise(state, status, &err);
  }
  PyObject *batches = vonk_py_batches_new(state, &schema, r.arrays, r.n);
  free(r.arrays);
  return batches;
}

/* --- the rest --- */

/* stream(source, progress) */
static PyObject *predictor_stream(PyObject *self, PyObject *args) {
  vonk_py_state *state = vonk_py_state_of(self);
  PyObject *object, *progress;
  if (!PyArg_ParseTuple(args, "O!O", state->source, &object, &progress)) {
    return NULL;
  }
  vonk_py_source *source = vonk_py_source_take(object);
  return source == NULL ? NULL
                        : vonk_py_stream_new(state, predictor_of(self), source, progress);
}

static PyObject *predictor_schema(PyObject *self, PyObject *unused) {
  (void)unused;
  struct ArrowSchema schema = {.release = NULL};
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status = vonk_predictor_schema(predictor_of(self)->handle, &schema, &err);
  return status == VONK_OK ? vonk_py_schema_capsule(&schema)
                           : vonk_py_raise(vonk_py_state_of(self), status, &err);
}

static PyObject *predictor_columns(PyObject *self, PyObject *unused) {
  (void)unused;
  const int64_t *indices;
  size_t n;
  vonk_predictor_columns(predictor_of(self)->handle, &indices, &n);
  PyObject *tuple = PyTuple_New((Py_ssize_t)n);
  for (size_t i = 0; tuple != NULL && i < n; i++) {
    PyObject *index = PyLong_FromLongLong(indices[i]);
    if (index == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, index) != 0) {
      Py_CLEAR(tuple);
    }
  }
  return tuple;
}

static PyObject *predictor_cancel(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_predictor *predictor = predictor_of(self);
  atomic_store(&predictor->cancelled, true);
  Py_BEGIN_ALLOW_THREADS;
  vonk_predictor_cancel(predictor->handle);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

static PyObject *predictor_cancelled(PyObject *self, PyObject *unused) {
  (void)unused;
  return PyBool_FromLong(atomic_load(&predictor_of(self)->cancelled));
}

/* In the order of Stats' fields (python/vonk/_model.py). */
static PyObject *predictor_stats(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_stats s = {.struct_size = (uint32_t)sizeof s};
  vonk_predictor_stats(predictor_of(self)->handle, &s);
  return Py_BuildValue("(IKKKKKKKKKK)", (unsigned)s.max_threads,
                       (unsigned long long)s.rows, (unsigned long long)s.null_rows,
                       (unsigned long long)s.error_rows,
                       (unsigned long long)s.micro_batches,
                       (unsigned long long)s.bytes_in, (unsigned long long)s.bytes_copied,
                       (unsigned long long)s.convert_ns, (unsigned long long)s.infer_ns,
                       (unsigned long long)s.emit_ns, (unsigned long long)s.wait_ns);
}

static PyObject *predictor_batch_rows(PyObject *self, PyObject *unused) {
  (void)unused;
  return PyLong_FromLongLong(vonk_predictor_batch_rows(predictor_of(self)->handle));
}

static void predictor_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  vonk_py_predictor *predictor = predictor_of(self);
  Py_BEGIN_ALLOW_THREADS;
  vonk_py_predictor_release(predictor);
  Py_END_ALLOW_THREADS;
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"predict", predictor_predict, METH_O, NULL},
    {"stream", predictor_stream, METH_VARARGS, NULL},
    {"schema", predictor_schema, METH_NOARGS, NULL},
    {"columns", predictor_columns, METH_NOARGS, NULL},
    {"cancel", predictor_cancel, METH_NOARGS, NULL},
    {"cancelled", predictor_cancelled, METH_NOARGS, NULL},
    {"stats", predictor_stats, METH_NOARGS, NULL},
    {"batch_rows", predictor_batch_rows, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    VONK_PY_SLOT(Py_tp_dealloc, predictor_dealloc),
    {0, NULL},
};

PyType_Spec vonk_py_predictor_spec = {
    .name = "vonk._core.Predictor",
    .basicsize = (int)sizeof(predictor_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
