/* Columns that Python describes by the addresses of their buffers: how NumPy arrays come
 * in without a header of NumPy's and without a copy.
 *
 * How it works: Python gives a tuple of (name, node); a node is (format, length,
 * null_count, (buffer address, ...), child node or None). The trees made of it live in one
 * block each, and the batch holds the Python object that keeps the memory alive. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { MAX_BUFFERS = 3, MAX_DEPTH = 9 };

typedef struct node {
  struct ArrowSchema schema;
  struct ArrowArray array;
  struct ArrowSchema *schema_child;
  struct ArrowArray *array_child;
  const void *buffers[MAX_BUFFERS];
  char *format, *name;
} node;

/* One batch: node 0 is the struct, the columns' nodes follow. Schema and array hold a
 * reference each. */
typedef struct block {
  _Atomic size_t references;
  PyObject *owners;
  struct ArrowSchema **schemas;
  struct ArrowArray **arrays;
  size_t n_columns, n_nodes;
  node nodes[];
} block;

static void release_block(block *b) {
  if (atomic_fetch_sub(&b->references, 1) != 1) {
    return;
  }
  if (b->owners != NULL && Py_IsInitialized()) {
    PyGILState_STATE lock = PyGILState_Ensure();
    Py_DECREF(b->owners);
    PyGILState_Release(lock);
  }
  for (size_t i = 0; i < b->n_nodes; i++) {
    free(b->nodes[i].format);
    free(b->nodes[i].name);
  }
  free(b->schemas);
  free(b->arrays);
  free(b);
}

static void release_schema(struct ArrowSchema *schema) {
  schema->release = NULL;
  release_block(schema->private_data);
}

static void release_array(struct ArrowArray *array) {
  array->release = NULL;
  release_block(array->private_data);
}

/* Children live and die with the batch. */
static void release_child_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void release_child_array(struct ArrowArray *array) { array->release = NULL; }

static char *copy_text(const char *text) {
  char *copy = malloc(strlen(text) + 1);
  return copy == NULL ? NULL : strcpy(copy, text);
}

static int read_buffers(PyObject *addresses, node *n) {
  Py_ssize_t count = PyTuple_Size(addresses);
  if (count < 0 || count > MAX_BUFFERS) {
    PyErr_SetString(PyExc_ValueError, "columns: a node has no more than three buffers");
    return -1;
  }
  for (Py_ssize_t i = 0; i < count; i++) {
    unsigned long long address = PyLong_AsUnsignedLongLong(PyTuple_GetItem(addresses, i));
    if (PyErr_Occurred()) {
      return -1;
    }
    n->buffers[i] = (const void *)(uintptr_t)address;
  }
  n->array.n_buffers = count;
  return 0;
}

/* Reads a node and its descendants into b->nodes, from b->n_nodes on; the index of the
 * node, or -1. */
static Py_ssize_t read_node(PyObject *given, const char *name, int depth, block *b) {
  const char *format;
  long long length, null_count;
  PyObject *addresses, *child;
  if (depth > MAX_DEPTH ||
      !PyArg_ParseTuple(given, "sLLO!O", &format, &length, &null_count, &PyTuple_Type,
                        &addresses, &child)) {
    return -1;
  }
  size_t index = b->n_nodes++;
  node *n = &b->nodes[index];
  n->format = copy_text(format);
  n->name = copy_text(name);
  if (n->format == NULL || n->name == NULL) {
    (void)PyErr_NoMemory();
    return -1;
  }
  n->array = (struct ArrowArray){.length = length,
                                 .null_count = null_count,
                                 .buffers = n->buffers,
                                 .release = release_child_array};
  n->schema = (struct ArrowSchema){.format = n->format,
                                   .name = n->name,
                                   .flags = null_count != 0 ? ARROW_FLAG_NULLABLE : 0,
                                   .release = release_child_schema};
  if (read_buffers(addresses, n) != 0) {
    return -1;
  }
  if (child != Py_None) {
    Py_ssize_t below = read_node(child, "item", depth + 1, b);
    if (below < 0) {
      return -1;
    }
    n->schema_child = &b->nodes[below].schema;
    n->array_child = &b->nodes[below].array;
    n->schema.n_children = n->array.n_children = 1;
    n->schema.children = &n->schema_child;
    n->array.children = &n->array_child;
  }
  return (Py_ssize_t)index;
}

static int read_columns(PyObject *columns, block *b) {
  for (size_t i = 0; i < b->n_columns; i++) {
    const char *name;
    PyObject *given;
    if (!PyArg_ParseTuple(PyTuple_GetItem(columns, (Py_ssize_t)i), "sO!", &name,
                          &PyTuple_Type, &given)) {
      return -1;
    }
    Py_ssize_t index = read_node(given, name, 0, b);
    if (index < 0) {
      if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "columns: too many dimensions");
      }
      return -1;
    }
    b->schemas[i] = &b->nodes[index].schema;
    b->arrays[i] = &b->nodes[index].array;
  }
  return 0;
}

static block *new_block(size_t n_columns) {
  size_t most = n_columns * (MAX_DEPTH + 1); /* columns are few beside their values */
  block *b = calloc(1, sizeof *b + most * sizeof(node));
  if (b == NULL) {
    return NULL;
  }
  atomic_init(&b->references, 1);
  b->n_columns = n_columns;
  b->schemas = calloc(n_columns + 1, sizeof(struct ArrowSchema *));
  b->arrays = calloc(n_columns + 1, sizeof(struct ArrowArray *));
  if (b->schemas == NULL || b->arrays == NULL) {
    release_block(b);
    return NULL;
  }
  return b;
}

int vonk_py_columns_read(PyObject *columns, PyObject *owners, vonk_py_source *out) {
  static const void *no_buffers[1] = {NULL};
  Py_ssize_t n = PyTuple_Size(columns);
  block *b = n < 0 ? NULL : new_block((size_t)n);
  if (b == NULL) {
    (void)PyErr_NoMemory();
    return -1;
  }
  if (read_columns(columns, b) != 0) {
    release_block(b);
    return -1;
  }
  b->owners = Py_NewRef(owners);
  atomic_store(&b->references, 2);
  out->schema = (struct ArrowSchema){.format = "+s",
                                     .name = "",
                                     .n_children = n,
                                     .children = b->schemas,
                                     .release = release_schema,
                                     .private_data = b};
  out->batch = (struct ArrowArray){.length = n == 0 ? 0 : b->arrays[0]->length,
                                   .n_buffers = 1,
                                   .n_children = n,
                                   .buffers = no_buffers,
                                   .children = b->arrays,
                                   .release = release_array,
                                   .private_data = b};
  return 0;
}
