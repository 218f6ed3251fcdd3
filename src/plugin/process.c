/* What a fork does to us.
 *
 * How it works: threads do not survive a fork, and frameworks wait for theirs for ever.
 * Whoever starts threads marks the process; from then on a handler runs in every child
 * that is forked, and changes the mark, which vonk_process_check reads. A child that
 * replaces itself by exec starts afresh. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>

#include "plugin/plugin.h"

enum { FRESH = 0, STARTED = 1, FORKED = 2 };

static _Atomic int state;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void note_fork(void) {
  int expected = STARTED;
  atomic_compare_exchange_strong(&state, &expected, FORKED);
}

static void watch_forks(void) {
  if (pthread_atfork(NULL, NULL, note_fork) != 0) {
    vonk_log(VONK_LOG_WARNING, "process", "forks cannot be watched: memory ran out");
  }
}

void vonk_process_mark_started(void) {
  if (atomic_load_explicit(&state, memory_order_relaxed) != FRESH) {
    return;
  }
  pthread_once(&once, watch_forks);
  int expected = FRESH;
  atomic_compare_exchange_strong(&state, &expected, STARTED);
}

vonk_status vonk_process_check(vonk_error *err) {
  if (atomic_load_explicit(&state, memory_order_relaxed) != FORKED) {
    return VONK_OK;
  }
  return vonk_fail(
      err, VONK_FORKED,
      "fork: this process was forked after vonk had started a framework, whose "
      "threads do not survive that: start worker processes before the first "
      "prediction, or with 'spawn' instead of 'fork'");
}
