/* One call: rows in, predictions out.
 *
 * How it works. The rows are looked at (rows.c) and cut into micro-batches (cut.c). The
 * calling thread takes one cut after the other; helper threads that join from the
 * process's budget do the same. Cuts do not share rows, so results need no lock. A
 * failure of the call, as against one of a row, stops the cuts behind it; the one of the
 * first cut is told, whatever order the threads came in. */
#include <string.h>

#include "predict/plan.h"

typedef struct worker {
  call *call;
  workspace *workspace; /* the caller's */
} worker;

static void fail_cut(call *c, int64_t index, vonk_status status, const vonk_error *why) {
  pthread_mutex_lock(&c->mutex);
  if (c->failed == VONK_OK || index < c->failed_cut) {
    c->failed = status;
    c->failed_cut = index;
    vonk_error_copy(c->error, why);
    atomic_store(&c->stop_at, index);
  }
  pthread_mutex_unlock(&c->mutex);
}

/* Takes cuts until none is left; true if so, false if the thread is wanted elsewhere. */
static bool run_cuts(call *c, bool is_helper, vonk_plugin_session *session,
                     workspace *ws) {
  for (;;) {
    if (is_helper && vonk_budget_is_crowded()) {
      return false;
    }
    int64_t index = atomic_fetch_add(&c->next_cut, 1);
    if (index >= c->n_cuts || index >= atomic_load(&c->stop_at)) {
      return true;
    }
    vonk_error why;
    clear_error(&why);
    vonk_status status = vonk_run_cut(c, index, session, ws, &why);
    if (status != VONK_OK) {
      fail_cut(c, index, status, &why);
    }
  }
}

static bool work(void *arg, bool is_helper) {
  worker *w = arg;
  call *c = w->call;
  vonk_error why;
  vonk_plugin_session *session = NULL;
  workspace *ws = is_helper ? NULL : w->workspace;
  bool finished = true;
  clear_error(&why);
  vonk_status status = vonk_session_acquire(c->predictor->model, &session, &why);
  if (status == VONK_OK && is_helper) {
    status = vonk_workspace_acquire(c->predictor, &ws, &why);
  }
  if (status == VONK_OK && is_helper) {
    ws->clock = vonk_clock_ns();
  }
  if (status == VONK_OK) {
    finished = run_cuts(c, is_helper, session, ws);
  } else if (!is_helper) { /* a helper that cannot help leaves the work to the caller */
    fail_cut(c, 0, status, &why);
  }
  if (is_helper && ws != NULL) {
    vonk_workspace_give_back(c->predictor, ws);
  }
  vonk_session_give_back(c->predictor->model, session);
  return finished;
}

static vonk_status allocate_results(call *c, workspace *ws, vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  c->outputs = ws->placed;
  for (size_t i = 0; i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    size_t nbytes = 0;
    if (o->is_dense) {
      VONK_TRY(vonk_size_mul((size_t)c->n_rows, (size_t)o->row_elements, &nbytes, err));
      VONK_TRY(vonk_size_mul(nbytes, o->element_size, &nbytes, err));
      VONK_TRY(vonk_new_aligned(nbytes, 64, &c->outputs[i].values, err));
    }
  }
  return VONK_OK;
}

static void release_results(call *c) {
  for (size_t i = 0; c->outputs != NULL && i < c->predictor->n_outputs; i++) {
    vonk_delete(c->outputs[i].values); /* what the result has not taken */
    for (piece *x = c->outputs[i].pieces, *next; x != NULL; x = next) {
      next = x->next;
      vonk_piece_release(x);
    }
    c->outputs[i] = (output_result){0};
  }
}

static vonk_status execute(call *c, workspace *ws) {
  counters *n = c->predictor->counters;
  worker w = {.call = c, .workspace = ws};
  if (c->n_cuts == 0) {
    return VONK_OK;
  }
  atomic_store(&c->stop_at, c->n_cuts);
  uint32_t threads = vonk_budget_run(
      work, &w, c->n_cuts > UINT32_MAX ? UINT32_MAX : (uint32_t)c->n_cuts);
  if (threads > 1) {
    uint64_t done = ws->clock;
    ws->clock = vonk_clock_ns();
    count(&n->wait_ns, ws->clock - done);
  }
  uint32_t most = atomic_load_explicit(&n->max_threads, memory_order_relaxed);
  while (threads > most &&
         !atomic_compare_exchange_weak(&n->max_threads, &most, threads)) {
  }
  return c->failed;
}

static vonk_status open_rows(call *c, workspace *ws, const struct ArrowArray *rows,
                             vonk_error *err) {
  uint64_t start = vonk_clock_ns();
  VONK_TRY(vonk_rows_open(c, ws, rows, err));
  VONK_TRY(vonk_rows_cut(c, err));
  ws->clock = vonk_clock_ns();
  count(&c->predictor->counters->convert_ns, ws->clock - start);
  return VONK_OK;
}

static vonk_status run_call(call *c, workspace *ws, const struct ArrowArray *rows,
                            struct ArrowArray *out, vonk_error *err) {
  VONK_TRY(open_rows(c, ws, rows, err));
  VONK_TRY(allocate_results(c, ws, err));
  VONK_TRY(execute(c, ws));
  VONK_TRY(vonk_emit(c, out, err));
  count(&c->predictor->counters->emit_ns, vonk_clock_ns() - ws->clock);
  count(&c->predictor->counters->rows, (uint64_t)c->n_rows);
  return VONK_OK;
}

vonk_status vonk_predict(const vonk_predictor *p, const struct ArrowArray *rows,
                         struct ArrowArray *out, vonk_error *err) {
  VONK_TRY(vonk_process_check(err));
  VONK_TRY(vonk_call_check_cancel(p, err));
  workspace *ws = NULL;
  VONK_TRY(vonk_workspace_acquire(p, &ws, err));
  call c = {.predictor = p, .error = err};
  pthread_mutex_init(&c.mutex, NULL);
  vonk_status status = run_call(&c, ws, rows, out, err);
  release_results(&c);
  vonk_rows_close(&c);
  vonk_workspace_give_back(p, ws);
  vonk_buffer_release(&c.messages);
  vonk_buffer_release(&c.message_text);
  pthread_mutex_destroy(&c.mutex);
  return status;
}
