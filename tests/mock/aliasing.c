/* Its first output lies in the host's input. */
#include "mock.h"

static vonk_status run_aliasing(vonk_plugin_session *session, const vonk_run *run,
                                vonk_error *err) {
  vonk_status status = mock_run(session, run, err);
  vonk_tensor *out = run->outputs[0];
  const vonk_tensor *in = run->inputs[0];
  /* Where the host has no place for it, and the input is what the output should be. */
  if (status == VONK_OK && out != NULL && out->release != NULL &&
      out->nbytes == in->nbytes && out->nbytes > 0 &&
      memcmp(out->data, in->data, in->nbytes) == 0) {
    out->data = in->data;
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_aliasing;
  return VONK_OK;
}
