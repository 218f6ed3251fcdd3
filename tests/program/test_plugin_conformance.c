/* The conformance suite finds what is wrong with each mock, says so in one line, and has
 * nothing to say about the good ones. */
#define _XOPEN_SOURCE 700

#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/unit.h"

static char folder[] = "/tmp/vonk-test-XXXXXX";
static char model[100];

static int make_model(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) {
    return -1;
  }
  snprintf(model, sizeof(model), "%s/two.mock", folder);
  FILE *file = fopen(model, "w");
  if (file == NULL) {
    return -1;
  }
  fputs(
      "# vonk mock\ninput x f32 -1 4\ninput n i64 -1 3\ninput s string -1\n"
      "output y = copy x\noutput total = sum x\noutput m = sum n\noutput t = copy s\n",
      file);
  fclose(file);
  return setenv("VONK_CONFORMANCE_SECONDS", "60", 1);
}

static int remove_folder(void **state) {
  (void)state;
  char command[100];
  snprintf(command, sizeof(command), "rm -r '%s'", folder);
  return system(command);
}

/* Runs the program; returns its exit status, and what it wrote in text. */
static int run(const char *arguments, char *text, size_t capacity) {
  char command[1000];
  snprintf(command, sizeof(command), "'%s' plugins %s 2>&1", VONK_PROGRAM, arguments);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  size_t n = fread(text, 1, capacity - 1, pipe);
  text[n] = '\0';
  int state = pclose(pipe);
  return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

/* Expects one line that begins "FAILED " and, in it, the check's name. NULL: no such
 * line. */
static void expect_failure(const char *mock, const char *check, const char *reason) {
  char arguments[500], text[20000];
  snprintf(arguments, sizeof(arguments), "--conformance %s/mock_%s.so --model %s",
           VONK_MOCK_DIR, mock, model);
  int status = run(arguments, text, sizeof(text));
  if ((status == 0) != (check == NULL)) {
    fail_msg("%s: exit status %d:\n%s", mock, status, text);
  }
  const char *first = strstr(text, "FAILED ");
  if (check == NULL) {
    if (first != NULL || strstr(text, " 0 failed") == NULL) {
      fail_msg("%s: expected no failure, found:\n%s", mock, text);
    }
    return;
  }
  size_t size = strlen(check);
  bool named = first != NULL && strncmp(first + 8, check, size) == 0 &&
               strncmp(first + 8 + size, ": ", 2) == 0;
  if (!named || strstr(first + 1, "FAILED ") != NULL) {
    fail_msg("%s: expected '%s' alone to fail, found:\n%s", mock, check, text);
    return; /* fail_msg does not come back, which analysers do not know */
  }
  char line[1000] = "";
  snprintf(line, sizeof(line), "%.*s", (int)strcspn(first, "\n"), first);
  if (strstr(line, reason) == NULL) {
    fail_msg("%s: expected '%s' in: %s", mock, reason, line);
  }
}

static void test_good_plugins_pass(void **state) {
  (void)state;
  static const char *const good[] = {"echo",      "exclusive",   "no_prealloc",
                                     "newer_abi", "older_minor", "failing_row",
                                     "in_memory"};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    expect_failure(good[i], NULL, NULL);
  }
}

static void test_what_is_wrong_before_the_first_model(void **state) {
  (void)state;
  expect_failure("no_entry", "loading: entry function", "does not export");
  expect_failure("old_abi", "loading: entry function", "too old");
  expect_failure("future_abi", "loading: entry function", "too new");
  expect_failure("refusing", "loading: entry function", "flux capacitor");
  expect_failure("crash_load", "loading: entry function", "the process ");
  expect_failure("throwing", "loading: entry function", "the process ");
  expect_failure("newer_overrun", "loading: table", "wrote beyond");
  expect_failure("bad_table", "loading: table", "'create_session'");
  expect_failure("bad_name", "loading: table", "Mock/1");
  expect_failure("bad_options", "loading: table", "'scale'");
  expect_failure("thread_at_load", "loading: starts no thread", "after");
  expect_failure("silent", "errors of open_model", "without a message");
  expect_failure("touchy", "errors of open_model", "changes its output");
}

static void test_what_is_wrong_with_manners(void **state) {
  (void)state;
#if defined(__x86_64__)
  expect_failure("fast_math", "leaves floating-point mode", "after loading");
#endif
  expect_failure("rounding", "leaves floating-point mode", "after running a model");
  expect_failure("signals", "leaves signal handlers", "signal 2 ");
  expect_failure("locale", "leaves locale and folder", "locale was 'C'");
  expect_failure("noisy", "prints nothing", "mock: hello");
  expect_failure("forking", "starts no process", "forked 1 times");
  expect_failure("litter", "writes no file", "two.mock.cache");
  expect_failure("leaky", "memory: 200 models", "were kept");
}

static void test_what_is_wrong_with_runs(void **state) {
  (void)state;
  expect_failure("wrong_dtype", "run: results as described", "dtype 3, described as 8");
  expect_failure("watcher", "run: requests to stop", "goes on after the run");
  expect_failure("random", "run: same input, same output", "in the second run");
  expect_failure("racy", "run: several threads", "");
  expect_failure("own_place", "run: outputs where the host says", "elsewhere");
  expect_failure("any_place", "run: place of a wrong shape", "a row too many");
  expect_failure("all_wanted", "run: outputs not wanted", "the process ");
  expect_failure("aligned", "run: unaligned inputs", "not aligned");
  expect_failure("scribble", "run: inputs only read", "the process ");
  expect_failure("overread", "run: inputs only read", "the process ");
  expect_failure("short_lived", "outputs outlive their session", "after its session");
  expect_failure("aliasing", "outputs are not the inputs", "after the host wrote");
}

