/* The command line against a command's option table.
 *
 * How it works: "--name value", "--name=value", "-x value", "-xvalue"; "--" ends the
 * options; "-" alone is an operand. Options and operands may be mixed. Everything given
 * is kept in order; who asks for the value of an option gets the last one. */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* --- what was probably meant --- */

enum { MAX_WORD = 40 };

static size_t least3(size_t a, size_t b, size_t c) {
  size_t least = a < b ? a : b;
  return least < c ? least : c;
}

/* Insertions, deletions and replacements to get from a to b. */
static size_t distance(const char *a, const char *b) {
  size_t row[MAX_WORD + 1];
  size_t n = strlen(b);
  if (n > MAX_WORD || strlen(a) > MAX_WORD) {
    return MAX_WORD;
  }
  for (size_t j = 0; j <= n; j++) {
    row[j] = j;
  }
  for (size_t i = 1; a[i - 1] != '\0'; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t above = row[j];
      size_t same =
          (size_t)(tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
      row[j] = least3(row[j - 1] + 1, above + 1, diagonal + same);
      diagonal = above;
    }
  }
  return row[n];
}

const char *vonk_cli_closest(const char *word, const char *const *words, size_t n) {
  const char *best = NULL;
  size_t best_distance = strlen(word) / 3 + 1;
  for (size_t i = 0; i < n; i++) {
    size_t d = distance(word, words[i]);
    if (d <= best_distance && d < strlen(word)) {
      best = words[i];
      best_distance = d == 0 ? 0 : d - 1;
    }
  }
  return best;
}

static bool is_last(const vonk_cli_option *o) {
  return o->name == NULL && o->letter == 0;
}

static vonk_status unknown_option(const vonk_cli_command *command, const char *word,
                                  size_t length, vonk_error *err) {
  enum { MAX_OPTIONS = 64 };
  const char *names[MAX_OPTIONS];
  char name[MAX_WORD + 1] = "";
  size_t n = 0;
  for (const vonk_cli_option *o = command->options; !is_last(o) && n < MAX_OPTIONS; o++) {
    if (o->name != NULL) {
      names[n++] = o->name;
    }
  }
  if (length > 2 && length - 2 <= MAX_WORD) {
    memcpy(name, word + 2, length - 2);
  }
  const char *closest = vonk_cli_closest(name, names, n);
  if (closest != NULL) {
    return vonk_fail(err, VONK_INVALID, "%.*s: unknown option: did you mean --%s?",
                     (int)length, word, closest);
  }
  return vonk_fail(err, VONK_INVALID, "%.*s: unknown option", (int)length, word);
}

/* --- parsing --- */

typedef struct words {
  char **argv;
  int argc, next;
} words;

static const vonk_cli_option *find_long(const vonk_cli_command *command, const char *name,
                                        size_t length) {
  for (const vonk_cli_option *o = command->options; !is_last(o); o++) {
    if (o->name != NULL && strlen(o->name) == length &&
        memcmp(o->name, name, length) == 0) {
      return o;
    }
  }
  return NULL;
}

static const vonk_cli_option *find_letter(const vonk_cli_command *command, char letter) {
  for (const vonk_cli_option *o = command->options; !is_last(o); o++) {
    if (o->letter == letter && letter != '\0') {
      return o;
    }
  }
  return NULL;
}

/* The value of an option: what is attached to it, else the next word. */
static vonk_status take_value(const vonk_cli_option *o, const char *attached, words *w,
                              const char **out, vonk_error *err) {
  if (o->value == NULL) {
    *out = NULL;
    return attached == NULL
               ? VONK_OK
               : vonk_fail(err, VONK_INVALID, "--%s: takes no value, got '%s'", o->name,
                           attached);
  }
  if (attached == NULL && w->next >= w->argc) {
    return o->name == NULL ? vonk_fail(err, VONK_INVALID, "-%c: needs a value: %s",
                                       o->letter, o->value)
                           : vonk_fail(err, VONK_INVALID, "--%s: needs a value: %s",
                                       o->name, o->value);
  }
  *out = attached != NULL ? attached : w->argv[w->next++];
  return VONK_OK;
}

