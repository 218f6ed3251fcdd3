/* Well-behaved, and takes models in memory. */
#include "mock.h"

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = mock_open_files;
  return VONK_OK;
}
