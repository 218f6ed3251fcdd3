/* Views of arrays: what they say of well-formed ones (sliced, nested, dictionaries, list
 * views), and whole messages for every way an array can contradict itself. */
#include <string.h>

#include "arrow_fixture.h"

/* Reads element j of a float32 child as predict does: the child's offset is added to the
 * position a list gives. */
static float float_at(const vonk_column *child, int64_t j) {
  float value;
  memcpy(&value,
         (const uint8_t *)child->values + (size_t)(child->offset + j) * sizeof value,
         sizeof value);
  return value;
}

/* Writes the rows of a list column of floats as text: "[1 2] null []". */
static const char *lists_as_text(const vonk_column *column) {
  static vonk_text text;
  text = (vonk_text){.size = 0};
  for (int64_t i = 0; i < column->length; i++) {
    int64_t start;
    int64_t count;
    if (i > 0) vonk_text_add(&text, " ");
    if (vonk_column_is_null(column, i)) {
      vonk_text_add(&text, "null");
      continue;
    }
    vonk_column_list_at(column, i, &start, &count);
    vonk_text_add(&text, "[");
    for (int64_t j = 0; j < count; j++) {
      vonk_text_add(&text, j > 0 ? " " : "");
      if (vonk_column_is_null(&column->children[0], start + j)) {
        vonk_text_add(&text, "null");
      } else {
        vonk_text_add(&text, "%g", (double)float_at(&column->children[0], start + j));
      }
    }
    vonk_text_add(&text, "]");
  }
  return text.data;
}

