/* What `vonk run` says when it is done. */
#include <inttypes.h>

#include "cli/run.h"

static void print_bad_rows(const vonk_cli_report *r, const vonk_stats *stats) {
  char count[32];
  if (stats->null_rows > 0) {
    (void)fprintf(
        stderr,
        "%s rows have a NULL where the model needs a value: their predictions are NULL\n",
        vonk_cli_count((int64_t)stats->null_rows, count));
  }
  if (stats->error_rows > 0) {
    bool has_reason = r->settings->bind.row_errors == VONK_ROWS_REPORT;
    (void)fprintf(
        stderr, "%s rows could not be scored: their predictions are NULL%s\n",
        vonk_cli_count((int64_t)stats->error_rows, count),
        has_reason ? ", the column 'error' says why" : " (--on-error report says why)");
  }
}

static double seconds(uint64_t ns) { return (double)ns / 1e9; }

static void print_stats(const vonk_cli_report *r, const vonk_stats *stats) {
  char in[32], copied[32], batches[32], batch[32];
  (void)fprintf(stderr, "threads       %" PRIu32 "\n", r->settings->n_threads);
  (void)fprintf(stderr, "model runs    %s of up to %s rows\n",
                vonk_cli_count((int64_t)stats->micro_batches, batches),
                vonk_cli_count(vonk_predictor_batch_rows(r->plan->predictor), batch));
  (void)fprintf(stderr, "model input   %s, %s of input and output copied\n",
                vonk_cli_bytes((int64_t)stats->bytes_in, in),
                vonk_cli_bytes((int64_t)stats->bytes_copied, copied));
  (void)fprintf(stderr, "wall time     %.3f s from start to end\n", r->seconds);
  (void)fprintf(stderr, "CPU time      %.3f s, of all threads, of this:\n",
                r->cpu_seconds);
  (void)fprintf(stderr, "  reading     %.3f s\n", seconds(r->times.read_ns));
  (void)fprintf(stderr, "  converting  %.3f s\n", seconds(stats->convert_ns));
  (void)fprintf(stderr, "  the model   %.3f s\n", seconds(stats->infer_ns));
  (void)fprintf(stderr, "  results     %.3f s\n",
                seconds(stats->emit_ns + r->writer->emit_ns));
  (void)fprintf(stderr, "idle          %.3f s, threads waiting for each other\n",
                seconds(r->times.wait_ns));
}

void vonk_cli_report_print(const vonk_cli_report *r) {
  if (r->settings->is_quiet) {
    return;
  }
  vonk_stats stats = {.struct_size = (uint32_t)sizeof(stats)};
  vonk_predictor_stats(r->plan->predictor, &stats);
  char rows[32], time[32], rate[32];
  (void)fprintf(
      stderr, "%s rows in %s, %s rows/s -> %s\n", vonk_cli_count(r->writer->n_rows, rows),
      vonk_cli_duration(r->seconds, time),
      vonk_cli_count(
          (int64_t)((double)r->writer->n_rows / (r->seconds > 0.0 ? r->seconds : 1.0)),
          rate),
      r->settings->output);
  print_bad_rows(r, &stats);
  if (r->settings->wants_stats) {
    print_stats(r, &stats);
  }
}
