/* How it works: the array and its type are walked together. What every kind has in common
 * (counts of buffers and children, lengths, validity) is checked from one row per kind;
 * then the kind's own function checks what only it has (offsets, sizes, indices) and
 * descends.
 *
 * A view has an extent (which elements of the array it is) and a reach (which of these
 * the rows of the top level lead to). The extent of a field is its struct's, of a list's
 * child the whole child array. The reach narrows from list to list: rows 5 to 9 of a
 * column lead to the elements from offset[5] to offset[10]. Offsets, indices and NULLs
 * are read within the reach alone, so a slice of a big batch costs what the slice costs,
 * and nothing of what lies outside can make it fail.
 *
 * Every number here may be hostile, but a pointer that is not NULL is as long as the
 * numbers say: Arrow has no sizes. Offsets are read through memcpy, since nothing
 * promises that they are aligned; the loops still vectorise. */
#include <inttypes.h>
#include <string.h>

#include "arrow/arrow.h"
#include "arrow/place.h"

/* Elements [first, first + count) of a view. */
typedef struct reach {
  int64_t first, count;
} reach;

/* What the common checks need of an element of the walk. */
typedef struct walk {
  const struct ArrowArray *array;
  vonk_place place;
  int64_t shift, length; /* extent: elements [shift, shift + length) of array */
  reach reach;
} walk;

static vonk_status view(const walk *at, vonk_column *out, vonk_error *err);

/* --- what all kinds have in common --- */

typedef struct kind_row {
  const char *words;
  int8_t n_buffers; /* the validity bitmap counts */
} kind_row;

static const kind_row kinds[] = {
    [VONK_TYPE_VALUE] = {"an array of values", 2},
    [VONK_TYPE_TEXT] = {"an array of strings", 3},
    [VONK_TYPE_LIST] = {"a list array", 2},
    [VONK_TYPE_LIST_VIEW] = {"a list-view array", 3},
    [VONK_TYPE_FIXED_LIST] = {"a fixed-size list array", 1},
    [VONK_TYPE_STRUCT] = {"a struct array", 1},
    [VONK_TYPE_DICTIONARY] = {"a dictionary array", 2},
    [VONK_TYPE_DECIMAL] = {"an array of decimals", 2},
    [VONK_TYPE_NULL] = {"a null array", 0},
};

/* Counts and pointers: after this, buffers and children may be read as far as the type
 * says. */
static vonk_status check_parts(const walk *at, vonk_error *err) {
  const struct ArrowArray *array = at->array;
  const vonk_type *type = at->place.type;
  const kind_row *kind = &kinds[type->kind];
  const bool is_dictionary = type->kind == VONK_TYPE_DICTIONARY;
  const int64_t n_children = is_dictionary ? 0 : type->n_children;
  if (array->n_buffers != kind->n_buffers) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "is %s with %" PRId64 " buffers: expected %d", kind->words,
                           array->n_buffers, (int)kind->n_buffers);
  }
  if (array->n_buffers > 0 && array->buffers == NULL) {
    return vonk_place_fail(&at->place, err, VONK_INVALID, "is %s without buffers",
                           kind->words);
  }
  if (array->n_children != n_children) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "is %s with %" PRId64 " children: expected %" PRId64,
                           kind->words, array->n_children, n_children);
  }
  if (n_children > 0 && array->children == NULL) {
    return vonk_place_fail(&at->place, err, VONK_INVALID, "is %s without its children",
                           kind->words);
  }
  if (is_dictionary != (array->dictionary != NULL)) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           is_dictionary
                               ? "is %s without its dictionary"
                               : "is %s with a dictionary, which its type lacks",
                           kind->words);
  }
  return VONK_OK;
}

/* Lengths: after this, (offset + length + 1) * 16 does not overflow, and the extent lies
 * in the array. */
static vonk_status check_lengths(const walk *at, vonk_error *err) {
  const struct ArrowArray *array = at->array;
  if (array->length < 0 || array->offset < 0) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has length %" PRId64 " and offset %" PRId64
                           ": neither may be negative",
                           array->length, array->offset);
  }
  if ((uint64_t)array->length + (uint64_t)array->offset >= SIZE_MAX / 32) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has length %" PRId64 " and offset %" PRId64
                           ": more than memory can hold",
                           array->length, array->offset);
  }
  if (array->null_count < -1 || array->null_count > array->length) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has null_count %" PRId64 " with length %" PRId64
                           ": expected -1 (not counted) to the length",
                           array->null_count, array->length);
  }
  if (at->length > array->length || at->shift > array->length - at->length) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has %" PRId64 " elements, but its parent needs %" PRId64,
                           array->length, at->shift + at->length);
  }
  return VONK_OK;
}

