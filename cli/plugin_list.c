/* `vonk plugins`: each plug-in, what it opens, its options, and the framework behind it.
 *
 * How it works: a framework is loaded to see whether it works, each in a process of its
 * own, all of them at a time: loading some takes half a second, and one that crashes, or
 * would not get along with another, is a line of text. A child writes the version and the
 * path, or the reason, to a pipe. This process itself loads none, so that it may fork. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"

enum { MOST = 64, MOST_SECONDS = 120, ANSWER = 8192 };

/* One file, its plug-in, and what became of its framework. */
typedef struct finding {
  vonk_plugin_summary plugin; /* with path and error of its own */
  pid_t child;                /* 0 = there is none */
  int answer;                 /* read end of its pipe */
  char *version, *library;    /* NULL if the framework cannot be used */
  char *reason;               /* then why */
} finding;

typedef struct findings {
  finding all[MOST];
  size_t n;
} findings;

static char *copy(const char *text) {
  char *made = NULL;
  return text != NULL && vonk_new_string(text, &made, NULL) == VONK_OK ? made : NULL;
}

/* --- one framework in a process of its own --------------------------------------------- */

/* Ends the child. */
static _Noreturn void answer(const char *plugin, int out) {
  vonk_error err = VONK_ERROR_INIT;
  const char *version = NULL, *library = NULL;
  (void)alarm(MOST_SECONDS);
  bool works = vonk_plugin_runtime(plugin, &version, &library, &err) == VONK_OK;
  FILE *file = fdopen(out, "w");
  if (file != NULL) {
    (void)(works ? fprintf(file, "%s\n%s", version, library)
                 : fprintf(file, "\n%s", err.message));
    (void)fclose(file);
  }
  _exit(0);
}

static void start_child(finding *f) {
  int ends[2];
  if (f->plugin.error != NULL || pipe(ends) != 0) {
    return;
  }
  (void)fflush(stdout);
  f->child = fork();
  if (f->child == 0) {
    (void)close(ends[0]);
    answer(f->plugin.path, ends[1]);
  }
  (void)close(ends[1]);
  f->answer = ends[0];
  if (f->child < 0) {
    f->child = 0;
    (void)close(ends[0]);
  }
}

