/* Loading: what is taken, what is refused and in which words, and what it leaves behind.
 */
#define _POSIX_C_SOURCE 200809L

#include <fenv.h>
#include <float.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "plugin/plugin.h"
#include "unit.h"

#define MOCK(name) VONK_MOCK_DIR "/mock_" name ".so"

/* Loads the mock and compares the whole message, which begins with its path. */
static void expect_refusal(const char *path, vonk_status status, const char *message) {
  char expected[1200];
  snprintf(expected, sizeof(expected), "%s: %s", path, message);
  for (int i = 0; i < 2; i++) { /* a failure is remembered */
    vonk_error err = VONK_ERROR_INIT;
    const vonk_plugin *plugin = NULL;
    assert_int_equal(vonk_plugin_find(path, &plugin, &err), status);
    assert_string_equal(err.message, expected);
    assert_int_equal(err.code, status);
    assert_null(plugin);
  }
}

static void test_says_why_a_plugin_is_refused(void **state) {
  (void)state;
  expect_refusal(
      MOCK("no_entry"), VONK_ABI,
      "does not export 'vonk_plugin_init_v1': it is a shared library, but no vonk "
      "plug-in");
  expect_refusal(
      MOCK("old_abi"), VONK_ABI,
      "exports 'vonk_plugin_init_v0', but this vonk looks for "
      "'vonk_plugin_init_v1': the plug-in is too old: get one for this version of "
      "vonk");
  expect_refusal(
      MOCK("future_abi"), VONK_ABI,
      "exports 'vonk_plugin_init_v2', but this vonk looks for "
      "'vonk_plugin_init_v1': the plug-in is too new: update vonk, or get an older "
      "one");
  expect_refusal(MOCK("bad_table"), VONK_ABI,
                 "function 'create_session' is missing from its table");
  expect_refusal(MOCK("bad_name"), VONK_ABI,
                 "its name is 'Mock/1': expected one of a-z, 0-9 and _");
  expect_refusal(MOCK("bad_options"), VONK_ABI, "option 'scale' has no line of help");
  expect_refusal(MOCK("refusing"), VONK_UNSUPPORTED,
                 "cannot work here: this processor has no flux capacitor: buy one");
  char overrun[200];
  snprintf(
      overrun, sizeof(overrun),
      "wrote beyond the %zu bytes of the table it was given: it is made for a newer vonk "
      "and does not look at struct_size",
      sizeof(vonk_plugin_v1));
  expect_refusal(MOCK("newer_overrun"), VONK_ABI, overrun);
  expect_refusal("/nowhere/plugin.so", VONK_IO,
                 "cannot be found: No such file or directory");
  expect_refusal("/tmp", VONK_IO, "is a folder: expected a plug-in's file");
}

static void test_says_what_is_no_library(void **state) {
  (void)state;
  char path[] = "/tmp/vonk-test-XXXXXX";
  int file = mkstemp(path);
  assert_int_equal(write(file, "no library", 10), 10);
  close(file);
  vonk_error err = VONK_ERROR_INIT;
  const vonk_plugin *plugin = NULL;
  assert_int_equal(vonk_plugin_find(path, &plugin, &err), VONK_ABI);
  assert_non_null(strstr(err.message, ": cannot be loaded: "));
  assert_memory_equal(err.message, path, strlen(path));
  unlink(path);
}

static void test_refuses_names_that_depend_on_the_folder(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  const vonk_plugin *plugin = NULL;
  assert_int_equal(vonk_plugin_find("./mock.so", &plugin, &err), VONK_INVALID);
  assert_string_equal(
      err.message,
      "plug-in './mock.so': is a relative path, which would depend on the "
      "current folder: give an absolute path, or a name");
  assert_int_equal(vonk_plugin_find("", &plugin, &err), VONK_INVALID);
  assert_int_equal(vonk_plugin_find("ONNX", &plugin, &err), VONK_INVALID);
  assert_int_equal(vonk_plugin_find("..", &plugin, &err), VONK_INVALID);
}

static void test_loads_each_file_once(void **state) {
  (void)state;
  const vonk_plugin *a = NULL, *b = NULL;
  char link_path[] = "/tmp/vonk-test-XXXXXX";
  assert_int_equal(vonk_plugin_find(MOCK("echo"), &a, NULL), VONK_OK);
  int file = mkstemp(link_path);
  close(file);
  unlink(link_path);
  assert_int_equal(symlink(MOCK("echo"), link_path), 0);
  assert_int_equal(vonk_plugin_find(link_path, &b, NULL), VONK_OK);
  unlink(link_path);
  assert_ptr_equal(a, b);
  assert_string_equal(a->api.name, "mock");
}

