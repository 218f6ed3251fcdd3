/* What the files of engines/duckdb/functions share.
 *
 *   registry.c   the names of a database, and the model that each stands for now
 *   loaded.c     one opened model with its options, and its idle predictors
 *   running.c    predictions in flight, so that they can be ended
 *   shape.c      the arguments of a call as the columns of a predictor
 *   overloads.c  which calls a model permits
 *   names.c      what a model may be called
 *   call.c       one chunk of rows through a model
 *   result.c     predictions as a DuckDB vector
 *   typed.c      digit(x), try_digit(x)
 *   generic.c    vonk_predict('digit', x) and its siblings
 *   table.c      table functions whose rows are made at once
 *   load.c       vonk_load, vonk_unload, $VONK_MODELS
 *   arguments.c  what vonk_load was given
 *   listing.c    vonk_models, vonk_describe, vonk_plugins
 *   scan.c       FROM 'x.onnx' */
#ifndef VONK_ENGINES_DUCKDB_FUNCTIONS_INTERNAL_H
#define VONK_ENGINES_DUCKDB_FUNCTIONS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engines/duckdb/functions/functions.h"

/* --- the arguments of a call (shape.c) --- */

/* The argument types of one call, as the columns that a predictor is bound to. Column i
 * is named "argument <i + first>", so that messages count as the user does. */
typedef struct vonk_sql_shape {
  size_t n;
  vonk_duckdb_type *types;
  struct ArrowSchema columns; /* a struct schema */
  char *key;                  /* equal for equal types */
  uint64_t hash;              /* of key */
} vonk_sql_shape;

/* types are borrowed for the call. */
vonk_status vonk_sql_shape_create(const duckdb_logical_type *types, size_t n,
                                  size_t first, vonk_sql_shape *out, vonk_error *err);
void vonk_sql_shape_clear(vonk_sql_shape *);
/* The columns of the chunk from `first` on as one struct array; borrows the chunk. */
vonk_status vonk_sql_shape_view(const vonk_sql_shape *, duckdb_data_chunk chunk,
                                size_t first, struct ArrowArray *out, vonk_error *err);

/* --- an opened model (loaded.c) --- */

/* What a function makes of a model's outputs. */
typedef enum vonk_sql_kind {
  VONK_SQL_TYPED,   /* as the model was loaded: digit(x) */
  VONK_SQL_NUMBERS, /* the first numeric output, flat: vonk_predict */
  VONK_SQL_LABEL,   /* its largest element's number: vonk_predict_label */
  VONK_SQL_TEXT /* the first text output, or the label from a bundle: vonk_predict_text
                 */
} vonk_sql_kind;

typedef struct vonk_sql_use {
  vonk_sql_kind kind;
  bool is_try; /* returns STRUCT(value, error) and never fails for a row's sake */
} vonk_sql_use;

typedef struct vonk_sql_pool vonk_sql_pool;

/* A predictor that one call at a time uses. */
typedef struct vonk_sql_predictor {
  struct vonk_sql_predictor *next;
  vonk_sql_pool *pool;
  vonk_predictor *predictor;
  struct ArrowSchema results; /* of the predictor */
  bool reports;               /* the last of them says why a row has none */
  bool is_cancelled;          /* and so is of no use any more */
  vonk_stats seen;            /* what was already added to the totals */
} vonk_sql_predictor;

/* One opening of a model file with its options. Immutable but for its idle predictors.
 * Shared by the name that stands for it and by the chunks in flight. */
typedef struct vonk_sql_loaded {
  _Atomic int64_t references;
  vonk_model *model;
  char *as, *output; /* NULL if not given */
  int64_t batch_rows;
  int32_t nulls, row_errors;
  bool squeeze;
  vonk_duckdb_layout layout;
  pthread_mutex_t mutex;
  vonk_sql_pool *pools; /* one per use and shape */
} vonk_sql_loaded;

vonk_status vonk_sql_loaded_create(const char *path, const vonk_sql_load_options *options,
                                   vonk_sql_loaded **out, vonk_error *err);
