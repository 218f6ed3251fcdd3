/* Trying out plug-ins: the commands `vonk plugins --probe` and `--conformance`. */
#ifndef VONK_CLI_CONFORMANCE_H
#define VONK_CLI_CONFORMANCE_H

#include <stdio.h>

/* Loads the plug-in at path in a child process and says on out what came of it, a crash
 * included. 0: it can be loaded. */
int vonk_cli_probe(const char *path, FILE *out);

/* Runs every check of the conformance suite on the plug-in at path, each in a child
 * process, one line a check on out. model_or_null: a model that the plug-in opens;
 * without one the checks that need it are left out. 0: none failed, 1: some did. */
int vonk_cli_conformance(const char *path, const char *model_or_null, FILE *out);

#endif /* VONK_CLI_CONFORMANCE_H */
