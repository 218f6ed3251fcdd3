/* Never comes back from opening a model. */
#include "mock.h"

static vonk_status open_never(const char *path, const vonk_kv *options, size_t n_options,
                              vonk_plugin_model **out, vonk_error *err) {
  (void)path, (void)options, (void)n_options, (void)out, (void)err;
  while (mock_host != NULL) {
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
  }
  return VONK_BACKEND;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_never;
  return VONK_OK;
}
