/* What vonk.h promises of binding and predicting, where a mock plug-in shows more than a
 * real framework: sizes of structs, untouched outputs, borrowed memory, plug-ins that
 * break their word. */
#define _GNU_SOURCE
#include "predict_fixture.h"

enum { ROWS = 300, WIDTH = 4 };

static float values[ROWS * WIDTH];
static const char *const copy_model = "input x f32 -1 4\noutput y = copy x\n";

static int fill_values(void **state) {
  for (int i = 0; i < ROWS * WIDTH; i++) {
    values[i] = (float)i;
  }
  vonk_set_threads(1);
  return fixture_make_folder(state);
}

static void make_batch(fixture_batch *b) {
  fixture_start(b, ROWS);
  fixture_add_lists(b, "x", "f", WIDTH, NULL, NULL, values);
}

/* --- struct sizes ------------------------------------------------------------------- */

static void an_older_bind_options_struct_is_read_as_far_as_it_goes(void **state) {
  (void)state;
  fixture_batch b;
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  options.batch_rows = 7;
  options.as = "nonsense"; /* beyond what this caller knew */
  options.struct_size = offsetof(vonk_bind_options, as);
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_int_equal(vonk_predictor_batch_rows(predictor), 7);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void a_newer_bind_options_struct_is_read_as_far_as_we_know(void **state) {
  (void)state;
  fixture_batch b;
  struct {
    vonk_bind_options known;
    char later[64];
  } options = {.known = VONK_BIND_OPTIONS_INIT};
  memset(options.later, 0xAA, sizeof options.later);
  options.known.struct_size = sizeof options;
  options.known.batch_rows = 9;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, &options.known);
  assert_int_equal(vonk_predictor_batch_rows(predictor), 9);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* int64 to float32 could lose digits: only who asks for SQL's casts gets it. */
static void sql_casts_let_whole_numbers_become_floats(void **state) {
  (void)state;
  static int64_t whole[ROWS * WIDTH];
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  vonk_predictor *predictor = NULL;
  for (int i = 0; i < ROWS * WIDTH; i++) {
    whole[i] = (INT64_C(1) << 40) + INT64_C(65537) * i;
  }
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "x", "l", WIDTH, NULL, NULL, whole);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "write CAST(x AS FLOAT[])");
  options.sql_casts = 1;
  predictor = fixture_bind(model, &b, &options);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  const float *found = out.children[0]->children[0]->buffers[1];
  for (int i = 0; i < ROWS * WIDTH; i++) {
    if (found[i] != (float)whole[i]) {
      fail_msg("element %d: expected %g, found %g", i, (double)(float)whole[i],
               (double)found[i]);
    }
  }
  out.release(&out);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void sql_casts_let_no_float_become_a_whole_number(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  vonk_predictor *predictor = NULL;
  options.sql_casts = 1;
  make_batch(&b);
  vonk_model *model = fixture_open(
      fixture_write("i.mock", "input x i64 -1 4\noutput y = copy x\n"), MOCK("echo"));
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "write CAST(x AS BIGINT[])");
  vonk_model_close(model);
}

static void a_bind_options_struct_without_size_is_refused(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  const vonk_bind_options options = {.batch_rows = 7};
  vonk_predictor *predictor = (vonk_predictor *)(uintptr_t)&err;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "struct_size is not set");
  assert_ptr_equal(predictor, (vonk_predictor *)(uintptr_t)&err);
  vonk_model_close(model);
}

