/* Every allocation of opening, binding, predicting and emitting fails once: the call then
 * says VONK_NOMEM and leaves its outputs alone, or succeeds all the same; nothing leaks
 * (the address sanitizer and the mock's counters look). */
#define _GNU_SOURCE
#include <errno.h>

#include "predict_fixture.h"

enum { ROWS = 40 };

typedef struct scenario {
  const char *name, *model, *plugin;
  void (*make)(fixture_batch *);
  vonk_bind_options options;
  bool streams;
} scenario;

/* --- batches ------------------------------------------------------------------------ */

static float numbers[ROWS * 4];
static int64_t ids[ROWS], decimals[2 * ROWS];
static int32_t even_offsets[ROWS + 1], ragged_offsets[ROWS + 1];
static const uint8_t validity[] = {0xF7, 0xFF, 0xDF, 0xFF, 0x7F}; /* three NULLs */
static const char words[ROWS * 4 + 1];

static void make_fixed(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add_lists(b, "x", "f", 4, NULL, validity, numbers);
}
static void make_lists(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add_lists(b, "x", "f", 0, even_offsets, NULL, numbers);
}
static void make_ragged(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add_lists(b, "x", "f", 0, ragged_offsets, validity, numbers);
}
static void make_text(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add(b, "x", "u", validity, words, ragged_offsets);
}
static void make_bytes(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add(b, "x", "z", validity, words, ragged_offsets);
}
static void make_signed(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add(b, "id", "l", NULL, ids, NULL);
  fixture_add(b, "price", "d:10,2", validity, decimals, NULL);
}
static void make_scalars(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add(b, "a", "f", NULL, numbers, NULL);
  fixture_add(b, "b", "f", validity, numbers, NULL);
  fixture_add(b, "c", "f", NULL, numbers + ROWS, NULL);
}
static void make_several(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add(b, "when", "tsu:", NULL, ids, NULL); /* no tensor can hold it */
  fixture_add_lists(b, "x", "f", 0, ragged_offsets, NULL, numbers);
  fixture_add(b, "id", "l", NULL, ids, NULL);
  fixture_add(b, "word", "u", NULL, words, ragged_offsets);
}

#define OPTIONS .struct_size = (uint32_t)sizeof(vonk_bind_options), .batch_rows = 8
static const vonk_kv map_of_x[] = {{"x", "a,b,c"}};
static const vonk_kv map_of_y[] = {{"y", "renamed"}};

