/* Views of well-formed arrays: sliced, nested, dictionaries, list views, NULLs at every
 * level. */
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
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
