/* A predicted Arrow array copied into a DuckDB vector.
 *
 * How it works: one function per layout, each for all elements of the array at once,
 * called recursively for lists and structs. Values are copied as blocks, validity bit by
 * bit and only where there is a NULL. Offsets of sliced arrays are honoured: element i is
 * at array->offset + i of the buffers. */
#include <string.h>

#include "engines/duckdb/internal.h"

/* Elements [first, first + n) of the array (its offset not yet added) to rows start... of
 * the vector. */
typedef struct span {
  const struct ArrowArray *array;
  const struct ArrowSchema *schema;
  int64_t first, n;
  int64_t start;
  vonk_duckdb_layout layout;
} span;

static vonk_status emit_span(span s, duckdb_vector vector, vonk_error *err);

/* Rows [start, start + n) become NULL, and with an array its elements, with a struct its
 * fields, as DuckDB itself does it. */
static void set_null(duckdb_vector vector, const struct ArrowSchema *schema,
                     vonk_duckdb_layout layout, int64_t start, int64_t n) {
  duckdb_vector_ensure_validity_writable(vector);
  uint64_t *validity = duckdb_vector_get_validity(vector);
  for (int64_t row = start; row < start + n; row++) {
    validity[row / 64] &= ~(UINT64_C(1) << (row % 64));
  }
  int64_t size = vonk_duckdb_array_size(schema, layout);
  if (size > 0) {
    set_null(duckdb_array_vector_get_child(vector), schema->children[0], layout,
             start * size, n * size);
  }
  for (int64_t i = 0;
       schema->format[0] == '+' && schema->format[1] == 's' && i < schema->n_children;
       i++) {
    set_null(duckdb_struct_vector_get_child(vector, (idx_t)i), schema->children[i],
             layout, start, n);
  }
}

static void emit_nulls(span s, duckdb_vector vector) {
  if (s.array->null_count == 0 || s.array->n_buffers == 0 ||
      s.array->buffers[0] == NULL) {
    return;
  }
  for (int64_t i = 0; i < s.n; i++) {
    if (vonk_duckdb_is_null(s.array, s.first + i)) {
      set_null(vector, s.schema, s.layout, s.start + i, 1);
    }
  }
}

static void emit_bools(span s, duckdb_vector vector) {
  uint8_t *out = duckdb_vector_get_data(vector);
  for (int64_t i = 0; i < s.n; i++) {
    out[s.start + i] =
        vonk_duckdb_bit(s.array->buffers[1], s.array->offset + s.first + i);
  }
}

static void emit_values(span s, size_t width, duckdb_vector vector) {
  uint8_t *out = duckdb_vector_get_data(vector);
  const uint8_t *from = s.array->buffers[1];
  memcpy(out + (size_t)s.start * width,
         from + (size_t)(s.array->offset + s.first) * width, (size_t)s.n * width);
}

/* Where element i of a list or text array starts; i = the length gives the end of the
 * last. */
static int64_t offset_at(const struct ArrowArray *array, bool is_wide, int64_t i) {
  const void *offsets = array->buffers[1];
  return is_wide ? ((const int64_t *)offsets)[array->offset + i]
                 : ((const int32_t *)offsets)[array->offset + i];
}

/* Bytes of the character at *at, 0 if there is none that UTF-8 knows: no overlong form,
 * no surrogate, nothing beyond U+10FFFF. */
static size_t character_at(const uint8_t *at, size_t n) {
  if (at[0] < 0x80) {
    return 1;
  }
  size_t size = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
  uint8_t least = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
  uint8_t most = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
  if (at[0] < 0xC2 || at[0] > 0xF4 || size > n || at[1] < least || at[1] > most) {
    return 0;
  }
  for (size_t i = 2; i < size; i++) {
    if ((at[i] & 0xC0) != 0x80) {
      return 0;
    }
  }
  return size;
}

static bool is_utf8(const char *text, size_t n) {
  const uint8_t *at = (const uint8_t *)text;
  for (size_t size; n > 0; at += size, n -= size) {
    size = character_at(at, n);
    if (size == 0) {
      return false;
    }
  }
  return true;
}

/* DuckDB would make NULL of text that is not UTF-8, or fail later, as its version has it.
 */
static vonk_status emit_text(span s, duckdb_vector vector, vonk_error *err) {
  bool is_wide = s.schema->format[0] == 'U' || s.schema->format[0] == 'Z';
  bool is_text = s.schema->format[0] == 'u' || s.schema->format[0] == 'U';
  const char *bytes = s.array->buffers[2];
  for (int64_t i = 0; i < s.n; i++) {
    if (!vonk_duckdb_is_null(s.array, s.first + i)) {
      int64_t begin = offset_at(s.array, is_wide, s.first + i);
      size_t size = (size_t)(offset_at(s.array, is_wide, s.first + i + 1) - begin);
      const char *text = size > 0 ? bytes + begin : "";
      if (is_text && !is_utf8(text, size)) {
        return vonk_fail(err, VONK_BACKEND,
                         "the model gave text that is not UTF-8, which VARCHAR must be");
      }
      duckdb_vector_assign_string_element_len(vector, (idx_t)(s.start + i), text, size);
    }
  }
  return VONK_OK;
}