static const scenario scenarios[] = {
    {"fixed lists, results in place",
     "input x f32 -1 4\noutput y = copy x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS},
     false},
    {"bad rows reported",
     "input x f32 -1 4\noutput y = copy x\nfail x 20\n",
     MOCK("echo"),
     make_lists,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT},
     false},
    {"NULLs refused",
     "input x f32 -1 4\noutput y = copy x\n",
     MOCK("echo"),
     make_lists,
     {OPTIONS, .nulls = VONK_NULLS_ERROR},
     false},
    {"converted",
     "input x f64 -1 4\noutput y bool -1 2 2 = copy x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS},
     false},
    {"argmax of float64",
     "input x f64 -1 2 2\noutput y = copy x\n",
     MOCK("echo"),
     make_lists,
     {OPTIONS, .as = "argmax"},
     false},
    {"the two largest of float16",
     "input x f16 -1 4\noutput y = copy x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS, .as = "top2", .row_errors = VONK_ROWS_REPORT},
     false},
    {"the two largest of rows of many lengths",
     "input x f32 -1 -1\noutput y = copy x\n",
     MOCK("echo"),
     make_ragged,
     {OPTIONS, .as = "top2"},
     false},
    {"rows of many lengths",
     "input x f32 -1 -1\noutput y = copy x\noutput n = length x\n",
     MOCK("echo"),
     make_ragged,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT},
     false},
    {"nested results",
     "input x f32 -1 -1\noutput y f32 -1 -1 1 = copy x\n",
     MOCK("no_prealloc"),
     make_ragged,
     {OPTIONS, .row_errors = VONK_ROWS_NULL},
     false},
    {"text",
     "input x string -1\noutput y = copy x\noutput z string -1 1 = copy x\n",
     MOCK("echo"),
     make_text,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT},
     false},
    {"lists with offsets",
     "input x f32 -1 2 2\noutput y = copy x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT, .variable_lists = 1},
     false},
    {"bytes, few of which are a row",
     "input x u8 -1 4\noutput y = copy x\n",
     MOCK("echo"),
     make_bytes,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT, .signed_integers = 1},
     false},
    {"signed integers, some of which fit, and decimals",
     "input id u8 -1\ninput price f32 -1\noutput y = copy id\noutput z = copy price\n",
     MOCK("echo"),
     make_signed,
     {OPTIONS, .row_errors = VONK_ROWS_REPORT, .signed_integers = 1, .sql_casts = 1},
     false},
    {"packed columns",
     "input x f32 -1 3\noutput y = sum x\noutput z = copy x\n",
     MOCK("echo"),
     make_scalars,
     {OPTIONS, .inputs = map_of_x, .n_inputs = 1, .outputs = map_of_y, .n_outputs = 1},
     false},
    {"several inputs of an exclusive plug-in",
     "input x f32 -1 -1\ninput id i64 -1\ninput word string -1\n"
     "output y = sum x\noutput i = copy id\noutput w = copy word\n",
     MOCK("exclusive"),
     make_several,
     {OPTIONS},
     false},
    {"a fixed batch",
     "input x f32 16 4\noutput y = copy x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS, .squeeze = 1},
     false},
    {"a stream",
     "input x f32 -1 4\noutput y = sum x\n",
     MOCK("echo"),
     make_fixed,
     {OPTIONS},
     true},
};

/* --- a source of one batch ---------------------------------------------------------- */

typedef struct one_batch {
  fixture_batch *batch;
  int given;
} one_batch;

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  *out = ((one_batch *)self->private_data)->batch->schema;
  return 0;
}
static int get_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  one_batch *source = self->private_data;
  *out = (struct ArrowArray){0};
  if (source->given++ == 0) {
    *out = source->batch->array;
  }
  return 0;
}
static const char *get_last_error(struct ArrowArrayStream *self) {
  (void)self;
  return "the source failed";
}
static void release_source(struct ArrowArrayStream *self) { self->release = NULL; }

static vonk_status stream(const vonk_predictor *predictor, fixture_batch *b,
                          vonk_error *err) {
  one_batch source = {.batch = b};
  struct ArrowArrayStream in = {get_schema, get_next, get_last_error, release_source,
                                &source};
  struct ArrowArrayStream out;
  memset(&out, 0xAA, sizeof out);
  const struct ArrowArrayStream before = out;
  struct ArrowArray rows = {0};
  vonk_status status = vonk_predict_stream(predictor, &in, &out, err);
  if (status != VONK_OK) {
    assert_memory_equal(&out, &before, sizeof out);
    assert_non_null(in.release); /* it is still ours */
    return status;
  }
  assert_null(in.release);
  int code = out.get_next(&out, &rows);
  if (code == 0) {
    assert_int_equal(rows.length, ROWS);
    rows.release(&rows);
  } else {
    assert_int_equal(code, ENOMEM);
    assert_non_null(strstr(out.get_last_error(&out), "memory"));
    err->code = status = VONK_NOMEM;
  }
  out.release(&out);
  assert_null(out.release);
  return status;
}

/* --- one try ------------------------------------------------------------------------ */

static vonk_status predict(const scenario *s, const vonk_predictor *predictor,
                           fixture_batch *b, vonk_error *err) {
  struct ArrowArray out;
  struct ArrowSchema schema;
  memset(&schema, 0xAA, sizeof schema);
  const struct ArrowSchema schema_before = schema;
  vonk_status status = vonk_predictor_schema(predictor, &schema, err);
  if (status != VONK_OK) {
    assert_memory_equal(&schema, &schema_before, sizeof schema);
    return status;
  }
  schema.release(&schema);
  if (s->streams) {
    return stream(predictor, b, err);
  }
  memset(&out, 0xAA, sizeof out);
  const struct ArrowArray before = out;
  status = vonk_predict(predictor, &b->array, &out, err);
  if (status != VONK_OK) {
    assert_memory_equal(&out, &before, sizeof out);
    return status;
  }
  assert_int_equal(out.length, ROWS);
  out.release(&out);
  return VONK_OK;
}

