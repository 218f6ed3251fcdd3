/* Which columns are read, which feed the model, which are written: decided before the
 * first row. */
#ifndef VONK_CLI_PLAN_H
#define VONK_CLI_PLAN_H

#include "cli/cli.h"
#include "cli/files.h"

/* --- the map of --input (inputs.c) --- */

/* One --input: tensor=part,part,... */
typedef struct vonk_cli_part {
  char *column; /* "pixels" or "s.f" */
  char *cast;   /* "FLOAT"; NULL = none */
  char *name;   /* what stands for it in the map: column, or column::cast */
} vonk_cli_part;
typedef struct vonk_cli_mapping {
  char *tensor;
  vonk_cli_part *parts;
  size_t n_parts;
  char *names; /* the parts' names, joined by commas */
} vonk_cli_mapping;
/* All of them. */
vonk_status vonk_cli_mappings_read(const vonk_cli_args *, vonk_cli_mapping **out,
                                   size_t *n, vonk_error *err);
void vonk_cli_mappings_release(vonk_cli_mapping *, size_t n);

/* --- the plan (plan.c) --- */

/* A column that the SELECT delivers. */
typedef struct vonk_cli_column {
  char *name; /* "pixels", or "pixels::FLOAT[784]" for one that is converted on the way */
  char *expression; /* the SQL of a converted one; NULL = the column itself */
  duckdb_logical_type logical;
  vonk_duckdb_type type;
  bool is_kept; /* stands in the output */
  bool is_read; /* the predictor reads it */
} vonk_cli_column;

typedef struct vonk_cli_plan {
  vonk_cli_column *columns; /* of the input, then the converted ones */
  size_t n_columns, n_input_columns;
  size_t *selected; /* the columns the SELECT delivers, in its order: kept ones first, in
                       the output's order */
  size_t n_selected, n_kept;
  size_t *fed; /* places in `selected` of the columns that the predictor was bound to, in
                  its order */
  size_t n_fed;
  vonk_predictor *predictor;
  struct ArrowSchema predictions; /* of the predictor */
} vonk_cli_plan;

typedef struct vonk_cli_plan_request {
  const vonk_cli_mapping *mappings; /* --input */
  size_t n_mappings;
  const char *select;            /* --select; NULL = all columns */
  const vonk_bind_options *bind; /* without inputs */
  vonk_model *model;
  const vonk_cli_source *source;
  duckdb_connection connection;
} vonk_cli_plan_request;

/* VONK_INVALID or VONK_UNSUPPORTED: the columns do not fit; VONK_IO: the inputs cannot be
 * read. */
vonk_status vonk_cli_plan_create(const vonk_cli_plan_request *request, vonk_cli_plan *out,
                                 vonk_error *err);
void vonk_cli_plan_clear(vonk_cli_plan *);
/* The SELECT statement. */
void vonk_cli_plan_sql(const vonk_cli_plan *, const vonk_cli_source *, vonk_cli_sql *out);

/* --- the columns there are (columns.c) --- */

/* Fills the plan's columns: those of the input, then the converted ones. */
vonk_status vonk_cli_plan_columns(const vonk_cli_plan_request *request,
                                  vonk_cli_plan *plan, vonk_error *err);
/* By name, as DuckDB compares names; *out is its place. */
bool vonk_cli_plan_find(const vonk_cli_plan *, const char *name, size_t *out);
/* "<what>: the input has no column '<name>': it has ..." */
vonk_status vonk_cli_plan_no_column(const vonk_cli_plan *, const char *what,
                                    const char *name, vonk_error *err);

#endif /* VONK_CLI_PLAN_H */
