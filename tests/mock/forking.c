/* Forks whenever a model is opened. */
#define _POSIX_C_SOURCE 200809L
#include <sys/wait.h>
#include <unistd.h>

#include "mock.h"

static vonk_status open_forking(const char *path, const vonk_kv *options,
                                size_t n_options, vonk_plugin_model **out,
                                vonk_error *err) {
  pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  if (child > 0) {
    (void)waitpid(child, NULL, 0);
  }
  return mock_open_model(path, options, n_options, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->open_model = open_forking;
  return VONK_OK;
}
