/* The thread that ends predictions whose query was interrupted.
 *
 * How it works: one thread for all databases asks every 20 ms for each prediction in
 * flight whether its query was interrupted, and cancels it. A database is on the list
 * while it predicts; the thread is started by the first prediction and ends when the list
 * has been empty for a second. It never calls DuckDB, only looks at a flag (interrupt.c)
 * of queries that are running.
 *
 * A prediction is in its database's list before it asks to be watched, and the watcher
 * looks at that list once more after it has said that it does not watch any longer: none
 * is missed. `lock` guards the list; fork() takes it, so that a child gets a whole one,
 * which it forgets, for it has no thread. */
#define _GNU_SOURCE /* pthread_setname_np */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "engines/duckdb/extension/extension.h"

enum { POLL_MS = 20, LINGER_ROUNDS = 1000 / POLL_MS };
/* Younger predictions are left to DuckDB's own look after the chunk. */
static const uint64_t PROBE_AFTER_NS = 40 * 1000000ull;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static vonk_watched *list;
static bool running;

static size_t look_at(vonk_watched *entry) {
  return vonk_sql_cancel_interrupted(entry->sql, PROBE_AFTER_NS, vonk_interrupt_asked);
}

/* One look at every database; those without predictions leave the list. lock is held. */
static void make_round(void) {
  for (vonk_watched **at = &list; *at != NULL;) {
    vonk_watched *entry = *at;
    if (look_at(entry) == 0) {
      atomic_store(&entry->on_list, false);
      if (look_at(entry) == 0) {
        *at = entry->next;
        continue;
      }
      atomic_store(&entry->on_list, true);
    }
    at = &entry->next;
  }
}

static void *watch(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (int idle = 0; idle < LINGER_ROUNDS; idle = list == NULL ? idle + 1 : 0) {
    pthread_mutex_unlock(&lock);
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    pthread_mutex_lock(&lock);
    make_round();
  }
  running = false;
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* With all signals blocked: they are for the program's own threads. A thread that cannot
 * be had is tried again with the next chunk; queries then stop between chunks. */
static bool start(void) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(&thread, &attributes, watch, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (started) {
    pthread_setname_np(thread, "vonk-watch");
  }
  return started;
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void in_child(void) {
  while (list != NULL) {
    atomic_store(&list->on_list, false);
    list = list->next;
  }
  running = false;
  pthread_mutex_unlock(&lock);
}
static void prepare(void) { (void)pthread_atfork(before_fork, after_fork, in_child); }

void vonk_watch_add(vonk_watched *entry) {
  if (atomic_load(&entry->on_list)) {
    return;
  }
  pthread_once(&prepared, prepare);
  pthread_mutex_lock(&lock);
  running = running || start();
  if (running && !atomic_load(&entry->on_list)) {
    atomic_store(&entry->on_list, true);
    entry->next = list;
    list = entry;
  }
  pthread_mutex_unlock(&lock);
}

void vonk_watch_remove(vonk_watched *entry) {
  pthread_mutex_lock(&lock);
  for (vonk_watched **at = &list; *at != NULL; at = &(*at)->next) {
    if (*at == entry) {
      *at = entry->next;
      break;
    }
  }
  pthread_mutex_unlock(&lock);
}