static const float floats[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* A type that lives for one test, "list<float32>" and the like. */
static vonk_type list_type(const char *format) {
  struct ArrowSchema item = {SCHEMA("f", "item")};
  const struct ArrowSchema schema = {SCHEMA(format, "x"), .n_children = 1,
                                     .children = SCHEMAS(&item)};
  return must_parse(&schema);
}
static vonk_type value_type(const char *format) {
  const struct ArrowSchema schema = {SCHEMA(format, "x")};
  return must_parse(&schema);
}
static vonk_type dictionary_type(const char *index) {
  struct ArrowSchema word = {SCHEMA("u", "")};
  const struct ArrowSchema schema = {SCHEMA(index, "x"), .dictionary = &word};
  return must_parse(&schema);
}

/* --- well-formed --- */

static void test_nulls_are_counted_where_the_array_did_not(void **state) {
  (void)state;
  const uint8_t validity[] = {0xb6, 0x01}; /* 0 1 1 0 1 1 0 1 1 */
  vonk_type type = value_type("f");
  struct ArrowArray array = {ARRAY(9, 2, validity, floats), .null_count = -1};
  vonk_column column = must_view(&array, &type);
  assert_int_equal(column.null_count, 3);
  assert_ptr_equal(column.validity, validity);
  assert_ptr_equal(column.values, floats);
  assert_true(vonk_column_is_null(&column, 0));
  assert_false(vonk_column_is_null(&column, 8));
  array.offset = 4; /* 1 1 0 1 1 */
  array.length = 5;
  column = must_view(&array, &type);
  assert_int_equal(column.null_count, 1);
  assert_int_equal(column.offset, 4);
  assert_true(vonk_column_is_null(&column, 2));
  array.offset = 1; /* 1 1 */
  array.length = 2;
  column = must_view(&array, &type);
  assert_int_equal(column.null_count, 0);
  assert_null(column.validity);
  vonk_type_clear(&type);
}

static void test_a_bitmap_is_ignored_where_there_are_no_nulls(void **state) {
  (void)state;
  const uint8_t validity[] = {0};
  vonk_type type = value_type("f");
  struct ArrowArray array = {ARRAY(3, 2, validity, floats), .null_count = 0};
  vonk_column column = must_view(&array, &type);
  assert_int_equal(column.null_count, 0);
  assert_null(column.validity);
  array.buffers[0] = NULL;
  array.null_count = -1;
  column = must_view(&array, &type);
  assert_int_equal(column.null_count, 0);
  vonk_type_clear(&type);
}

static void test_an_array_of_nulls_has_no_buffers(void **state) {
  (void)state;
  vonk_type type = value_type("n");
  const struct ArrowArray array = {
      .length = 4, .null_count = 4, .release = fixture_release_array};
  const vonk_column column = must_view(&array, &type);
  assert_int_equal(column.null_count, 4);
  assert_true(vonk_column_is_null(&column, 3));
  vonk_type_clear(&type);
}

static void test_lists_sliced_at_both_levels(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 2, 2, 5, 7};
  const uint8_t validity[] = {0x0d}; /* row 1 is NULL */
  struct ArrowArray item = {ARRAY(8, 2, NULL, floats), .offset = 3};
  struct ArrowArray array = {ARRAY(4, 2, validity, offsets), .null_count = -1,
                             .n_children = 1, .children = ARRAYS(&item)};
  vonk_type type = list_type("+l");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[3 4] null [5 6 7] [8 9]");
  vonk_column_clear(&column);
  array.offset = 2;
  array.length = 2;
  column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[5 6 7] [8 9]");
  assert_int_equal(column.null_count, 0);
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_large_lists(void **state) {
  (void)state;
  const int64_t offsets[] = {4, 4, 6, 9};
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  const struct ArrowArray array = {ARRAY(3, 2, NULL, offsets), .n_children = 1,
                                   .children = ARRAYS(&item)};
  vonk_type type = list_type("+L");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[] [4 5] [6 7 8]");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_list_views_in_any_order_with_rubbish_in_null_rows(void **state) {
  (void)state;
  const int32_t offsets[] = {6, -7, 0, 5, 11};
  const int32_t sizes[] = {3, INT32_MAX, 2, 2, 0};
  const int64_t wide_offsets[] = {6, INT64_MAX, 0, 5, 11};
  const int64_t wide_sizes[] = {3, INT64_MAX, 2, 2, 0};
  const uint8_t validity[] = {0x1d};
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  struct ArrowArray array = {ARRAY(5, 3, validity, offsets, sizes), .null_count = 1,
                             .n_children = 1, .children = ARRAYS(&item)};
  vonk_type type = list_type("+vl");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[6 7 8] null [0 1] [5 6] []");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
  type = list_type("+vL");
  array.buffers[1] = wide_offsets;
  array.buffers[2] = wide_sizes;
  column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[6 7 8] null [0 1] [5 6] []");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_fixed_size_lists_sliced_at_both_levels(void **state) {
  (void)state;
  struct ArrowArray item = {ARRAY(10, 2, NULL, floats), .offset = 1};
  const struct ArrowArray array = {ARRAY(2, 1, NULL), .offset = 2, .n_children = 1,
                                   .children = ARRAYS(&item)};
  vonk_type type = list_type("+w:2");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[5 6] [7 8]");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_fixed_size_lists_of_nothing(void **state) {
  (void)state;
  struct ArrowArray item = {ARRAY(0, 2, NULL, NULL)};
  const struct ArrowArray array = {ARRAY(3, 1, NULL), .n_children = 1,
                                   .children = ARRAYS(&item)};
  vonk_type type = list_type("+w:0");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[] [] []");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_nulls_inside_lists_are_counted_where_the_rows_reach(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 3, 6, 9};
  const uint8_t validity[] = {0xbe, 0xff}; /* elements 0 and 6 are NULL */
  struct ArrowArray item = {ARRAY(12, 2, validity, floats), .null_count = -1};
  struct ArrowArray array = {ARRAY(3, 2, NULL, offsets), .n_children = 1,
                             .children = ARRAYS(&item)};
  vonk_type type = list_type("+l");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[null 1 2] [3 4 5] [null 7 8]");
  assert_int_equal(column.children[0].null_count, 2);
  vonk_column_clear(&column);
  array.offset = 1;
  array.length = 1;
  column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[3 4 5]");
  assert_int_equal(column.children[0].null_count, 0);
  assert_int_equal(column.children[0].length, 12);
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

static void test_fields_of_a_sliced_struct_start_where_it_does(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 1, 3, 6, 10};
  const uint8_t validity[] = {0xef};
  const uint8_t bits[] = {0x0a};
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  struct ArrowArray lists = {ARRAY(4, 2, NULL, offsets), .n_children = 1,
                             .children = ARRAYS(&item)};
  struct ArrowArray flags = {ARRAY(4, 2, validity, bits), .offset = 2, .null_count = 1};
  struct ArrowArray rows = {ARRAY(2, 1, NULL), .offset = 1, .n_children = 2,
                            .children = ARRAYS(&lists, &flags)};
  struct ArrowSchema item_schema = {SCHEMA("f", "item")};
  struct ArrowSchema list = {SCHEMA("+l", "a"), .n_children = 1,
                             .children = SCHEMAS(&item_schema)};
  struct ArrowSchema flag = {SCHEMA("b", "b")};
  const struct ArrowSchema schema = {SCHEMA("+s", ""), .n_children = 2,
                                     .children = SCHEMAS(&list, &flag)};
  vonk_type type = must_parse(&schema);
  vonk_column column = must_view(&rows, &type);
  assert_string_equal(lists_as_text(&column.children[0]), "[1 2] [3 4 5]");
  const vonk_column *b = &column.children[1];
  assert_int_equal(b->offset, 3);
  assert_int_equal(b->length, 2);
  assert_int_equal(b->null_count, 1);
  assert_false(vonk_column_is_null(b, 0));
  assert_true(vonk_column_is_null(b, 1));
  assert_true(vonk_bit_get(b->values, 3));
  vonk_column_clear(&column);

  vonk_error err = VONK_ERROR_INIT;
  vonk_column field;
  assert_int_equal(vonk_column_view_field(&rows, 0, &type.children[0], &field, &err),
                   VONK_OK);
  assert_string_equal(lists_as_text(&field), "[1 2] [3 4 5]");
  vonk_column_clear(&field);
  vonk_type_clear(&type);
}

static const char *texts_as_text(const vonk_column *column) {
  static vonk_text text;
  text = (vonk_text){.size = 0};
  for (int64_t i = 0; i < column->length; i++) {
    const uint8_t *bytes;
    int64_t nbytes;
    const bool is_dictionary = column->type->kind == VONK_TYPE_DICTIONARY;
    if (vonk_column_is_null(column, i)) {
      vonk_text_add(&text, "null ");
      continue;
    }
    vonk_column_text_at(is_dictionary ? &column->children[0] : column,
                        is_dictionary ? vonk_column_index_at(column, i) : i, &bytes,
                        &nbytes);
    vonk_text_add(&text, "'%.*s' ", (int)nbytes, (const char *)bytes);
  }
  return text.data;
}

static void test_texts_sliced_and_large(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 3, 3, 8, 10};
  const int64_t wide_offsets[] = {0, 3, 3, 8, 10};
  const uint8_t validity[] = {0x07};
  struct ArrowArray array = {ARRAY(3, 3, validity, offsets, "redgreenxy"), .offset = 1,
                             .null_count = 1};
  vonk_type type = value_type("u");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(texts_as_text(&column), "'' 'green' null ");
  vonk_type_clear(&type);
  type = value_type("Z");
  array.buffers[1] = wide_offsets;
  column = must_view(&array, &type);
  assert_string_equal(texts_as_text(&column), "'' 'green' null ");
  vonk_type_clear(&type);
}

