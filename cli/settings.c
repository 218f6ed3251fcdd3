/* The command line of `vonk run` as settings. Nothing is opened here, so whatever is
 * wrong is the command line's fault. */
#include <string.h>
#include <unistd.h>

#include "cli/run.h"

static vonk_status read_outputs(const vonk_cli_args *args, vonk_cli_settings *s,
                                vonk_error *err) {
  VONK_TRY(vonk_new(args->n_given + 1, sizeof(*s->outputs), &s->outputs, err));
  size_t position = 0;
  const char *text;
  while ((text = vonk_cli_next(args, "output", &position)) != NULL) {
    char *key;
    const char *value;
    VONK_TRY(vonk_cli_pair("output", text,
                           "TENSOR=COLUMN (the file to write is named with -o)", &key,
                           &value, err));
    s->outputs[s->bind.n_outputs++] = (vonk_kv){key, value};
  }
  s->bind.outputs = s->outputs;
  return VONK_OK;
}

static vonk_status read_bind(const vonk_cli_args *args, vonk_cli_settings *s,
                             vonk_error *err) {
  static const char *const nulls[] = {"null", "error", NULL};
  static const char *const row_errors[] = {"raise", "null", "report", NULL};
  s->bind = (vonk_bind_options)VONK_BIND_OPTIONS_INIT;
  VONK_TRY(vonk_cli_choice(args, "nulls", nulls, VONK_NULLS_NULL, &s->bind.nulls, err));
  VONK_TRY(vonk_cli_choice(args, "on-error", row_errors, VONK_ROWS_RAISE,
                           &s->bind.row_errors, err));
  VONK_TRY(vonk_cli_number(args, "batch", 0, 1, INT32_MAX, &s->bind.batch_rows, err));
  s->bind.as = vonk_cli_value(args, "as", NULL);
  VONK_TRY(s->bind.as == NULL ? VONK_OK : vonk_cli_form_check(s->bind.as, err));
  s->bind.squeeze = vonk_cli_flag(args, "squeeze");
  s->bind.half_as_float = 1;
  return read_outputs(args, s, err);
}

static vonk_status read_format(const vonk_cli_args *args, const char *option,
                               vonk_cli_format *out, vonk_error *err) {
  const char *text = vonk_cli_value(args, option, NULL);
  *out = VONK_FORMAT_UNKNOWN;
  return text == NULL ? VONK_OK : vonk_cli_format_parse(option, text, out, err);
}

static vonk_status read_all(const vonk_cli_args *args, vonk_cli_settings *s,
                            vonk_error *err) {
  int64_t threads;
  s->select = vonk_cli_value(args, "select", NULL);
  s->output = vonk_cli_value(args, "o", NULL);
  if (s->output == NULL || s->output[0] == '\0') {
    return vonk_fail(
        err, VONK_INVALID,
        "no output: say where to write with -o FILE, or -o - for the standard output");
  }
  if (args->n_operands < 2) {
    return vonk_fail(
        err, VONK_INVALID,
        "no input: name a file with rows after the model, or - for the standard input");
  }
  s->model_path = args->operands[0];
  s->inputs = args->operands + 1;
  s->n_inputs = args->n_operands - 1;
  VONK_TRY(vonk_cli_number(args, "threads", vonk_get_threads(), 1, 256, &threads, err));
  s->n_threads = (uint32_t)threads;
  VONK_TRY(read_format(args, "format", &s->format, err));
  VONK_TRY(read_format(args, "output-format", &s->output_format, err));
  VONK_TRY(read_bind(args, s, err));
  VONK_TRY(vonk_cli_mappings_read(args, &s->mappings, &s->n_mappings, err));
  s->wants_stats = vonk_cli_flag(args, "stats");
  s->is_quiet = vonk_cli_flag(args, "quiet");
  bool by_default = isatty(STDERR_FILENO) != 0 && !s->is_quiet;
  s->wants_progress = !vonk_cli_flag(args, "no-progress") &&
                      (vonk_cli_flag(args, "progress") || by_default);
  return vonk_cli_model_options_read(args, &s->model_options, err);
}

vonk_status vonk_cli_settings_read(const vonk_cli_args *args, vonk_cli_settings *out,
                                   vonk_error *err) {
  vonk_cli_settings s = {.n_inputs = 0};
  vonk_status status = read_all(args, &s, err);
  if (status != VONK_OK) {
    vonk_cli_settings_clear(&s);
    return status;
  }
  *out = s;
  return VONK_OK;
}

void vonk_cli_settings_clear(vonk_cli_settings *s) {
  for (size_t i = 0; i < s->bind.n_outputs; i++) {
    char *key = (char *)(uintptr_t)s->outputs[i].key; /* ours, made above */
    vonk_delete(key);
  }
  vonk_delete(s->outputs);
  vonk_cli_mappings_release(s->mappings, s->n_mappings);
  vonk_cli_model_options_clear(&s->model_options);
  memset(s, 0, sizeof(*s));
}
