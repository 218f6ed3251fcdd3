/* The library as a whole: its version, its words for statuses, its end. */
#include <stddef.h>

#include "arrow/arrow.h"
#include "model/model.h"
#include "plugin/plugin.h"
#include "vonk/vonk.h"

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) \
  TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *vonk_version(void) {
  return VERSION_TEXT(VONK_VERSION_MAJOR, VONK_VERSION_MINOR, VONK_VERSION_PATCH);
}

const char *vonk_status_name(vonk_status status) {
  static const char *const names[] = {
      [VONK_OK] = "VONK_OK",
      [VONK_INVALID] = "VONK_INVALID",
      [VONK_NOMEM] = "VONK_NOMEM",
      [VONK_IO] = "VONK_IO",
      [VONK_UNSUPPORTED] = "VONK_UNSUPPORTED",
      [VONK_ABI] = "VONK_ABI",
      [VONK_MODEL] = "VONK_MODEL",
      [VONK_BACKEND] = "VONK_BACKEND",
      [VONK_CANCELLED] = "VONK_CANCELLED",
      [VONK_DEVICE] = "VONK_DEVICE",
      [VONK_FORKED] = "VONK_FORKED",
  };
  bool is_known = status >= 0 && (size_t)status < sizeof names / sizeof names[0];
  return is_known ? names[status] : "unknown";
}

const char *vonk_dtype_name(vonk_dtype dtype) {
  const vonk_dtype_info *info = vonk_dtype_find(dtype);
  return info == NULL ? "unknown" : info->name;
}

void vonk_shutdown(void) {
  vonk_budget_shutdown();
  vonk_plugin_shutdown_all();
}
