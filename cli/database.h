/* DuckDB for the program: the library, a database without files, text of SQL. */
#ifndef VONK_CLI_DATABASE_H
#define VONK_CLI_DATABASE_H

#include "base/base.h"
#include "engines/duckdb/duckdb.h"

/* Opens libduckdb, once, and fills duckdb_ext_api. VONK_UNSUPPORTED names every place
 * searched. */
vonk_status vonk_cli_duckdb_load(vonk_error *err);

/* Zero is a database in memory that runs on its callers' threads only. */
typedef struct vonk_cli_database_settings {
  const char *path; /* made if it is not there; NULL = in memory */
  bool is_read_only;
  uint32_t n_threads; /* the caller's included; 0 = 1 */
} vonk_cli_database_settings;

/* Neither downloads extensions nor, in memory, writes files. VONK_IO: the file cannot be
 * opened. */
vonk_status vonk_cli_database_open(const vonk_cli_database_settings *settings,
                                   duckdb_database *out, vonk_error *err);

/* Text that grows. Zero it to start; a failure to grow is kept in status, so that only
 * the end must be checked. */
typedef struct vonk_cli_sql {
  vonk_buffer buffer; /* NUL-terminated once something was added */
  vonk_status status;
} vonk_cli_sql;
void vonk_cli_sql_add(vonk_cli_sql *, const char *text);
void vonk_cli_sql_number(vonk_cli_sql *, uint64_t value);
void vonk_cli_sql_text(vonk_cli_sql *, const char *text); /* 'text', quotes doubled */
void vonk_cli_sql_name(vonk_cli_sql *, const char *name); /* "name", quotes doubled */
/* VONK_NOMEM if it could not grow. */
vonk_status vonk_cli_sql_check(const vonk_cli_sql *, vonk_error *err);
const char *vonk_cli_sql_get(const vonk_cli_sql *);
void vonk_cli_sql_release(vonk_cli_sql *);

/* VONK_INVALID for a value that could not be converted as the command line asked, VONK_IO
 * for anything else that goes wrong while reading. By the text: a streamed result tells
 * its class in no other way. */
vonk_status vonk_cli_duckdb_code(const char *message);
/* DuckDB's message in one line, without its class of error and its caret. */
void vonk_cli_duckdb_reason(const char *message, char *out, size_t capacity);
/* Fails with "what: " and that; message may be NULL. */
vonk_status vonk_cli_duckdb_fail(vonk_error *err, vonk_status code, const char *what,
                                 const char *message);

#endif /* VONK_CLI_DATABASE_H */