static void stats_are_filled_as_far_as_struct_size_says(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  struct {
    vonk_stats known;
    uint64_t later;
  } stats;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  memset(&stats, 0xAA, sizeof stats);
  stats.known.struct_size = offsetof(vonk_stats, null_rows);
  vonk_predictor_stats(predictor, &stats.known);
  assert_int_equal(stats.known.rows, ROWS);
  assert_int_equal(stats.known.null_rows, UINT64_C(0xAAAAAAAAAAAAAAAA));
  stats.known.struct_size = sizeof stats;
  vonk_predictor_stats(predictor, &stats.known);
  assert_int_equal(stats.known.null_rows, 0);
  assert_int_equal(stats.known.struct_size, sizeof stats);
  assert_int_equal(stats.later, UINT64_C(0xAAAAAAAAAAAAAAAA));
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* --- failures leave outputs alone --------------------------------------------------- */

static void assert_predict_refuses(const vonk_predictor *predictor,
                                   const struct ArrowArray *rows, vonk_status code,
                                   const char *text) {
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowArray out, before;
  memset(&out, 0xAA, sizeof out);
  before = out;
  assert_fails(vonk_predict(predictor, rows, &out, &err), &err, code, text);
  assert_memory_equal(&out, &before, sizeof out);
  assert_int_equal(vonk_predict(predictor, rows, &out, NULL), code); /* err may be NULL */
  assert_memory_equal(&out, &before, sizeof out);
}

static void a_wrong_batch_is_refused(void **state) {
  (void)state;
  fixture_batch b;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  struct ArrowArray rows = b.array;
  rows.release = NULL;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "batch: ");
  rows = b.array;
  rows.n_children = 2;
  assert_predict_refuses(predictor, &rows, VONK_INVALID,
                         "batch: has 2 columns where the predictor was bound to 1");
  rows = b.array;
  rows.length = -1;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "batch: has length -1");
  rows = b.array;
  rows.offset = -1;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "batch: has length 300");
  rows = b.array;
  rows.length = ROWS + 1;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "column 'x'");
  rows.length = INT64_MAX;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "column 'x'");
  rows = b.array;
  rows.offset = 1;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "column 'x'");
  rows = b.array;
  rows.children = NULL;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "batch: ");
  struct ArrowArray *none[1] = {NULL};
  rows.children = none;
  assert_predict_refuses(predictor, &rows, VONK_INVALID, "column 'x'");
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void a_wrong_schema_is_refused(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  vonk_predictor *predictor = NULL;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  struct ArrowSchema schemas[4] = {b.schema, b.schema, b.schema, b.columns[0]};
  schemas[0].release = NULL;
  schemas[1].n_children = -1;
  schemas[2].children = NULL;
  for (size_t i = 0; i < 4; i++) {
    assert_fails(vonk_predictor_create(model, &schemas[i], NULL, &predictor, &err), &err,
                 VONK_INVALID, "columns: the schema is not a struct");
  }
  assert_fails(vonk_predictor_create(model, NULL, NULL, &predictor, &err), &err,
               VONK_INVALID, "columns: the schema is not a struct");
  struct ArrowSchema *none[1] = {NULL};
  struct ArrowSchema holed = b.schema;
  holed.children = none;
  assert_fails(vonk_predictor_create(model, &holed, NULL, &predictor, &err), &err,
               VONK_INVALID, "");
  assert_null(predictor);
  vonk_model_close(model);
}

static void inputs_and_schema_stay_the_callers(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  make_batch(&b);
  fixture_batch before = b;
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  assert_memory_equal(&b, &before, sizeof b);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* --- memory ------------------------------------------------------------------------- */

static void dense_rows_are_borrowed_and_results_written_in_place(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 100};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  int64_t before = fixture_counters(MOCK("echo")).preallocated;
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  mock_counters counters = fixture_counters(MOCK("echo"));
  assert_int_equal(counters.preallocated, before + 3);
  assert_int_equal(counters.last_input, (uintptr_t)&values[(size_t)200 * WIDTH]);
  assert_int_equal(fixture_stats(predictor).bytes_copied, 0);
  assert_memory_equal(out.children[0]->children[0]->buffers[1], values, sizeof values);
  assert_int_equal((uintptr_t)out.children[0]->children[0]->buffers[1] % 64, 0);
  out.release(&out);
  assert_null(out.release);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* --- plug-ins of several kinds ------------------------------------------------------ */

static void plugins_that_place_outputs_themselves_give_the_same(void **state) {
  (void)state;
  static const char *const plugins[] = {MOCK("echo"), MOCK("no_prealloc"),
                                        MOCK("exclusive"), MOCK("older_minor"),
                                        MOCK("newer_abi")};
  const uint8_t validity[] = {0xFE, 0xFF, 0xFF};
  for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++) {
    fixture_batch b;
    struct ArrowArray out;
    vonk_error err = VONK_ERROR_INIT;
    fixture_start(&b, 20);
    fixture_add_lists(&b, "x", "f", WIDTH, NULL, validity, values);
    vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), plugins[i]);
    const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 7};
    vonk_predictor *predictor = fixture_bind(model, &b, &options);
    assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
    const float *found = out.children[0]->children[0]->buffers[1];
    const float zeros[WIDTH] = {0};
    assert_int_equal(out.children[0]->null_count, 1);
    assert_memory_equal(found, zeros, sizeof zeros); /* under the NULL of row 0 */
    assert_memory_equal(found + WIDTH, values + WIDTH, 19 * sizeof zeros);
    out.release(&out);
    vonk_predictor_release(predictor);
    vonk_model_close(model);
    assert_int_equal(fixture_counters(plugins[i]).live_outputs, 0);
    assert_int_equal(fixture_counters(plugins[i]).live_sessions, 0);
  }
}

