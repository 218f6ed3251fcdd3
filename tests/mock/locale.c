/* Changes the locale of the process when it is loaded. */
#define _POSIX_C_SOURCE 200809L
#include <locale.h>

#include "mock.h"

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  (void)setlocale(LC_ALL, "C.UTF-8");
  mock_fill(host, plugin);
  return VONK_OK;
}
