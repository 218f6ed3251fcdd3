/* fork: a child of a process that has used a model is told so, and does not hang. A child
 * made before works. */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "predict_fixture.h"

enum { ROWS = 400 };

static const float values[ROWS];
static const char *path;

/* The status of opening, binding and predicting in this process. */
static vonk_status try_all(vonk_error *err) {
  fixture_batch b;
  struct ArrowArray out;
  vonk_model *model = NULL;
  vonk_predictor *predictor = NULL;
  const vonk_kv options[] = {{"plugin", MOCK("echo")}};
  const vonk_bind_options bind = {.struct_size = sizeof bind, .batch_rows = 10};
  fixture_start(&b, ROWS);
  fixture_add(&b, "x", "f", NULL, values, NULL);
  VONK_TRY(vonk_model_open(path, options, 1, &model, err));
  vonk_status status = vonk_predictor_create(model, &b.schema, &bind, &predictor, err);
  if (status == VONK_OK) {
    status = vonk_predict(predictor, &b.array, &out, err);
  }
  if (status == VONK_OK) {
    out.release(&out);
  }
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  return status;
}

/* The child's exit code, or -1 if a signal ended it: SIGALRM, if it hung. */
static int wait_child(pid_t child) {
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_child_of_an_unused_process_works(void **state) {
  (void)state;
  vonk_set_threads(1); /* a sanitizer forbids threads in a child */
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    vonk_error err = VONK_ERROR_INIT;
    _exit(try_all(&err));
  }
  assert_int_equal(wait_child(child), VONK_OK);
}

static int check_in_child(const vonk_predictor *predictor) {
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  fixture_start(&b, ROWS);
  fixture_add(&b, "x", "f", NULL, values, NULL);
  if (vonk_predict(predictor, &b.array, &out, &err) != VONK_FORKED ||
      strstr(err.message, "'spawn' instead of 'fork'") == NULL) {
    return 1;
  }
  if (try_all(&err) != VONK_FORKED) {
    return 2;
  }
  vonk_predictor_cancel(
      (vonk_predictor *)(uintptr_t)predictor); /* must not hang either */
  vonk_stats stats = fixture_stats(predictor);
  return stats.rows == ROWS ? 0 : 3;
}

static void a_child_of_a_used_process_is_told(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  vonk_set_threads(4);
  fixture_start(&b, ROWS);
  fixture_add(&b, "x", "f", NULL, values, NULL);
  vonk_model *model = fixture_open(path, MOCK("echo"));
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 10};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(check_in_child(predictor));
  }
  assert_int_equal(wait_child(child), 0);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err); /* we go on */
  out.release(&out);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  assert_ok(try_all(&err), &err);
}

static int make_model(void **state) {
  int failed = fixture_make_folder(state);
  path = fixture_write("copy.mock", "input x f32 -1\noutput y = copy x\n");
  return failed;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_child_of_an_unused_process_works),
      cmocka_unit_test(a_child_of_a_used_process_is_told),
  };
  return cmocka_run_group_tests(tests, make_model, fixture_remove_folder);
}
