/* Failures of the library as Python exceptions.
 *
 * How it works: the classes are written in Python (vonk._errors), one for each status; the
 * module looks them up once and makes them with (message, code, row, native_code). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

vonk_status vonk_py_fail(vonk_error *err, vonk_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  err->code = status;
  err->native_code = 0;
  err->row = -1;
  (void)vsnprintf(err->message, sizeof err->message, format, args);
  va_end(args);
  return status;
}

PyObject *vonk_py_raise(const vonk_py_state *state, vonk_status status,
                        const vonk_error *err) {
  size_t i = status > 0 && status < VONK_PY_N_STATUSES ? (size_t)status : 0;
  PyObject *row = err->row < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(err->row);
  PyObject *message =
      PyUnicode_DecodeUTF8(err->message, (Py_ssize_t)strlen(err->message), "replace");
  if (row != NULL && message != NULL) {
    PyObject *exception =
        PyObject_CallFunction(state->errors[i], "OsOL", message, vonk_status_name(status),
                              row, (long long)err->native_code);
    if (exception != NULL) {
      PyErr_SetObject(state->errors[i], exception);
      Py_DECREF(exception);
    }
  }
  Py_XDECREF(row);
  Py_XDECREF(message);
  return NULL;
}

int vonk_py_errors_load(vonk_py_state *state) {
  static const char *const names[VONK_PY_N_STATUSES] = {
      [0] = "Error",
      [VONK_INVALID] = "InvalidError",
      [VONK_NOMEM] = "OutOfMemoryError",
      [VONK_IO] = "FileError",
      [VONK_UNSUPPORTED] = "UnsupportedError",
      [VONK_ABI] = "PluginError",
      [VONK_MODEL] = "ModelError",
      [VONK_BACKEND] = "BackendError",
      [VONK_CANCELLED] = "CancelledError",
      [VONK_DEVICE] = "DeviceError",
      [VONK_FORKED] = "ForkedError",
  };
  PyObject *module = PyImport_ImportModule("vonk._errors");
  for (size_t i = 0; module != NULL && i < VONK_PY_N_STATUSES; i++) {
    state->errors[i] = PyObject_GetAttrString(module, names[i]);
    if (state->errors[i] == NULL) {
      Py_CLEAR(module);
    }
  }
  Py_XDECREF(module);
  return module == NULL ? -1 : 0;
}

void vonk_py_error_take(vonk_error *err) {
  PyObject *type = NULL, *value = NULL, *trace = NULL;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  PyObject *text = value == NULL ? NULL : PyObject_Repr(value);
  const char *words = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, NULL);
  (void)vonk_py_fail(err, VONK_CANCELLED, "prediction stream: Python raised %s",
                     words == NULL ? "what has no repr" : words);
  PyErr_Clear();
  Py_XDECREF(text);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
}