vonk_sql_loaded *vonk_sql_loaded_retain(vonk_sql_loaded *);
void vonk_sql_loaded_release(vonk_sql_loaded *); /* NULL is fine */
/* The number of model outputs that the typed function returns, and the name of each. */
size_t vonk_sql_loaded_outputs(const vonk_sql_loaded *);
const char *vonk_sql_loaded_output(const vonk_sql_loaded *, size_t i);

/* An idle predictor for this use and these columns, or a new one. */
vonk_status vonk_sql_predictor_take(vonk_sql_loaded *, vonk_sql_use use,
                                    const vonk_sql_shape *shape, vonk_sql_predictor **out,
                                    vonk_error *err);
void vonk_sql_predictor_give(vonk_sql_loaded *, vonk_sql_predictor *);

/* --- results (result.c) --- */

/* The DuckDB type that digit(x) or try_digit(x) returns; to be destroyed. */
vonk_status vonk_sql_result_type(const vonk_sql_loaded *, const vonk_sql_predictor *,
                                 duckdb_logical_type *out, vonk_error *err);
/* results, of the predictor, into the first rows of a vector of the function's type. */
vonk_status vonk_sql_result_emit(const vonk_sql_loaded *, vonk_sql_use use,
                                 const vonk_sql_predictor *, struct ArrowArray *results,
                                 duckdb_vector output, vonk_error *err);

/* --- which calls a model permits (overloads.c) --- */

enum { VONK_SQL_MOST_OVERLOADS = 16 };

/* One of them. The logical types live as long as it does. */
typedef struct vonk_sql_overload {
  size_t n;
  duckdb_logical_type *types;
  vonk_sql_shape shape;
  bool is_counted; /* n equal types, registered as (T, T, T...) */
  bool is_unnamed; /* a struct of fields without names */
  bool is_null;    /* for the literal NULL: not worth a mention */
  char *text;      /* "FLOAT[], BIGINT" */
} vonk_sql_overload;

typedef struct vonk_sql_signature {
  vonk_sql_overload *overloads;
  size_t n;
  duckdb_logical_type result, try_result;
  vonk_sql_shape result_shape; /* its key tells types apart */
  char *result_text;           /* "FLOAT[10]" */
} vonk_sql_signature;

/* VONK_UNSUPPORTED, VONK_INVALID: the model cannot be a function, and why. */
vonk_status vonk_sql_signature_create(vonk_sql_loaded *, vonk_sql_signature **out,
                                      vonk_error *err);
void vonk_sql_signature_release(vonk_sql_signature *); /* NULL is fine */
bool vonk_sql_signature_equal(const vonk_sql_signature *, const vonk_sql_signature *);
/* "digit(FLOAT[]) -> FLOAT[10]" of overload i. */
void vonk_sql_signature_describe(const vonk_sql_signature *, const char *name, size_t i,
                                 vonk_text *out);
/* DuckDB's type for elements of a dtype; is_wide: DOUBLE for the floats that FLOAT would
 * hold. */
duckdb_type vonk_sql_element_type(vonk_dtype dtype, bool is_wide);
/* "FLOAT[784]", "FLOAT[]", "BIGINT": a row of a tensor as SQL has it. */
void vonk_sql_describe_row(const vonk_io *io, vonk_text *out);

/* --- names (registry.c, names.c) --- */

/* A name, or the path of a model that vonk_predict opened. Lives as long as the vonk_sql.
 * What can change is read and written under its mutex, which is never held while DuckDB
 * or a framework is called. */
typedef struct vonk_sql_slot {
  struct vonk_sql_slot *next;
  char *name;
  bool is_path;
  vonk_sql_signature *signature; /* of the functions that are registered; NULL = none */
  bool has_plain, has_try;       /* which of them are; under the registration's mutex */
  vonk_sql_loaded *current;      /* NULL = not loaded */
  uint64_t last_use;             /* of a path, by the registry's clock */
  char *path, *error;            /* of the last vonk_load; NULL if there is none */
  vonk_stats totals;
} vonk_sql_slot;

