/* The SQL that `vonk sql` runs: where it comes from, and where one statement ends.
 *
 * How it works: DuckDB itself parses; this only finds the ';' between statements, so that
 * each can be run, and its errors located, by itself. A ';' does not count in 'text' and
 * E'text', "names", $tag$text$tag$, -- and nested comments. */
#define _GNU_SOURCE /* fopen's "e" */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cli/sql.h"

/* --- reading --- */

static vonk_status read_stream(FILE *file, const char *name, vonk_buffer *out,
                               vonk_error *err) {
  enum { BLOCK = 1 << 16 };
  for (;;) {
    VONK_TRY(vonk_buffer_reserve(out, BLOCK + 1, err));
    size_t n = fread(out->data + out->size, 1, BLOCK, file);
    out->size += n;
    if (n == 0) {
      break;
    }
  }
  out->data[out->size] = '\0';
  if (ferror(file) != 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be read: %s", name, strerror(errno));
  }
  const void *nul = memchr(out->data, '\0', out->size);
  return nul == NULL ? VONK_OK
                     : vonk_fail(err, VONK_IO, "%s: is not text: has a zero byte", name);
}

static vonk_status read_script(const vonk_cli_sql_settings *s, vonk_cli_script *out,
                               vonk_error *err) {
  bool is_stdin = strcmp(s->file, "-") == 0;
  VONK_TRY(vonk_new_string(is_stdin ? "the standard input" : s->file, &out->name, err));
  FILE *file = is_stdin ? stdin : fopen(s->file, "rbe");
  if (file == NULL) {
    return vonk_fail(err, VONK_IO, "%s: cannot be read: %s", s->file, strerror(errno));
  }
  vonk_status status = read_stream(file, out->name, &out->buffer, err);
  if (!is_stdin) {
    (void)fclose(file);
  }
  VONK_TRY(status);
  static const char mark[] = "\xef\xbb\xbf";
  bool has_mark = strncmp((const char *)out->buffer.data, mark, 3) == 0;
  out->text = (const char *)out->buffer.data + (has_mark ? 3 : 0);
  return VONK_OK;
}

vonk_status vonk_cli_script_read(const vonk_cli_sql_settings *s, vonk_cli_script *out,
                                 vonk_error *err) {
  vonk_cli_script script = {.text = s->query};
  vonk_status status = s->query != NULL ? VONK_OK : read_script(s, &script, err);
  if (status != VONK_OK) {
    vonk_cli_script_release(&script);
    return status;
  }
  *out = script;
  return VONK_OK;
}

void vonk_cli_script_release(vonk_cli_script *script) {
  vonk_delete(script->name);
  vonk_buffer_release(&script->buffer);
  *script = (vonk_cli_script){0};
}

/* --- statements --- */

static bool is_word(char c) {
  return isalnum((unsigned char)c) != 0 || c == '_' || (unsigned char)c >= 0x80;
}

static const char *skip_line(const char *p) { return p + strcspn(p, "\n"); }

static const char *skip_comment(const char *p) {
  int depth = 0;
  do {
    bool opens = p[0] == '/' && p[1] == '*', closes = p[0] == '*' && p[1] == '/';
    depth += opens ? 1 : closes ? -1 : 0;
    p += opens || closes ? 2 : 1;
  } while (depth > 0 && *p != '\0');
  return p;
}

static const char *skip_quoted(const char *p, bool has_escapes) {
  char quote = *p++;
  while (*p != '\0' && *p != quote) {
    p += has_escapes && p[0] == '\\' && p[1] != '\0' ? 2 : 1;
  }
  return *p == '\0' ? p : p + 1; /* a doubled quote begins another one */
}

/* $tag$ ... $tag$; a '$' that begins no tag is one character. */
static const char *skip_dollars(const char *p) {
  const char *tag = p++;
  if (isdigit((unsigned char)*p) == 0) {
    while (is_word(*p)) {
      p++;
    }
  }
  if (*p != '$') {
    return tag + 1;
  }
  size_t length = (size_t)(++p - tag);
  while (*p != '\0' && strncmp(p, tag, length) != 0) {
    p++;
  }
  return *p == '\0' ? p : p + length;
}

/* Past what begins at p, a whole one of what may hold a ';'. */
static const char *skip_token(const char *p) {
  const char *word = p;
  if (is_word(*p)) {
    while (is_word(*p) || *p == '$') {
      p++;
    }
    bool has_escapes = *p == '\'' && p - word == 1 && (*word == 'e' || *word == 'E');
    return has_escapes ? skip_quoted(p, true) : p;
  }
  if (p[0] == '-' && p[1] == '-') {
    return skip_line(p);
  }
  if (p[0] == '/' && p[1] == '*') {
    return skip_comment(p);
  }
  if (*p == '\'' || *p == '"') {
    return skip_quoted(p, false);
  }
  return *p == '$' ? skip_dollars(p) : p + 1;
}

static bool is_space_or_comment(const char *p) {
  return isspace((unsigned char)*p) != 0 || (p[0] == '-' && p[1] == '-') ||
         (p[0] == '/' && p[1] == '*');
}

/* Where `at` is, counted on from the statement before. */
static void locate(const vonk_cli_script *script, const char *at,
                   vonk_cli_statement *statement) {
  const char *p = statement->start == NULL ? script->text : statement->start;
  int64_t line = statement->start == NULL ? 1 : statement->line;
  for (; p < at; p++) {
    line += *p == '\n' ? 1 : 0;
  }
  while (p > script->text && p[-1] != '\n') {
    p--;
  }
  statement->line = line;
  statement->column = vonk_cli_width(p, (size_t)(at - p));
}

bool vonk_cli_statement_next(const vonk_cli_script *script,
                             vonk_cli_statement *statement) {
  const char *p =
      statement->start == NULL ? script->text : statement->start + statement->length;
  while (*p == ';' || (*p != '\0' && is_space_or_comment(p))) {
    p = *p == ';' ? p + 1 : skip_token(p);
  }
  if (*p == '\0') {
    return false;
  }
  locate(script, p, statement);
  statement->start = p;
  while (*p != '\0' && *p != ';') {
    p = skip_token(p);
  }
  statement->length = (size_t)(p - statement->start);
  return true;
}