static void test_what_is_wrong_with_models(void **state) {
  (void)state;
  expect_failure("any_value", "options: values that are wrong", "option scale=''");
  expect_failure("trusting", "models: cut off", "the process ");
  expect_failure("last_one", "models: the same one twice", "were closed");
  expect_failure("one_model", "models: opened while one runs", "byte 0 of");
}

static void test_what_is_wrong_with_models_in_memory(void **state) {
  (void)state;
  expect_failure("by_path", "files: as by path", "cannot be opened");
  expect_failure("forgetful", "files: as by path", "by path and in memory");
  expect_failure("table_keeper", "files: as by path", "the process ");
  expect_failure("marking", "files: only read", "the process ");
#ifndef __SANITIZE_ADDRESS__ /* which finds it in other checks, too */
  expect_failure("beyond", "files: only read", "the process ");
#endif
  expect_failure("mute", "files: errors", "without a message");
  expect_failure("credulous", "files: cut off or missing", "the process ");
  expect_failure("open_ended", "files: 200 models", "180 files were left open");
  expect_failure("one_at_a_time", "files: several threads", "one of several models");
}

/* An option without which the model cannot be opened reaches every check. */
static void test_options_are_passed_on(void **state) {
  (void)state;
  char arguments[500], text[20000];
  snprintf(arguments, sizeof(arguments),
           "--conformance %s/mock_needs_option.so --model %s", VONK_MOCK_DIR, model);
  assert_int_not_equal(run(arguments, text, sizeof(text)), 0);
  assert_non_null(strstr(text, "open_model: option 'scale': is missing"));
  strcat(arguments, " --option scale=2");
  if (run(arguments, text, sizeof(text)) != 0) {
    fail_msg("with the option:\n%s", text);
  }
  assert_int_equal(run("--option scale=2", text, sizeof(text)), 2);
  assert_non_null(strstr(text, "--option: only goes with --conformance"));
}

static void test_what_never_ends_is_ended(void **state) {
  (void)state;
  setenv("VONK_CONFORMANCE_SECONDS", "2", 1);
  expect_failure("endless", "errors of open_model", "did not end within 2 s");
  setenv("VONK_CONFORMANCE_SECONDS", "60", 1);
}

static void test_the_example_passes(void **state) {
  (void)state;
  char text[20000];
  int status = run("--conformance " VONK_MOCK_DIR
                   "/../examples/vonk_linear.so "
                   "--model " VONK_EXAMPLES_DIR "/plugin/iris.linear",
                   text, sizeof(text));
  if (status != 0 || strstr(text, "34 ok, 0 failed, 1 skipped") == NULL) {
    fail_msg("exit status %d:\n%s", status, text);
  }
}

#ifdef VONK_TEST_ONNXRUNTIME
static void test_the_onnx_plugin_passes(void **state) {
  (void)state;
  static const char *const models[] = {
      "mlp",   "constant_output", "two_sided",      "gather",
      "chain", "identity_f16",    "identity_string"};
  for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
    char arguments[1000], text[20000];
    snprintf(arguments, sizeof(arguments),
             "--conformance %s/vonk_onnx.so --model %s/onnx/%s.onnx", VONK_PLUGIN_DIR,
             VONK_TEST_DATA, models[i]);
    int status = run(arguments, text, sizeof(text));
    if (status != 0 || strstr(text, "ok      run: several threads") == NULL) {
      fail_msg("%s: exit status %d:\n%s", models[i], status, text);
    }
  }
}
#endif

/* Loading must happen in a child: the crash is reported and the next plug-in is looked
 * at. */
static void test_probe_survives_a_crash(void **state) {
  (void)state;
  char path[200], text[4000];
  snprintf(path, sizeof(path), "%s/vonk_crash.so", folder);
  assert_int_equal(symlink(VONK_MOCK_DIR "/mock_crash_load.so", path), 0);
  snprintf(path, sizeof(path), "%s/vonk_mock.so", folder);
  assert_int_equal(symlink(VONK_MOCK_DIR "/mock_echo.so", path), 0);
  setenv("VONK_PLUGIN_PATH", folder, 1);
  int status = run("--probe", text, sizeof(text));
  unsetenv("VONK_PLUGIN_PATH");
  assert_int_not_equal(status, 0);
  if (strstr(text, "vonk_crash.so: cannot be loaded: the process ") == NULL ||
      strstr(text, "vonk_mock.so: can be loaded\n") == NULL) {
    fail_msg("exit status %d:\n%s", status, text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good_plugins_pass),
      cmocka_unit_test(test_what_is_wrong_before_the_first_model),
      cmocka_unit_test(test_what_is_wrong_with_manners),
      cmocka_unit_test(test_what_is_wrong_with_runs),
      cmocka_unit_test(test_what_is_wrong_with_models),
      cmocka_unit_test(test_what_is_wrong_with_models_in_memory),
      cmocka_unit_test(test_options_are_passed_on),
      cmocka_unit_test(test_what_never_ends_is_ended),
      cmocka_unit_test(test_the_example_passes),
#ifdef VONK_TEST_ONNXRUNTIME
      cmocka_unit_test(test_the_onnx_plugin_passes),
#endif
      cmocka_unit_test(test_probe_survives_a_crash),
  };
  return cmocka_run_group_tests(tests, make_model, remove_folder);
}
