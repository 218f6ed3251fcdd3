/* A result: arrays of one schema, that any number of Arrow consumers may take, and the
 * addresses of its buffers for NumPy. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* What an exported stream and the Python object share. */
typedef struct content {
  _Atomic size_t references;
  vonk_py_shared *schema;
  size_t n;
  vonk_py_shared *arrays[];
} content;

typedef struct batches_object {
  PyObject_HEAD content *content;
} batches_object;

static void release_content(content *c) {
  if (c == NULL ||
      atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  vonk_py_unshare(c->schema);
  for (size_t i = 0; i < c->n; i++) {
    vonk_py_unshare(c->arrays[i]);
  }
  free(c);
}

static content *new_content(struct ArrowSchema *schema, struct ArrowArray *arrays,
                            size_t n) {
  content *c = calloc(1, sizeof *c + n * sizeof(vonk_py_shared *));
  bool is_whole = c != NULL;
  if (is_whole) {
    atomic_init(&c->references, 1);
    c->n = n;
    c->schema = vonk_py_share_schema(schema);
    is_whole = c->schema != NULL;
  }
  for (size_t i = 0; is_whole && i < n; i++) {
    c->arrays[i] = vonk_py_share_array(&arrays[i]);
    is_whole = c->arrays[i] != NULL;
  }
  if (is_whole) {
    return c;
  }
  release_content(c);
  return NULL;
}

PyObject *vonk_py_batches_new(vonk_py_state *state, struct ArrowSchema *schema,
                              struct ArrowArray *arrays, size_t n) {
  batches_object *object = NULL;
  content *c = new_content(schema, arrays, n);
  if (c == NULL) {
    (void)PyErr_NoMemory();
    if (schema->release != NULL) {
      schema->release(schema);
    }
    for (size_t i = 0; i < n; i++) {
      if (arrays[i].release != NULL) {
        arrays[i].release(&arrays[i]);
      }
    }
    return NULL;
  }
  object = PyObject_New(batches_object, state->batches);
  if (object == NULL) {
    release_content(c);
    return NULL;
  }
  object->content = c;
  return (PyObject *)object;
}

static content *content_of(PyObject *self) { return ((batches_object *)self)->content; }

/* --- as an Arrow stream --- */

typedef struct reader {
  content *content;
  size_t next;
} reader;

static int reader_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  const reader *r = self->private_data;
  return vonk_py_export_schema(r->content->schema, out) == VONK_OK ? 0 : 12 /* ENOMEM */;
}

static int reader_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  reader *r = self->private_data;
  if (r->next == r->content->n) {
    memset(out, 0, sizeof *out);
    return 0;
  }
  return vonk_py_export_array(r->content->arrays[r->next++], out) == VONK_OK ? 0 : 12;
}

static const char *reader_error(struct ArrowArrayStream *self) {
  (void)self;
  return "memory: none left";
}

static void reader_release(struct ArrowArrayStream *self) {
  reader *r = self->private_data;
  release_content(r->content);
  free(r);
  self->release = NULL;
}

static PyObject *batches_stream(PyObject *self, PyObject *unused) {
  (void)unused;
  reader *r = malloc(sizeof *r);
  if (r == NULL) {
    return PyErr_NoMemory();
  }
  *r = (reader){.content = content_of(self)};
  (void)atomic_fetch_add(&r->content->references, 1);
  struct ArrowArrayStream stream = {.get_schema = reader_schema,
                                    .get_next = reader_next,
                                    .get_last_error = reader_error,
                                    .release = reader_release,
                                    .private_data = r};
  return vonk_py_stream_capsule(&stream);
}

/* --- as capsules of one array --- */

static PyObject *batches_schema(PyObject *self, PyObject *unused) {
  (void)unused;
  struct ArrowSchema schema;
  return vonk_py_export_schema(content_of(self)->schema, &schema) == VONK_OK
             ? vonk_py_schema_capsule(&schema)
             : PyErr_NoMemory();
}

