/* Opens the path that it is told, instead of the files in memory. */
#include "mock.h"

static vonk_status open_by_path(const vonk_files *files, const vonk_kv *options,
                                size_t n_options, vonk_plugin_model **out,
                                vonk_error *err) {
  return mock_open_model(files->path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = open_by_path;
  return VONK_OK;
}