static void test_texts_that_are_all_empty_need_no_bytes(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 0, 0};
  const struct ArrowArray array = {ARRAY(2, 3, NULL, offsets, NULL)};
  vonk_type type = value_type("u");
  const vonk_column column = must_view(&array, &type);
  assert_string_equal(texts_as_text(&column), "'' '' ");
  vonk_type_clear(&type);
}

static void test_dictionaries_of_every_index_type(void **state) {
  (void)state;
  static const struct {
    const char *format;
    size_t size;
  } indices[] = {{"c", 1}, {"C", 1}, {"s", 2}, {"S", 2},
                 {"i", 4}, {"I", 4}, {"l", 8}, {"L", 8}};
  const int32_t offsets[] = {0, 3, 8, 8};
  const uint8_t dictionary_validity[] = {0x03}; /* value 2 is NULL */
  const uint8_t validity[] = {0x1d};            /* row 1 is NULL, its index rubbish */
  const uint8_t rows[] = {1, 255, 0, 2, 1};
  for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
    uint8_t values[5 * 8] = {0};
    for (size_t row = 0; row < 5; row++) values[row * indices[i].size] = rows[row];
    struct ArrowArray words = {ARRAY(3, 3, dictionary_validity, offsets, "redgreen"),
                               .null_count = 1};
    struct ArrowArray array = {ARRAY(5, 2, validity, values), .null_count = 1,
                               .dictionary = &words};
    vonk_type type = dictionary_type(indices[i].format);
    vonk_column column = must_view(&array, &type);
    assert_string_equal(texts_as_text(&column), "'green' null 'red' null 'green' ");
    assert_int_equal(column.null_count, 2); /* the row's own NULL and the dictionary's */
    vonk_column_clear(&column);
    vonk_type_clear(&type);
  }
}

