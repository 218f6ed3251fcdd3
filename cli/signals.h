/* SIGINT and SIGTERM: an orderly end, and no file left behind. */
#ifndef VONK_CLI_SIGNALS_H
#define VONK_CLI_SIGNALS_H

#include "base/base.h"

/* From now on both signals are taken by a thread of their own. Before any other thread is
 * made. */
vonk_status vonk_cli_signals_start(vonk_error *err);
/* What to call, from that thread, to end the work soon; NULL = nothing: a signal then
 * ends the process at once. Waits for a call in progress, so that arg may go away
 * afterwards. */
void vonk_cli_signals_on_stop(void (*stop)(void *arg), void *arg);
/* How long on_stop's call may take to help before the process is ended, and what to write
 * on stderr then (static); 10 s and nothing if not said. */
void vonk_cli_signals_patience(uint32_t milliseconds, const char *last_words);
/* The file to remove if the process has to end at once; NULL = none. Borrowed until the
 * next call. */
void vonk_cli_signals_temporary(const char *path);
/* The signal that came, 0 = none. */
int vonk_cli_signals_caught(void);

#endif /* VONK_CLI_SIGNALS_H */
