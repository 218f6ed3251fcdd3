/* Which copy of a framework is loaded: the one that is there, whoever loaded it and as
 * little of it as there may be; and never a second one.
 *
 * The libraries are tests/kit/fake/framework.c in several folders: first/ and second/
 * hold a whole copy, part/ a part without the rest, other/ a library that is something
 * else, renamed/ a copy whose file has another name. What is loaded stays loaded, so each
 * case is a child process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/kit.h"
#include "unit/unit.h"

#define FOLDER VONK_FAKE_DIR "/"
#define SONAME "libvonk_fake.so.1"

static const char *const family[] = {"libvonk_fake", NULL};
static const kit_framework fake = {
    .name = "Fake",
    .soname = SONAME,
    .variable = "VONK_FAKE_LIBRARY",
    .config_key = "fake",
    .symbol = "fake_framework_copy",
    .hint = "THE HINT",
    .family = family,
};

/* --- the host ------------------------------------------------------------------------ */

static const char *recorded;

static const char *config(void *ctx, const char *key) {
  (void)ctx;
  return strcmp(key, "fake") == 0 ? recorded : NULL;
}

static const vonk_host host = {.struct_size = sizeof host, .config = config};

/* --- one case, in a child ------------------------------------------------------------ */

enum { MOST_LOADED = 2 };

typedef struct library_case {
  const char *loaded[MOST_LOADED]; /* by the process, before */
  const char *variable;            /* NULL = not set */
  const char *recorded;            /* NULL = nothing */
} library_case;

/* What the child found. */
typedef struct library_result {
  vonk_status status;
  int32_t copy;
  char path[512];
  char message[1024];
} library_result;

static void load(const library_case *c, library_result *out) {
  for (int i = 0; i < MOST_LOADED && c->loaded[i] != NULL; ++i) {
    if (dlopen(c->loaded[i], RTLD_NOW | RTLD_LOCAL) == NULL) {
      snprintf(out->message, sizeof out->message, "the test: %s", dlerror());
      out->status = -1;
      return;
    }
  }
  if (c->variable != NULL) {
    setenv(fake.variable, c->variable, 1);
  } else {
    unsetenv(fake.variable);
  }
  recorded = c->recorded;
  vonk_kit_set_host(&host);
  void *library = NULL;
  const char *path = NULL;
  vonk_error err = {.struct_size = sizeof err};
  out->status = vonk_kit_framework_load(&fake, &library, &path, &err);
  snprintf(out->message, sizeof out->message, "%s", err.message);
  if (out->status == VONK_OK) {
    void *symbol = dlsym(library, fake.symbol);
    int (*copy)(void);
    memcpy(&copy, &symbol, sizeof symbol);
    out->copy = copy();
    snprintf(out->path, sizeof out->path, "%s", path);
  } else if (library != NULL || path != NULL) {
    out->status = -2; /* outputs are untouched on failure */
  }
}

/* Ends the test if the child dies, as it does from a second copy. */
static library_result load_in_child(library_case c) {
  library_result *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    fail_msg("no memory to share with a child");
    return (library_result){0};
  }
  pid_t child = fork();
  if (child == 0) {
    signal(SIGABRT, SIG_DFL); /* cmocka catches it */
    load(&c, shared);
    _exit(0);
  }
  int state = 0;
  assert_int_equal(waitpid(child, &state, 0), child);
  library_result result = *shared;
  munmap(shared, sizeof *shared);
  if (state != 0) {
    fail_msg("the process was ended, wait status %d", state);
  }
  return result;
}

static void assert_loads(library_case c, int32_t copy, const char *path) {
  library_result result = load_in_child(c);
  assert_string_equal(result.message, "");
  assert_int_equal(result.status, VONK_OK);
  assert_int_equal(result.copy, copy);
  char *real = realpath(path, NULL);
  assert_non_null(real);
  assert_string_equal(result.path, real);
  free(real);
}

static void assert_refuses(library_case c, const char *const *parts) {
  library_result result = load_in_child(c);
  assert_int_equal(result.status, VONK_UNSUPPORTED);
  for (; *parts != NULL; ++parts) {
    if (strstr(result.message, *parts) == NULL) {
      fail_msg("no '%s' in: %s", *parts, result.message);
    }
  }
}

/* assert_refuses(SETTING(...), SAYING(...)) */
#define SETTING(...) ((library_case){__VA_ARGS__})
#define SAYING(...) ((const char *const[]){__VA_ARGS__, NULL})

#define FIRST FOLDER "first/" SONAME
#define SECOND FOLDER "second/" SONAME
#define RENAMED FOLDER "renamed/libvonk_fake-0a1b.so.1"
#define FIRST_PART FOLDER "first/libvonk_fake_part.so"
#define LONE_PART FOLDER "part/libvonk_fake_part.so"
#define OTHER FOLDER "other/libvonk_other.so"

