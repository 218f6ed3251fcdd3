/* `vonk sql --shell`: DuckDB's own shell, with vonk in it.
 *
 * How it works: this process becomes `duckdb -unsigned -cmd "LOAD '...'" ... DATABASE`.
 * The shell is VONK_DUCKDB_SHELL, else `duckdb` beside this program, else the one on
 * PATH; what VONK_DUCKDB_SHELL names must exist. It is asked for its version first,
 * because an old one would only say that it cannot load the extension. */
#define _GNU_SOURCE /* pipe2, secure_getenv */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/sql.h"
#include "plugin/plugin.h"

enum { MAX_PATH_BYTES = 4096, LEAST_MAJOR = 1, LEAST_MINOR = 4 };

/* --- finding it --- */

/* The first `duckdb` on PATH. Relative entries are left out: a program of that name in the
 * folder one happens to be in is not what was meant. */
static bool find_on_path(char out[MAX_PATH_BYTES]) {
  const char *path = getenv("PATH");
  while (path != NULL && *path != '\0') {
    int length = (int)strcspn(path, ":");
    int n = snprintf(out, MAX_PATH_BYTES, "%.*s/duckdb", length, path);
    if (path[0] == '/' && n < MAX_PATH_BYTES && access(out, X_OK) == 0) {
      return true;
    }
    path += length;
    path += *path == ':' ? 1 : 0;
  }
  return false;
}

static vonk_status find_shell(const char *folder, char out[MAX_PATH_BYTES],
                              vonk_error *err) {
  const char *named = secure_getenv("VONK_DUCKDB_SHELL");
  if (named != NULL && named[0] != '\0') {
    (void)snprintf(out, MAX_PATH_BYTES, "%s", named);
    return access(named, X_OK) == 0
               ? VONK_OK
               : vonk_fail(err, VONK_UNSUPPORTED,
                           "VONK_DUCKDB_SHELL: %s: %s: give the path of DuckDB's shell, "
                           "or unset it",
                           named, strerror(errno));
  }
  int n = snprintf(out, MAX_PATH_BYTES, "%s/duckdb", folder);
  if ((n < MAX_PATH_BYTES && access(out, X_OK) == 0) || find_on_path(out)) {
    return VONK_OK;
  }
  return vonk_fail(err, VONK_UNSUPPORTED,
                   "--shell: DuckDB's shell is not installed (searched: "
                   "VONK_DUCKDB_SHELL: not set; beside the program: no %s/duckdb; PATH: "
                   "no duckdb): 'pip install duckdb-cli', or set VONK_DUCKDB_SHELL",
                   folder);
}

static vonk_status find_extension(const char *folder, char out[MAX_PATH_BYTES],
                                  vonk_error *err) {
  int n = snprintf(out, MAX_PATH_BYTES, "%s/../lib/vonk.duckdb_extension", folder);
  if (n < MAX_PATH_BYTES && access(out, R_OK) == 0) {
    return VONK_OK;
  }
  return vonk_fail(err, VONK_UNSUPPORTED,
                   "--shell: the extension for DuckDB cannot be read: %s: %s: this "
                   "installation is not complete",
                   out, strerror(errno));
}

/* What `shell --version` prints, its first bytes. */
static void ask_version(const char *shell, char *out, size_t capacity) {
  int ends[2];
  size_t n = 0;
  out[0] = '\0';
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return;
  }
  pid_t child = fork();
  if (child == 0) {
    (void)dup2(ends[1], STDOUT_FILENO);
    (void)execl(shell, shell, "--version", (char *)NULL);
    _exit(127);
  }
  (void)close(ends[1]);
  ssize_t got;
  while (child > 0 && n + 1 < capacity &&
         (got = read(ends[0], out + n, capacity - 1 - n)) > 0) {
    n += (size_t)got;
  }
  out[n] = '\0';
  (void)close(ends[0]);
  while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
}

static vonk_status check_version(const char *shell, vonk_error *err) {
  char text[64];
  ask_version(shell, text, sizeof(text));
  char *end = text;
  long major = text[0] == 'v' ? strtol(text + 1, &end, 10) : -1;
  long minor = *end == '.' ? strtol(end + 1, NULL, 10) : -1;
  text[strcspn(text, " \n")] = '\0';
  if (major < 0 || minor < 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "--shell: %s: is not DuckDB's shell: '--version' gives no version: "
                     "set VONK_DUCKDB_SHELL to the path of one",
                     shell);
  }
  if (major < LEAST_MAJOR || (major == LEAST_MAJOR && minor < LEAST_MINOR)) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "--shell: %s: is DuckDB %s: vonk needs %d.%d or later: 'pip install "
                     "--upgrade duckdb-cli'",
                     shell, text, LEAST_MAJOR, LEAST_MINOR);
  }
  return VONK_OK;
}

/* --- what it is told --- */

static void add_option(vonk_cli_sql *sql, const char *name, const char *value) {
  vonk_cli_sql_add(sql, ", ");
  vonk_cli_sql_add(sql, name);
  vonk_cli_sql_add(sql, " := ");
  vonk_cli_sql_text(sql, value);
}

