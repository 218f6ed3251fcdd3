/* The PyTorch plug-in: runs TorchScript files and AOTInductor packages.
 *
 *   recognise ── sniff.c           what is this file? (zip.c, inflate.c)
 *   runtime ──── runtime.c         PyTorch, found and never linked
 *   open_model ─ model.c           the file is looked at first, then loaded by its kind:
 *                                  script.c through the C++ half in script/, package.c
 *                                  in C alone; signature.c says what goes in and out
 *   run ──────── run.c, tensor.c   tensors around the host's memory, outputs handed over
 *
 * threads.c keeps what a run uses of the machine to its own thread, error.c makes
 * messages, torch_api.h declares the functions of PyTorch that are used.
 */
#include "torch_plugin.h"

#ifndef VONK_VERSION
#define VONK_VERSION "0"
#endif

static vonk_status tell_runtime(const char **version, const char **path,
                                vonk_error *err) {
  const torch_runtime *runtime;
  VONK_TRY(vonk_torch_runtime_get(&runtime, err));
  *version = runtime->version;
  *path = runtime->path;
  return VONK_OK;
}

static const char *const formats[] = {"torchscript", "aotinductor", NULL};

VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *host,
                                                   vonk_plugin_v1 *plugin,
                                                   vonk_error *err);

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  const vonk_plugin_v1 table = {
      .struct_size = (uint32_t)sizeof table,
      .abi_minor = VONK_ABI_MINOR,
      .caps = VONK_CAP_CONCURRENT_RUN,
      .name = "torch",
      .version = VONK_VERSION,
      .formats = formats,
      .options = vonk_torch_options,
      .recognise = vonk_torch_recognise,
      .runtime = tell_runtime,
      .devices = NULL,
      .open_model = vonk_torch_open_model,
      .model_info = vonk_torch_model_info,
      .describe = vonk_torch_describe,
      .create_session = vonk_torch_create_session,
      .run = vonk_torch_run,
      .release_session = vonk_torch_release_session,
      .release_model = vonk_torch_release_model,
      .shutdown = NULL,
      .open_files = vonk_torch_open_files,
  };
  return vonk_kit_init(host, &table, plugin, err);
}
