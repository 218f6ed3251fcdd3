/* What the SQL functions of one database ask of their host: a connection for vonk_load, an
 * eye on interrupted queries, and the threads that models may use.
 *
 * How it works: nothing is held between calls: no connection, and no thread while nothing
 * is predicted. The thread budget of the process follows the setting `threads` of the
 * database that predicts; it is read with a query of its own, at most every 100 ms. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/extension/extension.h"

static const char THREADS_QUERY[] = "SELECT current_setting('threads')::BIGINT";
static const uint64_t THREADS_EVERY_NS = 100 * 1000000ull;

typedef struct guest {
  vonk_watched watched;
  vonk_database_name name;
  _Atomic uint64_t read_threads_ns; /* when it was done last */
} guest;

/* --- threads ------------------------------------------------------------------------ */

/* 0 = DuckDB does not tell. */
static uint32_t read_threads(duckdb_connection connection) {
  duckdb_result result;
  int64_t n = 0;
  duckdb_data_chunk chunk = NULL;
  if (duckdb_query(connection, THREADS_QUERY, &result) == DuckDBSuccess) {
    chunk = duckdb_fetch_chunk(result);
  }
  if (chunk != NULL) {
    if (duckdb_data_chunk_get_size(chunk) == 1) {
      n = *(const int64_t *)duckdb_vector_get_data(
          duckdb_data_chunk_get_vector(chunk, 0));
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
  return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static void follow_threads(duckdb_connection connection) {
  uint32_t n = read_threads(connection);
  if (n > 0 && n != vonk_get_threads()) {
    vonk_set_threads(n);
  }
}

/* For one of the threads that come by when it is time. */
static bool is_time(guest *g) {
  uint64_t now = vonk_clock_ns(), last = atomic_load(&g->read_threads_ns);
  return now - last >= THREADS_EVERY_NS &&
         atomic_compare_exchange_strong(&g->read_threads_ns, &last, now);
}

/* --- a home ------------------------------------------------------------------------- */

/* Of the database whose name is in row 0. */
static void use_first(duckdb_connection connection, duckdb_data_chunk chunk) {
  char text[512] = "USE \"";
  size_t size = strlen(text);
  duckdb_string_t *name = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
  const char *bytes = duckdb_string_t_data(name);
  size_t n = name->value.inlined.length;
  for (size_t i = 0; i < n && size < sizeof(text) - 4; i++) {
    if (bytes[i] == '"') {
      text[size++] = '"';
    }
    text[size++] = bytes[i];
  }
  text[size++] = '"';
  text[size] = '\0';
  duckdb_query(connection, text, NULL);
}

/* A connection begins in the first database; when that was detached, DuckDB before 2.0
 * finds nothing at all from there, so it is sent to one that is attached. */
static void find_home(duckdb_connection connection) {
  duckdb_result result;
  duckdb_data_chunk chunk = NULL;
  if (duckdb_query(connection, "SELECT current_database()", NULL) == DuckDBSuccess) {
    return;
  }
  if (duckdb_query(connection,
                   "SELECT database_name FROM system.main.duckdb_databases() "
                   "WHERE NOT internal LIMIT 1",
                   &result) == DuckDBSuccess) {
    chunk = duckdb_fetch_chunk(result);
  }
  if (chunk != NULL) {
    if (duckdb_data_chunk_get_size(chunk) > 0) {
      use_first(connection, chunk);
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
}

/* --- what the functions call -------------------------------------------------------- */

static vonk_status join(void *arg, duckdb_connection *out, vonk_error *err) {
  const guest *g = arg;
  if (!vonk_database_join(&g->name, out)) {
    return vonk_fail(err, VONK_BACKEND, "vonk: DuckDB gives no connection");
  }
  find_home(*out);
  return VONK_OK;
}

static void began(void *arg, duckdb_client_context context) {
  guest *g = arg;
  duckdb_connection connection;
  if (context != NULL && vonk_interrupt_known()) {
    vonk_watch_add(&g->watched);
  }
  if (is_time(g) && vonk_database_join(&g->name, &connection)) {
    follow_threads(connection);
    duckdb_disconnect(&connection);
  }
}

static void ended(void *arg) {
  guest *g = arg;
  vonk_watch_remove(&g->watched);
  vonk_delete(g);
}

/* --- moving in ---------------------------------------------------------------------- */

/* VONK_NO_PIN=1: what the database was at LOAD is all that there will be. */
static bool may_stay(void) {
  const char *no = getenv("VONK_NO_PIN");
  return no == NULL || no[0] == '\0' || strcmp(no, "0") == 0;
}

vonk_status vonk_guest_move_in(duckdb_database lent, duckdb_connection connection,
                               vonk_sql *sql, vonk_error *err) {
  guest *g;
  follow_threads(connection);
  if (!may_stay()) {
    vonk_sql_detach(sql,
                    "VONK_NO_PIN is set: name the models in VONK_MODELS before "
                    "LOAD");
    return VONK_OK;
  }
  VONK_TRY(vonk_new(1, sizeof(*g), &g, err));
  g->watched.sql = sql;
  if (!vonk_database_remember(lent, &g->name)) {
    vonk_delete(g);
    vonk_sql_detach(sql,
                    "this DuckDB gives its extensions no connection after LOAD: name "
                    "the models in VONK_MODELS before LOAD, or call vonk_predict "
                    "with the model's path");
    return VONK_OK;
  }
  vonk_interrupt_learn(connection);
  vonk_sql_set_guest(sql, &(vonk_sql_guest){g, join, began, ended});
  return VONK_OK;
}
