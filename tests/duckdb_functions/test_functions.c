/* The SQL functions in a DuckDB that this program holds: results against vonk_predict
 * itself, bad rows, reloads, ends of queries, and a DuckDB without the v1.5.6 band. */
#define _GNU_SOURCE /* setenv, usleep */
#include <pthread.h>
#include <stdatomic.h>

#include "duckdb_functions/database.h"
#include "engines/duckdb/functions/internal.h"

static const char *const copy_3 = "input x f32 -1 3\noutput y = copy x\n";

/* --- what is predicted -------------------------------------------------------------- */

/* mnist.onnx over rows of made-up pixels, in SQL and without DuckDB. */
static void a_typed_call_gives_the_bits_of_vonk_predict(void **state) {
  (void)state;
  enum { ROWS = 3000, WIDTH = 784 };
  static float pixels[ROWS * WIDTH];
  database d;
  fixture_batch b;
  struct ArrowArray expected;
  vonk_model *model;
  vonk_error err = VONK_ERROR_INIT;
  for (int i = 0; i < ROWS * WIDTH; i++) {
    pixels[i] = (float)(i * 7 % 255) / 255.0F;
  }
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "pixels", "f", WIDTH, NULL, NULL, pixels);
  assert_ok(vonk_model_open(VONK_EXAMPLES_DIR "/mnist/mnist.onnx", NULL, 0, &model, &err),
            &err);
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict(predictor, &b.array, &expected, &err), &err);
  const float *values = expected.children[0]->children[0]->buffers[1];

  database_open(&d, "1");
  run(d.user, "FROM vonk_load('digit', '" VONK_EXAMPLES_DIR "/mnist/mnist.onnx')");
  run(d.user,
      "CREATE TABLE t AS SELECT r, list((((r * 784 + i) * 7 %% 255)::FLOAT / 255::FLOAT) "
      "ORDER BY i) AS x FROM range(%d) a(r), range(784) c(i) GROUP BY r",
      ROWS);
  duckdb_result result;
  assert_int_equal(duckdb_query(d.user, "SELECT digit(x) FROM t ORDER BY r", &result),
                   DuckDBSuccess);
  int64_t row = 0;
  for (duckdb_data_chunk chunk; (chunk = duckdb_fetch_chunk(result)) != NULL;) {
    const float *found = duckdb_vector_get_data(
        duckdb_array_vector_get_child(duckdb_data_chunk_get_vector(chunk, 0)));
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk) * 10; i++) {
      float want = values[(size_t)row * 10 + i], got = found[i];
      if (want - got > 1e-6F || got - want > 1e-6F) {
        fail_msg("row %d, class %d: expected %g, found %g", (int)row + (int)i / 10,
                 (int)i % 10, (double)want, (double)got);
      }
    }
    row += (int64_t)duckdb_data_chunk_get_size(chunk);
    duckdb_destroy_data_chunk(&chunk);
  }
  assert_int_equal(row, ROWS);
  duckdb_destroy_result(&result);
  assert_int_equal(vonk_sql_rows(d.sql), ROWS);
  database_close(&d);
  expected.release(&expected);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
}

static void wide_numbers_reach_the_model_as_duckdb_would_cast_them(void **state) {
  (void)state;
  static const char *const expressions[] = {
      "1.5::DECIMAL(4,1)",
      "-12345.678::DECIMAL(9,3)",
      "123456789.25::DECIMAL(18,2)",
      "-99999999999999999999.5::DECIMAL(38,10)",
      "170141183460469231731687303715884105727::HUGEINT",
      "-1::HUGEINT",
      "'-170141183460469231731687303715884105728'::HUGEINT",
      "170141183460469231731687303715884105729::UHUGEINT",
      "18446744073709551616::HUGEINT",
      "-18446744073709551616::HUGEINT",
      "9007199254740993::BIGINT",
      "18446744073709551615::UBIGINT",
  };
  database d;
  char sql[512];
  database_open(&d, "1");
  load_mock(d.user, "wide", "echo", "input x f64 -1\noutput y = copy x\n", "");
  for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++) {
    snprintf(
        sql, sizeof sql,
        "SELECT CASE WHEN p = x::DOUBLE::FLOAT THEN 'same' ELSE p || ' is not ' || x "
        "END FROM (SELECT vonk_predict('wide', x)[1] AS p, x FROM (SELECT %s AS x))",
        expressions[i]);
    assert_rows(d.user, sql, "same");
  }
  database_close(&d);
}

