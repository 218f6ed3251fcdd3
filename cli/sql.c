/* `vonk sql`: SQL with models as functions.
 *
 * How it works. The program opens its own database with three connections: one runs the
 * user's statements, one holds the models' functions, one writes results to files. Each
 * statement is prepared exactly as it was written, run once, and its result streamed:
 * into a box (sql_cells.c, sql_box.c) or, through a table function over the streamed rows
 * (sql_rows.c), into a COPY as `vonk run` writes its output. The text is parsed whole
 * before anything is run, so a mistyped last statement costs nothing. */
#define _DEFAULT_SOURCE
#include "cli/sql.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/signals.h"
#include "engines/duckdb/functions/functions.h"

typedef struct session {
  const vonk_cli_sql_settings *settings;
  vonk_cli_script script;
  duckdb_database database;
  duckdb_connection querying, holding, writing;
  vonk_sql *models;
  vonk_cli_relay relay;
  vonk_cli_target target; /* of -o FILE */
  bool has_target, is_written;
  vonk_cli_ticker ticker;
} session;

static int fail(const vonk_error *err, int code) {
  return vonk_cli_fail("sql", err, code);
}

/* --- opening --- */

static void stop_session(void *arg) {
  session *s = arg;
  duckdb_interrupt(s->querying);
  duckdb_interrupt(s->writing);
  vonk_sql_cancel(s->models);
}

static uint64_t count_rows(void *arg) {
  const session *s = arg;
  return vonk_sql_rows(s->models);
}

/* DuckDB computes its percentage only when it believes that it prints it. */
static void want_percentage(const session *s) {
  static const char *const statements[] = {"SET enable_progress_bar = true",
                                           "SET enable_progress_bar_print = false"};
  for (size_t i = 0; s->settings->wants_progress && i < 2; i++) {
    duckdb_result result;
    (void)duckdb_query(s->querying, statements[i], &result);
    duckdb_destroy_result(&result);
  }
}

static vonk_status open_database(session *s, vonk_error *err) {
  VONK_TRY(vonk_cli_duckdb_load(err));
  vonk_set_threads(s->settings->database.n_threads);
  VONK_TRY(vonk_cli_database_open(&s->settings->database, &s->database, err));
  if (duckdb_connect(s->database, &s->querying) != DuckDBSuccess ||
      duckdb_connect(s->database, &s->holding) != DuckDBSuccess ||
      duckdb_connect(s->database, &s->writing) != DuckDBSuccess) {
    return vonk_fail(err, VONK_BACKEND, "DuckDB: refused a connection");
  }
  VONK_TRY(vonk_cli_relay_register(&s->relay, s->holding, err));
  VONK_TRY(vonk_sql_create(s->database, s->holding, &s->models, err));
  want_percentage(s);
  s->ticker = (vonk_cli_ticker){.connection = s->querying,
                                .count = count_rows,
                                .stop = stop_session,
                                .arg = s,
                                .wants_progress = s->settings->wants_progress};
  return vonk_cli_ticker_start(&s->ticker, err);
}

static vonk_status open_models(session *s, vonk_error *err) {
  const vonk_cli_sql_settings *settings = s->settings;
  const char *listed = getenv("VONK_MODELS");
  if (listed != NULL && listed[0] != '\0') {
    vonk_sql_load_listed(s->models, listed);
  }
  for (size_t i = 0; i < settings->n_models; i++) {
    const vonk_cli_sql_model *m = &settings->models[i];
    vonk_sql_load_options options = {.as = m->as,
                                     .model_options = settings->model_options.kvs,
                                     .n_model_options = settings->model_options.n};
    VONK_TRY(vonk_sql_load(s->models, m->name, m->path, &options, err));
  }
  return VONK_OK;
}

/* The file is chosen, and the folder checked, before anything is run. */
static vonk_status open_target(session *s, vonk_error *err) {
  const char *output = s->settings->output;
  if (output == NULL || strcmp(output, "-") == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_cli_target_open(output, s->settings->output_format, &s->target, err));
  s->has_target = true;
  return VONK_OK;
}

