/* The columns that `vonk run` can choose from.
 *
 * How it works: a prepared SELECT * tells the input's columns and their types without reading rows; a second one tells
 * the types of what --input converts. A converted column is named as the user wrote it, "pixels::FLOAT[784]", so that
 * messages speak of it in the user's words. */
#include <string.h>
#include <strings.h>

#include "cli/plan.h"

bool vonk_cli_plan_find(const vonk_cli_plan *plan, const char *name, size_t *out) {
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < plan->n_columns; i++) {
      const char *other = plan->columns[i].name;
      if (pass == 0 ? strcmp(other, name) == 0 : strcasecmp(other, name) == 0) {
        *out = i;
        return true;
      }
    }
  }
  return false;
}

vonk_status vonk_cli_plan_no_column(const vonk_cli_plan *plan, const char *what,
                                    const char *name, vonk_error *err) {
  vonk_text list = {.size = 0};
  for (size_t i = 0; i < plan->n_input_columns; i++) {
    vonk_text_add(&list, "%s%s", i == 0 ? "" : ", ", plan->columns[i].name);
  }
  return vonk_fail(err, VONK_INVALID, "%s: the input has no column '%s': it has %s", what,
                   name, list.data);
}

/* --- reading descriptions --- */

/* Appends what a SELECT would deliver; the plan has room for it. */
static vonk_status append_columns(duckdb_prepared_statement statement,
                                  vonk_cli_plan *plan, vonk_error *err) {
  size_t n = duckdb_prepared_statement_column_count(statement);
  for (size_t i = 0; i < n; i++) {
    vonk_cli_column *c = &plan->columns[plan->n_columns++];
    const char *name = duckdb_prepared_statement_column_name(statement, i);
    vonk_status status = vonk_new_string(name, &c->name, err);
    duckdb_free((void *)(uintptr_t)name);
    VONK_TRY(status);
    c->logical = duckdb_prepared_statement_column_logical_type(statement, i);
    VONK_TRY(vonk_duckdb_type_parse(c->logical, c->name, &c->type, err));
  }
  return VONK_OK;
}

/* Prepares `SELECT <list> FROM the input`. code: whose fault it is if that cannot be done. */
static vonk_status prepare(const vonk_cli_plan_request *r, const char *list,
                           vonk_status code, duckdb_prepared_statement *out,
                           vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_cli_sql_add(&sql, "SELECT ");
  vonk_cli_sql_add(&sql, list);
  vonk_cli_sql_add(&sql, " FROM ");
  vonk_cli_sql_add(&sql, vonk_cli_sql_get(&r->source->relation));
  vonk_status status = vonk_cli_sql_check(&sql, err);
  if (status == VONK_OK &&
      duckdb_prepare(r->connection, vonk_cli_sql_get(&sql), out) != DuckDBSuccess) {
    status = vonk_cli_duckdb_fail(err, code, r->source->name, duckdb_prepare_error(*out));
    duckdb_destroy_prepare(out);
  }
  vonk_cli_sql_release(&sql);
  return status;
}

static size_t count_casts(const vonk_cli_plan_request *r) {
  size_t casts = 0;
  for (size_t i = 0; i < r->n_mappings; i++) {
    for (size_t j = 0; j < r->mappings[i].n_parts; j++) {
      casts += r->mappings[i].parts[j].cast != NULL;
    }
  }
  return casts;
}

/* --- conversions --- */

/* The SQL of a column, or of a field of a struct column ("s"."f"). */
static vonk_status add_column(const vonk_cli_plan *plan, const char *column,
                              vonk_cli_sql *sql, vonk_error *err) {
  size_t i;
  if (vonk_cli_plan_find(plan, column, &i)) {
    vonk_cli_sql_name(sql, column);
    return VONK_OK;
  }
  char *name;
  VONK_TRY(vonk_new_string(column, &name, err));
  char *dot = strchr(name, '.');
  vonk_status status = VONK_OK;
  if (dot != NULL) {
    *dot = '\0';
  }
  if (dot != NULL && vonk_cli_plan_find(plan, name, &i)) {
    vonk_cli_sql_name(sql, name);
    vonk_cli_sql_add(sql, ".");
    vonk_cli_sql_name(sql, dot + 1);
  } else {
    status = vonk_cli_plan_no_column(plan, "--input", column, err);
  }
  vonk_delete(name);
  return status;
}

static vonk_status cast_expression(const vonk_cli_plan *plan, const vonk_cli_part *part,
                                   char **out, vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_cli_sql_add(&sql, "CAST(");
  vonk_status status = add_column(plan, part->column, &sql, err);
  vonk_cli_sql_add(&sql, " AS ");
  vonk_cli_sql_add(&sql, part->cast);
  vonk_cli_sql_add(&sql, ")");
  if (status == VONK_OK && (status = vonk_cli_sql_check(&sql, err)) == VONK_OK) {
    status = vonk_new_string(vonk_cli_sql_get(&sql), out, err);
  }
  vonk_cli_sql_release(&sql);
  return status;
}

/* Adds the column of one conversion, unless the plan has it. */
static vonk_status add_cast(const vonk_cli_plan_request *r, const vonk_cli_part *part,
                            vonk_cli_plan *plan, vonk_error *err) {
  size_t i;
  if (part->cast == NULL || vonk_cli_plan_find(plan, part->name, &i)) {
    return VONK_OK;
  }
  char *expression;
  VONK_TRY(cast_expression(plan, part, &expression, err));
  vonk_cli_sql list = {.status = VONK_OK};
  vonk_cli_sql_add(&list, expression);
  vonk_cli_sql_add(&list, " AS ");
  vonk_cli_sql_name(&list, part->name);
  duckdb_prepared_statement statement = NULL;
  i = plan->n_columns;
  vonk_status status = vonk_cli_sql_check(&list, err);
  if (status == VONK_OK) {
    status = prepare(r, vonk_cli_sql_get(&list), VONK_INVALID, &statement, err);
  }
  if (status == VONK_OK) {
    status = append_columns(statement, plan, err);
    duckdb_destroy_prepare(&statement);
  }
  vonk_cli_sql_release(&list);
  if (status != VONK_OK) {
    vonk_delete(expression);
    return status;
  }
  plan->columns[i].expression = expression;
  return VONK_OK;
}

vonk_status vonk_cli_plan_columns(const vonk_cli_plan_request *r, vonk_cli_plan *plan,
                                  vonk_error *err) {
  duckdb_prepared_statement statement;
  VONK_TRY(prepare(r, "*", VONK_IO, &statement, err));
  size_t n = duckdb_prepared_statement_column_count(statement);
  vonk_status status =
      vonk_new(n + count_casts(r), sizeof(*plan->columns), &plan->columns, err);
  if (status == VONK_OK) {
    status = append_columns(statement, plan, err);
  }
  duckdb_destroy_prepare(&statement);
  plan->n_input_columns = plan->n_columns;
  for (size_t i = 0; status == VONK_OK && i < r->n_mappings; i++) {
    for (size_t j = 0; status == VONK_OK && j < r->mappings[i].n_parts; j++) {
      status = add_cast(r, &r->mappings[i].parts[j], plan, err);
    }
  }
  return status;
}