/* Only what is reached is counted, so the array's own count decides no more than whether
 * to look. */
static vonk_status view_validity(const walk *at, vonk_column *out, vonk_error *err) {
  const struct ArrowArray *array = at->array;
  if (at->place.type->kind == VONK_TYPE_NULL) {
    out->null_count = at->reach.count;
    return VONK_OK;
  }
  if (array->null_count == 0) return VONK_OK;
  if (array->buffers[0] == NULL) {
    if (array->null_count < 0) return VONK_OK;
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has %" PRId64 " NULLs, but no validity bitmap",
                           array->null_count);
  }
  const size_t valid =
      vonk_bits_count(array->buffers[0], (size_t)(out->offset + at->reach.first),
                      (size_t)at->reach.count);
  out->null_count = at->reach.count - (int64_t)valid;
  if (out->null_count > 0) out->validity = array->buffers[0];
  return VONK_OK;
}

static vonk_status need_buffer(const walk *at, int index, const char *words,
                               vonk_error *err) {
  if (at->array->buffers[index] != NULL) return VONK_OK;
  return vonk_place_fail(&at->place, err, VONK_INVALID,
                         "is %s of length %" PRId64 " without its %s buffer",
                         kinds[at->place.type->kind].words, at->length, words);
}

/* --- offsets --- */

static inline int64_t offset_at(const void *offsets, bool wide, int64_t i) {
  int64_t wide_value;
  int32_t value;
  if (wide) {
    memcpy(&wide_value, (const uint8_t *)offsets + (size_t)i * sizeof wide_value,
           sizeof wide_value);
    return wide_value;
  }
  memcpy(&value, (const uint8_t *)offsets + (size_t)i * sizeof value, sizeof value);
  return value;
}

/* True if one of the n + 1 offsets is less than the one before. No early exit: the loop
 * vectorises. */
#define DEFINE_FALLS(NAME, TYPE)                                   \
  static bool NAME(const uint8_t *offsets, int64_t n) {            \
    unsigned falls = 0;                                            \
    for (size_t i = 0; i < (size_t)n; i++) {                       \
      TYPE low, high;                                              \
      memcpy(&low, offsets + i * sizeof low, sizeof low);          \
      memcpy(&high, offsets + (i + 1) * sizeof high, sizeof high); \
      falls |= high < low;                                         \
    }                                                              \
    return falls != 0;                                             \
  }
DEFINE_FALLS(narrow_falls, int32_t)
DEFINE_FALLS(wide_falls, int64_t)

static vonk_status fail_falling(const walk *at, const vonk_column *out, vonk_error *err) {
  const bool wide = at->place.type->wide_offsets;
  int64_t i = out->offset + at->reach.first;
  while (offset_at(out->offsets, wide, i + 1) >= offset_at(out->offsets, wide, i)) i++;
  return vonk_place_fail(&at->place, err, VONK_INVALID,
                         "has offsets that fall from %" PRId64 " to %" PRId64
                         " at row %" PRId64 ": %s needs rising ones",
                         offset_at(out->offsets, wide, i),
                         offset_at(out->offsets, wide, i + 1), i - out->offset,
                         kinds[at->place.type->kind].words);
}

/* The part [*first, *first + *count) of the data that the offsets within the reach lead
 * to. */
static vonk_status view_offsets(const walk *at, vonk_column *out, reach *data,
                                vonk_error *err) {
  *data = (reach){0, 0};
  if (at->length == 0) return VONK_OK;
  VONK_TRY(need_buffer(at, 1, "offsets", err));
  out->offsets = at->array->buffers[1];
  if (at->reach.count == 0) return VONK_OK;
  const bool wide = at->place.type->wide_offsets;
  const int64_t start = out->offset + at->reach.first;
  const uint8_t *offsets =
      (const uint8_t *)out->offsets + (size_t)start * (wide ? 8u : 4u);
  if ((wide ? wide_falls : narrow_falls)(offsets, at->reach.count))
    return fail_falling(at, out, err);
  const int64_t first = offset_at(offsets, wide, 0);
  if (first < 0) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has the negative offset %" PRId64 " at row %" PRId64, first,
                           at->reach.first);
  }
  *data = (reach){first, offset_at(offsets, wide, at->reach.count) - first};
  return VONK_OK;
}

