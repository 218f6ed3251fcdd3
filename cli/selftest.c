/* `vonk inspect --selftest`: does a bundle predict here what it predicted where it was
 * packed? A failed self-test is told like any other failure, with exit status 1; with
 * --json the object comes first, so that a script has the difference. */
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inspect.h"
#include "cli/json.h"

static vonk_status print_json(const vonk_model *model, bool passed, double difference,
                              const vonk_error *why, vonk_error *err) {
  const vonk_bundle_summary *bundle = vonk_model_bundle(model);
  vonk_cli_json json = vonk_cli_json_start(false);
  const struct {
    const char *key;
    yyjson_mut_val *value;
  } values[] = {
      {"path", vonk_cli_json_text(&json, vonk_model_summarize(model)->path)},
      {"passed", yyjson_mut_bool(json.document, passed)},
      {"rows", yyjson_mut_sint(json.document, bundle->selftest_rows)},
      {"largest_difference", isfinite(difference)
                                 ? yyjson_mut_real(json.document, difference)
                                 : yyjson_mut_null(json.document)},
      {"tolerance", yyjson_mut_real(json.document, bundle->selftest_tolerance)},
      {"error", vonk_cli_json_text(&json, passed ? NULL : why->message)},
  };
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    vonk_cli_json_set(&json, json.root, values[i].key, values[i].value);
  }
  return vonk_cli_json_print(&json, err);
}

static void print_lines(const vonk_model *model, double difference) {
  const vonk_bundle_summary *bundle = vonk_model_bundle(model);
  char rows[32];
  (void)printf("%s\n", vonk_model_summarize(model)->path);
  (void)printf("  %-10s passed: %s row%s, largest difference %.3g, tolerance %g\n",
               "self-test", vonk_cli_count(bundle->selftest_rows, rows),
               bundle->selftest_rows == 1 ? "" : "s", difference,
               bundle->selftest_tolerance);
}

vonk_status vonk_inspect_selftest(vonk_model *model, bool is_json, vonk_error *err) {
  double difference = 0.0;
  vonk_error why = VONK_ERROR_INIT;
  vonk_status status = vonk_model_selftest(model, &difference, &why);
  if (is_json && (status == VONK_OK || status == VONK_BACKEND)) {
    VONK_TRY(print_json(model, status == VONK_OK, difference, &why, err));
  } else if (status == VONK_OK) {
    print_lines(model, difference);
  }
  vonk_error_copy(err, &why);
  return status;
}
