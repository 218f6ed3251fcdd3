/* What is read: a schema with a stream of batches, with one batch, or with none.
 *
 * How it works: whatever a producer exports becomes a source whose schema is a struct of
 * columns; a lone column (a pyarrow ChunkedArray, a polars Series) is put into a struct of
 * one. Arrow structs are moved out of their capsules, so that a source depends on no
 * Python object and can be read without the lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { MAX_DEPTH = 64 };

typedef struct source_object {
  PyObject_HEAD vonk_py_source *source; /* NULL: taken */
} source_object;

void vonk_py_source_clear(vonk_py_source *source) {
  if (source->schema.release != NULL) {
    source->schema.release(&source->schema);
  }
  if (source->views.release != NULL) {
    source->views.release(&source->views);
  }
  if (source->stream.release != NULL) {
    source->stream.release(&source->stream);
  }
  if (source->batch.release != NULL) {
    source->batch.release(&source->batch);
  }
}

/* --- a lone column as a struct of one --- */

static void release_wrapped_schema(struct ArrowSchema *outer) {
  if (outer->children[0]->release != NULL) {
    outer->children[0]->release(outer->children[0]);
  }
  free(outer->children[0]);
  free(outer->children);
  outer->release = NULL;
}

static void release_wrapped_array(struct ArrowArray *outer) {
  if (outer->children[0]->release != NULL) {
    outer->children[0]->release(outer->children[0]);
  }
  free(outer->children[0]);
  free(outer->children);
  outer->release = NULL;
}

static bool wrap_schema(struct ArrowSchema *schema) {
  struct ArrowSchema **children = malloc(sizeof *children);
  struct ArrowSchema *inner = malloc(sizeof *inner);
  if (children == NULL || inner == NULL) {
    free(children);
    free(inner);
    return false;
  }
  *inner = *schema;
  children[0] = inner;
  *schema = (struct ArrowSchema){.format = "+s",
                                 .name = "",
                                 .n_children = 1,
                                 .children = children,
                                 .release = release_wrapped_schema};
  return true;
}

static bool wrap_array(struct ArrowArray *array) {
  static const void *no_buffers[1] = {NULL};
  struct ArrowArray **children = malloc(sizeof *children);
  struct ArrowArray *inner = malloc(sizeof *inner);
  if (children == NULL || inner == NULL) {
    free(children);
    free(inner);
    return false;
  }
  *inner = *array;
  children[0] = inner;
  *array = (struct ArrowArray){.length = inner->length,
                               .n_buffers = 1,
                               .n_children = 1,
                               .buffers = no_buffers,
                               .children = children,
                               .release = release_wrapped_array};
  return true;
}

vonk_status vonk_py_source_next(vonk_py_source *source, const vonk_predictor *predictor,
                                struct ArrowArray *out, vonk_error *err) {
  out->release = NULL;
  if (source->stream.release == NULL) {
    *out = source->batch;
    source->batch.release = NULL;
  } else {
    int code = source->stream.get_next(&source->stream, out);
    if (code != 0) {
      const char *why = source->stream.get_last_error == NULL
                            ? NULL
                            : source->stream.get_last_error(&source->stream);
      return vonk_py_fail(err, VONK_IO, "input stream: %s",
                          why == NULL ? strerror(code) : why);
    }
  }
  if (out->release != NULL && source->is_lone && !wrap_array(out)) {
    out->release(out);
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for a batch");
  }
  vonk_status status = VONK_OK;
  if (out->release != NULL && source->views.release != NULL) {
    status = vonk_py_views_convert(&source->views, predictor, out, err);
  }
  if (status != VONK_OK && out->release != NULL) {
    out->release(out);
  }
  return status;
}

/* --- the Python object --- */

static vonk_py_source *source_of(PyObject *object) {
  vonk_py_source *source = ((source_object *)object)->source;
  if (source == NULL) {
    vonk_error err = VONK_PY_ERROR_INIT;
    (void)vonk_py_fail(&err, VONK_INVALID, "source: was read already: make another");
    (void)vonk_py_raise(vonk_py_state_of(object), VONK_INVALID, &err);
  }
  return source;
}

