/* Well-behaved without VONK_CAP_PREALLOCATED_OUT: an output that says where to write is
 * refused. */
#include "mock.h"

static vonk_status run_allocating(vonk_plugin_session *session, const vonk_run *run,
                                  vonk_error *err) {
  for (uint32_t i = 0; i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL && run->outputs[i]->data != NULL) {
      return mock_fail(err, VONK_BACKEND,
                       "output %u: this plug-in cannot write where it is told", i);
    }
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->caps = VONK_CAP_CONCURRENT_RUN;
  plugin->run = run_allocating;
  return VONK_OK;
}
