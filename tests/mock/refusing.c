/* Cannot work here, and says why. */
#include "mock.h"

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  mock_fill(host, plugin);
  return mock_fail(err, VONK_UNSUPPORTED,
                   "this processor has no flux capacitor: buy one");
}
