/* DuckDB's vectors as Arrow arrays and back. Serves the vonk program and the SQL
 * extension; knows neither. The folder's only door. */
#ifndef VONK_ENGINES_DUCKDB_H
#define VONK_ENGINES_DUCKDB_H

#include "base/base.h"
#include "engines/duckdb/duckdb_api.h"
#include "vonk/arrow_c_data.h"

/* --- its version (version.c) --- */

/* Whether duckdb_library_version() says this release or a later one; false for a text that
 * is no version. The functions of the v1.5.6 band are there since 1.5.6. */
bool vonk_duckdb_is_since(const char *version, int major, int minor, int patch);

/* --- types (types.c) --- */

/* What a column's DuckDB type means for us. */
typedef struct vonk_duckdb_type {
  duckdb_type id;
  duckdb_type index;     /* ENUM: the type of its numbers; DECIMAL: of its digits */
  uint8_t digits, scale; /* DECIMAL(digits, scale) */
  idx_t array_size;      /* ARRAY */
  bool supported;        /* a tensor can be made of it */
  size_t n_children;     /* LIST, ARRAY: 1; STRUCT: its fields */
  struct vonk_duckdb_type *children;
  char *name; /* never NULL */
  struct ArrowArray
      *dictionary; /* ENUM: its values as text, built once, borrowed by the views */
} vonk_duckdb_type;

vonk_status vonk_duckdb_type_parse(duckdb_logical_type type, const char *name,
                                   vonk_duckdb_type *out, vonk_error *err);
void vonk_duckdb_type_clear(vonk_duckdb_type *);
/* In DuckDB's words: "FLOAT[784]", "STRUCT(a BIGINT)". */
void vonk_duckdb_type_describe(const vonk_duckdb_type *, vonk_text *out);

/* The Arrow type of the arrays that vonk_duckdb_view makes of it. DECIMAL, HUGEINT and
 * UHUGEINT become float64, rounded to the nearest. VONK_UNSUPPORTED, with the cast to
 * write, for what no tensor can hold (dates, intervals, ...). */
vonk_status vonk_duckdb_type_schema(const vonk_duckdb_type *, struct ArrowSchema *out,
                                    vonk_error *err);

/* What fixed-size lists become. ARRAY keeps the length in the type; but DuckDB 1.5.6
 * writes a Parquet file that other readers refuse when an ARRAY is NULL, and Parquet has
 * no such type anyway: what goes to a file is a LIST. */
typedef enum { VONK_DUCKDB_ARRAYS, VONK_DUCKDB_LISTS } vonk_duckdb_layout;

/* The DuckDB type that holds values of an Arrow type that vonk predicts; to be destroyed.
 */
vonk_status vonk_duckdb_type_of(const struct ArrowSchema *schema,
                                vonk_duckdb_layout layout, duckdb_logical_type *out,
                                vonk_error *err);
/* A STRUCT of n fields; names NULL = those of the schemas. */
vonk_status vonk_duckdb_struct_of(struct ArrowSchema *const *fields, size_t n,
                                  const char *const *names, vonk_duckdb_layout layout,
                                  duckdb_logical_type *out, vonk_error *err);

/* Bytes of an element of an Arrow format in a vector; 0 = DuckDB has no type for it. */
size_t vonk_duckdb_format_width(const char *format);

/* --- vectors in (view.c) --- */

/* The first n rows of a flat vector as an Arrow array of vonk_duckdb_type_schema.
 * Numbers, validity and list elements are borrowed from the vector, which must outlive
 * the array and stay unchanged; text, booleans and wide numbers are rewritten; list
 * entries become a list view. */
vonk_status vonk_duckdb_view(duckdb_vector vector, const vonk_duckdb_type *type,
                             int64_t n, struct ArrowArray *out, vonk_error *err);

/* Bytes of the values of the first n rows, roughly. */
uint64_t vonk_duckdb_vector_bytes(duckdb_vector vector, const vonk_duckdb_type *type,
                                  int64_t n);

/* --- results out (emit.c) --- */

/* Bit i of an Arrow bitmap. */
static inline bool vonk_duckdb_bit(const void *bits, int64_t i) {
  return ((((const uint8_t *)bits)[i / 8] >> (i % 8)) & 1) != 0;
}
/* Whether element i of an array is NULL; the array's offset is added here. */
static inline bool vonk_duckdb_is_null(const struct ArrowArray *array, int64_t i) {
  return array->null_count != 0 && array->n_buffers > 0 && array->buffers[0] != NULL &&
         !vonk_duckdb_bit(array->buffers[0], array->offset + i);
}

/* Copies all elements of array, which has the type schema, into rows start, start + 1,
 * ... of a flat vector made of vonk_duckdb_type_of. Fill a vector from row 0 on: list
 * elements are appended. */
vonk_status vonk_duckdb_emit(const struct ArrowArray *array,
                             const struct ArrowSchema *schema, vonk_duckdb_layout layout,
                             duckdb_vector vector, int64_t start, vonk_error *err);

#endif /* VONK_ENGINES_DUCKDB_H */
