/* Well-behaved, and made with a first header that had no shutdown yet: fills a shorter
 * table. */
#include "mock.h"

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  vonk_plugin_v1 mine;
  mock_fill(host, &mine);
  mine.struct_size = (uint32_t)offsetof(vonk_plugin_v1, shutdown);
  mine.devices = NULL;
  memcpy(plugin, &mine, mine.struct_size);
  return VONK_OK;
}
