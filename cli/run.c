/* `vonk run`: a table in, a table with predictions out.
 *
 * How it works. The model and DuckDB are opened, at the same time if there is more than
 * one thread. One connection reads: a SELECT whose result is streamed. Another one
 * writes: COPY (SELECT * FROM vonk_rows()) TO ..., where vonk_rows() takes its rows from
 * the pipeline between the two. COPY runs on the main thread; see pipeline.c for the
 * others. Each thing that is opened is a field of `run`, and run_close closes what there
 * is, in one place. */
#include "cli/run.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signals.h"

typedef struct run {
  const vonk_cli_settings *settings;
  uint64_t start_ns;
  vonk_model *model;
  duckdb_database database;
  duckdb_connection reading, writing;
  vonk_cli_source source;
  vonk_cli_target target;
  vonk_cli_plan plan;
  duckdb_prepared_statement statement;
  duckdb_result result;
  vonk_cli_pipeline *pipeline;
  vonk_cli_writer writer;
  vonk_cli_progress progress;
} run;

/* --- opening --- */

static vonk_status open_database(run *r, vonk_error *err) {
  VONK_TRY(vonk_cli_duckdb_load(err));
  VONK_TRY(vonk_cli_database_open(&(vonk_cli_database_settings){.n_threads = 1},
                                  &r->database, err));
  if (duckdb_connect(r->database, &r->reading) != DuckDBSuccess ||
      duckdb_connect(r->database, &r->writing) != DuckDBSuccess) {
    return vonk_fail(err, VONK_BACKEND, "DuckDB: refused a connection");
  }
  return VONK_OK;
}

typedef struct opening {
  const vonk_cli_settings *settings;
  vonk_model *model;
  vonk_status status;
  vonk_error error;
} opening;

static void *open_model(void *arg) {
  opening *o = arg;
  const vonk_cli_model_options *options = &o->settings->model_options;
  o->status = vonk_model_open(o->settings->model_path, options->kvs, options->n,
                              &o->model, &o->error);
  return NULL;
}

/* Returns an exit code, having complained. */
static int open_files(run *r) {
  vonk_error err = VONK_ERROR_INIT;
  const vonk_cli_settings *s = r->settings;
  vonk_status status = open_database(r, &err);
  if (status != VONK_OK) {
    return vonk_cli_fail("run", &err, VONK_EXIT_FAILED);
  }
  status = vonk_cli_source_open(r->reading, s->inputs, s->n_inputs, s->format, &r->source,
                                &err);
  if (status == VONK_OK) {
    status = vonk_cli_target_open(s->output, s->output_format, &r->target, &err);
  }
  if (status == VONK_OK) {
    status = vonk_cli_target_check(&r->target, &r->source, &err);
  }
  if (status == VONK_OK) {
    return VONK_EXIT_OK;
  }
  return status == VONK_INVALID ? vonk_cli_misuse("run", &err)
                                : vonk_cli_fail("run", &err, VONK_EXIT_FILES);
}

static int open_all(run *r) {
  opening o = {.settings = r->settings, .error = VONK_ERROR_INIT};
  pthread_t thread;
  bool is_apart =
      r->settings->n_threads > 1 && pthread_create(&thread, NULL, open_model, &o) == 0;
  if (!is_apart) {
    open_model(&o);
  }
  int code = o.status == VONK_OK || is_apart ? open_files(r) : VONK_EXIT_OK;
  if (is_apart) {
    pthread_join(thread, NULL);
  }
  r->model = o.model;
  if (code == VONK_EXIT_OK && o.status != VONK_OK) {
    return vonk_cli_fail("run", &o.error, VONK_EXIT_MODEL);
  }
  return code;
}

static void run_close(run *r) {
  vonk_cli_signals_on_stop(NULL, NULL);
  vonk_cli_progress_end(&r->progress);
  vonk_cli_pipeline_release(r->pipeline);
  if (r->statement != NULL) {
    duckdb_destroy_result(&r->result);
    duckdb_destroy_prepare(&r->statement);
  }
  if (r->writing != NULL) {
    duckdb_disconnect(&r->writing);
  }
  vonk_cli_plan_clear(&r->plan);
  vonk_cli_target_close(&r->target);
  vonk_cli_source_close(&r->source);
  if (r->reading != NULL) {
    duckdb_disconnect(&r->reading);
  }
  if (r->database != NULL) {
    duckdb_close(&r->database);
  }
  vonk_model_close(r->model);
}

