/* `vonk bench`: vonk against the bare framework loop.
 *
 * How it works: both score the same rows with the same micro-batches and threads in one
 * process. Passes alternate, so that whatever else the machine does hits both; the
 * medians are compared. One pass of each goes before as a warm-up. */
#include "cli/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"

enum { MAX_PASSES = 1000, LEAST_PASSES = 3, DEFAULT_ROWS = 60000 };

typedef struct pass {
  double wall, cpu; /* seconds */
} pass;

typedef struct measured {
  pass bare[MAX_PASSES], vonk[MAX_PASSES];
  size_t n;
} measured;

typedef struct bench {
  vonk_model *model;
  vonk_predictor *predictor;
  vonk_cli_bench_rows rows;
  struct ArrowSchema schema;
  struct ArrowArray columns;
  int64_t batch_rows;
  uint32_t n_threads;
  double seconds;
} bench;

/* --- measuring --- */

static vonk_status vonk_pass(const bench *b, vonk_error *err) {
  struct ArrowArray out;
  VONK_TRY(vonk_predict(b->predictor, &b->columns, &out, err));
  out.release(&out);
  return VONK_OK;
}

static vonk_status time_pass(const bench *b, bool is_bare, pass *out, vonk_error *err) {
  uint64_t wall = vonk_clock_ns(), cpu = vonk_clock_cpu_ns();
  VONK_TRY(is_bare
               ? vonk_cli_bare_pass(b->model, &b->rows, b->batch_rows, b->n_threads, err)
               : vonk_pass(b, err));
  out->wall = (double)(vonk_clock_ns() - wall) / 1e9;
  out->cpu = (double)(vonk_clock_cpu_ns() - cpu) / 1e9;
  return VONK_OK;
}

static vonk_status measure(const bench *b, measured *m, vonk_error *err) {
  pass warm_up;
  VONK_TRY(time_pass(b, true, &warm_up, err));
  VONK_TRY(time_pass(b, false, &warm_up, err));
  uint64_t end = vonk_clock_ns() + (uint64_t)(b->seconds * 1e9);
  for (m->n = 0; m->n < MAX_PASSES && (m->n < LEAST_PASSES || vonk_clock_ns() < end);
       m->n++) {
    /* Who goes first changes, too. */
    bool bare_first = m->n % 2 == 0;
    VONK_TRY(time_pass(b, bare_first, bare_first ? &m->bare[m->n] : &m->vonk[m->n], err));
    VONK_TRY(
        time_pass(b, !bare_first, bare_first ? &m->vonk[m->n] : &m->bare[m->n], err));
  }
  return VONK_OK;
}

