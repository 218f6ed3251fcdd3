/* The thread budget: who may run at a time, and when threads exist. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "model/model.h"
#include "predict_fixture.h"

static void sleep_ms(long ms) {
  nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Waits until *value is `wanted`, at most two seconds; returns what it is then. */
static int wait_for(_Atomic int *value, int wanted) {
  for (int i = 0; i < 2000 && atomic_load(value) != wanted; i++) {
    sleep_ms(1);
  }
  return atomic_load(value);
}

static int count_threads(void) {
  int n = 0;
  DIR *folder = opendir("/proc/self/task");
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    n += entry->d_name[0] != '.';
  }
  closedir(folder);
  return n;
}

/* A sanitizer may start a thread of its own with our first one. */
static int threads_at_start;

/* --- a job that watches itself ------------------------------------------------------ */

typedef struct job {
  _Atomic int next, inside, most, helpers, done;
  int n_pieces;
  long piece_ms;
  _Atomic int *hold; /* the caller stays while this is 1 */
} job;

static bool work(void *arg, bool is_helper) {
  job *j = arg;
  int inside = atomic_fetch_add(&j->inside, 1) + 1, most = atomic_load(&j->most);
  while (inside > most && !atomic_compare_exchange_weak(&j->most, &most, inside)) {
  }
  atomic_fetch_add(&j->helpers, is_helper);
  bool finished = true;
  while (atomic_fetch_add(&j->next, 1) < j->n_pieces) {
    sleep_ms(j->piece_ms);
    atomic_fetch_add(&j->done, 1);
    if (is_helper && vonk_budget_is_crowded()) {
      finished = false;
      break;
    }
  }
  while (!is_helper && j->hold != NULL && atomic_load(j->hold) == 1) {
    sleep_ms(1);
  }
  atomic_fetch_sub(&j->helpers, is_helper);
  atomic_fetch_sub(&j->inside, 1);
  return finished;
}

static void no_thread_exists_before_the_first_prediction(void **state) {
  (void)state;
  const float values[1000] = {0};
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowArray out;
  vonk_set_threads(4);
  vonk_model *model = fixture_open(
      fixture_write("m.mock", "input x f32 -1\noutput y = copy x\n"), MOCK("echo"));
  fixture_start(&b, 1000);
  fixture_add(&b, "x", "f", NULL, values, NULL);
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 10};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_int_equal(count_threads(), threads_at_start);
  b.array.length = 5; /* one micro-batch needs no help */
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  assert_int_equal(count_threads(), threads_at_start);
  b.array.length = 1000;
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  assert_int_equal(count_threads(), threads_at_start + 3);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  vonk_budget_shutdown();
  assert_int_equal(count_threads(), threads_at_start);
}

static void a_job_gets_as_many_threads_as_the_budget_says(void **state) {
  (void)state;
  for (uint32_t n = 1; n <= 5; n++) {
    vonk_set_threads(n);
    assert_int_equal(vonk_get_threads(), n);
    job j = {.n_pieces = 40, .piece_ms = 2};
    uint32_t most = vonk_budget_run(work, &j, 40);
    assert_int_equal(j.done, 40);
    assert_int_equal(j.most, n);
    assert_int_equal(most, n);
  }
}

static void a_job_gets_no_more_threads_than_it_has_pieces(void **state) {
  (void)state;
  vonk_set_threads(8);
  job j = {.n_pieces = 2, .piece_ms = 5};
  assert_in_range(vonk_budget_run(work, &j, 2), 1, 2);
  assert_in_range(j.most, 1, 2);
}

static void nought_threads_are_the_cores_granted(void **state) {
  (void)state;
  vonk_set_threads(0);
  assert_int_equal(vonk_get_threads(), vonk_cores_granted());
  assert_in_range(vonk_cores_granted(), 1, 4096);
}

/* --- callers ------------------------------------------------------------------------ */

enum { CALLERS = 4 };

static bool meet(void *arg, bool is_helper) {
  assert_false(is_helper);
  pthread_barrier_wait(arg);
  return true;
}

static void *call_meet(void *barrier) {
  vonk_budget_run(meet, barrier, 1);
  return NULL;
}

