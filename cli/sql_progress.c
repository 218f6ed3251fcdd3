/* Progress of a statement: "37 %, 123,456 rows predicted, 240,000 rows/s".
 *
 * How it works: a thread of its own looks four times a second, for the main thread is
 * inside DuckDB. DuckDB's percentage says nothing about a table with a single row group;
 * the rows that models have predicted always do. After a signal the thread asks the work
 * to stop ten times a second: a prediction that began just after the first call would
 * otherwise run to its end. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>
#include <time.h>

#include "cli/signals.h"
#include "cli/sql.h"

enum { TICK_MS = 50, SHOW_TICKS = 5, PATIENCE_TICKS = 10 };

static void show(vonk_cli_ticker *t) {
  double seconds = (double)(vonk_clock_ns() - t->begun_ns) / 1e9;
  double percent = duckdb_query_progress(t->connection).percentage;
  int64_t rows = (int64_t)(t->count(t->arg) - t->begun_rows);
  char count[32], rate[32], time[32];
  (void)fputs("\r\033[K", stderr);
  if (percent > 0.0 && percent <= 100.0) {
    (void)fprintf(stderr, "%.0f %%, ", floor(percent));
  }
  if (rows > 0) {
    (void)fprintf(stderr, "%s rows predicted, %s rows/s, ", vonk_cli_count(rows, count),
                  vonk_cli_count((int64_t)((double)rows / seconds), rate));
  }
  (void)fputs(vonk_cli_duration(seconds, time), stderr);
  (void)fflush(stderr);
  t->is_shown = true;
}

static void tick(vonk_cli_ticker *t, uint64_t n) {
  if (vonk_cli_signals_caught() != 0) {
    t->stop(t->arg);
  } else if (t->wants_progress && n >= PATIENCE_TICKS && n % SHOW_TICKS == 0) {
    show(t);
  }
}

static void *run_ticker(void *arg) {
  vonk_cli_ticker *t = arg;
  uint64_t n = 0;
  pthread_mutex_lock(&t->mutex);
  while (!t->is_over) {
    if (!t->is_running) {
      n = 0;
      pthread_cond_wait(&t->changed, &t->mutex);
      continue;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_cond_timedwait(&t->changed, &t->mutex, &until);
    if (t->is_running && !t->is_over) {
      tick(t, ++n);
    }
  }
  pthread_mutex_unlock(&t->mutex);
  return NULL;
}

vonk_status vonk_cli_ticker_start(vonk_cli_ticker *t, vonk_error *err) {
  int error = pthread_mutex_init(&t->mutex, NULL);
  if (error == 0 && (error = pthread_cond_init(&t->changed, NULL)) == 0) {
    error = pthread_create(&t->thread, NULL, run_ticker, t);
  }
  t->is_started = error == 0;
  return error == 0 ? VONK_OK
                    : vonk_fail(err, VONK_NOMEM, "no thread for progress can be made: %s",
                                strerror(error));
}

void vonk_cli_ticker_begin(vonk_cli_ticker *t) {
  pthread_mutex_lock(&t->mutex);
  t->begun_ns = vonk_clock_ns();
  t->begun_rows = t->count(t->arg);
  t->is_running = true;
  pthread_cond_signal(&t->changed);
  pthread_mutex_unlock(&t->mutex);
}

void vonk_cli_ticker_end(vonk_cli_ticker *t) {
  if (!t->is_started) {
    return;
  }
  pthread_mutex_lock(&t->mutex);
  t->is_running = false;
  if (t->is_shown) {
    (void)fputs("\r\033[K", stderr);
    (void)fflush(stderr);
    t->is_shown = false;
  }
  pthread_mutex_unlock(&t->mutex);
}

void vonk_cli_ticker_release(vonk_cli_ticker *t) {
  if (!t->is_started) {
    return;
  }
  vonk_cli_ticker_end(t);
  pthread_mutex_lock(&t->mutex);
  t->is_over = true;
  pthread_cond_signal(&t->changed);
  pthread_mutex_unlock(&t->mutex);
  (void)pthread_join(t->thread, NULL);
  t->is_started = false;
}
