/* What a bundle adds to predictions, where every allocation fails once: labels, the largest
 * classes, steps of preprocessing and the self-test. The call then says VONK_NOMEM and
 * leaves its outputs alone; nothing leaks (the address sanitizer looks). tests/predict
 * compares the values with NumPy. */
#define _GNU_SOURCE
#include "bundle_fixture.h"

enum { ROWS = 20, WIDTH = 3 };

/* x of the self-test is "@@@@..." and y twice that: 3.0039 and 6.0078 as floats. */
static const fixture_file files[] = {
    {"model/net.mock", "input x f32 -1 3\noutput y = copy x\n"},
    {"labels.txt", "low\nmiddle\nhigh\n"},
    {"x.bin", "@@@@@@@@@@@@@@@@@@@@@@@@"},
    {"y.bin", "@@\xc0@@@\xc0@@@\xc0@@@\xc0@@@\xc0@@@\xc0@"},
    {NULL, NULL}};

#define PORT(NAME, MORE)                         \
  "{\"name\": \"" NAME "\", \"tensor\": \"" NAME \
  "\", \"dtype\": \"float32\","                  \
  " \"shape\": [-1, 3]" MORE "}"
static const char described[] =
    "\"vonk_bundle\": 1,"
    "\"model\": {\"format\": \"mock\", \"path\": \"model/net.mock\"},"
    "\"inputs\": [" PORT("x", "") "],"
    "\"outputs\": [" PORT("y", ", \"labels\": \"labels.txt\"") "],"
    "\"preprocess\": ["
    " {\"op\": \"rescale\", \"input\": \"x\", \"scale\": [4, 4, 4], \"offset\": 0},"
    " {\"op\": \"normalize\", \"input\": \"x\", \"mean\": 0, \"std\": 2}],"
    "\"selftest\": {\"rows\": 2, \"tolerance\": 1e-5,"
    " \"inputs\": {\"x\": {\"shape\": [2, 3], \"file\": \"x.bin\"}},"
    " \"outputs\": {\"y\": {\"shape\": [2, 3], \"file\": \"y.bin\"}}}";

static vonk_model *open_bundle(void) {
  return fixture_open(fixture_zip("net.vonk", described, files), MOCK("echo"));
}

/* Runs `work` with the first, second, ... allocation failing, until none is left. */
static void fail_each_allocation(vonk_status (*work)(vonk_model *, vonk_error *),
                                 vonk_model *model) {
  int n_failed = 0;
  for (int64_t n = 1;; n++) {
    vonk_error err = VONK_ERROR_INIT;
    int64_t before = vonk_memory_fail_at(n);
    vonk_status status = work(model, &err);
    int64_t made = vonk_memory_fail_at(0) - before;
    if (status != VONK_OK && status != VONK_NOMEM) {
      print_error("allocation %lld: %s: %s\n", (long long)n, vonk_status_name(status),
                  err.message);
    }
    assert_true(status == VONK_OK || status == VONK_NOMEM);
    if (made < n) {
      assert_int_equal(status, VONK_OK);
      break;
    }
    n_failed += status == VONK_NOMEM;
  }
  assert_true(n_failed > 10);
}

/* --- predictions --------------------------------------------------------------------- */

static const char *form; /* of the predictions: `as` */

static vonk_status predict(vonk_model *model, vonk_error *err) {
  static float values[ROWS * WIDTH];
  static const uint8_t validity[] = {0xfb, 0xff, 0x0f}; /* row 2 is NULL */
  fixture_batch b;
  vonk_predictor *predictor = NULL;
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  struct ArrowSchema schema = {0};
  struct ArrowArray out;
  options.as = form;
  options.batch_rows = 8;
  for (int i = 0; i < ROWS * WIDTH; i++) {
    values[i] = (float)(i % 4);
  }
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "x", "f", WIDTH, NULL, validity, values);
  VONK_TRY(vonk_predictor_create(model, &b.schema, &options, &predictor, err));
  vonk_status status = vonk_predictor_schema(predictor, &schema, err);
  if (status == VONK_OK) {
    schema.release(&schema);
    status = vonk_predict(predictor, &b.array, &out, err);
  }
  if (status == VONK_OK) {
    assert_int_equal(out.length, ROWS);
    assert_int_equal(out.children[0]->null_count, 1);
    out.release(&out);
  }
  vonk_predictor_release(predictor);
  return status;
}

static void predictions_survive_failing_allocations(void **state) {
  (void)state;
  static const char *const forms[] = {"", "argmax", "label", "top2", "top1000"};
  vonk_model *model = open_bundle();
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    form = forms[i];
    fail_each_allocation(predict, model);
  }
  vonk_model_close(model);
}

/* --- the self-test ------------------------------------------------------------------- */

static vonk_status selftest(vonk_model *model, vonk_error *err) {
  double difference = -1.0;
  vonk_status status = vonk_model_selftest(model, &difference, err);
  if (difference != (status == VONK_OK ? 0.0 : -1.0)) {
    fail_msg("%s: difference %g", vonk_status_name(status), difference);
  }
  return status;
}

static void the_self_test_survives_failing_allocations(void **state) {
  (void)state;
  vonk_model *model = open_bundle();
  fail_each_allocation(selftest, model);
  vonk_model_close(model);
}

static void the_difference_need_not_be_asked_for(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = open_bundle();
  assert_ok(vonk_model_selftest(model, NULL, &err), &err);
  assert_ok(vonk_model_selftest(model, NULL, NULL), &err);
  vonk_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(predictions_survive_failing_allocations),
      cmocka_unit_test(the_self_test_survives_failing_allocations),
      cmocka_unit_test(the_difference_need_not_be_asked_for),
  };
  vonk_set_threads(1);
  return cmocka_run_group_tests(tests, fixture_make_folder, fixture_remove_folder);
}