static PyObject *batches_array(PyObject *self, PyObject *index_object) {
  content *c = content_of(self);
  size_t i = PyLong_AsSize_t(index_object);
  if (PyErr_Occurred()) {
    return NULL;
  }
  if (i >= c->n) {
    return PyErr_Format(PyExc_IndexError, "batch %zu of %zu", i, c->n);
  }
  struct ArrowArray array;
  if (vonk_py_export_array(c->arrays[i], &array) != VONK_OK) {
    return PyErr_NoMemory();
  }
  PyObject *capsule = vonk_py_array_capsule(&array);
  PyObject *schema = capsule == NULL ? NULL : batches_schema(self, NULL);
  if (schema == NULL) {
    Py_XDECREF(capsule);
    return NULL;
  }
  return Py_BuildValue("(NN)", schema, capsule);
}

/* --- as addresses --- */

/* (format, name, length, offset, null_count, addresses, children) */
static PyObject *describe(const struct ArrowSchema *schema,
                          const struct ArrowArray *array) {
  PyObject *addresses = PyTuple_New((Py_ssize_t)array->n_buffers);
  PyObject *children = PyTuple_New((Py_ssize_t)array->n_children);
  bool is_whole = addresses != NULL && children != NULL;
  for (int64_t i = 0; is_whole && i < array->n_buffers; i++) {
    PyObject *address =
        PyLong_FromUnsignedLongLong((unsigned long long)(uintptr_t)array->buffers[i]);
    is_whole = address != NULL && PyTuple_SetItem(addresses, (Py_ssize_t)i, address) == 0;
  }
  for (int64_t i = 0; is_whole && i < array->n_children; i++) {
    PyObject *child = describe(schema->children[i], array->children[i]);
    is_whole = child != NULL && PyTuple_SetItem(children, (Py_ssize_t)i, child) == 0;
  }
  if (!is_whole) {
    Py_XDECREF(addresses);
    Py_XDECREF(children);
    return NULL;
  }
  return Py_BuildValue("(ssLLLNN)", schema->format,
                       schema->name == NULL ? "" : schema->name, (long long)array->length,
                       (long long)array->offset, (long long)array->null_count, addresses,
                       children);
}

static PyObject *batches_nodes(PyObject *self, PyObject *unused) {
  (void)unused;
  content *c = content_of(self);
  PyObject *list = PyTuple_New((Py_ssize_t)c->n);
  for (size_t i = 0; list != NULL && i < c->n; i++) {
    PyObject *node =
        describe(vonk_py_shared_schema(c->schema), vonk_py_shared_array(c->arrays[i]));
    if (node == NULL || PyTuple_SetItem(list, (Py_ssize_t)i, node) != 0) {
      Py_CLEAR(list);
    }
  }
  return list;
}

static PyObject *batches_num_rows(PyObject *self, PyObject *unused) {
  (void)unused;
  content *c = content_of(self);
  int64_t n = 0;
  for (size_t i = 0; i < c->n; i++) {
    n += vonk_py_shared_array(c->arrays[i])->length;
  }
  return PyLong_FromLongLong(n);
}

static PyObject *batches_num_batches(PyObject *self, PyObject *unused) {
  (void)unused;
  return PyLong_FromSize_t(content_of(self)->n);
}

/* ((name, format), ...) */
static PyObject *batches_columns(PyObject *self, PyObject *unused) {
  (void)unused;
  const struct ArrowSchema *schema = vonk_py_shared_schema(content_of(self)->schema);
  PyObject *columns = PyTuple_New((Py_ssize_t)schema->n_children);
  for (int64_t i = 0; columns != NULL && i < schema->n_children; i++) {
    PyObject *column =
        Py_BuildValue("(ss)", schema->children[i]->name, schema->children[i]->format);
    if (column == NULL || PyTuple_SetItem(columns, (Py_ssize_t)i, column) != 0) {
      Py_CLEAR(columns);
    }
  }
  return columns;
}

static void batches_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  release_content(content_of(self));
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"stream", batches_stream, METH_NOARGS, NULL},
    {"schema", batches_schema, METH_NOARGS, NULL},
    {"array", batches_array, METH_O, NULL},
    {"nodes", batches_nodes, METH_NOARGS, NULL},
    {"num_rows", batches_num_rows, METH_NOARGS, NULL},
    {"num_batches", batches_num_batches, METH_NOARGS, NULL},
    {"columns", batches_columns, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    VONK_PY_SLOT(Py_tp_dealloc, batches_dealloc),
    {0, NULL},
};

PyType_Spec vonk_py_batches_spec = {
    .name = "vonk._core.Batches",
    .basicsize = (int)sizeof(batches_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