static vonk_status try_all(const scenario *s, const char *path, vonk_error *err) {
  fixture_batch b;
  vonk_model *model = NULL;
  vonk_predictor *predictor = NULL;
  const vonk_kv options[] = {{"plugin", s->plugin}, {"scale", "1"}};
  s->make(&b);
  vonk_status status = vonk_model_open(path, options, 2, &model, err);
  if (status != VONK_OK) {
    assert_null(model);
    return status;
  }
  status = vonk_predictor_create(model, &b.schema, &s->options, &predictor, err);
  if (status == VONK_OK) {
    status = predict(s, predictor, &b, err);
  } else {
    assert_null(predictor);
  }
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  return status;
}

static void fail_each_allocation(const scenario *s) {
  char path[160];
  int n_failed = 0, n_survived = 0;
  snprintf(path, sizeof path, "%s", fixture_write("m.mock", s->model));
  for (int64_t n = 1;; n++) {
    vonk_error err = VONK_ERROR_INIT;
    int64_t before = vonk_memory_fail_at(n);
    vonk_status status = try_all(s, path, &err);
    int64_t made = vonk_memory_fail_at(0) - before;
    if (status != VONK_OK && status != VONK_NOMEM) {
      print_error("%s, allocation %lld: %s: %s\n", s->name, (long long)n,
                  vonk_status_name(status), err.message);
    }
    assert_true(status == VONK_OK || status == VONK_NOMEM);
    assert_int_equal(status, err.code);
    if (made < n) {
      assert_int_equal(status, VONK_OK);
      break;
    }
    n_failed += status != VONK_OK;
    n_survived += status == VONK_OK;
    assert_true(n < 10000);
  }
  mock_counters counters = fixture_counters(s->plugin);
  assert_int_equal(counters.live_models, 0);
  assert_int_equal(counters.live_sessions, 0);
  assert_int_equal(counters.live_outputs, 0);
  assert_true(n_failed > 20); /* the hook was really there */
  print_message("%s: %d failed, %d succeeded all the same\n", s->name, n_failed,
                n_survived);
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
    fail_each_allocation(&scenarios[i]);
  }
}

/* With helpers: which allocation fails is chance, what may come out is not. */
static void every_allocation_may_fail_with_helpers(void **state) {
  (void)state;
  vonk_set_threads(3);
  for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
    fail_each_allocation(&scenarios[i]);
  }
  vonk_shutdown();
  vonk_set_threads(1);
}

/* Messages of a call that fails for lack of memory need none. */
static void the_message_says_how_much_was_asked_for(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  char path[160];
  snprintf(path, sizeof path, "%s", fixture_write("m.mock", scenarios[0].model));
  vonk_memory_fail_at(1);
  assert_fails(try_all(&scenarios[0], path, &err), &err, VONK_NOMEM, "bytes");
  vonk_memory_fail_at(0);
}

static int fill(void **state) {
  for (int i = 0; i < ROWS * 4; i++) {
    numbers[i] = (float)i;
  }
  for (int i = 0; i < ROWS; i++) {
    ids[i] = i;
    decimals[2 * i] = 100 * i + 25;
    even_offsets[i + 1] = even_offsets[i] + 4;
    ragged_offsets[i + 1] = ragged_offsets[i] + i % 5;
  }
  vonk_set_threads(1);
  return fixture_make_folder(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_allocation_may_fail),
      cmocka_unit_test(every_allocation_may_fail_with_helpers),
      cmocka_unit_test(the_message_says_how_much_was_asked_for),
  };
  return cmocka_run_group_tests(tests, fill, fixture_remove_folder);
}
