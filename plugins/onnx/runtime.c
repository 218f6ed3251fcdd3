/* Finding and starting ONNX Runtime.
 *
 * It is never linked, but found as the kit's library.c explains.
 *
 * From 1.31 on ONNX Runtime sends telemetry: it opens files in the home folder and starts
 * a thread as soon as an environment exists, unless ORT_DISABLE_TELEMETRY is set by then.
 * Hence the order here: dlopen, setenv, CreateEnv. Errors would also be printed on
 * stderr, hence the environment that logs fatal events only.
 *
 * The one runtime is made under a lock at the first need and lives until the process
 * ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_plugin.h"

static const kit_framework framework = {
    .name = "ONNX Runtime",
    .soname = "libonnxruntime.so.1",
    .variable = "VONK_ONNXRUNTIME_LIBRARY",
    .config_key = "onnxruntime",
    .symbol = "OrtGetApiBase",
    .hint =
        "pip install onnxruntime, then set VONK_ONNXRUNTIME_LIBRARY to its "
        "capi/libonnxruntime.so.* or run vonk's set-up",
};

static onnx_runtime the_runtime;

static vonk_status take_api(void *library, onnx_runtime *runtime, vonk_error *err) {
  void *symbol = dlsym(library, framework.symbol);
  const ort_api_base *(*get_base)(void);
  memcpy(&get_base, &symbol, sizeof symbol);
  const ort_api_base *base = get_base();
  runtime->version = base->version();
  /* Asking a library for a version it lacks makes it print, so old ones are told by
   * number. */
  char *rest = NULL;
  long major = strtol(runtime->version, &rest, 10);
  long minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
  bool is_new = major > 1 || (major == 1 && minor >= VONK_ORT_API_VERSION);
  bool is_later = major > 1 || (major == 1 && minor >= VONK_ORT_LATER_VERSION);
  const uint32_t asked = is_later ? VONK_ORT_LATER_VERSION : VONK_ORT_API_VERSION;
  const ort_entry *table = is_new ? base->get_api(asked) : NULL;
  if (table == NULL) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "ONNX Runtime: '%s' is version %s: vonk needs %s or newer",
                         runtime->path, runtime->version, VONK_ORT_OLDEST);
  }
  vonk_ort_api_take(table, asked, &runtime->api);
  runtime->takes_files = is_later;
  return VONK_OK;
}

static vonk_status read_providers(onnx_runtime *runtime, vonk_error *err) {
  char **names = NULL;
  int n_names = 0;
  VONK_TRY(vonk_onnx_check(runtime, runtime->api.GetAvailableProviders(&names, &n_names),
                           err, "ONNX Runtime: cannot list its execution providers"));
  for (int i = 0; i < n_names; ++i) {
    runtime->has_cuda |= strcmp(names[i], "CUDAExecutionProvider") == 0;
    runtime->has_rocm |= strcmp(names[i], "ROCMExecutionProvider") == 0;
  }
  ort_status *status = runtime->api.ReleaseAvailableProviders(names, n_names);
  return vonk_onnx_check(runtime, status, err, "ONNX Runtime");
}

static vonk_status start(onnx_runtime *runtime, vonk_error *err) {
  void *library;
  VONK_TRY(vonk_kit_framework_load(&framework, &library, &runtime->path, err));
  VONK_TRY(take_api(library, runtime, err));
  /* A user's own choice stands. setenv is not safe against other threads' getenv; there
   * is no other way, and this happens once. */
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
  const ort_api *api = &runtime->api;
  VONK_TRY(vonk_onnx_check(runtime, api->CreateEnv(ORT_LOG_FATAL, "vonk", &runtime->env),
                           err, "ONNX Runtime: cannot start"));
  VONK_TRY(vonk_onnx_check(runtime,
                           api->GetAllocatorWithDefaultOptions(&runtime->allocator), err,
                           "ONNX Runtime: cannot start"));
  VONK_TRY(vonk_onnx_check(
      runtime,
      api->CreateCpuMemoryInfo(ORT_ALLOCATOR_DEVICE, ORT_MEMORY_DEFAULT, &runtime->cpu),
      err, "ONNX Runtime: cannot start"));
  return read_providers(runtime, err);
}

static vonk_status start_once(vonk_error *err) {
  onnx_runtime fresh = {0};
  VONK_TRY(start(&fresh, err));
  the_runtime = fresh;
  return VONK_OK;
}

vonk_status vonk_onnx_runtime_get(const onnx_runtime **out, vonk_error *err) {
  static kit_start once = KIT_START(start_once);
  VONK_TRY(vonk_kit_started(&once, err));
  *out = &the_runtime;
  return VONK_OK;
}