/* --- bad rows ----------------------------------------------------------------------- */

static void a_row_that_the_model_refuses_is_alone(void **state) {
  (void)state;
  database d;
  database_open(&d, "2");
  run(d.user,
      "CREATE TABLE t AS SELECT i, [CASE WHEN i = 1234 THEN -1 ELSE i END, 0, 0]"
      "::FLOAT[] AS x FROM range(3000) r(i)");
  load_mock(d.user, "picky", "failing_row", copy_3, "");
  load_mock(d.user, "mild", "failing_row", copy_3, ", on_error := 'null'");
  load_mock(d.user, "frank", "failing_row", copy_3, ", on_error := 'report'");
  assert_error(d.user, "SELECT count(picky(x)) FROM t", "model 'picky': ");
  assert_error(d.user, "SELECT count(picky(x)) FROM t", "-1 is negative");
  assert_rows(d.user,
              "SELECT string_agg(i::VARCHAR || ' ' || e.error, ',') FROM (SELECT i, "
              "try_picky(x) AS e FROM t) WHERE e.value IS NULL",
              "1234 row 0: -1 is negative");
  assert_rows(
      d.user,
      "SELECT count(*)::VARCHAR FROM t WHERE i <> 1234 AND try_picky(x).value[1] = i",
      "2999");
  assert_rows(d.user, "SELECT string_agg(i::VARCHAR, ',') FROM t WHERE mild(x) IS NULL",
              "1234");
  assert_rows(d.user, "SELECT string_agg(frank(x).error, ',') FROM t WHERE i > 1200",
              "row 0: -1 is negative");
  assert_rows(d.user, "SELECT error_rows::VARCHAR FROM vonk_models() WHERE name = 'mild'",
              "1");
  database_close(&d);
}

static void text_that_is_not_utf8_is_an_error_and_never_null(void **state) {
  (void)state;
  static const char *const bad[] = {"\\xFF",
                                    "ab\\x80cd",
                                    "\\xC0\\xAF",
                                    "\\xED\\xA0\\x80",
                                    "\\xF4\\x90\\x80\\x80",
                                    "\\xE2\\x82",
                                    "\\xF0\\x8F\\xBF\\xBF"};
  database d;
  char sql[256];
  database_open(&d, "1");
  load_mock(d.user, "w", "echo", "input x string -1\noutput y = copy x\n", "");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    snprintf(sql, sizeof sql,
             "SELECT w(x) FROM (VALUES ('good'::BLOB), ('%s'::BLOB)) t(x)", bad[i]);
    assert_error(d.user, sql, "model 'w': the model gave text that is not UTF-8");
  }
  assert_rows(d.user, "SELECT w('a\u00FC\u20AC\U0001F600\U0010FFFF\uD7FF'::VARCHAR)",
              "a\u00FC\u20AC\U0001F600\U0010FFFF\uD7FF");
  database_close(&d);
}

/* --- names and reloads -------------------------------------------------------------- */

