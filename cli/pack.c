/* `vonk pack`: becomes Python, where the frameworks of the models to pack live.
 *
 * How it works: the command line is checked here, against the table that help and manual
 * page come from; then this process becomes `python -c ... pack ARGUMENTS`. The few lines
 * of Python do what `-m vonk pack` does, with two differences: the working directory,
 * which holds models of whoever, is not searched for modules, and a Python without vonk
 * gives one clear message. This is the only place that starts Python. */
#define _GNU_SOURCE /* secure_getenv */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "plugin/plugin.h"

enum { MAX_PATH_BYTES = 4096 };

static const char *const START =
    "import sys\n"
    "sys.path[:] = [folder for folder in sys.path if folder != '']\n"
    "try:\n"
    "    from vonk.__main__ import main\n"
    "except ImportError as error:\n"
    "    print(f'vonk pack: {sys.executable}: cannot import vonk: {error}: install vonk "
    "into it, or set VONK_PYTHON to a Python that has it', file=sys.stderr)\n"
    "    sys.exit(1)\n"
    "sys.exit(main(sys.argv[1:]))\n";

/* The Python to run. */
static vonk_status find_python(char out[MAX_PATH_BYTES], vonk_error *err) {
  const char *named = secure_getenv("VONK_PYTHON");
  if (named != NULL && named[0] != '\0') {
    int n = snprintf(out, MAX_PATH_BYTES, "%s", named);
    if (n < MAX_PATH_BYTES && access(out, X_OK) == 0) {
      return VONK_OK;
    }
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "VONK_PYTHON: there is no program '%s': give the path of a Python "
                     "that has vonk, or unset it",
                     named);
  }
  char folder[MAX_PATH_BYTES - 16];
  VONK_TRY(vonk_own_folder(folder, sizeof(folder), err));
  static const char *const names[] = {"python3", "python"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    (void)snprintf(out, MAX_PATH_BYTES, "%s/%s", folder, names[i]);
    if (access(out, X_OK) == 0) {
      return VONK_OK;
    }
  }
  const char *recorded = vonk_paths_get("python");
  if (recorded != NULL && strlen(recorded) < MAX_PATH_BYTES &&
      access(recorded, X_OK) == 0) {
    (void)snprintf(out, MAX_PATH_BYTES, "%s", recorded);
    return VONK_OK;
  }
  return vonk_fail(err, VONK_UNSUPPORTED,
                   "packing runs in Python, and none was found (searched: VONK_PYTHON: "
                   "not set; beside the program: no %s/python3; paths.conf: %s%s): 'pip "
                   "install vonk' into a virtual environment and use its vonk, or set "
                   "VONK_PYTHON",
                   folder, recorded == NULL ? "not set" : "no ",
                   recorded == NULL ? "" : recorded);
}

/* "--to=onnx" or "-oNAME": a new string. */
static vonk_status option_word(const vonk_cli_given *given, char **out, vonk_error *err) {
  const vonk_cli_option *o = given->option;
  size_t size = (o->name == NULL ? 0 : strlen(o->name)) +
                (given->value == NULL ? 0 : strlen(given->value)) + 4;
  VONK_TRY(vonk_new(size, 1, out, err));
  const char *value = given->value == NULL ? "" : given->value;
  if (o->name == NULL) {
    (void)snprintf(*out, size, "-%c%s", o->letter, value);
  } else {
    (void)snprintf(*out, size, "--%s%s%s", o->name, given->value == NULL ? "" : "=",
                   value);
  }
  return VONK_OK;
}

/* Does not return if all goes well. What is allocated lives until then. */
static vonk_status become_python(const vonk_cli_args *args, vonk_error *err) {
  char python[MAX_PATH_BYTES];
  VONK_TRY(find_python(python, err));
  enum { FIXED = 8 };
  char **words = NULL;
  VONK_TRY(
      vonk_new(args->n_given + args->n_operands + FIXED, sizeof(*words), &words, err));
  const char *const first[] = {python, "-c", START, "pack"};
  size_t n = 0;
  for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
    words[n++] = (char *)(uintptr_t)first[i]; /* execv changes nothing */
  }
  size_t n_options = 0;
  vonk_status status = VONK_OK;
  for (; status == VONK_OK && n_options < args->n_given; n_options++) {
    status = option_word(&args->given[n_options], &words[n + n_options], err);
  }
  char *const *options = words + n;
  n += n_options;
  static char end[] = "--";
  words[n++] = end;
  for (size_t i = 0; i < args->n_operands; i++) {
    words[n++] = (char *)(uintptr_t)args->operands[i];
  }
  if (status == VONK_OK) {
    (void)execv(python, words);
    status = vonk_fail(err, VONK_UNSUPPORTED, "%s: cannot be started: %s", python,
                       strerror(errno));
  }
  for (size_t i = 0; i < n_options; i++) {
    vonk_delete(options[i]);
  }
  vonk_delete(words);
  return status;
}

int vonk_cli_pack(const struct vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  if (vonk_cli_value(args, "o", NULL) == NULL) {
    (void)vonk_fail(&err, VONK_INVALID,
                    "where to? say it with -o, such as -o digit.vonk");
    return vonk_cli_misuse("pack", &err);
  }
  (void)become_python(args, &err);
  return vonk_cli_fail("pack", &err, VONK_EXIT_FAILED);
}
