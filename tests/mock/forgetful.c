/* Forgets the options of a model in memory, and with them its scale. */
#include "mock.h"

static vonk_status open_forgetful(const vonk_files *files, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err) {
  vonk_status status = mock_open_files(files, options, n_options, out, err);
  if (status == VONK_OK) {
    (*out)->scale = 2.0;
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = open_forgetful;
  return VONK_OK;
}
