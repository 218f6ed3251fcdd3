/* Messages of the library for Python's logging.
 *
 * How it works. A message comes from any thread, possibly while a Python thread holds the
 * interpreter's lock and waits for that very thread: so the lock is never waited for here.
 * Messages go into a queue of bounded length, and Python's main thread is asked to empty
 * it (a pending call). What does not fit is dropped and counted. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { ROOM = 256 };

typedef struct message {
  int32_t level;
  char where[64], text[1024];
} message;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static message *queue; /* ROOM of them */
static size_t first, count, dropped;
static bool is_asked;
static PyObject *listener; /* callable(level, where, message); guarded by the lock */

static void cut_copy(char *out, size_t size, const char *text) {
  size_t n = strlen(text);
  n = n < size ? n : size - 1;
  memcpy(out, text, n);
  out[n] = '\0';
}

static bool take(message *out, size_t *n_dropped) {
  (void)pthread_mutex_lock(&mutex);
  bool found = count > 0;
  if (found) {
    *out = queue[first];
    first = (first + 1) % ROOM;
    count--;
  } else {
    is_asked = false;
  }
  *n_dropped = dropped;
  dropped = 0;
  (void)pthread_mutex_unlock(&mutex);
  return found;
}

static void hand_over(int32_t level, const char *where, const char *text) {
  PyObject *to = Py_XNewRef(listener);
  PyObject *result =
      to == NULL ? NULL : PyObject_CallFunction(to, "iss", (int)level, where, text);
  if (to != NULL && result == NULL) {
    PyErr_WriteUnraisable(to);
  }
  Py_XDECREF(result);
  Py_XDECREF(to);
}

/* Runs on the main thread with the lock. */
static int empty_queue(void *unused) {
  (void)unused;
  message m;
  size_t n_dropped;
  bool found;
  do {
    found = take(&m, &n_dropped);
    if (n_dropped > 0) {
      hand_over(VONK_LOG_WARNING, "log", "messages came faster than they were taken");
    }
    if (found) {
      hand_over(m.level, m.where, m.text);
    }
  } while (found);
  return 0;
}

static void enqueue(void *arg, int32_t level, const char *where, const char *text) {
  (void)arg;
  (void)pthread_mutex_lock(&mutex);
  if (queue == NULL) {
    queue = malloc(ROOM * sizeof *queue);
  }
  if (queue == NULL || count == ROOM) {
    dropped++;
  } else {
    message *m = &queue[(first + count++) % ROOM];
    m->level = level;
    cut_copy(m->where, sizeof m->where, where == NULL ? "" : where);
    cut_copy(m->text, sizeof m->text, text == NULL ? "" : text);
  }
  bool ask = !is_asked;
  is_asked = true;
  (void)pthread_mutex_unlock(&mutex);
  if (ask && Py_AddPendingCall(empty_queue, NULL) != 0) {
    (void)pthread_mutex_lock(&mutex); /* Python's list is full: with the next message */
    is_asked = false;
    (void)pthread_mutex_unlock(&mutex);
  }
}

/* set_log(level, listener or None) */
PyObject *vonk_py_set_log(PyObject *module, PyObject *args) {
  (void)module;
  int level;
  PyObject *given;
  if (!PyArg_ParseTuple(args, "iO", &level, &given)) {
    return NULL;
  }
  (void)empty_queue(NULL);
  PyObject *old = listener;
  listener = given == Py_None ? NULL : Py_NewRef(given);
  Py_XDECREF(old);
  vonk_set_log(level, listener == NULL ? NULL : enqueue, NULL);
  Py_RETURN_NONE;
}

/* In the child of a fork, where another thread may have held the mutex. */
PyObject *vonk_py_after_fork(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  (void)pthread_mutex_init(&mutex, NULL);
  first = count = dropped = 0;
  is_asked = false;
  Py_RETURN_NONE;
}
