/* Models that are folders: one that was saved again in place is not taken for the old
 * one, and a digest stands for all that is in it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>

#include "predict_fixture.h"

#define ECHO MOCK("echo")
static const char *const text = "input x f32 -1\noutput y = copy x\n";

/* A folder of the fixture with a model in it; the path is good until the next call. */
static const char *make_model(const char *name) {
  static char path[128];
  char file[64], inner[160];
  snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
  assert_int_equal(mkdir(path, 0755), 0);
  snprintf(inner, sizeof inner, "%s/variables", path);
  assert_int_equal(mkdir(inner, 0755), 0);
  snprintf(file, sizeof file, "%s/model.mock", name);
  fixture_write(file, text);
  snprintf(file, sizeof file, "%s/variables/weights", name);
  fixture_write(file, "12345");
  return path;
}

static void write_inside(const char *name, const char *file, const char *content) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", name, file);
  fixture_write(path, content);
}

/* Whether opening the folder again gives another model than before. */
static bool is_opened_anew(const char *path, vonk_model **model) {
  vonk_model *again = fixture_open(path, ECHO);
  bool is_new = again != *model;
  vonk_model_close(*model);
  *model = again;
  return is_new;
}

static void a_folder_is_one_model_until_something_in_it_changes(void **state) {
  (void)state;
  const char *path = make_model("saved");
  char slash[160], deep[160];
  snprintf(slash, sizeof slash, "%s/", path);
  snprintf(deep, sizeof deep, "%s/variables/weights", path);
  vonk_model *model = fixture_open(path, ECHO);
  assert_int_equal(vonk_model_summarize(model)->file_bytes, (int64_t)strlen(text) + 5);
  assert_string_equal(vonk_model_summarize(model)->path, path);
  assert_false(is_opened_anew(path, &model));
  assert_false(is_opened_anew(slash, &model));

  /* the same size in the same place: the folders' own times stay as they are */
  struct stat before, after;
  assert_int_equal(stat(path, &before), 0);
  const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
  assert_int_equal(utimensat(AT_FDCWD, deep, times, 0), 0);
  assert_int_equal(stat(path, &after), 0);
  assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  assert_true(is_opened_anew(path, &model));

  write_inside("saved", "variables/weights", "1234567");
  assert_true(is_opened_anew(path, &model));
  assert_int_equal(vonk_model_summarize(model)->file_bytes, (int64_t)strlen(text) + 7);
  write_inside("saved", "variables/more", "");
  assert_true(is_opened_anew(path, &model));
  snprintf(slash, sizeof slash, "%s/variables/other", path);
  assert_int_equal(rename(deep, slash), 0);
  assert_true(is_opened_anew(path, &model));
  assert_false(is_opened_anew(path, &model));
  vonk_model_close(model);
}

static void a_link_to_a_folder_is_the_folder(void **state) {
  (void)state;
  char link[160];
  const char *path = make_model("linked");
  snprintf(link, sizeof link, "%s/link", fixture_folder);
  assert_int_equal(symlink("linked", link), 0);
  vonk_model *model = fixture_open(path, ECHO);
  assert_false(is_opened_anew(link, &model));
  vonk_model_close(model);
}

static void a_file_behind_a_link_counts_as_what_it_is(void **state) {
  (void)state;
  const char *path = make_model("snapshot");
  char link[160], blob[160];
  snprintf(blob, sizeof blob, "%s/blob", fixture_folder);
  snprintf(link, sizeof link, "%s/variables/blob", path);
  fixture_write("blob", "abc");
  assert_int_equal(symlink(blob, link), 0);
  vonk_model *model = fixture_open(path, ECHO);
  assert_int_equal(vonk_model_summarize(model)->file_bytes, (int64_t)strlen(text) + 8);
  fixture_write("blob", "abcd");
  assert_true(is_opened_anew(path, &model));
  vonk_model_close(model);
}

static void a_folder_that_changes_while_it_is_opened_is_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"plugin", MOCK("touching")}};
  const char *path = make_model("touched");
  assert_fails(vonk_model_open(path, options, 1, &model, &err), &err, VONK_IO,
               "touched': the folder changed while it was being opened: open it again");
  assert_null(model);
}

static void links_in_a_circle_and_whole_disks_are_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"plugin", ECHO}};
  const char *path = make_model("circle");
  char link[160];
  snprintf(link, sizeof link, "%s/variables/up", path);
  assert_int_equal(symlink("..", link), 0);
  assert_fails(vonk_model_open(path, options, 1, &model, &err), &err, VONK_INVALID,
               "folders deep: links in a circle? Give the folder of one model");
  assert_null(model);
}

/* --- digests ------------------------------------------------------------------------ */

/* What a user would type. */
static void digest_by_hand(const char *path, char hex[65]) {
  char command[512];
  snprintf(command, sizeof command,
           "cd '%s' && find -L . -type f -printf '%%P\\n' | LC_ALL=C sort | "
           "xargs -d '\\n' sha256sum | sha256sum",
           path);
  FILE *pipe = popen(command, "r"); /* a path of our own making */
  assert_non_null(pipe);
  assert_int_equal(fread(hex, 1, 64, pipe), 64);
  hex[64] = '\0';
  pclose(pipe);
}

static void a_digest_of_a_folder_is_that_of_sha256sum(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  const char *path = make_model("digested");
  write_inside("digested", "variables.index", "a name that sorts before variables/...");
  write_inside("digested", "Z and space", "");
  write_inside("digested", "\xc3\xa9", "a name beyond ASCII");
  char expected[65], found[65];
  digest_by_hand(path, expected);
  vonk_model *model = fixture_open(path, ECHO);
  assert_ok(vonk_model_sha256(model, found, &err), &err);
  assert_string_equal(found, expected);
  vonk_model_close(model);

  char pinned[256];
  const vonk_kv options[] = {{"plugin", ECHO}};
  snprintf(pinned, sizeof pinned, "%s#sha256=%s", path, expected);
  assert_ok(vonk_model_open(pinned, options, 1, &model, &err), &err);
  vonk_model_close(model);
  write_inside("digested", "variables/weights", "54321");
  assert_fails(vonk_model_open(pinned, options, 1, &model, &err), &err, VONK_MODEL,
               "its content is not the pinned one");
}

static void a_name_that_sha256sum_would_escape_has_no_digest(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  const char *path = make_model("escaped");
  char hex[65];
  write_inside("escaped", "a\\b", "");
  vonk_model *model = fixture_open(path, ECHO);
  assert_fails(vonk_model_sha256(model, hex, &err), &err, VONK_UNSUPPORTED,
               "a line break or a backslash in its name");
  vonk_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_folder_is_one_model_until_something_in_it_changes),
      cmocka_unit_test(a_link_to_a_folder_is_the_folder),
      cmocka_unit_test(a_file_behind_a_link_counts_as_what_it_is),
      cmocka_unit_test(a_folder_that_changes_while_it_is_opened_is_refused),
      cmocka_unit_test(links_in_a_circle_and_whole_disks_are_refused),
      cmocka_unit_test(a_digest_of_a_folder_is_that_of_sha256sum),
      cmocka_unit_test(a_name_that_sha256sum_would_escape_has_no_digest),
  };
  return cmocka_run_group_tests(tests, fixture_make_folder, fixture_remove_folder);
}
