/* Results: what is built is well-formed Arrow, everything is freed once (the address
 * sanitizer watches), a child that was moved out survives its parent, and on failure all
 * parts stay the caller's. */
#include <string.h>

#include "arrow_fixture.h"

static void *new_bytes(const void *bytes, size_t nbytes) {
  void *copy;
  assert_int_equal(vonk_new(nbytes, 1, &copy, NULL), VONK_OK);
  memcpy(copy, bytes, nbytes);
  return copy;
}

static struct ArrowArray new_floats(const float *values, size_t n) {
  struct ArrowArray array;
  void *copy = new_bytes(values, n * sizeof *values);
  assert_int_equal(vonk_array_value((int64_t)n, 0, NULL, copy, &array, NULL), VONK_OK);
  return array;
}

static struct ArrowSchema new_schema(const char *name, vonk_dtype dtype) {
  struct ArrowSchema schema;
  assert_int_equal(vonk_schema_value(name, dtype, &schema, NULL), VONK_OK);
  return schema;
}

static void assert_describes(const struct ArrowSchema *schema, const char *words) {
  vonk_type type = must_parse(schema);
  vonk_text text = {.size = 0};
  vonk_type_describe(&type, &text);
  assert_string_equal(text.data, words);
  vonk_type_clear(&type);
}

static const float values[] = {1, 2, 3, 4, 5, 6};

/* --- schemas --- */

static void test_schemas_of_every_dtype(void **state) {
  (void)state;
  for (vonk_dtype dtype = VONK_F16; dtype <= VONK_BYTES; dtype++) {
    if (dtype == VONK_BF16) continue;
    struct ArrowSchema schema = new_schema("probability", dtype);
    assert_string_equal(schema.format, vonk_dtype_find(dtype)->format);
    assert_string_equal(schema.name, "probability");
    assert_int_equal(schema.flags, ARROW_FLAG_NULLABLE);
    assert_int_equal(schema.n_children, 0);
    assert_null(schema.metadata);
    assert_null(schema.dictionary);
    schema.release(&schema);
    assert_null(schema.release);
  }
}

static void test_dtypes_that_arrow_lacks(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowSchema schema;
  assert_failed(vonk_schema_value("y", VONK_BF16, &schema, &err), &err, VONK_UNSUPPORTED,
                "column 'y': Arrow has no type for bfloat16: convert it to float32");
  assert_failed(
      vonk_schema_value("y", 77, &schema, &err), &err, VONK_UNSUPPORTED,
      "column 'y': Arrow has no type for an unknown dtype: convert it to float32");
}

static void test_nested_schemas(void **state) {
  (void)state;
  struct ArrowSchema item = new_schema("item", VONK_F32);
  struct ArrowSchema row;
  struct ArrowSchema list;
  struct ArrowSchema batch;
  assert_int_equal(vonk_schema_list("item", 10, &item, &row, NULL), VONK_OK);
  assert_null(item.release);
  assert_int_equal(vonk_schema_list("logits", -1, &row, &list, NULL), VONK_OK);
  assert_int_equal(vonk_schema_struct("", 2, &batch, NULL), VONK_OK);
  vonk_schema_move(&list, batch.children[0]);
  assert_null(list.release);
  struct ArrowSchema label = new_schema("label", VONK_BYTES);
  vonk_schema_move(&label, batch.children[1]);
  assert_describes(&batch, "struct<logits: list<float32[10]>, label: string>");

  struct ArrowSchema moved;
  vonk_schema_move(batch.children[0], &moved);
  batch.release(&batch);
  assert_describes(&moved, "list<float32[10]>");
  moved.release(&moved);
}

static void test_a_list_too_long_for_arrow_leaves_the_item_with_the_caller(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowSchema item = new_schema("item", VONK_F32);
  struct ArrowSchema list;
  assert_failed(
      vonk_schema_list("y", INT64_C(2147483648), &item, &list, &err), &err, VONK_INVALID,
      "column 'y': a fixed-size list of 2147483648 elements: Arrow allows 2147483647");
  assert_non_null(item.release);
  item.release(&item);
}