static void test_empty_arrays_may_have_no_buffers_at_all(void **state) {
  (void)state;
  static const char *const plain[] = {"f", "b", "u", "Z"};
  static const char *const lists[] = {"+l", "+L", "+vl", "+vL", "+w:3"};
  for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
    vonk_type type = value_type(plain[i]);
    const struct ArrowArray array = {ARRAY(0, i < 2 ? 2 : 3, NULL, NULL, NULL)};
    vonk_column column = must_view(&array, &type);
    assert_int_equal(column.length, 0);
    vonk_column_clear(&column);
    vonk_type_clear(&type);
  }
  for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
    vonk_type type = list_type(lists[i]);
    struct ArrowArray item = {ARRAY(0, 2, NULL, NULL)};
    const struct ArrowArray array = {ARRAY(0,
                                           i < 2   ? 2
                                           : i < 4 ? 3
                                                   : 1,
                                           NULL, NULL, NULL),
                                     .n_children = 1, .children = ARRAYS(&item)};
    vonk_column column = must_view(&array, &type);
    assert_string_equal(lists_as_text(&column), "");
    vonk_column_clear(&column);
    vonk_type_clear(&type);
  }
}

/* What lies outside of a slice is not looked at: it can be broken. */
static void test_a_slice_is_not_harmed_by_what_lies_outside(void **state) {
  (void)state;
  const int32_t offsets[] = {-5, 9, 0, 2, 5, 99};
  struct ArrowArray item = {ARRAY(5, 2, NULL, floats)};
  const struct ArrowArray array = {ARRAY(2, 2, NULL, offsets), .offset = 2,
                                   .n_children = 1, .children = ARRAYS(&item)};
  vonk_type type = list_type("+l");
  vonk_column column = must_view(&array, &type);
  assert_string_equal(lists_as_text(&column), "[0 1] [2 3 4]");
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

/* --- malformed --- */

/* The fault, on failure *out untouched; also without an error to fill. */
static void assert_rejected(const struct ArrowArray *array, const vonk_type *type,
                            const char *message) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_column column;
  memset(&column, 0x5a, sizeof column);
  const vonk_column before = column;
  assert_failed(vonk_column_view(array, type, &column, &err), &err, VONK_INVALID,
                message);
  assert_memory_equal(&column, &before, sizeof column);
  assert_int_equal(vonk_column_view(array, type, &column, NULL), VONK_INVALID);
}

