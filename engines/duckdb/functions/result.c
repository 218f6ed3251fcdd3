/* Predictions as a DuckDB vector.
 *
 * How it works. The type of a typed function is the output's own, a STRUCT by output
 * names if there are several, and STRUCT(value, error) around it where errors are
 * reported. A generic function's value is FLOAT[], BIGINT or VARCHAR whatever the model
 * yields: numbers are walked list by list down to their elements, which lie side by side
 * for each row, and converted. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

/* --- types --- */

/* Of digit(x) less the error: one output's type, or a STRUCT of all. */
static vonk_status value_type(const vonk_sql_loaded *loaded, const vonk_sql_predictor *p,
                              duckdb_logical_type *out, vonk_error *err) {
  size_t n = vonk_sql_loaded_outputs(loaded);
  if (n == 1) {
    return vonk_duckdb_type_of(p->results.children[0], loaded->layout, out, err);
  }
  const char **names;
  VONK_TRY(vonk_new(n, sizeof(*names), &names, err));
  for (size_t i = 0; i < n; i++) {
    names[i] = vonk_sql_loaded_output(loaded, i);
  }
  vonk_status status =
      vonk_duckdb_struct_of(p->results.children, n, names, loaded->layout, out, err);
  vonk_delete(names);
  return status;
}

vonk_status vonk_sql_result_type(const vonk_sql_loaded *loaded,
                                 const vonk_sql_predictor *p, duckdb_logical_type *out,
                                 vonk_error *err) {
  duckdb_logical_type value;
  VONK_TRY(value_type(loaded, p, &value, err));
  if (!p->reports) {
    *out = value;
    return VONK_OK;
  }
  duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
  const char *names[] = {"value", "error"};
  duckdb_logical_type members[] = {value, text};
  *out = duckdb_create_struct_type(members, names, 2);
  duckdb_destroy_logical_type(&value);
  duckdb_destroy_logical_type(&text);
  return *out == NULL ? vonk_fail(err, VONK_BACKEND, "DuckDB: made no STRUCT type")
                      : VONK_OK;
}

/* --- NULL --- */

static void set_null(duckdb_vector vector, int64_t row) {
  duckdb_vector_ensure_validity_writable(vector);
  duckdb_vector_get_validity(vector)[row / 64] &= ~(UINT64_C(1) << (row % 64));
}

/* --- numbers, flat --- */

static float bool_at(const void *values, int64_t i) {
  return vonk_duckdb_bit(values, i) ? 1 : 0;
}
#define DEFINE_NUMBER(name, type)                         \
  static float name##_at(const void *values, int64_t i) { \
    return (float)((const type *)values)[i];              \
  }
DEFINE_NUMBER(float, float)
DEFINE_NUMBER(double, double)
DEFINE_NUMBER(int8, int8_t)
DEFINE_NUMBER(int16, int16_t)
DEFINE_NUMBER(int32, int32_t)
DEFINE_NUMBER(int64, int64_t)
DEFINE_NUMBER(uint8, uint8_t)
DEFINE_NUMBER(uint16, uint16_t)
DEFINE_NUMBER(uint32, uint32_t)
DEFINE_NUMBER(uint64, uint64_t)

/* By the letter of Arrow's format. */
static const struct {
  char format;
  float (*at)(const void *values, int64_t i);
} numbers[] = {{'b', bool_at},   {'f', float_at},  {'g', double_at}, {'c', int8_at},
               {'s', int16_at},  {'i', int32_at},  {'l', int64_at},  {'C', uint8_at},
               {'S', uint16_at}, {'I', uint32_at}, {'L', uint64_at}};

/* Where the elements of entry i of a list start in its child; i = the length gives the
 * end of the last. Results have fixed-size lists and lists with 32-bit offsets. */
static int64_t list_start(const struct ArrowArray *array,
                          const struct ArrowSchema *schema, int64_t i) {
  if (schema->format[1] == 'w') {
    return (array->offset + i) * strtoll(schema->format + 3, NULL, 10);
  }
  return ((const int32_t *)array->buffers[1])[array->offset + i];
}

/* A numeric output's elements, and which of them are those of row i. */
typedef struct leaf {
  const struct ArrowArray *array;
  const struct ArrowSchema *schema;
} leaf;

static int64_t leaf_start(const struct ArrowArray *array,
                          const struct ArrowSchema *schema, int64_t i, leaf *out) {
  while (schema->format[0] == '+') {
    i = list_start(array, schema, i);
    array = array->children[0];
    schema = schema->children[0];
  }
  *out = (leaf){array, schema};
  return i;
}

