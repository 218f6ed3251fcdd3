/* Wants its inputs at multiples of 64 bytes, which nobody promised. */
#include "mock.h"

static vonk_status run_aligned(vonk_plugin_session *session, const vonk_run *run,
                               vonk_error *err) {
  for (uint32_t i = 0; i < run->n_inputs; i++) {
    if ((uintptr_t)run->inputs[i]->data % 64 != 0) {
      return mock_fail(err, VONK_BACKEND, "input %u: is not aligned to 64 bytes", i);
    }
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_aligned;
  return VONK_OK;
}
