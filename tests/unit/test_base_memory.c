/* Memory, sizes, buffers and text. */

#include "base/base.h"
#include "unit.h"

static void test_allocates_zeroed_and_aligned(void **state) {
  (void)state;
  uint8_t *bytes = NULL;
  assert_int_equal(vonk_new(100, 3, &bytes, NULL), VONK_OK);
  for (size_t i = 0; i < 300; i++) {
    assert_int_equal(bytes[i], 0);
  }
  vonk_delete(bytes);
  for (size_t align = sizeof(void *); align <= 4096; align *= 2) {
    assert_int_equal(vonk_new_aligned(10, align, &bytes, NULL), VONK_OK);
    assert_int_equal((uintptr_t)bytes % align, 0);
    vonk_delete(bytes);
  }
  bytes = (uint8_t *)state;
  assert_int_equal(vonk_new(0, 8, &bytes, NULL), VONK_OK);
  assert_null(bytes);
}

static void test_fails_the_chosen_allocation_once(void **state) {
  (void)state;
  for (int64_t n = 1; n <= 3; n++) {
    (void)vonk_memory_fail_at(n);
    for (int64_t i = 1; i <= 4; i++) {
      uint8_t *bytes = NULL;
      vonk_error err = VONK_ERROR_INIT;
      vonk_status status = i % 2 == 0 ? vonk_new(1, 16, &bytes, &err)
                                      : vonk_new_aligned(16, 64, &bytes, &err);
      assert_int_equal(status, i == n ? VONK_NOMEM : VONK_OK);
      assert_int_equal(bytes == NULL, i == n);
      vonk_delete(bytes);
    }
  }
  int64_t before = vonk_memory_fail_at(0);
  uint8_t *bytes = NULL;
  assert_int_equal(vonk_new(1, 1, &bytes, NULL), VONK_OK);
  vonk_delete(bytes);
  assert_int_equal(vonk_memory_fail_at(0), before + 1);
}

static void test_sizes_do_not_overflow(void **state) {
  (void)state;
  size_t out = 5;
  assert_int_equal(vonk_size_mul(SIZE_MAX / 3, 3, &out, NULL), VONK_OK);
  assert_int_equal(out, SIZE_MAX / 3 * 3);
  out = 5;
  assert_int_equal(vonk_size_mul(SIZE_MAX / 3 + 1, 3, &out, NULL), VONK_INVALID);
  assert_int_equal(vonk_size_add(SIZE_MAX, 1, &out, NULL), VONK_INVALID);
  assert_int_equal(vonk_size_from(-1, "length", &out, NULL), VONK_INVALID);
  assert_int_equal(out, 5);
  assert_int_equal(vonk_size_add(SIZE_MAX, 0, &out, NULL), VONK_OK);
  assert_int_equal(out, SIZE_MAX);
  assert_int_equal(vonk_size_mul(SIZE_MAX, 0, &out, NULL), VONK_OK);
  assert_int_equal(out, 0);
  vonk_error err = VONK_ERROR_INIT;
  void *pointer = NULL;
  assert_int_equal(vonk_new(SIZE_MAX / 2, 3, &pointer, &err), VONK_INVALID);
  assert_int_equal(vonk_size_from(-7, "length of column 'a'", &out, &err), VONK_INVALID);
  assert_non_null(strstr(err.message, "length of column 'a': is -7: expected"));
}

static void test_buffer_keeps_its_bytes_while_it_grows(void **state) {
  (void)state;
  vonk_buffer buffer = {0};
  for (uint32_t i = 0; i < 10000; i++) {
    assert_int_equal(vonk_buffer_append(&buffer, &i, sizeof(i), NULL), VONK_OK);
    assert_int_equal((uintptr_t)buffer.data % 64, 0);
  }
  assert_int_equal(buffer.size, 40000);
  for (uint32_t i = 0; i < 10000; i++) {
    uint32_t value;
    memcpy(&value, buffer.data + i * sizeof(value), sizeof(value));
    assert_int_equal(value, i);
  }
  assert_int_equal(vonk_buffer_resize(&buffer, 3, NULL), VONK_OK);
  assert_int_equal(vonk_buffer_resize(&buffer, 50000, NULL), VONK_OK);
  for (size_t i = 3; i < 50000; i++) {
    assert_int_equal(buffer.data[i], 0);
  }
  vonk_buffer_release(&buffer);
  assert_null(buffer.data);
}

static void test_buffer_is_unchanged_by_failure(void **state) {
  (void)state;
  vonk_buffer buffer = {0};
  assert_int_equal(vonk_buffer_append(&buffer, "abc", 3, NULL), VONK_OK);
  vonk_buffer before = buffer;
  (void)vonk_memory_fail_at(1);
  assert_int_equal(vonk_buffer_reserve(&buffer, 1000, NULL), VONK_NOMEM);
  (void)vonk_memory_fail_at(0);
  assert_int_equal(vonk_buffer_reserve(&buffer, SIZE_MAX - 1, NULL), VONK_INVALID);
  assert_int_equal(vonk_buffer_reserve(&buffer, SIZE_MAX - 60, NULL), VONK_INVALID);
  assert_memory_equal(&buffer, &before, sizeof(buffer));
  assert_memory_equal(buffer.data, "abc", 3);
  vonk_buffer_release(&buffer);
}

static void test_text_is_cut_with_dots(void **state) {
  (void)state;
  vonk_text text = {0};
  vonk_text_add(&text, "%s-%d", "a", 1);
  assert_string_equal(text.data, "a-1");
  assert_int_equal(text.size, 3);
  for (int i = 0; i < 300; i++) {
    vonk_text_add(&text, "\xC3\xA9%s", "");
  }
  assert_int_equal(strlen(text.data), text.size);
  assert_true(text.size < sizeof(text.data));
  assert_string_equal(text.data + text.size - 3, "...");
  for (size_t i = 3; i < text.size - 3; i += 2) {
    assert_memory_equal(text.data + i, "\xC3\xA9", 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_allocates_zeroed_and_aligned),
      cmocka_unit_test(test_fails_the_chosen_allocation_once),
      cmocka_unit_test(test_sizes_do_not_overflow),
      cmocka_unit_test(test_buffer_keeps_its_bytes_while_it_grows),
      cmocka_unit_test(test_buffer_is_unchanged_by_failure),
      cmocka_unit_test(test_text_is_cut_with_dots),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
