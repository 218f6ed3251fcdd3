/* Believes that a model which begins well ends well. */
#include "mock.h"

static bool begins_well(const char *path) {
  char line[12] = "";
  FILE *file = fopen(path, "r");
  bool begins = file != NULL && fgets(line, (int)sizeof(line), file) != NULL &&
                strcmp(line, "# vonk mock") == 0;
  if (file != NULL) {
    fclose(file);
  }
  return begins;
}

static vonk_status open_trusting(const char *path, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err) {
  vonk_status status = mock_open_model(path, options, n_options, out, err);
  if (status == VONK_MODEL && begins_well(path)) {
    abort();
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_trusting;
  return VONK_OK;
}