static void a_detached_database_reloads_names_and_takes_no_new_ones(void **state) {
  (void)state;
  database d;
  database_open(&d, "1");
  load_mock(d.user, "m", "echo", copy_3, "");
  vonk_sql_detach(d.sql, "nobody keeps a connection: name the models in VONK_MODELS");
  duckdb_disconnect(&d.kept);
  load_mock(d.user, "m", "echo", copy_3, "");
  assert_rows(d.user, "SELECT m([1, 2, 3])::VARCHAR", "[1.0, 2.0, 3.0]");
  char sql[512];
  snprintf(sql, sizeof sql, "FROM vonk_load('n', '%s/m.mock', plugin := '%s')",
           fixture_folder, MOCK("echo"));
  assert_error(d.user, sql, "vonk_load: 'n': nobody keeps a connection");
  assert_rows(d.user, "SELECT string_agg(name, ',') FROM vonk_models()", "m");
  database_close(&d);
}

static void functions_outlive_whoever_made_them(void **state) {
  (void)state;
  database d;
  database_open(&d, "1");
  load_mock(d.user, "m", "echo", copy_3, "");
  vonk_sql_detach(d.sql, "gone");
  vonk_sql_release(d.sql);
  duckdb_disconnect(&d.kept);
  assert_rows(d.user, "SELECT m([1, 2, 3])::VARCHAR", "[1.0, 2.0, 3.0]");
  assert_rows(d.user, "SELECT unloaded::VARCHAR FROM vonk_unload('m')", "true");
  assert_error(d.user, "SELECT m([1, 2, 3])", "model 'm' is not loaded");
  duckdb_disconnect(&d.user);
  duckdb_close(&d.database);
}

static void a_bad_entry_of_the_list_is_shown_and_stops_nothing(void **state) {
  (void)state;
  database d;
  char list[512];
  database_open(&d, "1");
  snprintf(list, sizeof list,
           "flower=" VONK_EXAMPLES_DIR "/iris/iris.onnx:/no/such/2nd-model.onnx::"  //
           VONK_EXAMPLES_DIR "/mnist:abs=" VONK_EXAMPLES_DIR "/iris/iris.onnx");
  vonk_sql_load_listed(d.sql, list);
  assert_rows(
      d.user,
      "SELECT name || ' ' || loaded || ' ' || coalesce(split_part(error, ':', -1), "
      "'-') FROM vonk_models()",
      "flower true -|_2nd_model false  No such file or directory|"
      "digit false  vonk pack digit.keras -o digit.vonk|"
      "digit_torch false  vonk pack digit_torch.pt -o digit_torch.vonk|mnist true -|"
      "abs false  choose another name");
  assert_rows(d.user, "SELECT flower(6.0, 3.0, 5.0, 1.8).species", "virginica");
  assert_rows(d.user, "SELECT abs(-2)::VARCHAR", "2");
  database_close(&d);
}

/* --- ending queries ----------------------------------------------------------------- */

typedef struct running_query {
  duckdb_connection connection;
  const char *sql;
  char found[RESULT_BYTES];
  bool ok;
  _Atomic bool done;
} running_query;

static void *run_query(void *arg) {
  running_query *q = arg;
  q->ok = query(q->connection, q->sql, q->found);
  atomic_store(&q->done, true);
  return NULL;
}

static bool never(duckdb_client_context context) {
  (void)context;
  return false;
}

/* Until n predictions are in flight. */
static void wait_for(vonk_sql *sql, size_t n) {
  for (int i = 0; vonk_sql_cancel_interrupted(sql, 0, never) < n; i++) {
    assert_true(i < 60000);
    usleep(1000);
  }
}

static const char *const slow_3 = "input x f32 -1 3\noutput y = copy x\nsleep_ms 2000\n";

static void a_cancelled_query_ends_and_the_next_one_runs(void **state) {
  (void)state;
  database d;
  pthread_t thread;
  running_query q = {.sql = "SELECT m([i, 2, 3])::VARCHAR FROM range(1) r(i)"};
  database_open(&d, "1");
  load_mock(d.user, "m", "slow", slow_3, "");
  q.connection = d.user;
  assert_int_equal(pthread_create(&thread, NULL, run_query, &q), 0);
  wait_for(d.sql, 1);
  vonk_sql_cancel(d.sql);
  pthread_join(thread, NULL);
  assert_false(q.ok);
  assert_non_null(strstr(q.found, "model 'm': "));
  assert_rows(d.user, "SELECT m([i, 2, 3])::VARCHAR FROM range(1) r(i)",
              "[0.0, 2.0, 3.0]");
  database_close(&d);
}

