/* Writes where the host says without looking whether the result fits there. */
#include "mock.h"

static vonk_status run_trusting(vonk_plugin_session *session, const vonk_run *run,
                                vonk_error *err) {
  const vonk_tensor *in = run->inputs[0];
  for (uint32_t i = 0; i < run->n_outputs; i++) {
    vonk_tensor *out = run->outputs[i];
    if (out != NULL && out->data != NULL) {
      memset(out->data, 0, out->nbytes < in->nbytes ? out->nbytes : in->nbytes);
    }
    if (out != NULL && out->data != NULL && out->shape[0] != in->shape[0]) {
      return VONK_OK;
    }
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_trusting;
  return VONK_OK;
}