/* --- tests --------------------------------------------------------------------------- */

static void test_the_variable_goes_before_what_setup_recorded(void **state) {
  (void)state;
  assert_loads((library_case){.variable = SECOND, .recorded = FIRST}, 2, SECOND);
  assert_loads((library_case){.variable = "", .recorded = FIRST}, 1, FIRST);
  assert_loads((library_case){.recorded = FIRST}, 1, FIRST);
}

static void test_a_copy_that_is_loaded_is_used_whatever_is_configured(void **state) {
  (void)state;
  library_case c = {.loaded = {SECOND}, .variable = FIRST, .recorded = FIRST};
  assert_loads(c, 2, SECOND);
  c.loaded[0] = RENAMED; /* known by its SONAME */
  assert_loads(c, 3, RENAMED);
  c = (library_case){.loaded = {FIRST}, .variable = "/nothing/here", .recorded = NULL};
  assert_loads(c, 1, FIRST);
  c = (library_case){.loaded = {LONE_PART, FIRST}, .variable = SECOND};
  assert_loads(c, 1, FIRST);
}

static void test_beside_a_loaded_part_is_the_only_copy_that_may_be_loaded(void **state) {
  (void)state;
  library_case c = {.loaded = {FIRST_PART}, .variable = SECOND, .recorded = SECOND};
  assert_loads(c, 1, FIRST);
}

/* Package managers make folders of links to where the files are. */
static void test_a_part_may_be_loaded_through_a_link(void **state) {
  (void)state;
  char folder[] = "/tmp/vonk-library-XXXXXX";
  assert_non_null(mkdtemp(folder));
  char part[64], whole[64];
  snprintf(part, sizeof part, "%s/libvonk_fake_part.so", folder);
  snprintf(whole, sizeof whole, "%s/" SONAME, folder);
  assert_int_equal(symlink(LONE_PART, part), 0);
  /* Only the folder of links has the whole. */
  assert_int_equal(symlink(FIRST, whole), 0);
  library_result links =
      load_in_child((library_case){.loaded = {part}, .variable = SECOND});
  /* Only the folder behind the link has it. */
  assert_int_equal(unlink(whole) | unlink(part) | symlink(FIRST_PART, part), 0);
  library_result files =
      load_in_child((library_case){.loaded = {part}, .variable = SECOND});
  unlink(part);
  rmdir(folder);
  assert_string_equal(links.message, "");
  assert_int_equal(links.copy, 1);
  assert_string_equal(files.message, "");
  assert_int_equal(files.copy, 1);
}

static void test_a_lone_part_forbids_any_copy(void **state) {
  (void)state;
  assert_refuses(SETTING(.loaded = {LONE_PART}, .variable = FIRST, .recorded = SECOND),
                 SAYING("Fake: this process has loaded '" LONE_PART "'", "no " SONAME,
                        "second copy"));
}

static void test_what_the_variable_names_is_not_replaced_by_something_else(void **state) {
  (void)state;
  assert_refuses(SETTING(.variable = "first/" SONAME, .recorded = FIRST),
                 SAYING("VONK_FAKE_LIBRARY says 'first/" SONAME "'", "absolute"));
  assert_refuses(
      SETTING(.variable = "/no/such/file.so", .recorded = FIRST),
      SAYING("VONK_FAKE_LIBRARY says '/no/such/file.so': cannot open", "THE HINT"));
  assert_refuses(SETTING(.variable = OTHER, .recorded = FIRST),
                 SAYING("'" OTHER "': has no fake_framework_copy", "THE HINT"));
  assert_refuses(SETTING(.variable = VONK_FAKE_DIR, .recorded = FIRST),
                 SAYING("'" VONK_FAKE_DIR "': cannot read file data"));
  assert_refuses(SETTING(.variable = __FILE__, .recorded = FIRST), SAYING("THE HINT"));
  assert_refuses(SETTING(.recorded = "/no/such/file.so"),
                 SAYING("set-up's record 'fake' says '/no/such/file.so'", "THE HINT"));
}

static void test_without_any_copy_the_error_names_every_place(void **state) {
  (void)state;
  assert_refuses(SETTING(.recorded = NULL),
                 SAYING("Fake: not found", SONAME, "VONK_FAKE_LIBRARY is not set",
                        "set-up recorded no 'fake'", "THE HINT"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_variable_goes_before_what_setup_recorded),
      cmocka_unit_test(test_a_copy_that_is_loaded_is_used_whatever_is_configured),
      cmocka_unit_test(test_beside_a_loaded_part_is_the_only_copy_that_may_be_loaded),
      cmocka_unit_test(test_a_part_may_be_loaded_through_a_link),
      cmocka_unit_test(test_a_lone_part_forbids_any_copy),
      cmocka_unit_test(test_what_the_variable_names_is_not_replaced_by_something_else),
      cmocka_unit_test(test_without_any_copy_the_error_names_every_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