static _Atomic(uint64_t) wanted_connection;

static bool is_wanted(duckdb_client_context context) {
  return duckdb_client_context_get_connection_id(context) ==
         atomic_load(&wanted_connection);
}

/* Two queries of one model: the one whose database asks for it is ended, its neighbour
 * goes on to its end. */
static void an_interrupt_ends_the_query_it_is_meant_for(void **state) {
  (void)state;
  database d;
  pthread_t threads[2];
  running_query queries[2];
  database_open(&d, "2");
  load_mock(d.user, "m", "slow", "input x f32 -1 3\noutput y = copy x\nsleep_ms 3000\n",
            "");
  for (int i = 0; i < 2; i++) {
    queries[i] =
        (running_query){.connection = database_connect(&d),
                        .sql = "SELECT m([i, 2, 3])::VARCHAR FROM range(1) r(i)"};
    assert_int_equal(pthread_create(&threads[i], NULL, run_query, &queries[i]), 0);
  }
  wait_for(d.sql, 2);
  duckdb_client_context context;
  duckdb_connection_get_client_context(queries[1].connection, &context);
  atomic_store(&wanted_connection, duckdb_client_context_get_connection_id(context));
  duckdb_destroy_client_context(&context);
  assert_int_equal(vonk_sql_cancel_interrupted(d.sql, UINT64_C(3600000000000), is_wanted),
                   2);
  assert_false(atomic_load(&queries[1].done)); /* too young */
  (void)vonk_sql_cancel_interrupted(d.sql, 1, is_wanted);
  for (int i = 1; i >= 0; i--) {
    pthread_join(threads[i], NULL);
    duckdb_disconnect(&queries[i].connection);
  }
  assert_false(queries[1].ok);
  if (!queries[0].ok || strcmp(queries[0].found, "[0.0, 2.0, 3.0]") != 0) {
    fail_msg("the neighbour: expected [0.0, 2.0, 3.0], found %s", queries[0].found);
  }
  database_close(&d);
}

/* --- at the same time --------------------------------------------------------------- */

enum { READERS = 3, RELOADS = 60 };

typedef struct reader {
  duckdb_connection connection;
  const _Atomic bool *stop;
  int n_queries;
  char wrong[RESULT_BYTES];
} reader;

/* Models of one name return x, or 1000 x: every chunk must be the one or the other. */
static void *read_rows(void *arg) {
  reader *r = arg;
  char found[RESULT_BYTES];
  do {
    bool ok = query(r->connection,
                    "SELECT count(*)::VARCHAR FROM (SELECT i, m([i, i, i])[3] AS y FROM "
                    "range(10000) r(i)) WHERE y = i OR y = i * 1000",
                    found);
    if (!ok || strcmp(found, "10000") != 0) {
      memcpy(r->wrong, found, sizeof r->wrong);
    }
    r->n_queries++;
  } while (!atomic_load(r->stop) && r->wrong[0] == '\0');
  return NULL;
}

static void queries_run_on_while_their_model_is_exchanged(void **state) {
  (void)state;
  database d;
  _Atomic bool stop = false;
  reader readers[READERS];
  pthread_t threads[READERS];
  const char *const thousand = ", options := MAP {'scale': '1000'}";
  database_open(&d, "2");
  load_mock(d.user, "m", "echo", copy_3, "");
  for (int i = 0; i < READERS; i++) {
    readers[i] = (reader){.connection = database_connect(&d), .stop = &stop};
    assert_int_equal(pthread_create(&threads[i], NULL, read_rows, &readers[i]), 0);
  }
  for (int i = 0; i < RELOADS; i++) {
    char name[32], found[RESULT_BYTES];
    load_mock(d.user, "m", "echo", copy_3, i % 2 == 0 ? thousand : "");
    snprintf(name, sizeof name, "extra%d", i);
    if (i % 10 == 0) {
      load_mock(d.user, name, "echo", copy_3, "");
    }
    assert_true(query(d.user, "SELECT name FROM vonk_models()", found));
    vonk_sql_cancel_interrupted(d.sql, 0, never);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < READERS; i++) {
    pthread_join(threads[i], NULL);
    duckdb_disconnect(&readers[i].connection);
    if (readers[i].wrong[0] != '\0') {
      fail_msg("reader %d, query %d: expected 10000, found %s", i, readers[i].n_queries,
               readers[i].wrong);
    }
  }
  database_close(&d);
}

