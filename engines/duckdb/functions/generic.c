/* vonk_predict('digit', x) and its siblings: any model, any arguments, one type of result
 * for each function.
 *
 * How it works. The first argument names the model; the others are of any type and become
 * the columns of a predictor as they are. From DuckDB 1.5.6 on, bind looks at the
 * constant name and at the arguments' types, so that what cannot work is said before any
 * row is read; a type that is not known yet (in CREATE MACRO and PREPARE) is left to the
 * rows. Before 1.5.6 everything is found out with the rows. */
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

/* One function; the extra info. */
typedef struct function {
  vonk_sql *sql;
  const char *name;
  vonk_sql_use use;
} function;

/* What bind found out: the bind data. Copies of a plan share it. */
typedef struct binding {
  _Atomic int64_t references;
  char *model;          /* NULL: the name is not a constant */
  bool has_shape;       /* the types were known */
  vonk_sql_shape shape; /* of the arguments after the name */
} binding;

static void release_function(void *pointer) {
  function *f = pointer;
  vonk_sql_release(f->sql);
  vonk_delete(f);
}

static void *copy_binding(void *pointer) {
  binding *b = pointer;
  if (b != NULL) {
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
  }
  return b;
}

static void release_binding(void *pointer) {
  binding *b = pointer;
  if (b == NULL ||
      atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  vonk_delete(b->model);
  vonk_sql_shape_clear(&b->shape);
  vonk_delete(b);
}

static vonk_status fail_name(vonk_error *err, const char *what) {
  return vonk_fail(err, VONK_INVALID,
                   "argument 1, the model, %s: give the name of a loaded model or the "
                   "path of a model file, as in 'digit'",
                   what);
}

/* --- bind --- */

static vonk_status read_name(duckdb_value value, binding *b, vonk_error *err) {
  if (duckdb_is_null_value(value)) {
    return fail_name(err, "is NULL");
  }
  char *text = duckdb_get_varchar(value);
  if (text == NULL) {
    return fail_name(err, "is not text");
  }
  vonk_status status = vonk_new_string(text, &b->model, err);
  duckdb_free(text);
  return status;
}

/* The name, if it is a constant. */
static vonk_status bind_name(duckdb_bind_info info, duckdb_expression expression,
                             binding *b, vonk_error *err) {
  duckdb_logical_type type = duckdb_expression_return_type(expression);
  bool is_text = type != NULL && duckdb_get_type_id(type) == DUCKDB_TYPE_VARCHAR;
  if (type != NULL) {
    duckdb_destroy_logical_type(&type);
  }
  if (!is_text || !duckdb_expression_is_foldable(expression)) {
    return VONK_OK; /* a parameter, or a column */
  }
  duckdb_client_context context = NULL;
  duckdb_value value = NULL;
  duckdb_scalar_function_get_client_context(info, &context);
  duckdb_error_data fault = duckdb_expression_fold(context, expression, &value);
  vonk_status status = VONK_OK;
  if (fault == NULL || !duckdb_error_data_has_error(fault)) {
    status = read_name(value, b, err);
  }
  if (value != NULL) {
    duckdb_destroy_value(&value);
  }
  if (fault != NULL) {
    duckdb_destroy_error_data(&fault);
  }
  duckdb_destroy_client_context(&context);
  return status;
}

/* Types of arguments 2, 3, ...; *is_known is false if one is not known yet. */
static vonk_status argument_types(duckdb_bind_info info, duckdb_logical_type *types,
                                  idx_t n, bool *is_known, vonk_error *err) {
  *is_known = true;
  for (idx_t i = 0; i < n; i++) {
    duckdb_expression e = duckdb_scalar_function_bind_get_argument(info, i + 1);
    if (e == NULL) {
      return vonk_sql_fail_hidden(i + 2, err);
    }
    types[i] = duckdb_expression_return_type(e);
    *is_known = *is_known && types[i] != NULL &&
                duckdb_get_type_id(types[i]) != DUCKDB_TYPE_INVALID;
    duckdb_destroy_expression(&e);
  }
  return VONK_OK;
}

static void destroy_types(duckdb_logical_type *types, size_t n) {
  for (size_t i = 0; types != NULL && i < n; i++) {
    if (types[i] != NULL) {
      duckdb_destroy_logical_type(&types[i]);
    }
  }
  vonk_delete(types);
}

static vonk_status bind_arguments(duckdb_bind_info info, binding *b, vonk_error *err) {
  idx_t n = duckdb_scalar_function_bind_get_argument_count(info);
  if (n < 2) {
    return vonk_fail(err, VONK_INVALID,
                     "there is no argument after the model: give the columns it takes");
  }
  duckdb_logical_type *types;
  VONK_TRY(vonk_new(n - 1, sizeof(duckdb_logical_type), &types, err));
  bool is_known;
  vonk_status status = argument_types(info, types, n - 1, &is_known, err);
  if (status == VONK_OK && is_known) {
    status = vonk_sql_shape_create(types, n - 1, 2, &b->shape, err);
    b->has_shape = status == VONK_OK;
  }
  destroy_types(types, n - 1);
  return status;
}

/* Does the model take such arguments? The predictor that says so waits for the rows. */
static vonk_status check(const function *f, const binding *b, vonk_error *err) {
  vonk_sql_slot *slot;
  vonk_sql_loaded *loaded;
  vonk_sql_predictor *p;
  VONK_TRY(vonk_sql_resolve(f->sql, b->model, &slot, &loaded, err));
  vonk_status status = vonk_sql_predictor_take(loaded, f->use, &b->shape, &p, err);
  if (status == VONK_OK) {
    vonk_sql_predictor_give(loaded, p);
  } else {
    (void)vonk_prefix(err, status, "model '%s'", slot->name);
  }
  vonk_sql_loaded_release(loaded);
  return status;
}

static vonk_status fill_binding(duckdb_bind_info info, const function *f, binding *b,
                                vonk_error *err) {
  VONK_TRY(bind_arguments(info, b, err));
  duckdb_expression name = duckdb_scalar_function_bind_get_argument(info, 0);
  if (name == NULL) {
    return vonk_sql_fail_hidden(1, err);
  }
  vonk_status status = bind_name(info, name, b, err);
  duckdb_destroy_expression(&name);
  VONK_TRY(status);
  return b->model != NULL && b->has_shape ? check(f, b, err) : VONK_OK;
}

static void bind_generic(duckdb_bind_info info) {
  const function *f = duckdb_scalar_function_bind_get_extra_info(info);
  vonk_error err = VONK_ERROR_INIT;
  binding *b = NULL;
  vonk_status status = vonk_new(1, sizeof(*b), &b, &err);
  if (status == VONK_OK) {
    b->references = 1;
    status = fill_binding(info, f, b, &err);
  }
  if (status != VONK_OK) {
    release_binding(b);
    (void)vonk_prefix(&err, status, "%s", f->name);
    duckdb_scalar_function_bind_set_error(info, err.message);
    return;
  }
  duckdb_scalar_function_set_bind_data(info, b, release_binding);
  duckdb_scalar_function_set_bind_data_copy(info, copy_binding);
}

/* --- rows --- */

/* The name in the first column, which must be the same in every row; to be deleted. */
static vonk_status name_of_rows(duckdb_data_chunk input, char **out, vonk_error *err) {
  duckdb_vector vector = duckdb_data_chunk_get_vector(input, 0);
  duckdb_string_t *strings = duckdb_vector_get_data(vector);
  const uint64_t *validity = duckdb_vector_get_validity(vector);
  idx_t n = duckdb_data_chunk_get_size(input);
  uint32_t size = 0;
  const char *first = "";
  for (idx_t i = 0; i < n; i++) {
    if (validity != NULL && ((validity[i / 64] >> (i % 64)) & 1u) == 0) {
      return fail_name(err, "is NULL");
    }
    const char *text = duckdb_string_t_data(&strings[i]);
    if (i == 0) {
      first = text;
      size = strings[i].value.inlined.length;
    } else if (strings[i].value.inlined.length != size ||
               memcmp(text, first, size) != 0) {
      return fail_name(err, "differs from row to row");
    }
  }
  VONK_TRY(vonk_new((size_t)size + 1, 1, out, err));
  memcpy(*out, first, size);
  return VONK_OK;
}

/* The types of the columns after the name. */
static vonk_status shape_of_rows(duckdb_data_chunk input, vonk_sql_shape *out,
                                 vonk_error *err) {
  idx_t n = duckdb_data_chunk_get_column_count(input);
  if (n < 2) {
    return vonk_fail(err, VONK_INVALID,
                     "there is no argument after the model: give the columns it takes");
  }
  duckdb_logical_type *types;
  VONK_TRY(vonk_new(n - 1, sizeof(duckdb_logical_type), &types, err));
  for (idx_t i = 1; i < n; i++) {
    types[i - 1] = duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(input, i));
  }
  vonk_status status = vonk_sql_shape_create(types, n - 1, 2, out, err);
  destroy_types(types, n - 1);
  return status;
}