static vonk_status parse_option(const vonk_cli_command *command, const char *word,
                                words *w, vonk_cli_given *out, vonk_error *err) {
  const char *attached = NULL;
  size_t length = strlen(word);
  const vonk_cli_option *o;
  if (word[1] == '-') {
    const char *equals = strchr(word, '=');
    length = equals == NULL ? length : (size_t)(equals - word);
    attached = equals == NULL ? NULL : equals + 1;
    o = find_long(command, word + 2, length - 2);
  } else {
    o = find_letter(command, word[1]);
    attached = word[2] == '\0' ? NULL : word + 2;
    length = 2;
  }
  if (o == NULL) {
    return unknown_option(command, word, length, err);
  }
  out->option = o;
  return take_value(o, attached, w, &out->value, err);
}

static vonk_status check_operands(const vonk_cli_command *command, size_t n,
                                  const char *first_extra, vonk_error *err) {
  if (n < (size_t)command->min_operands) {
    return vonk_fail(err, VONK_INVALID, "%s: %s",
                     n == 0 ? "nothing to work on" : "something is missing",
                     command->operands);
  }
  if (command->max_operands >= 0 && n > (size_t)command->max_operands) {
    return vonk_fail(err, VONK_INVALID, "'%s': one argument too many: takes %s",
                     first_extra,
                     command->operands[0] == '\0' ? "none" : command->operands);
  }
  return VONK_OK;
}

static vonk_status parse_words(const vonk_cli_command *command, words *w,
                               vonk_cli_args *args, vonk_error *err) {
  bool only_operands = false;
  while (w->next < w->argc) {
    const char *word = w->argv[w->next++];
    if (only_operands || word[0] != '-' || word[1] == '\0') {
      args->operands[args->n_operands++] = word;
    } else if (strcmp(word, "--") == 0) {
      only_operands = true;
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
      args->wants_help = true;
      return VONK_OK;
    } else {
      VONK_TRY(parse_option(command, word, w, &args->given[args->n_given], err));
      args->n_given++;
    }
  }
  size_t most = command->max_operands < 0 ? 0 : (size_t)command->max_operands;
  return check_operands(command, args->n_operands,
                        args->n_operands > most ? args->operands[most] : "", err);
}

vonk_status vonk_cli_parse(const vonk_cli_command *command, int argc, char **argv,
                           vonk_cli_args *out, vonk_error *err) {
  vonk_cli_args args = {.command = command};
  words w = {.argv = argv, .argc = argc, .next = 1};
  vonk_status status = vonk_new((size_t)argc, sizeof(*args.given), &args.given, err);
  if (status == VONK_OK) {
    status = vonk_new((size_t)argc, sizeof(*args.operands), &args.operands, err);
  }
  if (status == VONK_OK) {
    status = parse_words(command, &w, &args, err);
  }
  if (status != VONK_OK) {
    vonk_cli_args_clear(&args);
    return status;
  }
  *out = args;
  return VONK_OK;
}

void vonk_cli_args_clear(vonk_cli_args *args) {
  vonk_delete(args->given);
  vonk_delete(args->operands);
  memset(args, 0, sizeof(*args));
}

/* --- values --- */

/* name: of the option, or its letter where it has no name. */
static bool is_option(const vonk_cli_option *o, const char *name) {
  return o->name != NULL ? strcmp(o->name, name) == 0
                         : name[0] == o->letter && name[1] == '\0';
}

static const vonk_cli_given *last_given(const vonk_cli_args *args, const char *option) {
  for (size_t i = args->n_given; i > 0; i--) {
    if (is_option(args->given[i - 1].option, option)) {
      return &args->given[i - 1];
    }
  }
  return NULL;
}

const char *vonk_cli_value(const vonk_cli_args *args, const char *option,
                           const char *fallback) {
  const vonk_cli_given *given = last_given(args, option);
  return given == NULL ? fallback : given->value;
}

bool vonk_cli_flag(const vonk_cli_args *args, const char *option) {
  return last_given(args, option) != NULL;
}

const char *vonk_cli_next(const vonk_cli_args *args, const char *option,
                          size_t *position) {
  while (*position < args->n_given) {
    const vonk_cli_given *given = &args->given[(*position)++];
    if (is_option(given->option, option)) {
      return given->value;
    }
  }
  return NULL;
}

