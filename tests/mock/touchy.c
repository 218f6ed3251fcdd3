/* Sets its result to NULL before it knows whether the model opens. */
#include "mock.h"

static vonk_status open_touching(const char *path, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err) {
  *out = NULL;
  return mock_open_model(path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_touching;
  return VONK_OK;
}
