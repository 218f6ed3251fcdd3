/* Runs change while another model is being opened. */
#include "mock.h"

static _Atomic int is_opening;

static vonk_status open_slowly(const char *path, const vonk_kv *options, size_t n_options,
                               vonk_plugin_model **out, vonk_error *err) {
  atomic_fetch_add(&is_opening, 1);
  nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  vonk_status status = mock_open_model(path, options, n_options, out, err);
  atomic_fetch_sub(&is_opening, 1);
  return status;
}

static vonk_status run_disturbed(vonk_plugin_session *session, const vonk_run *run,
                                 vonk_error *err) {
  vonk_status status = mock_run(session, run, err);
  for (uint32_t i = 0; status == VONK_OK && is_opening && i < run->n_outputs; i++) {
    if (run->outputs[i] != NULL && run->outputs[i]->nbytes > 0) {
      ((uint8_t *)run->outputs[i]->data)[0] ^= 1;
    }
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_slowly;
  plugin->run = run_disturbed;
  return VONK_OK;
}
