/* Changes the folder that it opens, as if somebody saved the model again meanwhile. */
#include "mock.h"

static vonk_status open_touching(const char *path, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err) {
  char inner[4096];
  if (mock_in_folder(path, inner)) {
    FILE *file = fopen(inner, "ab");
    if (file == NULL || fputs("# saved again\n", file) < 0 || fclose(file) != 0) {
      return mock_fail(err, VONK_IO, "%s: cannot be written", inner);
    }
  }
  return mock_open_model(path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_touching;
  return VONK_OK;
}
