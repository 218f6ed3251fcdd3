/* digit(x) and try_digit(x): a model under its own name.
 *
 * How it works. All overloads of a name are registered together, once, and are never
 * replaced: each holds the name's slot, where a reload exchanges the model. From DuckDB
 * 1.5.6 on, a look at the arguments' own types, before DuckDB casts them to lists, finds
 * arrays of a wrong length before any row is read. */
#include <inttypes.h>
#include <stdio.h>

#include "engines/duckdb/functions/internal.h"

/* The extra info of one overload. Its slot lives as long as its sql. */
typedef struct function {
  vonk_sql *sql;
  vonk_sql_slot *slot;
  const vonk_sql_overload *overload;
  vonk_sql_use use;
} function;

static void release_function(void *pointer) {
  function *f = pointer;
  vonk_sql_release(f->sql);
  vonk_delete(f);
}

/* --- running --- */

/* Of an overload that takes any number of values. */
static vonk_status check_count(const function *f, idx_t n, vonk_error *err) {
  if (n == f->overload->n) {
    return VONK_OK;
  }
  return vonk_fail(err, VONK_INVALID,
                   "model '%s': wants %zu numbers, got %" PRIu64
                   ": give as many as a row has, or one list of them",
                   f->slot->name, f->overload->n, (uint64_t)n);
}

static vonk_status run(const function *f, duckdb_client_context context,
                       duckdb_data_chunk input, duckdb_vector output, vonk_error *err) {
  VONK_TRY(check_count(f, duckdb_data_chunk_get_column_count(input), err));
  vonk_sql_loaded *loaded = vonk_sql_current(f->sql, f->slot);
  if (loaded == NULL) {
    return vonk_sql_fail_unloaded(f->slot, err);
  }
  vonk_sql_call call = {.sql = f->sql,
                        .slot = f->slot,
                        .loaded = loaded,
                        .use = f->use,
                        .shape = &f->overload->shape,
                        .context = context,
                        .input = input};
  vonk_status status = vonk_sql_call_run(&call, output, err);
  vonk_sql_loaded_release(loaded);
  return status;
}

static void run_typed(duckdb_function_info info, duckdb_data_chunk input,
                      duckdb_vector output) {
  const function *f = duckdb_scalar_function_get_extra_info(info);
  vonk_error err = VONK_ERROR_INIT;
  if (run(f, vonk_sql_state_context(f->sql, info), input, output, &err) != VONK_OK) {
    duckdb_scalar_function_set_error(info, err.message);
  }
}

/* --- binding --- */

/* An argument's own type against the input it is for: the lengths of its arrays. */
static vonk_status check_lengths(const vonk_duckdb_type *type, const vonk_io *io,
                                 const char *name, size_t number, vonk_error *err) {
  const vonk_duckdb_type *t = type;
  int64_t elements = 1, fixed = 1;
  int32_t depth = 0;
  bool is_all_arrays = true, is_free = false, fits = true;
  for (; t->id == DUCKDB_TYPE_ARRAY || t->id == DUCKDB_TYPE_LIST; t = &t->children[0]) {
    depth++;
    is_all_arrays = is_all_arrays && t->id == DUCKDB_TYPE_ARRAY;
    elements = t->id == DUCKDB_TYPE_ARRAY ? (int64_t)t->array_size : elements;
    bool has_dim = depth < io->rank && io->shape[depth] >= 0;
    fits = fits && (t->id != DUCKDB_TYPE_ARRAY || !has_dim ||
                    io->shape[depth] == (int64_t)t->array_size);
  }
  for (int32_t d = 1; d < io->rank; d++) {
    is_free = is_free || io->shape[d] < 0;
    fixed *= io->shape[d] < 0 ? 1 : io->shape[d];
  }
  if (depth == 1 && is_all_arrays) { /* a flat array fills the shape */
    fits = is_free ? fixed > 0 && elements % fixed == 0 : elements == fixed;
  } else if (depth != io->rank - 1) {
    return VONK_OK; /* not ours to judge: DuckDB chooses the overload */
  }
  if (fits) {
    return VONK_OK;
  }
  vonk_text wanted = {.size = 0}, found = {.size = 0}, advice = {.size = 0};
  if (depth == 1) {
    vonk_text_add(&advice, "give arrays of %s%" PRId64 " elements",
                  is_free ? "a multiple of " : "", fixed);
  } else {
    vonk_text_add(&advice, "give arrays of those lengths");
  }
  vonk_sql_describe_row(io, &wanted);
  vonk_duckdb_type_describe(type, &found);
  return vonk_fail(err, VONK_INVALID,
                   "model '%s': input '%s' wants %s, got %s (argument %zu): %s", name,
                   io->name, wanted.data, found.data, number, advice.data);
}

