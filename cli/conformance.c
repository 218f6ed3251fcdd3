/* `vonk plugins --conformance`: whether a plug-in keeps the rules of
 * include/vonk/plugin.h.
 *
 * How it works: a table of checks, each of one rule and each in a child process
 * (trial.c). Where a check that others stand on fails, such as loading, or where one
 * hangs, the rest is left out, so that one fault is told once. */
#include "cli/conformance.h"

#include <stdlib.h>

#include "cli/trial.h"

typedef struct conformance_check {
  const char *name;
  void (*check)(trial *);
  void (*needs)(
      trial *); /* a check above that says the same fault more plainly; NULL = none */
  bool is_base; /* those below mean nothing without it */
} conformance_check;

static const conformance_check checks[] = {
    {"loading: entry function", check_load, NULL, true},
    {"loading: table", check_table, NULL, true},
    {"loading: starts no thread", check_load_threads, NULL, false},
    {"recognise", check_recognise, NULL, false},
    {"runtime", check_runtime, NULL, true},
    {"errors of open_model", check_errors, NULL, false},
    {"options: values that are wrong", check_option_values, check_errors, false},
    {"models: cut off", check_cut_models, check_errors, false},
    {"model: description", check_model, NULL, true},
    {"run: results as described", check_run, NULL, true},
    {"leaves floating-point mode", check_float_mode, NULL, false},
    {"leaves signal handlers", check_signals, NULL, false},
    {"leaves locale and folder", check_locale, NULL, false},
    {"prints nothing", check_quiet, NULL, false},
    {"starts no process", check_processes, NULL, false},
    {"writes no file", check_folder, NULL, false},
    {"memory: 200 models", check_memory, NULL, false},
    {"run: requests to stop", check_cancel, NULL, false},
    {"run: same input, same output", check_determinism, check_float_mode, false},
    {"run: several threads", check_threads, check_determinism, false},
    {"run: outputs where the host says", check_preallocated, check_determinism, false},
    {"run: place of a wrong shape", check_wrong_place, check_preallocated, false},
    {"run: outputs not wanted", check_unwanted, check_determinism, false},
    {"run: unaligned inputs", check_unaligned, check_determinism, false},
    {"run: inputs only read", check_read_only, check_unaligned, false},
    {"outputs outlive their session", check_lifetimes, check_determinism, false},
    {"outputs are not the inputs", check_outputs_are_own, check_determinism, false},
    {"models: the same one twice", check_two_models, check_determinism, false},
    {"models: opened while one runs", check_opening_threads, check_two_models, false},
    {"files: as by path", check_files, check_determinism, false},
    {"files: only read", check_files_read_only, check_files, false},
    {"files: errors", check_file_errors, check_files, false},
    {"files: cut off or missing", check_cut_files, check_file_errors, false},
    {"files: 200 models", check_files_memory, check_files_read_only, false},
    {"files: several threads", check_files_threads, check_files_read_only, false},
};
enum { N_CHECKS = sizeof(checks) / sizeof(checks[0]) };

/* Whether the check that number i needs was passed, or was skipped for a reason of its
 * own. */
static bool is_worthwhile(size_t i, const bool *failed, vonk_text *reason) {
  for (size_t j = 0; j < i; j++) {
    if (checks[j].check == checks[i].needs && failed[j]) {
      vonk_text_add(reason, "needs '%s'", checks[j].name);
      return false;
    }
  }
  return true;
}

/* A slow machine may need more time for a check than most, a test of this suite less. */
static void read_time_limit(void) {
  const char *text = getenv("VONK_CONFORMANCE_SECONDS");
  char *end = NULL;
  long seconds = text == NULL ? 0 : strtol(text, &end, 10);
  if (seconds > 0 && seconds < 86400 && *end == '\0') {
    trial_seconds = (unsigned)seconds;
  }
}

int vonk_cli_conformance(const trial_subject *subject, FILE *out) {
  static const char *const words[] = {"ok     ", "FAILED ", "skipped", "FAILED "};
  unsigned counts[4] = {0};
  bool failed[N_CHECKS] = {false}, go_on = true;
  size_t i = 0;
  read_time_limit();
  for (; go_on && i < N_CHECKS; i++) {
    vonk_text reason = {0};
    trial_verdict verdict = TRIAL_SKIPPED;
    failed[i] =
        true; /* what needs a check that was not worthwhile is not worthwhile either */
    if (is_worthwhile(i, failed, &reason)) {
      verdict = trial_start(subject, checks[i].check, &reason);
      failed[i] = verdict == TRIAL_FAILED || verdict == TRIAL_HUNG;
    }
    counts[verdict]++;
    fprintf(out, "%s %s%s%s\n", words[verdict], checks[i].name,
            verdict == TRIAL_PASSED ? "" : ": ", reason.data);
    fflush(out);
    go_on = verdict != TRIAL_HUNG && !(failed[i] && checks[i].is_base);
  }
  unsigned n_failed = counts[TRIAL_FAILED] + counts[TRIAL_HUNG];
  fprintf(out, "%s: %u ok, %u failed, %u skipped", subject->path, counts[TRIAL_PASSED],
          n_failed, counts[TRIAL_SKIPPED]);
  if (i < N_CHECKS) {
    fprintf(out, ", %zu not tried", N_CHECKS - i);
  }
  fputc('\n', out);
  return n_failed == 0 ? 0 : 1;
}
