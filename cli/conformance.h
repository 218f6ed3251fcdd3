/* Trying out plug-ins: the commands `vonk plugins --probe` and `--conformance`. */
#ifndef VONK_CLI_CONFORMANCE_H
#define VONK_CLI_CONFORMANCE_H

#include <stdio.h>

#include "vonk/plugin.h"

/* Loads the plug-in at path in a child process and says on out what came of it, a crash
 * included. 0: it can be loaded. */
int vonk_cli_probe(const char *path, FILE *out);

/* What is tested: the plug-in at path, with a model that it opens when it is given these
 * options. Borrowed. */
typedef struct trial_subject {
  const char *path;
  const char *model; /* NULL: the checks that need one are left out */
  const vonk_kv *options;
  size_t n_options;
} trial_subject;

/* Runs every check of the conformance suite, each in a child process, one line a check on
 * out. 0: none failed, 1: some did. */
int vonk_cli_conformance(const trial_subject *, FILE *out);

#endif /* VONK_CLI_CONFORMANCE_H */