static int compare_doubles(const void *a, const void *b) {
  const double *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static double median(const pass *passes, size_t n, bool is_cpu) {
  double values[MAX_PASSES];
  for (size_t i = 0; i < n; i++) {
    values[i] = is_cpu ? passes[i].cpu : passes[i].wall;
  }
  qsort(values, n, sizeof(values[0]), compare_doubles);
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

/* --- printing --- */

typedef struct figures {
  double rate, cpu_us; /* rows a second, microseconds a row */
} figures;

static figures figure(const bench *b, const pass *passes, size_t n) {
  double rows = (double)b->rows.n_rows;
  return (figures){rows / median(passes, n, false), median(passes, n, true) / rows * 1e6};
}

static void print_line(const char *name, figures f) {
  char rate[32];
  (void)printf("%-16s %14s %14.2f\n", name, vonk_cli_count((int64_t)f.rate, rate),
               f.cpu_us);
}

static void print_text(const bench *b, const measured *m) {
  char rows[32], batch[32];
  figures bare = figure(b, m->bare, m->n), ours = figure(b, m->vonk, m->n);
  (void)printf(
      "%s %s rows, %s at a time, %" PRIu32 " thread%s, medians of %zu passes\n\n",
      vonk_cli_count(b->rows.n_rows, rows), b->rows.is_synthetic ? "synthetic" : "given",
      vonk_cli_count(b->batch_rows, batch), b->n_threads, b->n_threads == 1 ? "" : "s",
      m->n);
  (void)printf("%-16s %14s %14s\n", "", "rows/s", "CPU us/row");
  print_line("framework alone", bare);
  print_line("vonk", ours);
  (void)printf("%-16s %14.2f %14.2f\n", "ratio", ours.rate / bare.rate,
               bare.cpu_us / ours.cpu_us);
}

static void add_figures(const vonk_cli_json *json, const char *who, figures f) {
  yyjson_mut_val *object = yyjson_mut_obj(json->document);
  vonk_cli_json_set(json, object, "rows_per_second",
                    yyjson_mut_real(json->document, f.rate));
  vonk_cli_json_set(json, object, "cpu_us_per_row",
                    yyjson_mut_real(json->document, f.cpu_us));
  vonk_cli_json_set(json, json->root, who, object);
}

static vonk_status print_json(const bench *b, const measured *m, vonk_error *err) {
  figures bare = figure(b, m->bare, m->n), ours = figure(b, m->vonk, m->n);
  vonk_cli_json json = vonk_cli_json_start(false);
  yyjson_mut_doc *d = json.document;
  vonk_cli_json_set(&json, json.root, "rows", yyjson_mut_sint(d, b->rows.n_rows));
  vonk_cli_json_set(&json, json.root, "synthetic",
                    yyjson_mut_bool(d, b->rows.is_synthetic));
  vonk_cli_json_set(&json, json.root, "batch", yyjson_mut_sint(d, b->batch_rows));
  vonk_cli_json_set(&json, json.root, "threads", yyjson_mut_uint(d, b->n_threads));
  vonk_cli_json_set(&json, json.root, "passes", yyjson_mut_uint(d, m->n));
  add_figures(&json, "framework", bare);
  add_figures(&json, "vonk", ours);
  vonk_cli_json_set(&json, json.root, "ratio", yyjson_mut_real(d, ours.rate / bare.rate));
  vonk_cli_json_set(&json, json.root, "cpu_ratio",
                    yyjson_mut_real(d, bare.cpu_us / ours.cpu_us));
  return vonk_cli_json_print(&json, err);
}

/* --- the command --- */

static vonk_status prepare(const vonk_cli_args *args, bench *b, int64_t n_rows,
                           int64_t batch_rows, vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(b->model);
  VONK_TRY(args->n_operands == 2 ? vonk_cli_bench_read(args, s, n_rows, &b->rows, err)
                                 : vonk_cli_bench_make(s, n_rows, &b->rows, err));
  VONK_TRY(vonk_cli_bench_columns(&b->rows, &b->schema, &b->columns, err));
  vonk_bind_options bind = VONK_BIND_OPTIONS_INIT;
  bind.batch_rows = batch_rows;
  VONK_TRY(vonk_predictor_create(b->model, &b->schema, &bind, &b->predictor, err));
  b->batch_rows = vonk_predictor_batch_rows(b->predictor);
  if (s->inputs[0]->shape[0] > 0 && b->rows.n_rows % b->batch_rows != 0) {
    return vonk_fail(err, VONK_INVALID,
                     "the model takes %" PRId64
                     " rows at a time: choose --rows as a multiple of that",
                     b->batch_rows);
  }
  return VONK_OK;
}

static int run_bench(const vonk_cli_args *args, bench *b, int64_t n_rows,
                     int64_t batch_rows) {
  vonk_error err = VONK_ERROR_INIT;
  measured *m = NULL;
  vonk_status status = prepare(args, b, n_rows, batch_rows, &err);
  if (status == VONK_OK) {
    status = vonk_new(1, sizeof(*m), &m, &err);
  }
  if (status == VONK_OK && (status = measure(b, m, &err)) == VONK_OK) {
    if (vonk_cli_flag(args, "json")) {
      status = print_json(b, m, &err);
    } else {
      print_text(b, m);
    }
  }
  vonk_delete(m);
  if (status == VONK_OK) {
    return VONK_EXIT_OK;
  }
  bool is_data = status == VONK_INVALID || status == VONK_UNSUPPORTED;
  return vonk_cli_fail("bench", &err,
                       status == VONK_IO ? VONK_EXIT_FILES
                       : is_data         ? VONK_EXIT_DATA
                                         : VONK_EXIT_FAILED);
}

static void clear_bench(bench *b) {
  vonk_predictor_release(b->predictor);
  if (b->columns.release != NULL) {
    b->columns.release(&b->columns);
  }
  if (b->schema.release != NULL) {
    b->schema.release(&b->schema);
  }
  vonk_cli_bench_clear(&b->rows);
  vonk_model_close(b->model);
}

int vonk_cli_bench(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  bench b = {.n_threads = 1};
  int64_t n_rows, batch_rows, threads;
  vonk_cli_model_options options;
  if (vonk_cli_number(args, "rows", DEFAULT_ROWS, 1, INT32_MAX, &n_rows, &err) !=
          VONK_OK ||
      vonk_cli_number(args, "batch", 0, 1, INT32_MAX, &batch_rows, &err) != VONK_OK ||
      vonk_cli_number(args, "threads", 1, 1, 256, &threads, &err) != VONK_OK ||
      vonk_cli_seconds(args, "seconds", 5.0, &b.seconds, &err) != VONK_OK ||
      vonk_cli_model_options_read(args, &options, &err) != VONK_OK) {
    return vonk_cli_misuse("bench", &err);
  }
  b.n_threads = (uint32_t)threads;
  vonk_set_threads(b.n_threads);
  vonk_status status =
      vonk_model_open(args->operands[0], options.kvs, options.n, &b.model, &err);
  int code = status == VONK_OK ? run_bench(args, &b, n_rows, batch_rows)
                               : vonk_cli_fail("bench", &err, VONK_EXIT_MODEL);
  clear_bench(&b);
  vonk_cli_model_options_clear(&options);
  return code;
}