/* A fixed-size list goes to an ARRAY, or, where it is too long for one, to a LIST. */
static vonk_status emit_fixed(span s, int64_t size, duckdb_vector vector,
                              vonk_error *err) {
  span item = {.array = s.array->children[0],
               .schema = s.schema->children[0],
               .first = (s.array->offset + s.first) * size,
               .n = s.n * size,
               .start = s.start * size,
               .layout = s.layout};
  return emit_span(item, duckdb_array_vector_get_child(vector), err);
}

static vonk_status emit_list(span s, int64_t size, duckdb_vector vector,
                             vonk_error *err) {
  bool is_fixed = s.schema->format[1] == 'w', is_wide = s.schema->format[1] == 'L';
  idx_t used = s.start == 0 ? 0 : duckdb_list_vector_get_size(vector);
  int64_t begin = is_fixed ? (s.array->offset + s.first) * size
                           : offset_at(s.array, is_wide, s.first);
  int64_t end =
      is_fixed ? begin + s.n * size : offset_at(s.array, is_wide, s.first + s.n);
  if (duckdb_list_vector_reserve(vector, used + (idx_t)(end - begin)) != DuckDBSuccess) {
    return vonk_fail_nomem(err, (size_t)(end - begin));
  }
  duckdb_list_entry *entries = duckdb_vector_get_data(vector);
  for (int64_t i = 0; i < s.n; i++) {
    int64_t from = is_fixed ? begin + i * size : offset_at(s.array, is_wide, s.first + i);
    int64_t to = is_fixed ? from + size : offset_at(s.array, is_wide, s.first + i + 1);
    entries[s.start + i] = (duckdb_list_entry){.offset = used + (idx_t)(from - begin),
                                               .length = (idx_t)(to - from)};
  }
  span item = {.array = s.array->children[0],
               .schema = s.schema->children[0],
               .first = begin,
               .n = end - begin,
               .start = (int64_t)used,
               .layout = s.layout};
  VONK_TRY(emit_span(item, duckdb_list_vector_get_child(vector), err));
  duckdb_list_vector_set_size(vector, used + (idx_t)(end - begin));
  return VONK_OK;
}

static vonk_status emit_struct(span s, duckdb_vector vector, vonk_error *err) {
  for (int64_t i = 0; i < s.array->n_children; i++) {
    span field = {.array = s.array->children[i],
                  .schema = s.schema->children[i],
                  .first = s.array->offset + s.first,
                  .n = s.n,
                  .start = s.start,
                  .layout = s.layout};
    VONK_TRY(emit_span(field, duckdb_struct_vector_get_child(vector, (idx_t)i), err));
  }
  return VONK_OK;
}

static vonk_status emit_nested(span s, duckdb_vector vector, vonk_error *err) {
  if (s.schema->format[1] == 's') {
    return emit_struct(s, vector, err);
  }
  int64_t size = vonk_duckdb_array_size(s.schema, s.layout);
  return size > 0 ? emit_fixed(s, size, vector, err)
                  : emit_list(s, vonk_duckdb_fixed_length(s.schema), vector, err);
}

static vonk_status emit_elements(span s, duckdb_vector vector, vonk_error *err) {
  switch (s.schema->format[0]) {
    case '+':
      return emit_nested(s, vector, err);
    case 'b':
      emit_bools(s, vector);
      return VONK_OK;
    case 'u':
    case 'U':
    case 'z':
    case 'Z':
      return emit_text(s, vector, err);
    default:
      emit_values(s, vonk_duckdb_format_width(s.schema->format), vector);
      return VONK_OK;
  }
}

static vonk_status emit_span(span s, duckdb_vector vector, vonk_error *err) {
  if (s.n > 0) {
    VONK_TRY(emit_elements(s, vector, err));
    emit_nulls(s, vector); /* last: a NULL array takes its elements along */
  }
  return VONK_OK;
}

vonk_status vonk_duckdb_emit(const struct ArrowArray *array,
                             const struct ArrowSchema *schema, vonk_duckdb_layout layout,
                             duckdb_vector vector, int64_t start, vonk_error *err) {
  span all = {.array = array,
              .schema = schema,
              .n = array->length,
              .start = start,
              .layout = layout};
  return emit_span(all, vector, err);
}
