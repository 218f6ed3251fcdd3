/* `vonk help`: the tables of commands.c as text for a terminal and as a manual page.
 *
 * How it works: text is wrapped at 88 columns, or at the terminal's width if that is
 * less; the manual page leaves wrapping to troff. Nothing is said in one that is not said
 * in the other. */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

enum { WIDTH = 88, LEAST_WIDTH = 40, OPTION_INDENT = 6 };

/* --- for a terminal --- */

static size_t terminal_width(void) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= LEAST_WIDTH &&
      size.ws_col < WIDTH) {
    return size.ws_col;
  }
  return WIDTH;
}

/* One paragraph, its lines indented; `column` is where the cursor is. */
static void print_wrapped(const char *text, size_t length, size_t indent, size_t column) {
  size_t width = terminal_width();
  const char *end = text + length;
  while (text < end) {
    text += strspn(text, " ");
    size_t word = strcspn(text, " \n");
    word = text + word > end ? (size_t)(end - text) : word;
    if (word == 0) {
      break;
    }
    if (column > indent && column + 1 + word > width) {
      (void)putchar('\n');
      column = 0;
    }
    if (column < indent) {
      (void)printf("%*s", (int)(indent - column), "");
      column = indent;
    } else if (column > indent) {
      (void)putchar(' ');
      column++;
    }
    (void)printf("%.*s", (int)word, text);
    column += word;
    text += word;
  }
  (void)putchar('\n');
}

static void print_paragraphs(const char *text) {
  while (*text != '\0') {
    const char *end = strstr(text, "\n\n");
    size_t length = end == NULL ? strlen(text) : (size_t)(end - text);
    print_wrapped(text, length, 0, 0);
    (void)putchar('\n');
    text += length + strspn(text + length, "\n");
  }
}

/* "-o OUTPUT", "--input TENSOR=COLUMN", "-q, --quiet" */
static void option_title(const vonk_cli_option *o, vonk_text *out) {
  if (o->letter != 0) {
    vonk_text_add(out, "-%c%s", o->letter, o->name == NULL ? "" : ", ");
  }
  if (o->name != NULL) {
    vonk_text_add(out, "--%s", o->name);
  }
  if (o->value != NULL) {
    vonk_text_add(out, " %s", o->value);
  }
}

static bool is_last(const vonk_cli_option *o) {
  return o->name == NULL && o->letter == 0;
}

static void print_exits(void) {
  (void)printf("Exit codes:\n");
  for (const vonk_cli_exit *e = vonk_cli_exits; e->meaning != NULL; e++) {
    (void)printf("  %3d  %s\n", e->code, e->meaning);
  }
}

static void print_command(const vonk_cli_command *c) {
  (void)printf("Usage: vonk %s%s%s [OPTION]...\n\n", c->name,
               c->operands[0] == '\0' ? "" : " ", c->operands);
  print_paragraphs(c->text);
  (void)printf("Options:\n");
  for (const vonk_cli_option *o = c->options; !is_last(o); o++) {
    vonk_text title = {.size = 0};
    option_title(o, &title);
    (void)printf("  %s\n", title.data);
    print_wrapped(o->help, strlen(o->help), OPTION_INDENT, 0);
  }
  (void)printf("  -h, --help\n      print this\n\n");
  if (c->examples->what != NULL) {
    (void)printf("Examples:\n");
    for (const vonk_cli_example *e = c->examples; e->what != NULL; e++) {
      (void)printf("  # %s\n  %s\n\n", e->what, e->command);
    }
  }
  print_exits();
}

static void print_overview(void) {
  (void)printf(
      "vonk %s: turns a trained model into a column of predictions\n\n"
      "Usage: vonk COMMAND ...\n\nCommands:\n",
      vonk_version());
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL; c++) {
    (void)printf("  %-9s %s\n", c->name, c->summary);
  }
  (void)printf(
      "\nStart with these two:\n"
      "  vonk inspect model.onnx\n"
      "  vonk run model.onnx rows.parquet -o predictions.parquet\n\n"
      "'vonk help COMMAND' explains a command, 'vonk --version' prints the version.\n");
}

/* --- for man --- */

