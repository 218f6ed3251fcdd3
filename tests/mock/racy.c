/* Claims concurrent runs, but mixes the results of runs that overlap. */
#include "mock.h"

static vonk_status run_racy(vonk_plugin_session *session, const vonk_run *run,
                            vonk_error *err) {
  vonk_status status = mock_run(session, run, err);
  atomic_fetch_add(&session->running, 1);
  nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  bool overlaps = atomic_load(&session->running) > 1;
  for (uint32_t i = 0; overlaps && status == VONK_OK && i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL && run->outputs[i]->nbytes > 0) {
      ((uint8_t *)run->outputs[i]->data)[0] ^= 1;
    }
  }
  atomic_fetch_sub(&session->running, 1);
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_racy;
  return VONK_OK;
}