/* A schema comes from outside: what is walked here is checked first. */
static bool is_sound(const struct ArrowSchema *schema, int depth) {
  bool sound = schema != NULL && schema->format != NULL && schema->release != NULL &&
               schema->n_children >= 0 && depth <= MAX_DEPTH &&
               (schema->n_children == 0 || schema->children != NULL);
  for (int64_t i = 0; sound && i < schema->n_children; i++) {
    sound = is_sound(schema->children[i], depth + 1);
  }
  return sound && (schema->dictionary == NULL || is_sound(schema->dictionary, depth + 1));
}

PyObject *vonk_py_source_new(vonk_py_state *state, vonk_py_source *moved) {
  source_object *object = NULL;
  if (!is_sound(&moved->schema, 0)) {
    vonk_error err = VONK_PY_ERROR_INIT;
    (void)vonk_py_fail(
        &err, VONK_INVALID,
        "schema: is damaged or nested more than %d deep: the producer is at "
        "fault",
        MAX_DEPTH);
    vonk_py_source_clear(moved);
    return vonk_py_raise(state, VONK_INVALID, &err);
  }
  vonk_py_source *source = malloc(sizeof *source);
  moved->is_lone = strcmp(moved->schema.format, "+s") != 0;
  if (source == NULL || (moved->is_lone && !wrap_schema(&moved->schema))) {
    (void)PyErr_NoMemory();
  } else if (vonk_py_views_rename(&moved->schema, &moved->views) == 0) {
    object = PyObject_New(source_object, state->source);
  }
  if (object == NULL) {
    vonk_py_source_clear(moved);
    free(source);
    return NULL;
  }
  *source = *moved;
  object->source = source;
  return (PyObject *)object;
}

vonk_py_source *vonk_py_source_take(PyObject *object) {
  if (Py_TYPE(object) != vonk_py_state_of(object)->source) {
    PyErr_SetString(PyExc_TypeError, "source: not a Source");
    return NULL;
  }
  vonk_py_source *source = source_of(object);
  ((source_object *)object)->source = NULL;
  return source;
}

const struct ArrowSchema *vonk_py_source_schema(PyObject *object) {
  vonk_py_source *source = source_of(object);
  return source == NULL ? NULL : &source->schema;
}

PyObject *vonk_py_source_from_stream(PyObject *module, PyObject *capsule) {
  struct ArrowArrayStream *stream = vonk_py_stream_of(capsule);
  if (stream == NULL) {
    return NULL;
  }
  vonk_py_source source = {.schema = {.release = NULL}};
  int code;
  Py_BEGIN_ALLOW_THREADS;
  code = stream->get_schema(stream, &source.schema);
  Py_END_ALLOW_THREADS;
  if (code != 0) {
    const char *why =
        stream->get_last_error == NULL ? NULL : stream->get_last_error(stream);
    vonk_error err = VONK_PY_ERROR_INIT;
    (void)vonk_py_fail(&err, VONK_IO, "input stream: %s",
                       why == NULL ? strerror(code) : why);
    return vonk_py_raise(PyModule_GetState(module), VONK_IO, &err);
  }
  source.stream = *stream;
  stream->release = NULL;
  return vonk_py_source_new(PyModule_GetState(module), &source);
}

/* source_from_array(schema_capsule, array_capsule) */
PyObject *vonk_py_source_from_array(PyObject *module, PyObject *args) {
  PyObject *schema_capsule, *array_capsule;
  if (!PyArg_ParseTuple(args, "OO", &schema_capsule, &array_capsule)) {
    return NULL;
  }
  struct ArrowSchema *schema = vonk_py_schema_of(schema_capsule);
  struct ArrowArray *array = schema == NULL ? NULL : vonk_py_array_of(array_capsule);
  if (array == NULL) {
    return NULL;
  }
  vonk_py_source source = {.schema = *schema, .batch = *array};
  schema->release = NULL;
  array->release = NULL;
  /* wrapped here: next() wraps what a stream gives as well as this */
  return vonk_py_source_new(PyModule_GetState(module), &source);
}

