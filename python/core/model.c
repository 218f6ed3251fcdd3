/* An opened model, its description, and the plug-ins there are. */
#include <stdlib.h>
#include <string.h>

#include "core.h"

typedef struct model_object {
  PyObject_HEAD vonk_py_model *model; /* NULL: closed */
} model_object;

void vonk_py_model_release(vonk_py_model *model) {
  if (model != NULL &&
      atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1) {
    vonk_model_close(model->handle);
    free(model);
  }
}

/* --- pairs of text --- */

void vonk_py_pairs_clear(vonk_py_pairs *pairs) {
  free(pairs->kvs);
  pairs->kvs = NULL;
  pairs->n = 0;
}

int vonk_py_pairs_read(PyObject *tuple, vonk_py_pairs *out) {
  Py_ssize_t n = PyTuple_Size(tuple);
  if (n < 0) {
    return -1;
  }
  out->n = (size_t)n;
  out->kvs = calloc(out->n + 1, sizeof *out->kvs);
  if (out->kvs == NULL) {
    (void)PyErr_NoMemory();
    return -1;
  }
  for (Py_ssize_t i = 0; i < n; i++) {
    vonk_kv *kv = &out->kvs[i];
    if (!PyArg_ParseTuple(PyTuple_GetItem(tuple, i), "ss", &kv->key, &kv->value)) {
      vonk_py_pairs_clear(out);
      return -1;
    }
  }
  return 0;
}

/* --- what a model says about itself --- */

