/* Starts a thread as soon as it is loaded. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "mock.h"

static void *idle(void *arg) {
  nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
  return arg;
}

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  (void)err;
  pthread_t thread;
  if (pthread_create(&thread, NULL, idle, NULL) == 0) {
    pthread_detach(thread);
  }
  mock_fill(host, plugin);
  return VONK_OK;
}
