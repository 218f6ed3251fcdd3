/* Predicting from many threads, and stopping it from another one. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "predict_fixture.h"

enum { THREADS = 8, ROWS = 500, WIDTH = 3 };

static float values[ROWS * WIDTH];

static void sleep_ms(long ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
            NULL);
}

static uint64_t now_ms(void) { return vonk_clock_ns() / 1000000; }

static int fill_values(void **state) {
  for (int i = 0; i < ROWS * WIDTH; i++) {
    values[i] = (float)(i % 97);
  }
  return fixture_make_folder(state);
}

static void make_batch(fixture_batch *b, int64_t n_rows) {
  fixture_start(b, n_rows);
  fixture_add_lists(b, "x", "f", WIDTH, NULL, NULL, values);
}

static const char *const sum_model = "input x f32 -1 3\noutput y = sum x\n";

/* Predicts all rows; returns how many sums are wrong. */
static int predict_sums(const vonk_predictor *predictor, vonk_error *err,
                        vonk_status *status) {
  fixture_batch b;
  struct ArrowArray out;
  int wrong = 0;
  make_batch(&b, ROWS);
  *status = vonk_predict(predictor, &b.array, &out, err);
  if (*status != VONK_OK) {
    return 1;
  }
  const float *sums = out.children[0]->buffers[1];
  for (int i = 0; i < ROWS; i++) {
    const float *x = &values[(size_t)i * WIDTH];
    float expected = x[0] + x[1] + x[2];
    wrong += sums[i] < expected || sums[i] > expected;
  }
  out.release(&out);
  return wrong;
}

typedef struct caller {
  const vonk_predictor *predictor;
  const char *path, *plugin;
  int seed, wrong;
  vonk_status status;
  vonk_error err;
} caller;

static void run_callers(caller *callers, void *(*body)(void *)) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    callers[i].err = (vonk_error)VONK_ERROR_INIT;
    callers[i].seed = i;
    assert_int_equal(pthread_create(&threads[i], NULL, body, &callers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_ok(callers[i].status, &callers[i].err);
    assert_int_equal(callers[i].wrong, 0);
  }
}

static void *predict_often(void *arg) {
  caller *c = arg;
  for (int k = 0; k < 30 && c->status == VONK_OK; k++) {
    c->wrong += predict_sums(c->predictor, &c->err, &c->status);
  }
  return NULL;
}

/* Rows of one predictor, from eight threads with helpers joining. */
static void share_one_predictor(const char *plugin) {
  fixture_batch b;
  caller callers[THREADS];
  vonk_set_threads(4);
  make_batch(&b, ROWS);
  vonk_model *model = fixture_open(fixture_write("sum.mock", sum_model), plugin);
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 20};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  vonk_model_close(model);
  for (int i = 0; i < THREADS; i++) {
    callers[i] = (caller){.predictor = predictor};
  }
  run_callers(callers, predict_often);
  vonk_stats stats = fixture_stats(predictor);
  assert_int_equal(stats.rows, 30 * THREADS * ROWS);
  assert_int_equal(stats.micro_batches, 30 * THREADS * ROWS / 20);
  assert_in_range(stats.max_threads, 1, 4);
  vonk_predictor_release(predictor);
  assert_int_equal(fixture_counters(plugin).live_sessions, 0);
  assert_int_equal(fixture_counters(plugin).live_outputs, 0);
}

static void eight_threads_share_a_predictor(void **state) {
  (void)state;
  share_one_predictor(MOCK("echo"));
  assert_int_equal(fixture_counters(MOCK("echo")).sessions, 1);
}

/* The mock fails a run whose session another thread is in. */
static void a_session_that_is_not_concurrent_is_entered_by_one_thread(void **state) {
  (void)state;
  share_one_predictor(MOCK("exclusive"));
  mock_counters counters = fixture_counters(MOCK("exclusive"));
  assert_in_range(counters.sessions, 1, THREADS + 3);
  assert_int_equal(counters.failed_runs, 0);
}

static void threads_share_a_plugin_that_allocates_its_outputs(void **state) {
  (void)state;
  share_one_predictor(MOCK("no_prealloc"));
}

static void *open_predict_close(void *arg) {
  caller *c = arg;
  fixture_batch b;
  make_batch(&b, ROWS);
  for (int k = 0; k < 40 && c->status == VONK_OK; k++) {
    vonk_model *model = NULL;
    vonk_predictor *predictor = NULL;
    const vonk_kv options[] = {{"plugin", c->plugin},
                               {"scale", (c->seed + k) % 3 == 0 ? "1.0" : "1"}};
    c->status = vonk_model_open(c->path, options, 2, &model, &c->err);
    if (c->status != VONK_OK) {
      return NULL;
    }
    const vonk_bind_options bind = {.struct_size = sizeof bind, .batch_rows = 50};
    c->status = vonk_predictor_create(model, &b.schema, &bind, &predictor, &c->err);
    if (k % 2 == 0) {
      vonk_model_close(model);
    }
    if (c->status == VONK_OK) {
      c->wrong += predict_sums(predictor, &c->err, &c->status);
    }
    vonk_predictor_release(predictor);
    if (k % 2 == 1) {
      vonk_model_close(model);
    }
  }
  return NULL;
}