/* Returns an exit code, having complained. */
static int open_all(session *s) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = open_target(s, &err);
  if (status != VONK_OK) {
    return status == VONK_INVALID ? vonk_cli_misuse("sql", &err)
                                  : fail(&err, VONK_EXIT_FILES);
  }
  if (vonk_cli_script_read(s->settings, &s->script, &err) != VONK_OK) {
    return fail(&err, VONK_EXIT_FILES);
  }
  status = open_database(s, &err);
  if (status != VONK_OK) {
    return fail(&err, status == VONK_IO ? VONK_EXIT_FILES : VONK_EXIT_FAILED);
  }
  return open_models(s, &err) == VONK_OK ? VONK_EXIT_OK : fail(&err, VONK_EXIT_MODEL);
}

static void session_close(session *s) {
  vonk_cli_ticker_release(&s->ticker);
  vonk_cli_signals_on_stop(NULL, NULL);
  vonk_cli_relay_clear(&s->relay);
  if (s->models != NULL) {
    vonk_sql_detach(s->models, "the program ends");
  }
  duckdb_connection *connections[] = {&s->querying, &s->holding, &s->writing};
  for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++) {
    if (*connections[i] != NULL) {
      duckdb_disconnect(connections[i]);
    }
  }
  vonk_sql_release(s->models);
  if (s->database != NULL) {
    duckdb_close(&s->database);
  }
  if (s->has_target) {
    vonk_cli_target_close(&s->target);
  }
  vonk_cli_script_release(&s->script);
}

/* --- results --- */

static vonk_cli_box_style choose_style(const session *s, double seconds) {
  enum { WIDTH_ELSEWHERE = 120 }; /* of a box that goes into a file or a pipe */
  vonk_cli_box_style style = {
      .has_footer = !s->settings->is_quiet, .seconds = -1.0, .width = WIDTH_ELSEWHERE};
  struct winsize size;
  if (isatty(STDOUT_FILENO) != 0) {
    const char *terminal = getenv("TERM");
    style.has_colour =
        getenv("NO_COLOR") == NULL && terminal != NULL && strcmp(terminal, "dumb") != 0;
    style.seconds = seconds;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
      style.width = size.ws_col;
    }
  }
  return style;
}

static double seconds_since(uint64_t start_ns) {
  return (double)(vonk_clock_ns() - start_ns) / 1e9;
}

static vonk_status show_result(session *s, uint64_t start_ns, vonk_error *err) {
  vonk_cli_box box = {.n_rows = 0};
  VONK_TRY(vonk_cli_box_read(&s->relay, s->querying, s->settings->most_rows, &box, err));
  vonk_cli_ticker_end(&s->ticker);
  vonk_status status = VONK_OK;
  if (s->relay.failure == NULL) {
    vonk_cli_box_style style = choose_style(s, seconds_since(start_ns));
    status = vonk_cli_box_print(&box, &style, stdout, err);
    (void)fflush(stdout);
  }
  vonk_cli_box_clear(&box);
  return status;
}

/* A plan is a drawing: printed as it is. */
static void show_plan(session *s) {
  duckdb_data_chunk chunk;
  while ((chunk = vonk_cli_relay_fetch(&s->relay)) != NULL) {
    duckdb_vector last = duckdb_data_chunk_get_vector(chunk, s->relay.n_columns - 1);
    duckdb_string_t *texts = duckdb_vector_get_data(last);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
      (void)fwrite(duckdb_string_t_data(&texts[i]), 1, texts[i].value.inlined.length,
                   stdout);
    }
    duckdb_destroy_data_chunk(&chunk);
  }
}

/* A statement that gives no table; CREATE TABLE AS, INSERT, ... give a number. */
static void show_count(const session *s, duckdb_result *result, uint64_t start_ns) {
  if (s->settings->output != NULL || s->settings->is_quiet ||
      isatty(STDOUT_FILENO) == 0) {
    return;
  }
  duckdb_data_chunk chunk = duckdb_fetch_chunk(*result);
  if (chunk != NULL && duckdb_data_chunk_get_size(chunk) == 1 &&
      duckdb_column_type(result, 0) == DUCKDB_TYPE_BIGINT) {
    char count[32];
    const int64_t *n = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    (void)printf("%s row%s, %.2f s\n", vonk_cli_count(*n, count), *n == 1 ? "" : "s",
                 seconds_since(start_ns));
  }
  duckdb_destroy_data_chunk(&chunk);
}

