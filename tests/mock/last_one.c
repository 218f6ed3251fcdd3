/* Takes it that a model is gone when one of that name was closed. */
#include "mock.h"

static _Atomic int is_closed;

static void close_all(vonk_plugin_model *model) {
  if (model != NULL && mock_count.live_models > 1) {
    is_closed = 1;
  }
  mock_release_model(model);
}

static vonk_status run_unless_closed(vonk_plugin_session *session, const vonk_run *run,
                                     vonk_error *err) {
  if (is_closed) {
    return mock_fail(err, VONK_BACKEND, "the weights were closed");
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_unless_closed;
  plugin->release_model = close_all;
  return VONK_OK;
}
