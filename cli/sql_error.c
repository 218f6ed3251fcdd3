/* Errors of `vonk sql`: the reason, and the place in the user's own text.
 *
 * How it works: DuckDB ends a message with "LINE 2: <the line>" and a caret below it,
 * counted from the statement's first word. From these two come the line of the whole text
 * and the column in it; the line itself is printed as it was written. Where DuckDB cut a
 * long line its own cut is shown. Where it knows no place, the statement's first line
 * is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sql.h"

/* Where a message points to. */
typedef struct place {
  int64_t line;  /* of the whole text, from 1; 0 = nowhere */
  size_t column; /* as displayed, from 0 */
  bool is_cut;   /* line and column are of DuckDB's own text */
  const char *text;
  size_t length;
} place;

/* The line of the whole text with this number; NULL if there is none. */
static const char *find_line(const vonk_cli_script *script, int64_t line) {
  const char *p = script->text;
  for (; p != NULL && line > 1; line--) {
    p = strchr(p, '\n');
    p = p == NULL ? NULL : p + 1;
  }
  return p;
}

/* Our column of the place that DuckDB's column stands for, in text that begins at the
 * column `first`: a tab takes none there and one here. No error is at a tab itself. */
static size_t convert_column(const char *text, size_t theirs, size_t first) {
  size_t column = first;
  for (size_t done = 0; *text != '\0' && (done < theirs || *text == '\t');) {
    size_t n = 1;
    while (((unsigned char)text[n] & 0xc0) == 0x80) {
      n++;
    }
    size_t width = vonk_cli_width(text, n);
    done += *text == '\t' ? 0 : width;
    column += width;
    text += n;
  }
  return column;
}

static place read_place(const vonk_cli_script *script, const vonk_cli_statement *s,
                        const char *message) {
  place at = {.line = 0};
  const char *mark = NULL, *next = message;
  while ((next = strstr(next, "\nLINE ")) != NULL) {
    mark = ++next; /* the last one is DuckDB's */
  }
  char *end = NULL;
  long long number = mark == NULL ? 0 : strtoll(mark + strlen("LINE "), &end, 10);
  const char *carets = end == NULL ? NULL : strchr(end, '\n');
  if (number < 1 || carets == NULL || strncmp(end, ": ", 2) != 0 ||
      strspn(carets + 1, " ") != strcspn(carets + 1, "^")) {
    return at;
  }
  size_t prefix = (size_t)(end + 2 - mark), caret = strcspn(carets + 1, "^");
  at.line = s->line + number - 1;
  at.text = end + 2;
  at.length = (size_t)(carets - at.text);
  at.column = caret > prefix ? caret - prefix : 0;
  at.is_cut = strncmp(at.text, "...", 3) == 0;
  const char *line = find_line(script, at.line);
  if (!at.is_cut && line != NULL) {
    at.column = number == 1 ? convert_column(s->start, at.column, s->column)
                            : convert_column(line, at.column, 0);
    at.text = line;
    at.length = strcspn(line, "\r\n");
  }
  return at;
}

/* "  12 | select a," and the caret. */
static void print_place(const place *at) {
  enum { LONGEST = 160 };
  size_t taken;
  char *text;
  if (vonk_new(at->length + 1, 1, &text, NULL) != VONK_OK) {
    return;
  }
  memcpy(text, at->text, at->length);
  vonk_cli_clean(text);
  size_t shown = vonk_cli_width_cut(text, LONGEST, &taken);
  int margin = fprintf(stderr, "  %" PRId64 " | ", at->line);
  (void)fprintf(stderr, "%.*s%s\n", (int)shown, text, text[shown] == '\0' ? "" : "...");
  if (at->column < LONGEST && margin > 2) {
    (void)fprintf(stderr, "%*s| %*s^\n", margin - 2, "", (int)at->column, "");
  }
  vonk_delete(text);
}

/* By DuckDB's class of error. */
static int exit_code(const char *message) {
  static const struct {
    const char *class;
    int code;
  } codes[] = {
      {"IO Error", VONK_EXIT_FILES},         {"HTTP Error", VONK_EXIT_FILES},
      {"Permission Error", VONK_EXIT_FILES}, {"Out of Memory Error", VONK_EXIT_FAILED},
      {"INTERNAL Error", VONK_EXIT_FAILED},  {"FATAL Error", VONK_EXIT_FAILED}};
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
    if (strncmp(message, codes[i].class, strlen(codes[i].class)) == 0) {
      return codes[i].code;
    }
  }
  return VONK_EXIT_DATA;
}

int vonk_cli_sql_complain(const vonk_cli_script *script,
                          const vonk_cli_statement *statement, const char *message) {
  char reason[900];
  message = message == NULL ? "failed without a reason" : message;
  vonk_cli_duckdb_reason(message, reason, sizeof(reason));
  place at = read_place(script, statement, message);
  const char *name = script->name == NULL ? "" : script->name;
  const char *colon = script->name == NULL ? "" : ": ";
  if (strchr(script->text, '\n') != NULL) {
    vonk_cli_complain("sql", "%s%sline %" PRId64 ": %s", name, colon,
                      at.line > 0 ? at.line : statement->line, reason);
  } else {
    vonk_cli_complain("sql", "%s%s%s", name, colon, reason);
  }
  if (at.line > 0) {
    print_place(&at);
  }
  return exit_code(message);
}