/* --- one function per kind --- */

static vonk_status view_value(const walk *at, vonk_column *out, vonk_error *err) {
  if (at->length == 0) return VONK_OK;
  VONK_TRY(need_buffer(at, 1, "values", err));
  out->values = at->array->buffers[1];
  return VONK_OK;
}

static vonk_status view_text(const walk *at, vonk_column *out, vonk_error *err) {
  reach bytes = {0, 0};
  VONK_TRY(view_offsets(at, out, &bytes, err));
  if (bytes.count > 0) VONK_TRY(need_buffer(at, 2, "data", err));
  out->values = at->array->buffers[2];
  return VONK_OK;
}

static vonk_status new_children(const walk *at, vonk_column *out, vonk_error *err) {
  const int64_t n = at->place.type->n_children;
  VONK_TRY(vonk_new((size_t)n, sizeof *out->children, &out->children, err));
  out->n_children = n;
  return VONK_OK;
}

static vonk_status need_items(const walk *at, int64_t end, vonk_error *err) {
  const struct ArrowArray *child = at->array->children[0];
  if (child == NULL || end <= child->length) return VONK_OK;
  return vonk_place_fail(&at->place, err, VONK_INVALID,
                         "needs elements up to %" PRId64 ", but its child has %" PRId64,
                         end, child->length);
}

/* The one child of a list: the whole array, of which `reached` is looked at. */
static vonk_status view_item(const walk *at, reach reached, vonk_column *out,
                             vonk_error *err) {
  const struct ArrowArray *child = at->array->children[0];
  VONK_TRY(new_children(at, out, err));
  const walk item = {
      .array = child,
      .place = {.parent = &at->place, .type = &at->place.type->children[0]},
      .length = child == NULL ? 0 : child->length,
      .reach = reached};
  return view(&item, &out->children[0], err);
}

static vonk_status view_list(const walk *at, vonk_column *out, vonk_error *err) {
  reach items = {0, 0};
  VONK_TRY(view_offsets(at, out, &items, err));
  VONK_TRY(need_items(at, items.first + items.count, err));
  return view_item(at, items, out, err);
}

static vonk_status fail_list_view(const walk *at, int64_t i, int64_t start, int64_t count,
                                  vonk_error *err) {
  return vonk_place_fail(&at->place, err, VONK_INVALID,
                         "has a list from element %" PRId64 " of %" PRId64
                         " elements at row %" PRId64
                         ": neither may be negative, nor the end overflow",
                         start, count, i);
}

/* A NULL row's offset and size may be anything; an empty list must lie in the child too,
 * but leads nowhere. */
static vonk_status reach_of_list_views(const walk *at, const vonk_column *out,
                                       reach *items, vonk_error *err) {
  int64_t low = INT64_MAX;
  int64_t high = 0;
  int64_t end = 0;
  for (int64_t i = at->reach.first; i < at->reach.first + at->reach.count; i++) {
    int64_t start, count;
    if (vonk_column_is_null(out, i)) continue;
    vonk_column_list_at(out, i, &start, &count);
    if (start < 0 || count < 0 || start > INT64_MAX - count)
      return fail_list_view(at, i, start, count, err);
    if (start + count > end) end = start + count;
    if (count == 0) continue;
    if (start < low) low = start;
    if (start + count > high) high = start + count;
  }
  *items = high == 0 ? (reach){0, 0} : (reach){low, high - low};
  return need_items(at, end, err);
}

static vonk_status view_list_view(const walk *at, vonk_column *out, vonk_error *err) {
  reach items = {0, 0};
  if (at->length > 0) {
    VONK_TRY(need_buffer(at, 1, "offsets", err));
    VONK_TRY(need_buffer(at, 2, "sizes", err));
    out->offsets = at->array->buffers[1];
    out->sizes = at->array->buffers[2];
  }
  VONK_TRY(reach_of_list_views(at, out, &items, err));
  return view_item(at, items, out, err);
}

