/* Forgets to end its watch for a request to stop. */
#include "mock.h"

static void remember(void *arg) { (void)arg; }

static vonk_status run_watching(vonk_plugin_session *session, const vonk_run *run,
                                vonk_error *err) {
  const vonk_host *host = run->host;
  vonk_status status = mock_run(session, run, err);
  if (run->cancel != NULL) {
    host->watch_cancel(host->ctx, run->cancel, remember, NULL);
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_watching;
  return VONK_OK;
}
