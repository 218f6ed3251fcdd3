/* Leaves a file beside the model. */
#include "mock.h"

static vonk_status open_littering(const char *path, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err) {
  char name[4096];
  int size = snprintf(name, sizeof(name), "%s.cache", path);
  FILE *file = size > 0 && (size_t)size < sizeof(name) ? fopen(name, "w") : NULL;
  if (file != NULL) {
    fclose(file);
  }
  return mock_open_model(path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_littering;
  return VONK_OK;
}
