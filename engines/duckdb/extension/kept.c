/* The connection we keep in each database, and the thread that gives it back in time.
 *
 * How it works: a connection keeps its database open: the file stays locked and its
 * journal unwritten after the user has closed everything, and opening the file again in
 * the same process waits for ever. So one thread for all databases looks every 20 ms how
 * many connections each one has and gives ours back when it is the last; that closes the
 * database. Asking costs half a millisecond and shows in the user's query log, so DuckDB
 * is asked only when its count of the database's owners has changed (peek.c), and once a
 * second in any case. The same round follows the setting `threads` and looks for queries
 * that were interrupted while a model runs. The thread ends when there is nothing to watch, and is
 * stopped by exit(), which gives back what is left: exit() with the last connection ours
 * leaves a database as closed as it is without us.
 *
 * Locks: `lock` guards the list and the flags and is never held during a call of DuckDB,
 * so fork() can take it: the child inherits a whole list, forgets it (the databases are
 * its parent's) and has no thread. Only the watcher removes entries; new ones are put in
 * front; so it walks the list without the lock. */
#define _GNU_SOURCE /* pthread_setname_np */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "engines/duckdb/extension/extension.h"

enum {
  POLL_MS = 20,
  ASK_EVERY = 1000 / POLL_MS, /* rounds between questions when nothing seems to change */
};
/* Predictions younger than this are left to DuckDB's own check after the chunk. */
static const uint64_t PROBE_AFTER_NS = 50 * 1000000ull;

static const char COUNT_QUERY[] = "SELECT * FROM system.main.duckdb_connection_count()";
static const char THREADS_QUERY[] = "SELECT current_setting('threads')::BIGINT";
static const char GONE[] =
    "all connections of this database were closed, and vonk gave its own back to let go "
    "of the file: keep a connection open, or name the models in VONK_MODELS before LOAD";

typedef struct kept {
  struct kept *next;
  duckdb_connection connection;
  duckdb_prepared_statement count; /* of connections, ours included */
  vonk_sql *sql;
  const _Atomic int32_t *owners; /* of the database; NULL = not known */
  int32_t owners_then;           /* when DuckDB was asked */
  int rounds;                    /* since then */
  uint32_t threads;              /* what the database may use; 0 = not known */
  bool last;                     /* nobody else is connected */
} kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake; /* the watcher is wanted, or gone */
static kept *list;
static bool prepared, running, stopping;

/* --- asking the database ------------------------------------------------------------ */