static vonk_status view_fixed_list(const walk *at, vonk_column *out, vonk_error *err) {
  const int64_t width = at->place.type->fixed_length;
  const struct ArrowArray *child = at->array->children[0];
  if (width > 0 && out->offset + at->length > INT64_MAX / width) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has %" PRId64 " rows of %" PRId64
                           " elements: more than memory can hold",
                           out->offset + at->length, width);
  }
  const int64_t needed = (out->offset + at->length) * width;
  if (child != NULL && child->length < needed) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "needs %" PRId64 " elements for %" PRId64 " rows of %" PRId64
                           ", but its child has %" PRId64,
                           needed, out->offset + at->length, width, child->length);
  }
  return view_item(
      at, (reach){(out->offset + at->reach.first) * width, at->reach.count * width}, out,
      err);
}

static vonk_status view_struct(const walk *at, vonk_column *out, vonk_error *err) {
  VONK_TRY(new_children(at, out, err));
  for (int64_t i = 0; i < out->n_children; i++) {
    const walk field = {
        .array = at->array->children[i],
        .place = {.parent = &at->place, .type = &at->place.type->children[i]},
        .shift = out->offset,
        .length = at->length,
        .reach = at->reach};
    VONK_TRY(view(&field, &out->children[i], err));
  }
  return VONK_OK;
}

static vonk_status view_dictionary(const walk *at, vonk_column *out, vonk_error *err) {
  VONK_TRY(view_value(at, out, err));
  VONK_TRY(new_children(at, out, err));
  const struct ArrowArray *dictionary = at->array->dictionary;
  const int64_t length = dictionary->length;
  const walk values = {
      .array = dictionary,
      .place = {.parent = &at->place, .type = &at->place.type->children[0]},
      .length = length,
      .reach = {0, length}};
  VONK_TRY(view(&values, &out->children[0], err));
  int64_t null_count = 0;
  for (int64_t i = at->reach.first; i < at->reach.first + at->reach.count; i++) {
    if (out->validity != NULL &&
        !vonk_bit_get(out->validity, (size_t)(out->offset + i))) {
      null_count++;
      continue;
    }
    const int64_t index = vonk_column_index_at(out, i);
    if (index < 0 || index >= length) {
      return vonk_place_fail(&at->place, err, VONK_INVALID,
                             "has index %" PRId64 " at row %" PRId64
                             ", but its dictionary has %" PRId64 " values",
                             index, i, length);
    }
    null_count += vonk_column_is_null(&out->children[0], index);
  }
  out->null_count = null_count;
  return VONK_OK;
}

static vonk_status view_null(const walk *at, vonk_column *out, vonk_error *err) {
  (void)at, (void)out, (void)err;
  return VONK_OK;
}

static vonk_status view(const walk *at, vonk_column *out, vonk_error *err) {
  static vonk_status (*const views[])(const walk *, vonk_column *, vonk_error *) = {
      [VONK_TYPE_VALUE] = view_value,
      [VONK_TYPE_TEXT] = view_text,
      [VONK_TYPE_LIST] = view_list,
      [VONK_TYPE_LIST_VIEW] = view_list_view,
      [VONK_TYPE_FIXED_LIST] = view_fixed_list,
      [VONK_TYPE_STRUCT] = view_struct,
      [VONK_TYPE_DICTIONARY] = view_dictionary,
      [VONK_TYPE_DECIMAL] = view_value,
      [VONK_TYPE_NULL] = view_null,
  };
  if (at->array == NULL) {
    return vonk_place_fail(&at->place, err, VONK_INVALID, "has no array (NULL)");
  }
  if (at->array->release == NULL) {
    return vonk_place_fail(&at->place, err, VONK_INVALID,
                           "has an array that was released");
  }
  VONK_TRY(check_parts(at, err));
  VONK_TRY(check_lengths(at, err));
  out->type = at->place.type;
  out->length = at->length;
  out->offset = at->array->offset + at->shift;
  VONK_TRY(view_validity(at, out, err));
  return views[at->place.type->kind](at, out, err);
}

/* --- the door --- */

static vonk_status view_top(const walk *at, vonk_column *out, vonk_error *err) {
  vonk_column column = {.length = 0};
  const vonk_status status = view(at, &column, err);
  if (status == VONK_OK) {
    *out = column;
  } else {
    vonk_column_clear(&column);
  }
  return status;
}