/* --- a DuckDB before 1.5.6 ---------------------------------------------------------- */

static const char *older_version(void) { return "v1.4.5"; }

/* Without the v1.5.6 band, whose functions are NULL here as they are there. */
static void an_older_duckdb_is_asked_for_nothing_it_lacks(void **state) {
  (void)state;
  const duckdb_ext_api_v1 whole = duckdb_ext_api;
  database d;
  char *band = (char *)&duckdb_create_instance_cache; /* its first function */
  memset(band, 0, (size_t)((char *)(&duckdb_ext_api + 1) - band));
  duckdb_library_version = older_version;
  database_open(&d, "2");
  assert_false(vonk_sql_has_bind(d.sql));
  load_mock(d.user, "m", "echo", copy_3, "");
  assert_rows(d.user, "SELECT m([i, 2, 3])::VARCHAR FROM range(2) r(i)",
              "[0.0, 2.0, 3.0]|[1.0, 2.0, 3.0]");
  assert_rows(d.user, "SELECT try_m([i, 2]).error FROM range(1) r(i)",
              "column 'argument 1': has 2 elements, input 'x' wants float32[3]");
  assert_rows(d.user,
              "SELECT vonk_predict('m', i, 2::DECIMAL(4,1), 3)::VARCHAR FROM "
              "range(2) r(i)",
              "[0.0, 2.0, 3.0]|[1.0, 2.0, 3.0]");
  assert_error(d.user, "SELECT vonk_predict('m', 'a')", "vonk_predict: model 'm': ");
  assert_error(d.user, "SELECT m([1, 2]::FLOAT[2])", "has 2 elements");
  database_close(&d);
  duckdb_ext_api = whole;
}

/* --- memory ------------------------------------------------------------------------- */

/* Every allocation of a load and of two queries fails once: a message, never a crash or
 * a wrong row. */
static void running_out_of_memory_is_an_error_message(void **state) {
  (void)state;
  static const char *const queries[] = {
      "SELECT m([i, 2, 3])::VARCHAR FROM range(1) r(i)",
      "SELECT vonk_predict('m', {'x': [i, 2::DECIMAL(3,1), 3]})::VARCHAR FROM range(1) "
      "r(i)",
      "SELECT coalesce(try_m([i, 2, 3]).value::VARCHAR, '[0.0, 2.0, 3.0]') FROM range(1) "
      "r(i)"};
  database d;
  char load[512], found[RESULT_BYTES];
  database_open(&d, "1");
  load_mock(d.user, "m", "echo", copy_3, "");
  snprintf(load, sizeof load,
           "SELECT name FROM vonk_load('m', '%s/m.mock', plugin := '%s')", fixture_folder,
           MOCK("echo"));
  for (size_t k = 0; k < 4; k++) {
    const char *sql = k == 0 ? load : queries[k - 1];
    const char *expected = k == 0 ? "m" : "[0.0, 2.0, 3.0]";
    bool ok = false;
    int n = 1;
    for (; !ok && n < 3000; n++) {
      int64_t made = vonk_memory_fail_at(n);
      ok = query(d.user, sql, found);
      int64_t reached = vonk_memory_fail_at(0) - made;
      if (ok && strcmp(found, expected) != 0) {
        fail_msg("%s\n  allocation %d fails: expected %s, found %s", sql, n, expected,
                 found);
      }
      ok = ok && reached < n;
    }
    assert_true(ok);
    assert_true(n > 5);
  }
  database_close(&d);
}

