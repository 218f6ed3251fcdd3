/* Made with a later header like newer_abi.c, but does not look how large the host's table
 * is. */
#include "mock.h"

typedef struct later_table {
  vonk_plugin_v1 known;
  void (*later)(void);
} later_table;

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  later_table mine = {0};
  mock_fill(host, &mine.known);
  mine.later = mock_shutdown;
  mine.known.struct_size = (uint32_t)sizeof(mine);
  void *volatile room = plugin; /* hides from the compiler that it is too small */
  memcpy(room, &mine, sizeof(mine));
  return VONK_OK;
}
