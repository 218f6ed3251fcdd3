/* Says nothing about the value of an option that it cannot read. */
#include "mock.h"

static vonk_status open_any(const char *path, const vonk_kv *options, size_t n_options,
                            vonk_plugin_model **out, vonk_error *err) {
  bool is_known = n_options == 1 && strcmp(options[0].key, "scale") == 0;
  return mock_open_model(path, options, n_options, out, is_known ? NULL : err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_any;
  return VONK_OK;
}
