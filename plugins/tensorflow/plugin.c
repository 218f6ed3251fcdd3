/* The TensorFlow plug-in: runs SavedModels, checkpoints with their .meta and frozen
 * graphs through TensorFlow's C interface.
 *
 *   recognise ── sniff.c            what is this file or folder?
 *   runtime ──── runtime.c, quiet.c TensorFlow, found and started once, never linked
 *   open_model ─ model.c            the file is read first (graph_file.c, meta_file.c),
 *                                   its signature copied (signature.c), its graph given
 *                                   to TensorFlow
 *   create_session ─ session.c      variables restored, tables filled
 *   run ──────── run.c, tensor.c    tensors around the host's memory, outputs handed over
 *
 * tf_api.h declares the entries of TensorFlow that are used, error.c makes messages.
 */
#include "tf_plugin.h"

#ifndef VONK_VERSION
#define VONK_VERSION "0"
#endif

static vonk_status tell_runtime(const char **version, const char **path,
                                vonk_error *err) {
  const tf_runtime *runtime;
  VONK_TRY(vonk_tf_runtime_get(&runtime, err));
  *version = runtime->version;
  *path = runtime->path;
  return VONK_OK;
}

static const char *const formats[] = {"savedmodel", "checkpoint", "graphdef", NULL};

VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *host,
                                                   vonk_plugin_v1 *plugin,
                                                   vonk_error *err);

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  const vonk_plugin_v1 table = {
      .struct_size = (uint32_t)sizeof table,
      .abi_minor = VONK_ABI_MINOR,
      .caps = VONK_CAP_CONCURRENT_RUN,
      .name = "tensorflow",
      .version = VONK_VERSION,
      .formats = formats,
      .options = vonk_tf_options,
      .recognise = vonk_tf_recognise,
      .runtime = tell_runtime,
      .devices = NULL,
      .open_model = vonk_tf_open_model,
      .model_info = vonk_tf_model_info,
      .describe = vonk_tf_describe,
      .create_session = vonk_tf_create_session,
      .run = vonk_tf_run,
      .release_session = vonk_tf_release_session,
      .release_model = vonk_tf_release_model,
      .shutdown = NULL,
      .open_files = vonk_tf_open_files,
  };
  return vonk_kit_init(host, &table, plugin, err);
}
