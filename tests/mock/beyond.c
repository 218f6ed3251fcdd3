/* Looks at the byte behind the host's. */
#include "mock.h"

static vonk_status open_beyond(const vonk_files *files, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err) {
  const vonk_file *file = mock_find_file(files);
  const volatile char *text = file == NULL ? NULL : file->data;
  if (text != NULL && text[file->nbytes] == '\x7f') {
    return mock_fail(err, VONK_MODEL, "%s: has no end", files->path);
  }
  return mock_open_files(files, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_files = open_beyond;
  return VONK_OK;
}
