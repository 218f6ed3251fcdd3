/* The example plug-in, used as an embedding program would: through vonk.h, and compared
 * with numbers worked out by hand. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdlib.h>

#include "unit.h"
#include "vonk/vonk.h"

#define PLUGIN VONK_MOCK_DIR "/../examples/vonk_linear.so"
#define MODEL VONK_EXAMPLES_DIR "/plugin/iris.linear"

enum { ROWS = 3, INPUTS = 4, OUTPUTS = 2 };
static const double rows[ROWS][INPUTS] = {
    {5.1, 3.5, 1.4, 0.2}, {7.0, 3.2, 4.7, 1.4}, {0.0, 0.0, 0.0, 0.0}};
/* 0.4 a + 1.4 b - 2.2 c - 1.0 d + 0.25, for example 2.04 + 4.9 - 3.08 - 0.2 + 0.25; and
 * the same with the sign turned. */
static const double expected[ROWS][OUTPUTS] = {
    {3.91, -3.91}, {-4.21, 4.21}, {0.25, -0.25}};

static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void release_array(struct ArrowArray *array) { array->release = NULL; }

/* Four columns a to d of doubles in a struct. */
typedef struct columns {
  struct ArrowSchema schema, schemas[INPUTS], *schema_pointers[INPUTS];
  struct ArrowArray array, arrays[INPUTS], *array_pointers[INPUTS];
  double values[INPUTS][ROWS];
  const void *buffers[INPUTS][2], *no_buffer[1];
} columns;

static void make_columns(columns *c) {
  static const char *const names[INPUTS] = {"a", "b", "c", "d"};
  *c = (columns){.no_buffer = {NULL}};
  for (size_t i = 0; i < INPUTS; i++) {
    for (size_t r = 0; r < ROWS; r++) {
      c->values[i][r] = rows[r][i];
    }
    c->buffers[i][1] = c->values[i];
    c->schemas[i] =
        (struct ArrowSchema){.format = "g", .name = names[i], .release = release_schema};
    c->arrays[i] = (struct ArrowArray){.length = ROWS,
                                       .n_buffers = 2,
                                       .buffers = c->buffers[i],
                                       .release = release_array};
    c->schema_pointers[i] = &c->schemas[i];
    c->array_pointers[i] = &c->arrays[i];
  }
  c->schema = (struct ArrowSchema){.format = "+s",
                                   .name = "",
                                   .n_children = INPUTS,
                                   .children = c->schema_pointers,
                                   .release = release_schema};
  c->array = (struct ArrowArray){.length = ROWS,
                                 .n_buffers = 1,
                                 .buffers = c->no_buffer,
                                 .n_children = INPUTS,
                                 .children = c->array_pointers,
                                 .release = release_array};
}

/* The predictions of the three rows with the options given. */
static void predict(const vonk_kv *options, size_t n_options, double out[ROWS][OUTPUTS]) {
  vonk_error err = {.struct_size = (uint32_t)sizeof(err)};
  vonk_model *model = NULL;
  vonk_predictor *predictor = NULL;
  columns c;
  make_columns(&c);
  vonk_status status = vonk_model_open(MODEL, options, n_options, &model, &err);
  if (status != VONK_OK) {
    fail_msg("vonk_model_open: %s", err.message);
  }
  status = vonk_predictor_create(model, &c.schema, NULL, &predictor, &err);
  if (status != VONK_OK) {
    fail_msg("vonk_predictor_create: %s", err.message);
  }
  struct ArrowArray result;
  status = vonk_predict(predictor, &c.array, &result, &err);
  if (status != VONK_OK) {
    fail_msg("vonk_predict: %s", err.message);
  }
  assert_int_equal(result.length, ROWS);
  assert_int_equal(result.n_children, 1);
  const struct ArrowArray *numbers = result.children[0]->children[0];
  const float *values = numbers->buffers[1];
  for (size_t i = 0; i < (size_t)ROWS * OUTPUTS; i++) {
    out[i / OUTPUTS][i % OUTPUTS] = (double)values[(size_t)numbers->offset + i];
  }
  result.release(&result);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void expect_near(double found, double wanted, size_t row, size_t column) {
  if (!(fabs(found - wanted) < 1e-5)) {
    fail_msg("row %zu, output %zu: %.9g, expected %.9g", row, column, found, wanted);
  }
}

static void test_predicts_what_was_worked_out(void **state) {
  (void)state;
  const vonk_kv options[] = {{"plugin", PLUGIN}};
  double found[ROWS][OUTPUTS];
  predict(options, 1, found);
  for (size_t r = 0; r < ROWS; r++) {
    for (size_t i = 0; i < OUTPUTS; i++) {
      expect_near(found[r][i], expected[r][i], r, i);
    }
  }
}

static void test_takes_its_option(void **state) {
  (void)state;
  const vonk_kv options[] = {{"plugin", PLUGIN}, {"activation", "sigmoid"}};
  double found[ROWS][OUTPUTS];
  predict(options, 2, found);
  for (size_t r = 0; r < ROWS; r++) {
    for (size_t i = 0; i < OUTPUTS; i++) {
      expect_near(found[r][i], 1.0 / (1.0 + exp(-expected[r][i])), r, i);
    }
  }
}

/* Writes text to a file and expects that opening it fails with a message that contains
 * words. */
static void expect_refusal(const char *text, vonk_status wanted, const char *words) {
  char path[] = "/tmp/vonk-test-XXXXXX";
  FILE *file = fdopen(mkstemp(path), "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  vonk_error err = {.struct_size = (uint32_t)sizeof(err)};
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"plugin", PLUGIN}};
  vonk_status status = vonk_model_open(path, options, 1, &model, &err);
  remove(path);
  if (status != wanted || strstr(err.message, words) == NULL) {
    fail_msg("'%s': status %d, message '%s', expected %d, '%s'", text, status,
             err.message, wanted, words);
  }
  assert_null(model);
}

static void test_damaged_files_are_refused(void **state) {
  (void)state;
  expect_refusal("", VONK_MODEL, "is no linear model");
  expect_refusal("linear 2", VONK_MODEL, "line 1: is 'linear 2': expected");
  expect_refusal("linear 2 1 7\n", VONK_MODEL, "line 1: is 'linear 2 1 7': expected");
  expect_refusal("linear 0 1\n", VONK_MODEL, "numbers from 1 to 4096");
  expect_refusal("linear 99999 99999\n", VONK_MODEL, "numbers from 1 to 4096");
  expect_refusal("linear 2 1\n", VONK_MODEL, "ends after 0 of 1 lines");
  expect_refusal("linear 2 1\n1,2\n", VONK_MODEL, "line 2: number 2 cannot be read");
  expect_refusal("linear 2 1\n1,2,3,4\n", VONK_MODEL, "line 2: number 3 cannot be read");
  expect_refusal("linear 1 1\n# c\nx,1\n", VONK_MODEL, "line 3: number 1 cannot be read");
  expect_refusal("linear 1 1\nnan,1\n", VONK_MODEL, "number 1 cannot be read");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_predicts_what_was_worked_out),
      cmocka_unit_test(test_takes_its_option),
      cmocka_unit_test(test_damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
