/* Schemas and arrays written down by hand, for the tests of src/arrow: every field in
 * sight, nothing allocated. */
#ifndef VONK_TESTS_ARROW_FIXTURE_H
#define VONK_TESTS_ARROW_FIXTURE_H

/* cmocka.h needs what stands before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* clang-format on */

#include "arrow/arrow.h"

static inline void fixture_release_schema(struct ArrowSchema *schema) {
  schema->release = NULL;
}
static inline void fixture_release_array(struct ArrowArray *array) {
  array->release = NULL;
}

/* The designators every schema and array of a test starts with. */
#define SCHEMA(FORMAT, NAME) \
  .format = (FORMAT), .name = (NAME), .release = fixture_release_schema
#define ARRAY(LENGTH, N_BUFFERS, ...)           \
  .length = (LENGTH), .n_buffers = (N_BUFFERS), \
  .buffers = (const void *[]){__VA_ARGS__}, .release = fixture_release_array
#define SCHEMAS(...) ((struct ArrowSchema *[]){__VA_ARGS__})
#define ARRAYS(...) ((struct ArrowArray *[]){__VA_ARGS__})

/* The call failed with this code and exactly this message. */
static inline void assert_failed(vonk_status status, const vonk_error *err,
                                 vonk_status code, const char *message) {
  assert_string_equal(err->message, message);
  assert_int_equal(status, code);
  assert_int_equal(err->code, code);
}

static inline vonk_type must_parse(const struct ArrowSchema *schema) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_type type;
  const vonk_status status = vonk_type_parse(schema, &type, &err);
  assert_string_equal(err.message, "");
  assert_int_equal(status, VONK_OK);
  return type;
}

static inline vonk_column must_view(const struct ArrowArray *array,
                                    const vonk_type *type) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_column column;
  const vonk_status status = vonk_column_view(array, type, &column, &err);
  assert_string_equal(err.message, "");
  assert_int_equal(status, VONK_OK);
  return column;
}

/* Types of a column 'x': a list of float32, a plain value, a dictionary of strings. */
static inline vonk_type list_type(const char *format) {
  struct ArrowSchema item = {SCHEMA("f", "item")};
  const struct ArrowSchema schema = {SCHEMA(format, "x"), .n_children = 1,
                                     .children = SCHEMAS(&item)};
  return must_parse(&schema);
}
static inline vonk_type value_type(const char *format) {
  const struct ArrowSchema schema = {SCHEMA(format, "x")};
  return must_parse(&schema);
}
static inline vonk_type dictionary_type(const char *index) {
  struct ArrowSchema word = {SCHEMA("u", "")};
  const struct ArrowSchema schema = {SCHEMA(index, "x"), .dictionary = &word};
  return must_parse(&schema);
}

#endif /* VONK_TESTS_ARROW_FIXTURE_H */
