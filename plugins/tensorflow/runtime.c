/* Finding and starting TensorFlow.
 *
 * It is never linked, but found as the kit's library.c explains. The one runtime is made
 * under a lock at the first need and lives until the process ends.
 *
 * quiet.c keeps what TensorFlow has to say about itself from the user.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tf_plugin.h"

static const char *const family[] = {"libtensorflow_cc.so", "libtensorflow_framework.so",
                                     "libtensorflow.so", NULL};

static const kit_framework framework = {
    .name = "TensorFlow",
    .soname = "libtensorflow_cc.so.2",
    .variable = "VONK_TENSORFLOW_LIBRARY",
    .config_key = "tensorflow",
    .symbol = "TF_NewSession",
    .hint =
        "install it with 'make setup EXTRAS=tensorflow', or pip install tensorflow-cpu "
        "and set VONK_TENSORFLOW_LIBRARY to its libtensorflow_cc.so.2",
    .family = family,
};

static tf_runtime the_runtime;

/* The logging is in the library itself or in the one that it is made upon. */
static void silence(void *library) {
  void *base = dlopen("libtensorflow_framework.so.2", RTLD_NOW | RTLD_NOLOAD);
  if ((base == NULL || !vonk_tf_quiet_find(base)) && !vonk_tf_quiet_find(library)) {
    const vonk_host *host = vonk_kit_host();
    host->log(host->ctx, VONK_LOG_INFO, "tensorflow",
              "TensorFlow's log cannot be silenced: it may print on stderr");
  }
}

static vonk_status start(tf_runtime *runtime, vonk_error *err) {
  void *library;
  void *quiet = vonk_tf_quiet_load_begin();
  vonk_status status = vonk_kit_framework_load(&framework, &library, &runtime->path, err);
  vonk_tf_quiet_load_end(quiet);
  VONK_TRY(status);
  const char *missing = vonk_tf_api_take(library, &runtime->api);
  if (missing != NULL) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "TensorFlow: '%s' has no %s: vonk needs TensorFlow 2.9 or newer",
                         runtime->path, missing);
  }
  runtime->version = runtime->api.Version();
  silence(library);
  return VONK_OK;
}

static vonk_status start_once(vonk_error *err) {
  tf_runtime fresh = {0};
  VONK_TRY(start(&fresh, err));
  the_runtime = fresh;
  return VONK_OK;
}

vonk_status vonk_tf_runtime_get(const tf_runtime **out, vonk_error *err) {
  static kit_start once = KIT_START(start_once);
  VONK_TRY(vonk_kit_started(&once, err));
  *out = &the_runtime;
  return VONK_OK;
}