/* --- arrays --- */

static void test_values_with_nulls(void **state) {
  (void)state;
  const uint8_t validity = 0x3d;
  struct ArrowArray array;
  void *bits = new_bytes(&validity, 1);
  void *copy = new_bytes(values, sizeof values);
  assert_int_equal(vonk_array_value(6, 1, bits, copy, &array, NULL), VONK_OK);
  struct ArrowSchema schema = new_schema("y", VONK_F32);
  vonk_type type = must_parse(&schema);
  const vonk_column column = must_view(&array, &type);
  assert_int_equal(column.null_count, 1);
  assert_true(vonk_column_is_null(&column, 1));
  assert_memory_equal(column.values, values, sizeof values);
  assert_ptr_equal(column.values, copy); /* taken over, not copied */
  vonk_type_clear(&type);
  schema.release(&schema);
  array.release(&array);
  assert_null(array.release);
}

static void test_texts(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 3, 3, 8};
  struct ArrowArray array;
  void *ends = new_bytes(offsets, sizeof offsets);
  void *bytes = new_bytes("redgreen", 8);
  assert_int_equal(vonk_array_text(3, 0, NULL, ends, bytes, &array, NULL), VONK_OK);
  struct ArrowSchema schema = new_schema("label", VONK_BYTES);
  vonk_type type = must_parse(&schema);
  const vonk_column column = must_view(&array, &type);
  const uint8_t *text;
  int64_t nbytes;
  vonk_column_text_at(&column, 2, &text, &nbytes);
  assert_int_equal(nbytes, 5);
  assert_memory_equal(text, "green", 5);
  vonk_type_clear(&type);
  schema.release(&schema);
  array.release(&array);
}

static void test_lists_and_fixed_lists_take_their_item(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 1, 3};
  struct ArrowArray item = new_floats(values, 6);
  struct ArrowArray rows;
  struct ArrowArray lists;
  assert_int_equal(vonk_array_fixed_list(3, 0, NULL, &item, &rows, NULL), VONK_OK);
  assert_null(item.release);
  void *ends = new_bytes(offsets, sizeof offsets);
  assert_int_equal(vonk_array_list(2, 0, NULL, ends, &rows, &lists, NULL), VONK_OK);
  assert_null(rows.release);

  struct ArrowSchema value = new_schema("item", VONK_F32);
  struct ArrowSchema pair;
  struct ArrowSchema schema;
  assert_int_equal(vonk_schema_list("item", 2, &value, &pair, NULL), VONK_OK);
  assert_int_equal(vonk_schema_list("y", -1, &pair, &schema, NULL), VONK_OK);
  vonk_type type = must_parse(&schema);
  vonk_column column = must_view(&lists, &type);
  int64_t start;
  int64_t count;
  vonk_column_list_at(&column, 1, &start, &count);
  assert_int_equal(start, 1);
  assert_int_equal(count, 2);
  vonk_column_list_at(&column.children[0], start, &start, &count);
  assert_int_equal(start, 2);
  assert_int_equal(count, 2);
  vonk_column_clear(&column);
  vonk_type_clear(&type);
  schema.release(&schema);
  lists.release(&lists);
}

static void test_a_child_moved_out_survives_its_parent(void **state) {
  (void)state;
  struct ArrowArray batch;
  assert_int_equal(vonk_array_struct(6, 2, &batch, NULL), VONK_OK);
  assert_null(batch.children[0]->release);
  struct ArrowArray first = new_floats(values, 6);
  struct ArrowArray second = new_floats(values, 6);
  vonk_array_move(&first, batch.children[0]);
  vonk_array_move(&second, batch.children[1]);
  assert_null(first.release);
  struct ArrowArray moved;
  vonk_array_move(batch.children[1], &moved);
  batch.release(&batch);
  assert_null(batch.release);
  assert_memory_equal(moved.buffers[1], values, sizeof values);
  moved.release(&moved);
}