/* source_from_schema(schema_capsule): a source without rows, to bind a model to */
PyObject *vonk_py_source_from_schema(PyObject *module, PyObject *capsule) {
  struct ArrowSchema *schema = vonk_py_schema_of(capsule);
  if (schema == NULL) {
    return NULL;
  }
  vonk_py_source source = {.schema = *schema};
  schema->release = NULL;
  return vonk_py_source_new(PyModule_GetState(module), &source);
}

/* source_from_columns(columns, owners) */
PyObject *vonk_py_source_from_columns(PyObject *module, PyObject *args) {
  PyObject *columns, *owners;
  vonk_py_source source = {.schema = {.release = NULL}};
  if (!PyArg_ParseTuple(args, "O!O", &PyTuple_Type, &columns, &owners) ||
      vonk_py_columns_read(columns, owners, &source) != 0) {
    return NULL;
  }
  return vonk_py_source_new(PyModule_GetState(module), &source);
}

/* --- the identity of a schema --- */

typedef struct text {
  char *bytes;
  size_t size, room;
} text;

static bool add(text *t, const void *bytes, size_t size) {
  if (t->size + size > t->room) {
    size_t room = 2 * (t->size + size) + 64;
    char *more = realloc(t->bytes, room);
    if (more == NULL) {
      return false;
    }
    t->bytes = more;
    t->room = room;
  }
  memcpy(t->bytes + t->size, bytes, size);
  t->size += size;
  return true;
}

/* What the contract looks at: format, name and children, in a form that two different
 * schemas cannot share. */
static bool describe(const struct ArrowSchema *schema, text *t) {
  const char *name = schema->name == NULL ? "" : schema->name;
  bool has_dictionary = schema->dictionary != NULL;
  bool fits = add(t, schema->format, strlen(schema->format) + 1) &&
              add(t, name, strlen(name) + 1) &&
              add(t, &schema->n_children, sizeof schema->n_children) &&
              add(t, &schema->flags, sizeof schema->flags) &&
              add(t, &has_dictionary, sizeof has_dictionary);
  for (int64_t i = 0; fits && i < schema->n_children; i++) {
    fits = describe(schema->children[i], t);
  }
  return fits && (!has_dictionary || describe(schema->dictionary, t));
}

static PyObject *source_fingerprint(PyObject *self, PyObject *unused) {
  (void)unused;
  const struct ArrowSchema *schema = vonk_py_source_schema(self);
  if (schema == NULL) {
    return NULL;
  }
  text t = {.bytes = NULL};
  PyObject *bytes = describe(schema, &t)
                        ? PyBytes_FromStringAndSize(t.bytes, (Py_ssize_t)t.size)
                        : PyErr_NoMemory();
  free(t.bytes);
  return bytes;
}

/* check(other): raises unless the other's rows are of this schema */
static PyObject *source_check(PyObject *self, PyObject *other) {
  vonk_py_state *state = vonk_py_state_of(self);
  if (Py_TYPE(other) != state->source) {
    PyErr_SetString(PyExc_TypeError, "source: not a Source");
    return NULL;
  }
  const struct ArrowSchema *bound = vonk_py_source_schema(self);
  const struct ArrowSchema *rows = bound == NULL ? NULL : vonk_py_source_schema(other);
  if (rows == NULL) {
    return NULL;
  }
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status = vonk_py_layout_check(bound, rows, &err);
  if (status != VONK_OK) {
    return vonk_py_raise(state, status, &err);
  }
  Py_RETURN_NONE;
}

static void source_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  vonk_py_source *source = ((source_object *)self)->source;
  if (source != NULL) {
    Py_BEGIN_ALLOW_THREADS;
    vonk_py_source_clear(source);
    Py_END_ALLOW_THREADS;
    free(source);
  }
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"fingerprint", source_fingerprint, METH_NOARGS, NULL},
    {"check", source_check, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    VONK_PY_SLOT(Py_tp_dealloc, source_dealloc),
    {0, NULL},
};

PyType_Spec vonk_py_source_spec = {
    .name = "vonk._core.Source",
    .basicsize = (int)sizeof(source_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
