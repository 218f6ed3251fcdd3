/* Finding a model's files among those that the host has in memory. */
#include <string.h>

#include "kit/host.h"
#include "kit/kit.h"
#include "unit/unit.h"

/* In the order of strcmp, in which '.' comes before '/'. */
static const vonk_file rows[] = {
    {"a", "1", 1},
    {"a.b", "2", 1},
    {"a/b", "3", 1},
    {"a/b.c", "4", 1},
    {"a/b/c", "5", 1},
    {"a0", "6", 1},
    {"assets/\xc3\xa9", "7", 1},
    {"b", NULL, 0},
};

static kit_source source_of(vonk_files *room, const char *own) {
  *room = (vonk_files){.struct_size = (uint32_t)sizeof *room,
                       .n_files = sizeof rows / sizeof rows[0],
                       .path = "/x/m",
                       .main = own,
                       .files = rows};
  return (kit_source){"/x/m", room};
}

static void expect(const char *own, const char *name, int index) {
  vonk_files room;
  const kit_source source = source_of(&room, own);
  const vonk_file *found =
      vonk_kit_source_find(&source, (kit_slice){(const uint8_t *)name, strlen(name)});
  const vonk_file *expected = index < 0 ? NULL : &rows[index];
  if (found != expected) {
    fail_msg("'%s' beside '%s': found '%s', expected '%s'", name,
             own == NULL ? "the folder" : own, found == NULL ? "nothing" : found->name,
             expected == NULL ? "nothing" : expected->name);
  }
}

static void test_every_file_is_found_by_its_name(void **state) {
  (void)state;
  for (int i = 0; i < (int)(sizeof rows / sizeof rows[0]); ++i) {
    expect(NULL, rows[i].name, i);
    expect("m.onnx", rows[i].name, i);
  }
}

static void test_names_are_relative_to_the_models_own_file(void **state) {
  (void)state;
  expect("a/b", "b", 2);
  expect("a/b", "b.c", 3);
  expect("a/b", "b/c", 4);
  expect("a/b/c", "c", 4);
  expect("a/b", "a", -1);
  expect("a/b", "a0", -1);
}

static void test_names_may_be_written_in_several_ways(void **state) {
  (void)state;
  expect(NULL, "./a", 0);
  expect(NULL, "a//b", 2);
  expect(NULL, "a/./b", 2);
  expect(NULL, "././a/b//./c", 4);
  expect(NULL, "a/", 0);
}

static void test_what_is_not_there_is_not_found(void **state) {
  (void)state;
  static const char *const absent[] = {"",   ".",    "/", "a/c",     "a.",     "A",
                                       "..", "a/..", "c", "a/b/c/d", "assets", "0"};
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; ++i) {
    expect(NULL, absent[i], -1);
  }
  vonk_files room;
  const kit_source source = source_of(&room, NULL);
  assert_null(vonk_kit_source_find(&source, (kit_slice){(const uint8_t *)"a\0b", 3}));
  room.n_files = 0;
  assert_null(vonk_kit_source_find(&source, (kit_slice){(const uint8_t *)"a", 1}));
}

static void test_the_own_file_is_where_it_is_or_one_error(void **state) {
  (void)state;
  vonk_files room;
  kit_slice bytes;
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  kit_source source = source_of(&room, "a/b");
  assert_int_equal(vonk_kit_source_map(&source, 10, "a file", &bytes, &err), VONK_OK);
  assert_ptr_equal(bytes.data, rows[2].data);
  vonk_kit_source_unmap(&source, bytes);
  assert_int_equal(vonk_kit_source_map(&source, 0, "a file", &bytes, &err), VONK_MODEL);
  assert_string_equal(err.message,
                      "'/x/m': has 1 bytes: at most 0 are possible: give a file");
  source = source_of(&room, "none");
  assert_int_equal(vonk_kit_source_map(&source, 10, "a file", &bytes, &err), VONK_IO);
  assert_string_equal(err.message, "'/x/m': cannot be opened: No such file or directory");
  source = source_of(&room, NULL);
  assert_int_equal(vonk_kit_source_map(&source, 10, "a file", &bytes, &err), VONK_MODEL);
  assert_string_equal(err.message, "'/x/m': is a folder: give a file");
}

static void test_a_kept_source_needs_nothing_of_the_hosts_table(void **state) {
  (void)state;
  vonk_kit_set_host(&plain_host);
  char name[] = "weights.bin", path[] = "/x/m.onnx", own[] = "m.onnx";
  vonk_file files[] = {{own, "m", 1}, {name, "w", 1}};
  vonk_files table = {.struct_size = (uint32_t)sizeof table,
                      .n_files = 2,
                      .path = path,
                      .main = own,
                      .files = files};
  kit_arena arena = {0};
  kit_source kept;
  assert_int_equal(vonk_kit_source_keep(&arena, (kit_source){path, &table}, &kept, NULL),
                   VONK_OK);
  memset(name, 'x', sizeof name - 1);
  memset(path, 'x', sizeof path - 1);
  memset(own, 'x', sizeof own - 1);
  memset(files, 0, sizeof files);
  memset(&table, 0, sizeof table);
  const vonk_file *found =
      vonk_kit_source_find(&kept, (kit_slice){(const uint8_t *)"weights.bin", 11});
  assert_non_null(found);
  assert_string_equal(found->data, "w");
  assert_string_equal(kept.path, "/x/m.onnx");
  vonk_kit_arena_release(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_file_is_found_by_its_name),
      cmocka_unit_test(test_names_are_relative_to_the_models_own_file),
      cmocka_unit_test(test_names_may_be_written_in_several_ways),
      cmocka_unit_test(test_what_is_not_there_is_not_found),
      cmocka_unit_test(test_the_own_file_is_where_it_is_or_one_error),
      cmocka_unit_test(test_a_kept_source_needs_nothing_of_the_hosts_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
