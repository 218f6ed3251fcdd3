/* Takes SIGINT over when a session is made. */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>

#include "mock.h"

static void ignore(int number) { (void)number; }

static vonk_status create_catching(vonk_plugin_model *model, vonk_device device,
                                   uint32_t threads, vonk_plugin_session **out,
                                   vonk_error *err) {
  struct sigaction action = {0};
  action.sa_handler = ignore;
  (void)sigaction(SIGINT, &action, NULL);
  return mock_create_session(model, device, threads, out, err);
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  mock_fill(host, plugin);
  plugin->create_session = create_catching;
  return VONK_OK;
}
