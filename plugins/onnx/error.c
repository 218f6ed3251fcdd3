/* Error messages of the ONNX plug-in.
 *
 * ONNX Runtime's messages are kept, for they name node and tensor, but what only its
 * developers can use is cut out: paths and line numbers of its sources, the signatures of
 * its functions, line breaks. "/onnxruntime_src/.../reshape_helper.h:40
 * onnxruntime::ReshapeHelper:: ReshapeHelper(const ..., bool) input_shape_size == size
 * was false." becomes "input_shape_size == size was false."
 * */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx_plugin.h"

/* The end of "path.cc:123" or "file.cc:123 Function" at text, or NULL if none starts
 * there. */
static const char *source_location_end(const char *text) {
  static const char *const extensions[] = {
      ".cc:", ".h:", ".hpp:", ".cpp:", ".cu:", ".c:"};
  size_t length = strcspn(text, " \n\t'\"(),");
  for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; ++i) {
    const char *found = strstr(text, extensions[i]);
    const char *line = found == NULL ? NULL : found + strlen(extensions[i]);
    if (line == NULL || line >= text + length || *line < '0' || *line > '9') {
      continue;
    }
    const char *end = text + length;
    size_t n_function = *end == ' ' ? strcspn(end + 1, " (<:") : 0;
    bool has_function = *text != '/' && n_function != 0 && end[1 + n_function] == ' ';
    return has_function ? end + 1 + n_function : end;
  }
  return NULL;
}

/* The end of a C++ function signature at text ("void ns::f(int) const [with T = int]"),
 * or text itself. */
static const char *signature_end(const char *text) {
  const char *open = strchr(text, '(');
  const char *scope = strstr(text, "::");
  const char *sentence = strpbrk(text, ".!?\n=\"'");
  if (open == NULL || scope == NULL || scope > open ||
      (sentence != NULL && sentence < open)) {
    return text;
  }
  int depth = 0;
  const char *p = open;
  do {
    depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
    ++p;
  } while (*p != '\0' && depth > 0);
  if (depth != 0) {
    return text;
  }
  if (strncmp(p, " const", 6) == 0) {
    p += 6;
  }
  if (strncmp(p, " [with ", 7) == 0) {
    const char *close = strchr(p, ']');
    p = close == NULL ? p : close + 1;
  }
  return p;
}

/* Phrases around the reason that say nothing. */
static const char *const noise[] = {
    "Please fix either the inputs/outputs or the model.",
    "Non-zero status code returned while running ",
    "Exception during initialization: ",
    "This is an invalid model. ",
};

/* The end of what is to be left out at text, or text itself. */
static const char *noise_end(const char *text) {
  for (size_t i = 0; i < sizeof noise / sizeof noise[0]; ++i) {
    size_t length = strlen(noise[i]);
    if (strncmp(text, noise[i], length) == 0) {
      return text + length;
    }
  }
  /* "[ONNXRuntimeError] : 1 : FAIL : " */
  if (strncmp(text, "[ONNXRuntimeError] : ", 21) == 0) {
    const char *end = text + 21;
    for (int i = 0; i < 2 && end != NULL; ++i) {
      end = strstr(end, " : ");
      end = end == NULL ? NULL : end + 3;
    }
    return end == NULL ? text : end;
  }
  /* "Load model from PATH failed:": the message begins with that path anyway. */
  if (strncmp(text, "Load model from ", 16) == 0) {
    const char *end = strstr(text, " failed:");
    return end == NULL ? text : end + 8;
  }
  const char *end = source_location_end(text);
  if (end != NULL) {
    end += strspn(end, " ");
    return signature_end(end);
  }
  return text;
}

/* Copies ONNX Runtime's message without what means nothing to a user. */
static void trim_message(const char *text, char *out, size_t capacity) {
  size_t used = 0;
  bool is_word_start = true;
  while (*text != '\0' && used + 1 < capacity) {
    const char *end = is_word_start ? noise_end(text) : text;
    if (end != text) {
      text = end;
      continue;
    }
    char c = *text++;
    bool is_space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    is_word_start = is_space || c == ':' || c == '(';
    if (is_space && (used == 0 || out[used - 1] == ' ')) {
      continue;
    }
    out[used++] = is_space ? ' ' : c;
  }
  while (used > 0 && out[used - 1] == ' ') {
    --used;
  }
  out[used] = '\0';
}

static vonk_status code_of(int ort_code) {
  switch (ort_code) {
    case ORT_CODE_INVALID_ARGUMENT:
      return VONK_INVALID;
    case ORT_CODE_NO_SUCH_FILE:
      return VONK_IO;
    case ORT_CODE_NO_MODEL:
    case ORT_CODE_INVALID_PROTOBUF:
    case ORT_CODE_INVALID_GRAPH:
      return VONK_MODEL;
    case ORT_CODE_NOT_IMPLEMENTED:
      return VONK_UNSUPPORTED;
    default:
      return VONK_BACKEND;
  }
}

vonk_status vonk_onnx_check(const onnx_runtime *runtime, ort_status *status,
                            vonk_error *err, const char *format, ...) {
  if (status == NULL) {
    return VONK_OK;
  }
  int ort_code = runtime->api.GetErrorCode(status);
  const char *message = runtime->api.GetErrorMessage(status);
  vonk_status code = code_of(ort_code);
  if (strstr(message, "Failed to allocate memory") != NULL ||
      strstr(message, "bad_alloc") != NULL || strstr(message, "bad allocation") != NULL) {
    code = VONK_NOMEM;
  }
  if (err != NULL) {
    char what[512], why[1024], text[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    trim_message(message, why, sizeof why);
    snprintf(text, sizeof text, "%s: %s", what, why);
    (void)vonk_kit_fail_text(err, code, ort_code, text);
  }
  runtime->api.ReleaseStatus(status);
  return code;
}
