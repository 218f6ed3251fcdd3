/* Its outputs die with the session. */
#include "mock.h"

static void *kept[64];
static size_t kept_bytes[64], n_kept;

static vonk_status run_keeping(vonk_plugin_session *session, const vonk_run *run,
                               vonk_error *err) {
  static atomic_flag busy = ATOMIC_FLAG_INIT;
  vonk_status status = mock_run(session, run, err);
  while (atomic_flag_test_and_set(&busy)) {
  }
  for (uint32_t i = 0; status == VONK_OK && i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL && run->outputs[i]->release != NULL && n_kept < 64) {
      kept[n_kept] = run->outputs[i]->data;
      kept_bytes[n_kept++] = run->outputs[i]->nbytes;
    }
  }
  atomic_flag_clear(&busy);
  return status;
}

/* Only what is certainly still there: the outputs of a process that made few. */
static void release_with_outputs(vonk_plugin_session *session) {
  for (size_t i = 0; mock_count.live_outputs == mock_count.outputs && i < n_kept; i++) {
    if (kept[i] != NULL) {
      memset(kept[i], 0xEE, kept_bytes[i]);
    }
  }
  mock_release_session(session);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_keeping;
  plugin->release_session = release_with_outputs;
  return VONK_OK;
}
