/* Results of `vonk sql` in files and on the standard output.
 *
 * How it works: the same COPY as `vonk run` writes with, over the table function of
 * sql_rows.c. For Parquet, arrays become lists on the way, inside structs too, as `vonk
 * run` writes them: Parquet has no arrays, and DuckDB 1.5.6 writes a file that other
 * readers refuse when one is NULL. */
#include <ctype.h>
#include <string.h>

#include "cli/sql.h"

/* Rows of a Parquet row group: about 16 MB, and not more than DuckDB's usual number. */
static uint64_t row_group_rows(const vonk_cli_relay *r) {
  enum { CHUNK = 2048, MOST = 122880 };
  double nbytes = 0.0;
  int64_t n = r->ahead == NULL ? 0 : (int64_t)duckdb_data_chunk_get_size(r->ahead);
  for (size_t i = 0; n > 0 && i < r->n_columns; i++) {
    vonk_duckdb_type type;
    if (vonk_duckdb_type_parse(r->types[i], "", &type, NULL) == VONK_OK) {
      duckdb_vector vector = duckdb_data_chunk_get_vector(r->ahead, i);
      nbytes += (double)vonk_duckdb_vector_bytes(vector, &type, n) / (double)n;
      vonk_duckdb_type_clear(&type);
    }
  }
  double rows = 16e6 / (nbytes < 1.0 ? 1.0 : nbytes);
  return rows >= MOST ? MOST : rows < CHUNK ? CHUNK : (uint64_t)(rows / CHUNK) * CHUNK;
}

/* --- arrays --- */

/* Takes the lengths out of a type: "FLOAT[784][]" -> "FLOAT[][]", but not out of quoted
 * names. False if there were none. */
static bool remove_lengths(char *type) {
  char *to = type, quote = '\0';
  bool has_lengths = false;
  for (const char *from = type; *from != '\0';) {
    bool is_quote = *from == '"' || *from == '\'';
    if (is_quote && (quote == '\0' || quote == *from)) {
      quote = quote == '\0' ? *from : '\0';
    }
    bool is_open = *from == '[' && quote == '\0';
    *to++ = *from++;
    while (is_open && isdigit((unsigned char)*from) != 0) {
      has_lengths = true;
      from++;
    }
  }
  *to = '\0';
  return has_lengths;
}

static vonk_status add_relation(duckdb_connection connection, vonk_cli_format format,
                                vonk_cli_sql *out, vonk_error *err) {
  vonk_cli_box types;
  size_t n_replaced = 0;
  if (format != VONK_FORMAT_PARQUET) {
    vonk_cli_sql_add(out, VONK_CLI_RESULT);
    return VONK_OK;
  }
  VONK_TRY(vonk_cli_box_describe(connection, &types, err));
  vonk_cli_sql_add(out, "(SELECT *");
  for (size_t i = 0; i < types.n_shown; i++) {
    const char *name = types.cells[2 * i];
    char *type = types.cells[2 * i + 1];
    if (name == NULL || type == NULL || !remove_lengths(type)) {
      continue;
    }
    vonk_cli_sql_add(out, n_replaced++ == 0 ? " REPLACE (CAST(" : ", CAST(");
    vonk_cli_sql_name(out, name);
    vonk_cli_sql_add(out, " AS ");
    vonk_cli_sql_add(out, type);
    vonk_cli_sql_add(out, ") AS ");
    vonk_cli_sql_name(out, name);
  }
  vonk_cli_sql_add(out, n_replaced > 0 ? ") FROM " : " FROM ");
  vonk_cli_sql_add(out, VONK_CLI_RESULT ")");
  vonk_cli_box_clear(&types);
  return VONK_OK;
}

/* --- writing --- */

static vonk_status run_copy(vonk_cli_relay *r, duckdb_connection connection,
                            const char *name, const char *sql, vonk_error *err) {
  duckdb_result result;
  vonk_status status = VONK_OK;
  if (duckdb_query(connection, sql, &result) != DuckDBSuccess && r->failure == NULL) {
    status = vonk_cli_duckdb_fail(err, VONK_IO, name, duckdb_result_error(&result));
  }
  duckdb_destroy_result(&result);
  return status;
}

vonk_status vonk_cli_relay_copy(vonk_cli_relay *r, duckdb_connection connection,
                                const vonk_cli_target *target, vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK}, relation = {.status = VONK_OK};
  vonk_status status = add_relation(connection, target->format, &relation, err);
  if (status == VONK_OK && (status = vonk_cli_sql_check(&relation, err)) == VONK_OK) {
    vonk_cli_target_sql(target, vonk_cli_sql_get(&relation), row_group_rows(r), &sql);
    status = vonk_cli_sql_check(&sql, err);
  }
  if (status == VONK_OK) {
    status = run_copy(r, connection,
                      target->final == NULL ? "the standard output" : target->final,
                      vonk_cli_sql_get(&sql), err);
  }
  vonk_cli_sql_release(&relation);
  vonk_cli_sql_release(&sql);
  return status;
}

vonk_status vonk_cli_relay_pipe(vonk_cli_relay *r, duckdb_connection connection,
                                vonk_cli_format format, vonk_error *err) {
  vonk_cli_target target;
  VONK_TRY(vonk_cli_target_open("-", format, &target, err));
  vonk_status status = vonk_cli_relay_copy(r, connection, &target, err);
  if (status == VONK_OK && r->failure == NULL) {
    status = vonk_cli_target_commit(&target, err);
  }
  vonk_cli_target_close(&target);
  return status;
}

void vonk_cli_copy_time_zone(duckdb_connection from, duckdb_connection to) {
  vonk_cli_box zone = {.n_rows = 0}, done = {.n_rows = 0};
  vonk_cli_sql sql = {.status = VONK_OK};
  if (vonk_cli_box_query(from, "SELECT current_setting('TimeZone')", 1, &zone, NULL) ==
          VONK_OK &&
      zone.n_shown == 1 && zone.cells[0] != NULL) {
    vonk_cli_sql_add(&sql, "SET TimeZone = ");
    vonk_cli_sql_text(&sql, zone.cells[0]);
    (void)vonk_cli_box_query(to, vonk_cli_sql_get(&sql), 0, &done, NULL);
  }
  vonk_cli_sql_release(&sql);
  vonk_cli_box_clear(&done);
  vonk_cli_box_clear(&zone);
}