static void test_values_malformed(void **state) {
  (void)state;
  vonk_type type = value_type("f");
  const struct ArrowArray good = {ARRAY(3, 2, NULL, floats)};
  struct ArrowArray array = good;
  assert_rejected(NULL, &type, "column 'x': has no array (NULL)");
  array.release = NULL;
  assert_rejected(&array, &type, "column 'x': has an array that was released");
  array = good;
  array.n_buffers = 3;
  assert_rejected(&array, &type,
                  "column 'x': is an array of values with 3 buffers: expected 2");
  array.n_buffers = -1;
  assert_rejected(&array, &type,
                  "column 'x': is an array of values with -1 buffers: expected 2");
  array = good;
  array.buffers = NULL;
  assert_rejected(&array, &type, "column 'x': is an array of values without buffers");
  array = good;
  array.n_children = 1;
  assert_rejected(&array, &type,
                  "column 'x': is an array of values with 1 children: expected 0");
  array = good;
  array.dictionary = &array;
  assert_rejected(
      &array, &type,
      "column 'x': is an array of values with a dictionary, which its type lacks");
  array = (struct ArrowArray){ARRAY(3, 2, NULL, NULL)};
  assert_rejected(
      &array, &type,
      "column 'x': is an array of values of length 3 without its values buffer");
  vonk_type_clear(&type);
}

static void test_lengths_malformed(void **state) {
  (void)state;
  static const struct {
    int64_t length, offset, null_count;
    const char *message;
  } rows[] = {
      {-1, 0, 0, "column 'x': has length -1 and offset 0: neither may be negative"},
      {3, -1, 0, "column 'x': has length 3 and offset -1: neither may be negative"},
      {INT64_MIN, INT64_MIN, 0,
       "column 'x': has length -9223372036854775808 and offset -9223372036854775808: "
       "neither may be negative"},
      {INT64_MAX, 1, 0,
       "column 'x': has length 9223372036854775807 and offset 1: more than memory can "
       "hold"},
      {1, INT64_MAX, 0,
       "column 'x': has length 1 and offset 9223372036854775807: more than memory can "
       "hold"},
      {3, 0, 4,
       "column 'x': has null_count 4 with length 3: expected -1 (not counted) to the "
       "length"},
      {3, 0, -2,
       "column 'x': has null_count -2 with length 3: expected -1 (not counted) to the "
       "length"},
      {3, 0, 1, "column 'x': has 1 NULLs, but no validity bitmap"},
  };
  vonk_type type = value_type("f");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct ArrowArray array = {ARRAY(rows[i].length, 2, NULL, floats)};
    array.offset = rows[i].offset;
    array.null_count = rows[i].null_count;
    assert_rejected(&array, &type, rows[i].message);
  }
  vonk_type_clear(&type);
}

static void test_list_offsets_malformed(void **state) {
  (void)state;
  static const struct {
    int32_t offsets[4];
    const char *message;
  } rows[] = {
      {{0, 4, 2, 6},
       "column 'x': has offsets that fall from 4 to 2 at row 1: a list array needs "
       "rising ones"},
      {{0, 2, 4, -1},
       "column 'x': has offsets that fall from 4 to -1 at row 2: a list array needs "
       "rising ones"},
      {{-3, 0, 1, 2}, "column 'x': has the negative offset -3 at row 0"},
      {{0, 2, 4, 13}, "column 'x': needs elements up to 13, but its child has 12"},
      {{13, 13, 13, 13}, "column 'x': needs elements up to 13, but its child has 12"},
      {{0, 2, 4, INT32_MAX},
       "column 'x': needs elements up to 2147483647, but its child has 12"},
  };
  vonk_type narrow = list_type("+l");
  vonk_type wide = list_type("+L");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int64_t offsets[4];
    struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
    struct ArrowArray array = {ARRAY(3, 2, NULL, rows[i].offsets), .n_children = 1,
                               .children = ARRAYS(&item)};
    assert_rejected(&array, &narrow, rows[i].message);
    for (int k = 0; k < 4; k++) offsets[k] = rows[i].offsets[k];
    array.buffers[1] = offsets;
    assert_rejected(&array, &wide, rows[i].message);
  }
  vonk_type_clear(&narrow);
  vonk_type_clear(&wide);
}

