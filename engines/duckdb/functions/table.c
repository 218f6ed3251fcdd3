/* Table functions whose rows are made at once.
 *
 * How it works: bind reads the arguments and declares the columns; the first call for
 * rows runs the table's `fill`, which writes cells; this and later calls copy them to
 * DuckDB, a vector at a time. So what a statement does happens when it runs, each time it
 * runs, and EXPLAIN does nothing. */
#include <string.h>

#include "engines/duckdb/functions/internal.h"

typedef struct cell {
  bool is_null;
  char *text;
  char **texts;
  size_t n_texts;
  int64_t integer; /* and booleans; UBIGINT as the same bits */
  double real;
} cell;

struct vonk_sql_output {
  vonk_buffer cells; /* row by row */
  size_t n_columns;
  vonk_status status; /* of the first failure */
};

/* --- writing cells --- */

static cell *next_cell(vonk_sql_output *rows) {
  cell empty = {.is_null = true};
  if (rows->status == VONK_OK) {
    rows->status = vonk_buffer_append(&rows->cells, &empty, sizeof(empty), NULL);
  }
  return rows->status != VONK_OK
             ? NULL
             : (cell *)(void *)(rows->cells.data + rows->cells.size) - 1;
}

static size_t count_cells(const vonk_sql_output *rows) {
  return rows->cells.size / sizeof(cell);
}

void vonk_sql_output_begin(vonk_sql_output *rows) {
  while (rows->status == VONK_OK && count_cells(rows) % rows->n_columns != 0) {
    (void)next_cell(rows);
  }
}

void vonk_sql_output_null(vonk_sql_output *rows) { (void)next_cell(rows); }

void vonk_sql_output_text(vonk_sql_output *rows, const char *text) {
  cell *c = next_cell(rows);
  if (c != NULL && text != NULL) {
    c->is_null = false;
    rows->status = vonk_new_string(text, &c->text, NULL);
  }
}

void vonk_sql_output_texts(vonk_sql_output *rows, const char *const *texts, size_t n) {
  cell *c = next_cell(rows);
  if (c == NULL) {
    return;
  }
  c->is_null = false;
  rows->status = vonk_new(n, sizeof(*c->texts), &c->texts, NULL);
  while (rows->status == VONK_OK && c->n_texts < n) {
    rows->status = vonk_new_string(texts[c->n_texts], &c->texts[c->n_texts], NULL);
    c->n_texts += rows->status == VONK_OK;
  }
}

void vonk_sql_output_bigint(vonk_sql_output *rows, int64_t value) {
  cell *c = next_cell(rows);
  if (c != NULL) {
    c->is_null = false;
    c->integer = value;
  }
}

void vonk_sql_output_ubigint(vonk_sql_output *rows, uint64_t value) {
  vonk_sql_output_bigint(rows, (int64_t)value);
}

void vonk_sql_output_bool(vonk_sql_output *rows, bool value) {
  vonk_sql_output_bigint(rows, value);
}

void vonk_sql_output_double(vonk_sql_output *rows, double value) {
  cell *c = next_cell(rows);
  if (c != NULL) {
    c->is_null = false;
    c->real = value;
  }
}

static void clear_output(vonk_sql_output *rows) {
  cell *cells = (cell *)(void *)rows->cells.data;
  for (size_t i = 0; i < count_cells(rows); i++) {
    vonk_delete(cells[i].text);
    for (size_t k = 0; k < cells[i].n_texts; k++) {
      vonk_delete(cells[i].texts[k]);
    }
    vonk_delete(cells[i].texts);
  }
  vonk_buffer_release(&rows->cells);
}

/* --- what DuckDB holds --- */

/* The extra info. */
typedef struct function {
  vonk_sql *sql;
  const vonk_sql_table *table;
} function;

/* The bind data: lives as long as the plan, which may run several times. */
typedef struct binding {
  function function;
  vonk_sql_arguments arguments;
} binding;

/* The init data, of one run. */
typedef struct scan {
  vonk_sql_output rows;
  size_t next;
  bool is_filled;
} scan;

static void release_function(void *pointer) {
  function *f = pointer;
  vonk_sql_release(f->sql);
  vonk_delete(f);
}