static void *load_echo(void *arg) {
  const vonk_plugin *plugin = NULL;
  if (vonk_plugin_find(arg, &plugin, NULL) != VONK_OK) {
    plugin = NULL;
  }
  return (void *)(uintptr_t)plugin;
}

static void test_threads_get_the_same_plugin(void **state) {
  (void)state;
  static char path[] = MOCK("no_prealloc");
  pthread_t threads[8];
  const void *plugins[8];
  for (int i = 0; i < 8; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, load_echo, path), 0);
  }
  for (int i = 0; i < 8; i++) {
    void *result = NULL;
    pthread_join(threads[i], &result);
    plugins[i] = result;
    assert_non_null(plugins[i]);
    assert_ptr_equal(plugins[i], plugins[0]);
  }
}

static void test_fills_in_what_is_optional(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  assert_int_equal(vonk_plugin_find(MOCK("older_minor"), &plugin, NULL), VONK_OK);
  vonk_device device = {77, 77};
  uint32_t n = 0;
  assert_int_equal(plugin->api.devices(&device, 1, &n, NULL), VONK_OK);
  assert_int_equal(n, 1);
  assert_int_equal(device.kind, VONK_DEVICE_CPU);
  assert_int_equal(device.index, 0);
  plugin->api.shutdown();
}

static void test_takes_a_newer_minor_version(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  vonk_error err = VONK_ERROR_INIT;
  assert_int_equal(vonk_plugin_find(MOCK("newer_abi"), &plugin, &err), VONK_OK);
  assert_int_equal(plugin->api.abi_minor, 99);
  assert_int_equal(plugin->api.struct_size, sizeof(vonk_plugin_v1));
}

static char warning[1024];
static void keep(void *arg, int32_t level, const char *where, const char *message) {
  (void)arg, (void)level, (void)where;
  snprintf(warning, sizeof(warning), "%s", message);
}

static void test_puts_the_floating_point_mode_back(void **state) {
  (void)state;
  const vonk_plugin *plugin = NULL;
  volatile float smallest = FLT_MIN, half = 0.5F;
  fesetround(FE_UPWARD);
  vonk_set_log(VONK_LOG_WARNING, keep, NULL);
  assert_int_equal(vonk_plugin_find(MOCK("fast_math"), &plugin, NULL), VONK_OK);
  vonk_set_log(0, NULL, NULL);
  int rounding = fegetround();
  fesetround(FE_TONEAREST);
  assert_int_equal(rounding, FE_UPWARD);
  volatile float result = smallest * half;
  assert_true(result > 0.0F);
#if defined(__x86_64__)
  assert_string_equal(warning, MOCK("fast_math") ": loading it changed the floating-point mode of "
                      "the thread, which was put back: build it, and the libraries it links, "
                      "without -ffast-math");
#endif
}

static void test_out_of_memory_is_not_remembered(void **state) {
  (void)state;
  for (int64_t n = 1; n < 20; n++) {
    const vonk_plugin *plugin = NULL;
    vonk_error err = VONK_ERROR_INIT;
    (void)vonk_memory_fail_at(n);
    vonk_status status = vonk_plugin_find(MOCK("slow"), &plugin, &err);
    (void)vonk_memory_fail_at(0);
    if (status == VONK_OK) {
      assert_true(n > 1);
      return;
    }
    assert_int_equal(status, VONK_NOMEM);
    assert_null(plugin);
  }
  fail_msg("never came to the end");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_says_why_a_plugin_is_refused),
      cmocka_unit_test(test_says_what_is_no_library),
      cmocka_unit_test(test_refuses_names_that_depend_on_the_folder),
      cmocka_unit_test(test_loads_each_file_once),
      cmocka_unit_test(test_threads_get_the_same_plugin),
      cmocka_unit_test(test_fills_in_what_is_optional),
      cmocka_unit_test(test_takes_a_newer_minor_version),
      cmocka_unit_test(test_puts_the_floating_point_mode_back),
      cmocka_unit_test(test_out_of_memory_is_not_remembered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
