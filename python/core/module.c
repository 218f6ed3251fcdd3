/* The module vonk._core: its types, its functions and what it keeps. */
#include "core.h"

static struct PyModuleDef definition;

vonk_py_state *vonk_py_state_of(PyObject *object) {
  return PyType_GetModuleState(Py_TYPE(object));
}

static PyObject *set_threads(PyObject *module, PyObject *args) {
  (void)module;
  unsigned n;
  if (!PyArg_ParseTuple(args, "I", &n)) {
    return NULL;
  }
  vonk_set_threads(n);
  Py_RETURN_NONE;
}

static PyObject *get_threads(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyLong_FromUnsignedLong(vonk_get_threads());
}

static PyObject *set_model_memory(PyObject *module, PyObject *args) {
  (void)module;
  unsigned long long nbytes;
  if (!PyArg_ParseTuple(args, "K", &nbytes)) {
    return NULL;
  }
  vonk_set_model_memory(nbytes);
  Py_RETURN_NONE;
}

static PyObject *set_framework(PyObject *module, PyObject *args) {
  const char *name;
  PyObject *path;
  if (!PyArg_ParseTuple(args, "sO&", &name, PyUnicode_FSConverter, &path)) {
    return NULL;
  }
  vonk_error err = VONK_PY_ERROR_INIT;
  vonk_status status = vonk_set_framework(name, PyBytes_AsString(path), &err);
  Py_DECREF(path);
  if (status != VONK_OK) {
    return vonk_py_raise(PyModule_GetState(module), status, &err);
  }
  Py_RETURN_NONE;
}

/* (sureness, plug-in or None) */
static PyObject *recognise(PyObject *module, PyObject *path) {
  (void)module;
  const char *bytes = PyBytes_AsString(path);
  if (bytes == NULL) {
    return NULL;
  }
  const char *plugin = NULL;
  int32_t sureness = vonk_model_recognise(bytes, &plugin);
  return Py_BuildValue("(iz)", (int)sureness, plugin);
}

static PyMethodDef functions[] = {
    {"open_model", vonk_py_open, METH_VARARGS, NULL},
    {"plugins", vonk_py_plugins, METH_NOARGS, NULL},
    {"recognise", recognise, METH_O, NULL},
    {"source_from_stream", vonk_py_source_from_stream, METH_O, NULL},
    {"source_from_array", vonk_py_source_from_array, METH_VARARGS, NULL},
    {"source_from_columns", vonk_py_source_from_columns, METH_VARARGS, NULL},
    {"source_from_schema", vonk_py_source_from_schema, METH_O, NULL},
    {"set_threads", set_threads, METH_VARARGS, NULL},
    {"get_threads", get_threads, METH_NOARGS, NULL},
    {"set_model_memory", set_model_memory, METH_VARARGS, NULL},
    {"set_framework", set_framework, METH_VARARGS, NULL},
    {"plugin_runtime", vonk_py_plugin_runtime, METH_O, NULL},
    {"set_log", vonk_py_set_log, METH_VARARGS, NULL},
    {"after_fork", vonk_py_after_fork, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name,
                    PyTypeObject **out) {
  *out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
  return *out == NULL ? -1 : PyModule_AddObjectRef(module, name, (PyObject *)*out);
}

static int execute(PyObject *module) {
  vonk_py_state *state = PyModule_GetState(module);
  if (vonk_py_errors_load(state) != 0 || vonk_py_note_main_thread() != 0 ||
      add_type(module, &vonk_py_model_spec, "Model", &state->model) != 0 ||
      add_type(module, &vonk_py_predictor_spec, "Predictor", &state->predictor) != 0 ||
      add_type(module, &vonk_py_source_spec, "Source", &state->source) != 0 ||
      add_type(module, &vonk_py_batches_spec, "Batches", &state->batches) != 0 ||
      add_type(module, &vonk_py_stream_spec, "Stream", &state->stream) != 0) {
    return -1;
  }
  return PyModule_AddStringConstant(module, "VERSION", vonk_version());
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
  vonk_py_state *state = PyModule_GetState(module);
  for (size_t i = 0; i < VONK_PY_N_STATUSES; i++) {
    Py_VISIT(state->errors[i]);
  }
  Py_VISIT(state->model);
  Py_VISIT(state->predictor);
  Py_VISIT(state->source);
  Py_VISIT(state->batches);
  Py_VISIT(state->stream);
  return 0;
}

static int clear(PyObject *module) {
  vonk_py_state *state = PyModule_GetState(module);
  for (size_t i = 0; i < VONK_PY_N_STATUSES; i++) {
    Py_CLEAR(state->errors[i]);
  }
  Py_CLEAR(state->model);
  Py_CLEAR(state->predictor);
  Py_CLEAR(state->source);
  Py_CLEAR(state->batches);
  Py_CLEAR(state->stream);
  return 0;
}

static void free_state(void *module) { (void)clear(module); }

static PyModuleDef_Slot slots[] = {
    VONK_PY_SLOT(Py_mod_exec, execute),
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "vonk._core",
    .m_size = (Py_ssize_t)sizeof(vonk_py_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_state,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
