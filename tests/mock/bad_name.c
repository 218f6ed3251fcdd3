/* Has a name that no file could have. */
#include "mock.h"

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->name = "Mock/1";
  return VONK_OK;
}
