/* Gives another result each time. */
#include "mock.h"

static vonk_status run_random(vonk_plugin_session *session, const vonk_run *run,
                              vonk_error *err) {
  static _Atomic uint8_t counter;
  uint8_t flip = counter++ & 1;
  vonk_status status = mock_run(session, run, err);
  for (uint32_t i = 0; status == VONK_OK && i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL && run->outputs[i]->nbytes > 0) {
      ((uint8_t *)run->outputs[i]->data)[0] ^= flip;
    }
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_random;
  return VONK_OK;
}
