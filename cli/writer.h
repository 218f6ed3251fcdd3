/* The rows of a pipeline as a table that DuckDB can copy to a file. */
#ifndef VONK_CLI_WRITER_H
#define VONK_CLI_WRITER_H

#include "cli/pipeline.h"

typedef struct vonk_cli_writer {
  const vonk_cli_plan *plan;
  vonk_cli_pipeline *pipeline;
  void (*on_rows)(void *arg, int64_t rows_so_far); /* after each batch; may be NULL */
  void *arg;
  int64_t n_rows;     /* handed to DuckDB so far */
  uint64_t emit_ns;   /* spent on handing over */
  vonk_status status; /* why the rows ended early */
  vonk_error error;
} vonk_cli_writer;

/* Name of the table function, for FROM. */
#define VONK_CLI_ROWS "vonk_rows()"

/* Makes the table function on a connection; the writer must outlive the connection. */
vonk_status vonk_cli_writer_register(vonk_cli_writer *, duckdb_connection connection,
                                     vonk_error *err);

#endif /* VONK_CLI_WRITER_H */
