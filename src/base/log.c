/* Messages to the embedding program; nowhere by default.
 *
 * How it works: one sink for the process. It is copied under a lock and called outside
 * it, so that a sink may log, block or set another sink. A call of the old sink may still
 * be under way when vonk_log_set_sink returns: what arg points to must outlive it. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/base.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  vonk_log_sink sink;
  void *arg;
} current;
static _Atomic int32_t current_level = INT32_MAX; /* while there is no sink */

void vonk_log_set_sink(int32_t level, vonk_log_sink sink, void *arg) {
  pthread_mutex_lock(&lock);
  current.sink = sink;
  current.arg = arg;
  atomic_store_explicit(&current_level, sink == NULL ? INT32_MAX : level,
                        memory_order_relaxed);
  pthread_mutex_unlock(&lock);
}

void vonk_log(int32_t level, const char *where, const char *format, ...) {
  if (level < atomic_load_explicit(&current_level, memory_order_relaxed)) {
    return;
  }
  pthread_mutex_lock(&lock);
  vonk_log_sink sink = current.sink;
  void *arg = current.arg;
  pthread_mutex_unlock(&lock);
  if (sink == NULL) {
    return;
  }
  char message[1024];
  va_list args;
  va_start(args, format);
  int written = vsnprintf(message, sizeof(message), format, args);
  va_end(args);
  sink(arg, level, where, written < 0 ? format : message);
}
