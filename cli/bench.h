/* `vonk bench`: rows (bench_rows.c), the framework alone (bare.c), measuring (bench.c).
 */
#ifndef VONK_CLI_BENCH_H
#define VONK_CLI_BENCH_H

#include "cli/cli.h"
#include "cli/files.h"

/* One input of the model, for all rows, as the framework takes it: dense, row-major, of
 * the model's dtype. */
typedef struct vonk_cli_bench_input {
  const vonk_io *io;
  int64_t shape[VONK_MAX_RANK]; /* of one micro-batch; shape[0] is set for each */
  int64_t row_elements;
  size_t row_bytes;
  uint8_t *values;
  uint8_t *bits; /* VONK_BOOL8: the same values as Arrow has them */
} vonk_cli_bench_input;

typedef struct vonk_cli_bench_rows {
  int64_t n_rows;
  size_t n_inputs;
  vonk_cli_bench_input *inputs;
  bool is_synthetic;
} vonk_cli_bench_rows;

/* Random numbers, the same in every run; whole numbers are 0 or 1, free dimensions after
 * the first are 8. */
vonk_status vonk_cli_bench_make(const vonk_model_summary *s, int64_t n_rows,
                                vonk_cli_bench_rows *out, vonk_error *err);
/* The first n_rows rows (or all) of a file, read by DuckDB into the model's types. */
vonk_status vonk_cli_bench_read(const vonk_cli_args *args, const vonk_model_summary *s,
                                int64_t n_rows, vonk_cli_bench_rows *out,
                                vonk_error *err);
void vonk_cli_bench_clear(vonk_cli_bench_rows *);
/* The same rows as Arrow columns, borrowed. */
vonk_status vonk_cli_bench_columns(const vonk_cli_bench_rows *,
                                   struct ArrowSchema *schema, struct ArrowArray *array,
                                   vonk_error *err);

/* Runs the model on all rows through its plug-in alone: micro-batches of batch_rows, one
 * after the other on each of n_threads threads, outputs into the same memory again and
 * again where the plug-in can. */
vonk_status vonk_cli_bare_pass(vonk_model *model, const vonk_cli_bench_rows *rows,
                               int64_t batch_rows, uint32_t n_threads, vonk_error *err);

#endif /* VONK_CLI_BENCH_H */