typedef struct vonk_sql_run vonk_sql_run;

struct vonk_sql {
  _Atomic int64_t references;
  /* Of the v1.5.6 band: bind and init of scalar functions, client contexts, expressions.
   * Where it is missing those functions have no slot to be called through. */
  bool has_bind;
  bool casts_first; /* bind sees arguments already cast to the parameters' types */
  pthread_mutex_t registration; /* connection and what is done through it */
  duckdb_connection connection; /* NULL once detached */
  char detach_reason[256];
  vonk_sql_guest guest;
  pthread_mutex_t mutex; /* slots */
  vonk_sql_slot *slots;  /* only grows */
  uint64_t clock;
  pthread_mutex_t running_mutex;
  vonk_sql_run *running;
  _Atomic uint64_t rows;
};

/* NULL if there is none. Names are compared without case, paths as they are. */
vonk_sql_slot *vonk_sql_find(vonk_sql *, const char *name);
/* Makes it if there is none. */
vonk_status vonk_sql_find_or_add(vonk_sql *, const char *name, bool is_path,
                                 vonk_sql_slot **out, vonk_error *err);
/* A reference to the model that the name stands for now, or NULL. */
vonk_sql_loaded *vonk_sql_current(vonk_sql *, vonk_sql_slot *);
/* The name stands for loaded (NULL = nothing) from now on; takes over the reference. path
 * and error are copied and may be NULL. */
void vonk_sql_exchange(vonk_sql *, vonk_sql_slot *, vonk_sql_loaded *loaded,
                       const char *path, const char *error);
/* "model 'digit' is not loaded: ..." */
vonk_status vonk_sql_fail_unloaded(const vonk_sql_slot *, vonk_error *err);
/* Whether a text can be the path of a model, rather than a name. */
bool vonk_sql_is_path(const char *name_or_path);
/* The same of a name that was never loaded. */
vonk_status vonk_sql_fail_unknown(const char *name, vonk_error *err);
/* The model that a generic call names: a loaded name, or the path of a model file, which
 * is opened or opened anew if the file has changed. *out is a reference. */
vonk_status vonk_sql_resolve(vonk_sql *, const char *name_or_path, vonk_sql_slot **slot,
                             vonk_sql_loaded **out, vonk_error *err);

/* VONK_INVALID: no model may be called that, whatever the database holds. */
vonk_status vonk_sql_name_check(const char *name, vonk_error *err);
/* VONK_INVALID: the database has a function or macro of that name, or try_ with it. The
 * registration's mutex is held. */
vonk_status vonk_sql_name_check_free(vonk_sql *, const char *name, vonk_error *err);
/* The identifier that the stem of a path becomes; to be deleted. */
vonk_status vonk_sql_name_of_path(const char *path, char **out, vonk_error *err);
/* True if the name ends like a model file that an installed plug-in opens, or if there is
 * a file or folder of that name which one recognises. */
bool vonk_sql_is_model_path(const char *path);

/* --- predictions in flight (running.c) --- */

struct vonk_sql_run {
  vonk_sql_run *next, *previous;
  vonk_sql_predictor *predictor;
  duckdb_client_context context; /* NULL before DuckDB 1.5.6 */
  uint64_t start_ns;
};
void vonk_sql_run_begin(vonk_sql *, vonk_sql_run *);
void vonk_sql_run_end(vonk_sql *, vonk_sql_run *);

/* --- one chunk (call.c) --- */

typedef struct vonk_sql_call {
  vonk_sql *sql;
  vonk_sql_slot *slot;
  vonk_sql_loaded *loaded;
  vonk_sql_use use;
  const vonk_sql_shape *shape;
  duckdb_client_context context;
  duckdb_data_chunk input;
  size_t first; /* the column of the first argument that is data */
} vonk_sql_call;

vonk_status vonk_sql_call_run(const vonk_sql_call *, duckdb_vector output,
                              vonk_error *err);

