/* Leaves the thread rounding towards zero after a run. */
#define _POSIX_C_SOURCE 200809L
#include <fenv.h>

#include "mock.h"

static vonk_status run_rounding(vonk_plugin_session *session, const vonk_run *run,
                                vonk_error *err) {
  (void)fesetround(FE_TOWARDZERO);
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_rounding;
  return VONK_OK;
}