static vonk_status deliver(session *s, duckdb_result *result, bool is_plan,
                           uint64_t start_ns, vonk_error *err) {
  if (duckdb_result_return_type(*result) != DUCKDB_RESULT_TYPE_QUERY_RESULT) {
    vonk_cli_ticker_end(&s->ticker);
    show_count(s, result, start_ns);
    return VONK_OK;
  }
  VONK_TRY(vonk_cli_relay_start(&s->relay, result, err));
  if (s->relay.failure != NULL) {
    return VONK_OK;
  }
  if (s->has_target) {
    s->is_written = true;
    return vonk_cli_relay_copy(&s->relay, s->writing, &s->target, err);
  }
  if (s->settings->output != NULL) {
    return vonk_cli_relay_pipe(&s->relay, s->writing, s->settings->output_format, err);
  }
  if (is_plan) {
    show_plan(s);
    return VONK_OK;
  }
  return show_result(s, start_ns, err);
}

/* --- statements --- */

static int complain(const session *s, const vonk_cli_statement *at, const char *message) {
  return vonk_cli_signals_caught() != 0 ? VONK_EXIT_FAILED
                                        : vonk_cli_sql_complain(&s->script, at, message);
}

/* Runs a prepared statement; an exit code. */
static int run_prepared(session *s, const vonk_cli_statement *at,
                        duckdb_prepared_statement prepared) {
  uint64_t start_ns = vonk_clock_ns();
  duckdb_statement_type type = duckdb_prepared_statement_type(prepared);
  duckdb_pending_result pending = NULL;
  duckdb_result result;
  vonk_error err = VONK_ERROR_INIT;
  int code = VONK_EXIT_OK;
  if (duckdb_pending_prepared_streaming(prepared, &pending) != DuckDBSuccess) {
    code = complain(s, at, duckdb_pending_error(pending));
    duckdb_destroy_pending(&pending);
    return code;
  }
  if (duckdb_execute_pending(pending, &result) != DuckDBSuccess) {
    vonk_cli_ticker_end(&s->ticker);
    code = complain(s, at, duckdb_result_error(&result));
  } else {
    vonk_status status =
        deliver(s, &result, type == DUCKDB_STATEMENT_TYPE_EXPLAIN, start_ns, &err);
    vonk_cli_ticker_end(&s->ticker);
    if (s->relay.failure != NULL) {
      code = complain(s, at, s->relay.failure);
    } else if (status != VONK_OK && vonk_cli_signals_caught() == 0) {
      code = fail(&err, status == VONK_IO ? VONK_EXIT_FILES : VONK_EXIT_FAILED);
    }
  }
  vonk_cli_relay_clear(&s->relay);
  duckdb_destroy_result(&result);
  duckdb_destroy_pending(&pending);
  if (code == VONK_EXIT_OK && type == DUCKDB_STATEMENT_TYPE_SET) {
    vonk_cli_copy_time_zone(s->querying, s->writing);
  }
  return code;
}

/* Runs part `part` of a statement; DuckDB makes several of some, such as PIVOT. Prepared
 * from text where it can be, for only then DuckDB says where an error is. */
static int run_part(session *s, const vonk_cli_statement *at, const char *text,
                    duckdb_extracted_statements parts, idx_t part, bool is_only) {
  duckdb_prepared_statement prepared = NULL;
  vonk_cli_ticker_begin(&s->ticker);
  duckdb_state state =
      is_only ? duckdb_prepare(s->querying, text, &prepared)
              : duckdb_prepare_extracted_statement(s->querying, parts, part, &prepared);
  int code;
  if (state == DuckDBSuccess) {
    code = run_prepared(s, at, prepared);
  } else {
    vonk_cli_ticker_end(&s->ticker);
    code = complain(s, at, duckdb_prepare_error(prepared));
  }
  vonk_cli_ticker_end(&s->ticker);
  duckdb_destroy_prepare(&prepared);
  return code;
}

