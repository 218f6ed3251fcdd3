/* What `vonk inspect` says of a bundle, besides the model in it: for people in the same
 * order as Python's Summary, for scripts whole. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inspect.h"

enum { SHOWN_LABELS = 5, LONGEST = 400 };

/* --- for people --- */

static void print_line(const char *title, const vonk_text *text) {
  vonk_text line = *text;
  vonk_cli_clean(line.data);
  (void)printf("  %-10s %s\n", title, line.data);
}

static void print_text(const char *title, const char *value) {
  vonk_text text = {.size = 0};
  if (value != NULL) {
    vonk_text_add(&text, "%.*s%s", LONGEST, value, strlen(value) > LONGEST ? "..." : "");
    print_line(title, &text);
  }
}

static void print_labels(const vonk_bundle_summary *b) {
  char count[32];
  vonk_text text = {.size = 0};
  vonk_text_add(&text, "%s:", vonk_cli_count(b->n_labels, count));
  for (uint32_t i = 0; i < b->n_labels && i < SHOWN_LABELS; i++) {
    vonk_text_add(&text, "%s %.60s", i == 0 ? "" : ",", b->labels[i]);
  }
  vonk_text_add(&text, b->n_labels > SHOWN_LABELS ? ", ..." : "");
  print_line("labels", &text);
}

static void print_selftest(const vonk_bundle_summary *b) {
  char count[32];
  vonk_text text = {.size = 0};
  vonk_text_add(&text, "%s row%s, tolerance %g", vonk_cli_count(b->selftest_rows, count),
                b->selftest_rows == 1 ? "" : "s", b->selftest_tolerance);
  print_line("self-test", &text);
}

void vonk_inspect_print_bundle(const vonk_bundle_summary *b) {
  print_text("name", b->name);
  print_text("about", b->description);
  print_text("licence", b->licence);
  if (b->n_labels > 0) {
    print_labels(b);
  }
  for (uint32_t i = 0; i < b->n_steps; i++) {
    print_text(i == 0 ? "steps" : "", b->steps[i]);
  }
  if (b->selftest_rows > 0) {
    print_selftest(b);
  }
  for (uint32_t i = 0; i < b->n_provenance; i++) {
    vonk_text text = {.size = 0};
    vonk_text_add(&text, "%.64s: %.*s", b->provenance[i].key, 100,
                  b->provenance[i].value);
    print_line(i == 0 ? "origin" : "", &text);
  }
}

/* --- for scripts --- */

static yyjson_mut_val *texts(const vonk_cli_json *json, const char *const *list,
                             uint32_t n) {
  yyjson_mut_val *values = yyjson_mut_arr(json->document);
  for (uint32_t i = 0; i < n; i++) {
    (void)yyjson_mut_arr_append(values, vonk_cli_json_text(json, list[i]));
  }
  return values;
}

static yyjson_mut_val *selftest(const vonk_cli_json *json, const vonk_bundle_summary *b) {
  if (b->selftest_rows == 0) {
    return yyjson_mut_null(json->document);
  }
  yyjson_mut_val *test = yyjson_mut_obj(json->document);
  vonk_cli_json_set(json, test, "rows", vonk_cli_json_count(json, b->selftest_rows));
  vonk_cli_json_set(json, test, "tolerance",
                    yyjson_mut_real(json->document, b->selftest_tolerance));
  return test;
}

yyjson_mut_val *vonk_inspect_bundle_json(const vonk_cli_json *json,
                                         const vonk_model_summary *s,
                                         const vonk_bundle_summary *b) {
  if (b == NULL) {
    return yyjson_mut_null(json->document);
  }
  yyjson_mut_val *bundle = yyjson_mut_obj(json->document);
  const char *labelled = b->n_labels > 0 ? s->outputs[b->labels_output]->name : NULL;
  const struct {
    const char *key;
    yyjson_mut_val *value;
  } values[] = {
      {"name", vonk_cli_json_text(json, b->name)},
      {"description", vonk_cli_json_text(json, b->description)},
      {"licence", vonk_cli_json_text(json, b->licence)},
      {"labels", texts(json, b->labels, b->n_labels)},
      {"labels_output", vonk_cli_json_text(json, labelled)},
      {"preprocess", texts(json, b->steps, b->n_steps)},
      {"selftest", selftest(json, b)},
      {"provenance", vonk_cli_json_entries(json, b->provenance, b->n_provenance)},
  };
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    vonk_cli_json_set(json, bundle, values[i].key, values[i].value);
  }
  return bundle;
}
