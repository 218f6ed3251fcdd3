/* Rows for `vonk bench`, as tensors and as Arrow columns over the same memory.
 *
 * How it works: values are made, or read from a file. Reading casts each column to an
 * ARRAY of the tensor's own type and shape
 * ("pixels"::FLOAT[784]), so that what DuckDB delivers is the tensor, row after row. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "cli/bench.h"
#include "cli/plan.h"

enum { FREE_DIMENSION = 8 };

/* --- shapes --- */

static vonk_status shape_input(const vonk_io *io, int64_t n_rows,
                               vonk_cli_bench_input *in, vonk_error *err) {
  const vonk_dtype_info *info = vonk_dtype_find(io->dtype);
  if (io->rank < 1 || info == NULL || info->size == 0 || info->format == NULL) {
    vonk_text text = {.size = 0};
    vonk_cli_tensor(io, &text);
    return vonk_fail(err, VONK_UNSUPPORTED, "input %s: cannot be measured", text.data);
  }
  *in = (vonk_cli_bench_input){.io = io, .row_elements = 1};
  for (int32_t d = 1; d < io->rank; d++) {
    in->shape[d] = io->shape[d] < 0 ? FREE_DIMENSION : io->shape[d];
    in->row_elements *= in->shape[d];
  }
  in->row_bytes = (size_t)in->row_elements * info->size;
  return vonk_new((size_t)n_rows, in->row_bytes, &in->values, err);
}

static vonk_status shape_rows(const vonk_model_summary *s, int64_t n_rows,
                              vonk_cli_bench_rows *rows, vonk_error *err) {
  rows->n_rows = n_rows;
  VONK_TRY(vonk_new(s->n_inputs, sizeof(*rows->inputs), &rows->inputs, err));
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    VONK_TRY(shape_input(s->inputs[i], n_rows, &rows->inputs[i], err));
    rows->n_inputs = i + 1;
  }
  return VONK_OK;
}

/* Arrow's booleans are bits. */
static vonk_status pack_bools(vonk_cli_bench_rows *rows, vonk_error *err) {
  for (size_t i = 0; i < rows->n_inputs; i++) {
    vonk_cli_bench_input *in = &rows->inputs[i];
    if (in->io->dtype == VONK_BOOL8) {
      size_t n = (size_t)(rows->n_rows * in->row_elements);
      VONK_TRY(vonk_new(n / 8 + 1, 1, &in->bits, err));
      vonk_bits_pack(in->values, n, in->bits);
    }
  }
  return VONK_OK;
}

/* --- made values --- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static void fill_input(const vonk_cli_bench_input *in, int64_t n_rows, uint64_t *state) {
  const vonk_dtype_info *info = vonk_dtype_find(in->io->dtype);
  size_t n = (size_t)(n_rows * in->row_elements);
  for (size_t i = 0; i < n; i++) {
    uint64_t random = next_random(state);
    if (info->kind == 'f') {
      float value = (float)(random >> 40) / 16777216.0F; /* 0 to 1 */
      vonk_dtype_convert(VONK_F32, &value, in->io->dtype, in->values + i * info->size, 1);
    } else {
      in->values[i * info->size] =
          (uint8_t)(random & 1u); /* little-endian, the other bytes are 0 */
    }
  }
}

vonk_status vonk_cli_bench_make(const vonk_model_summary *s, int64_t n_rows,
                                vonk_cli_bench_rows *out, vonk_error *err) {
  vonk_cli_bench_rows rows = {.is_synthetic = true};
  vonk_status status = shape_rows(s, n_rows, &rows, err);
  uint64_t state = 1;
  for (size_t i = 0; status == VONK_OK && i < rows.n_inputs; i++) {
    fill_input(&rows.inputs[i], n_rows, &state);
  }
  if (status == VONK_OK) {
    status = pack_bools(&rows, err);
  }
  if (status != VONK_OK) {
    vonk_cli_bench_clear(&rows);
    return status;
  }
  *out = rows;
  return VONK_OK;
}

void vonk_cli_bench_clear(vonk_cli_bench_rows *rows) {
  for (size_t i = 0; i < rows->n_inputs; i++) {
    vonk_delete(rows->inputs[i].values);
    vonk_delete(rows->inputs[i].bits);
  }
  vonk_delete(rows->inputs);
  memset(rows, 0, sizeof(*rows));
}

/* --- read values --- */

