/* Well-behaved, but its models refuse rows whose first element is negative, and say which
 * row it was. */
#include "mock.h"

static vonk_status run_checked(vonk_plugin_session *session, const vonk_run *run,
                               vonk_error *err) {
  const vonk_tensor *in = run->inputs[0];
  size_t rows = in->rank == 0 ? 1 : (size_t)in->shape[0];
  size_t row_size = mock_elements(in->rank, in->shape) / (rows == 0 ? 1 : rows);
  for (size_t r = 0; in->dtype != VONK_BYTES && row_size > 0 && r < rows; r++) {
    double value = mock_get(in->data, in->dtype, r * row_size);
    if (value < 0.0) {
      (void)mock_fail(err, VONK_BACKEND, "row %zu: %g is negative", r, value);
      if (err != NULL) {
        err->row = (int64_t)r;
      }
      return VONK_BACKEND;
    }
  }
  return mock_run(session, run, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->run = run_checked;
  return VONK_OK;
}
