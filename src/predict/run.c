/* Running one cut of a batch, and finding the rows that make it fail.
 *
 * Isolation. When the model refuses a micro-batch, its rows are halved until the bad ones
 * are alone. A half that succeeds keeps its results, so that every good row is computed
 * once more at most; and if the first half was good, the bad row is in the second, which
 * is halved without being tried whole. A failing run usually fails at once (a bad index
 * at the first node), so that finding one row in 256 costs little more than computing the
 * other 255.
 *
 * Bits. Frameworks give a row the same bits whatever the number of rows it runs with,
 * except for very few: kernels for one row, or for up to three, add in another order.
 * (Measured: ONNX Runtime 1.31 and TensorFlow 2.21 give 2 to 2,048 rows the same bits,
 * PyTorch 2.13 with its MKL 4 and more.) So rows that are few only because of their
 * neighbours, bad ones or ones of another shape, are filled up to LEAST_ROWS. */
#include <inttypes.h>

#include "predict/plan.h"

enum { LEAST_ROWS = 4 };

typedef struct runner {
  call *call;
  vonk_plugin_session *session;
  workspace *workspace;
  int64_t least; /* rows that a run must have */
} runner;

vonk_status vonk_call_check_cancel(const vonk_predictor *p, vonk_error *err) {
  return vonk_cancel_source_fired(p->cancel)
             ? vonk_fail(err, VONK_CANCELLED, "prediction: was cancelled")
             : VONK_OK;
}

static vonk_status infer(runner *r, vonk_error *err) {
  const vonk_predictor *p = r->call->predictor;
  workspace *ws = r->workspace;
  vonk_cancel cancel = {0};
  uint32_t asked_for = vonk_model_threads(p->model), room = vonk_budget_room();
  bool is_lone = r->call->n_cuts == 1 && room > asked_for;
  vonk_run run = {.struct_size = (uint32_t)sizeof run,
                  .n_inputs = (uint32_t)ws->n_inputs,
                  .n_outputs = (uint32_t)ws->n_outputs,
                  .threads = is_lone ? room : asked_for,
                  .inputs = ws->input_table,
                  .outputs = ws->output_table,
                  .cancel = &cancel,
                  .host = vonk_host_get()};
  VONK_TRY(vonk_call_check_cancel(p, err));
  vonk_cancel_join(&cancel, p->cancel);
  vonk_status status = vonk_session_run(p->model, r->session, &run, err);
  vonk_cancel_leave(&cancel);
  if (status != VONK_OK) {
    VONK_TRY(vonk_call_check_cancel(p, err));
  }
  return status;
}

/* Converts, runs, takes over. */
static vonk_status run_rows(runner *r, const micro_batch *mb, vonk_error *err) {
  counters *n = r->call->predictor->counters;
  uint64_t start = r->workspace->clock;
  VONK_TRY(vonk_tensors_fill(r->call, mb, r->workspace, err));
  VONK_TRY(vonk_results_prepare(r->call, mb, r->workspace, err));
  uint64_t filled = vonk_clock_ns();
  vonk_status status = infer(r, err);
  uint64_t inferred = vonk_clock_ns();
  count(&n->convert_ns, filled - start);
  count(&n->infer_ns, inferred - filled);
  count(&n->micro_batches, 1);
  if (status != VONK_OK) {
    vonk_results_release(r->workspace);
    r->workspace->clock = inferred;
    return status;
  }
  status = vonk_results_take(r->call, mb, r->workspace, err);
  r->workspace->clock = vonk_clock_ns();
  count(&n->emit_ns, r->workspace->clock - inferred);
  return status;
}

static int64_t rows_to_run(const runner *r, int64_t n) {
  int64_t fixed = r->call->predictor->fixed_batch;
  if (fixed != 0) {
    return fixed;
  }
  return n < r->least ? r->least : n;
}

/* Rows as they are listed, ascending; a gapless list borrows. */
static micro_batch batch_of(const runner *r, const int64_t *rows, int64_t n) {
  micro_batch mb = {.n = n, .n_run = rows_to_run(r, n), .first = rows[0]};
  if (rows[n - 1] - rows[0] != n - 1) {
    mb.rows_in = rows;
    mb.rows_out = rows;
  }
  return mb;
}

/* Faults that a row's values can cause; any other ends the call. Memory may suffice for
 * fewer rows. */
static bool may_be_a_row(vonk_status status, int64_t n) {
  return status == VONK_INVALID || status == VONK_BACKEND ||
         (status == VONK_NOMEM && n > 1);
}

