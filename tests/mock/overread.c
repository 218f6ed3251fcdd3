/* Reads one byte more of its inputs than there are. */
#include "mock.h"

static vonk_status run_overreading(vonk_plugin_session *session, const vonk_run *run,
                                   vonk_error *err) {
  const vonk_tensor *in = run->inputs[0];
  if (in->nbytes > 0) {
    const volatile uint8_t *bytes = in->data;
    (void)bytes[in->nbytes];
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_overreading;
  return VONK_OK;
}