static void models_open_and_close_while_others_predict(void **state) {
  (void)state;
  char path[160];
  caller callers[THREADS];
  snprintf(path, sizeof path, "%s", fixture_write("sum.mock", sum_model));
  for (int i = 0; i < THREADS; i++) {
    callers[i] = (caller){.path = path, .plugin = MOCK("echo")};
  }
  run_callers(callers, open_predict_close);
  assert_int_equal(fixture_counters(MOCK("echo")).live_models, 0);
  assert_int_equal(fixture_counters(MOCK("echo")).live_sessions, 0);
}

static void one_call_brings_as_many_threads_into_the_model_as_the_budget(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status;
  vonk_set_threads(3);
  make_batch(&b, ROWS);
  vonk_model *model = fixture_open(fixture_write("sum.mock", sum_model), MOCK("slow"));
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 50};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_int_equal(predict_sums(predictor, &err, &status), 0);
  assert_int_equal(fixture_counters(MOCK("slow")).most_running, 3);
  assert_int_equal(fixture_stats(predictor).max_threads, 3);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* --- cancel ------------------------------------------------------------------------- */

static void *predict_once(void *arg) {
  caller *c = arg;
  c->err = (vonk_error)VONK_ERROR_INIT;
  c->wrong = predict_sums(c->predictor, &c->err, &c->status);
  return NULL;
}

static void wait_until_running(const char *plugin, int64_t n) {
  for (int i = 0; i < 2000 && fixture_counters(plugin).running < n; i++) {
    sleep_ms(1);
  }
  assert_int_equal(fixture_counters(plugin).running, n);
}

static vonk_predictor *bind_slow(vonk_model *model, int64_t batch_rows) {
  fixture_batch b;
  make_batch(&b, ROWS);
  const vonk_bind_options options = {.struct_size = sizeof options,
                                     .batch_rows = batch_rows};
  return fixture_bind(model, &b, &options);
}

static void cancel_ends_runs_in_flight_and_later_ones(void **state) {
  (void)state;
  pthread_t thread;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status;
  const char *path =
      fixture_write("slow.mock", "input x f32 -1 3\noutput y = sum x\nsleep_ms 60000\n");
  vonk_set_threads(2);
  vonk_model *model = fixture_open(path, MOCK("echo"));
  caller c = {.predictor = bind_slow(model, 100)};
  assert_int_equal(pthread_create(&thread, NULL, predict_once, &c), 0);
  wait_until_running(MOCK("echo"), 2);
  uint64_t start = now_ms();
  vonk_predictor_cancel((vonk_predictor *)(uintptr_t)c.predictor);
  pthread_join(thread, NULL);
  assert_in_range(now_ms() - start, 0, 2000);
  assert_fails(c.status, &c.err, VONK_CANCELLED, "prediction: was cancelled");
  predict_sums(c.predictor, &err, &status);
  assert_fails(status, &err, VONK_CANCELLED, "prediction: was cancelled");
  fixture_batch none;
  struct ArrowArray out;
  make_batch(&none, 0);
  err = (vonk_error)VONK_ERROR_INIT;
  assert_fails(vonk_predict(c.predictor, &none.array, &out, &err), &err, VONK_CANCELLED,
               "prediction: was cancelled");
  vonk_predictor_release((vonk_predictor *)(uintptr_t)c.predictor);
  vonk_model_close(model);
}

static void cancel_leaves_other_predictors_of_the_model_alone(void **state) {
  (void)state;
  pthread_t threads[2];
  const char *path =
      fixture_write("tenth.mock", "input x f32 -1 3\noutput y = sum x\nsleep_ms 100\n");
  vonk_set_threads(1);
  vonk_model *model = fixture_open(path, MOCK("echo"));
  caller stopped = {.predictor = bind_slow(model, 1)};
  caller other = {.predictor = bind_slow(model, 250)};
  assert_int_equal(pthread_create(&threads[0], NULL, predict_once, &stopped), 0);
  assert_int_equal(pthread_create(&threads[1], NULL, predict_once, &other), 0);
  wait_until_running(MOCK("echo"), 2);
  vonk_predictor_cancel((vonk_predictor *)(uintptr_t)stopped.predictor);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  assert_fails(stopped.status, &stopped.err, VONK_CANCELLED, "was cancelled");
  assert_ok(other.status, &other.err);
  assert_int_equal(other.wrong, 0);
  vonk_predictor_release((vonk_predictor *)(uintptr_t)stopped.predictor);
  vonk_predictor_release((vonk_predictor *)(uintptr_t)other.predictor);
  vonk_model_close(model);
}

