/* Claims that it writes where the host says, but returns memory of its own. */
#include "mock.h"

static vonk_status run_elsewhere(vonk_plugin_session *session, const vonk_run *run,
                                 vonk_error *err) {
  for (uint32_t i = 0; i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL) {
      run->outputs[i]->data = NULL;
    }
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_elsewhere;
  return VONK_OK;
}
