/* Error messages of the TensorFlow plug-in. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tf_plugin.h"

static vonk_status code_of(int tf_code) {
  switch (tf_code) {
    case TF_CODE_CANCELLED:
      return VONK_CANCELLED;
    case TF_CODE_INVALID_ARGUMENT:
    case TF_CODE_OUT_OF_RANGE:
      return VONK_INVALID;
    case TF_CODE_NOT_FOUND:
    case TF_CODE_PERMISSION_DENIED:
      return VONK_IO;
    case TF_CODE_RESOURCE_EXHAUSTED:
      return VONK_NOMEM;
    case TF_CODE_UNIMPLEMENTED:
      return VONK_UNSUPPORTED;
    case TF_CODE_DATA_LOSS:
      return VONK_MODEL;
    default:
      return VONK_BACKEND;
  }
}

vonk_status vonk_tf_check(const tf_runtime *runtime, const tf_status *status,
                          vonk_error *err, const char *format, ...) {
  int tf_code = runtime->api.GetCode(status);
  if (tf_code == TF_CODE_OK) {
    return VONK_OK;
  }
  vonk_status code = code_of(tf_code);
  if (err != NULL) {
    char what[512], text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(text, sizeof text, "%s: %s", what, runtime->api.Message(status));
    (void)vonk_kit_fail_text(err, code, tf_code, text);
  }
  return code;
}
