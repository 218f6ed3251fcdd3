/* What a model may be called.
 *
 * How it works: a name must be an identifier that needs no quotes, and one that neither
 * DuckDB nor the user has a function, macro or reserved word for: DuckDB itself would
 * refuse some of these, and silently mix our functions with its own for others. What
 * there is, the database is asked. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engines/duckdb/functions/internal.h"

enum { MOST_BYTES = 63 };

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

vonk_status vonk_sql_name_check(const char *name, vonk_error *err) {
  size_t size = strlen(name);
  bool is_identifier = size > 0 && is_letter(name[0]);
  for (size_t i = 1; i < size; i++) {
    is_identifier = is_identifier && (is_letter(name[i]) || is_digit(name[i]));
  }
  if (!is_identifier) {
    return vonk_fail(err, VONK_INVALID,
                     "'%.80s' cannot be a function's name: use letters, digits and _, "
                     "beginning with a letter, as in 'digit'",
                     name);
  }
  if (size > MOST_BYTES) {
    return vonk_fail(err, VONK_INVALID,
                     "'%.20s...': has %zu bytes: a name has at most %d", name, size,
                     MOST_BYTES);
  }
  if (strncasecmp(name, "vonk_", 5) == 0) {
    return vonk_fail(err, VONK_INVALID,
                     "'%s': names that begin with vonk_ are vonk's own: choose another",
                     name);
  }
  return VONK_OK;
}

/* Text of row 0 in a column of VARCHAR, cut to fit. */
static void read_text(duckdb_data_chunk chunk, idx_t column, char *out, size_t capacity) {
  duckdb_string_t *strings =
      duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column));
  (void)snprintf(out, capacity, "%.*s", (int)strings[0].value.inlined.length,
                 duckdb_string_t_data(&strings[0]));
}

/* The first row of a query of two VARCHAR columns; *found is false if there is none. */
static vonk_status ask(duckdb_connection connection, const char *query, char name[128],
                       char what[128], bool *found, vonk_error *err) {
  duckdb_result result;
  *found = false;
  if (duckdb_query(connection, query, &result) != DuckDBSuccess) {
    const char *why = duckdb_result_error(&result);
    vonk_status status = vonk_fail(err, VONK_BACKEND, "DuckDB: cannot list functions: %s",
                                   why == NULL ? "no reason given" : why);
    duckdb_destroy_result(&result);
    return status;
  }
  duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
  if (chunk != NULL) {
    if (duckdb_data_chunk_get_size(chunk) > 0) {
      *found = true;
      read_text(chunk, 0, name, 128);
      read_text(chunk, 1, what, 128);
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
  return VONK_OK;
}

vonk_status vonk_sql_name_check_free(vonk_sql *sql, const char *name, vonk_error *err) {
  char query[1024], taken[128], what[128];
  bool found;
  (void)snprintf(
      query, sizeof(query),
      "SELECT function_name::VARCHAR, replace(function_type::VARCHAR, '_', ' ') || "
      "CASE WHEN function_type LIKE '%%macro' THEN '' ELSE ' function' END "
      "FROM duckdb_functions() WHERE lower(function_name) IN (lower('%s'), "
      "lower('try_%s')) UNION ALL SELECT keyword_name::VARCHAR, 'reserved word' "
      "FROM duckdb_keywords() WHERE keyword_name = lower('%s') AND "
      "keyword_category::VARCHAR IN ('reserved', 'column_name') LIMIT 1",
      name, name, name);
  VONK_TRY(ask(sql->connection, query, taken, what, &found, err));
  if (found) {
    return vonk_fail(err, VONK_INVALID,
                     "'%s': this database has a%s %s '%s' already: choose another name",
                     name, what[0] == 'a' ? "n" : "", what, taken);
  }
  return VONK_OK;
}

vonk_status vonk_sql_name_of_path(const char *path, char **out, vonk_error *err) {
  size_t end = strcspn(path, "#"), start;
  while (end > 1 && path[end - 1] == '/') { /* a folder */
    end--;
  }
  for (start = end; start > 0 && path[start - 1] != '/'; start--) {
  }
  const char *stem = path + start;
  size_t size = end - start;
  const char *dot = NULL;
  for (size_t i = 1; i < size; i++) {
    dot = stem[i] == '.' ? stem + i : dot;
  }
  size = dot == NULL ? size : (size_t)(dot - stem);
  size = size > MOST_BYTES - 1 ? MOST_BYTES - 1 : size;
  char *name;
  VONK_TRY(vonk_new(size + 2, 1, &name, err));
  size_t at = 0;
  if (size == 0 || is_digit(stem[0])) {
    name[at++] = '_';
  }
  for (size_t i = 0; i < size; i++) {
    name[at++] = is_letter(stem[i]) || is_digit(stem[i]) ? stem[i] : '_';
  }
  *out = name;
  return VONK_OK;
}

/* --- model files by their names --- */

typedef struct ending {
  const char *text; /* without the dot */
  bool is_known;
} ending;

static int visit(void *arg, const vonk_plugin_summary *s) {
  ending *e = arg;
  for (size_t i = 0; s->formats != NULL && s->formats[i] != NULL && !e->is_known; i++) {
    e->is_known = strcasecmp(s->formats[i], e->text) == 0;
  }
  return e->is_known;
}

bool vonk_sql_is_model_path(const char *path) {
  const char *slash = strrchr(path, '/');
  const char *dot = strrchr(slash == NULL ? path : slash, '.');
  ending e = {.text = dot == NULL ? "" : dot + 1};
  if (e.text[0] == '\0') { /* a folder may be a model, but not every table a folder */
    return slash != NULL && vonk_model_recognise(path, NULL) > 0;
  }
  /* Most tables are not models: known endings of other files cost no look at plug-ins. */
  static const char *const others[] = {"csv", "parquet", "json", "jsonl", "ndjson", "tsv",
                                       "gz",  "zst",     "txt",  "db",    "duckdb"};
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    if (strcasecmp(others[i], e.text) == 0) {
      return false;
    }
  }
  return (vonk_plugins_visit(visit, &e, NULL) == VONK_OK && e.is_known) ||
         vonk_model_recognise(path, NULL) > 0;
}