static vonk_status check_argument(duckdb_bind_info info, idx_t i, const vonk_io *io,
                                  const char *name, vonk_error *err) {
  duckdb_expression expression = duckdb_scalar_function_bind_get_argument(info, i);
  if (expression == NULL) {
    return vonk_prefix(err, vonk_sql_fail_hidden(i + 1, err), "model '%s'", name);
  }
  duckdb_logical_type logical = duckdb_expression_return_type(expression);
  vonk_duckdb_type type = {.n_children = 0};
  vonk_status status = VONK_OK;
  if (logical != NULL && duckdb_get_type_id(logical) == DUCKDB_TYPE_ARRAY) {
    status = vonk_duckdb_type_parse(logical, "", &type, err);
    if (status == VONK_OK) {
      status = check_lengths(&type, io, name, i + 1, err);
      vonk_duckdb_type_clear(&type);
    }
  }
  if (logical != NULL) {
    duckdb_destroy_logical_type(&logical);
  }
  duckdb_destroy_expression(&expression);
  return status;
}

static vonk_status bind(duckdb_bind_info info, const function *f, vonk_error *err) {
  idx_t n = duckdb_scalar_function_bind_get_argument_count(info);
  VONK_TRY(check_count(f, n, err));
  vonk_sql_loaded *loaded = vonk_sql_current(f->sql, f->slot);
  if (loaded == NULL) {
    return vonk_sql_fail_unloaded(f->slot, err);
  }
  const vonk_model_summary *model = vonk_model_summarize(loaded->model);
  vonk_status status = VONK_OK;
  bool is_worth_it = n == model->n_inputs && !f->sql->casts_first;
  for (idx_t i = 0; is_worth_it && status == VONK_OK && i < n; i++) {
    status = check_argument(info, i, model->inputs[i], f->slot->name, err);
  }
  vonk_sql_loaded_release(loaded);
  return status;
}

static void bind_typed(duckdb_bind_info info) {
  const function *f = duckdb_scalar_function_bind_get_extra_info(info);
  vonk_error err = VONK_ERROR_INIT;
  if (bind(info, f, &err) != VONK_OK) {
    duckdb_scalar_function_bind_set_error(info, err.message);
  }
}

/* --- registering --- */

static vonk_status add_overload(vonk_sql *sql, vonk_sql_slot *slot,
                                const vonk_sql_overload *overload, bool is_try,
                                duckdb_scalar_function_set set, vonk_error *err) {
  function *f;
  VONK_TRY(vonk_new(1, sizeof(*f), &f, err));
  vonk_sql_retain(sql);
  *f = (function){.sql = sql,
                  .slot = slot,
                  .overload = overload,
                  .use = {.kind = VONK_SQL_TYPED, .is_try = is_try}};
  char name[80];
  (void)snprintf(name, sizeof(name), "%s%s", is_try ? "try_" : "", slot->name);
  duckdb_scalar_function scalar = duckdb_create_scalar_function();
  duckdb_scalar_function_set_extra_info(scalar, f, release_function);
  duckdb_scalar_function_set_name(scalar, name);
  for (size_t i = 0; i < (overload->is_counted ? 2 : overload->n); i++) {
    duckdb_scalar_function_add_parameter(scalar, overload->types[i]);
  }
  if (overload->is_counted) {
    duckdb_scalar_function_set_varargs(scalar, overload->types[0]);
  }
  duckdb_scalar_function_set_return_type(
      scalar, is_try ? slot->signature->try_result : slot->signature->result);
  duckdb_scalar_function_set_special_handling(scalar); /* NULLs come to us */
  duckdb_scalar_function_set_function(scalar, run_typed);
  if (sql->has_bind) {
    duckdb_scalar_function_set_bind(scalar, bind_typed);
    duckdb_scalar_function_set_init(scalar, vonk_sql_state_init);
  }
  duckdb_state state = duckdb_add_scalar_function_to_set(set, scalar);
  duckdb_destroy_scalar_function(&scalar);
  return state == DuckDBSuccess ? VONK_OK
                                : vonk_fail(err, VONK_BACKEND, "DuckDB: refused %s(%s)",
                                            name, overload->text);
}

static vonk_status register_set(vonk_sql *sql, vonk_sql_slot *slot, bool is_try,
                                vonk_error *err) {
  char name[80];
  (void)snprintf(name, sizeof(name), "%s%s", is_try ? "try_" : "", slot->name);
  duckdb_scalar_function_set set = duckdb_create_scalar_function_set(name);
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < slot->signature->n; i++) {
    status = add_overload(sql, slot, &slot->signature->overloads[i], is_try, set, err);
  }
  if (status == VONK_OK &&
      duckdb_register_scalar_function_set(sql->connection, set) != DuckDBSuccess) {
    status = vonk_fail(
        err, VONK_BACKEND,
        "DuckDB: refused to register %s: is there a function of that name?", name);
  }
  duckdb_destroy_scalar_function_set(&set);
  return status;
}

vonk_status vonk_sql_typed_register(vonk_sql *sql, vonk_sql_slot *slot, vonk_error *err) {
  if (!slot->has_plain) {
    VONK_TRY(register_set(sql, slot, false, err));
    slot->has_plain = true;
  }
  if (!slot->has_try) {
    VONK_TRY(register_set(sql, slot, true, err));
    slot->has_try = true;
  }
  return VONK_OK;
}
