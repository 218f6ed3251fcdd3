/* Seeing that a query was interrupted, while the model runs.
 *
 * How it works: DuckDB looks at a flag of the client context between chunks, and has no
 * function that an extension could ask. The flag is found by experiment, on a connection
 * of our own: what duckdb_client_context points to begins with the address of the
 * context; of the first bytes there, one becomes 1 when duckdb_interrupt is called, and 0
 * again with the next query. Only if exactly one byte does so, and two handles of one
 * connection agree on the address, is that place looked at from then on; otherwise a
 * query stops after the chunk in hand, as every extension's does. No symbol is needed, so
 * this works in programs that hold DuckDB statically, such as its shell. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engines/duckdb/extension/extension.h"

enum { WINDOW = 128 }; /* bytes of the context that are compared */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool tried;
static _Atomic int flag_at = -1; /* bytes from the start of the context; -1 = unknown */

/* The address that a handle begins with; NULL if there is none. */
static const uint8_t *context_of(duckdb_connection connection) {
  duckdb_client_context handle = NULL;
  duckdb_connection_get_client_context(connection, &handle);
  const uint8_t *address = NULL;
  if (handle != NULL && !vonk_peek(handle, &address, sizeof(address))) {
    address = NULL;
  }
  if (handle != NULL) {
    duckdb_destroy_client_context(&handle);
  }
  return address;
}

/* The one byte that is 0, 1 and 0 in the three copies while all others keep still between
 * the first two; -1 if there is none. */
static int find_flag(const uint8_t *before, const uint8_t *during, const uint8_t *after) {
  int found = -1;
  for (int i = 0; i < WINDOW; i++) {
    if (before[i] == during[i]) {
      continue;
    }
    if (found >= 0 || before[i] != 0 || during[i] != 1 || after[i] != 0) {
      return -1;
    }
    found = i;
  }
  return found;
}

static void learn(duckdb_connection idle) {
  uint8_t before[WINDOW], during[WINDOW], after[WINDOW];
  const uint8_t *context = context_of(idle);
  if (context == NULL || context != context_of(idle) ||
      !vonk_peek(context, before, WINDOW)) {
    return;
  }
  duckdb_interrupt(idle);
  if (!vonk_peek(context, during, WINDOW)) {
    return;
  }
  duckdb_result result;
  duckdb_query(idle, "SELECT 1", &result);
  duckdb_destroy_result(&result);
  if (vonk_peek(context, after, WINDOW)) {
    atomic_store(&flag_at, find_flag(before, during, after));
  }
}

void vonk_interrupt_learn(duckdb_connection idle) {
  pthread_mutex_lock(&lock);
  if (!tried && duckdb_connection_get_client_context != NULL) {
    learn(idle);
  }
  tried = true;
  pthread_mutex_unlock(&lock);
}

bool vonk_interrupt_known(void) { return atomic_load(&flag_at) >= 0; }

bool vonk_interrupt_asked(duckdb_client_context context) {
  int at = atomic_load(&flag_at);
  if (context == NULL || at < 0) {
    return false;
  }
  const uint8_t *address;
  memcpy(&address, (const void *)context, sizeof(address));
  return atomic_load((const _Atomic uint8_t *)(address + at)) == 1;
}