/* The first load of a name registers functions: whatever fails on the way, the next
 * attempt completes it, and no name is half there. */
static void a_name_that_could_not_be_loaded_can_be_loaded_later(void **state) {
  (void)state;
  database d;
  char sql[512], found[RESULT_BYTES];
  bool ok = false;
  enum { STEP = 5 }; /* DuckDB lists its 2,600 functions for each */
  int n = 1;
  database_open(&d, "1");
  load_mock(d.user, "model", "echo", copy_3, ""); /* what is opened once stays open */
  while (!ok && n < 3000) {
    n += STEP;
    snprintf(sql, sizeof sql,
             "SELECT name FROM vonk_load('f%d', '%s/model.mock', plugin := '%s')", n,
             fixture_folder, MOCK("echo"));
    int64_t made = vonk_memory_fail_at(n);
    ok = query(d.user, sql, found);
    ok = vonk_memory_fail_at(0) - made < n && ok;
  }
  assert_true(n > 50 && ok);
  for (int i = 1 + STEP; i <= n; i += STEP) {
    char name[16], call[64], expected[32];
    snprintf(name, sizeof name, "f%d", i);
    snprintf(sql, sizeof sql,
             "SELECT name FROM vonk_load('%s', '%s/model.mock', plugin := '%s')", name,
             fixture_folder, MOCK("echo"));
    assert_rows(d.user, sql, name);
    snprintf(call, sizeof call, "SELECT try_f%d([%d, 2, 3]).value::VARCHAR", i, i);
    snprintf(expected, sizeof expected, "[%d.0, 2.0, 3.0]", i);
    assert_rows(d.user, call, expected);
  }
  database_close(&d);
}

static void versions_are_compared_by_their_numbers(void **state) {
  (void)state;
  static const char *const since[] = {"v1.5.6",        "1.5.6",  "v1.5.10",
                                      "v1.6.0-dev123", "v1.6",   "v2.0.0",
                                      "v1.5.6-dev123", "v10.0.0"};
  static const char *const before[] = {"v1.5.5", "v1.4.10", "v0.9.9", "v1.5", "", "none"};
  for (size_t i = 0; i < sizeof(since) / sizeof(since[0]); i++) {
    print_message("%s\n", since[i]);
    assert_true(vonk_duckdb_is_since(since[i], 1, 5, 6));
  }
  for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
    print_message("%s\n", before[i]);
    assert_false(vonk_duckdb_is_since(before[i], 1, 5, 6));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(versions_are_compared_by_their_numbers),
      cmocka_unit_test(a_typed_call_gives_the_bits_of_vonk_predict),
      cmocka_unit_test(wide_numbers_reach_the_model_as_duckdb_would_cast_them),
      cmocka_unit_test(a_row_that_the_model_refuses_is_alone),
      cmocka_unit_test(text_that_is_not_utf8_is_an_error_and_never_null),
      cmocka_unit_test(a_detached_database_reloads_names_and_takes_no_new_ones),
      cmocka_unit_test(functions_outlive_whoever_made_them),
      cmocka_unit_test(a_bad_entry_of_the_list_is_shown_and_stops_nothing),
      cmocka_unit_test(a_cancelled_query_ends_and_the_next_one_runs),
      cmocka_unit_test(an_interrupt_ends_the_query_it_is_meant_for),
      cmocka_unit_test(queries_run_on_while_their_model_is_exchanged),
      cmocka_unit_test(an_older_duckdb_is_asked_for_nothing_it_lacks),
      cmocka_unit_test(running_out_of_memory_is_an_error_message),
      cmocka_unit_test(a_name_that_could_not_be_loaded_can_be_loaded_later),
  };
  return cmocka_run_group_tests(tests, database_load, fixture_remove_folder);
}
