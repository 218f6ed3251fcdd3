/* Types parsed from schemas: every format Arrow defines, and whole messages for what is
 * refused or malformed. */
#include <string.h>

#include "arrow_fixture.h"

/* --- formats without children --- */

static void test_every_plain_format_is_known(void **state) {
  (void)state;
  static const struct {
    const char *format;
    vonk_type_kind kind;
    vonk_dtype dtype;
    bool wide, binary;
    const char *words;
  } rows[] = {
      {"n", VONK_TYPE_NULL, 0, false, false, "null"},
      {"b", VONK_TYPE_VALUE, VONK_BOOL8, false, false, "bool"},
      {"c", VONK_TYPE_VALUE, VONK_I8, false, false, "int8"},
      {"C", VONK_TYPE_VALUE, VONK_U8, false, false, "uint8"},
      {"s", VONK_TYPE_VALUE, VONK_I16, false, false, "int16"},
      {"S", VONK_TYPE_VALUE, VONK_U16, false, false, "uint16"},
      {"i", VONK_TYPE_VALUE, VONK_I32, false, false, "int32"},
      {"I", VONK_TYPE_VALUE, VONK_U32, false, false, "uint32"},
      {"l", VONK_TYPE_VALUE, VONK_I64, false, false, "int64"},
      {"L", VONK_TYPE_VALUE, VONK_U64, false, false, "uint64"},
      {"e", VONK_TYPE_VALUE, VONK_F16, false, false, "float16"},
      {"f", VONK_TYPE_VALUE, VONK_F32, false, false, "float32"},
      {"g", VONK_TYPE_VALUE, VONK_F64, false, false, "float64"},
      {"u", VONK_TYPE_TEXT, VONK_BYTES, false, false, "string"},
      {"U", VONK_TYPE_TEXT, VONK_BYTES, true, false, "string"},
      {"z", VONK_TYPE_TEXT, VONK_BYTES, false, true, "binary"},
      {"Z", VONK_TYPE_TEXT, VONK_BYTES, true, true, "binary"},
      {"d:10,2", VONK_TYPE_DECIMAL, 0, false, false, "decimal(10, 2)"},
      {"d:38,-5,128", VONK_TYPE_DECIMAL, 0, false, false, "decimal(38, -5)"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct ArrowSchema schema = {SCHEMA(rows[i].format, "x"),
                                       .metadata = "ignored"};
    vonk_type type = must_parse(&schema);
    vonk_text words = {.size = 0};
    vonk_type_describe(&type, &words);
    assert_string_equal(words.data, rows[i].words);
    assert_string_equal(type.name, "x");
    assert_int_equal(type.kind, rows[i].kind);
    assert_int_equal(type.dtype, rows[i].dtype);
    assert_int_equal(type.wide_offsets, rows[i].wide);
    assert_int_equal(type.is_binary, rows[i].binary);
    assert_false(type.nullable);
    vonk_type_clear(&type);
  }
}

static void test_every_list_format_is_known(void **state) {
  (void)state;
  static const struct {
    const char *format;
    vonk_type_kind kind;
    bool wide;
    int64_t length;
    const char *words;
  } rows[] = {
      {"+l", VONK_TYPE_LIST, false, 0, "list<float32>"},
      {"+L", VONK_TYPE_LIST, true, 0, "list<float32>"},
      {"+vl", VONK_TYPE_LIST_VIEW, false, 0, "list<float32>"},
      {"+vL", VONK_TYPE_LIST_VIEW, true, 0, "list<float32>"},
      {"+w:784", VONK_TYPE_FIXED_LIST, false, 784, "float32[784]"},
      {"+w:0", VONK_TYPE_FIXED_LIST, false, 0, "float32[0]"},
      {"+w:2147483647", VONK_TYPE_FIXED_LIST, false, 2147483647, "float32[2147483647]"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct ArrowSchema item = {SCHEMA("f", "item")};
    const struct ArrowSchema schema = {SCHEMA(rows[i].format, "x"),
                                       .flags = ARROW_FLAG_NULLABLE, .n_children = 1,
                                       .children = SCHEMAS(&item)};
    vonk_type type = must_parse(&schema);
    vonk_text words = {.size = 0};
    vonk_type_describe(&type, &words);
    assert_string_equal(words.data, rows[i].words);
    assert_int_equal(type.kind, rows[i].kind);
    assert_int_equal(type.wide_offsets, rows[i].wide);
    assert_int_equal(type.fixed_length, rows[i].length);
    assert_int_equal(type.n_children, 1);
    assert_string_equal(type.children[0].name, "item");
    assert_true(type.nullable);
    vonk_type_clear(&type);
  }
}

static void test_nested_types_are_described_as_a_user_says_them(void **state) {
  (void)state;
  struct ArrowSchema pixel = {SCHEMA("C", "item")};
  struct ArrowSchema row = {SCHEMA("+w:28", "item"), .n_children = 1,
                            .children = SCHEMAS(&pixel)};
  struct ArrowSchema image = {SCHEMA("+w:3", "image"), .n_children = 1,
                              .children = SCHEMAS(&row)};
  struct ArrowSchema word = {SCHEMA("u", NULL)};
  struct ArrowSchema label = {SCHEMA("s", "label"), .dictionary = &word};
  struct ArrowSchema words = {SCHEMA("+l", "words"), .n_children = 1,
                              .children = SCHEMAS(&label)};
  struct ArrowSchema batch = {SCHEMA("+s", NULL), .n_children = 2,
                              .children = SCHEMAS(&image, &words)};
  vonk_type type = must_parse(&batch);
  vonk_text text = {.size = 0};
  vonk_type_describe(&type, &text);
  assert_string_equal(text.data,
                      "struct<image: uint8[28][3], words: list<dictionary<string>>>");
  assert_string_equal(type.name, "");
  const vonk_type *dictionary = &type.children[1].children[0];
  assert_int_equal(dictionary->kind, VONK_TYPE_DICTIONARY);
  assert_int_equal(dictionary->dtype, VONK_I16);
  assert_int_equal(dictionary->children[0].kind, VONK_TYPE_TEXT);
  vonk_type_clear(&type);
  assert_null(type.children);
}

/* --- refused, with the way out --- */

static void assert_refused(const struct ArrowSchema *schema, vonk_status code,
                           const char *message) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_type type;
  memset(&type, 0x5a, sizeof type);
  const vonk_type before = type;
  assert_failed(vonk_type_parse(schema, &type, &err), &err, code, message);
  assert_memory_equal(&type, &before, sizeof type);
  assert_int_equal(vonk_type_parse(schema, &type, NULL), code);
}

static void test_types_that_no_tensor_holds_name_the_cast_to_write(void **state) {
  (void)state;
  static const struct {
    const char *format, *message;
  } rows[] = {
      {"d:10,2,64", "column 'x': is a decimal: write CAST(x AS DOUBLE)"},
      {"d:10", "column 'x': is a decimal: write CAST(x AS DOUBLE)"},
      {"d:10,2,256", "column 'x': is a decimal: write CAST(x AS DOUBLE)"},
      {"tdD", "column 'x': is a date, which no tensor can hold: write epoch(x)"},
      {"tdm", "column 'x': is a date, which no tensor can hold: write epoch(x)"},
      {"tss:", "column 'x': is a timestamp, which no tensor can hold: write epoch(x)"},
      {"tsu:Europe/Amsterdam",
       "column 'x': is a timestamp, which no tensor can hold: write epoch(x)"},
      {"ttu", "column 'x': is a time of day, which no tensor can hold: write epoch(x)"},
      {"tDn", "column 'x': is a duration, which no tensor can hold: write epoch(x)"},
      {"tin", "column 'x': is an interval, which no tensor can hold: write epoch(x)"},
      {"w:16", "column 'x': is fixed-size binary: cast it to binary, which vonk reads"},
      {"vu", "column 'x': is a string view: cast it to utf8, which vonk reads"},
      {"vz", "column 'x': is a binary view: cast it to binary, which vonk reads"},
      {"+m", "column 'x': is a map, which no tensor can hold: write map_values(x)"},
      {"+ud:0,1",
       "column 'x': is a union, which no tensor can hold: pass the member that the model "
       "takes"},
      {"+us:0,1",
       "column 'x': is a union, which no tensor can hold: pass the member that the model "
       "takes"},
      {"+r",
       "column 'x': is run-end encoded: decode it first "
       "(pyarrow.compute.run_end_decode)"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct ArrowSchema schema = {SCHEMA(rows[i].format, "x")};
    assert_refused(&schema, VONK_UNSUPPORTED, rows[i].message);
  }
}

static void test_the_way_out_fits_where_the_type_lies(void **state) {
  (void)state;
  struct ArrowSchema price = {SCHEMA("d:10,2,256", "unit price")};
  struct ArrowSchema when = {SCHEMA("tsu:", "item")};
  struct ArrowSchema order = {SCHEMA("+s", "order"), .n_children = 1,
                              .children = SCHEMAS(&price)};
  struct ArrowSchema batch = {SCHEMA("+s", ""), .n_children = 1,
                              .children = SCHEMAS(&order)};
  const struct ArrowSchema amounts = {SCHEMA("+l", "amounts"), .n_children = 1,
                                      .children = SCHEMAS(&price)};
  struct ArrowSchema days = {SCHEMA("+w:7", "days"), .n_children = 1,
                             .children = SCHEMAS(&when)};
  const struct ArrowSchema weeks = {SCHEMA("+l", "weeks"), .n_children = 1,
                                    .children = SCHEMAS(&days)};
  const struct ArrowSchema orders = {SCHEMA("+l", "orders"), .n_children = 1,
                                     .children = SCHEMAS(&order)};
  const struct ArrowSchema quoted = {SCHEMA("d:3,1,256", "a \"b\"")};
  assert_refused(&batch, VONK_UNSUPPORTED,
                 "column 'order.unit price': is a decimal: write CAST(order.\"unit "
                 "price\" AS DOUBLE)");
  assert_refused(&amounts, VONK_UNSUPPORTED,
                 "column 'amounts[]': is a decimal: write CAST(amounts AS DOUBLE[])");
  assert_refused(&days, VONK_UNSUPPORTED,
                 "column 'days[]': is a timestamp, which no tensor can hold: write "
                 "[epoch(x) for x in days]");
  assert_refused(&weeks, VONK_UNSUPPORTED,
                 "column 'weeks[][]': is a timestamp, which no tensor can hold: convert "
                 "its elements to numbers first "
                 "(epoch)");
  assert_refused(&orders, VONK_UNSUPPORTED,
                 "column 'orders[].unit price': is a decimal: convert its elements to "
                 "numbers first (DOUBLE)");
  assert_refused(&quoted, VONK_UNSUPPORTED,
                 "column 'a \"b\"': is a decimal: write CAST(\"a \"\"b\"\"\" AS DOUBLE)");
}

/* --- malformed --- */

static void test_formats_that_arrow_does_not_define(void **state) {
  (void)state;
  static const struct {
    const char *format, *message;
  } rows[] = {
      {"", "column 'x': has the format '', which is none of Arrow's"},
      {"q", "column 'x': has the format 'q', which is none of Arrow's"},
      {"f ", "column 'x': has the format 'f ', which is none of Arrow's"},
      {"+", "column 'x': has the format '+', which is none of Arrow's"},
      {"+w", "column 'x': has the format '+w', which is none of Arrow's"},
      {"+lx", "column 'x': has the format '+lx', which is none of Arrow's"},
      {"+w:",
       "column 'x': has the format '+w:': expected a length from 0 to 2147483647 after "
       "the colon"},
      {"+w:-3",
       "column 'x': has the format '+w:-3': expected a length from 0 to 2147483647 after "
       "the colon"},
      {"+w:3x",
       "column 'x': has the format '+w:3x': expected a length from 0 to 2147483647 after "
       "the colon"},
      {"+w:2147483648",
       "column 'x': has the format '+w:2147483648': expected a length from 0 to "
       "2147483647 after the colon"},
      {"+w:99999999999999999999",
       "column 'x': has the format '+w:99999999999999999999': expected a length from 0 "
       "to 2147483647 after the colon"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct ArrowSchema schema = {SCHEMA(rows[i].format, "x")};
    assert_refused(&schema, VONK_INVALID, rows[i].message);
  }
}

static void test_child_counts_are_checked(void **state) {
  (void)state;
  struct ArrowSchema item = {SCHEMA("f", "item")};
  struct ArrowSchema schema = {SCHEMA("f", "x"), .n_children = 1,
                               .children = SCHEMAS(&item)};
  assert_refused(&schema, VONK_INVALID,
                 "column 'x': has the format 'f' and 1 children: expected 0");
  schema = (struct ArrowSchema){SCHEMA("+l", "x")};
  assert_refused(&schema, VONK_INVALID,
                 "column 'x': has the format '+l' and 0 children: expected 1");
  schema = (struct ArrowSchema){SCHEMA("+w:2", "x"), .n_children = 2,
                                .children = SCHEMAS(&item, &item)};
  assert_refused(&schema, VONK_INVALID,
                 "column 'x': has the format '+w:2' and 2 children: expected 1");
  schema = (struct ArrowSchema){SCHEMA("+s", "x"), .n_children = -1};
  assert_refused(&schema, VONK_INVALID,
                 "column 'x': is a struct of -1 fields: expected 0 to 1048576");
  schema = (struct ArrowSchema){SCHEMA("+s", "x"), .n_children = INT64_MAX};
  assert_refused(
      &schema, VONK_INVALID,
      "column 'x': is a struct of 9223372036854775807 fields: expected 0 to 1048576");
  schema = (struct ArrowSchema){SCHEMA("+l", "x"), .n_children = 1};
  assert_refused(&schema, VONK_INVALID,
                 "column 'x': has 1 children, but no array of children");
  schema =
      (struct ArrowSchema){SCHEMA("+l", "x"), .n_children = 1, .children = SCHEMAS(NULL)};
  assert_refused(&schema, VONK_INVALID, "column 'x[]': has no schema (NULL)");
}

static void test_released_and_empty_schemas_are_refused(void **state) {
  (void)state;
  struct ArrowSchema released = {SCHEMA("f", "gone")};
  struct ArrowSchema schema = {SCHEMA("+s", "x"), .n_children = 1,
                               .children = SCHEMAS(&released)};
  released.release(&released);
  assert_refused(NULL, VONK_INVALID, "column '': has no schema (NULL)");
  assert_refused(&released, VONK_INVALID, "column '': has a schema that was released");
  assert_refused(&schema, VONK_INVALID, "column 'x.': has a schema that was released");
  schema = (struct ArrowSchema){SCHEMA(NULL, "x")};
  assert_refused(&schema, VONK_INVALID, "column 'x': has a schema without a format");
}

static void test_dictionaries_need_integers_and_plain_values(void **state) {
  (void)state;
  struct ArrowSchema item = {SCHEMA("f", "item")};
  struct ArrowSchema list = {SCHEMA("+l", ""), .n_children = 1,
                             .children = SCHEMAS(&item)};
  struct ArrowSchema inner = {SCHEMA("i", ""), .dictionary = &item};
  struct ArrowSchema decimal = {SCHEMA("d:5,2,256", "")};
  struct ArrowSchema schema = {SCHEMA("f", "x"), .dictionary = &item};
  assert_refused(
      &schema, VONK_INVALID,
      "column 'x': is a dictionary with indices of format 'f': expected integers");
  schema = (struct ArrowSchema){SCHEMA("i", "x"), .dictionary = &list};
  assert_refused(&schema, VONK_UNSUPPORTED,
                 "column 'x': is a dictionary of nested values: decode it first "
                 "(pyarrow: dictionary_decode())");
  schema = (struct ArrowSchema){SCHEMA("i", "x"), .dictionary = &inner};
  assert_refused(&schema, VONK_UNSUPPORTED,
                 "column 'x': is a dictionary of nested values: decode it first "
                 "(pyarrow: dictionary_decode())");
  schema = (struct ArrowSchema){SCHEMA("i", "x"), .dictionary = &decimal};
  assert_refused(&schema, VONK_UNSUPPORTED,
                 "column 'x (dictionary)': is a decimal: convert its elements to numbers "
                 "first (DOUBLE)");
}

static void test_nesting_has_a_bound(void **state) {
  (void)state;
  struct ArrowSchema levels[18] = {{SCHEMA("f", "value")}};
  struct ArrowSchema *links[18];
  for (int i = 1; i < 18; i++) {
    links[i] = &levels[i - 1];
    levels[i] =
        (struct ArrowSchema){SCHEMA("+l", "l"), .n_children = 1, .children = &links[i]};
  }
  vonk_type type = must_parse(&levels[16]);
  vonk_type_clear(&type);
  assert_refused(
      &levels[17], VONK_UNSUPPORTED,
      "column 'l[][][][][][][][][][][][][][][][][]': is nested more than 16 deep");
}

static void test_long_names_are_cut_and_harmless(void **state) {
  (void)state;
  char name[4000];
  memset(name, '"', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  const struct ArrowSchema schema = {SCHEMA("d:1,1,256", name)};
  vonk_error err = VONK_ERROR_INIT;
  vonk_type type;
  assert_int_equal(vonk_type_parse(&schema, &type, &err), VONK_UNSUPPORTED);
  assert_true(strlen(err.message) < sizeof err.message);
}

static void test_out_of_memory_leaves_nothing_behind(void **state) {
  (void)state;
  struct ArrowSchema item = {SCHEMA("f", "item")};
  struct ArrowSchema list = {SCHEMA("+l", "l"), .n_children = 1,
                             .children = SCHEMAS(&item)};
  struct ArrowSchema label = {SCHEMA("i", "d"), .dictionary = &item};
  const struct ArrowSchema schema = {SCHEMA("+s", ""), .n_children = 2,
                                     .children = SCHEMAS(&list, &label)};
  vonk_type type = {.name = NULL};
  vonk_status status = VONK_NOMEM;
  int64_t failures = 0;
  while (status != VONK_OK) {
    vonk_error err = VONK_ERROR_INIT;
    (void)vonk_memory_fail_at(failures + 1);
    status = vonk_type_parse(&schema, &type, &err);
    (void)vonk_memory_fail_at(0);
    if (status == VONK_OK) break;
    assert_int_equal(status, VONK_NOMEM);
    assert_null(type.name);
    failures++;
  }
  assert_int_equal(failures, 5 + 3); /* five names, three arrays of children */
  vonk_type_clear(&type);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_plain_format_is_known),
      cmocka_unit_test(test_every_list_format_is_known),
      cmocka_unit_test(test_nested_types_are_described_as_a_user_says_them),
      cmocka_unit_test(test_types_that_no_tensor_holds_name_the_cast_to_write),
      cmocka_unit_test(test_the_way_out_fits_where_the_type_lies),
      cmocka_unit_test(test_formats_that_arrow_does_not_define),
      cmocka_unit_test(test_child_counts_are_checked),
      cmocka_unit_test(test_released_and_empty_schemas_are_refused),
      cmocka_unit_test(test_dictionaries_need_integers_and_plain_values),
      cmocka_unit_test(test_nesting_has_a_bound),
      cmocka_unit_test(test_long_names_are_cut_and_harmless),
      cmocka_unit_test(test_out_of_memory_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