static void load_model(const vonk_cli_sql_settings *s, const vonk_cli_sql_model *m,
                       vonk_cli_sql *sql) {
  vonk_cli_sql_add(sql, "FROM vonk_load(");
  vonk_cli_sql_text(sql, m->name);
  vonk_cli_sql_add(sql, ", ");
  vonk_cli_sql_text(sql, m->path);
  if (m->as != NULL) {
    add_option(sql, "as_", m->as);
  }
  size_t n_others = 0;
  for (size_t i = 0; i < s->model_options.n; i++) {
    const vonk_kv *kv = &s->model_options.kvs[i];
    if (strcmp(kv->key, "device") == 0 || strcmp(kv->key, "plugin") == 0) {
      add_option(sql, kv->key, kv->value);
      continue;
    }
    vonk_cli_sql_add(sql, n_others++ == 0 ? ", options := MAP {" : ", ");
    vonk_cli_sql_text(sql, kv->key);
    vonk_cli_sql_add(sql, ": ");
    vonk_cli_sql_text(sql, kv->value);
  }
  vonk_cli_sql_add(sql, n_others > 0 ? "})" : ")");
}

typedef struct command_line {
  const char **words;
  size_t n;
  vonk_cli_sql load;    /* LOAD '...' */
  vonk_cli_sql *models; /* FROM vonk_load(...) */
} command_line;

static void add_command(command_line *c, const char *text) {
  c->words[c->n++] = "-cmd";
  c->words[c->n++] = text;
}

static vonk_status fill(command_line *c, const vonk_cli_sql_settings *s,
                        const char *shell, const char *extension, vonk_error *err) {
  enum { MOST_FIXED = 12 };
  VONK_TRY(vonk_new(2 * s->n_models + MOST_FIXED, sizeof(*c->words), &c->words, err));
  VONK_TRY(vonk_new(s->n_models + 1, sizeof(*c->models), &c->models, err));
  c->words[c->n++] = shell;
  c->words[c->n++] = "-unsigned";
  if (s->database.is_read_only) {
    c->words[c->n++] = "-readonly";
  }
  vonk_cli_sql_add(&c->load, "LOAD ");
  vonk_cli_sql_text(&c->load, extension);
  VONK_TRY(vonk_cli_sql_check(&c->load, err));
  add_command(c, vonk_cli_sql_get(&c->load));
  if (s->n_models > 0) {
    add_command(c, ".output /dev/null"); /* what vonk_load tells; errors are shown */
  }
  for (size_t i = 0; i < s->n_models; i++) {
    load_model(s, &s->models[i], &c->models[i]);
    VONK_TRY(vonk_cli_sql_check(&c->models[i], err));
    add_command(c, vonk_cli_sql_get(&c->models[i]));
  }
  if (s->n_models > 0) {
    add_command(c, ".output");
  }
  if (s->database.path != NULL) {
    c->words[c->n++] = s->database.path;
  }
  return VONK_OK;
}

static void command_line_clear(command_line *c, size_t n_models) {
  for (size_t i = 0; c->models != NULL && i < n_models; i++) {
    vonk_cli_sql_release(&c->models[i]);
  }
  vonk_delete(c->models);
  vonk_delete(c->words);
  vonk_cli_sql_release(&c->load);
}

static vonk_status become_shell(const vonk_cli_sql_settings *s, vonk_error *err) {
  char folder[MAX_PATH_BYTES], shell[MAX_PATH_BYTES], extension[MAX_PATH_BYTES];
  VONK_TRY(vonk_own_folder(folder, sizeof(folder), err));
  VONK_TRY(find_shell(folder, shell, err));
  VONK_TRY(find_extension(folder, extension, err));
  VONK_TRY(check_version(shell, err));
  command_line c = {.n = 0};
  vonk_status status = fill(&c, s, shell, extension, err);
  if (status == VONK_OK) {
    (void)execv(shell, (char *const *)(uintptr_t)c.words); /* execv changes nothing */
    status = vonk_fail(err, VONK_UNSUPPORTED, "--shell: %s: cannot be started: %s", shell,
                       strerror(errno));
  }
  command_line_clear(&c, s->n_models);
  return status;
}

int vonk_cli_shell(const vonk_cli_sql_settings *s) {
  vonk_error err = VONK_ERROR_INIT;
  /* The shell would report a missing model and go on. */
  for (size_t i = 0; i < s->n_models; i++) {
    vonk_file_id id;
    char path[MAX_PATH_BYTES];
    const char *end = strstr(s->models[i].path, "#sha256=");
    (void)snprintf(
        path, sizeof(path), "%.*s",
        end == NULL ? (int)strlen(s->models[i].path) : (int)(end - s->models[i].path),
        s->models[i].path);
    if (vonk_file_identify(path, &id, &err) != VONK_OK) {
      return vonk_cli_fail("sql", &err, VONK_EXIT_MODEL);
    }
  }
  (void)become_shell(s, &err);
  return vonk_cli_fail("sql", &err, VONK_EXIT_FAILED);
}
