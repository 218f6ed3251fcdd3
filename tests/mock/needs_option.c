/* Opens no model without its option. */
#include "mock.h"

static vonk_status open_with_option(const char *path, const vonk_kv *options,
                                    size_t n_options, vonk_plugin_model **out,
                                    vonk_error *err) {
  if (n_options == 0) {
    return mock_fail(err, VONK_INVALID, "option 'scale': is missing");
  }
  return mock_open_model(path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_with_option;
  return VONK_OK;
}
