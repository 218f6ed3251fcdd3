/* Keeps the host's table of files, which is gone after the call. */
#include "mock.h"

static const vonk_files *kept;

static vonk_status open_table_keeper(const vonk_files *files, const vonk_kv *options,
                                     size_t n_options, vonk_plugin_model **out,
                                     vonk_error *err) {
  kept = files;
  return mock_open_files(files, options, n_options, out, err);
}

static vonk_status create_late(vonk_plugin_model *model, vonk_device device,
                               uint32_t threads, vonk_plugin_session **out,
                               vonk_error *err) {
  if (kept != NULL && mock_find_file(kept) == NULL) {
    return mock_fail(err, VONK_IO, "session: the model's file is gone");
  }
  return mock_create_session(model, device, threads, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->create_session = create_late;
  plugin->open_files = open_table_keeper;
  return VONK_OK;
}
