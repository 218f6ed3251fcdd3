/* Well-behaved, and made with a later minor version of the header, whose table has more
 * fields: it fills what the host's table has room for. */
#include "mock.h"

typedef struct later_table {
  vonk_plugin_v1 known;
  void (*later)(void);
  void *more[4];
} later_table;

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  later_table mine = {0};
  uint32_t room = plugin->struct_size;
  mock_fill(host, &mine.known);
  mine.known.abi_minor = 99;
  mine.later = mock_shutdown;
  mine.known.struct_size = room < sizeof(mine) ? room : (uint32_t)sizeof(mine);
  memcpy(plugin, &mine, mine.known.struct_size);
  return VONK_OK;
}
