/* Files, SHA-256, clocks and the log. The digests are the examples that NIST publishes
 * for FIPS 180-4. */
#define _XOPEN_SOURCE 700

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "unit.h"

static char folder[] = "/tmp/vonk-test-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
  (void)state;
  char command[100];
  snprintf(command, sizeof(command), "rm -r '%s'", folder);
  return system(command);
}

static char *name_in_folder(const char *name) {
  static char path[200];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  return path;
}

static void write_file(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

static void test_published_digests(void **state) {
  (void)state;
  static const struct {
    const char *text, *hex;
  } vectors[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
       "klmnopqrlmnopqrsmnopqrstnopqrstu",
       "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
  };
  for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
    vonk_sha256 digest;
    char hex[65];
    vonk_sha256_start(&digest);
    vonk_sha256_update(&digest, vectors[i].text, strlen(vectors[i].text));
    vonk_sha256_finish(&digest, hex);
    assert_string_equal(hex, vectors[i].hex);
  }
}

/* The fourth example: a million times "a"; fed in pieces of every size, and from a file.
 */
static void test_digest_of_a_million(void **state) {
  (void)state;
  static const char expected[] =
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  static char text[1000000];
  memset(text, 'a', sizeof(text));
  vonk_sha256 digest;
  char hex[65];
  vonk_sha256_start(&digest);
  for (size_t at = 0, piece = 0; at < sizeof(text); piece = piece % 200 + 1) {
    size_t n = piece < sizeof(text) - at ? piece : sizeof(text) - at;
    vonk_sha256_update(&digest, text + at, n);
    at += n;
  }
  vonk_sha256_finish(&digest, hex);
  assert_string_equal(hex, expected);
  char *path = name_in_folder("million");
  write_file(path, text, sizeof(text));
  memset(hex, 0, sizeof(hex));
  assert_int_equal(vonk_sha256_file(path, hex, NULL), VONK_OK);
  assert_string_equal(hex, expected);
  write_file(path, text, (size_t)1 << 16); /* one full chunk */
  assert_int_equal(vonk_sha256_file(path, hex, NULL), VONK_OK);
  assert_string_equal(hex,
                      "bf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a");
}

static int portably(void **state) {
  (void)state;
  return vonk_sha256_choose(true);
}
static int fast_again(void **state) {
  (void)state;
  (void)vonk_sha256_choose(false);
  return 0;
}

/* Every length around the borders of blocks, at every alignment. */
static void test_both_ways_give_one_digest(void **state) {
  (void)state;
  enum { MOST = 260 };
  uint8_t bytes[MOST + 16];
  uint32_t random = 1;
  for (size_t i = 0; i < sizeof(bytes); i++) {
    random = random * 1664525 + 1013904223;
    bytes[i] = (uint8_t)(random >> 24);
  }
  for (size_t n = 0; n <= MOST; n++) {
    char hex[2][65];
    for (int way = 0; way < 2; way++) {
      vonk_sha256 digest;
      (void)vonk_sha256_choose(way == 0);
      vonk_sha256_start(&digest);
      vonk_sha256_update(&digest, bytes + n % 16, n);
      vonk_sha256_finish(&digest, hex[way]);
    }
    assert_string_equal(hex[0], hex[1]);
  }
  if (!vonk_sha256_choose(false)) {
    print_message("this processor has no instructions for SHA-256\n");
  }
}

static void test_map_is_the_whole_file(void **state) {
  (void)state;
  vonk_mapping map = {0};
  char *path = name_in_folder("mapped");
  write_file(path, "0123456789", 10);
  assert_int_equal(vonk_file_map(path, &map, NULL), VONK_OK);
  assert_int_equal(map.size, 10);
  assert_memory_equal(map.data, "0123456789", 10);
  vonk_file_unmap(&map);
  assert_null(map.data);
  vonk_file_unmap(&map); /* once more is fine */
  write_file(path, "", 0);
  assert_int_equal(vonk_file_map(path, &map, NULL), VONK_OK);
  assert_null(map.data);
  assert_int_equal(map.size, 0);
  vonk_error err = VONK_ERROR_INIT;
  assert_int_equal(vonk_file_map("/", &map, &err), VONK_IO);
  assert_non_null(strstr(err.message, "is a folder"));
}

static void test_head_reads_what_there_is(void **state) {
  (void)state;
  uint8_t head[8];
  size_t n = 99;
  char *path = name_in_folder("short");
  write_file(path, "hello", 5);
  assert_int_equal(vonk_file_head(path, head, sizeof(head), &n, NULL), VONK_OK);
  assert_int_equal(n, 5);
  assert_memory_equal(head, "hello", 5);
  assert_int_equal(vonk_file_head(path, head, 2, &n, NULL), VONK_OK);
  assert_int_equal(n, 2);
}

