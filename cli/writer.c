/* A table function that hands finished batches to DuckDB's COPY.
 *
 * How it works: DuckDB calls it on one thread, again and again, until it gives no rows.
 * Each call takes the next batch of the pipeline (working on others while it waits),
 * lends the kept input columns by reference, for the vectors share their buffers, and
 * copies the predictions. An error ends the statement; the writer remembers it whole. */
#include "cli/writer.h"

static vonk_status emit_batch(const vonk_cli_plan *plan, vonk_cli_batch *batch,
                              duckdb_data_chunk output, vonk_error *err) {
  for (size_t i = 0; i < plan->n_kept; i++) {
    duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(output, i),
                                   duckdb_data_chunk_get_vector(batch->chunk, i));
  }
  for (int64_t i = 0; i < plan->predictions.n_children; i++) {
    duckdb_vector vector = duckdb_data_chunk_get_vector(output, plan->n_kept + (idx_t)i);
    for (int piece = 0; piece < batch->n_pieces; piece++) {
      VONK_TRY(vonk_duckdb_emit(batch->results[piece].children[i],
                                plan->predictions.children[i], VONK_DUCKDB_LISTS, vector,
                                piece * batch->piece_rows, err));
    }
  }
  duckdb_data_chunk_set_size(output, (idx_t)batch->n_rows);
  return VONK_OK;
}

static vonk_status write_next(vonk_cli_writer *w, duckdb_data_chunk output,
                              vonk_error *err) {
  vonk_cli_batch *batch;
  VONK_TRY(vonk_cli_pipeline_next(w->pipeline, &batch, err));
  if (batch == NULL) {
    duckdb_data_chunk_set_size(output, 0);
    return VONK_OK;
  }
  uint64_t start = vonk_clock_ns();
  VONK_TRY(emit_batch(w->plan, batch, output, err));
  w->emit_ns += vonk_clock_ns() - start;
  w->n_rows += batch->n_rows;
  if (w->on_rows != NULL) {
    w->on_rows(w->arg, w->n_rows);
  }
  return VONK_OK;
}

static void write_rows(duckdb_function_info info, duckdb_data_chunk output) {
  vonk_cli_writer *w = duckdb_function_get_extra_info(info);
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = write_next(w, output, &err);
  if (status != VONK_OK) {
    w->status = status;
    w->error = err;
    duckdb_function_set_error(info, err.message);
  }
}

static void bind_rows(duckdb_bind_info info) {
  vonk_cli_writer *w = duckdb_bind_get_extra_info(info);
  const vonk_cli_plan *plan = w->plan;
  for (size_t i = 0; i < plan->n_kept; i++) {
    const vonk_cli_column *c = &plan->columns[plan->selected[i]];
    duckdb_bind_add_result_column(info, c->name, c->logical);
  }
  for (int64_t i = 0; i < plan->predictions.n_children; i++) {
    const struct ArrowSchema *schema = plan->predictions.children[i];
    duckdb_logical_type type;
    vonk_error err = VONK_ERROR_INIT;
    vonk_status status = vonk_duckdb_type_of(schema, VONK_DUCKDB_LISTS, &type, &err);
    if (status != VONK_OK) {
      w->status = status;
      w->error = err;
      duckdb_bind_set_error(info, err.message);
      return;
    }
    duckdb_bind_add_result_column(info, schema->name, type);
    duckdb_destroy_logical_type(&type);
  }
}

static void init_rows(duckdb_init_info info) { duckdb_init_set_max_threads(info, 1); }

vonk_status vonk_cli_writer_register(vonk_cli_writer *w, duckdb_connection connection,
                                     vonk_error *err) {
  duckdb_table_function function = duckdb_create_table_function();
  duckdb_table_function_set_name(function, "vonk_rows");
  duckdb_table_function_set_extra_info(function, w, NULL);
  duckdb_table_function_set_bind(function, bind_rows);
  duckdb_table_function_set_init(function, init_rows);
  duckdb_table_function_set_function(function, write_rows);
  duckdb_state state = duckdb_register_table_function(connection, function);
  duckdb_destroy_table_function(&function);
  return state == DuckDBSuccess
             ? VONK_OK
             : vonk_fail(err, VONK_BACKEND, "DuckDB: refused the table of predictions");
}
