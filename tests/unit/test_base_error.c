/* Errors: what a caller reads after a failure. */

#include "base/base.h"
#include "unit.h"

static void test_fills_code_row_and_message(void **state) {
  (void)state;
  vonk_error err = {.struct_size = sizeof(err), .native_code = 7, .row = 3};
  assert_int_equal(vonk_fail(&err, VONK_IO, "%s: no %d", "file", 5), VONK_IO);
  assert_int_equal(err.code, VONK_IO);
  assert_int_equal(err.native_code, 0);
  assert_int_equal(err.row, -1);
  assert_string_equal(err.message, "file: no 5");
}

static void test_takes_null(void **state) {
  (void)state;
  assert_int_equal(vonk_fail(NULL, VONK_IO, "x"), VONK_IO);
  assert_int_equal(vonk_prefix(NULL, VONK_MODEL, "x"), VONK_MODEL);
  assert_int_equal(vonk_fail_nomem(NULL, 5), VONK_NOMEM);
  vonk_error_set_row(NULL, 4);
  assert_int_equal(vonk_error_row(NULL), -1);
  vonk_error_copy(NULL, NULL);
}

static void test_zeroed_struct_is_the_first_version(void **state) {
  (void)state;
  vonk_error err;
  memset(&err, 0, sizeof(err));
  (void)vonk_fail(&err, VONK_NOMEM, "a message");
  assert_int_equal(err.code, VONK_NOMEM);
  assert_string_equal(err.message, "a message");
  vonk_error_set_row(&err, 12);
  assert_int_equal(vonk_error_row(&err), 12);
}

static void test_writes_nothing_beyond_struct_size(void **state) {
  (void)state;
  vonk_error err;
  for (size_t size = 1; size <= sizeof(err); size++) {
    memset(&err, 0x77, sizeof(err));
    err.struct_size = (uint32_t)size;
    (void)vonk_fail(&err, VONK_IO, "%s",
                    "a message that is longer than some of the sizes");
    (void)vonk_prefix(&err, VONK_IO, "context");
    vonk_error_set_row(&err, 1);
    const uint8_t *bytes = (const uint8_t *)&err;
    for (size_t i = size < sizeof(err.struct_size) ? sizeof(err.struct_size) : size;
         i < sizeof(err); i++) {
      if (bytes[i] != 0x77) {
        fail_msg("struct_size %zu: byte %zu was written: 0x%02X", size, i, bytes[i]);
      }
    }
  }
}

/* Whether text ends where a character does. */
static int is_utf8(const char *text) {
  const uint8_t *p = (const uint8_t *)text;
  while (*p != 0) {
    size_t size = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
    for (size_t i = 1; i < size; i++) {
      if ((p[i] & 0xC0) != 0x80) {
        return 0;
      }
    }
    p += size;
  }
  return 1;
}

static void test_cuts_long_messages_at_a_character(void **state) {
  (void)state;
  static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC",
                                           "\xF0\x9F\x98\x80"};
  for (size_t c = 0; c < 4; c++) {
    for (size_t shift = 0; shift < 4; shift++) {
      char text[5000] = "";
      size_t size = shift;
      memset(text, 'a', shift);
      while (size < 4000) {
        memcpy(text + size, characters[c], c + 1);
        size += c + 1;
      }
      text[size] = '\0';
      vonk_error err = VONK_ERROR_INIT;
      (void)vonk_fail(&err, VONK_IO, "%s", text);
      size_t kept = strlen(err.message);
      assert_true(is_utf8(err.message));
      assert_in_range(kept, sizeof(err.message) - 4, sizeof(err.message) - 1);
      assert_memory_equal(err.message, text, kept);
      (void)vonk_prefix(&err, VONK_IO, "%s", "ab");
      assert_true(is_utf8(err.message));
      assert_memory_equal(err.message, "ab: ", 4);
      assert_memory_equal(err.message + 4, text, strlen(err.message) - 4);
    }
  }
}

static void test_prefix_keeps_the_rest(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  (void)vonk_fail(&err, VONK_BACKEND, "inner: reason");
  err.native_code = 42;
  err.row = 17;
  assert_int_equal(vonk_prefix(&err, VONK_INVALID, "outer %d", 1), VONK_BACKEND);
  assert_string_equal(err.message, "outer 1: inner: reason");
  assert_int_equal(err.native_code, 42);
  assert_int_equal(err.row, 17);
}

static void test_copies_everything(void **state) {
  (void)state;
  vonk_error from = VONK_ERROR_INIT, to = VONK_ERROR_INIT;
  (void)vonk_fail(&from, VONK_DEVICE, "lost");
  from.native_code = -5;
  from.row = 9;
  vonk_error_copy(&to, &from);
  assert_int_equal(to.code, VONK_DEVICE);
  assert_int_equal(to.native_code, -5);
  assert_int_equal(to.row, 9);
  assert_string_equal(to.message, "lost");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fills_code_row_and_message),
      cmocka_unit_test(test_takes_null),
      cmocka_unit_test(test_zeroed_struct_is_the_first_version),
      cmocka_unit_test(test_writes_nothing_beyond_struct_size),
      cmocka_unit_test(test_cuts_long_messages_at_a_character),
      cmocka_unit_test(test_prefix_keeps_the_rest),
      cmocka_unit_test(test_copies_everything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
