/* Rows that get no prediction: what the policy says happens, and why it happened. */
#include "predict/plan.h"

static vonk_status keep_message(call *c, int64_t row, const char *text, vonk_error *err) {
  size_t size = 0;
  while (text[size] != '\0') {
    size++;
  }
  row_message m = {.row = row, .start = c->message_text.size, .size = size};
  VONK_TRY(vonk_buffer_append(&c->message_text, text, size, err));
  return vonk_buffer_append(&c->messages, &m, sizeof m, err);
}

/* What to write instead, in the caller's language. */
static const char *way_out(const vonk_predictor *p, int state) {
  static const char *const nulls[] = {
      [VONK_ADVICE_KEYWORDS] = "nulls='null' gives such a row a NULL prediction",
      [VONK_ADVICE_DUCKDB] = "nulls := 'null' gives such a row a NULL"};
  static const char *const errors[] = {
      [VONK_ADVICE_KEYWORDS] = "on_error='null' or 'report' goes on without such rows",
      [VONK_ADVICE_DUCKDB] = "the try_ function goes on without such rows"};
  return (state == ROW_NULL ? nulls : errors)[p->advice];
}

vonk_status vonk_call_bad_row(call *c, int64_t row, int state, const vonk_error *why,
                              vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  bool is_null = state == ROW_NULL && p->nulls == VONK_NULLS_NULL;
  if (!is_null && p->row_errors == VONK_ROWS_RAISE) {
    vonk_fail(err, why->code, "%s: %s", why->message, way_out(p, state));
    if (err != NULL && VONK_HAS(err, native_code)) {
      err->native_code = why->native_code;
    }
    vonk_error_set_row(err, row);
    return why->code;
  }
  vonk_status status = VONK_OK;
  if (c->state == NULL) { /* a NULL row: those are found before any thread runs */
    VONK_TRY(vonk_new((size_t)c->n_rows, 1, &c->state, err));
  }
  c->state[row] = (uint8_t)(is_null ? ROW_NULL : ROW_BAD);
  count(is_null ? &p->counters->null_rows : &p->counters->error_rows, 1);
  if (p->row_errors == VONK_ROWS_REPORT) {
    pthread_mutex_lock(&c->mutex);
    status = keep_message(c, row, why->message, err);
    pthread_mutex_unlock(&c->mutex);
  }
  return status;
}
