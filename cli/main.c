/* The vonk program: finds the command, parses its arguments, runs it. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int run_command(const vonk_cli_command *command, int argc, char **argv) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_cli_args args;
  if (vonk_cli_parse(command, argc, argv, &args, &err) != VONK_OK) {
    return vonk_cli_misuse(command->name, &err);
  }
  int code = args.wants_help ? vonk_cli_help_about(command->name) : command->run(&args);
  vonk_cli_args_clear(&args);
  return code;
}

static int dispatch(int argc, char **argv) {
  static char help[] = "help";
  if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    char *words[] = {help, NULL};
    int code = run_command(vonk_cli_find("help"), 1, words);
    return argc < 2 ? VONK_EXIT_USAGE : code;
  }
  if (strcmp(argv[1], "--version") == 0) {
    (void)printf("vonk %s\n", vonk_version());
    return VONK_EXIT_OK;
  }
  const vonk_cli_command *command = vonk_cli_find(argv[1]);
  return command == NULL ? vonk_cli_help_about(argv[1])
                         : run_command(command, argc - 1, argv + 1);
}

int main(int argc, char **argv) {
  int code = dispatch(argc, argv);
  if (fflush(stdout) != 0 || ferror(stdout) != 0) {
    vonk_cli_complain(NULL, "the standard output: cannot be written to");
    return code == VONK_EXIT_OK ? VONK_EXIT_FILES : code;
  }
  return code;
}