/* Why bind was not shown an argument. number counts from 1. */
vonk_status vonk_sql_fail_hidden(size_t number, vonk_error *err);
/* The init of every scalar function where has_bind is true, and what it made. */
void vonk_sql_state_init(duckdb_init_info info);
duckdb_client_context vonk_sql_state_context(const vonk_sql *, duckdb_function_info info);
/* duckdb_delete_callback_t of an extra info that is a vonk_sql. */
void vonk_sql_release_info(void *sql);

/* --- registering (typed.c, generic.c, table.c, scan.c) --- */

/* What is missing of name(...) and try_name(...). The registration's mutex is held, and
 * the slot has its signature. */
vonk_status vonk_sql_typed_register(vonk_sql *, vonk_sql_slot *, vonk_error *err);
vonk_status vonk_sql_generic_register(vonk_sql *, vonk_error *err);
void vonk_sql_scan_register(vonk_sql *, duckdb_database);

/* --- table functions (table.c) --- */

typedef enum vonk_sql_cell_type {
  VONK_SQL_CELL_TEXT,
  VONK_SQL_CELL_TEXTS, /* a list */
  VONK_SQL_CELL_BOOL,
  VONK_SQL_CELL_BIGINT,
  VONK_SQL_CELL_UBIGINT,
  VONK_SQL_CELL_DOUBLE
} vonk_sql_cell_type;

typedef struct vonk_sql_column {
  const char *name;
  vonk_sql_cell_type type;
} vonk_sql_column;

typedef struct vonk_sql_output vonk_sql_output;
/* A cell in the next column of the row begun last; NULL text is NULL. A failure is kept,
 * and told at the end. */
void vonk_sql_output_begin(vonk_sql_output *);
void vonk_sql_output_text(vonk_sql_output *, const char *text);
void vonk_sql_output_texts(vonk_sql_output *, const char *const *texts, size_t n);
void vonk_sql_output_bool(vonk_sql_output *, bool value);
void vonk_sql_output_bigint(vonk_sql_output *, int64_t value);
void vonk_sql_output_ubigint(vonk_sql_output *, uint64_t value);
void vonk_sql_output_double(vonk_sql_output *, double value);
void vonk_sql_output_null(vonk_sql_output *);
/* A list of the calls; signature may be NULL. */
void vonk_sql_output_functions(vonk_sql_output *, const vonk_sql_signature *signature,
                               const char *name);

typedef struct vonk_sql_arguments vonk_sql_arguments;

/* A table function. fill runs when the statement runs, not when it is bound: EXPLAIN
 * changes nothing. */
typedef struct vonk_sql_table {
  const char *name;
  size_t n_parameters; /* VARCHAR each */
  bool takes_options;  /* of vonk_load */
  const vonk_sql_column *columns;
  size_t n_columns;
  vonk_status (*fill)(vonk_sql *, const vonk_sql_arguments *, vonk_sql_output *out,
                      vonk_error *err);
} vonk_sql_table;
vonk_status vonk_sql_table_register(vonk_sql *, const vonk_sql_table *, vonk_error *err);

vonk_status vonk_sql_load_register(vonk_sql *, vonk_error *err);
vonk_status vonk_sql_listing_register(vonk_sql *, vonk_error *err);

/* --- what a table function was given (arguments.c) --- */

struct vonk_sql_arguments {
  char *parameters[2];
  vonk_sql_load_options load;
  char *as, *output;      /* of load */
  vonk_kv *model_options; /* of load; keys and values are new strings */
  size_t n_model_options;
};
/* Declares the options of vonk_load. */
void vonk_sql_arguments_declare(duckdb_table_function function);
/* VONK_INVALID names the parameter. */
vonk_status vonk_sql_arguments_read(duckdb_bind_info info, const vonk_sql_table *table,
                                    vonk_sql_arguments *out, vonk_error *err);
void vonk_sql_arguments_clear(vonk_sql_arguments *);

#endif /* VONK_ENGINES_DUCKDB_FUNCTIONS_INTERNAL_H */
