/* Where plug-ins are found, which places are refused, and what paths.conf says. */
#define _XOPEN_SOURCE 700

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/internal.h"
#include "unit.h"

static char root[] = "/tmp/vonk-test-XXXXXX";
static char good[200], other[200], open_to_all[200];

static void make_link(const char *folder, const char *mock, const char *name) {
  char target[1000], path[1000];
  snprintf(target, sizeof(target), "%s/mock_%s.so", VONK_MOCK_DIR, mock);
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  assert_int_equal(symlink(target, path), 0);
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  fclose(file);
}

static int make_folders(void **state) {
  (void)state;
  static char conf[250];
  if (mkdtemp(root) == NULL) {
    return -1;
  }
  snprintf(good, sizeof(good), "%s/good", root);
  snprintf(other, sizeof(other), "%s/other", root);
  snprintf(open_to_all, sizeof(open_to_all), "%s/open", root);
  mkdir(good, 0755);
  mkdir(other, 0755);
  mkdir(open_to_all, 0755);
  chmod(open_to_all, 0777);
  make_link(good, "echo", "vonk_mock.so");
  make_link(good, "bad_table", "vonk_bad.so");
  make_link(good, "slow", "other_name.so");
  make_link(good, "slow", "vonk_renamed.so");
  make_link(other, "exclusive", "vonk_mock.so");
  make_link(open_to_all, "slow", "vonk_slow.so");
  snprintf(conf, sizeof(conf), "%s/paths.conf", root);
  write_text(conf,
             "# comment\nonnxruntime = /opt/lib.so \n\nbad line\nempty=\n=no key\n"
             "duckdb=/opt/a=b.so\r\nonnxruntime=/second\nlast=1");
  setenv("VONK_PATHS_CONF", conf, 1);
  return 0;
}

static int remove_folders(void **state) {
  (void)state;
  char command[100];
  snprintf(command, sizeof(command), "rm -r '%s'", root);
  return system(command);
}

static void set_path(const char *first, const char *second) {
  char list[1000];
  snprintf(list, sizeof(list), "%s:%s", first, second);
  setenv("VONK_PLUGIN_PATH", list, 1);
}

static void test_finds_by_name_in_the_first_folder(void **state) {
  (void)state;
  const vonk_plugin *first = NULL, *second = NULL;
  set_path(good, other);
  assert_int_equal(vonk_plugin_find("mock", &first, NULL), VONK_OK);
  assert_non_null(strstr(first->path, "mock_echo.so"));
  set_path(other, good);
  assert_int_equal(vonk_plugin_find("mock", &second, NULL), VONK_OK);
  assert_non_null(strstr(second->path, "mock_exclusive.so"));
}

static void test_name_and_file_must_agree(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  vonk_error err = VONK_ERROR_INIT;
  set_path(good, other);
  assert_int_equal(vonk_plugin_find("renamed", &plugin, &err), VONK_ABI);
  assert_non_null(strstr(err.message, "calls itself 'mock': expected 'renamed'"));
}

static void test_names_every_place_it_looked_in(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  vonk_error err = VONK_ERROR_INIT;
  char expected[600];
  set_path("relative/folder", open_to_all);
  assert_int_equal(vonk_plugin_find("slow", &plugin, &err), VONK_UNSUPPORTED);
  snprintf(
      expected, sizeof(expected),
      "plug-in 'slow': no file 'vonk_slow.so' in any of these places: relative/folder "
      "(refused: not an absolute path), %s (refused: everyone may write to it, ",
      open_to_all);
  assert_memory_equal(err.message, expected, strlen(expected));
  assert_non_null(strstr(err.message, "vonk/plugins (not there)"));
}

