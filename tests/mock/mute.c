/* Says nothing of what is wrong with a model in memory. */
#include "mock.h"

static vonk_status open_mute(const vonk_files *files, const vonk_kv *options,
                             size_t n_options, vonk_plugin_model **out, vonk_error *err) {
  (void)err;
  return mock_open_files(files, options, n_options, out, NULL);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = open_mute;
  return VONK_OK;
}