static void a_model_that_does_not_listen_ends_after_its_run(void **state) {
  (void)state;
  pthread_t thread;
  const char *path = fixture_write(
      "deaf.mock", "input x f32 -1 3\noutput y = sum x\nsleep_ms 100\ndeaf\n");
  vonk_set_threads(1);
  vonk_model *model = fixture_open(path, MOCK("echo"));
  caller c = {.predictor = bind_slow(model, 1)};
  assert_int_equal(pthread_create(&thread, NULL, predict_once, &c), 0);
  wait_until_running(MOCK("echo"), 1);
  uint64_t start = now_ms();
  vonk_predictor_cancel((vonk_predictor *)(uintptr_t)c.predictor);
  pthread_join(thread, NULL);
  assert_in_range(now_ms() - start, 0, 2000); /* not 500 runs of 100 ms */
  assert_fails(c.status, &c.err, VONK_CANCELLED, "was cancelled");
  vonk_predictor_release((vonk_predictor *)(uintptr_t)c.predictor);
  vonk_model_close(model);
}

/* --- stats and errors while others work --------------------------------------------- */

typedef struct reader {
  const vonk_predictor *predictor;
  _Atomic int stop;
  int fell;
} reader;

static void *read_stats(void *arg) {
  reader *r = arg;
  vonk_stats last = fixture_stats(r->predictor);
  while (!atomic_load(&r->stop)) {
    vonk_stats now = fixture_stats(r->predictor);
    r->fell += now.rows < last.rows || now.micro_batches < last.micro_batches ||
               now.bytes_in < last.bytes_in || now.infer_ns < last.infer_ns ||
               now.max_threads < last.max_threads;
    last = now;
    sched_yield();
  }
  return NULL;
}

static void stats_can_be_read_while_rows_run_and_never_fall(void **state) {
  (void)state;
  fixture_batch b;
  pthread_t thread;
  caller callers[THREADS];
  vonk_set_threads(2);
  make_batch(&b, ROWS);
  vonk_model *model = fixture_open(fixture_write("sum.mock", sum_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  reader r = {.predictor = predictor};
  assert_int_equal(pthread_create(&thread, NULL, read_stats, &r), 0);
  for (int i = 0; i < THREADS; i++) {
    callers[i] = (caller){.predictor = predictor};
  }
  run_callers(callers, predict_often);
  atomic_store(&r.stop, 1);
  pthread_join(thread, NULL);
  assert_int_equal(r.fell, 0);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* Whatever order threads come in, the first bad row is told. */
static void the_first_bad_row_is_told(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  const char *path =
      fixture_write("fail.mock", "input x f32 -1 3\noutput y = sum x\nfail x -1\n");
  float broken[ROWS * WIDTH];
  memcpy(broken, values, sizeof broken);
  broken[(size_t)123 * WIDTH] = broken[(size_t)124 * WIDTH] =
      broken[(size_t)400 * WIDTH] = -1;
  vonk_set_threads(4);
  vonk_model *model = fixture_open(path, MOCK("echo"));
  for (int k = 0; k < 50; k++) {
    fixture_start(&b, ROWS);
    fixture_add_lists(&b, "x", "f", WIDTH, NULL, NULL, broken);
    const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 10};
    vonk_predictor *predictor = fixture_bind(model, &b, &options);
    vonk_error err = VONK_ERROR_INIT;
    assert_fails(vonk_predict(predictor, &b.array, &out, &err), &err, VONK_BACKEND,
                 "row value -1 is refused");
    assert_int_equal(err.row, 123);
    vonk_predictor_release(predictor);
  }
  vonk_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(eight_threads_share_a_predictor),
      cmocka_unit_test(a_session_that_is_not_concurrent_is_entered_by_one_thread),
      cmocka_unit_test(threads_share_a_plugin_that_allocates_its_outputs),
      cmocka_unit_test(models_open_and_close_while_others_predict),
      cmocka_unit_test(one_call_brings_as_many_threads_into_the_model_as_the_budget),
      cmocka_unit_test(cancel_ends_runs_in_flight_and_later_ones),
      cmocka_unit_test(cancel_leaves_other_predictors_of_the_model_alone),
      cmocka_unit_test(a_model_that_does_not_listen_ends_after_its_run),
      cmocka_unit_test(stats_can_be_read_while_rows_run_and_never_fall),
      cmocka_unit_test(the_first_bad_row_is_told),
  };
  return cmocka_run_group_tests(tests, fill_values, fixture_remove_folder);
}
