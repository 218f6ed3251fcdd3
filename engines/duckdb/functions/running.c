/* Predictions in flight, so that they can be ended.
 *
 * How it works: each call of vonk_predict stands in a list while it runs, on the stack of
 * its thread, with a predictor that no other call uses. Whoever wants to end it cancels
 * that predictor under the list's lock, which the call must take before it leaves; a
 * cancelled predictor is thrown away, so nothing later is affected. */
#include "engines/duckdb/functions/internal.h"

void vonk_sql_run_begin(vonk_sql *sql, vonk_sql_run *run) {
  run->start_ns = vonk_clock_ns();
  run->previous = NULL;
  pthread_mutex_lock(&sql->running_mutex);
  run->next = sql->running;
  if (run->next != NULL) {
    run->next->previous = run;
  }
  sql->running = run;
  pthread_mutex_unlock(&sql->running_mutex);
  if (sql->guest.began != NULL) {
    sql->guest.began(sql->guest.arg, run->context);
  }
}

void vonk_sql_run_end(vonk_sql *sql, vonk_sql_run *run) {
  pthread_mutex_lock(&sql->running_mutex);
  if (run->previous != NULL) {
    run->previous->next = run->next;
  } else {
    sql->running = run->next;
  }
  if (run->next != NULL) {
    run->next->previous = run->previous;
  }
  pthread_mutex_unlock(&sql->running_mutex);
}

static void cancel(vonk_sql_run *run) {
  if (!run->predictor->is_cancelled) {
    run->predictor->is_cancelled = true;
    vonk_predictor_cancel(run->predictor->predictor);
  }
}

void vonk_sql_cancel(vonk_sql *sql) {
  pthread_mutex_lock(&sql->running_mutex);
  for (vonk_sql_run *run = sql->running; run != NULL; run = run->next) {
    cancel(run);
  }
  pthread_mutex_unlock(&sql->running_mutex);
}

size_t vonk_sql_cancel_interrupted(vonk_sql *sql, uint64_t min_ns,
                                   bool (*probe)(duckdb_client_context context)) {
  uint64_t now = vonk_clock_ns();
  size_t n = 0;
  pthread_mutex_lock(&sql->running_mutex);
  for (vonk_sql_run *run = sql->running; run != NULL; run = run->next) {
    n++;
    bool is_old = now > run->start_ns && now - run->start_ns > min_ns;
    if (is_old && !run->predictor->is_cancelled && probe(run->context)) {
      cancel(run);
    }
  }
  pthread_mutex_unlock(&sql->running_mutex);
  return n;
}