/* CAST("pixels" AS FLOAT[28][28]) */
static void add_input(const vonk_io *io, const char *column, vonk_cli_sql *sql) {
  vonk_cli_sql_add(sql, "CAST(");
  vonk_cli_sql_name(sql, column);
  vonk_cli_sql_add(sql, " AS ");
  vonk_cli_sql_add(sql, vonk_dtype_find(io->dtype)->sql);
  for (int32_t d = io->rank - 1; d >= 1; d--) {
    vonk_cli_sql_add(sql, "[");
    vonk_cli_sql_number(sql,
                        (uint64_t)(io->shape[d] < 0 ? FREE_DIMENSION : io->shape[d]));
    vonk_cli_sql_add(sql, "]");
  }
  vonk_cli_sql_add(sql, ")");
}

static const char *column_of(const vonk_io *io, const vonk_cli_mapping *mappings,
                             size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(mappings[i].tensor, io->name) == 0) {
      return mappings[i].parts[0].column;
    }
  }
  return io->name;
}

static vonk_status build_select(const vonk_cli_args *args, const vonk_model_summary *s,
                                const vonk_cli_source *source, int64_t n_rows,
                                vonk_cli_sql *sql, vonk_error *err) {
  vonk_cli_mapping *mappings;
  size_t n;
  VONK_TRY(vonk_cli_mappings_read(args, &mappings, &n, err));
  vonk_cli_sql_add(sql, "SELECT ");
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    vonk_cli_sql_add(sql, i == 0 ? "" : ", ");
    add_input(s->inputs[i], column_of(s->inputs[i], mappings, n), sql);
  }
  vonk_cli_sql_add(sql, " FROM ");
  vonk_cli_sql_add(sql, vonk_cli_sql_get(&source->relation));
  vonk_cli_sql_add(sql, " LIMIT ");
  vonk_cli_sql_number(sql, (uint64_t)n_rows);
  vonk_cli_mappings_release(mappings, n);
  return vonk_cli_sql_check(sql, err);
}

/* The innermost vector of nested ARRAYs holds the numbers of all rows. */
static const uint8_t *numbers_of(duckdb_vector vector, int32_t rank) {
  for (int32_t d = 1; d < rank; d++) {
    vector = duckdb_array_vector_get_child(vector);
  }
  return duckdb_vector_get_data(vector);
}

static vonk_status copy_chunks(duckdb_result *result, vonk_cli_bench_rows *rows,
                               vonk_error *err) {
  int64_t capacity = rows->n_rows, done = 0;
  duckdb_data_chunk chunk;
  while ((chunk = duckdb_fetch_chunk(*result)) != NULL) {
    int64_t n = (int64_t)duckdb_data_chunk_get_size(chunk);
    n = n > capacity - done ? capacity - done : n;
    for (size_t i = 0; i < rows->n_inputs; i++) {
      vonk_cli_bench_input *in = &rows->inputs[i];
      const uint8_t *numbers =
          numbers_of(duckdb_data_chunk_get_vector(chunk, i), in->io->rank);
      memcpy(in->values + (size_t)done * in->row_bytes, numbers,
             (size_t)n * in->row_bytes);
    }
    done += n;
    duckdb_destroy_data_chunk(&chunk);
  }
  rows->n_rows = done;
  return done > 0 ? VONK_OK : vonk_fail(err, VONK_INVALID, "the input has no rows");
}

static vonk_status read_rows(const vonk_cli_args *args, const vonk_model_summary *s,
                             duckdb_connection connection, vonk_cli_bench_rows *rows,
                             vonk_error *err) {
  vonk_cli_source source;
  vonk_cli_format format = VONK_FORMAT_UNKNOWN;
  const char *text = vonk_cli_value(args, "format", NULL);
  if (text != NULL) {
    VONK_TRY(vonk_cli_format_parse("format", text, &format, err));
  }
  VONK_TRY(vonk_cli_source_open(connection, args->operands + 1, 1, format, &source, err));
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_status status = build_select(args, s, &source, rows->n_rows, &sql, err);
  duckdb_result result;
  if (status == VONK_OK) {
    status = duckdb_query(connection, vonk_cli_sql_get(&sql), &result) != DuckDBSuccess
                 ? vonk_cli_duckdb_fail(err, VONK_INVALID, source.name,
                                        duckdb_result_error(&result))
                 : copy_chunks(&result, rows, err);
    duckdb_destroy_result(&result);
  }
  vonk_cli_sql_release(&sql);
  vonk_cli_source_close(&source);
  return status;
}

