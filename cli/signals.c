/* SIGINT and SIGTERM.
 *
 * How it works: both are blocked in every thread but one, which waits for them with
 * sigwait, so that no code runs inside a signal handler. The first signal asks the work
 * to stop; a second one, or it not having helped for as long as one is patient, removes
 * the temporary file and ends the process. */
#define _POSIX_C_SOURCE 200809L
#include "cli/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
  pthread_mutex_t mutex;
  void (*stop)(void *arg);
  void *arg;
  const char *temporary;
  sigset_t set;
  uint32_t patience_ms;
  const char *last_words;
} watch = {.mutex = PTHREAD_MUTEX_INITIALIZER, .patience_ms = 10000};
static atomic_int caught;

static _Noreturn void end_now(int signal) {
  pthread_mutex_lock(&watch.mutex);
  if (watch.temporary != NULL) {
    (void)unlink(watch.temporary);
  }
  if (watch.last_words != NULL) {
    ssize_t n = write(STDERR_FILENO, watch.last_words, strlen(watch.last_words));
    (void)n; /* there is nobody to tell */
  }
  _exit(128 + signal);
}

static void *watch_signals(void *unused) {
  (void)unused;
  int signal;
  if (sigwait(&watch.set, &signal) != 0) {
    return NULL;
  }
  atomic_store(&caught, signal);
  pthread_mutex_lock(&watch.mutex);
  bool can_stop = watch.stop != NULL;
  if (can_stop) {
    watch.stop(watch.arg);
  }
  pthread_mutex_unlock(&watch.mutex);
  if (can_stop) {
    struct timespec patience = {.tv_sec = watch.patience_ms / 1000,
                                .tv_nsec = watch.patience_ms % 1000 * 1000000L};
    while (sigtimedwait(&watch.set, NULL, &patience) < 0 && errno == EINTR) {
    }
  }
  end_now(signal);
}

vonk_status vonk_cli_signals_start(vonk_error *err) {
  sigemptyset(&watch.set);
  sigaddset(&watch.set, SIGINT);
  sigaddset(&watch.set, SIGTERM);
  /* A file that may not grow further is an error of write(), not the end of the process.
   */
  (void)signal(SIGXFSZ, SIG_IGN);
  pthread_t thread;
  int error = pthread_sigmask(SIG_BLOCK, &watch.set, NULL);
  if (error == 0 && (error = pthread_create(&thread, NULL, watch_signals, NULL)) == 0) {
    error = pthread_detach(thread);
  }
  return error == 0 ? VONK_OK
                    : vonk_fail(err, VONK_NOMEM, "no thread for signals can be made: %s",
                                strerror(error));
}

void vonk_cli_signals_on_stop(void (*stop)(void *arg), void *arg) {
  pthread_mutex_lock(&watch.mutex);
  watch.stop = stop;
  watch.arg = arg;
  if (stop != NULL && atomic_load(&caught) != 0) {
    stop(arg);
  }
  pthread_mutex_unlock(&watch.mutex);
}

void vonk_cli_signals_patience(uint32_t milliseconds, const char *last_words) {
  pthread_mutex_lock(&watch.mutex);
  watch.patience_ms = milliseconds;
  watch.last_words = last_words;
  pthread_mutex_unlock(&watch.mutex);
}

void vonk_cli_signals_temporary(const char *path) {
  pthread_mutex_lock(&watch.mutex);
  watch.temporary = path;
  pthread_mutex_unlock(&watch.mutex);
}

int vonk_cli_signals_caught(void) { return atomic_load(&caught); }
