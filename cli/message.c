/* Messages, and numbers as people read them. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

void vonk_cli_clean(char *text) {
  for (; *text != '\0'; text++) {
    if ((unsigned char)*text < ' ' || *text == 0x7f) {
      *text = *text == '\n' || *text == '\t' ? ' ' : '?';
    }
  }
}

static void complain(const char *command, const char *message) {
  char line[1200];
  (void)snprintf(line, sizeof(line), "%s", message);
  vonk_cli_clean(line);
  if (command == NULL) {
    (void)fprintf(stderr, "vonk: %s\n", line);
  } else {
    (void)fprintf(stderr, "vonk %s: %s\n", command, line);
  }
}

void vonk_cli_complain(const char *command, const char *format, ...) {
  char message[1200];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(message, sizeof(message), format, args);
  va_end(args);
  complain(command, message);
}

int vonk_cli_fail(const char *command, const vonk_error *err, int code) {
  complain(command, err->message);
  return code;
}

int vonk_cli_misuse(const char *command, const vonk_error *err) {
  complain(command, err->message);
  if (command == NULL) {
    (void)fprintf(stderr, "'vonk help' lists the commands.\n");
  } else {
    (void)fprintf(stderr, "'vonk help %s' explains the command and its options.\n",
                  command);
  }
  return VONK_EXIT_USAGE;
}

void vonk_cli_shell_word(const char *word, vonk_text *out) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,@%+-";
  if (word[0] != '\0' && strspn(word, plain) == strlen(word)) {
    vonk_text_add(out, "%s", word);
    return;
  }
  vonk_text_add(out, "'");
  for (; *word != '\0'; word++) {
    const char letter[] = {*word, '\0'};
    vonk_text_add(out, "%s", *word == '\'' ? "'\\''" : letter);
  }
  vonk_text_add(out, "'");
}

const char *vonk_cli_bytes(int64_t nbytes, char out[32]) {
  static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = (double)nbytes;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
    value /= 1000.0;
    unit++;
  }
  (void)snprintf(out, 32, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value,
                 units[unit]);
  return out;
}

const char *vonk_cli_count(int64_t n, char out[32]) {
  char digits[24];
  (void)snprintf(digits, sizeof(digits), "%" PRId64, n < 0 ? 0 : n);
  size_t length = strlen(digits), at = 0;
  for (size_t i = 0; i < length && at < 30; i++) {
    if (i > 0 && (length - i) % 3 == 0) {
      out[at++] = ',';
    }
    out[at++] = digits[i];
  }
  out[at] = '\0';
  return out;
}

const char *vonk_cli_duration(double seconds, char out[32]) {
  long long whole = (long long)(seconds + 0.5);
  if (seconds < 10.0) {
    (void)snprintf(out, 32, "%.1f s", seconds);
  } else if (whole < 60) {
    (void)snprintf(out, 32, "%lld s", whole);
  } else if (whole < 3600) {
    (void)snprintf(out, 32, "%lld min %lld s", whole / 60, whole % 60);
  } else {
    (void)snprintf(out, 32, "%lld h %lld min", whole / 3600, whole % 3600 / 60);
  }
  return out;
}

static void add_dimension(const vonk_io *io, int32_t i, vonk_text *out) {
  if (io->shape[i] >= 0) {
    vonk_text_add(out, "%" PRId64, io->shape[i]);
  } else if (io->dim_names != NULL && io->dim_names[i] != NULL) {
    vonk_text_add(out, "%s", io->dim_names[i]);
  } else {
    vonk_text_add(out, "%s", i == 0 ? "N" : "?");
  }
}

void vonk_cli_tensor(const vonk_io *io, vonk_text *out) {
  vonk_text_add(out, "%s: %s", io->name, vonk_dtype_name(io->dtype));
  if (io->rank < 0) {
    vonk_text_add(out, " of any shape");
    return;
  }
  for (int32_t i = 0; i < io->rank; i++) {
    vonk_text_add(out, i == 0 ? "[" : ", ");
    add_dimension(io, i, out);
  }
  vonk_text_add(out, io->rank > 0 ? "]" : "");
}