static void copy_numbers(const leaf *from, int64_t start, int64_t n, float *to) {
  const void *values = from->array->buffers[1];
  start += from->array->offset;
  if (from->schema->format[0] == 'f') {
    if (n > 0) {
      memcpy(to, (const float *)values + start, (size_t)n * sizeof(float));
    }
    return;
  }
  for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
    if (numbers[k].format == from->schema->format[0]) {
      for (int64_t i = 0; i < n; i++) {
        to[i] = numbers[k].at(values, start + i);
      }
      return;
    }
  }
}

static vonk_status emit_numbers(const struct ArrowArray *array,
                                const struct ArrowSchema *schema, duckdb_vector vector,
                                vonk_error *err) {
  int64_t n = array->length;
  leaf elements;
  int64_t begin = leaf_start(array, schema, 0, &elements);
  int64_t end = leaf_start(array, schema, n, &elements);
  if (duckdb_list_vector_reserve(vector, (idx_t)(end - begin)) != DuckDBSuccess) {
    return vonk_fail_nomem(err, (size_t)(end - begin) * sizeof(float));
  }
  copy_numbers(&elements, begin, end - begin,
               duckdb_vector_get_data(duckdb_list_vector_get_child(vector)));
  duckdb_list_vector_set_size(vector, (idx_t)(end - begin));
  duckdb_list_entry *entries = duckdb_vector_get_data(vector);
  for (int64_t i = 0; i < n; i++) {
    int64_t from = leaf_start(array, schema, i, &elements);
    int64_t to = leaf_start(array, schema, i + 1, &elements);
    entries[i] = (duckdb_list_entry){(idx_t)(from - begin), (idx_t)(to - from)};
    if (vonk_duckdb_is_null(array, i)) {
      set_null(vector, i);
    }
  }
  return VONK_OK;
}

/* A label: what argmax gave, or whole numbers of any width, which all but UBIGINT fit. */
static vonk_status emit_labels(const struct ArrowArray *array,
                               const struct ArrowSchema *schema, duckdb_vector vector,
                               vonk_error *err) {
  int64_t *out = duckdb_vector_get_data(vector);
  const uint8_t *values = array->buffers[1];
  size_t width = vonk_duckdb_format_width(schema->format);
  bool is_signed = islower((unsigned char)schema->format[0]) != 0; /* c s i l, C S I L */
  unsigned unused_bits = 64 - 8 * (unsigned)width;
  for (int64_t i = 0; i < array->length; i++) {
    if (vonk_duckdb_is_null(array, i)) {
      set_null(vector, i);
      continue;
    }
    uint64_t bits = 0;
    memcpy(&bits, values + (size_t)(array->offset + i) * width, width);
    if (!is_signed && bits > INT64_MAX) {
      return vonk_fail(err, VONK_INVALID,
                       "a label does not fit BIGINT: use vonk_load and a typed call");
    }
    /* the sign of a narrow number is its own highest bit */
    out[i] = is_signed ? (int64_t)(bits << unused_bits) >> unused_bits : (int64_t)bits;
  }
  return VONK_OK;
}

/* --- the vector --- */

/* Several outputs as a STRUCT, which is NULL where a row has no prediction. */
static vonk_status emit_struct(const vonk_sql_loaded *loaded, const vonk_sql_predictor *p,
                               struct ArrowArray *results, size_t n, duckdb_vector vector,
                               vonk_error *err) {
  for (size_t i = 0; i < n; i++) {
    VONK_TRY(vonk_duckdb_emit(results->children[i], p->results.children[i],
                              loaded->layout, duckdb_struct_vector_get_child(vector, i),
                              0, err));
  }
  for (int64_t row = 0; row < results->length; row++) {
    if (vonk_duckdb_is_null(results->children[0], row)) {
      set_null(vector, row);
    }
  }
  return VONK_OK;
}

vonk_status vonk_sql_result_emit(const vonk_sql_loaded *loaded, vonk_sql_use use,
                                 const vonk_sql_predictor *p, struct ArrowArray *results,
                                 duckdb_vector output, vonk_error *err) {
  size_t n = (size_t)results->n_children - p->reports;
  duckdb_vector value = output;
  const struct ArrowArray *first = results->children[0];
  const struct ArrowSchema *schema = p->results.children[0];
  if (p->reports) {
    value = duckdb_struct_vector_get_child(output, 0);
    VONK_TRY(vonk_duckdb_emit(results->children[n], p->results.children[n],
                              loaded->layout, duckdb_struct_vector_get_child(output, 1),
                              0, err));
  }
  switch (use.kind) {
    case VONK_SQL_NUMBERS:
      return emit_numbers(first, schema, value, err);
    case VONK_SQL_LABEL:
      return emit_labels(first, schema, value, err);
    default:
      return n > 1 ? emit_struct(loaded, p, results, n, value, err)
                   : vonk_duckdb_emit(first, schema, loaded->layout, value, 0, err);
  }
}