static vonk_status run_model(const function *f, const char *model,
                             const vonk_sql_shape *shape, vonk_sql_call *call,
                             duckdb_vector output, vonk_error *err) {
  VONK_TRY(vonk_sql_resolve(f->sql, model, &call->slot, &call->loaded, err));
  call->sql = f->sql;
  call->use = f->use;
  call->shape = shape;
  call->first = 1;
  vonk_status status = vonk_sql_call_run(call, output, err);
  vonk_sql_loaded_release(call->loaded);
  return status;
}

static vonk_status run(const function *f, const binding *b, vonk_sql_call *call,
                       duckdb_vector output, vonk_error *err) {
  char *model = NULL;
  vonk_sql_shape shape = {.n = 0};
  bool has_model = b != NULL && b->model != NULL, has_shape = b != NULL && b->has_shape;
  if (duckdb_data_chunk_get_size(call->input) == 0) {
    return VONK_OK;
  }
  vonk_status status = has_model ? VONK_OK : name_of_rows(call->input, &model, err);
  if (status == VONK_OK && !has_shape) {
    status = shape_of_rows(call->input, &shape, err);
  }
  if (status == VONK_OK) {
    status = run_model(f, has_model ? b->model : model, has_shape ? &b->shape : &shape,
                       call, output, err);
  }
  vonk_delete(model);
  vonk_sql_shape_clear(&shape);
  return status;
}

