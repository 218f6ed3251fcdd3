/* Looking at memory of DuckDB's: how a guest gets at its database without holding it.
 *
 * How it works: functions are registered through a connection, and DuckDB lends an
 * extension its database during LOAD only. A connection that is kept from then on keeps
 * the database open: its file stays locked when the user has closed everything, opening
 * it again in the process waits for ever, and whoever gives the last connection back
 * destroys the database, with all that the user's program has put into it, on a thread of
 * ours (which ends a Python process that is finalizing). So none is kept. What LOAD lends
 * begins with the address of the database's object, and a connection is opened from that
 * address alone; it is good for as long as the object lives, and we are only ever called
 * by queries of that database, which keep it alive.
 *
 * That this is how DuckDB is built is checked, not believed: the object begins with a
 * pointer to itself (it can make shared pointers of itself), which nothing else that
 * might stand there does. Where that is not so the address is not used, and vonk_load of
 * new names says what else to do. Addresses that might be wrong are read through a pipe:
 * write() says EFAULT where a load would end the process. */
#define _GNU_SOURCE /* pipe2 */

#include <fcntl.h>
#include <unistd.h>

#include "engines/duckdb/extension/extension.h"

bool vonk_peek(const void *from, void *to, size_t nbytes) {
  int ends[2];
  if (from == NULL || pipe2(ends, O_CLOEXEC) != 0) {
    return false;
  }
  bool good = write(ends[1], from, nbytes) == (ssize_t)nbytes &&
              read(ends[0], to, nbytes) == (ssize_t)nbytes;
  close(ends[0]);
  close(ends[1]);
  return good;
}

bool vonk_database_join(const vonk_database_name *name, duckdb_connection *out) {
  return duckdb_connect((duckdb_database)(uintptr_t)name, out) == DuckDBSuccess;
}

bool vonk_database_remember(duckdb_database lent, vonk_database_name *out) {
  vonk_database_name name;
  const void *itself;
  duckdb_connection connection = NULL;
  if (!vonk_peek(lent, (void *)name.words, sizeof(name.words)) ||
      !vonk_peek(name.words[0], (void *)&itself, sizeof(itself)) ||
      itself != name.words[0] || !vonk_database_join(&name, &connection)) {
    return false;
  }
  duckdb_disconnect(&connection);
  *out = name;
  return true;
}