/* Text with what troff would take for its own escaped. */
static void man_text(const char *text) {
  bool at_start = true;
  for (; *text != '\0'; text++) {
    if (text[0] == '\n' && text[1] == '\n') {
      (void)printf("\n.PP\n");
      text++;
      at_start = true;
      continue;
    }
    if (at_start && (*text == '.' || *text == '\'')) {
      (void)printf("\\&");
    }
    at_start = *text == '\n';
    switch (*text) {
      case '\\':
        (void)printf("\\e");
        break;
      case '-':
        (void)printf("\\-");
        break;
      case '\'':
        (void)printf("\\(aq");
        break;
      default:
        (void)putchar(*text);
    }
  }
}

static void man_command(const vonk_cli_command *c) {
  (void)printf(".SS \"vonk %s %s\"\n", c->name, c->operands);
  man_text(c->text);
  (void)putchar('\n');
  for (const vonk_cli_option *o = c->options; !is_last(o); o++) {
    vonk_text title = {.size = 0};
    option_title(o, &title);
    (void)printf(".TP\n.B ");
    man_text(title.data);
    (void)putchar('\n');
    man_text(o->help);
    (void)printf(".\n");
  }
}

static void man_examples(void) {
  (void)printf(".SH EXAMPLES\n");
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL; c++) {
    for (const vonk_cli_example *e = c->examples; e->what != NULL; e++) {
      (void)printf(".PP\n");
      man_text(e->what);
      (void)printf("\n.RS\n.nf\n");
      man_text(e->command);
      (void)printf("\n.fi\n.RE\n");
    }
  }
}

static void print_man(void) {
  (void)printf(".TH VONK 1 \"\" \"vonk %s\" \"User Commands\"\n", vonk_version());
  (void)printf(
      ".SH NAME\nvonk \\- turns a trained model into a column of predictions\n.SH "
      "SYNOPSIS\n");
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL; c++) {
    (void)printf(".B vonk %s\n", c->name);
    if (c->operands[0] != '\0') {
      man_text(c->operands);
      (void)printf("\n");
    }
    (void)printf("[\\fIOPTION\\fR]...\n.br\n");
  }
  (void)printf(".SH DESCRIPTION\n");
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL; c++) {
    man_command(c);
  }
  man_examples();
  (void)printf(".SH EXIT STATUS\n");
  for (const vonk_cli_exit *e = vonk_cli_exits; e->meaning != NULL; e++) {
    (void)printf(".TP\n.B %d\n%s\n", e->code, e->meaning);
  }
  (void)printf(".SH ENVIRONMENT\n");
  static const char *const variables[][2] = {
      {"VONK_PLUGIN_PATH",
       "absolute folders with plug-ins, separated by colons, searched first"},
      {"VONK_LIBDUCKDB",
       "the DuckDB library to read and write tables with, instead of the one that set-up "
       "recorded"},
      {"VONK_MODELS",
       "models for 'vonk sql': NAME=PATH, a file or a folder, separated by colons"},
      {"VONK_DUCKDB_SHELL", "DuckDB's shell for 'vonk sql --shell'"},
      {"VONK_PYTHON", "the Python that 'vonk pack' runs in"},
      {"NO_COLOR", "if it is set, boxes have no colours"},
      {"TMPDIR", "where the standard input is kept while it is read; default /tmp"},
  };
  for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
    (void)printf(".TP\n.B %s\n", variables[i][0]);
    man_text(variables[i][1]);
    (void)putchar('\n');
  }
}

/* --- the command --- */

static int unknown_command(const char *name) {
  enum { MAX_COMMANDS = 16 };
  const char *names[MAX_COMMANDS];
  size_t n = 0;
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL && n < MAX_COMMANDS;
       c++) {
    names[n++] = c->name;
  }
  const char *closest = vonk_cli_closest(name, names, n);
  vonk_error err = VONK_ERROR_INIT;
  (void)vonk_fail(&err, VONK_INVALID, "%s: unknown command%s%s%s", name,
                  closest == NULL ? "" : ": did you mean '",
                  closest == NULL ? "" : closest, closest == NULL ? "" : "'?");
  return vonk_cli_misuse(NULL, &err);
}

int vonk_cli_help_about(const char *name) {
  const vonk_cli_command *c = vonk_cli_find(name);
  if (c == NULL) {
    return unknown_command(name);
  }
  print_command(c);
  return VONK_EXIT_OK;
}

int vonk_cli_help(const struct vonk_cli_args *args) {
  if (vonk_cli_flag(args, "man")) {
    print_man();
    return VONK_EXIT_OK;
  }
  if (args->n_operands == 1) {
    return vonk_cli_help_about(args->operands[0]);
  }
  print_overview();
  return VONK_EXIT_OK;
}
