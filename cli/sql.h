/* `vonk sql`, cut into the command line (sql_settings.c), the text (sql_text.c), errors
 * that point into it (sql_error.c), rows on their way out (sql_rows.c), boxes (sql_box.c,
 * sql_width.c), progress (sql_progress.c), the shell (sql_shell.c), and running it all
 * (sql.c). */
#ifndef VONK_CLI_SQL_H
#define VONK_CLI_SQL_H

#include <pthread.h>

#include "cli/cli.h"
#include "cli/files.h"

/* --- the command line (sql_settings.c) --- */

typedef struct vonk_cli_sql_model {
  char *name;
  const char *path;
  const char *as; /* NULL = the outputs as they are */
} vonk_cli_sql_model;

typedef struct vonk_cli_sql_settings {
  const char *query; /* NULL = in a file */
  const char *file;  /* "-" = the standard input */
  vonk_cli_database_settings database;
  vonk_cli_sql_model *models;
  size_t n_models;
  vonk_cli_model_options model_options; /* of all of them */
  const char *output; /* a file, or "-"; NULL = a box on the standard output */
  vonk_cli_format output_format;
  int64_t most_rows; /* of a box; 0 = all */
  bool wants_progress, is_quiet, wants_shell;
} vonk_cli_sql_settings;
vonk_status vonk_cli_sql_settings_read(const vonk_cli_args *, vonk_cli_sql_settings *out,
                                       vonk_error *err);
void vonk_cli_sql_settings_clear(vonk_cli_sql_settings *);

/* --- the text (sql_text.c) --- */

typedef struct vonk_cli_script {
  char *name; /* for messages; NULL = the command line */
  vonk_buffer buffer;
  const char *text; /* NUL-terminated, without a byte order mark */
} vonk_cli_script;
/* VONK_IO: cannot be read. */
vonk_status vonk_cli_script_read(const vonk_cli_sql_settings *, vonk_cli_script *out,
                                 vonk_error *err);
void vonk_cli_script_release(vonk_cli_script *);

/* One statement: from its first word to its ';', which is left out. */
typedef struct vonk_cli_statement {
  const char *start;
  size_t length;
  int64_t line;  /* of its first word, from 1 */
  size_t column; /* of its first word, as displayed, from 0 */
} vonk_cli_statement;
/* Zero *statement to start; false at the end. */
bool vonk_cli_statement_next(const vonk_cli_script *, vonk_cli_statement *statement);

/* --- errors (sql_error.c) --- */

/* Complains with DuckDB's message: where it is, what it says, and the line with a caret.
 * Returns the exit code for it. */
int vonk_cli_sql_complain(const vonk_cli_script *, const vonk_cli_statement *,
                          const char *message);

/* --- rows (sql_rows.c) --- */

/* The rows of a result as the table function VONK_CLI_RESULT of another query: written by
 * COPY or converted to text, whatever their types, without running their query again. */
typedef struct vonk_cli_relay {
  size_t n_columns;
  duckdb_logical_type *types;
  const char **names;        /* borrowed from the result */
  bool is_over;              /* the result has been fetched to its end */
  duckdb_result *result;     /* streamed; borrowed */
  duckdb_data_chunk ahead;   /* fetched from it, not handed out yet */
  duckdb_data_chunk lent;    /* handed out last */
  duckdb_data_chunk *chunks; /* or rows that were kept; the array is borrowed */
  size_t n_chunks, next_chunk;
  int64_t n_rows; /* handed out so far */
  char *failure;  /* DuckDB's message of a fetch that failed */
} vonk_cli_relay;

#define VONK_CLI_RESULT "vonk_cli_result()"

/* Makes the table function in the connection's database; the relay must outlive that. */
vonk_status vonk_cli_relay_register(vonk_cli_relay *, duckdb_connection, vonk_error *err);
/* Begins with a result; its first rows are fetched. A query that fails is in failure. */
vonk_status vonk_cli_relay_start(vonk_cli_relay *, duckdb_result *, vonk_error *err);
/* The next rows, to be destroyed; NULL at the end and on failure. */
duckdb_data_chunk vonk_cli_relay_fetch(vonk_cli_relay *);
void vonk_cli_relay_clear(vonk_cli_relay *);

