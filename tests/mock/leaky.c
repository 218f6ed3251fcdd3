/* Keeps every model for ever. */
#include "mock.h"

static void keep_model(vonk_plugin_model *model) { (void)model; }

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->release_model = keep_model;
  return VONK_OK;
}
