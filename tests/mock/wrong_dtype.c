/* Describes an output as something else than it returns. */
#include "mock.h"

static vonk_status describe_wrongly(const vonk_plugin_model *model, int32_t is_output,
                                    uint32_t index, vonk_io *out, vonk_error *err) {
  vonk_status status = mock_describe(model, is_output, index, out, err);
  if (status == VONK_OK && is_output) {
    out->dtype = out->dtype == VONK_I64 ? VONK_F64 : VONK_I64;
  }
  return status;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->describe = describe_wrongly;
  return VONK_OK;
}