static void callers_always_run_however_small_the_budget(void **state) {
  (void)state;
  pthread_t threads[CALLERS];
  pthread_barrier_t barrier; /* passed only if all callers are inside at a time */
  pthread_barrier_init(&barrier, NULL, CALLERS);
  vonk_set_threads(1);
  for (int i = 0; i < CALLERS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, call_meet, &barrier), 0);
  }
  for (int i = 0; i < CALLERS; i++) {
    pthread_join(threads[i], NULL);
  }
  pthread_barrier_destroy(&barrier);
}

static void *call_work(void *j) {
  vonk_budget_run(work, j, 1000);
  return NULL;
}

static void helpers_leave_when_callers_come_and_return_when_they_go(void **state) {
  (void)state;
  pthread_t first_caller, second_caller;
  _Atomic int hold = 1;
  job first = {.n_pieces = 1 << 30, .piece_ms = 1};
  job second = {.n_pieces = 0, .hold = &hold};
  vonk_set_threads(2);
  assert_int_equal(pthread_create(&first_caller, NULL, call_work, &first), 0);
  assert_int_equal(wait_for(&first.inside, 2), 2);
  assert_int_equal(pthread_create(&second_caller, NULL, call_work, &second), 0);
  assert_int_equal(wait_for(&second.inside, 1), 1);
  assert_int_equal(wait_for(&first.helpers, 0), 0);
  sleep_ms(20);
  assert_int_equal(first.inside, 1); /* it stays away while the process is crowded */
  atomic_store(&hold, 0);
  pthread_join(second_caller, NULL);
  assert_int_equal(wait_for(&first.inside, 2), 2);
  atomic_store(&first.next, 1 << 30);
  pthread_join(first_caller, NULL);
  assert_int_equal(first.inside, 0);
  assert_int_equal(second.helpers, 0);
}

static void many_jobs_at_a_time_all_end(void **state) {
  (void)state;
  pthread_t threads[8];
  job jobs[8];
  vonk_set_threads(3);
  for (int i = 0; i < 8; i++) {
    jobs[i] = (job){.n_pieces = 30, .piece_ms = 1};
    assert_int_equal(pthread_create(&threads[i], NULL, call_work, &jobs[i]), 0);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(jobs[i].done, 30);
    assert_int_equal(jobs[i].inside, 0);
  }
}

static void helpers_take_no_signals(void **state) {
  (void)state;
  char path[300], line[256];
  int n_helpers = 0;
  vonk_set_threads(3);
  job j = {.n_pieces = 10, .piece_ms = 2};
  vonk_budget_run(work, &j, 10);
  DIR *folder = opendir("/proc/self/task");
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    FILE *file = strtol(entry->d_name, NULL, 10) <= 0 ||
                         strtol(entry->d_name, NULL, 10) == getpid()
                     ? NULL
                     : fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
      if (strncmp(line, "SigBlk:", 7) == 0) { /* SIGINT is 2, the first bit 1 */
        n_helpers += (strtoull(line + 7, NULL, 16) >> 1 & 1) != 0;
      }
    }
    if (file != NULL) {
      fclose(file);
    }
  }
  closedir(folder);
  assert_in_range(n_helpers, 2, 8);
}

static void after_shutdown_jobs_still_run(void **state) {
  (void)state;
  vonk_set_threads(3);
  vonk_shutdown();
  assert_int_equal(count_threads(), threads_at_start);
  job j = {.n_pieces = 20, .piece_ms = 2};
  assert_int_equal(vonk_budget_run(work, &j, 20), 3);
  vonk_shutdown();
}

static void *do_nothing(void *arg) { return arg; }

int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, do_nothing, NULL) == 0) {
    pthread_join(thread, NULL);
  }
  threads_at_start = count_threads();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_thread_exists_before_the_first_prediction),
      cmocka_unit_test(a_job_gets_as_many_threads_as_the_budget_says),
      cmocka_unit_test(a_job_gets_no_more_threads_than_it_has_pieces),
      cmocka_unit_test(nought_threads_are_the_cores_granted),
      cmocka_unit_test(callers_always_run_however_small_the_budget),
      cmocka_unit_test(helpers_leave_when_callers_come_and_return_when_they_go),
      cmocka_unit_test(many_jobs_at_a_time_all_end),
      cmocka_unit_test(helpers_take_no_signals),
      cmocka_unit_test(after_shutdown_jobs_still_run),
  };
  return cmocka_run_group_tests(tests, fixture_make_folder, fixture_remove_folder);
}
