/* The ONNX plug-in: runs .onnx and .ort files with ONNX Runtime.
 *
 *   recognise ── sniff.c          what is this file?
 *   runtime ──── runtime.c        ONNX Runtime, found and started once, never linked
 *   open_model ─ model.c          the file is looked at first (onnx_file.c over wire.c,
 *                                 external.c), then loaded; signature.c copies what it
 * says create_session ─ session.c    the weights on a device; shared, and in memory once
 *   run ──────── run.c, tensor.c  values around the host's memory, cancel, outputs handed
 * over
 *
 * ort_api.h declares the entries of ONNX Runtime that are used, error.c makes messages.
 */
#include <string.h>

#include "onnx_file.h"

#ifndef VONK_VERSION
#define VONK_VERSION "0"
#endif

static vonk_status tell_runtime(const char **version, const char **path,
                                vonk_error *err) {
  const onnx_runtime *runtime;
  VONK_TRY(vonk_onnx_runtime_get(&runtime, err));
  *version = runtime->version;
  *path = runtime->path;
  return VONK_OK;
}

/* The CPU, and the first device of each kind that this build of ONNX Runtime can drive.
 * How many there are it does not tell. */
static vonk_status list_devices(vonk_device *out, uint32_t cap, uint32_t *n,
                                vonk_error *err) {
  const onnx_runtime *runtime;
  VONK_TRY(vonk_onnx_runtime_get(&runtime, err));
  vonk_device found[3] = {{VONK_DEVICE_CPU, 0}};
  uint32_t n_found = 1;
  if (runtime->has_cuda) {
    found[n_found++] = (vonk_device){VONK_DEVICE_CUDA, 0};
  }
  if (runtime->has_rocm) {
    found[n_found++] = (vonk_device){VONK_DEVICE_ROCM, 0};
  }
  memcpy(out, found, (cap < n_found ? cap : n_found) * sizeof *out);
  *n = n_found;
  return VONK_OK;
}

static const char *const formats[] = {"onnx", "ort", NULL};

VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *host,
                                                   vonk_plugin_v1 *plugin,
                                                   vonk_error *err);

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  const vonk_plugin_v1 table = {
      .struct_size = (uint32_t)sizeof table,
      .abi_minor = VONK_ABI_MINOR,
      .caps = VONK_CAP_CONCURRENT_RUN | VONK_CAP_PREALLOCATED_OUT,
      .name = "onnx",
      .version = VONK_VERSION,
      .formats = formats,
      .options = vonk_onnx_options,
      .recognise = vonk_onnx_recognise,
      .runtime = tell_runtime,
      .devices = list_devices,
      .open_model = vonk_onnx_open_model,
      .model_info = vonk_onnx_model_info,
      .describe = vonk_onnx_describe,
      .create_session = vonk_onnx_create_session,
      .run = vonk_onnx_run,
      .release_session = vonk_onnx_release_session,
      .release_model = vonk_onnx_release_model,
      .shutdown = NULL,
      .open_files = vonk_onnx_open_files,
  };
  return vonk_kit_init(host, &table, plugin, err);
}