static void run_generic(duckdb_function_info info, duckdb_data_chunk input,
                        duckdb_vector output) {
  const function *f = duckdb_scalar_function_get_extra_info(info);
  const binding *b = f->sql->has_bind ? duckdb_scalar_function_get_bind_data(info) : NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_sql_call call = {.context = vonk_sql_state_context(f->sql, info), .input = input};
  vonk_status status = run(f, b, &call, output, &err);
  if (status != VONK_OK) {
    (void)vonk_prefix(&err, status, "%s", f->name);
    duckdb_scalar_function_set_error(info, err.message);
  }
}

/* --- registering --- */

static const struct {
  const char *name;
  vonk_sql_use use;
} functions[] = {
    {"vonk_predict", {VONK_SQL_NUMBERS, false}},
    {"vonk_predict_label", {VONK_SQL_LABEL, false}},
    {"vonk_predict_text", {VONK_SQL_TEXT, false}},
    {"vonk_try_predict", {VONK_SQL_NUMBERS, true}},
    {"vonk_try_predict_label", {VONK_SQL_LABEL, true}},
    {"vonk_try_predict_text", {VONK_SQL_TEXT, true}},
};

/* FLOAT[], BIGINT or VARCHAR, and with is_try STRUCT(value ..., error VARCHAR). */
static duckdb_logical_type result_type(vonk_sql_use use) {
  static const duckdb_type elements[] = {[VONK_SQL_NUMBERS] = DUCKDB_TYPE_FLOAT,
                                         [VONK_SQL_LABEL] = DUCKDB_TYPE_BIGINT,
                                         [VONK_SQL_TEXT] = DUCKDB_TYPE_VARCHAR};
  duckdb_logical_type value = duckdb_create_logical_type(elements[use.kind]);
  if (use.kind == VONK_SQL_NUMBERS) {
    duckdb_logical_type list = duckdb_create_list_type(value);
    duckdb_destroy_logical_type(&value);
    value = list;
  }
  if (!use.is_try) {
    return value;
  }
  const char *names[] = {"value", "error"};
  duckdb_logical_type members[] = {value,
                                   duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR)};
  duckdb_logical_type result = duckdb_create_struct_type(members, names, 2);
  duckdb_destroy_logical_type(&members[0]);
  duckdb_destroy_logical_type(&members[1]);
  return result;
}

static vonk_status register_one(vonk_sql *sql, const char *name, vonk_sql_use use,
                                vonk_error *err) {
  function *f;
  VONK_TRY(vonk_new(1, sizeof(*f), &f, err));
  vonk_sql_retain(sql);
  *f = (function){.sql = sql, .name = name, .use = use};
  duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
  duckdb_logical_type any = duckdb_create_logical_type(DUCKDB_TYPE_ANY);
  duckdb_logical_type result = result_type(use);
  duckdb_scalar_function scalar = duckdb_create_scalar_function();
  duckdb_scalar_function_set_extra_info(scalar, f, release_function);
  duckdb_scalar_function_set_name(scalar, name);
  duckdb_scalar_function_add_parameter(scalar, text);
  duckdb_scalar_function_set_varargs(scalar, any);
  duckdb_scalar_function_set_return_type(scalar, result);
  duckdb_scalar_function_set_special_handling(scalar);
  duckdb_scalar_function_set_function(scalar, run_generic);
  if (sql->has_bind) {
    duckdb_scalar_function_set_bind(scalar, bind_generic);
    duckdb_scalar_function_set_init(scalar, vonk_sql_state_init);
  }
  duckdb_state state = duckdb_register_scalar_function(sql->connection, scalar);
  duckdb_destroy_scalar_function(&scalar);
  duckdb_destroy_logical_type(&result);
  duckdb_destroy_logical_type(&any);
  duckdb_destroy_logical_type(&text);
  return state == DuckDBSuccess ? VONK_OK
                                : vonk_fail(err, VONK_BACKEND,
                                            "DuckDB: refused to register %s: is vonk "
                                            "loaded in this database already?",
                                            name);
}

vonk_status vonk_sql_generic_register(vonk_sql *sql, vonk_error *err) {
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    VONK_TRY(register_one(sql, functions[i].name, functions[i].use, err));
  }
  return VONK_OK;
}