/* --- running --- */

static vonk_status plan_run(run *r, vonk_error *err) {
  vonk_cli_plan_request request = {.mappings = r->settings->mappings,
                                   .n_mappings = r->settings->n_mappings,
                                   .select = r->settings->select,
                                   .bind = &r->settings->bind,
                                   .model = r->model,
                                   .source = &r->source,
                                   .connection = r->reading};
  return vonk_cli_plan_create(&request, &r->plan, err);
}

/* Starts the SELECT; rows are read when they are fetched. */
static vonk_status start_reading(run *r, vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  const char *message;
  vonk_cli_plan_sql(&r->plan, &r->source, &sql);
  vonk_status status = vonk_cli_sql_check(&sql, err);
  duckdb_pending_result pending = NULL;
  if (status == VONK_OK && duckdb_prepare(r->reading, vonk_cli_sql_get(&sql),
                                          &r->statement) != DuckDBSuccess) {
    status = vonk_cli_duckdb_fail(err, VONK_IO, r->source.name,
                                  duckdb_prepare_error(r->statement));
  }
  if (status == VONK_OK) {
    if (duckdb_pending_prepared_streaming(r->statement, &pending) != DuckDBSuccess) {
      status = vonk_cli_duckdb_fail(err, VONK_IO, r->source.name,
                                    duckdb_pending_error(pending));
    } else if (duckdb_execute_pending(pending, &r->result) != DuckDBSuccess) {
      message = duckdb_result_error(&r->result);
      status = vonk_cli_duckdb_fail(err, vonk_cli_duckdb_code(message), r->source.name,
                                    message);
    }
    duckdb_destroy_pending(&pending);
  }
  vonk_cli_sql_release(&sql);
  return status;
}

/* Bytes of one row of predictions, roughly; lists of no fixed length count as one
 * element. */
static double prediction_bytes(const struct ArrowSchema *schema) {
  double nbytes = 0.0;
  for (int64_t i = 0; i < schema->n_children; i++) {
    nbytes += prediction_bytes(schema->children[i]);
  }
  double length =
      strncmp(schema->format, "+w:", 3) == 0 ? strtod(schema->format + 3, NULL) : 1.0;
  return schema->n_children == 0 ? 8.0 : nbytes * length;
}

/* DuckDB holds a row group in memory while it encodes it, and takes less processor time
 * for small ones: about 16 MB each, and not more than its usual number of rows. */
static uint64_t row_group_rows(double row_bytes) {
  enum { CHUNK = 2048, MOST = 122880 };
  double rows = 16e6 / (row_bytes < 1.0 ? 1.0 : row_bytes);
  return rows >= MOST ? MOST : rows < CHUNK ? CHUNK : (uint64_t)(rows / CHUNK) * CHUNK;
}

static void stop_run(void *arg) {
  run *r = arg;
  vonk_predictor_cancel(r->plan.predictor);
  vonk_cli_pipeline_stop(r->pipeline);
  duckdb_interrupt(r->reading);
  duckdb_interrupt(r->writing);
}

static vonk_status start_pipeline(run *r, double *row_bytes, vonk_error *err) {
  uint32_t n = r->settings->n_threads;
  bool is_all;
  VONK_TRY(vonk_cli_pipeline_create(&r->plan, &r->result, r->source.name, n, &r->pipeline,
                                    err));
  vonk_cli_signals_on_stop(stop_run, r);
  VONK_TRY(vonk_cli_pipeline_prime(r->pipeline, row_bytes, &is_all, err));
  /* One thread of the pipeline, one thread of the model; a single small batch may use
   * them all. */
  vonk_set_threads(is_all ? n : 1);
  return is_all ? VONK_OK : vonk_cli_pipeline_start(r->pipeline, err);
}

