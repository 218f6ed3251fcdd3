/* Models in memory that are opened at the same time get in each other's way. */
#include "mock.h"

static _Atomic int n_opening;

static vonk_status open_one_at_a_time(const vonk_files *files, const vonk_kv *options,
                                      size_t n_options, vonk_plugin_model **out,
                                      vonk_error *err) {
  atomic_fetch_add(&n_opening, 1);
  nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  vonk_status status = mock_open_files(files, options, n_options, out, err);
  if (atomic_fetch_sub(&n_opening, 1) > 1 && status == VONK_OK) {
    (*out)->scale = 2.0;
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = open_one_at_a_time;
  return VONK_OK;
}
