/* Every way in which an array can contradict itself or its type is an error that says
 * which, whole messages compared; the result is untouched then. */
#include <string.h>

#include "arrow_fixture.h"

static const float floats[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

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
      {13, 0, "column 'x': needs elements up to 13, but its child has 12"},
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