static void test_a_struct_released_before_it_is_filled(void **state) {
  (void)state;
  struct ArrowArray batch;
  assert_int_equal(vonk_array_struct(0, 3, &batch, NULL), VONK_OK);
  batch.release(&batch);
  assert_int_equal(vonk_array_struct(5, 0, &batch, NULL), VONK_OK);
  assert_int_equal(batch.n_buffers, 1);
  assert_null(batch.buffers[0]);
  batch.release(&batch);
}

/* Readers that insist on pointers get one, and the one offset an empty array has. */
static void test_empty_arrays_point_at_zeros(void **state) {
  (void)state;
  struct ArrowArray text;
  assert_int_equal(vonk_array_text(0, 0, NULL, NULL, NULL, &text, NULL), VONK_OK);
  assert_int_equal(text.n_buffers, 3);
  assert_null(text.buffers[0]);
  int32_t offset = 1;
  assert_non_null(text.buffers[1]);
  memcpy(&offset, text.buffers[1], sizeof offset);
  assert_int_equal(offset, 0);
  assert_non_null(text.buffers[2]);
  text.release(&text);
}

/* --- failures --- */

static void test_out_of_memory_leaves_all_parts_with_the_caller(void **state) {
  (void)state;
  const int32_t offsets[] = {0, 6};
  void *validity = new_bytes("\1", 1);
  void *ends = new_bytes(offsets, sizeof offsets);
  struct ArrowArray item = new_floats(values, 6);
  struct ArrowArray out;
  memset(&out, 0x5a, sizeof out);
  const struct ArrowArray before = out;
  vonk_error err = VONK_ERROR_INIT;
  (void)vonk_memory_fail_at(
      1); /* there is one: of the owner, with the children's structs */
  const vonk_status status = vonk_array_list(1, 0, validity, ends, &item, &out, &err);
  (void)vonk_memory_fail_at(0);
  assert_int_equal(status, VONK_NOMEM);
  assert_memory_equal(&out, &before, sizeof out);
  assert_non_null(item.release);
  assert_int_equal(vonk_array_list(1, 0, validity, ends, &item, &out, NULL), VONK_OK);
  out.release(&out);
}

static void test_schemas_out_of_memory(void **state) {
  (void)state;
  struct ArrowSchema item = new_schema("item", VONK_F32);
  struct ArrowSchema out;
  memset(&out, 0x5a, sizeof out);
  const struct ArrowSchema before = out;
  for (int64_t n = 1; n <= 4;
       n++) { /* owner, name, structs of the children, their table */
    (void)vonk_memory_fail_at(n);
    const vonk_status status = vonk_schema_list("y", 3, &item, &out, NULL);
    (void)vonk_memory_fail_at(0);
    assert_int_equal(status, VONK_NOMEM);
    assert_memory_equal(&out, &before, sizeof out);
    assert_non_null(item.release);
  }
  assert_int_equal(vonk_schema_list("y", 3, &item, &out, NULL), VONK_OK);
  out.release(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_schemas_of_every_dtype),
      cmocka_unit_test(test_dtypes_that_arrow_lacks),
      cmocka_unit_test(test_nested_schemas),
      cmocka_unit_test(test_a_list_too_long_for_arrow_leaves_the_item_with_the_caller),
      cmocka_unit_test(test_values_with_nulls),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_lists_and_fixed_lists_take_their_item),
      cmocka_unit_test(test_a_child_moved_out_survives_its_parent),
      cmocka_unit_test(test_a_struct_released_before_it_is_filled),
      cmocka_unit_test(test_empty_arrays_point_at_zeros),
      cmocka_unit_test(test_out_of_memory_leaves_all_parts_with_the_caller),
      cmocka_unit_test(test_schemas_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