vonk_status vonk_cli_number(const vonk_cli_args *args, const char *option,
                            int64_t fallback, int64_t least, int64_t most, int64_t *out,
                            vonk_error *err) {
  const char *text = vonk_cli_value(args, option, NULL);
  if (text == NULL) {
    *out = fallback;
    return VONK_OK;
  }
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
    return vonk_fail(err, VONK_INVALID,
                     "--%s: '%s' is not a whole number from %" PRId64 " to %" PRId64,
                     option, text, least, most);
  }
  *out = value;
  return VONK_OK;
}

vonk_status vonk_cli_seconds(const vonk_cli_args *args, const char *option,
                             double fallback, double *out, vonk_error *err) {
  const char *text = vonk_cli_value(args, option, NULL);
  if (text == NULL) {
    *out = fallback;
    return VONK_OK;
  }
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0.0) || value > 86400.0) {
    return vonk_fail(err, VONK_INVALID, "--%s: '%s' is not a number of seconds above 0",
                     option, text);
  }
  *out = value;
  return VONK_OK;
}

vonk_status vonk_cli_form_check(const char *form, vonk_error *err) {
  enum { MOST_DIGITS = 4, MOST_ENTRIES = 1000 };
  const char *digits = form + 3;
  size_t n = strncmp(form, "top", 3) == 0 ? strspn(digits, "0123456789") : 0;
  bool is_top = n > 0 && n <= MOST_DIGITS && digits[n] == '\0' && digits[0] != '0' &&
                strtol(digits, NULL, 10) <= MOST_ENTRIES;
  return is_top || strcmp(form, "argmax") == 0 || strcmp(form, "label") == 0
             ? VONK_OK
             : vonk_fail(err, VONK_INVALID,
                         "--as: '%s' is not argmax, label or topN, as in top5 (N up to "
                         "1000)",
                         form);
}

vonk_status vonk_cli_choice(const vonk_cli_args *args, const char *option,
                            const char *const *choices, int fallback, int *out,
                            vonk_error *err) {
  const char *text = vonk_cli_value(args, option, NULL);
  if (text == NULL) {
    *out = fallback;
    return VONK_OK;
  }
  vonk_text list = {.size = 0};
  for (int i = 0; choices[i] != NULL; i++) {
    if (strcmp(choices[i], text) == 0) {
      *out = i;
      return VONK_OK;
    }
    vonk_text_add(&list, "%s%s",
                  i == 0                   ? ""
                  : choices[i + 1] == NULL ? " or "
                                           : ", ",
                  choices[i]);
  }
  return vonk_fail(err, VONK_INVALID, "--%s: '%s' is not %s", option, text, list.data);
}

vonk_status vonk_cli_pair(const char *option, const char *text, const char *wants,
                          char **key, const char **value, vonk_error *err) {
  const char *equals = strchr(text, '=');
  if (equals == NULL || equals == text || equals[1] == '\0') {
    return vonk_fail(err, VONK_INVALID, "--%s: '%s' is not %s", option, text, wants);
  }
  VONK_TRY(vonk_new_string(text, key, err));
  (*key)[equals - text] = '\0';
  *value = equals + 1;
  return VONK_OK;
}

/* --- options of the model --- */

vonk_status vonk_cli_model_options_read(const vonk_cli_args *args,
                                        vonk_cli_model_options *out, vonk_error *err) {
  vonk_cli_model_options options = {.n = 0};
  VONK_TRY(vonk_new(args->n_given + 1, sizeof(*options.kvs), &options.kvs, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < args->n_given; i++) {
    const vonk_cli_option *o = args->given[i].option;
    const char *value = args->given[i].value;
    char *key = NULL;
    if (is_option(o, "option")) {
      status = vonk_cli_pair("option", value, "KEY=VALUE", &key, &value, err);
    } else if (is_option(o, "device") || is_option(o, "plugin") ||
               is_option(o, "signature")) {
      status = vonk_new_string(o->name, &key, err);
    }
    if (status == VONK_OK && key != NULL) {
      options.kvs[options.n++] = (vonk_kv){key, value};
    }
  }
  if (status != VONK_OK) {
    vonk_cli_model_options_clear(&options);
    return status;
  }
  *out = options;
  return VONK_OK;
}

void vonk_cli_model_options_clear(vonk_cli_model_options *options) {
  for (size_t i = 0; i < options->n; i++) {
    char *key = (char *)(uintptr_t)options->kvs[i].key; /* ours, made above */
    vonk_delete(key);
  }
  vonk_delete(options->kvs);
  memset(options, 0, sizeof(*options));
}
