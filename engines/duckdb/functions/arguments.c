/* What a table function was given: its parameters, and the options of vonk_load.
 *
 * How it works: a table has one row per named option, with its SQL type and the function
 * that reads its value; bind goes through it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

static vonk_status text_of(duckdb_value value, const char *what, char **out,
                           vonk_error *err) {
  char *text = duckdb_is_null_value(value) ? NULL : duckdb_get_varchar(value);
  if (text == NULL) {
    return vonk_fail(err, VONK_INVALID, "%s: is NULL: give a text", what);
  }
  vonk_status status = vonk_new_string(text, out, err);
  duckdb_free(text);
  return status;
}

/* Takes over value, and key if is_key_new. */
static vonk_status add_option(vonk_sql_arguments *a, const char *key, char *value,
                              vonk_error *err) {
  vonk_kv *options = NULL;
  char *own_key = NULL;
  vonk_status status = vonk_new_string(key, &own_key, err);
  if (status == VONK_OK) {
    status = vonk_new(a->n_model_options + 1, sizeof(*options), &options, err);
  }
  if (status != VONK_OK) {
    vonk_delete(own_key);
    vonk_delete(value);
    return status;
  }
  if (a->n_model_options > 0) {
    memcpy(options, a->model_options, a->n_model_options * sizeof(*options));
  }
  options[a->n_model_options++] = (vonk_kv){own_key, value};
  vonk_delete(a->model_options);
  a->model_options = options;
  return VONK_OK;
}

/* --- one option --- */

static vonk_status read_as(duckdb_value value, const char *name, vonk_sql_arguments *a,
                           vonk_error *err) {
  if (a->as != NULL) {
    return vonk_fail(err, VONK_INVALID, "as_ and \"as\": are the same: give one of them");
  }
  return text_of(value, name, &a->as, err);
}

static vonk_status read_output(duckdb_value value, const char *name,
                               vonk_sql_arguments *a, vonk_error *err) {
  return text_of(value, name, &a->output, err);
}

static vonk_status read_batch(duckdb_value value, const char *name, vonk_sql_arguments *a,
                              vonk_error *err) {
  a->load.batch_rows = duckdb_is_null_value(value) ? 0 : duckdb_get_int64(value);
  return a->load.batch_rows > 0
             ? VONK_OK
             : vonk_fail(err, VONK_INVALID,
                         "%s: is not a number of rows: give 1 or more, or leave it out",
                         name);
}

/* The place of the value in choices, which end with NULL. */
static vonk_status read_choice(duckdb_value value, const char *name,
                               const char *const *choices, int32_t *out,
                               vonk_error *err) {
  char *text;
  VONK_TRY(text_of(value, name, &text, err));
  vonk_text wanted = {.size = 0};
  vonk_status status = VONK_INVALID;
  for (int32_t i = 0; choices[i] != NULL; i++) {
    if (strcmp(choices[i], text) == 0) {
      *out = i;
      status = VONK_OK;
    }
    vonk_text_add(&wanted, "%s'%s'", i == 0 ? "" : ", ", choices[i]);
  }
  if (status != VONK_OK) {
    (void)vonk_fail(err, status, "%s: cannot be '%.80s': it is one of %s", name, text,
                    wanted.data);
  }
  vonk_delete(text);
  return status;
}

static vonk_status read_nulls(duckdb_value value, const char *name, vonk_sql_arguments *a,
                              vonk_error *err) {
  static const char *const choices[] = {
      [VONK_NULLS_NULL] = "null", [VONK_NULLS_ERROR] = "error", NULL};
  return read_choice(value, name, choices, &a->load.nulls, err);
}

static vonk_status read_on_error(duckdb_value value, const char *name,
                                 vonk_sql_arguments *a, vonk_error *err) {
  static const char *const choices[] = {[VONK_ROWS_RAISE] = "raise",
                                        [VONK_ROWS_NULL] = "null",
                                        [VONK_ROWS_REPORT] = "report",
                                        NULL};
  return read_choice(value, name, choices, &a->load.row_errors, err);
}

static vonk_status read_squeeze(duckdb_value value, const char *name,
                                vonk_sql_arguments *a, vonk_error *err) {
  (void)name;
  (void)err;
  a->load.squeeze = !duckdb_is_null_value(value) && duckdb_get_bool(value);
  return VONK_OK;
}

static vonk_status read_lists(duckdb_value value, const char *name, vonk_sql_arguments *a,
                              vonk_error *err) {
  (void)name;
  (void)err;
  a->load.lists = !duckdb_is_null_value(value) && duckdb_get_bool(value);
  return VONK_OK;
}

/* Options of vonk_model_open that have a parameter of their own. */
static vonk_status read_model_option(duckdb_value value, const char *name,
                                     vonk_sql_arguments *a, vonk_error *err) {
  char *text;
  VONK_TRY(text_of(value, name, &text, err));
  return add_option(a, name, text, err);
}

static vonk_status read_threads(duckdb_value value, const char *name,
                                vonk_sql_arguments *a, vonk_error *err) {
  char digits[24], *text;
  int64_t n = duckdb_is_null_value(value) ? 0 : duckdb_get_int64(value);
  (void)snprintf(digits, sizeof(digits), "%" PRId64, n);
  VONK_TRY(vonk_new_string(digits, &text, err));
  return add_option(a, name, text, err);
}

