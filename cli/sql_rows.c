/* The rows of a result as a table function, for another query.
 *
 * How it works: the user's statement is run once, as it was written, and its result is
 * streamed. To write its rows to a file, or to turn them into text, DuckDB's own COPY and
 * CAST are run over vonk_cli_result(), which lends the streamed vectors by reference: no
 * type is unknown here, nothing is copied, and a model in the statement runs once. DuckDB
 * calls the function on one thread at a time. The first rows are fetched ahead, so that
 * a statement that fails at once leaves no file begun. */
#define _DEFAULT_SOURCE
#include <strings.h>

#include "cli/sql.h"

/* Nothing to give back is no call: DuckDB may not even have been opened. */
static void give_back(duckdb_data_chunk *chunk) {
  if (*chunk != NULL) {
    duckdb_destroy_data_chunk(chunk);
  }
}

/* NULL at the end; DuckDB calls it an error to ask again. */
static duckdb_data_chunk fetch_streamed(vonk_cli_relay *r) {
  if (r->is_over) {
    return NULL;
  }
  duckdb_data_chunk chunk = duckdb_fetch_chunk(*r->result);
  while (chunk != NULL && duckdb_data_chunk_get_size(chunk) == 0) {
    duckdb_destroy_data_chunk(&chunk);
    chunk = duckdb_fetch_chunk(*r->result);
  }
  r->is_over = chunk == NULL;
  const char *message = chunk == NULL ? duckdb_result_error(r->result) : NULL;
  if (message != NULL && message[0] != '\0' && r->failure == NULL) {
    (void)vonk_new_string(message, &r->failure, NULL);
  }
  return chunk;
}

duckdb_data_chunk vonk_cli_relay_fetch(vonk_cli_relay *r) {
  duckdb_data_chunk chunk = r->ahead;
  r->ahead = NULL;
  if (chunk == NULL) {
    chunk = fetch_streamed(r);
  }
  r->n_rows += chunk == NULL ? 0 : (int64_t)duckdb_data_chunk_get_size(chunk);
  return chunk;
}

vonk_status vonk_cli_relay_start(vonk_cli_relay *r, duckdb_result *result,
                                 vonk_error *err) {
  vonk_cli_relay_clear(r);
  size_t n = duckdb_column_count(result);
  VONK_TRY(vonk_new(n, sizeof(duckdb_logical_type), &r->types, err));
  VONK_TRY(vonk_new(n, sizeof(*r->names), &r->names, err));
  r->n_columns = n;
  for (size_t i = 0; i < n; i++) {
    r->types[i] = duckdb_column_logical_type(result, i);
    r->names[i] = duckdb_column_name(result, i);
  }
  r->result = result;
  r->ahead = fetch_streamed(r);
  return VONK_OK;
}

void vonk_cli_relay_clear(vonk_cli_relay *r) {
  for (size_t i = 0; i < r->n_columns; i++) {
    duckdb_destroy_logical_type(&r->types[i]);
  }
  vonk_delete(r->types);
  vonk_delete(r->names);
  give_back(&r->ahead);
  give_back(&r->lent);
  vonk_delete(r->failure);
  *r = (vonk_cli_relay){.n_columns = 0};
}

/* --- the table function --- */

/* How many of the first n columns have this name. */
static uint64_t count_names(const vonk_cli_relay *r, const char *name, size_t n) {
  uint64_t count = 0;
  for (size_t i = 0; i < n; i++) {
    count += strcasecmp(r->names[i], name) == 0 ? 1 : 0;
  }
  return count;
}

/* SELECT may give a name twice, a table may not: a, a_1, a_2. */
static void add_column(duckdb_bind_info info, const vonk_cli_relay *r, size_t column) {
  vonk_cli_sql name = {.status = VONK_OK};
  uint64_t before = count_names(r, r->names[column], column);
  vonk_cli_sql_add(&name, r->names[column]);
  if (before > 0) {
    vonk_cli_sql_add(&name, "_");
    vonk_cli_sql_number(&name, before);
  }
  while (before > 0 && name.status == VONK_OK &&
         count_names(r, vonk_cli_sql_get(&name), r->n_columns) > 0) {
    vonk_cli_sql_add(&name, "_");
  }
  duckdb_bind_add_result_column(info, vonk_cli_sql_get(&name), r->types[column]);
  vonk_cli_sql_release(&name);
}

static void bind_result(duckdb_bind_info info) {
  const vonk_cli_relay *r = duckdb_bind_get_extra_info(info);
  for (size_t i = 0; i < r->n_columns; i++) {
    add_column(info, r, i);
  }
}

static void init_result(duckdb_init_info info) { duckdb_init_set_max_threads(info, 1); }

/* NULL at the end. What was lent before is given back. */
static duckdb_data_chunk next_chunk(vonk_cli_relay *r) {
  if (r->chunks != NULL) {
    return r->next_chunk < r->n_chunks ? r->chunks[r->next_chunk++] : NULL;
  }
  give_back(&r->lent);
  r->lent = vonk_cli_relay_fetch(r);
  return r->lent;
}

static void emit_result(duckdb_function_info info, duckdb_data_chunk output) {
  vonk_cli_relay *r = duckdb_function_get_extra_info(info);
  duckdb_data_chunk chunk = next_chunk(r);
  if (chunk == NULL) {
    duckdb_data_chunk_set_size(output, 0);
    if (r->failure != NULL) {
      duckdb_function_set_error(info, r->failure);
    }
    return;
  }
  for (size_t i = 0; i < r->n_columns; i++) {
    duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(output, i),
                                   duckdb_data_chunk_get_vector(chunk, i));
  }
  duckdb_data_chunk_set_size(output, duckdb_data_chunk_get_size(chunk));
}

vonk_status vonk_cli_relay_register(vonk_cli_relay *r, duckdb_connection connection,
                                    vonk_error *err) {
  duckdb_table_function function = duckdb_create_table_function();
  duckdb_table_function_set_name(function, "vonk_cli_result");
  duckdb_table_function_set_extra_info(function, r, NULL);
  duckdb_table_function_set_bind(function, bind_result);
  duckdb_table_function_set_init(function, init_result);
  duckdb_table_function_set_function(function, emit_result);
  duckdb_state state = duckdb_register_table_function(connection, function);
  duckdb_destroy_table_function(&function);
  return state == DuckDBSuccess
             ? VONK_OK
             : vonk_fail(err, VONK_BACKEND, "DuckDB: refused the table of results");
}