vonk_status vonk_cli_bench_read(const vonk_cli_args *args, const vonk_model_summary *s,
                                int64_t n_rows, vonk_cli_bench_rows *out,
                                vonk_error *err) {
  vonk_cli_bench_rows rows = {.is_synthetic = false};
  duckdb_database database = NULL;
  duckdb_connection connection = NULL;
  VONK_TRY(vonk_cli_duckdb_load(err));
  VONK_TRY(vonk_cli_database_open(&(vonk_cli_database_settings){.n_threads = 1},
                                  &database, err));
  vonk_status status = shape_rows(s, n_rows, &rows, err);
  if (status == VONK_OK && duckdb_connect(database, &connection) != DuckDBSuccess) {
    status = vonk_fail(err, VONK_BACKEND, "DuckDB: refused a connection");
  }
  if (status == VONK_OK &&
      (status = read_rows(args, s, connection, &rows, err)) == VONK_OK) {
    status = pack_bools(&rows, err);
  }
  if (connection != NULL) {
    duckdb_disconnect(&connection);
  }
  duckdb_close(&database);
  if (status != VONK_OK) {
    vonk_cli_bench_clear(&rows);
    return status;
  }
  *out = rows;
  return VONK_OK;
}

/* --- Arrow --- */

static vonk_status column_schema(const vonk_cli_bench_input *in, struct ArrowSchema *out,
                                 vonk_error *err) {
  if (in->io->rank == 1) {
    return vonk_schema_value(in->io->name, in->io->dtype, out, err);
  }
  struct ArrowSchema item;
  VONK_TRY(vonk_schema_value("item", in->io->dtype, &item, err));
  vonk_status status = vonk_schema_list(in->io->name, in->row_elements, &item, out, err);
  if (status != VONK_OK) {
    item.release(&item);
  }
  return status;
}

/* A node of an array and the pointers it needs, freed together. */
typedef struct node {
  struct ArrowArray item, *children[1];
  const void *buffers[2], *item_buffers[2];
} node;

static void release_item(struct ArrowArray *array) { array->release = NULL; }
static void release_node(struct ArrowArray *array) {
  vonk_delete(array->private_data);
  array->release = NULL;
}

static vonk_status column_array(const vonk_cli_bench_input *in, int64_t n_rows,
                                struct ArrowArray *out, vonk_error *err) {
  node *n;
  VONK_TRY(vonk_new(1, sizeof(*n), &n, err));
  const void *values = in->bits != NULL ? in->bits : in->values;
  *out = (struct ArrowArray){.length = n_rows,
                             .n_buffers = 2,
                             .buffers = n->buffers,
                             .release = release_node,
                             .private_data = n};
  n->buffers[1] = values;
  if (in->io->rank > 1) {
    n->item_buffers[1] = values;
    n->item = (struct ArrowArray){.length = n_rows * in->row_elements,
                                  .n_buffers = 2,
                                  .buffers = n->item_buffers,
                                  .release = release_item};
    n->children[0] = &n->item;
    out->n_buffers = 1;
    out->n_children = 1;
    out->children = n->children;
  }
  return VONK_OK;
}

vonk_status vonk_cli_bench_columns(const vonk_cli_bench_rows *rows,
                                   struct ArrowSchema *schema, struct ArrowArray *array,
                                   vonk_error *err) {
  struct ArrowSchema types;
  struct ArrowArray values;
  VONK_TRY(vonk_schema_struct("", (int64_t)rows->n_inputs, &types, err));
  vonk_status status =
      vonk_array_struct(rows->n_rows, (int64_t)rows->n_inputs, &values, err);
  if (status != VONK_OK) {
    types.release(&types);
    return status;
  }
  for (size_t i = 0; status == VONK_OK && i < rows->n_inputs; i++) {
    struct ArrowSchema type;
    struct ArrowArray column;
    if ((status = column_schema(&rows->inputs[i], &type, err)) == VONK_OK) {
      vonk_schema_move(&type, types.children[i]);
      status = column_array(&rows->inputs[i], rows->n_rows, &column, err);
    }
    if (status == VONK_OK) {
      vonk_array_move(&column, values.children[i]);
    }
  }
  if (status != VONK_OK) {
    types.release(&types);
    values.release(&values);
    return status;
  }
  *schema = types;
  *array = values;
  return VONK_OK;
}
