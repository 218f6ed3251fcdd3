/* `vonk plugins --conformance`: whether a plug-in keeps the rules of
 * include/vonk/plugin.h.
 *
 * How it works: a table of checks, each of one rule and each in a child process
 * (trial.c). Where a check that others stand on fails, such as loading, or where one
 * hangs, the rest is left out, so that one fault is told once. */
#include "cli/conformance.h"

#include "cli/trial.h"

static const struct {
  const char *name;
  void (*check)(trial *);
  bool is_base; /* the checks below it mean nothing without it */
} checks[] = {
    {"loading: entry function", check_load, true},
    {"loading: table", check_table, true},
    {"loading: starts no thread", check_load_threads, false},
    {"recognise", check_recognise, false},
    {"runtime", check_runtime, true},
    {"errors of open_model", check_errors, false},
    {"model: description", check_model, true},
    {"run: results as described", check_run, true},
    {"run: same input, same output", check_determinism, false},
    {"run: several threads", check_threads, false},
    {"run: outputs where the host says", check_preallocated, false},
    {"run: place of a wrong shape", check_wrong_place, false},
    {"run: outputs not wanted", check_unwanted, false},
    {"run: unaligned inputs", check_unaligned, false},
    {"run: inputs only read", check_read_only, false},
    {"run: requests to stop", check_cancel, false},
    {"outputs outlive their session", check_lifetimes, false},
    {"memory: 200 models", check_memory, false},
    {"leaves floating-point mode", check_float_mode, false},
    {"leaves signal handlers", check_signals, false},
    {"leaves locale and folder", check_locale, false},
    {"prints nothing", check_quiet, false},
    {"starts no process", check_processes, false},
    {"writes no file", check_folder, false},
};

int vonk_cli_conformance(const char *path, const char *model_or_null, FILE *out) {
  static const char *const words[] = {"ok     ", "FAILED ", "skipped", "FAILED "};
  unsigned counts[4] = {0};
  size_t n = sizeof(checks) / sizeof(checks[0]);
  bool go_on = true;
  size_t i = 0;
  for (; go_on && i < n; i++) {
    vonk_text reason = {0};
    trial_verdict verdict = trial_start(path, model_or_null, checks[i].check, &reason);
    counts[verdict]++;
    fprintf(out, "%s %s%s%s\n", words[verdict], checks[i].name,
            verdict == TRIAL_PASSED ? "" : ": ", reason.data);
    fflush(out);
    bool failed = verdict == TRIAL_FAILED || verdict == TRIAL_HUNG;
    go_on = verdict != TRIAL_HUNG && !(failed && checks[i].is_base);
  }
  unsigned n_failed = counts[TRIAL_FAILED] + counts[TRIAL_HUNG];
  fprintf(out, "%s: %u ok, %u failed, %u skipped", path, counts[TRIAL_PASSED], n_failed,
          counts[TRIAL_SKIPPED]);
  if (i < n) {
    fprintf(out, ", %zu not tried", n - i);
  }
  fputc('\n', out);
  return n_failed == 0 ? 0 : 1;
}