static void test_never_looks_in_the_current_folder(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  char before[1000];
  assert_non_null(getcwd(before, sizeof(before)));
  assert_int_equal(chdir(good), 0);
  unsetenv("VONK_PLUGIN_PATH");
  assert_int_equal(vonk_plugin_find("mock", &plugin, NULL), VONK_UNSUPPORTED);
  setenv("VONK_PLUGIN_PATH", ":.:", 1);
  assert_int_equal(vonk_plugin_find("mock", &plugin, NULL), VONK_UNSUPPORTED);
  assert_int_equal(chdir(before), 0);
}

static void test_refuses_a_file_that_everyone_may_change(void **state) {
  (void)state;
  char path[300];
  const vonk_plugin *plugin = NULL;
  vonk_error err = VONK_ERROR_INIT;
  snprintf(path, sizeof(path), "%s/loose.so", root);
  write_text(path, "x");
  chmod(path, 0666);
  assert_int_equal(vonk_plugin_find(path, &plugin, &err), VONK_UNSUPPORTED);
  assert_non_null(strstr(err.message, "not loaded: everyone may write to it"));
}

typedef struct visits {
  int n, n_good, n_hidden, n_bad, n_refused, stop_after;
} visits;

static int look(void *arg, const vonk_plugin_summary *s) {
  visits *v = arg;
  v->n++;
  v->n_good += s->error == NULL && strcmp(s->name, "mock") == 0;
  v->n_hidden += s->error != NULL && strstr(s->error, "hidden by ") == s->error;
  v->n_bad += s->error != NULL && strstr(s->error, "'create_session' is missing") != NULL;
  v->n_refused += s->error != NULL && strstr(s->error, "refused: ") == s->error;
  assert_non_null(s->path);
  assert_non_null(s->formats);
  assert_non_null(s->options);
  return v->n == v->stop_after;
}

static void test_visits_all_and_says_what_is_wrong(void **state) {
  (void)state;
  char list[1000];
  visits v = {0};
  snprintf(list, sizeof(list), "%s:%s:%s:%s", good, other, open_to_all, good);
  setenv("VONK_PLUGIN_PATH", list, 1);
  assert_int_equal(vonk_plugins_visit(look, &v, NULL), VONK_OK);
  assert_int_equal(v.n_good, 2); /* vonk_mock.so and vonk_renamed.so */
  assert_int_equal(v.n_bad, 1);
  assert_int_equal(v.n_hidden, 1);
  assert_int_equal(v.n_refused, 1);
  visits once = {.stop_after = 1};
  assert_int_equal(vonk_plugins_visit(look, &once, NULL), VONK_OK);
  assert_int_equal(once.n, 1);
  assert_int_equal(vonk_plugins_visit(NULL, NULL, NULL), VONK_INVALID);
}

static bool count_file(void *arg, const char *path) {
  assert_int_equal(path[0], '/');
  ++*(int *)arg;
  return true;
}

static void test_lists_files_without_loading(void **state) {
  (void)state;
  int n = 0;
  set_path(good, other);
  assert_int_equal(vonk_plugin_files(count_file, &n, NULL), VONK_OK);
  assert_int_equal(n, 4);
}

static void test_finds_the_plugin_for_a_model(void **state) {
  (void)state;
  char model[300], unknown[300];
  const vonk_plugin *plugin = NULL;
  vonk_error err = VONK_ERROR_INIT;
  snprintf(model, sizeof(model), "%s/a.mock", root);
  snprintf(unknown, sizeof(unknown), "%s/a.txt", root);
  write_text(model, "input x f32 -1\noutput y = copy x\n");
  write_text(unknown, "hello");
  set_path(other, good);
  assert_int_equal(vonk_plugin_for_model(model, &plugin, &err), VONK_OK);
  assert_non_null(strstr(plugin->path, "mock_exclusive.so"));
  assert_int_equal(vonk_plugin_for_model(unknown, &plugin, &err), VONK_UNSUPPORTED);
  char expected[600];
  snprintf(
      expected, sizeof(expected),
      "%s: no plug-in recognises it; installed: mock (mock), mock (mock); not usable: ",
      unknown);
  assert_memory_equal(err.message, expected, strlen(expected));
  assert_non_null(strstr(err.message, "'create_session' is missing"));
  assert_int_equal(vonk_plugin_for_model("/nowhere/x", &plugin, &err), VONK_IO);
}

