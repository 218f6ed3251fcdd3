/* A line on the terminal that says how far the work is. */
#ifndef VONK_CLI_PROGRESS_H
#define VONK_CLI_PROGRESS_H

#include "base/base.h"

typedef struct vonk_cli_progress {
  bool is_on, is_shown;
  int64_t total; /* -1 = not known */
  uint64_t start_ns, shown_ns;
} vonk_cli_progress;

/* From the first row on. */
void vonk_cli_progress_start(vonk_cli_progress *, bool is_on, int64_t total);
/* Shows it, if the last time is long enough ago. arg is a vonk_cli_progress. */
void vonk_cli_progress_show(void *arg, int64_t n_rows);
/* Takes the line away. */
void vonk_cli_progress_end(vonk_cli_progress *);

#endif /* VONK_CLI_PROGRESS_H */