static void release_binding(void *pointer) {
  binding *b = pointer;
  vonk_sql_arguments_clear(&b->arguments);
  vonk_sql_release(b->function.sql);
  vonk_delete(b);
}

static void release_scan(void *pointer) {
  scan *s = pointer;
  clear_output(&s->rows);
  vonk_delete(s);
}

/* --- bind --- */

static duckdb_logical_type cell_type(vonk_sql_cell_type type) {
  static const duckdb_type types[] = {[VONK_SQL_CELL_TEXT] = DUCKDB_TYPE_VARCHAR,
                                      [VONK_SQL_CELL_TEXTS] = DUCKDB_TYPE_VARCHAR,
                                      [VONK_SQL_CELL_BOOL] = DUCKDB_TYPE_BOOLEAN,
                                      [VONK_SQL_CELL_BIGINT] = DUCKDB_TYPE_BIGINT,
                                      [VONK_SQL_CELL_UBIGINT] = DUCKDB_TYPE_UBIGINT,
                                      [VONK_SQL_CELL_DOUBLE] = DUCKDB_TYPE_DOUBLE};
  duckdb_logical_type logical = duckdb_create_logical_type(types[type]);
  if (type == VONK_SQL_CELL_TEXTS) {
    duckdb_logical_type list = duckdb_create_list_type(logical);
    duckdb_destroy_logical_type(&logical);
    return list;
  }
  return logical;
}

static vonk_status bind_rows(duckdb_bind_info info, const function *f, binding **out,
                             vonk_error *err) {
  binding *b;
  VONK_TRY(vonk_new(1, sizeof(*b), &b, err));
  b->function = *f;
  vonk_sql_retain(f->sql);
  vonk_status status = vonk_sql_arguments_read(info, f->table, &b->arguments, err);
  if (status != VONK_OK) {
    release_binding(b);
    return status;
  }
  *out = b;
  return VONK_OK;
}

static void bind(duckdb_bind_info info) {
  const function *f = duckdb_bind_get_extra_info(info);
  vonk_error err = VONK_ERROR_INIT;
  binding *b;
  vonk_status status = bind_rows(info, f, &b, &err);
  if (status != VONK_OK) {
    (void)vonk_prefix(&err, status, "%s", f->table->name);
    duckdb_bind_set_error(info, err.message);
    return;
  }
  for (size_t i = 0; i < f->table->n_columns; i++) {
    duckdb_logical_type type = cell_type(f->table->columns[i].type);
    duckdb_bind_add_result_column(info, f->table->columns[i].name, type);
    duckdb_destroy_logical_type(&type);
  }
  duckdb_bind_set_bind_data(info, b, release_binding);
}

static void init(duckdb_init_info info) {
  const binding *b = duckdb_init_get_bind_data(info);
  scan *s;
  if (vonk_new(1, sizeof(*s), &s, NULL) != VONK_OK) {
    duckdb_init_set_error(info, "memory: none left to list rows");
    return;
  }
  s->rows.n_columns = b->function.table->n_columns;
  duckdb_init_set_max_threads(info, 1);
  duckdb_init_set_init_data(info, s, release_scan);
}

/* --- rows --- */

static vonk_status emit_texts(const cell *c, duckdb_vector vector, idx_t row,
                              vonk_error *err) {
  idx_t used = row == 0 ? 0 : duckdb_list_vector_get_size(vector);
  if (duckdb_list_vector_reserve(vector, used + c->n_texts) != DuckDBSuccess ||
      duckdb_list_vector_set_size(vector, used + c->n_texts) != DuckDBSuccess) {
    return vonk_fail_nomem(err, c->n_texts);
  }
  duckdb_vector child = duckdb_list_vector_get_child(vector);
  for (size_t i = 0; i < c->n_texts; i++) {
    duckdb_vector_assign_string_element_len(child, used + i, c->texts[i],
                                            strlen(c->texts[i]));
  }
  ((duckdb_list_entry *)duckdb_vector_get_data(vector))[row] =
      (duckdb_list_entry){.offset = used, .length = c->n_texts};
  return VONK_OK;
}