static void test_runtime_tells_version_and_path(void **state) {
  (void)state;
  const char *version = NULL, *path = NULL;
  vonk_error err = VONK_ERROR_INIT;
  set_path(good, other);
  assert_int_equal(vonk_plugin_runtime("mock", &version, &path, &err), VONK_OK);
  assert_string_equal(version, "1.0");
  assert_int_equal(vonk_plugin_runtime("nothing", &version, &path, &err),
                   VONK_UNSUPPORTED);
  assert_string_equal(version, "1.0");
  assert_int_equal(vonk_plugin_runtime(NULL, &version, &path, &err), VONK_INVALID);
}

static void test_out_of_memory_everywhere(void **state) {
  (void)state;
  char model[300];
  snprintf(model, sizeof(model), "%s/b.mock", root);
  write_text(model, "input x f32 -1\noutput y = copy x\n");
  set_path(good, other);
  for (int64_t n = 1;; n++) {
    const vonk_plugin *plugin = NULL;
    vonk_error err = VONK_ERROR_INIT;
    int64_t before = vonk_memory_fail_at(n);
    vonk_status status = vonk_plugin_for_model(model, &plugin, &err);
    int64_t made = vonk_memory_fail_at(0) - before;
    if (made < n) {
      assert_int_equal(status, VONK_OK);
      assert_true(n > 5);
      return;
    }
    assert_int_equal(status, VONK_NOMEM);
    assert_null(plugin);
  }
}

static void test_paths_conf(void **state) {
  (void)state;
  const vonk_host *host = vonk_host_get();
  assert_string_equal(host->config(host->ctx, "onnxruntime"), "/opt/lib.so");
  assert_string_equal(host->config(host->ctx, "duckdb"), "/opt/a=b.so");
  assert_string_equal(host->config(host->ctx, "last"), "1");
  assert_null(host->config(host->ctx, "empty"));
  assert_null(host->config(host->ctx, ""));
  assert_null(host->config(host->ctx, "bad line"));
  assert_null(host->config(host->ctx, "# comment"));
  assert_null(host->config(host->ctx, NULL));
  char text[] = "a=1\nb=2\nc=3\n";
  vonk_path_entry entries[2];
  assert_int_equal(vonk_paths_parse(text, entries, 2), 2);
  assert_string_equal(entries[1].value, "2");
}

static void test_host_gives_aligned_memory(void **state) {
  (void)state;
  const vonk_host *host = vonk_host_get();
  for (size_t align = 1; align <= 4096; align *= 2) {
    void *pointer = host->alloc(host->ctx, 10, align);
    assert_non_null(pointer);
    assert_int_equal((uintptr_t)pointer % align, 0);
    host->free(host->ctx, pointer);
  }
  assert_null(host->alloc(host->ctx, 10, 24));
  void *empty = host->alloc(host->ctx, 0, 0);
  assert_non_null(empty);
  host->free(host->ctx, empty);
  host->free(host->ctx, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_finds_by_name_in_the_first_folder),
      cmocka_unit_test(test_name_and_file_must_agree),
      cmocka_unit_test(test_names_every_place_it_looked_in),
      cmocka_unit_test(test_never_looks_in_the_current_folder),
      cmocka_unit_test(test_refuses_a_file_that_everyone_may_change),
      cmocka_unit_test(test_visits_all_and_says_what_is_wrong),
      cmocka_unit_test(test_lists_files_without_loading),
      cmocka_unit_test(test_finds_the_plugin_for_a_model),
      cmocka_unit_test(test_runtime_tells_version_and_path),
      cmocka_unit_test(test_out_of_memory_everywhere),
      cmocka_unit_test(test_paths_conf),
      cmocka_unit_test(test_host_gives_aligned_memory),
  };
  return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
