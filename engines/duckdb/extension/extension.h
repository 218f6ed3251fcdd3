/* vonk as a guest in somebody's process: the loadable extension of DuckDB. What its files
 * share, and the folder's only door. */
#ifndef VONK_ENGINES_DUCKDB_EXTENSION_H
#define VONK_ENGINES_DUCKDB_EXTENSION_H

#include "engines/duckdb/functions/functions.h"

/* --- the host's table of functions (host.c) --- */

/* Fills duckdb_ext_api from the library that is loading us. *explained is set where
 * DuckDB has said itself what is wrong. VONK_UNSUPPORTED: another DuckDB library of this
 * process has loaded this same file before. */
vonk_status vonk_host_adopt(duckdb_extension_info info,
                            const struct duckdb_extension_access *access, bool *explained,
                            vonk_error *err);

/* --- memory of DuckDB's (peek.c) --- */

/* Copies nbytes that may not be there; false if one of them cannot be read. */
bool vonk_peek(const void *from, void *to, size_t nbytes);

/* What stands for a database when the handle that LOAD lent is gone. It does not keep the
 * database open: to be used during a query of that database only. */
typedef struct vonk_database_name {
  const void *words[2];
} vonk_database_name;
/* False where DuckDB is built in a way that we do not know. */
bool vonk_database_remember(duckdb_database lent, vonk_database_name *out);
/* A new connection, to be disconnected. */
bool vonk_database_join(const vonk_database_name *, duckdb_connection *out);

/* --- does a query want to stop? (interrupt.c) --- */

/* Learns from an idle connection of the host, which nobody else may use, how a request to
 * stop can be seen. Does nothing the second time, and where it cannot be seen. */
void vonk_interrupt_learn(duckdb_connection idle);
/* Whether vonk_interrupt_asked can tell. */
bool vonk_interrupt_known(void);
/* True if the query that context belongs to was interrupted. The query must be alive. */
bool vonk_interrupt_asked(duckdb_client_context context);

/* --- one database that we are a guest of (guest.c) --- */

/* Serves the functions of sql from now on, until its last reference is gone. lent and
 * connection are borrowed for the call. */
vonk_status vonk_guest_move_in(duckdb_database lent, duckdb_connection connection,
                               vonk_sql *sql, vonk_error *err);

/* --- predictions that may have to stop (watch.c) --- */

/* Zero it to start. */
typedef struct vonk_watched {
  struct vonk_watched *next;
  vonk_sql *sql;
  _Atomic bool on_list;
} vonk_watched;
/* Watches the predictions of entry->sql until none is left. Cheap if it is watched
 * already. */
void vonk_watch_add(vonk_watched *entry);
/* When this returns the entry is not used any more. */
void vonk_watch_remove(vonk_watched *entry);

#endif /* VONK_ENGINES_DUCKDB_EXTENSION_H */
