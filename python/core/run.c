/* One call of the library, that a signal can end.
 *
 * How it works. Python runs signal handlers on its main thread only, and only when that
 * thread asks. So on the main thread a call that may last is made by a helper thread,
 * while the main thread wakes every 50 ms and asks; if a handler raises (Ctrl-C does), the
 * predictor is cancelled and the helper waited for. What a call lasts is judged by the
 * last one: below 20 ms, and on any other thread, it is made in place. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "core.h"

enum { ASK_EVERY_NS = 50000000, SHORT_NS = 20000000 };

typedef struct helper_call {
  const vonk_predictor *predictor;
  const struct ArrowArray *rows;
  struct ArrowArray *out;
  vonk_error *err;
  vonk_status status;
  pthread_mutex_t mutex;
  pthread_cond_t done;
  bool is_done;
} helper_call;

int64_t vonk_py_now_ns(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *help(void *arg) {
  helper_call *call = arg;
  vonk_status status = vonk_predict(call->predictor, call->rows, call->out, call->err);
  (void)pthread_mutex_lock(&call->mutex);
  call->status = status;
  call->is_done = true;
  (void)pthread_cond_signal(&call->done);
  (void)pthread_mutex_unlock(&call->mutex);
  return NULL;
}

/* True if a handler has raised. */
static bool ask_signals(void) {
  PyGILState_STATE lock = PyGILState_Ensure();
  bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(lock);
  return raised;
}

/* Waits for the helper; true if a handler has raised meanwhile. */
static bool wait_for_helper(helper_call *call, vonk_predictor *predictor) {
  bool raised = false, is_done = false;
  while (!is_done) {
    int64_t until = vonk_py_now_ns() + ASK_EVERY_NS;
    struct timespec t = {.tv_sec = (time_t)(until / 1000000000),
                         .tv_nsec = (long)(until % 1000000000)};
    (void)pthread_mutex_lock(&call->mutex);
    while (!call->is_done && (raised || vonk_py_now_ns() < until)) {
      if (raised) { /* it ends soon, and there is nothing more to ask */
        (void)pthread_cond_wait(&call->done, &call->mutex);
      } else {
        (void)pthread_cond_timedwait(&call->done, &call->mutex, &t);
      }
    }
    is_done = call->is_done;
    (void)pthread_mutex_unlock(&call->mutex);
    if (!is_done && !raised && ask_signals()) {
      raised = true;
      vonk_predictor_cancel(predictor);
    }
  }
  return raised;
}

/* The helper takes no signals: they belong to the main thread. */
static bool start_helper(helper_call *call, pthread_t *thread) {
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(thread, NULL, help, call) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
}

static vonk_status run_with_helper(vonk_py_predictor *predictor,
                                   const struct ArrowArray *rows, struct ArrowArray *out,
                                   vonk_error *err) {
  helper_call call = {
      .predictor = predictor->handle, .rows = rows, .out = out, .err = err};
  pthread_condattr_t monotonic;
  (void)pthread_condattr_init(&monotonic);
  (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&call.done, &monotonic);
  (void)pthread_condattr_destroy(&monotonic);
  (void)pthread_mutex_init(&call.mutex, NULL);
  pthread_t thread;
  if (!start_helper(&call, &thread)) {
    call.status = vonk_predict(predictor->handle, rows, out, err);
  } else {
    bool raised = wait_for_helper(&call, predictor->handle);
    (void)pthread_join(thread, NULL);
    if (raised) {
      atomic_store(&predictor->cancelled, true);
      if (call.status == VONK_OK) { /* it was done before it heard of it */
        out->release(out);
      }
      call.status = vonk_py_fail(err, VONK_CANCELLED, "prediction: a signal ended it");
    }
  }
  (void)pthread_mutex_destroy(&call.mutex);
  (void)pthread_cond_destroy(&call.done);
  return call.status;
}

static _Atomic unsigned long main_thread;

int vonk_py_note_main_thread(void) {
  PyObject *module = PyImport_ImportModule("threading");
  PyObject *thread =
      module == NULL ? NULL : PyObject_CallMethod(module, "main_thread", NULL);
  PyObject *ident = thread == NULL ? NULL : PyObject_GetAttrString(thread, "ident");
  if (ident != NULL) {
    atomic_store(&main_thread, PyLong_AsUnsignedLong(ident));
  }
  Py_XDECREF(ident);
  Py_XDECREF(thread);
  Py_XDECREF(module);
  return PyErr_Occurred() ? -1 : 0;
}

static bool is_main_thread(void) {
  return PyThread_get_thread_ident() == atomic_load(&main_thread);
}

vonk_status vonk_py_run(vonk_py_predictor *predictor, const struct ArrowArray *rows,
                        struct ArrowArray *out, vonk_error *err) {
  int64_t before = atomic_load_explicit(&predictor->ns_per_row, memory_order_relaxed);
  int64_t n_rows = rows->length < 1 ? 1 : rows->length;
  bool is_short = before != 0 && n_rows < SHORT_NS / before;
  int64_t start = vonk_py_now_ns();
  vonk_status status = is_short || !is_main_thread()
                           ? vonk_predict(predictor->handle, rows, out, err)
                           : run_with_helper(predictor, rows, out, err);
  int64_t ns = (vonk_py_now_ns() - start) / n_rows;
  atomic_store_explicit(&predictor->ns_per_row, ns < 1 ? 1 : ns, memory_order_relaxed);
  return status;
}

vonk_status vonk_py_check_signals(vonk_error *err) {
  static _Atomic int64_t
      last_asked; /* asking means waiting for the lock: not each time */
  if (!is_main_thread() || vonk_py_now_ns() - last_asked < ASK_EVERY_NS) {
    return VONK_OK;
  }
  last_asked = vonk_py_now_ns();
  return ask_signals()
             ? vonk_py_fail(err, VONK_CANCELLED, "prediction: a signal ended it")
             : VONK_OK;
}