/* Text of a model file, which need not be what it should be. */
static PyObject *text_of(const char *text) {
  if (text == NULL) {
    return Py_NewRef(Py_None);
  }
  return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

/* Appends and gives the reference away; item may be NULL. */
static int append(PyObject *list, PyObject *item) {
  int status = item == NULL ? -1 : PyList_Append(list, item);
  Py_XDECREF(item);
  return status;
}

static PyObject *tuple_of(PyObject *list) {
  PyObject *tuple = list == NULL ? NULL : PyList_AsTuple(list);
  Py_XDECREF(list);
  return tuple;
}

static PyObject *dim_of(const vonk_io *io, int32_t i) {
  if (io->shape[i] >= 0) {
    return PyLong_FromLongLong(io->shape[i]);
  }
  return text_of(io->dim_names == NULL ? NULL : io->dim_names[i]);
}

/* (name, dtype, shape): a free dimension is its name or None, an unknown rank None. */
static PyObject *tensor_of(const vonk_io *io) {
  if (io->rank < 0) {
    return Py_BuildValue("(NsO)", text_of(io->name), vonk_dtype_name(io->dtype), Py_None);
  }
  PyObject *shape = PyList_New(0);
  for (int32_t i = 0; shape != NULL && i < io->rank; i++) {
    if (append(shape, dim_of(io, i)) != 0) {
      Py_CLEAR(shape);
    }
  }
  shape = tuple_of(shape);
  return shape == NULL ? NULL
                       : Py_BuildValue("(NsN)", text_of(io->name),
                                       vonk_dtype_name(io->dtype), shape);
}

static PyObject *tensors_of(const vonk_io *const *ios, uint32_t n) {
  PyObject *list = PyList_New(0);
  for (uint32_t i = 0; list != NULL && i < n; i++) {
    if (append(list, tensor_of(ios[i])) != 0) {
      Py_CLEAR(list);
    }
  }
  return tuple_of(list);
}

static PyObject *pairs_of(const vonk_kv *kvs, size_t n) {
  PyObject *list = PyList_New(0);
  for (size_t i = 0; list != NULL && i < n; i++) {
    if (append(list, Py_BuildValue("(NN)", text_of(kvs[i].key), text_of(kvs[i].value))) !=
        0) {
      Py_CLEAR(list);
    }
  }
  return tuple_of(list);
}

static PyObject *list_of(const char *const *texts, size_t n) {
  PyObject *list = PyList_New(0);
  for (size_t i = 0; list != NULL && i < n; i++) {
    if (append(list, text_of(texts[i])) != 0) {
      Py_CLEAR(list);
    }
  }
  return tuple_of(list);
}

/* --- methods --- */

static vonk_py_model *model_of(PyObject *self) {
  vonk_py_model *model = ((model_object *)self)->model;
  if (model == NULL) {
    vonk_error err = VONK_PY_ERROR_INIT;
    (void)vonk_py_fail(&err, VONK_INVALID, "model: is closed: open it again");
    (void)vonk_py_raise(vonk_py_state_of(self), VONK_INVALID, &err);
  }
  return model;
}

static PyObject *model_close(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_model *model = ((model_object *)self)->model;
  ((model_object *)self)->model = NULL;
  Py_BEGIN_ALLOW_THREADS;
  vonk_py_model_release(model);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

/* In the order of Summary's fields (python/vonk/_summary.py). */
static PyObject *model_summary(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_model *model = model_of(self);
  if (model == NULL) {
    return NULL;
  }
  const vonk_model_summary *s = vonk_model_summarize(model->handle);
  return Py_BuildValue(
      "(NNNNNNNLLLNNN)", PyUnicode_DecodeFSDefault(s->path), text_of(s->format),
      text_of(s->producer), text_of(s->plugin), text_of(s->runtime_version),
      PyUnicode_DecodeFSDefault(s->runtime_path == NULL ? "" : s->runtime_path),
      text_of(s->device), (long long)s->n_params, (long long)s->weight_bytes,
      (long long)s->file_bytes, tensors_of(s->inputs, s->n_inputs),
      tensors_of(s->outputs, s->n_outputs), pairs_of(s->metadata, s->n_metadata));
}

static PyObject *model_sha256(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_model *model = model_of(self);
  if (model == NULL) {
    return NULL;
  }
  char hex[65];
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  (void)atomic_fetch_add(&model->references, 1);
  Py_BEGIN_ALLOW_THREADS;
  status = vonk_model_sha256(model->handle, hex, &err);
  vonk_py_model_release(model);
  Py_END_ALLOW_THREADS;
  return status == VONK_OK ? PyUnicode_FromString(hex)
                           : vonk_py_raise(vonk_py_state_of(self), status, &err);
}

/* None, or in the order of Bundle's fields (python/vonk/_summary.py). */
static PyObject *model_bundle(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_model *model = model_of(self);
  if (model == NULL) {
    return NULL;
  }
  const vonk_bundle_summary *b = vonk_model_bundle(model->handle);
  if (b == NULL) {
    Py_RETURN_NONE;
  }
  return Py_BuildValue("(NNNNNNLd)", text_of(b->name), text_of(b->description),
                       text_of(b->licence), pairs_of(b->provenance, b->n_provenance),
                       list_of(b->labels, b->n_labels), list_of(b->steps, b->n_steps),
                       (long long)b->selftest_rows, b->selftest_tolerance);
}

static PyObject *model_selftest(PyObject *self, PyObject *unused) {
  (void)unused;
  vonk_py_model *model = model_of(self);
  if (model == NULL) {
    return NULL;
  }
  double difference = 0.0;
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  (void)atomic_fetch_add(&model->references, 1);
  Py_BEGIN_ALLOW_THREADS;
  status = vonk_model_selftest(model->handle, &difference, &err);
  vonk_py_model_release(model);
  Py_END_ALLOW_THREADS;
  return status == VONK_OK ? PyFloat_FromDouble(difference)
                           : vonk_py_raise(vonk_py_state_of(self), status, &err);
}

static PyObject *bind_source(vonk_py_state *state, vonk_py_model *model,
                             const struct ArrowSchema *schema,
                             const vonk_bind_options *options) {
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_py_predictor *predictor = calloc(1, sizeof *predictor);
  if (predictor == NULL) {
    return PyErr_NoMemory();
  }
  vonk_status status =
      vonk_predictor_create(model->handle, schema, options, &predictor->handle, &err);
  if (status != VONK_OK) {
    free(predictor);
    return vonk_py_raise(state, status, &err);
  }
  atomic_init(&predictor->references, 1);
  return vonk_py_predictor_new(state, predictor);
}

/* bind(source, inputs, outputs, nulls, row_errors, squeeze, batch_rows, as_,
 * half_as_float, variable_lists, signed_integers, sql_casts) */
static PyObject *model_bind(PyObject *self, PyObject *args) {
  vonk_py_state *state = vonk_py_state_of(self);
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  PyObject *source, *inputs, *outputs, *result = NULL;
  int nulls, row_errors, squeeze, half_as_float, variable_lists, signed_integers, casts;
  long long batch_rows;
  if (!PyArg_ParseTuple(args, "O!O!O!iipLzpppp", state->source, &source, &PyTuple_Type,
                        &inputs, &PyTuple_Type, &outputs, &nulls, &row_errors, &squeeze,
                        &batch_rows, &options.as, &half_as_float, &variable_lists,
                        &signed_integers, &casts)) {
    return NULL;
  }
  options.nulls = nulls;
  options.row_errors = row_errors;
  options.squeeze = squeeze;
  options.half_as_float = half_as_float;
  options.variable_lists = variable_lists;
  options.signed_integers = signed_integers;
  options.sql_casts = casts;
  options.batch_rows = batch_rows;
  vonk_py_model *model = model_of(self);
  const struct ArrowSchema *schema = model == NULL ? NULL : vonk_py_source_schema(source);
  vonk_py_pairs in = {0}, out = {0};
  if (schema != NULL && vonk_py_pairs_read(inputs, &in) == 0 &&
      vonk_py_pairs_read(outputs, &out) == 0) {
    options.inputs = in.kvs;
    options.n_inputs = in.n;
    options.outputs = out.kvs;
    options.n_outputs = out.n;
    result = bind_source(state, model, schema, &options);
  }
  vonk_py_pairs_clear(&in);
  vonk_py_pairs_clear(&out);
  return result;
}

static void model_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  vonk_py_model *model = ((model_object *)self)->model;
  Py_BEGIN_ALLOW_THREADS;
  vonk_py_model_release(model);
  Py_END_ALLOW_THREADS;
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"close", model_close, METH_NOARGS, NULL},
    {"summary", model_summary, METH_NOARGS, NULL},
    {"sha256", model_sha256, METH_NOARGS, NULL},
    {"bundle", model_bundle, METH_NOARGS, NULL},
    {"selftest", model_selftest, METH_NOARGS, NULL},
    {"bind", model_bind, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    VONK_PY_SLOT(Py_tp_dealloc, model_dealloc),
    {0, NULL},
};

PyType_Spec vonk_py_model_spec = {
    .name = "vonk._core.Model",
    .basicsize = (int)sizeof(model_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

/* open_model(path, options) */
PyObject *vonk_py_open(PyObject *module, PyObject *args) {
  vonk_py_state *state = PyModule_GetState(module);
  const char *path;
  PyObject *options;
  if (!PyArg_ParseTuple(args, "yO!", &path, &PyTuple_Type, &options)) {
    return NULL;
  }
  vonk_py_pairs pairs = {0};
  vonk_py_model *model = calloc(1, sizeof *model);
  if (model == NULL || vonk_py_pairs_read(options, &pairs) != 0) {
    free(model);
    return PyErr_Occurred() ? NULL : PyErr_NoMemory();
  }
  atomic_init(&model->references, 1);
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = vonk_model_open(path, pairs.kvs, pairs.n, &model->handle, &err);
  Py_END_ALLOW_THREADS;
  vonk_py_pairs_clear(&pairs);
  model_object *object =
      status == VONK_OK ? PyObject_New(model_object, state->model) : NULL;
  if (object == NULL) {
    vonk_py_model_release(model); /* closing NULL is fine */
    return status == VONK_OK ? NULL : vonk_py_raise(state, status, &err);
  }
  object->model = model;
  return (PyObject *)object;
}

/* --- plug-ins --- */

static PyObject *texts_of(const char *const *texts) {
  PyObject *list = PyList_New(0);
  for (size_t i = 0; list != NULL && texts != NULL && texts[i] != NULL; i++) {
    if (append(list, text_of(texts[i])) != 0) {
      Py_CLEAR(list);
    }
  }
  return tuple_of(list);
}

static int add_plugin(void *arg, const vonk_plugin_summary *p) {
  size_t n = 0;
  while (p->options != NULL && p->options[n].key != NULL) {
    n++;
  }
  return append(arg,
                Py_BuildValue("(NNNNNN)", text_of(p->name), text_of(p->version),
                              PyUnicode_DecodeFSDefault(p->path), texts_of(p->formats),
                              pairs_of(p->options, n), text_of(p->error)));
}

/* The lock is kept: loading a plug-in loads no framework, and the visitor makes Python
 * objects. */
PyObject *vonk_py_plugins(PyObject *module, PyObject *unused) {
  (void)unused;
  vonk_error err = VONK_PY_ERROR_INIT;
  PyObject *list = PyList_New(0);
  vonk_status status =
      list == NULL ? VONK_NOMEM : vonk_plugins_visit(add_plugin, list, &err);
  if (status != VONK_OK || PyErr_Occurred()) {
    Py_XDECREF(list);
    return PyErr_Occurred() ? NULL
                            : vonk_py_raise(PyModule_GetState(module), status, &err);
  }
  return tuple_of(list);
}

/* plugin_runtime(path): (version, path of the library) */
PyObject *vonk_py_plugin_runtime(PyObject *module, PyObject *path) {
  PyObject *bytes = NULL;
  if (PyUnicode_FSConverter(path, &bytes) == 0) {
    return NULL;
  }
  const char *version = NULL, *library = NULL, *plugin = PyBytes_AsString(bytes);
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = vonk_plugin_runtime(plugin, &version, &library, &err);
  Py_END_ALLOW_THREADS;
  Py_DECREF(bytes);
  return status == VONK_OK
             ? Py_BuildValue("(NN)", text_of(version), PyUnicode_DecodeFSDefault(library))
             : vonk_py_raise(PyModule_GetState(module), status, &err);
}
