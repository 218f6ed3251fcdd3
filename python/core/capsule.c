/* Arrow structs in PyCapsules, and trees that several consumers share.
 *
 * How it works. A capsule owns its struct: its destructor calls release if nobody has
 * moved the content out. A shared tree stays as it came and is released with its last
 * reference; each consumer gets a copy of the structs (not of the values), and every node
 * of that copy holds a reference of its own, because a consumer may move a child out and
 * release it later than its parent. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* --- capsules --- */

static void destroy_schema(PyObject *capsule) {
  struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
  if (schema != NULL && schema->release != NULL) {
    schema->release(schema);
  }
  free(schema);
}

static void destroy_array(PyObject *capsule) {
  struct ArrowArray *array = PyCapsule_GetPointer(capsule, "arrow_array");
  if (array != NULL && array->release != NULL) {
    array->release(array);
  }
  free(array);
}

static void destroy_stream(PyObject *capsule) {
  struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
  if (stream != NULL && stream->release != NULL) {
    stream->release(stream);
  }
  free(stream);
}

/* Takes over *moved, of size bytes: it is in the capsule, or released by the caller. */
static PyObject *new_capsule(const void *moved, size_t size, const char *name,
                             PyCapsule_Destructor destroy) {
  void *content = malloc(size);
  if (content == NULL) {
    return PyErr_NoMemory();
  }
  memcpy(content, moved, size);
  PyObject *capsule = PyCapsule_New(content, name, destroy);
  if (capsule == NULL) {
    free(content);
  }
  return capsule;
}

PyObject *vonk_py_schema_capsule(struct ArrowSchema *moved) {
  PyObject *capsule = new_capsule(moved, sizeof *moved, "arrow_schema", destroy_schema);
  if (capsule == NULL) {
    moved->release(moved);
  }
  return capsule;
}

PyObject *vonk_py_array_capsule(struct ArrowArray *moved) {
  PyObject *capsule = new_capsule(moved, sizeof *moved, "arrow_array", destroy_array);
  if (capsule == NULL) {
    moved->release(moved);
  }
  return capsule;
}

PyObject *vonk_py_stream_capsule(struct ArrowArrayStream *moved) {
  PyObject *capsule =
      new_capsule(moved, sizeof *moved, "arrow_array_stream", destroy_stream);
  if (capsule == NULL) {
    moved->release(moved);
  }
  return capsule;
}

static void *consumed(const char *name) {
  PyErr_Format(PyExc_ValueError,
               "capsule '%s': was consumed already: export the object again", name);
  return NULL;
}

struct ArrowSchema *vonk_py_schema_of(PyObject *capsule) {
  struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
  return schema != NULL && schema->release == NULL ? consumed("arrow_schema") : schema;
}

struct ArrowArray *vonk_py_array_of(PyObject *capsule) {
  struct ArrowArray *array = PyCapsule_GetPointer(capsule, "arrow_array");
  return array != NULL && array->release == NULL ? consumed("arrow_array") : array;
}

struct ArrowArrayStream *vonk_py_stream_of(PyObject *capsule) {
  struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
  return stream != NULL && stream->release == NULL ? consumed("arrow_array_stream")
                                                   : stream;
}

/* --- shared trees --- */

struct vonk_py_shared {
  _Atomic size_t references;
  struct ArrowSchema schema; /* one of the two is not released */
  struct ArrowArray array;
};

static vonk_py_shared *new_shared(void) {
  vonk_py_shared *shared = calloc(1, sizeof *shared);
  if (shared != NULL) {
    atomic_init(&shared->references, 1);
  }
  return shared;
}

vonk_py_shared *vonk_py_share_schema(struct ArrowSchema *moved) {
  vonk_py_shared *shared = new_shared();
  if (shared != NULL) {
    shared->schema = *moved;
    moved->release = NULL;
  }
  return shared;
}

vonk_py_shared *vonk_py_share_array(struct ArrowArray *moved) {
  vonk_py_shared *shared = new_shared();
  if (shared != NULL) {
    shared->array = *moved;
    moved->release = NULL;
  }
  return shared;
}

const struct ArrowSchema *vonk_py_shared_schema(const vonk_py_shared *shared) {
  return &shared->schema;
}