static vonk_status copy_rows(run *r, double row_bytes, vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  r->writer = (vonk_cli_writer){.plan = &r->plan,
                                .pipeline = r->pipeline,
                                .on_rows = vonk_cli_progress_show,
                                .arg = &r->progress};
  VONK_TRY(vonk_cli_writer_register(&r->writer, r->writing, err));
  row_bytes += prediction_bytes(&r->plan.predictions);
  vonk_cli_target_sql(&r->target, VONK_CLI_ROWS, row_group_rows(row_bytes), &sql);
  vonk_status status = vonk_cli_sql_check(&sql, err);
  duckdb_result result;
  if (status == VONK_OK) {
    if (duckdb_query(r->writing, vonk_cli_sql_get(&sql), &result) != DuckDBSuccess) {
      status = r->writer.status;
      vonk_error_copy(err, &r->writer.error);
      if (status == VONK_OK) {
        status = vonk_cli_duckdb_fail(err, VONK_IO, r->settings->output,
                                      duckdb_result_error(&result));
      }
    }
    duckdb_destroy_result(&result);
  }
  vonk_cli_sql_release(&sql);
  return status;
}

static vonk_status execute(run *r, vonk_error *err) {
  double row_bytes;
  VONK_TRY(plan_run(r, err));
  VONK_TRY(start_reading(r, err));
  int64_t total =
      r->settings->wants_progress ? vonk_cli_source_count(&r->source, r->writing) : -1;
  VONK_TRY(start_pipeline(r, &row_bytes, err));
  vonk_cli_progress_start(&r->progress, r->settings->wants_progress, total);
  VONK_TRY(copy_rows(r, row_bytes, err));
  vonk_cli_progress_end(&r->progress);
  if (vonk_cli_signals_caught() != 0) {
    return vonk_fail(err, VONK_CANCELLED, "interrupted");
  }
  return vonk_cli_target_commit(&r->target, err);
}

/* Chunks of several megabytes come and go all the time. glibc would give each one's pages
 * back to the kernel and fault them in again, which costs a sixth of the run. */
static void keep_memory(void) {
  (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
  (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

/* --- the command --- */

static int explain_failure(run *r, vonk_status status, vonk_error *err) {
  vonk_cli_progress_end(&r->progress);
  int signal = vonk_cli_signals_caught();
  if (signal != 0) {
    vonk_cli_complain("run", "interrupted: nothing was written");
    return 128 + signal;
  }
  if (vonk_error_row(err) >= 0) {
    char row[32];
    vonk_cli_complain("run", "row %s (the first is 0): %s",
                      vonk_cli_count(vonk_error_row(err), row), err->message);
    return VONK_EXIT_DATA;
  }
  bool is_data = status == VONK_INVALID || status == VONK_UNSUPPORTED;
  return vonk_cli_fail("run", err,
                       status == VONK_IO ? VONK_EXIT_FILES
                       : is_data         ? VONK_EXIT_DATA
                                         : VONK_EXIT_FAILED);
}

static void report_success(run *r) {
  vonk_cli_report report = {.settings = r->settings,
                            .plan = &r->plan,
                            .writer = &r->writer,
                            .times = vonk_cli_pipeline_timing(r->pipeline),
                            .seconds = (double)(vonk_clock_ns() - r->start_ns) / 1e9,
                            .cpu_seconds = (double)vonk_clock_cpu_ns() / 1e9};
  vonk_cli_report_print(&report);
}

/* Everything is durable: the kernel takes hundreds of megabytes back at once, which giving
 * them back piece by piece takes a twentieth of a short run. Sanitizers want the pieces. */
static void leave(void) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (fflush(NULL) == 0 && ferror(stdout) == 0) {
    _Exit(VONK_EXIT_OK);
  }
#endif
}

static int run_settings(const vonk_cli_settings *settings) {
  run r = {.settings = settings, .start_ns = vonk_clock_ns()};
  r.source.spool = r.target.pipe_end = -1;
  vonk_error err = VONK_ERROR_INIT;
  keep_memory();
  if (vonk_cli_signals_start(&err) != VONK_OK) {
    return vonk_cli_fail("run", &err, VONK_EXIT_FAILED);
  }
  int code = open_all(&r);
  if (code == VONK_EXIT_OK) {
    vonk_status status = execute(&r, &err);
    if (status == VONK_OK) {
      report_success(&r);
      leave();
    } else {
      code = explain_failure(&r, status, &err);
    }
  }
  run_close(&r);
  return code;
}

int vonk_cli_run(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_cli_settings settings;
  if (vonk_cli_settings_read(args, &settings, &err) != VONK_OK) {
    return vonk_cli_misuse("run", &err);
  }
  int code = run_settings(&settings);
  vonk_cli_settings_clear(&settings);
  return code;
}