/* --- files (sql_copy.c) --- */

/* Writes the relay's rows, from its first on, to the target's path; not committed. If the
 * query itself fails, VONK_OK and relay->failure. */
vonk_status vonk_cli_relay_copy(vonk_cli_relay *, duckdb_connection,
                                const vonk_cli_target *, vonk_error *err);
/* The same to the standard output, all of it. */
vonk_status vonk_cli_relay_pipe(vonk_cli_relay *, duckdb_connection,
                                vonk_cli_format format, vonk_error *err);
/* What text of a TIMESTAMP WITH TIME ZONE depends on. */
void vonk_cli_copy_time_zone(duckdb_connection from, duckdb_connection to);

/* --- boxes (sql_cells.c, sql_box.c) --- */

typedef struct vonk_cli_box_column {
  char *name, *type;
  bool is_number;
} vonk_cli_box_column;

/* What is shown of a result, as text. */
typedef struct vonk_cli_box {
  vonk_cli_box_column *columns;
  size_t n_columns;
  char **cells;             /* row by row; NULL = SQL's NULL */
  size_t n_shown, capacity; /* rows */
  size_t n_top;             /* rows before the gap; n_shown without one */
  int64_t n_rows;           /* of the result */
} vonk_cli_box;

/* Fetches the relay's rows to the end and converts the first and the last ones, most_rows
 * in all (0 = all of them), to text on the connection, which must be free. Nothing is
 * converted if relay->failure is set afterwards. */
vonk_status vonk_cli_box_read(vonk_cli_relay *, duckdb_connection, int64_t most_rows,
                              vonk_cli_box *out, vonk_error *err);

/* The rows of a query whose columns are all VARCHAR, as a box without columns' names. */
vonk_status vonk_cli_box_query(duckdb_connection, const char *sql, size_t n_columns,
                               vonk_cli_box *out, vonk_error *err);
/* Names and types of the relay's columns, two cells a row. */
vonk_status vonk_cli_box_describe(duckdb_connection, vonk_cli_box *out, vonk_error *err);

typedef struct vonk_cli_box_style {
  size_t width; /* of the terminal, in columns; 0 = no limit */
  bool has_colour, has_footer;
  double seconds; /* for the footer; < 0 = leave it out */
} vonk_cli_box_style;
vonk_status vonk_cli_box_print(const vonk_cli_box *, const vonk_cli_box_style *,
                               FILE *out, vonk_error *err);
void vonk_cli_box_clear(vonk_cli_box *);

/* Columns of a terminal that UTF-8 text takes (sql_width.c). */
size_t vonk_cli_width(const char *text, size_t nbytes);
/* Bytes of the longest beginning of text that takes at most width columns; *taken is what
 * it takes. */
size_t vonk_cli_width_cut(const char *text, size_t width, size_t *taken);

/* --- progress (sql_progress.c) --- */

/* A thread that shows how far a statement is, and repeats to stop it once it is to end. */
typedef struct vonk_cli_ticker {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool is_started, is_over, is_running, is_shown;
  bool wants_progress;
  duckdb_connection connection;
  uint64_t (*count)(void *arg); /* rows predicted since the start */
  void (*stop)(void *arg);      /* called again and again after a signal */
  void *arg;
  uint64_t begun_ns, begun_rows;
} vonk_cli_ticker;
/* connection, count, stop, arg and wants_progress are set, the rest is zero. */
vonk_status vonk_cli_ticker_start(vonk_cli_ticker *, vonk_error *err);
/* Around each statement; the line is gone when _end returns. */
void vonk_cli_ticker_begin(vonk_cli_ticker *);
void vonk_cli_ticker_end(vonk_cli_ticker *);
void vonk_cli_ticker_release(vonk_cli_ticker *);

/* --- the shell (sql_shell.c) --- */

/* Becomes DuckDB's own shell; returns only on failure, with the exit code. */
int vonk_cli_shell(const vonk_cli_sql_settings *);

#endif /* VONK_CLI_SQL_H */
