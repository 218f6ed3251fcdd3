/* Where a framework's library is: what the program says, before what set-up recorded, and
 * the same for every copy of vonk in the process. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin/plugin.h"
#include "unit.h"

static char conf[64];

static int write_conf(void **state) {
  (void)state;
  strcpy(conf, "/tmp/vonk-paths-XXXXXX");
  int file = mkstemp(conf);
  const char text[] = "torch = /recorded/libtorch_cpu.so\nonnxruntime=/recorded/ort.so\n";
  if (file < 0 || write(file, text, strlen(text)) < 0 || close(file) != 0) {
    return 1;
  }
  return setenv("VONK_PATHS_CONF", conf, 1);
}

static int remove_conf(void **state) {
  (void)state;
  return unlink(conf);
}

/* What a plug-in is told. */
static const char *config(const char *key) {
  const vonk_host *host = vonk_host_get();
  return host->config(host->ctx, key);
}

static void what_the_program_says_comes_before_the_record(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  assert_string_equal(config("torch"), "/recorded/libtorch_cpu.so");
  assert_int_equal(vonk_set_framework("torch", "/mine/libtorch_cpu.so", &err), VONK_OK);
  const char *first = config("torch");
  assert_string_equal(first, "/mine/libtorch_cpu.so");
  assert_string_equal(config("onnxruntime"), "/recorded/ort.so");
  assert_null(config("tensorflow"));
  assert_int_equal(vonk_set_framework("torch", "/other/libtorch_cpu.so", &err), VONK_OK);
  assert_string_equal(config("torch"), "/other/libtorch_cpu.so");
  assert_string_equal(first, "/mine/libtorch_cpu.so"); /* answers live for ever */
  assert_int_equal(vonk_set_framework("torch", NULL, &err), VONK_OK);
  assert_string_equal(config("torch"), "/recorded/libtorch_cpu.so");
  assert_null(vonk_get_framework("torch"));
}

static void what_is_no_absolute_path_is_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  assert_int_equal(vonk_set_framework("torch", "libtorch_cpu.so", &err), VONK_INVALID);
  assert_string_equal(
      err.message,
      "framework torch: 'libtorch_cpu.so' is not an absolute path: give one");
  assert_int_equal(vonk_set_framework("", "/x", &err), VONK_INVALID);
  assert_int_equal(vonk_set_framework(NULL, "/x", NULL), VONK_INVALID);
  assert_null(vonk_get_framework(NULL));
  assert_null(vonk_get_framework("torch"));
}

static void without_memory_nothing_changes(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  assert_int_equal(vonk_set_framework("a", "/before", &err), VONK_OK);
  for (int64_t n = 1; n <= 3; n++) {
    vonk_memory_fail_at(n);
    assert_int_equal(vonk_set_framework("a", "/after", &err), VONK_NOMEM);
    assert_string_equal(vonk_get_framework("a"), "/before");
  }
  vonk_memory_fail_at(0);
}

enum { THREADS = 4, ROUNDS = 200 };

static void *set_and_get(void *arg) {
  const char *path = arg;
  for (int i = 0; i < ROUNDS; i++) {
    if (vonk_set_framework("b", path, NULL) != VONK_OK) {
      return arg;
    }
    const char *found = config("b");
    if (found == NULL || strncmp(found, "/thread/", 8) != 0) {
      return arg;
    }
  }
  return NULL;
}

static void any_thread_may_set_and_ask(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  char paths[THREADS][32];
  for (int i = 0; i < THREADS; i++) {
    snprintf(paths[i], sizeof paths[i], "/thread/%d", i);
    assert_int_equal(pthread_create(&threads[i], NULL, set_and_get, paths[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    void *failed = NULL;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
}

/* This program is a copy of vonk itself, as the DuckDB extension is one. */
static void what_libvonk_was_told_holds_for_every_copy(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  void *library = dlopen(VONK_PLUGIN_DIR "/../../libvonk.so", RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  void *symbol = dlsym(library, "vonk_set_framework");
  assert_non_null(symbol);
  vonk_status (*set)(const char *, const char *, vonk_error *);
  memcpy(&set, &symbol, sizeof set);
  assert_string_equal(config("onnxruntime"), "/recorded/ort.so");
  assert_int_equal(set("onnxruntime", "/python/ort.so", &err), VONK_OK);
  assert_string_equal(config("onnxruntime"), "/python/ort.so");
  assert_null(vonk_get_framework("onnxruntime"));
  assert_int_equal(vonk_set_framework("onnxruntime", "/ours/ort.so", &err), VONK_OK);
  assert_string_equal(config("onnxruntime"), "/ours/ort.so");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_program_says_comes_before_the_record),
      cmocka_unit_test(what_is_no_absolute_path_is_refused),
      cmocka_unit_test(without_memory_nothing_changes),
      cmocka_unit_test(any_thread_may_set_and_ask),
      cmocka_unit_test(what_libvonk_was_told_holds_for_every_copy),
  };
  return cmocka_run_group_tests(tests, write_conf, remove_conf);
}