static void assert_model_fails(const char *text, const char *plugin, int32_t row_errors,
                               vonk_status code, const char *message) {
  fixture_batch b;
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", text), plugin);
  const vonk_bind_options options = {
      .struct_size = sizeof options, .batch_rows = 100, .row_errors = row_errors};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_predict_refuses(predictor, &b.array, code, message);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  assert_int_equal(fixture_counters(plugin).live_outputs, 0);
}

static void a_model_that_does_not_keep_to_its_signature_fails_the_call(void **state) {
  (void)state;
  /* too few rows, another number of dims, another dtype: no row's fault */
  assert_model_fails("input x f32 -1 4\noutput y = short x\n", MOCK("no_prealloc"),
                     VONK_ROWS_REPORT, VONK_MODEL,
                     "output 'y': came as float32[99, 4] for 100 rows where the "
                     "signature says float32[4] a row");
  assert_model_fails(copy_model, MOCK("wrong_dtype"), VONK_ROWS_RAISE, VONK_BACKEND,
                     "another dtype or shape");
}

static void a_row_that_the_plugin_names_is_counted_in_the_batch(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  float broken[ROWS * WIDTH];
  memcpy(broken, values, sizeof broken);
  broken[(size_t)257 * WIDTH] = -3;
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "x", "f", WIDTH, NULL, NULL, broken);
  vonk_model *model =
      fixture_open(fixture_write("m.mock", copy_model), MOCK("failing_row"));
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = 50};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_fails(vonk_predict(predictor, &b.array, &out, &err), &err, VONK_BACKEND,
               "-3 is negative");
  assert_int_equal(err.row, 257);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* Memory that suffices for 100 rows: halving goes on until it does, and no row is bad. */
static void a_run_short_of_memory_is_halved(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  make_batch(&b);
  vonk_model *model = fixture_open(
      fixture_write("m.mock",
                    "input x f32 -1 4\noutput y = copy x\noutput n = rows x\n"
                    "fail_rows 100\n"),
      MOCK("echo"));
  const vonk_bind_options options = {.struct_size = sizeof options, .batch_rows = ROWS};
  vonk_predictor *predictor = fixture_bind(model, &b, &options);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  assert_memory_equal(out.children[0]->children[0]->buffers[1], values, sizeof values);
  const int64_t *runs = out.children[1]->buffers[1];
  for (int i = 0; i < ROWS; i++) {
    assert_int_equal(runs[i], 75);
  }
  assert_int_equal(fixture_stats(predictor).error_rows, 0);
  out.release(&out);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void a_fixed_batch_is_padded_with_rows_of_the_batch(void **state) {
  (void)state;
  fixture_batch b;
  struct ArrowArray out;
  vonk_error err = VONK_ERROR_INIT;
  float positive[5 * WIDTH];
  for (int i = 0; i < 5 * WIDTH; i++) {
    positive[i] = (float)(i + 1);
  }
  fixture_start(&b, 5);
  fixture_add_lists(&b, "x", "f", WIDTH, NULL, NULL, positive);
  /* a padding of zeros would be refused */
  vonk_model *model = fixture_open(
      fixture_write("m.mock", "input x f32 32 4\noutput y = copy x\nfail x 0\n"),
      MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  assert_int_equal(out.length, 5);
  assert_memory_equal(out.children[0]->children[0]->buffers[1], positive,
                      sizeof positive);
  out.release(&out);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

/* --- maps --- */

static void a_name_mapped_twice_is_refused(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  vonk_predictor *predictor = NULL;
  const vonk_kv outputs[] = {{"y", "one"}, {"y", "two"}};
  const vonk_kv inputs[] = {{"x", "x"}, {"x", "x"}};
  const vonk_kv holed[] = {{"x", NULL}};
  make_batch(&b);
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  options.outputs = outputs;
  options.n_outputs = 2;
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "output map: 'y' is mapped twice");
  options.n_outputs = 0;
  options.inputs = inputs;
  options.n_inputs = 2;
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "input map: input 'x' is mapped twice");
  options.inputs = holed;
  options.n_inputs = 1;
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "input map: an entry has no column");
  options.inputs = NULL;
  assert_fails(vonk_predictor_create(model, &b.schema, &options, &predictor, &err), &err,
               VONK_INVALID, "a map has a count but no entries");
  assert_null(predictor);
  vonk_model_close(model);
}

