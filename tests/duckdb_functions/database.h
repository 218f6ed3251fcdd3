/* A DuckDB of the tests' own: libduckdb opened at run time, databases in memory, and
 * results as text. */
#ifndef VONK_TESTS_DUCKDB_FUNCTIONS_DATABASE_H
#define VONK_TESTS_DUCKDB_FUNCTIONS_DATABASE_H

#include "unit/predict_fixture.h"

/* What stands above brings what these need. */
#include "engines/duckdb/functions/functions.h"

DUCKDB_EXTENSION_GLOBAL

static inline int database_load(void **state) {
  void *library = dlopen(VONK_TEST_DUCKDB, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return -1;
  }
#define LOAD(name)                                            \
  {                                                           \
    void *symbol = dlsym(library, "duckdb_" #name);           \
    memcpy(&duckdb_##name, &symbol, sizeof(symbol));          \
    if (symbol == NULL) {                                     \
      fprintf(stderr, "libduckdb has no duckdb_" #name "\n"); \
      return -1;                                              \
    }                                                         \
  }
  VONK_DUCKDB_FUNCTIONS(LOAD)
  LOAD(connection_get_client_context)
  LOAD(client_context_get_connection_id)
#undef LOAD
  setenv("VONK_PLUGIN_PATH", VONK_PLUGIN_DIR, 1);
  setenv("VONK_ONNXRUNTIME_LIBRARY", VONK_TEST_ONNXRUNTIME, 1);
  return fixture_make_folder(state);
}

/* A database with the SQL functions, and a connection for its user. */
typedef struct database {
  duckdb_database database;
  duckdb_connection kept, user;
  vonk_sql *sql;
} database;

static inline duckdb_connection database_connect(const database *d) {
  duckdb_connection connection = NULL;
  assert_int_equal(duckdb_connect(d->database, &connection), DuckDBSuccess);
  return connection;
}

static inline void database_open(database *d, const char *threads) {
  duckdb_config config;
  vonk_error err = VONK_ERROR_INIT;
  char *message = NULL;
  assert_int_equal(duckdb_create_config(&config), DuckDBSuccess);
  assert_int_equal(duckdb_set_config(config, "threads", threads), DuckDBSuccess);
  if (duckdb_open_ext(NULL, &d->database, config, &message) != DuckDBSuccess) {
    fail_msg("open: %s", message);
  }
  duckdb_destroy_config(&config);
  d->kept = database_connect(d);
  d->user = database_connect(d);
  assert_ok(vonk_sql_create(d->database, d->kept, &d->sql, &err), &err);
}

static inline void database_close(database *d) {
  vonk_sql_detach(d->sql, "the database is closed");
  vonk_sql_release(d->sql);
  duckdb_disconnect(&d->kept);
  duckdb_disconnect(&d->user);
  duckdb_close(&d->database);
}

enum { RESULT_BYTES = 4096 };

/* The first column of a query, which is text, rows separated by "|"; or the error. */
static inline bool query(duckdb_connection connection, const char *sql,
                         char out[RESULT_BYTES]) {
  duckdb_result result;
  size_t used = 0;
  out[0] = '\0';
  bool ok = duckdb_query(connection, sql, &result) == DuckDBSuccess;
  if (!ok) {
    const char *why = duckdb_result_error(&result);
    snprintf(out, RESULT_BYTES, "%s", why == NULL ? "no reason" : why);
  }
  for (duckdb_data_chunk chunk; ok && (chunk = duckdb_fetch_chunk(result)) != NULL;) {
    duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, 0);
    duckdb_string_t *text = duckdb_vector_get_data(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
      bool is_null = validity != NULL && ((validity[i / 64] >> (i % 64)) & 1u) == 0;
      int n = is_null ? snprintf(out + used, RESULT_BYTES - used, "%sNULL",
                                 used == 0 ? "" : "|")
                      : snprintf(out + used, RESULT_BYTES - used, "%s%.*s",
                                 used == 0 ? "" : "|", (int)text[i].value.inlined.length,
                                 duckdb_string_t_data(&text[i]));
      used += n > 0 ? (size_t)n : 0;
      used = used < RESULT_BYTES ? used : RESULT_BYTES - 1;
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
  return ok;
}

#define assert_rows(connection, sql, expected) \
  check_query((connection), (sql), true, (expected), __FILE__, __LINE__)
#define assert_error(connection, sql, part) \
  check_query((connection), (sql), false, (part), __FILE__, __LINE__)
static inline void check_query(duckdb_connection connection, const char *sql, bool works,
                               const char *expected, const char *file, int line) {
  char found[RESULT_BYTES];
  bool worked = query(connection, sql, found);
  bool fits = works ? strcmp(found, expected) == 0 : strstr(found, expected) != NULL;
  if (worked != works || !fits) {
    print_error("%s:%d: %s\n  expected %s: %s\n  found %s: %s\n", file, line, sql,
                works ? "rows" : "an error with", expected, worked ? "rows" : "an error",
                found);
    _fail(file, line);
  }
}

static inline void run(duckdb_connection connection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void run(duckdb_connection connection, const char *format, ...) {
  char sql[2048], found[RESULT_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(sql, sizeof sql, format, args);
  va_end(args);
  duckdb_result result;
  if (duckdb_query(connection, sql, &result) != DuckDBSuccess) {
    snprintf(found, sizeof found, "%s", duckdb_result_error(&result));
    duckdb_destroy_result(&result);
    fail_msg("%s\n  %s", sql, found);
  }
  duckdb_destroy_result(&result);
}

/* Loads a mock model, written from text, through vonk_load. */
static inline void load_mock(duckdb_connection connection, const char *name,
                             const char *mock, const char *text, const char *options) {
  char file[64];
  snprintf(file, sizeof file, "%s.mock", name);
  run(connection,
      "FROM vonk_load('%s', '%s', plugin := '" VONK_MOCK_DIR "/mock_%s.so'%s)", name,
      fixture_write(file, text), mock, options);
}

#endif /* VONK_TESTS_DUCKDB_FUNCTIONS_DATABASE_H */