/* The one number of a result; -1 if the query failed. */
static int64_t take_number(duckdb_state state, duckdb_result *result) {
  int64_t number = -1;
  duckdb_data_chunk chunk = state == DuckDBSuccess ? duckdb_fetch_chunk(*result) : NULL;
  if (chunk != NULL) {
    if (duckdb_data_chunk_get_size(chunk) == 1) {
      number = *(const int64_t *)duckdb_vector_get_data(
          duckdb_data_chunk_get_vector(chunk, 0));
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(result);
  return number;
}

static int64_t count_connections(kept *entry) {
  duckdb_result result;
  return take_number(duckdb_execute_prepared(entry->count, &result), &result);
}

static void read_threads(kept *entry) {
  duckdb_result result;
  int64_t n =
      take_number(duckdb_query(entry->connection, THREADS_QUERY, &result), &result);
  entry->threads = n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

/* The budget is one for the process: that of the database that may use most. */
static void follow_threads(const kept *entries) {
  uint32_t most = 0;
  for (const kept *entry = entries; entry != NULL; entry = entry->next) {
    most = entry->threads > most ? entry->threads : most;
  }
  if (most > 0 && most != vonk_get_threads()) {
    vonk_set_threads(most);
  }
}

/* Gives connection and reference back. May close the database, which takes as long as
 * writing its journal does. */
static void let_go(kept *entry) {
  vonk_sql_detach(entry->sql, GONE);
  duckdb_destroy_prepare(&entry->count);
  duckdb_disconnect(&entry->connection);
  vonk_sql_release(entry->sql);
  vonk_delete(entry);
}

/* --- the watcher -------------------------------------------------------------------- */

/* Whether anything may have changed since DuckDB was asked. */
static bool is_due(kept *entry) {
  entry->rounds++;
  return entry->owners == NULL || atomic_load(entry->owners) != entry->owners_then ||
         entry->rounds >= ASK_EVERY;
}

/* What costs a query. */
static void ask(kept *entry) {
  entry->rounds = 0;
  entry->owners_then = entry->owners == NULL ? 0 : atomic_load(entry->owners);
  /* A query that fails is no reason to hold a file: the connection is given back too. */
  entry->last = count_connections(entry) <= 1;
  if (!entry->last) {
    read_threads(entry);
  }
}

static void look_at(kept *entry) {
  if (vonk_interrupt_known()) {
    vonk_sql_cancel_interrupted(entry->sql, PROBE_AFTER_NS, vonk_interrupt_asked);
  }
  if (is_due(entry)) {
    ask(entry);
  }
}

/* Takes the entries that are the last of their database off the list; lock is held. */
static kept *take_last(void) {
  kept *taken = NULL;
  for (kept **at = &list; *at != NULL;) {
    kept *entry = *at;
    if (entry->last) {
      *at = entry->next;
      entry->next = taken;
      taken = entry;
    } else {
      at = &entry->next;
    }
  }
  return taken;
}

static void let_go_all(kept *entries) {
  while (entries != NULL) {
    kept *next = entries->next;
    let_go(entries);
    entries = next;
  }
}

/* One look at every database; lock is held before and after. */
static void make_round(void) {
  kept *entries = list;
  pthread_mutex_unlock(&lock);
  for (kept *entry = entries; entry != NULL; entry = entry->next) {
    look_at(entry);
  }
  follow_threads(entries);
  pthread_mutex_lock(&lock);
  kept *taken = take_last();
  pthread_mutex_unlock(&lock);
  let_go_all(taken);
  pthread_mutex_lock(&lock);
}

static void *watch(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  while (list != NULL && !stopping) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&wake, &lock, &until);
    if (!stopping) {
      make_round();
    }
  }
  running = false;
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* Starts the thread, with all signals blocked: they are for the program's own threads. */
static vonk_status start_watcher(vonk_error *err) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&thread, &attributes, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (failed != 0) {
    return vonk_fail(err, VONK_NOMEM,
                     "vonk: no thread can be started to watch the database: set "
                     "VONK_NO_PIN=1 to do without");
  }
  pthread_setname_np(thread, "vonk-watch");
  running = true;
  return VONK_OK;
}

/* --- exit and fork ------------------------------------------------------------------ */

static void on_exit_process(void) {
  pthread_mutex_lock(&lock);
  stopping = true;
  pthread_cond_broadcast(&wake);
  while (running) {
    pthread_cond_wait(&wake, &lock);
  }
  kept *entries = list;
  list = NULL;
  pthread_mutex_unlock(&lock);
  let_go_all(entries);
}

static void prepare_wake(void) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&wake, &attributes);
  pthread_condattr_destroy(&attributes);
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void in_child(void) {
  list = NULL;
  running = false;
  prepare_wake();
  pthread_mutex_unlock(&lock);
}

/* lock is held. */
static vonk_status prepare(vonk_error *err) {
  if (prepared) {
    return VONK_OK;
  }
  prepare_wake();
  if (pthread_atfork(before_fork, after_fork, in_child) != 0 ||
      atexit(on_exit_process) != 0) {
    return vonk_fail(err, VONK_NOMEM, "vonk: no memory to be told of the process's end");
  }
  prepared = true;
  return VONK_OK;
}

/* --- new entries -------------------------------------------------------------------- */

static vonk_status put_on_list(kept *entry, vonk_error *err) {
  pthread_mutex_lock(&lock);
  vonk_status status = prepare(err);
  if (status == VONK_OK && stopping) {
    status = vonk_fail(err, VONK_CANCELLED, "vonk: the process is ending");
  }
  if (status == VONK_OK && !running) {
    status = start_watcher(err);
  }
  if (status == VONK_OK) {
    entry->next = list;
    list = entry;
  }
  pthread_mutex_unlock(&lock);
  return status;
}

vonk_status vonk_kept_add(duckdb_database database, duckdb_connection connection,
                          vonk_sql *sql, vonk_error *err) {
  kept *entry;
  VONK_TRY(vonk_new(1, sizeof(*entry), &entry, err));
  *entry = (kept){.connection = connection, .sql = sql};
  entry->owners = vonk_peek_owners(database);
  vonk_status status = VONK_OK;
  if (duckdb_prepare(connection, COUNT_QUERY, &entry->count) != DuckDBSuccess) {
    status = vonk_fail(err, VONK_UNSUPPORTED,
                       "vonk: this DuckDB does not tell how many connections there are "
                       "(%s): set VONK_NO_PIN=1 to do without",
                       duckdb_prepare_error(entry->count));
  }
  if (status == VONK_OK) {
    read_threads(entry);
    follow_threads(entry);
    status = put_on_list(entry, err);
  }
  if (status != VONK_OK) {
    duckdb_destroy_prepare(&entry->count);
    vonk_delete(entry);
  }
  return status;
}
