/* The thread budget: how many threads may run models in this process at a time.
 *
 * How it works. `active` counts the threads that are inside a job. A caller always enters
 * its own job (it is a core that the engine granted); it then offers the job to helpers.
 * A helper sleeps until some job wants one and active is below the budget. It works until
 * the job has no piece left, or until later callers have made the process crowded, in
 * which case it leaves and the job goes back on offer. So one call alone uses every core,
 * sixteen calls at a time use sixteen threads and no helper, and nobody waits for a
 * thread to become free.
 *
 * Threads are made at the first job that could use them, never at load, and only as many
 * as were ever needed. All state is under one mutex; a job is touched only at its start,
 * at its end, and when a helper enters or leaves. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "model/model.h"

#define MAX_HELPERS 255u

typedef struct job { /* lives on its caller's stack */
  vonk_budget_work work;
  void *arg;
  uint32_t wanted;  /* helpers that may still enter */
  uint32_t inside;  /* helpers in it now */
  uint32_t largest; /* most threads at a time, the caller included */
  pthread_cond_t left;
  struct job *next;
} job;

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t offer; /* a job wants helpers and there may be room */
  job *jobs;
  pthread_t helpers[MAX_HELPERS];
  uint32_t n_helpers, n_idle;
  bool stopping;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .offer = PTHREAD_COND_INITIALIZER};

static _Atomic uint32_t active;    /* written under the mutex, read anywhere */
static _Atomic uint32_t requested; /* what vonk_set_threads asked for; 0 = the cores */
static _Atomic uint32_t budget;    /* the number in force; 0 = not determined yet */

static uint32_t budget_now(void) {
  uint32_t n = atomic_load_explicit(&budget, memory_order_relaxed);
  if (n != 0) {
    return n;
  }
  n = atomic_load_explicit(&requested, memory_order_relaxed);
  if (n == 0) {
    n = vonk_cores_granted();
  }
  atomic_store_explicit(&budget, n, memory_order_relaxed);
  return n;
}

void vonk_set_threads(uint32_t n) {
  atomic_store_explicit(&requested, n, memory_order_relaxed);
  atomic_store_explicit(&budget, n,
                        memory_order_relaxed); /* 0: determined anew at next use */
}

uint32_t vonk_get_threads(void) { return budget_now(); }

bool vonk_budget_is_crowded(void) {
  return atomic_load_explicit(&active, memory_order_relaxed) > budget_now();
}

uint32_t vonk_budget_room(void) {
  uint32_t busy = atomic_load_explicit(&active, memory_order_relaxed), n = budget_now();
  return busy <= n ? n - busy + (busy > 0) : 1;
}

static job *next_offer(void) {
  if (active >= budget_now()) {
    return NULL;
  }
  for (job *j = pool.jobs; j != NULL; j = j->next) {
    if (j->wanted > 0) {
      return j;
    }
  }
  return NULL;
}

/* Called with the mutex held; gives it up while the helper works. j may be gone when this
 * returns. */
static void help(job *j) {
  j->wanted--;
  j->inside++;
  active++;
  if (j->inside + 1 > j->largest) {
    j->largest = j->inside + 1;
  }
  pthread_mutex_unlock(&pool.mutex);
  bool finished = j->work(j->arg, true);
  pthread_mutex_lock(&pool.mutex);
  active--;
  j->inside--;
  j->wanted = finished ? 0 : j->wanted + 1;
  if (j->inside == 0) {
    pthread_cond_signal(&j->left);
  }
}

static void *helper_main(void *unused) {
  (void)unused;
  pthread_mutex_lock(&pool.mutex);
  while (!pool.stopping) {
    job *j = next_offer();
    if (j != NULL) {
      help(j);
      continue;
    }
    pool.n_idle++;
    pthread_cond_wait(&pool.offer, &pool.mutex);
    pool.n_idle--;
  }
  pthread_mutex_unlock(&pool.mutex);
  return NULL;
}

/* Makes helpers until `n` could be idle. They take no signals: those are the host's. A
 * thread that cannot be made is no error, the caller does the work. */
static void grow_pool(uint32_t n) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool.n_helpers < n && pool.n_helpers < MAX_HELPERS) {
    if (pthread_create(&pool.helpers[pool.n_helpers], NULL, helper_main, NULL) != 0) {
      break;
    }
    pool.n_helpers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void remove_offer(job *j) {
  for (job **link = &pool.jobs; *link != NULL; link = &(*link)->next) {
    if (*link == j) {
      *link = j->next;
      return;
    }
  }
}

static void append_offer(job *j) {
  job **link = &pool.jobs;
  while (*link != NULL) {
    link = &(*link)->next;
  }
  *link = j;
}

/* One thread less in a job: somebody else's job may get a helper now. Called with the
 * mutex held. */
static void leave(void) {
  active--;
  if (pool.jobs != NULL && pool.n_idle > 0) {
    pthread_cond_signal(&pool.offer);
  }
}

static void run_alone(vonk_budget_work work, void *arg) {
  pthread_mutex_lock(&pool.mutex);
  active++;
  pthread_mutex_unlock(&pool.mutex);
  work(arg, false);
  pthread_mutex_lock(&pool.mutex);
  leave();
  pthread_mutex_unlock(&pool.mutex);
}

uint32_t vonk_budget_run(vonk_budget_work work, void *arg, uint32_t max_threads) {
  uint32_t n = budget_now();
  n = max_threads < n ? max_threads : n;
  if (n <= 1) {
    run_alone(work, arg);
    return 1;
  }
  job j = {.work = work, .arg = arg, .wanted = n - 1, .largest = 1};
  pthread_cond_init(&j.left, NULL);
  pthread_mutex_lock(&pool.mutex);
  active++;
  append_offer(&j);
  if (active < budget_now()) {
    grow_pool(n - 1);
    pthread_cond_broadcast(&pool.offer);
  }
  pthread_mutex_unlock(&pool.mutex);

  work(arg, false);

  pthread_mutex_lock(&pool.mutex);
  remove_offer(&j);
  leave();
  while (j.inside > 0) {
    pthread_cond_wait(&j.left, &pool.mutex);
  }
  pthread_mutex_unlock(&pool.mutex);
  pthread_cond_destroy(&j.left);
  return j.largest;
}

void vonk_budget_shutdown(void) {
  pthread_mutex_lock(&pool.mutex);
  pool.stopping = true;
  uint32_t n = pool.n_helpers;
  pthread_cond_broadcast(&pool.offer);
  pthread_mutex_unlock(&pool.mutex);
  for (uint32_t i = 0; i < n; i++) {
    pthread_join(pool.helpers[i], NULL);
  }
  pthread_mutex_lock(&pool.mutex);
  pool.n_helpers = 0;
  pool.stopping = false; /* a later job makes new ones */
  pthread_mutex_unlock(&pool.mutex);
}
