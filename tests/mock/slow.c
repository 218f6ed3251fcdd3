/* Well-behaved, and 50 ms slower a run than it need be; ends at once when it is asked to.
 */
#include "mock.h"

static vonk_status open_slow(const char *path, const vonk_kv *options, size_t n_options,
                             vonk_plugin_model **out, vonk_error *err) {
  vonk_plugin_model *model = NULL;
  vonk_status status = mock_open_model(path, options, n_options, &model, err);
  if (status == VONK_OK) {
    model->sleep_ms += 50;
    *out = model;
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_slow;
  return VONK_OK;
}