static void test_identity_tells_changes(void **state) {
  (void)state;
  vonk_file_id a, b, c;
  char *path = name_in_folder("identity");
  write_file(path, "1", 1);
  assert_int_equal(vonk_file_identify(path, &a, NULL), VONK_OK);
  assert_int_equal(vonk_file_identify(path, &b, NULL), VONK_OK);
  assert_int_equal(a.inode, b.inode);
  assert_int_equal(a.mtime_ns, b.mtime_ns);
  assert_int_equal(a.size, 1);
  assert_false(a.is_folder);
  write_file(path, "12", 2);
  assert_int_equal(vonk_file_identify(path, &c, NULL), VONK_OK);
  assert_int_equal(c.size, 2);
  assert_int_equal(vonk_file_identify(folder, &c, NULL), VONK_OK);
  assert_true(c.is_folder);
  assert_int_equal(c.size, 0);
}

static void test_errors_name_the_file(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  uint8_t head[4];
  size_t n = 77;
  char *out = NULL, hex[65] = "untouched";
  vonk_file_id id;
  assert_int_equal(vonk_file_head("/nowhere/x", head, 4, &n, &err), VONK_IO);
  assert_string_equal(err.message,
                      "/nowhere/x: cannot be opened: No such file or directory");
  assert_int_equal(vonk_path_resolve("/nowhere/x", &out, &err), VONK_IO);
  assert_null(out);
  assert_int_equal(vonk_file_identify("/dev/null", &id, &err), VONK_IO);
  assert_int_equal(vonk_file_head(folder, head, 4, &n, &err), VONK_IO);
  assert_non_null(strstr(err.message, "is a folder: expected a regular file"));
  assert_int_equal(vonk_sha256_file("/dev/zero", hex, &err), VONK_IO);
  assert_string_equal(hex, "untouched");
  assert_int_equal(n, 77);
  char *pipe_path = name_in_folder("pipe");
  assert_int_equal(mkfifo(pipe_path, 0600), 0);
  assert_int_equal(vonk_file_head(pipe_path, head, 4, &n, &err),
                   VONK_IO); /* and does not wait */
}

static void test_resolves_links(void **state) {
  (void)state;
  char target[200], *resolved = NULL;
  snprintf(target, sizeof(target), "%s", name_in_folder("target"));
  write_file(target, "", 0);
  char *link_path = name_in_folder("link");
  assert_int_equal(symlink("target", link_path), 0);
  assert_int_equal(vonk_path_resolve(link_path, &resolved, NULL), VONK_OK);
  assert_string_equal(resolved, target);
  vonk_delete(resolved);
}

static void test_clocks_move_forward(void **state) {
  (void)state;
  uint64_t wall = vonk_clock_ns(), cpu = vonk_clock_cpu_ns();
  volatile uint64_t sum = 0;
  while (vonk_clock_cpu_ns() - cpu < 2000000) {
    sum = sum + 1;
  }
  assert_true(vonk_clock_ns() - wall >= 1000000);
}

static struct {
  int n;
  int32_t level;
  char where[20], message[2000];
} logged;

static void keep(void *arg, int32_t level, const char *where, const char *message) {
  assert_ptr_equal(arg, &logged);
  logged.n++;
  logged.level = level;
  snprintf(logged.where, sizeof(logged.where), "%s", where);
  snprintf(logged.message, sizeof(logged.message), "%s", message);
}

static void test_log_goes_where_it_is_sent(void **state) {
  (void)state;
  vonk_log(VONK_LOG_ERROR, "test", "nobody listens");
  vonk_log_set_sink(VONK_LOG_WARNING, keep, &logged);
  vonk_log(VONK_LOG_INFO, "test", "too quiet");
  assert_int_equal(logged.n, 0);
  vonk_log(VONK_LOG_WARNING, "test", "number %d", 5);
  assert_int_equal(logged.n, 1);
  assert_int_equal(logged.level, VONK_LOG_WARNING);
  assert_string_equal(logged.where, "test");
  assert_string_equal(logged.message, "number 5");
  vonk_log_set_sink(VONK_LOG_DEBUG, NULL, NULL);
  vonk_log(VONK_LOG_ERROR, "test", "nobody listens again");
  assert_int_equal(logged.n, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_published_digests),
      cmocka_unit_test(test_digest_of_a_million),
      cmocka_unit_test_setup_teardown(test_published_digests, portably, fast_again),
      cmocka_unit_test_setup_teardown(test_digest_of_a_million, portably, fast_again),
      cmocka_unit_test(test_both_ways_give_one_digest),
      cmocka_unit_test(test_map_is_the_whole_file),
      cmocka_unit_test(test_head_reads_what_there_is),
      cmocka_unit_test(test_identity_tells_changes),
      cmocka_unit_test(test_errors_name_the_file),
      cmocka_unit_test(test_resolves_links),
      cmocka_unit_test(test_clocks_move_forward),
      cmocka_unit_test(test_log_goes_where_it_is_sent),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
