/* Dies while it is loaded. */
#define _POSIX_C_SOURCE 200809L

#include <signal.h>

#include "mock.h"

__attribute__((constructor)) static void die(void) {
  (void)signal(SIGSEGV, SIG_DFL);
  (void)raise(SIGSEGV);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  return VONK_OK;
}
