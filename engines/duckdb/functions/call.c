/* One chunk of rows through a model: vectors seen as Arrow arrays, vonk_predict, results
 * into the output vector. */
#include "engines/duckdb/functions/internal.h"

/* --- what a thread keeps during a query --- */

typedef struct state {
  duckdb_client_context context;
} state;

static void release_state(void *pointer) {
  state *s = pointer;
  duckdb_destroy_client_context(&s->context);
  vonk_delete(s);
}

void vonk_sql_state_init(duckdb_init_info info) {
  state *s;
  if (vonk_new(1, sizeof(*s), &s, NULL) != VONK_OK) {
    duckdb_scalar_function_init_set_error(info, "memory: none left to start a query");
    return;
  }
  duckdb_scalar_function_init_get_client_context(info, &s->context);
  duckdb_scalar_function_init_set_state(info, s, release_state);
}

/* DuckDB shows a copy, and has none of a subquery. */
vonk_status vonk_sql_fail_hidden(size_t number, vonk_error *err) {
  return vonk_fail(
      err, VONK_UNSUPPORTED,
      "argument %zu: holds a subquery, which this release of DuckDB does not "
      "show to functions: select it in FROM, as in SELECT f(x) FROM (SELECT "
      "... AS x)",
      number);
}

duckdb_client_context vonk_sql_state_context(const vonk_sql *sql,
                                             duckdb_function_info info) {
  if (!sql->has_bind) {
    return NULL;
  }
  state *s = duckdb_scalar_function_get_state(info);
  return s == NULL ? NULL : s->context;
}

/* --- totals --- */

/* What the predictor has counted since it was asked last. */
static void add_totals(vonk_sql *sql, vonk_sql_slot *slot, vonk_sql_predictor *p) {
  vonk_stats now = {.struct_size = (uint32_t)sizeof(now)};
  vonk_predictor_stats(p->predictor, &now);
  pthread_mutex_lock(&sql->mutex);
  vonk_stats *t = &slot->totals;
  t->rows += now.rows - p->seen.rows;
  t->null_rows += now.null_rows - p->seen.null_rows;
  t->error_rows += now.error_rows - p->seen.error_rows;
  t->micro_batches += now.micro_batches - p->seen.micro_batches;
  t->bytes_in += now.bytes_in - p->seen.bytes_in;
  t->bytes_copied += now.bytes_copied - p->seen.bytes_copied;
  t->convert_ns += now.convert_ns - p->seen.convert_ns;
  t->infer_ns += now.infer_ns - p->seen.infer_ns;
  t->emit_ns += now.emit_ns - p->seen.emit_ns;
  t->wait_ns += now.wait_ns - p->seen.wait_ns;
  pthread_mutex_unlock(&sql->mutex);
  p->seen = now;
}

/* --- the chunk --- */

static vonk_status predict(const vonk_sql_call *call, vonk_sql_predictor *p,
                           struct ArrowArray *results, vonk_error *err) {
  struct ArrowArray rows;
  VONK_TRY(vonk_sql_shape_view(call->shape, call->input, call->first, &rows, err));
  vonk_sql_run run = {.predictor = p, .context = call->context};
  vonk_sql_run_begin(call->sql, &run);
  vonk_status status = vonk_predict(p->predictor, &rows, results, err);
  vonk_sql_run_end(call->sql, &run);
  rows.release(&rows);
  return status;
}

static vonk_status run(const vonk_sql_call *call, vonk_sql_predictor *p,
                       duckdb_vector output, vonk_error *err) {
  struct ArrowArray results = {.release = NULL};
  VONK_TRY(predict(call, p, &results, err));
  vonk_status status =
      vonk_sql_result_emit(call->loaded, call->use, p, &results, output, err);
  results.release(&results);
  return status;
}

vonk_status vonk_sql_call_run(const vonk_sql_call *call, duckdb_vector output,
                              vonk_error *err) {
  idx_t n = duckdb_data_chunk_get_size(call->input);
  if (n == 0) {
    return VONK_OK;
  }
  vonk_sql_predictor *p = NULL;
  vonk_status status =
      vonk_sql_predictor_take(call->loaded, call->use, call->shape, &p, err);
  if (status == VONK_OK) {
    status = run(call, p, output, err);
    add_totals(call->sql, call->slot, p);
    vonk_sql_predictor_give(call->loaded, p);
  }
  if (status == VONK_CANCELLED) { /* only a request to stop the query cancels */
    return vonk_fail(err, status, "model '%s': interrupted", call->slot->name);
  }
  if (status != VONK_OK) {
    return vonk_prefix(err, status, "model '%s'", call->slot->name);
  }
  atomic_fetch_add_explicit(&call->sql->rows, n, memory_order_relaxed);
  return VONK_OK;
}