static void an_option_given_twice_is_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const char *path = fixture_write("m.mock", copy_model);
  const vonk_kv options[] = {{"scale", "1"}, {"plugin", MOCK("echo")}, {"scale", "2"}};
  assert_fails(vonk_model_open(path, options, 3, &model, &err), &err, VONK_INVALID,
               "option scale: is given twice, as '1' and as '2': give it once");
  assert_fails(vonk_model_open(path, NULL, 1, &model, &err), &err, VONK_INVALID,
               "model options: there is a count of 1 but no entry");
  assert_null(model);
}

/* --- streams --- */

static struct {
  fixture_batch *batch;
  int given, arrays_released, sources_released;
} source;

static void release_counted(struct ArrowArray *array) {
  source.arrays_released++;
  array->release = NULL;
}
static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  (void)self;
  *out = source.batch->schema;
  return 0;
}
static int get_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  (void)self;
  *out = source.batch->array;
  out->release = source.given++ < 3 ? release_counted : NULL;
  return 0;
}
static const char *get_last_error(struct ArrowArrayStream *self) {
  (void)self;
  return NULL;
}
static void release_source(struct ArrowArrayStream *self) {
  source.sources_released++;
  self->release = NULL;
}

static void a_stream_releases_what_it_took(void **state) {
  (void)state;
  fixture_batch b;
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowArrayStream out, in = {.get_schema = get_schema,
                                     .get_next = get_next,
                                     .get_last_error = get_last_error,
                                     .release = release_source};
  struct ArrowArray rows;
  make_batch(&b);
  source.batch = &b;
  vonk_model *model = fixture_open(fixture_write("m.mock", copy_model), MOCK("echo"));
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict_stream(predictor, &in, &out, &err), &err);
  vonk_predictor_release(predictor); /* the stream keeps it */
  vonk_model_close(model);
  assert_null(in.release);
  for (int i = 1; i <= 3; i++) {
    assert_int_equal(out.get_next(&out, &rows), 0);
    assert_int_equal(rows.length, ROWS);
    rows.release(&rows);
    assert_int_equal(source.arrays_released, i);
  }
  assert_int_equal(out.get_next(&out, &rows), 0);
  assert_null(rows.release); /* the end */
  assert_int_equal(source.sources_released, 0);
  out.release(&out);
  assert_int_equal(source.sources_released, 1);
  assert_int_equal(fixture_counters(MOCK("echo")).live_models, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_older_bind_options_struct_is_read_as_far_as_it_goes),
      cmocka_unit_test(a_newer_bind_options_struct_is_read_as_far_as_we_know),
      cmocka_unit_test(sql_casts_let_whole_numbers_become_floats),
      cmocka_unit_test(sql_casts_let_no_float_become_a_whole_number),
      cmocka_unit_test(a_bind_options_struct_without_size_is_refused),
      cmocka_unit_test(stats_are_filled_as_far_as_struct_size_says),
      cmocka_unit_test(a_wrong_batch_is_refused),
      cmocka_unit_test(a_wrong_schema_is_refused),
      cmocka_unit_test(inputs_and_schema_stay_the_callers),
      cmocka_unit_test(dense_rows_are_borrowed_and_results_written_in_place),
      cmocka_unit_test(plugins_that_place_outputs_themselves_give_the_same),
      cmocka_unit_test(a_model_that_does_not_keep_to_its_signature_fails_the_call),
      cmocka_unit_test(a_row_that_the_plugin_names_is_counted_in_the_batch),
      cmocka_unit_test(a_run_short_of_memory_is_halved),
      cmocka_unit_test(a_fixed_batch_is_padded_with_rows_of_the_batch),
      cmocka_unit_test(a_name_mapped_twice_is_refused),
      cmocka_unit_test(an_option_given_twice_is_refused),
      cmocka_unit_test(a_stream_releases_what_it_took),
  };
  return cmocka_run_group_tests(tests, fill_values, fixture_remove_folder);
}