const struct ArrowArray *vonk_py_shared_array(const vonk_py_shared *shared) {
  return &shared->array;
}

static vonk_py_shared *retain(vonk_py_shared *shared) {
  (void)atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
  return shared;
}

void vonk_py_unshare(vonk_py_shared *shared) {
  if (shared == NULL ||
      atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  if (shared->schema.release != NULL) {
    shared->schema.release(&shared->schema);
  }
  if (shared->array.release != NULL) {
    shared->array.release(&shared->array);
  }
  free(shared);
}

static void release_schema(struct ArrowSchema *node) {
  for (int64_t i = 0; i < node->n_children && node->children != NULL; i++) {
    if (node->children[i] != NULL && node->children[i]->release != NULL) {
      node->children[i]->release(node->children[i]);
    }
    free(node->children[i]);
  }
  free(node->children);
  if (node->dictionary != NULL && node->dictionary->release != NULL) {
    node->dictionary->release(node->dictionary);
  }
  free(node->dictionary);
  vonk_py_unshare(node->private_data);
  node->release = NULL;
}

static void release_array(struct ArrowArray *node) {
  for (int64_t i = 0; i < node->n_children && node->children != NULL; i++) {
    if (node->children[i] != NULL && node->children[i]->release != NULL) {
      node->children[i]->release(node->children[i]);
    }
    free(node->children[i]);
  }
  free(node->children);
  if (node->dictionary != NULL && node->dictionary->release != NULL) {
    node->dictionary->release(node->dictionary);
  }
  free(node->dictionary);
  vonk_py_unshare(node->private_data);
  node->release = NULL;
}

static bool copy_schema(const struct ArrowSchema *from, vonk_py_shared *shared,
                        struct ArrowSchema *out) {
  *out = *from;
  out->children = NULL;
  out->dictionary = NULL;
  out->private_data = retain(shared);
  out->release = release_schema;
  bool is_whole = true;
  if (from->n_children > 0) {
    out->children = calloc((size_t)from->n_children, sizeof *out->children);
    is_whole = out->children != NULL;
  }
  for (int64_t i = 0; is_whole && i < from->n_children; i++) {
    out->children[i] = calloc(1, sizeof **out->children);
    is_whole = out->children[i] != NULL &&
               copy_schema(from->children[i], shared, out->children[i]);
  }
  if (is_whole && from->dictionary != NULL) {
    out->dictionary = calloc(1, sizeof *out->dictionary);
    is_whole =
        out->dictionary != NULL && copy_schema(from->dictionary, shared, out->dictionary);
  }
  if (!is_whole) {
    release_schema(out);
  }
  return is_whole;
}

static bool copy_array(const struct ArrowArray *from, vonk_py_shared *shared,
                       struct ArrowArray *out) {
  *out = *from;
  out->children = NULL;
  out->dictionary = NULL;
  out->private_data = retain(shared);
  out->release = release_array;
  bool is_whole = true;
  if (from->n_children > 0) {
    out->children = calloc((size_t)from->n_children, sizeof *out->children);
    is_whole = out->children != NULL;
  }
  for (int64_t i = 0; is_whole && i < from->n_children; i++) {
    out->children[i] = calloc(1, sizeof **out->children);
    is_whole = out->children[i] != NULL &&
               copy_array(from->children[i], shared, out->children[i]);
  }
  if (is_whole && from->dictionary != NULL) {
    out->dictionary = calloc(1, sizeof *out->dictionary);
    is_whole =
        out->dictionary != NULL && copy_array(from->dictionary, shared, out->dictionary);
  }
  if (!is_whole) {
    release_array(out);
  }
  return is_whole;
}

vonk_status vonk_py_export_schema(vonk_py_shared *shared, struct ArrowSchema *out) {
  struct ArrowSchema copy;
  if (!copy_schema(&shared->schema, shared, &copy)) {
    return VONK_NOMEM;
  }
  *out = copy;
  return VONK_OK;
}

vonk_status vonk_py_export_array(vonk_py_shared *shared, struct ArrowArray *out) {
  struct ArrowArray copy;
  if (!copy_array(&shared->array, shared, &copy)) {
    return VONK_NOMEM;
  }
  *out = copy;
  return VONK_OK;
}