static vonk_status emit_cell(const cell *c, vonk_sql_cell_type type, duckdb_vector vector,
                             idx_t row, vonk_error *err) {
  if (type == VONK_SQL_CELL_TEXTS) { /* a NULL list is an empty one as well */
    VONK_TRY(emit_texts(c, vector, row, err));
  }
  if (c->is_null) {
    duckdb_vector_ensure_validity_writable(vector);
    duckdb_vector_get_validity(vector)[row / 64] &= ~(UINT64_C(1) << (row % 64));
    return VONK_OK;
  }
  void *data = duckdb_vector_get_data(vector);
  switch (type) {
    case VONK_SQL_CELL_TEXT:
      duckdb_vector_assign_string_element_len(vector, row, c->text, strlen(c->text));
      break;
    case VONK_SQL_CELL_BOOL:
      ((bool *)data)[row] = c->integer != 0;
      break;
    case VONK_SQL_CELL_BIGINT:
    case VONK_SQL_CELL_UBIGINT:
      ((int64_t *)data)[row] = c->integer;
      break;
    case VONK_SQL_CELL_DOUBLE:
      ((double *)data)[row] = c->real;
      break;
    case VONK_SQL_CELL_TEXTS:
      break;
  }
  return VONK_OK;
}

static vonk_status fill(const binding *b, scan *s, vonk_error *err) {
  s->is_filled = true;
  VONK_TRY(b->function.table->fill(b->function.sql, &b->arguments, &s->rows, err));
  vonk_sql_output_begin(&s->rows); /* completes the last row */
  return s->rows.status == VONK_OK ? VONK_OK : vonk_fail_nomem(err, 0);
}

static vonk_status emit(const vonk_sql_table *table, scan *s, duckdb_data_chunk output,
                        vonk_error *err) {
  size_t n_rows = count_cells(&s->rows) / table->n_columns, most = duckdb_vector_size();
  size_t n = n_rows - s->next < most ? n_rows - s->next : most;
  const cell *cells = (const cell *)(const void *)s->rows.cells.data;
  for (size_t row = 0; row < n; row++) {
    for (size_t i = 0; i < table->n_columns; i++) {
      VONK_TRY(emit_cell(&cells[(s->next + row) * table->n_columns + i],
                         table->columns[i].type, duckdb_data_chunk_get_vector(output, i),
                         row, err));
    }
  }
  s->next += n;
  duckdb_data_chunk_set_size(output, n);
  return VONK_OK;
}

static void give_rows(duckdb_function_info info, duckdb_data_chunk output) {
  const binding *b = duckdb_function_get_bind_data(info);
  scan *s = duckdb_function_get_init_data(info);
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = s->is_filled ? VONK_OK : fill(b, s, &err);
  if (status == VONK_OK) {
    status = emit(b->function.table, s, output, &err);
  }
  if (status != VONK_OK) {
    (void)vonk_prefix(&err, status, "%s", b->function.table->name);
    duckdb_function_set_error(info, err.message);
  }
}

/* --- registering --- */

vonk_status vonk_sql_table_register(vonk_sql *sql, const vonk_sql_table *table,
                                    vonk_error *err) {
  function *f;
  VONK_TRY(vonk_new(1, sizeof(*f), &f, err));
  *f = (function){.sql = sql, .table = table};
  vonk_sql_retain(sql);
  duckdb_table_function t = duckdb_create_table_function();
  duckdb_table_function_set_name(t, table->name);
  duckdb_table_function_set_extra_info(t, f, release_function);
  duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
  for (size_t i = 0; i < table->n_parameters; i++) {
    duckdb_table_function_add_parameter(t, text);
  }
  duckdb_destroy_logical_type(&text);
  if (table->takes_options) {
    vonk_sql_arguments_declare(t);
  }
  duckdb_table_function_set_bind(t, bind);
  duckdb_table_function_set_init(t, init);
  duckdb_table_function_set_function(t, give_rows);
  duckdb_state state = duckdb_register_table_function(sql->connection, t);
  duckdb_destroy_table_function(&t);
  return state == DuckDBSuccess ? VONK_OK
                                : vonk_fail(err, VONK_BACKEND,
                                            "DuckDB: refused to register %s: is vonk "
                                            "loaded in this database already?",
                                            table->name);
}