static void test_list_parts_malformed(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 2, 4};
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  const struct ArrowArray good = {ARRAY(2, 2, NULL, offsets), .n_children = 1,
                                  .children = ARRAYS(&item)};
  vonk_type type = list_type("+l");
  struct ArrowArray array = good;
  array.n_children = 0;
  assert_rejected(&array, &type,
                  "column 'x': is a list array with 0 children: expected 1");
  array = good;
  array.children = NULL;
  assert_rejected(&array, &type, "column 'x': is a list array without its children");
  array = good;
  array.children = ARRAYS(NULL);
  assert_rejected(&array, &type, "column 'x[]': has no array (NULL)");
  array = good;
  array.buffers = (const void *[]){NULL, NULL};
  assert_rejected(&array, &type,
                  "column 'x': is a list array of length 2 without its offsets buffer");
  array = good;
  item.length = -4;
  assert_rejected(&array, &type,
                  "column 'x': needs elements up to 4, but its child has -4");
  item.length = 12;
  item.n_buffers = 1;
  assert_rejected(&array, &type,
                  "column 'x[]': is an array of values with 1 buffers: expected 2");
  item.n_buffers = 2;
  item.release = NULL;
  assert_rejected(&array, &type, "column 'x[]': has an array that was released");
  vonk_type_clear(&type);
}

static void test_list_views_malformed(void **state) {
  (void)state;
  static const struct {
    int64_t offset, size;
    const char *message;
  } rows[] = {
      {-1, 2,
       "column 'x': has a list from element -1 of 2 elements at row 1: neither may be "
       "negative, nor the end overflow"},
      {0, -2,
       "column 'x': has a list from element 0 of -2 elements at row 1: neither may be "
       "negative, nor the end overflow"},
      {INT64_MAX, 1,
       "column 'x': has a list from element 9223372036854775807 of 1 elements at row 1: "
       "neither may be negative, nor the "
       "end overflow"},
      {11, 2, "column 'x': needs elements up to 13, but its child has 12"},
      {INT64_MAX - 1, 1,
       "column 'x': needs elements up to 9223372036854775807, but its child has 12"},
  };
  vonk_type type = list_type("+vL");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const int64_t offsets[] = {0, rows[i].offset};
    const int64_t sizes[] = {2, rows[i].size};
    struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
    struct ArrowArray array = {ARRAY(2, 3, NULL, offsets, sizes), .n_children = 1,
                               .children = ARRAYS(&item)};
    assert_rejected(&array, &type, rows[i].message);
    array.buffers[2] = NULL;
    assert_rejected(
        &array, &type,
        "column 'x': is a list-view array of length 2 without its sizes buffer");
  }
  vonk_type_clear(&type);
}

static void test_fixed_size_lists_malformed(void **state) {
  (void)state;
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  struct ArrowArray array = {ARRAY(4, 1, NULL), .offset = 1, .n_children = 1,
                             .children = ARRAYS(&item)};
  vonk_type type = list_type("+w:3");
  assert_rejected(&array, &type,
                  "column 'x': needs 15 elements for 5 rows of 3, but its child has 12");
  array.length = INT64_MAX / 16 - 2;
  array.offset = 0;
  vonk_type_clear(&type);
  type = list_type("+w:2147483647");
  assert_rejected(&array, &type,
                  "column 'x': has 576460752303423485 rows of 2147483647 elements: more "
                  "than memory can hold");
  vonk_type_clear(&type);
}

static void test_texts_malformed(void **state) {
  (void)state;
  const int32_t falling[] = {0, 5, 3};
  const int32_t offsets[] = {0, 2, 3};
  struct ArrowArray array = {ARRAY(2, 3, NULL, falling, "abcde")};
  vonk_type type = value_type("u");
  assert_rejected(&array, &type,
                  "column 'x': has offsets that fall from 5 to 3 at row 1: an array of "
                  "strings needs rising ones");
  array.buffers[1] = offsets;
  array.buffers[2] = NULL;
  assert_rejected(
      &array, &type,
      "column 'x': is an array of strings of length 2 without its data buffer");
  vonk_type_clear(&type);
}