vonk_status vonk_column_view(const struct ArrowArray *array, const vonk_type *type,
                             vonk_column *out, vonk_error *err) {
  const int64_t length = array == NULL ? 0 : array->length;
  const walk top = {
      .array = array, .place = {.type = type}, .length = length, .reach = {0, length}};
  return view_top(&top, out, err);
}

vonk_status vonk_column_view_field(const struct ArrowArray *rows, int64_t field,
                                   const vonk_type *type, vonk_column *out,
                                   vonk_error *err) {
  const vonk_place place = {.type = type};
  if (rows == NULL || rows->release == NULL) {
    return vonk_place_fail(&place, err, VONK_INVALID, "is in a batch that %s",
                           rows == NULL ? "is NULL" : "was released");
  }
  if (field < 0 || field >= rows->n_children || rows->children == NULL) {
    return vonk_place_fail(&place, err, VONK_INVALID,
                           "is column %" PRId64 " of a batch of %" PRId64 " columns",
                           field, rows->n_children);
  }
  if (rows->length < 0 || rows->offset < 0 || rows->length > INT64_MAX - rows->offset) {
    return vonk_place_fail(&place, err, VONK_INVALID,
                           "is in a batch of length %" PRId64 " and offset %" PRId64,
                           rows->length, rows->offset);
  }
  const walk top = {.array = rows->children[field],
                    .place = place,
                    .shift = rows->offset,
                    .length = rows->length,
                    .reach = {0, rows->length}};
  return view_top(&top, out, err);
}

void vonk_column_clear(vonk_column *column) {
  for (int64_t i = 0; i < column->n_children; i++)
    vonk_column_clear(&column->children[i]);
  vonk_delete(column->children);
  memset(column, 0, sizeof *column);
}

void vonk_column_list_at(const vonk_column *column, int64_t i, int64_t *start,
                         int64_t *count) {
  const int64_t element = column->offset + i;
  const bool wide = column->type->wide_offsets;
  switch (column->type->kind) {
    case VONK_TYPE_FIXED_LIST:
      *start = element * column->type->fixed_length;
      *count = column->type->fixed_length;
      break;
    case VONK_TYPE_LIST_VIEW:
      *start = offset_at(column->offsets, wide, element);
      *count = offset_at(column->sizes, wide, element);
      break;
    default:
      *start = offset_at(column->offsets, wide, element);
      *count = offset_at(column->offsets, wide, element + 1) - *start;
      break;
  }
}

void vonk_column_text_at(const vonk_column *column, int64_t i, const uint8_t **bytes,
                         int64_t *nbytes) {
  int64_t start;
  vonk_column_list_at(column, i, &start, nbytes);
  *bytes = *nbytes == 0 ? (const uint8_t *)"" : (const uint8_t *)column->values + start;
}

/* --- dictionary indices --- */

#define DEFINE_INDEX(NAME, TYPE)                             \
  static int64_t NAME(const uint8_t *values, size_t i) {     \
    TYPE index;                                              \
    memcpy(&index, values + i * sizeof index, sizeof index); \
    return (int64_t)index;                                   \
  }
DEFINE_INDEX(index_i8, int8_t)
DEFINE_INDEX(index_i16, int16_t)
DEFINE_INDEX(index_i32, int32_t)
DEFINE_INDEX(index_i64, int64_t)
DEFINE_INDEX(index_u8, uint8_t)
DEFINE_INDEX(index_u16, uint16_t)
DEFINE_INDEX(index_u32, uint32_t)
DEFINE_INDEX(index_u64, uint64_t)

/* An index beyond INT64_MAX comes out negative: outside of any dictionary either way. */
int64_t vonk_column_index_at(const vonk_column *column, int64_t i) {
  static int64_t (*const readers[])(const uint8_t *, size_t) = {
      [VONK_I8] = index_i8,   [VONK_I16] = index_i16, [VONK_I32] = index_i32,
      [VONK_I64] = index_i64, [VONK_U8] = index_u8,   [VONK_U16] = index_u16,
      [VONK_U32] = index_u32, [VONK_U64] = index_u64,
  };
  return readers[column->type->dtype](column->values, (size_t)(column->offset + i));
}
