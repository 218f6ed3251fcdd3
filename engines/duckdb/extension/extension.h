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

/* --- memory that may not be there (peek.c) --- */

/* Copies nbytes; false if one of them cannot be read. */
bool vonk_peek(const void *from, void *to, size_t nbytes);
/* Where DuckDB counts the owners of a database, its connections among them: as long as the
 * number stays, nobody has come or gone. NULL where that was not found. Valid while a
 * connection is open. */
const _Atomic int32_t *vonk_peek_owners(duckdb_database database);

/* --- does a query want to stop? (interrupt.c) --- */

/* Learns from an idle connection of the host, which nobody else may use, how a request to
 * stop can be seen. Does nothing the second time, and where it cannot be seen. */
void vonk_interrupt_learn(duckdb_connection idle);
/* Whether vonk_interrupt_asked can tell. */
bool vonk_interrupt_known(void);
/* True if the query that context belongs to was interrupted. The query must be alive. */
bool vonk_interrupt_asked(duckdb_client_context context);

/* --- kept connections and their watcher (kept.c) --- */

/* Takes over connection and a reference to sql (both only on success) until the database
 * has no other connection, or the process ends. database is borrowed for the call. */
vonk_status vonk_kept_add(duckdb_database database, duckdb_connection connection,
                          vonk_sql *sql, vonk_error *err);

#endif /* VONK_ENGINES_DUCKDB_EXTENSION_H */