static vonk_status read_map_entry(duckdb_value map, idx_t i, vonk_sql_arguments *a,
                                  vonk_error *err) {
  duckdb_value key = duckdb_get_map_key(map, i), value = duckdb_get_map_value(map, i);
  char *key_text = NULL, *value_text = NULL;
  vonk_status status = text_of(key, "options: a key", &key_text, err);
  if (status == VONK_OK) {
    status = text_of(value, "options: a value", &value_text, err);
  }
  if (status == VONK_OK) {
    status = add_option(a, key_text, value_text, err);
  }
  vonk_delete(key_text);
  duckdb_destroy_value(&key);
  duckdb_destroy_value(&value);
  return status;
}

static vonk_status read_map(duckdb_value value, const char *name, vonk_sql_arguments *a,
                            vonk_error *err) {
  (void)name;
  idx_t n = duckdb_is_null_value(value) ? 0 : duckdb_get_map_size(value);
  for (idx_t i = 0; i < n; i++) {
    VONK_TRY(read_map_entry(value, i, a, err));
  }
  return VONK_OK;
}

/* --- the table --- */

/* `as` is a reserved word in DuckDB's grammar: it can only be written "as". */
static const struct {
  const char *name;
  duckdb_type type;
  vonk_status (*read)(duckdb_value, const char *name, vonk_sql_arguments *, vonk_error *);
} options[] = {
    {"as_", DUCKDB_TYPE_VARCHAR, read_as},
    {"as", DUCKDB_TYPE_VARCHAR, read_as},
    {"output", DUCKDB_TYPE_VARCHAR, read_output},
    {"batch", DUCKDB_TYPE_BIGINT, read_batch},
    {"nulls", DUCKDB_TYPE_VARCHAR, read_nulls},
    {"on_error", DUCKDB_TYPE_VARCHAR, read_on_error},
    {"squeeze", DUCKDB_TYPE_BOOLEAN, read_squeeze},
    {"lists", DUCKDB_TYPE_BOOLEAN, read_lists},
    {"signature", DUCKDB_TYPE_VARCHAR, read_model_option},
    {"device", DUCKDB_TYPE_VARCHAR, read_model_option},
    {"plugin", DUCKDB_TYPE_VARCHAR, read_model_option},
    {"threads_per_run", DUCKDB_TYPE_BIGINT, read_threads},
    {"options", DUCKDB_TYPE_MAP, read_map},
};
enum { N_OPTIONS = sizeof(options) / sizeof(options[0]) };

void vonk_sql_arguments_declare(duckdb_table_function function) {
  for (size_t i = 0; i < N_OPTIONS; i++) {
    bool is_map = options[i].type == DUCKDB_TYPE_MAP;
    duckdb_logical_type text =
        duckdb_create_logical_type(is_map ? DUCKDB_TYPE_VARCHAR : options[i].type);
    duckdb_logical_type map = is_map ? duckdb_create_map_type(text, text) : NULL;
    duckdb_table_function_add_named_parameter(function, options[i].name,
                                              is_map ? map : text);
    if (is_map) {
      duckdb_destroy_logical_type(&map);
    }
    duckdb_destroy_logical_type(&text);
  }
}

static vonk_status read_all(duckdb_bind_info info, const vonk_sql_table *table,
                            vonk_sql_arguments *a, vonk_error *err) {
  for (size_t i = 0; i < table->n_parameters; i++) {
    static const char *const names[] = {"the first argument", "the second argument"};
    duckdb_value value = duckdb_bind_get_parameter(info, i);
    vonk_status status = text_of(value, names[i], &a->parameters[i], err);
    duckdb_destroy_value(&value);
    VONK_TRY(status);
  }
  for (size_t i = 0; table->takes_options && i < N_OPTIONS; i++) {
    duckdb_value value = duckdb_bind_get_named_parameter(info, options[i].name);
    if (value != NULL) {
      vonk_status status = options[i].read(value, options[i].name, a, err);
      duckdb_destroy_value(&value);
      VONK_TRY(status);
    }
  }
  a->load.as = a->as;
  a->load.output = a->output;
  a->load.model_options = a->model_options;
  a->load.n_model_options = a->n_model_options;
  return VONK_OK;
}

vonk_status vonk_sql_arguments_read(duckdb_bind_info info, const vonk_sql_table *table,
                                    vonk_sql_arguments *out, vonk_error *err) {
  vonk_sql_arguments a = {.n_model_options = 0};
  vonk_status status = read_all(info, table, &a, err);
  if (status != VONK_OK) {
    vonk_sql_arguments_clear(&a);
    return status;
  }
  *out = a;
  return VONK_OK;
}

void vonk_sql_arguments_clear(vonk_sql_arguments *a) {
  vonk_delete(a->parameters[0]);
  vonk_delete(a->parameters[1]);
  vonk_delete(a->as);
  vonk_delete(a->output);
  for (size_t i = 0; i < a->n_model_options; i++) {
    vonk_delete((void *)(uintptr_t)a->model_options[i].key);
    vonk_delete((void *)(uintptr_t)a->model_options[i].value);
  }
  vonk_delete(a->model_options);
  *a = (vonk_sql_arguments){.n_model_options = 0};
}