static int run_statement(session *s, const vonk_cli_statement *at) {
  char *text;
  vonk_error err = VONK_ERROR_INIT;
  if (vonk_new(at->length + 1, 1, &text, &err) != VONK_OK) {
    return fail(&err, VONK_EXIT_FAILED);
  }
  memcpy(text, at->start, at->length);
  duckdb_extracted_statements parts = NULL;
  idx_t n = duckdb_extract_statements(s->querying, text, &parts);
  const char *message = n == 0 ? duckdb_extract_statements_error(parts) : NULL;
  int code = message == NULL ? VONK_EXIT_OK : complain(s, at, message);
  for (idx_t i = 0; code == VONK_EXIT_OK && i < n; i++) {
    code = vonk_cli_signals_caught() != 0 ? VONK_EXIT_FAILED
                                          : run_part(s, at, text, parts, i, n == 1);
  }
  duckdb_destroy_extracted(&parts);
  vonk_delete(text);
  return code;
}

/* Errors of syntax anywhere, before anything is run. */
static int check_syntax(session *s) {
  vonk_cli_statement whole = {.start = s->script.text, .line = 1};
  static const char class[] = "Parser Error";
  duckdb_extracted_statements parts = NULL;
  idx_t n = duckdb_extract_statements(s->querying, s->script.text, &parts);
  const char *message = n == 0 ? duckdb_extract_statements_error(parts) : NULL;
  bool is_wrong = message != NULL && strncmp(message, class, strlen(class)) == 0;
  int code = is_wrong ? complain(s, &whole, message) : VONK_EXIT_OK;
  duckdb_destroy_extracted(&parts);
  return code;
}

static int run_script(session *s) {
  vonk_cli_statement at = {.start = NULL};
  int code = check_syntax(s);
  while (code == VONK_EXIT_OK && vonk_cli_statement_next(&s->script, &at)) {
    code = run_statement(s, &at);
  }
  return code;
}

static int finish(session *s) {
  vonk_error err = VONK_ERROR_INIT;
  if (!s->has_target) {
    return VONK_EXIT_OK;
  }
  if (!s->is_written) {
    vonk_cli_complain("sql",
                      "-o: nothing was written: no statement gives a table: end with a "
                      "SELECT");
    return VONK_EXIT_DATA;
  }
  return vonk_cli_target_commit(&s->target, &err) == VONK_OK
             ? VONK_EXIT_OK
             : fail(&err, VONK_EXIT_FILES);
}

/* --- the command --- */

static int run_settings(const vonk_cli_sql_settings *settings) {
  enum { PATIENCE_MS = 400 };
  session s = {.settings = settings};
  s.target.pipe_end = -1;
  vonk_error err = VONK_ERROR_INIT;
  if (vonk_cli_signals_start(&err) != VONK_OK) {
    return fail(&err, VONK_EXIT_FAILED);
  }
  vonk_cli_signals_patience(PATIENCE_MS, settings->wants_progress
                                             ? "\r\033[Kvonk sql: interrupted\n"
                                             : "vonk sql: interrupted\n");
  int code = open_all(&s);
  if (code == VONK_EXIT_OK) {
    vonk_cli_signals_on_stop(stop_session, &s);
    code = run_script(&s);
  }
  int signal = vonk_cli_signals_caught();
  if (code == VONK_EXIT_OK && signal == 0) {
    code = finish(&s);
  }
  if (signal != 0) {
    vonk_cli_complain("sql", "interrupted");
    code = 128 + signal;
  }
  session_close(&s);
  return code;
}

int vonk_cli_query(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_cli_sql_settings settings;
  if (vonk_cli_sql_settings_read(args, &settings, &err) != VONK_OK) {
    return vonk_cli_misuse("sql", &err);
  }
  int code = settings.wants_shell ? vonk_cli_shell(&settings) : run_settings(&settings);
  vonk_cli_sql_settings_clear(&settings);
  return code;
}
