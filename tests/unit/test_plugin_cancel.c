/* Requests to stop: every run in flight is asked once, later ones at once, and nothing is
 * called after its watch. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "plugin/internal.h"
#include "unit.h"

static void pause_ms(long ms) {
  nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void count(void *arg) { ++*(_Atomic int *)arg; }

static vonk_cancel_source *new_source(void) {
  vonk_cancel_source *source = NULL;
  assert_int_equal(vonk_cancel_source_create(&source, NULL), VONK_OK);
  return source;
}

static void test_asks_every_run_once(void **state) {
  (void)state;
  vonk_cancel_source *source = new_source();
  vonk_cancel runs[3];
  _Atomic int stops[3] = {0};
  for (int i = 0; i < 3; i++) {
    vonk_cancel_join(&runs[i], source);
    vonk_cancel_watch(&runs[i], count, (void *)(uintptr_t)&stops[i]);
  }
  vonk_cancel_leave(&runs[1]);
  assert_false(vonk_cancel_source_fired(source));
  vonk_cancel_source_fire(source);
  vonk_cancel_source_fire(source);
  assert_true(vonk_cancel_source_fired(source));
  assert_int_equal(stops[0], 1);
  assert_int_equal(stops[1], 0);
  assert_int_equal(stops[2], 1);
  vonk_cancel_leave(&runs[0]);
  vonk_cancel_leave(&runs[2]);
  vonk_cancel_source_release(source);
}

static void test_asks_late_runs_at_once(void **state) {
  (void)state;
  vonk_cancel_source *source = new_source();
  vonk_cancel run;
  _Atomic int stops = 0;
  vonk_cancel_source_fire(source);
  vonk_cancel_join(&run, source);
  vonk_cancel_watch(&run, count, (void *)(uintptr_t)&stops);
  assert_int_equal(stops, 1);
  vonk_cancel_watch(&run, NULL, NULL);
  assert_int_equal(stops, 1);
  vonk_cancel_leave(&run);
  vonk_cancel_source_release(source);
}

static void test_runs_without_source_are_never_asked(void **state) {
  (void)state;
  vonk_cancel run;
  _Atomic int stops = 0;
  vonk_cancel_join(&run, NULL);
  vonk_cancel_watch(&run, count, (void *)(uintptr_t)&stops);
  vonk_cancel_watch(NULL, count, (void *)(uintptr_t)&stops);
  vonk_cancel_leave(&run);
  vonk_cancel_source_release(NULL);
  assert_int_equal(stops, 0);
}

/* A stop that ends its own watch must not wait for itself. */
static void end_own_watch(void *arg) { vonk_cancel_watch(arg, NULL, NULL); }

static void test_a_stop_may_end_its_own_watch(void **state) {
  (void)state;
  vonk_cancel_source *source = new_source();
  vonk_cancel run;
  vonk_cancel_join(&run, source);
  vonk_cancel_watch(&run, end_own_watch, &run);
  vonk_cancel_source_fire(source);
  assert_null(run.stop);
  vonk_cancel_leave(&run);
  vonk_cancel_source_release(source);
}

typedef struct slow_stop {
  _Atomic int entered, left;
} slow_stop;

static void stop_slowly(void *arg) {
  slow_stop *slow = arg;
  slow->entered = 1;
  pause_ms(30);
  slow->left = 1;
}

static void *fire(void *arg) {
  vonk_cancel_source_fire(arg);
  return NULL;
}

static void test_ending_a_watch_waits_for_its_stop(void **state) {
  (void)state;
  vonk_cancel_source *source = new_source();
  vonk_cancel run;
  slow_stop slow = {0};
  vonk_cancel_join(&run, source);
  vonk_cancel_watch(&run, stop_slowly, &slow);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, fire, source), 0);
  while (slow.entered == 0) {
    pause_ms(1);
  }
  vonk_cancel_watch(&run, NULL, NULL);
  assert_int_equal(slow.left, 1);
  vonk_cancel_leave(&run);
  pthread_join(thread, NULL);
  vonk_cancel_source_release(source);
}

/* Eight threads join, watch and leave while another fires: what stop points to lives on
 * their stacks, so a call after the watch is seen by the sanitizers, and by `alive`
 * without them. */
typedef struct frame {
  _Atomic int alive;
  _Atomic int stops;
} frame;

static _Atomic int wrong_calls;

static void stop_frame(void *arg) {
  frame *f = arg;
  wrong_calls += f->alive != 1;
  f->stops++;
}

typedef struct runner {
  vonk_cancel_source *source;
  int n_stopped;
} runner;

static void *run_often(void *arg) {
  runner *r = arg;
  for (int i = 0; i < 2000; i++) {
    vonk_cancel run;
    frame f;
    atomic_init(&f.alive, 1);
    atomic_init(&f.stops, 0);
    vonk_cancel_join(&run, r->source);
    vonk_cancel_watch(&run, stop_frame, &f);
    bool fired = vonk_cancel_source_fired(r->source);
    vonk_cancel_watch(&run, NULL, NULL);
    vonk_cancel_leave(&run);
    f.alive = 0;
    wrong_calls += f.stops > 1 || (fired && f.stops != 1 && r->n_stopped > 0);
    r->n_stopped += f.stops;
  }
  return NULL;
}

static void test_no_stop_outside_its_watch_with_eight_threads(void **state) {
  (void)state;
  enum { THREADS = 8 };
  vonk_cancel_source *source = new_source();
  pthread_t threads[THREADS];
  runner runners[THREADS];
  for (int i = 0; i < THREADS; i++) {
    runners[i] = (runner){.source = source};
    assert_int_equal(pthread_create(&threads[i], NULL, run_often, &runners[i]), 0);
  }
  vonk_cancel_source_fire(source);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_true(runners[i].n_stopped <= 2000);
  }
  assert_int_equal(wrong_calls, 0);
  runner last = {.source = source};
  (void)run_often(&last);
  assert_int_equal(last.n_stopped, 2000);
  vonk_cancel_source_release(source);
}

static void test_out_of_memory(void **state) {
  (void)state;
  vonk_cancel_source *source = NULL;
  (void)vonk_memory_fail_at(1);
  assert_int_equal(vonk_cancel_source_create(&source, NULL), VONK_NOMEM);
  (void)vonk_memory_fail_at(0);
  assert_null(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_asks_every_run_once),
      cmocka_unit_test(test_asks_late_runs_at_once),
      cmocka_unit_test(test_runs_without_source_are_never_asked),
      cmocka_unit_test(test_a_stop_may_end_its_own_watch),
      cmocka_unit_test(test_ending_a_watch_waits_for_its_stop),
      cmocka_unit_test(test_no_stop_outside_its_watch_with_eight_threads),
      cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
