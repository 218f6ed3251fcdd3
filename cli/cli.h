/* What the files of the vonk program share: commands as tables, arguments, exit codes,
 * messages. */
#ifndef VONK_CLI_H
#define VONK_CLI_H

#include <stdio.h>

#include "base/base.h"
#include "vonk/vonk.h"

/* Exit codes; docs/cli.md and the manual page list them from vonk_cli_exits. */
enum {
  VONK_EXIT_OK = 0,
  VONK_EXIT_FAILED = 1,
  VONK_EXIT_USAGE = 2,
  VONK_EXIT_MODEL = 3,
  VONK_EXIT_DATA = 4,
  VONK_EXIT_FILES = 5,
  VONK_EXIT_INTERRUPTED = 130,
  VONK_EXIT_TERMINATED = 143
};
typedef struct vonk_cli_exit {
  int code;
  const char *meaning;
} vonk_cli_exit;
extern const vonk_cli_exit vonk_cli_exits[]; /* ends with meaning NULL */

/* --- commands (commands.c) --- */

typedef struct vonk_cli_option {
  const char *name;  /* without the dashes; NULL = only a letter */
  char letter;       /* 0 = none */
  const char *value; /* what stands for the value in the help; NULL = a flag */
  const char *help;
} vonk_cli_option;

typedef struct vonk_cli_example {
  const char *what, *command;
} vonk_cli_example;

struct vonk_cli_args;
typedef struct vonk_cli_command {
  const char *name;
  const char *operands; /* "MODEL INPUT..." */
  const char *summary;  /* one line */
  const char *text; /* paragraphs, separated by an empty line; a line that begins with a
                       space is kept as it is */
  const vonk_cli_option *options;   /* ends with neither name nor letter */
  const vonk_cli_example *examples; /* ends with what NULL */
  int min_operands, max_operands;   /* -1 = any number */
  int (*run)(const struct vonk_cli_args
                 *); /* returns the exit code; has printed its own message */
} vonk_cli_command;
extern const vonk_cli_command vonk_cli_commands[];       /* ends with name NULL */
const vonk_cli_command *vonk_cli_find(const char *name); /* NULL if there is none */

int vonk_cli_inspect(const struct vonk_cli_args *);
int vonk_cli_run(const struct vonk_cli_args *);
int vonk_cli_query(const struct vonk_cli_args *); /* vonk sql */
int vonk_cli_pack(const struct vonk_cli_args *);  /* vonk pack: does not return */
int vonk_cli_plugins(const struct vonk_cli_args *);
int vonk_cli_bench(const struct vonk_cli_args *);
int vonk_cli_help(const struct vonk_cli_args *);

/* Prints the plug-ins and whether their frameworks work (plugin_list.c). */
vonk_status vonk_cli_plugin_list(bool is_json, vonk_error *err);

/* Prints the help of a command; the exit code. */
int vonk_cli_help_about(const char *name);

/* --- arguments (args.c) --- */

typedef struct vonk_cli_given {
  const vonk_cli_option *option;
  const char *value; /* NULL for a flag */
} vonk_cli_given;

/* Everything is borrowed from argv. */
typedef struct vonk_cli_args {
  const vonk_cli_command *command;
  vonk_cli_given *given; /* in the order of the command line */
  size_t n_given;
  const char **operands;
  size_t n_operands;
  bool wants_help;
} vonk_cli_args;

/* argv[0] is the command's name. VONK_INVALID says what is wrong and what was probably
 * meant. */
vonk_status vonk_cli_parse(const vonk_cli_command *command, int argc, char **argv,
                           vonk_cli_args *out, vonk_error *err);
void vonk_cli_args_clear(vonk_cli_args *);

/* The last value given, or fallback. */
const char *vonk_cli_value(const vonk_cli_args *, const char *option,
                           const char *fallback);
bool vonk_cli_flag(const vonk_cli_args *, const char *option);
/* The next value of a repeatable option from *position on, which starts at 0; NULL at the
 * end. */
const char *vonk_cli_next(const vonk_cli_args *, const char *option, size_t *position);
/* A whole number from least to most; fallback if the option was not given. */
vonk_status vonk_cli_number(const vonk_cli_args *, const char *option, int64_t fallback,
                            int64_t least, int64_t most, int64_t *out, vonk_error *err);
vonk_status vonk_cli_seconds(const vonk_cli_args *, const char *option, double fallback,
                             double *out, vonk_error *err);
/* What --as can be: argmax, label, or top and a number up to 1000. */
vonk_status vonk_cli_form_check(const char *form, vonk_error *err);
/* One of choices (ends with NULL): *out is its place; fallback if not given. */
vonk_status vonk_cli_choice(const vonk_cli_args *, const char *option,
                            const char *const *choices, int fallback, int *out,
                            vonk_error *err);
/* Cuts "key=value" at the first '=': key is a new string. wants names the form for the
 * message. */
vonk_status vonk_cli_pair(const char *option, const char *text, const char *wants,
                          char **key, const char **value, vonk_error *err);
/* The word closest to `word`, NULL if none is close. */
const char *vonk_cli_closest(const char *word, const char *const *words, size_t n);

/* --- messages (message.c) --- */

/* "vonk run: ..." on stderr. */
void vonk_cli_complain(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Complains with err's message; returns code. */
int vonk_cli_fail(const char *command, const vonk_error *err, int code);
/* The same for a wrong command line, with where to read on; returns VONK_EXIT_USAGE. */
int vonk_cli_misuse(const char *command, const vonk_error *err);

/* Makes text from a model or a file fit to print: one line, and nothing that a terminal would obey. */
void vonk_cli_clean(char *text);

/* Adds a word as a shell takes it, in quotes where it needs them. */
void vonk_cli_shell_word(const char *word, vonk_text *out);

/* "1.6 MB", "407,050", "3 min 20 s": into out. */
const char *vonk_cli_bytes(int64_t nbytes, char out[32]);
const char *vonk_cli_count(int64_t n, char out[32]);
const char *vonk_cli_duration(double seconds, char out[32]);
/* "pixels: float32[N, 784]" */
void vonk_cli_tensor(const vonk_io *io, vonk_text *out);

/* --- shared by commands --- */

/* --device, --option k=v, --plugin, --signature: the options of vonk_model_open. */
typedef struct vonk_cli_model_options {
  vonk_kv *kvs; /* keys are new strings */
  size_t n;
} vonk_cli_model_options;
vonk_status vonk_cli_model_options_read(const vonk_cli_args *,
                                        vonk_cli_model_options *out, vonk_error *err);
void vonk_cli_model_options_clear(vonk_cli_model_options *);

#endif /* VONK_CLI_H */
