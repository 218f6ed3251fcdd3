/* Well-behaved without VONK_CAP_CONCURRENT_RUN: a session that is entered twice at a time
 * says so. */
#include "mock.h"

static vonk_status run_alone(vonk_plugin_session *session, const vonk_run *run,
                             vonk_error *err) {
  if (atomic_load(&session->running) != 0) {
    return mock_fail(err, VONK_BACKEND, "run: the session is in use by another thread");
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->caps = VONK_CAP_PREALLOCATED_OUT;
  plugin->run = run_alone;
  return VONK_OK;
}
