/* The command line of `vonk sql` as settings. Nothing is opened here, so whatever is
 * wrong is the command line's fault. */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "cli/sql.h"

/* --- models --- */

/* "digit.onnx" is called digit: the file's name up to its first '.', made an identifier.
 */
static vonk_status name_of_path(const char *path, char **out, vonk_error *err) {
  const char *end = path + strlen(path), *base;
  while (end > path + 1 && end[-1] == '/') { /* a folder */
    end--;
  }
  for (base = end; base > path && base[-1] != '/'; base--) {
  }
  char name[64] = "_";
  size_t n = isdigit((unsigned char)*base) != 0 ? 1 : 0;
  for (; base < end && *base != '.' && n + 1 < sizeof(name); base++) {
    name[n++] = isalnum((unsigned char)*base) != 0 ? *base : '_';
  }
  name[n] = '\0';
  return n > 0 ? vonk_new_string(name, out, err)
               : vonk_fail(err, VONK_INVALID, "-m: '%s' gives no name: write NAME=%s",
                           path, path);
}

/* NAME=PATH; a '=' after a '/' or '.' belongs to the path. */
static vonk_status read_model(const char *text, vonk_cli_sql_model *out,
                              vonk_error *err) {
  size_t length = strcspn(text, "=/.");
  if (text[length] != '=') {
    out->path = text;
    return name_of_path(text, &out->name, err);
  }
  return vonk_cli_pair("model", text, "NAME=PATH", &out->name, &out->path, err);
}

static vonk_status read_models(const vonk_cli_args *args, vonk_cli_sql_settings *s,
                               vonk_error *err) {
  VONK_TRY(vonk_new(args->n_given + 1, sizeof(*s->models), &s->models, err));
  size_t position = 0;
  const char *text;
  while ((text = vonk_cli_next(args, "model", &position)) != NULL) {
    s->n_models++;
    VONK_TRY(read_model(text, &s->models[s->n_models - 1], err));
  }
  return vonk_cli_model_options_read(args, &s->model_options, err);
}

/* FORM, of all models, or NAME=FORM. */
static vonk_status read_form(const char *text, vonk_cli_sql_settings *s,
                             vonk_error *err) {
  const char *equals = strchr(text, '=');
  const char *form = equals == NULL ? text : equals + 1;
  size_t length = equals == NULL ? 0 : (size_t)(equals - text), n_found = 0;
  VONK_TRY(vonk_cli_form_check(form, err));
  for (size_t i = 0; i < s->n_models; i++) {
    const char *name = s->models[i].name;
    if (equals == NULL || (strlen(name) == length && strncmp(name, text, length) == 0)) {
      s->models[i].as = form;
      n_found++;
    }
  }
  return n_found > 0
             ? VONK_OK
             : vonk_fail(err, VONK_INVALID,
                         "--as: '%s': no model of that name is given with -m", text);
}

static vonk_status read_forms(const vonk_cli_args *args, vonk_cli_sql_settings *s,
                              vonk_error *err) {
  size_t position = 0;
  const char *text;
  while ((text = vonk_cli_next(args, "as", &position)) != NULL) {
    VONK_TRY(read_form(text, s, err));
  }
  return VONK_OK;
}

/* --- the query --- */

static vonk_status read_query(const vonk_cli_args *args, vonk_cli_sql_settings *s,
                              vonk_error *err) {
  const char *operand = args->n_operands > 0 ? args->operands[0] : NULL;
  bool is_stdin = operand != NULL && strcmp(operand, "-") == 0;
  s->file = vonk_cli_value(args, "file", is_stdin ? "-" : NULL);
  s->query = is_stdin ? NULL : operand;
  if (s->wants_shell && (operand != NULL || s->file != NULL)) {
    return vonk_fail(err, VONK_INVALID,
                     "--shell: takes no query: type it in the shell, or leave --shell "
                     "out");
  }
  if (operand != NULL && vonk_cli_value(args, "file", NULL) != NULL) {
    return vonk_fail(err, VONK_INVALID, "-f: takes the place of a query: got '%s' too",
                     operand);
  }
  return s->wants_shell || s->query != NULL || s->file != NULL
             ? VONK_OK
             : vonk_fail(err, VONK_INVALID,
                         "no query: write it in quotes, name a file with -f FILE, - for "
                         "the standard input, or --shell to type");
}

/* --- the output --- */

static vonk_status read_output(const vonk_cli_args *args, vonk_cli_sql_settings *s,
                               vonk_error *err) {
  bool is_box = vonk_cli_flag(args, "box"), is_csv = vonk_cli_flag(args, "csv");
  bool is_json = vonk_cli_flag(args, "json");
  const char *format = vonk_cli_value(args, "output-format", NULL);
  s->output = vonk_cli_value(args, "o", NULL);
  if ((s->output != NULL) + is_box + is_csv + is_json > 1) {
    return vonk_fail(err, VONK_INVALID, "-o, --box, --csv and --json: choose one");
  }
  s->output_format = is_json ? VONK_FORMAT_JSON : VONK_FORMAT_UNKNOWN;
  if (format != NULL) {
    if (s->output == NULL) {
      return vonk_fail(err, VONK_INVALID, "--output-format: only goes with -o");
    }
    VONK_TRY(vonk_cli_format_parse("output-format", format, &s->output_format, err));
  }
  if (s->output == NULL &&
      (is_csv || is_json || (!is_box && isatty(STDOUT_FILENO) == 0))) {
    s->output = "-";
  }
  return vonk_cli_number(args, "rows", 40, 0, 1000000, &s->most_rows, err);
}

static vonk_status read_all(const vonk_cli_args *args, vonk_cli_sql_settings *s,
                            vonk_error *err) {
  int64_t threads;
  s->wants_shell = vonk_cli_flag(args, "shell");
  VONK_TRY(read_query(args, s, err));
  VONK_TRY(read_output(args, s, err));
  VONK_TRY(vonk_cli_number(args, "threads", vonk_get_threads(), 1, 256, &threads, err));
  s->database =
      (vonk_cli_database_settings){.path = vonk_cli_value(args, "database", NULL),
                                   .is_read_only = vonk_cli_flag(args, "readonly"),
                                   .n_threads = (uint32_t)threads};
  if (s->database.is_read_only && s->database.path == NULL) {
    return vonk_fail(err, VONK_INVALID, "--readonly: only goes with --database");
  }
  s->is_quiet = vonk_cli_flag(args, "quiet");
  bool by_default = isatty(STDERR_FILENO) != 0 && !s->is_quiet;
  s->wants_progress = !vonk_cli_flag(args, "no-progress") &&
                      (vonk_cli_flag(args, "progress") || by_default);
  VONK_TRY(read_models(args, s, err));
  return read_forms(args, s, err);
}

vonk_status vonk_cli_sql_settings_read(const vonk_cli_args *args,
                                       vonk_cli_sql_settings *out, vonk_error *err) {
  vonk_cli_sql_settings s = {.n_models = 0};
  vonk_status status = read_all(args, &s, err);
  if (status != VONK_OK) {
    vonk_cli_sql_settings_clear(&s);
    return status;
  }
  *out = s;
  return VONK_OK;
}

void vonk_cli_sql_settings_clear(vonk_cli_sql_settings *s) {
  for (size_t i = 0; i < s->n_models; i++) {
    vonk_delete(s->models[i].name);
  }
  vonk_delete(s->models);
  vonk_cli_model_options_clear(&s->model_options);
  memset(s, 0, sizeof(*s));
}
