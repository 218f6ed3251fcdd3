/* Models as SQL functions of a DuckDB database. Serves the vonk program, which owns its
 * connections, and the loadable extension, which is a guest in somebody's process; knows
 * neither. The folder's only door. */
#ifndef VONK_ENGINES_DUCKDB_FUNCTIONS_H
#define VONK_ENGINES_DUCKDB_FUNCTIONS_H

#include "engines/duckdb/duckdb.h"
#include "vonk/vonk.h"

/* The models of one database and the functions that are registered for them. Every
 * function holds a reference through its extra info, so it outlives the connection it was
 * made with. Thread-safe. */
typedef struct vonk_sql vonk_sql;

/* Registers vonk_load, vonk_unload, vonk_models, vonk_describe, vonk_plugins,
 * vonk_predict and its siblings on the connection's database. The connection is borrowed
 * until vonk_sql_detach: typed functions of later vonk_load calls are registered through
 * it, so it must not be the one that statements with vonk_load run on. NULL database = no
 * replacement scan (FROM 'x.onnx'). */
vonk_status vonk_sql_create(duckdb_database database, duckdb_connection connection,
                            vonk_sql **out, vonk_error *err);
/* From now on new names cannot be registered: vonk_load of one says so, with reason. Waits
 * for a registration in progress. Models that are loaded stay, and names that have
 * functions can be reloaded. */
void vonk_sql_detach(vonk_sql *, const char *reason);
/* True where DuckDB has the functions of its v1.5.6 band, by its version: bind and init of
 * scalar functions, client contexts. Where it has not, none of them is ever called, so
 * their places in duckdb_ext_api may be empty. */
bool vonk_sql_has_bind(const vonk_sql *);
/* What the functions ask of one who is a guest in somebody's process, and therefore holds
 * no connection. Each function may be NULL; arg is passed on. */
typedef struct vonk_sql_guest {
  void *arg;
  /* A connection for vonk_load of a new name, which is given back before it returns.
   * Called during a query of the database. */
  vonk_status (*join)(void *arg, duckdb_connection *out, vonk_error *err);
  /* A prediction can be seen by vonk_sql_cancel_interrupted from now on; context as
   * there. Called for every chunk. */
  void (*began)(void *arg, duckdb_client_context context);
  /* The last reference is gone: arg is not used any more. */
  void (*ended)(void *arg);
} vonk_sql_guest;
/* Once, before anything is loaded; copied. The connection of vonk_sql_create is not used
 * any more. */
void vonk_sql_set_guest(vonk_sql *, const vonk_sql_guest *);
void vonk_sql_retain(vonk_sql *);
void vonk_sql_release(vonk_sql *); /* NULL is fine */

/* What vonk_load takes; zero is the default of each. Borrowed for the call. */
typedef struct vonk_sql_load_options {
  const char *as;     /* "argmax" */
  const char *output; /* the one output to return; NULL = all */
  int64_t batch_rows;
  int32_t nulls, row_errors; /* VONK_NULLS_..., VONK_ROWS_... */
  bool squeeze, lists; /* lists: LIST instead of ARRAY for results of fixed length */
  const vonk_kv *model_options; /* of vonk_model_open */
  size_t n_model_options;
} vonk_sql_load_options;

/* Opens a model and registers name(...) and try_name(...), or, when the name is loaded
 * already and the SQL types are the same, exchanges the model under running queries.
 * VONK_INVALID: the name is taken by DuckDB or was used with other types. options may be
 * NULL. */
vonk_status vonk_sql_load(vonk_sql *, const char *name, const char *path,
                          const vonk_sql_load_options *options, vonk_error *err);
/* The models that $VONK_MODELS names ("name=path", a file or a folder, separated by
 * ':'). One that cannot be loaded does not fail the call: vonk_models() shows why. */
void vonk_sql_load_listed(vonk_sql *, const char *list);

/* Ends the predictions in flight with VONK_CANCELLED; later ones are not affected. Not
 * safe in a signal handler. */
void vonk_sql_cancel(vonk_sql *);
/* Ends those of queries that their own database wants to stop: for every prediction in
 * flight that began more than min_ns ago, asks the probe, and cancels where it says yes.
 * context is NULL where DuckDB is older than 1.5.6. Returns the number still in flight.
 */
size_t vonk_sql_cancel_interrupted(vonk_sql *, uint64_t min_ns,
                                   bool (*probe)(duckdb_client_context context));
/* Rows predicted since the start, for progress. */
uint64_t vonk_sql_rows(const vonk_sql *);

#endif /* VONK_ENGINES_DUCKDB_FUNCTIONS_H */
