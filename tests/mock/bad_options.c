/* Has an option without help. */
#include "mock.h"

static const vonk_kv without_help[] = {{"scale", NULL}, {NULL, NULL}};

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->options = without_help;
  return VONK_OK;
}