static void read_answer(finding *f, char *text) {
  size_t size = 0;
  while (size < ANSWER - 1) {
    ssize_t n = read(f->answer, text + size, ANSWER - 1 - size);
    if (n > 0) {
      size += (size_t)n;
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  text[size] = '\0';
  (void)close(f->answer);
}

static void end_child(finding *f) {
  static char text[ANSWER];
  vonk_text reason = {.size = 0};
  int status = 0;
  if (f->child == 0) {
    f->reason = copy(f->plugin.error == NULL ? "no process to load it in can be made"
                                             : f->plugin.error);
    return;
  }
  read_answer(f, text);
  while (waitpid(f->child, &status, 0) < 0 && errno == EINTR) {
  }
  char *second = strchr(text, '\n');
  if (WIFSIGNALED(status)) {
    vonk_text_add(&reason, "loading its framework ended the process with signal %d (%s)",
                  WTERMSIG(status), strsignal(WTERMSIG(status)));
    f->reason = copy(reason.data);
  } else if (second == NULL) {
    f->reason = copy("loading its framework ended the process without a word");
  } else {
    *second++ = '\0';
    bool works = text[0] != '\0';
    f->version = works ? copy(text) : NULL;
    f->library = works ? copy(second) : NULL;
    f->reason = works ? NULL : copy(second);
  }
}

/* --- all of them ----------------------------------------------------------------------- */

static int add(void *arg, const vonk_plugin_summary *s) {
  findings *found = arg;
  if (found->n == MOST) {
    return 1;
  }
  finding *f = &found->all[found->n++];
  *f = (finding){.plugin = *s};
  f->plugin.path = copy(s->path);
  f->plugin.error = copy(s->error);
  return 0;
}

static void release(findings *found) {
  for (size_t i = 0; i < found->n; i++) {
    finding *f = &found->all[i];
    vonk_delete((void *)(uintptr_t)f->plugin.path);
    vonk_delete((void *)(uintptr_t)f->plugin.error);
    vonk_delete(f->version);
    vonk_delete(f->library);
    vonk_delete(f->reason);
  }
}

/* --- for people ------------------------------------------------------------------------ */

static void print_finding(const finding *f) {
  const vonk_plugin_summary *s = &f->plugin;
  vonk_text formats = {.size = 0};
  if (s->error != NULL) {
    (void)printf("%s\n  %-10s %s\n", s->name == NULL ? "(unnamed)" : s->name,
                 "not usable", s->error);
    (void)printf("  %-10s %s\n", "file", s->path);
    return;
  }
  for (size_t i = 0; s->formats != NULL && s->formats[i] != NULL; i++) {
    vonk_text_add(&formats, "%s%s", i == 0 ? "" : ", ", s->formats[i]);
  }
  (void)printf("%s %s\n  %-10s %s\n", s->name, s->version, "formats", formats.data);
  if (f->version != NULL) {
    (void)printf("  %-10s %s (%s)\n", "runtime", f->version, f->library);
  } else {
    (void)printf("  %-10s not usable: %s\n", "runtime",
                 f->reason == NULL ? "memory ran out" : f->reason);
  }
  (void)printf("  %-10s %s\n", "file", s->path);
  for (const vonk_kv *o = s->options; o != NULL && o->key != NULL; o++) {
    (void)printf("  %-10s %s: %s\n", o == s->options ? "options" : "", o->key, o->value);
  }
}

/* --- for scripts ----------------------------------------------------------------------- */

static void add_finding(const vonk_cli_json *json, const finding *f) {
  const vonk_plugin_summary *s = &f->plugin;
  yyjson_mut_val *entry = yyjson_mut_arr_add_obj(json->document, json->root);
  yyjson_mut_val *formats = yyjson_mut_arr(json->document);
  size_t n_options = 0;
  for (size_t i = 0; s->formats != NULL && s->formats[i] != NULL; i++) {
    (void)yyjson_mut_arr_append(formats, vonk_cli_json_text(json, s->formats[i]));
  }
  while (s->options != NULL && s->options[n_options].key != NULL) {
    n_options++;
  }
  vonk_cli_json_set(json, entry, "name", vonk_cli_json_text(json, s->name));
  vonk_cli_json_set(json, entry, "version", vonk_cli_json_text(json, s->version));
  vonk_cli_json_set(json, entry, "file", vonk_cli_json_text(json, s->path));
  vonk_cli_json_set(json, entry, "formats", formats);
  vonk_cli_json_set(json, entry, "options",
                    vonk_cli_json_entries(json, s->options, n_options));
  vonk_cli_json_set(json, entry, "runtime_version", vonk_cli_json_text(json, f->version));
  vonk_cli_json_set(json, entry, "runtime_path", vonk_cli_json_text(json, f->library));
  vonk_cli_json_set(json, entry, "error", vonk_cli_json_text(json, f->reason));
}

/* --- the command ----------------------------------------------------------------------- */

vonk_status vonk_cli_plugin_list(bool is_json, vonk_error *err) {
  findings found = {.n = 0};
  vonk_status status = vonk_plugins_visit(add, &found, err);
  for (size_t i = 0; status == VONK_OK && i < found.n; i++) {
    start_child(&found.all[i]);
  }
  vonk_cli_json json = vonk_cli_json_start(true);
  for (size_t i = 0; status == VONK_OK && i < found.n; i++) {
    end_child(&found.all[i]);
    if (is_json) {
      add_finding(&json, &found.all[i]);
    } else {
      print_finding(&found.all[i]);
    }
  }
  if (status == VONK_OK && is_json) {
    status = vonk_cli_json_print(&json, err);
  } else if (status == VONK_OK && found.n == 0) {
    (void)printf(
        "No plug-in is installed: vonk looks in the folders of VONK_PLUGIN_PATH, then in "
        "../lib/vonk/plugins beside the program.\n");
  }
  vonk_cli_json_drop(&json);
  release(&found);
  return status;
}
