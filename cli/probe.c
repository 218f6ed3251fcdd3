/* `vonk plugins --probe`: what happens when a plug-in is loaded.
 *
 * How it works: like a check of the conformance suite, in a child process, so that a
 * crash, an exception or an endless wait in the plug-in's own code is something to
 * report. */
#include <inttypes.h>
#include <string.h>

#include "cli/conformance.h"
#include "cli/trial.h"

/* Passes by way of the library's own loader; the parent only learns whether it went well.
 */
static void load_as_library(trial *t) {
  vonk_error err = VONK_ERROR_INIT;
  const vonk_plugin *plugin;
  vonk_status status = vonk_plugin_find(t->path, &plugin, &err);
  EXPECT(t, status == VONK_OK, "%s", err.message);
}

int vonk_cli_probe(const char *path, FILE *out) {
  const trial_subject subject = {.path = path};
  vonk_text reason = {0};
  trial_verdict verdict = trial_start(&subject, load_as_library, &reason);
  if (verdict == TRIAL_PASSED) {
    fprintf(out, "%s: can be loaded\n", path);
    return 0;
  }
  bool named = strncmp(reason.data, path, strlen(path)) == 0;
  fprintf(out, "%s%s%s\n", named ? "" : path,
          named ? "" : ": cannot be loaded: ", reason.data);
  return 1;
}