/* Runs rows, halving where they fail. *all_good tells whether no row was bad. failed: how
 * they failed as a whole already, VONK_OK if that has not been tried. */
static vonk_status isolate(runner *r, const int64_t *rows, int64_t n, vonk_status failed,
                           bool *all_good, vonk_error *err) {
  if (failed == VONK_OK || n == 1) {
    vonk_error why;
    clear_error(&why);
    micro_batch mb = batch_of(r, rows, n);
    failed = run_rows(r, &mb, &why);
    if (failed == VONK_OK) {
      return VONK_OK;
    }
    if (!may_be_a_row(failed, n)) {
      vonk_error_copy(err, &why);
      return failed;
    }
    *all_good = false;
    if (n == 1) {
      return vonk_call_bad_row(r->call, rows[0], ROW_BAD, &why, err);
    }
  }
  bool first_is_good = true, second_is_good = true;
  int64_t half = n / 2;
  VONK_TRY(isolate(r, rows, half, VONK_OK, &first_is_good, err));
  /* Memory may suffice for each half. */
  bool second_fails = first_is_good && failed != VONK_NOMEM;
  VONK_TRY(isolate(r, rows + half, n - half, second_fails ? failed : VONK_OK,
                   &second_is_good, err));
  *all_good = *all_good && first_is_good && second_is_good;
  return VONK_OK;
}

/* Lists the good rows of [begin, end). */
static int64_t list_good(const call *c, int64_t begin, int64_t end, int64_t *rows) {
  int64_t n = 0;
  for (int64_t i = begin; i < end; i++) {
    if (c->state == NULL || c->state[i] == ROW_GOOD) {
      rows[n++] = i;
    }
  }
  return n;
}

/* Every place gets a good row's values: its own, or those of the good row before it (for
 * the first ones: after it). */
static void fill_places(const call *c, int64_t begin, int64_t end, int64_t first_good,
                        int64_t *rows) {
  int64_t last = first_good;
  for (int64_t i = begin; i < end; i++) {
    last = c->state[i] == ROW_GOOD ? i : last;
    rows[i - begin] = last;
  }
}

/* Rows as they come. Places of bad rows are filled, unless most are bad: then the good
 * ones are put together. */
static micro_batch plan_range(const runner *r, cut range, int64_t n_good,
                              const int64_t *good) {
  int64_t n = range.end - range.begin;
  micro_batch mb = {.n = n, .n_run = rows_to_run(r, n), .first = range.begin};
  if (n_good == n) {
    return mb;
  }
  if (2 * n_good < n) {
    return batch_of(r, good, n_good);
  }
  fill_places(r->call, range.begin, range.end, good[0], r->workspace->rows_in);
  mb.rows_in = r->workspace->rows_in;
  return mb;
}

/* How many rows each run of a cut has at least: as many as it might have had with other
 * neighbours. */
static int64_t least_rows(const call *c, cut range) {
  bool is_grouped = c->predictor->groups_rows && c->n_rows > 1;
  int64_t most = is_grouped ? vonk_rows_most(c, range.begin) : range.end - range.begin;
  return most < LEAST_ROWS ? most : LEAST_ROWS;
}

vonk_status vonk_run_cut(call *c, int64_t index, vonk_plugin_session *session,
                         workspace *ws, vonk_error *err) {
  cut range = c->cuts[index];
  const int64_t *good = ws->rows_out;
  int64_t n_good = range.end - range.begin;
  runner r = {
      .call = c, .session = session, .workspace = ws, .least = least_rows(c, range)};
  micro_batch mb;
  if (c->order != NULL) {
    good = &c->order[range.begin];
    mb = batch_of(&r, good, n_good);
  } else {
    n_good = list_good(c, range.begin, range.end, ws->rows_out);
    if (n_good == 0) {
      return VONK_OK;
    }
    mb = plan_range(&r, range, n_good, good);
  }
  vonk_error why;
  clear_error(&why);
  vonk_status status = run_rows(&r, &mb, &why);
  if (status == VONK_OK) {
    return VONK_OK;
  }
  if (!may_be_a_row(status, n_good)) {
    vonk_error_copy(err, &why);
    return status;
  }
  bool all_good = true;
  if (n_good == 1) {
    return vonk_call_bad_row(c, good[0], ROW_BAD, &why, err);
  }
  return isolate(&r, good, n_good, status, &all_good, err);
}