static void test_structs_malformed(void **state) {
  (void)state;
  struct ArrowSchema value = {SCHEMA("f", "b")};
  struct ArrowSchema a = {SCHEMA("+s", "a"), .n_children = 1,
                          .children = SCHEMAS(&value)};
  const struct ArrowSchema schema = {SCHEMA("+s", ""), .n_children = 1,
                                     .children = SCHEMAS(&a)};
  struct ArrowArray b = {ARRAY(3, 2, NULL, floats)};
  struct ArrowArray middle = {ARRAY(3, 1, NULL), .n_children = 1, .children = ARRAYS(&b)};
  struct ArrowArray rows = {ARRAY(3, 1, NULL), .n_children = 1,
                            .children = ARRAYS(&middle)};
  vonk_type type = must_parse(&schema);
  rows.offset = 1;
  assert_rejected(&rows, &type, "column 'a': has 3 elements, but its parent needs 4");
  rows.offset = 0;
  middle.offset = 1;
  assert_rejected(&rows, &type, "column 'a.b': has 3 elements, but its parent needs 4");
  middle.offset = 0;
  b.n_buffers = 1;
  assert_rejected(&rows, &type,
                  "column 'a.b': is an array of values with 1 buffers: expected 2");
  rows.n_children = 2;
  assert_rejected(&rows, &type,
                  "column '': is a struct array with 2 children: expected 1");
  vonk_type_clear(&type);
}

static void test_dictionaries_malformed(void **state) {
  (void)state;
  const int8_t negative[] = {0, -1};
  const int8_t beyond[] = {2, 0};
  const uint64_t huge[] = {0, UINT64_MAX};
  const int32_t offsets[] = {0, 1, 2};
  struct ArrowArray words = {ARRAY(2, 3, NULL, offsets, "ab")};
  struct ArrowArray array = {ARRAY(2, 2, NULL, negative), .dictionary = &words};
  vonk_type type = dictionary_type("c");
  assert_rejected(&array, &type,
                  "column 'x': has index -1 at row 1, but its dictionary has 2 values");
  array.buffers[1] = beyond;
  assert_rejected(&array, &type,
                  "column 'x': has index 2 at row 0, but its dictionary has 2 values");
  words.length = -1;
  assert_rejected(
      &array, &type,
      "column 'x (dictionary)': has length -1 and offset 0: neither may be negative");
  array.dictionary = NULL;
  assert_rejected(&array, &type,
                  "column 'x': is a dictionary array without its dictionary");
  vonk_type_clear(&type);
  type = dictionary_type("L");
  words.length = 2;
  array.dictionary = &words;
  array.buffers[1] = huge;
  assert_rejected(&array, &type,
                  "column 'x': has index -1 at row 1, but its dictionary has 2 values");
  vonk_type_clear(&type);
}

static void assert_field_rejected(const struct ArrowArray *rows, int64_t field,
                                  const vonk_type *type, const char *message) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_column column;
  assert_failed(vonk_column_view_field(rows, field, type, &column, &err), &err,
                VONK_INVALID, message);
}

static void test_batches_malformed(void **state) {
  (void)state;
  struct ArrowArray values = {ARRAY(3, 2, NULL, floats)};
  struct ArrowArray rows = {ARRAY(3, 1, NULL), .n_children = 1,
                            .children = ARRAYS(&values)};
  vonk_type type = value_type("f");
  assert_field_rejected(NULL, 0, &type, "column 'x': is in a batch that is NULL");
  assert_field_rejected(&rows, 1, &type,
                        "column 'x': is column 1 of a batch of 1 columns");
  assert_field_rejected(&rows, -1, &type,
                        "column 'x': is column -1 of a batch of 1 columns");
  rows.offset = 1;
  assert_field_rejected(&rows, 0, &type,
                        "column 'x': has 3 elements, but its parent needs 4");
  rows.offset = INT64_MAX;
  assert_field_rejected(
      &rows, 0, &type,
      "column 'x': is in a batch of length 3 and offset 9223372036854775807");
  rows.release = NULL;
  assert_field_rejected(&rows, 0, &type, "column 'x': is in a batch that was released");
  vonk_type_clear(&type);
}

