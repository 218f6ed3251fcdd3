/* Rows on their way from a SELECT through a predictor to whoever writes them, on several
 * threads, in order. */
#ifndef VONK_CLI_PIPELINE_H
#define VONK_CLI_PIPELINE_H

#include "cli/plan.h"

enum { VONK_CLI_MAX_PIECES = 16 };

/* One chunk of rows. Pieces of it are predicted one by one; results[i] belongs to piece
 * i. */
typedef struct vonk_cli_batch {
  duckdb_data_chunk chunk;
  struct ArrowArray rows; /* the columns that the predictor reads, borrowed from chunk */
  int64_t first_row, n_rows, piece_rows;
  uint64_t nbytes;
  int n_pieces, next_piece, n_done;
  struct ArrowArray results[VONK_CLI_MAX_PIECES];
  vonk_status status; /* of the first piece that failed */
  int failed_piece;
  vonk_error error;
} vonk_cli_batch;

typedef struct vonk_cli_pipeline vonk_cli_pipeline;

/* Where the time of all threads went, in nanoseconds. */
typedef struct vonk_cli_pipeline_times {
  uint64_t read_ns, predict_ns, wait_ns;
} vonk_cli_pipeline_times;

/* plan and result are borrowed; result is a streaming one. n_threads, the caller's
 * included, work; with 1, everything happens on the thread that calls
 * vonk_cli_pipeline_next. */
vonk_status vonk_cli_pipeline_create(const vonk_cli_plan *plan, duckdb_result *result,
                                     const char *source, uint32_t n_threads,
                                     vonk_cli_pipeline **out, vonk_error *err);
/* Reads the first rows, so that their size is known: *row_bytes is that of a row of the
 * kept columns, *is_all whether there are no more. */
vonk_status vonk_cli_pipeline_prime(vonk_cli_pipeline *, double *row_bytes, bool *is_all,
                                    vonk_error *err);
/* Starts the other threads. */
vonk_status vonk_cli_pipeline_start(vonk_cli_pipeline *, vonk_error *err);
/* The next finished batch in the order of the rows, NULL at the end; works on others
 * while it waits. Valid until the next call. From one thread at a time. */
vonk_status vonk_cli_pipeline_next(vonk_cli_pipeline *, vonk_cli_batch **out,
                                   vonk_error *err);
/* Makes every thread end soon; from any thread. */
void vonk_cli_pipeline_stop(vonk_cli_pipeline *);
vonk_cli_pipeline_times vonk_cli_pipeline_timing(vonk_cli_pipeline *);
/* Stops, waits for the threads, frees. NULL is fine. */
void vonk_cli_pipeline_release(vonk_cli_pipeline *);

#endif /* VONK_CLI_PIPELINE_H */
