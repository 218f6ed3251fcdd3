/* `vonk plugins`: what is installed, and whether it works. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/conformance.h"
#include "plugin/plugin.h"

static json_t *json_text(const char *text) {
  return text == NULL ? json_null() : json_string(text);
}

static void join_formats(const vonk_plugin_summary *s, vonk_text *out) {
  for (size_t i = 0; s->formats != NULL && s->formats[i] != NULL; i++) {
    vonk_text_add(out, "%s%s", i == 0 ? "" : ", ", s->formats[i]);
  }
}

/* The framework is loaded in this process only to look at it, which is harmless here: the
 * process ends at once. */
static void print_runtime(const vonk_plugin_summary *s) {
  vonk_error err = VONK_ERROR_INIT;
  const char *version, *path;
  if (vonk_plugin_runtime(s->path, &version, &path, &err) == VONK_OK) {
    (void)printf("  %-10s %s (%s)\n", "runtime", version, path);
  } else {
    (void)printf("  %-10s not usable: %s\n", "runtime", err.message);
  }
}

static int print_plugin(void *arg, const vonk_plugin_summary *s) {
  int *n = arg;
  (*n)++;
  if (s->error != NULL) {
    (void)printf("%s\n  %-10s %s\n", s->name == NULL ? "(unnamed)" : s->name,
                 "not usable", s->error);
    (void)printf("  %-10s %s\n", "file", s->path);
    return 0;
  }
  vonk_text formats = {.size = 0};
  join_formats(s, &formats);
  (void)printf("%s %s\n  %-10s %s\n", s->name, s->version, "formats", formats.data);
  print_runtime(s);
  (void)printf("  %-10s %s\n", "file", s->path);
  for (const vonk_kv *o = s->options; o != NULL && o->key != NULL; o++) {
    (void)printf("  %-10s %s: %s\n", o == s->options ? "options" : "", o->key, o->value);
  }
  return 0;
}

static json_t *json_plugin(const vonk_plugin_summary *s) {
  json_t *formats = json_array(), *options = json_object();
  for (size_t i = 0; s->formats != NULL && s->formats[i] != NULL; i++) {
    (void)json_array_append_new(formats, json_string(s->formats[i]));
  }
  for (const vonk_kv *o = s->options; o != NULL && o->key != NULL; o++) {
    (void)json_object_set_new(options, o->key, json_text(o->value));
  }
  vonk_error err = VONK_ERROR_INIT;
  const char *version = NULL, *path = NULL, *problem = s->error;
  if (problem == NULL && vonk_plugin_runtime(s->path, &version, &path, &err) != VONK_OK) {
    version = path = NULL;
    problem = err.message;
  }
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", json_text(s->name),
                   "version", json_text(s->version), "file", json_text(s->path),
                   "formats", formats, "options", options, "runtime_version",
                   json_text(version), "runtime_path", json_text(path), "error",
                   json_text(problem));
}

static int add_plugin(void *arg, const vonk_plugin_summary *s) {
  return json_array_append_new(arg, json_plugin(s));
}

static vonk_status print_json(vonk_error *err) {
  json_t *list = json_array();
  vonk_status status = vonk_plugins_visit(add_plugin, list, err);
  if (status == VONK_OK) {
    (void)json_dumpf(list, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  }
  json_decref(list);
  return status;
}

static vonk_status print_table(vonk_error *err) {
  int n = 0;
  VONK_TRY(vonk_plugins_visit(print_plugin, &n, err));
  if (n == 0) {
    (void)printf(
        "No plug-in is installed: vonk looks in the folders of VONK_PLUGIN_PATH, then in "
        "../lib/vonk/plugins "
        "beside the program.\n");
  }
  return VONK_OK;
}

typedef struct probes {
  int n, failed;
} probes;

/* Files, not loaded plug-ins: loading one here could be the end of this process. */
/* Loads the framework in a child process, so that one that crashes is a line of text. */
static bool probe_runtime(const char *path) {
  (void)fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    (void)printf("  no process to load its framework in can be made: %s\n",
                 strerror(errno));
    return false;
  }
  if (child == 0) {
    vonk_error err = VONK_ERROR_INIT;
    const char *version, *library;
    bool works = vonk_plugin_runtime(path, &version, &library, &err) == VONK_OK;
    (void)(works ? printf("  framework: version %s, %s\n", version, library)
                 : printf("  framework: not usable: %s\n", err.message));
    (void)fflush(stdout);
    _exit(works ? 0 : 1);
  }
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    (void)printf("  framework: ended the process with signal %d (%s)\n", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool probe_plugin(void *arg, const char *path) {
  probes *p = arg;
  p->n++;
  bool works = vonk_cli_probe(path, stdout) == 0 && probe_runtime(path);
  p->failed += works ? 0 : 1;
  return true;
}

/* A path typed by a user means the file in the current folder; the library wants it said
 * in full. */
static int test_conformance(const char *path, const char *model) {
  vonk_error err = VONK_ERROR_INIT;
  char *whole;
  if (vonk_path_resolve(path, &whole, &err) != VONK_OK) {
    return vonk_cli_fail("plugins", &err, VONK_EXIT_FILES);
  }
  int failed = vonk_cli_conformance(whole, model, stdout);
  vonk_delete(whole);
  return failed == 0 ? VONK_EXIT_OK : VONK_EXIT_FAILED;
}

int vonk_cli_plugins(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  const char *path = vonk_cli_value(args, "conformance", NULL);
  const char *model = vonk_cli_value(args, "model", NULL);
  if (path != NULL) {
    return test_conformance(path, model);
  }
  if (model != NULL) {
    (void)vonk_fail(&err, VONK_INVALID, "--model: only goes with --conformance");
    return vonk_cli_misuse("plugins", &err);
  }
  if (vonk_cli_flag(args, "probe")) {
    probes p = {0};
    vonk_status status = vonk_plugin_files(probe_plugin, &p, &err);
    if (status != VONK_OK) {
      return vonk_cli_fail("plugins", &err, VONK_EXIT_FAILED);
    }
    return p.failed == 0 ? VONK_EXIT_OK : VONK_EXIT_FAILED;
  }
  vonk_status status = vonk_cli_flag(args, "json") ? print_json(&err) : print_table(&err);
  return status == VONK_OK ? VONK_EXIT_OK
                           : vonk_cli_fail("plugins", &err, VONK_EXIT_FAILED);
}