static void test_out_of_memory_leaves_nothing_behind(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 2, 4};
  const int8_t indices[] = {0, 1};
  struct ArrowSchema item_schema = {SCHEMA("f", "item")};
  struct ArrowSchema list = {SCHEMA("+l", "l"), .n_children = 1,
                             .children = SCHEMAS(&item_schema)};
  struct ArrowSchema label = {SCHEMA("c", "d"), .dictionary = &item_schema};
  const struct ArrowSchema schema = {SCHEMA("+s", ""), .n_children = 2,
                                     .children = SCHEMAS(&list, &label)};
  struct ArrowArray item = {ARRAY(12, 2, NULL, floats)};
  struct ArrowArray lists = {ARRAY(2, 2, NULL, offsets), .n_children = 1,
                             .children = ARRAYS(&item)};
  struct ArrowArray labels = {ARRAY(2, 2, NULL, indices), .dictionary = &item};
  const struct ArrowArray rows = {ARRAY(2, 1, NULL), .n_children = 2,
                                  .children = ARRAYS(&lists, &labels)};
  vonk_type type = must_parse(&schema);
  vonk_column column = {.length = 0};
  for (int64_t n = 1; n <= 4; n++) {
    vonk_error err = VONK_ERROR_INIT;
    (void)vonk_memory_fail_at(n);
    const vonk_status status = vonk_column_view(&rows, &type, &column, &err);
    (void)vonk_memory_fail_at(0);
    assert_int_equal(
        status, n <= 3
                    ? VONK_NOMEM
                    : VONK_OK); /* the struct's, the list's, the dictionary's children */
  }
  vonk_column_clear(&column);
  vonk_type_clear(&type);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nulls_are_counted_where_the_array_did_not),
      cmocka_unit_test(test_a_bitmap_is_ignored_where_there_are_no_nulls),
      cmocka_unit_test(test_an_array_of_nulls_has_no_buffers),
      cmocka_unit_test(test_lists_sliced_at_both_levels),
      cmocka_unit_test(test_large_lists),
      cmocka_unit_test(test_list_views_in_any_order_with_rubbish_in_null_rows),
      cmocka_unit_test(test_fixed_size_lists_sliced_at_both_levels),
      cmocka_unit_test(test_fixed_size_lists_of_nothing),
      cmocka_unit_test(test_nulls_inside_lists_are_counted_where_the_rows_reach),
      cmocka_unit_test(test_fields_of_a_sliced_struct_start_where_it_does),
      cmocka_unit_test(test_texts_sliced_and_large),
      cmocka_unit_test(test_texts_that_are_all_empty_need_no_bytes),
      cmocka_unit_test(test_dictionaries_of_every_index_type),
      cmocka_unit_test(test_empty_arrays_may_have_no_buffers_at_all),
      cmocka_unit_test(test_a_slice_is_not_harmed_by_what_lies_outside),
      cmocka_unit_test(test_values_malformed),
      cmocka_unit_test(test_lengths_malformed),
      cmocka_unit_test(test_list_offsets_malformed),
      cmocka_unit_test(test_list_parts_malformed),
      cmocka_unit_test(test_list_views_malformed),
      cmocka_unit_test(test_fixed_size_lists_malformed),
      cmocka_unit_test(test_texts_malformed),
      cmocka_unit_test(test_structs_malformed),
      cmocka_unit_test(test_dictionaries_malformed),
      cmocka_unit_test(test_batches_malformed),
      cmocka_unit_test(test_out_of_memory_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
