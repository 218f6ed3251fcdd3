/* The steps of preprocessing that a manifest names. One that is not known is an error:
 * without it the predictions would be wrong. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bundle/internal.h"

enum { MOST_STEPS = 256, MOST_SHOWN = 4 };

/* What a step needs: one row per step. */
static const struct step_rule {
  const char *op;
  vonk_step_kind kind;
  const char *a, *b; /* keys of the numbers */
  bool needs_b;
  bool divides; /* by b */
} rules[] = {
    {"rescale", VONK_STEP_RESCALE, "scale", "offset", false, false},
    {"normalize", VONK_STEP_NORMALIZE, "mean", "std", true, true},
};

typedef struct reader {
  vonk_bundle *bundle;
  yyjson_val *object;
  const char *where;
  const vonk_port *port;
  int32_t axis;
} reader;

/* --- numbers ------------------------------------------------------------------------- */

/* As the input's own dtype has it. */
static double rounded(const reader *r, double number) {
  return r->port->dtype == VONK_F32 ? (double)(float)number : number;
}

static vonk_status check_number(const reader *r, const char *key, yyjson_val *value,
                                bool divides, vonk_error *err) {
  if (!yyjson_is_num(value)) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "'%s' is %s: expected a number, or a list of numbers", key,
                              vonk_json_kind(value));
  }
  double number = rounded(r, yyjson_get_num(value));
  if (!isfinite(number) || (divides && number == 0)) {
    return vonk_manifest_fail(
        r->bundle, err, r->where, "'%s' is %g as %s: expected a finite number%s", key,
        number, vonk_dtype_name(r->port->dtype), divides ? " other than 0" : "");
  }
  return VONK_OK;
}

/* How many numbers there are: 0 = none, the default counts; 1; or the dimension's size. */
static vonk_status check_numbers(const reader *r, const char *key, bool is_required,
                                 bool divides, uint32_t *n_out, vonk_error *err) {
  yyjson_val *value = vonk_json_get(r->object, key), *item;
  size_t i, n;
  *n_out = value == NULL ? 0 : 1;
  if (value == NULL && is_required) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "'%s' is missing: expected a number, or a list of numbers",
                              key);
  }
  if (value == NULL) {
    return VONK_OK;
  }
  if (!yyjson_is_arr(value)) {
    return check_number(r, key, value, divides, err);
  }
  int64_t size = r->axis > 0 ? r->port->shape[r->axis] : -1;
  if (size < 1 || yyjson_arr_size(value) != (size_t)size) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "'%s' has %zu numbers, but dimension %" PRId32
                              " of input '%.80s' has %s%" PRId64,
                              key, yyjson_arr_size(value), r->axis, r->port->name,
                              size < 1 ? "no known size: " : "", size);
  }
  yyjson_arr_foreach(value, i, n, item) {
    VONK_TRY(check_number(r, key, item, divides, err));
  }
  *n_out = (uint32_t)n;
  return VONK_OK;
}

/* One number stands for all. */
static void fill(const reader *r, const char *key, double missing, double *out,
                 uint32_t n) {
  yyjson_val *value = vonk_json_get(r->object, key);
  for (uint32_t i = 0; i < n; i++) {
    yyjson_val *item = yyjson_is_arr(value) ? yyjson_arr_get(value, i) : value;
    out[i] = item == NULL ? missing : yyjson_get_num(item);
  }
}

/* --- one step ------------------------------------------------------------------------ */

static const struct step_rule *find_rule(const char *op) {
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    if (strcmp(rules[i].op, op) == 0) {
      return &rules[i];
    }
  }
  return NULL;
}

static vonk_status find_input(reader *r, vonk_step *step, vonk_error *err) {
  const vonk_manifest *m = &r->bundle->manifest;
  const char *name = NULL;
  char shown[VONK_SHOWN];
  VONK_TRY(vonk_json_text(r->bundle, r->object, r->where, "input", true, &name, err));
  for (uint32_t i = 0; i < m->n_inputs; i++) {
    if (strcmp(m->inputs[i].name, name) == 0) {
      r->port = &m->inputs[i];
      step->input = i;
    }
  }
  vonk_bundle_show(name, strlen(name), shown);
  if (r->port == NULL) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "input '%s' is none of the bundle's inputs", shown);
  }
  if (r->port->dtype != VONK_F32 && r->port->dtype != VONK_F64) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "input '%s' is %s: a step works on float32 or float64",
                              shown, vonk_dtype_name(r->port->dtype));
  }
  return VONK_OK;
}

/* axis counts the rows as 0; negative ones count from the end. */
static vonk_status find_axis(reader *r, vonk_error *err) {
  yyjson_val *value = vonk_json_get(r->object, "axis");
  int64_t axis = value == NULL ? -1 : yyjson_get_sint(value);
  int32_t rank = r->port->rank;
  bool is_whole =
      value == NULL || (yyjson_is_int(value) && (yyjson_is_sint(value) || axis >= 0));
  if (!is_whole || (value != NULL &&
                    (axis >= rank || axis < -rank || axis == 0 || axis + rank == 0))) {
    return vonk_manifest_fail(r->bundle, err, r->where,
                              "'axis' is %s: expected a dimension of input '%.80s' after "
                              "the rows: 1 to %" PRId32 ", or -1",
                              is_whole ? "out of range" : vonk_json_kind(value),
                              r->port->name, rank - 1);
  }
  r->axis = (int32_t)(axis < 0 ? axis + rank : axis);
  return VONK_OK;
}

/* --- its line for people ------------------------------------------------------------- */

static void add_numbers(vonk_text *text, const double *numbers, uint32_t n) {
  bool is_one = true;
  for (uint32_t i = 1; i < n; i++) {
    is_one = is_one && numbers[i] == numbers[0];
  }
  if (is_one) {
    vonk_text_add(text, "%.9g", numbers[0]);
    return;
  }
  for (uint32_t i = 0; i < n && i < MOST_SHOWN; i++) {
    vonk_text_add(text, "%s%.9g", i == 0 ? "[" : ", ", numbers[i]);
  }
  vonk_text_add(text, n > MOST_SHOWN ? ", ...]" : "]");
}

static void describe(const reader *r, const vonk_step *step, vonk_text *text) {
  bool is_rescale = step->kind == VONK_STEP_RESCALE;
  vonk_text_add(text, "%.80s: %s", r->port->name, is_rescale ? "x * " : "(x - ");
  add_numbers(text, step->a, step->n);
  bool has_b = false; /* nothing is added by most rescalings */
  for (uint32_t i = 0; i < step->n; i++) {
    has_b = has_b || step->b[i] != 0;
  }
  if (has_b) {
    vonk_text_add(text, is_rescale ? " + " : ") / ");
    add_numbers(text, step->b, step->n);
  }
  if (step->n > 1) {
    vonk_text_add(text, ", along dimension %" PRId32, step->axis);
  }
}

/* ------------------------------------------------------------------------------------- */

static vonk_status read_step(reader *r, vonk_step *step, const char **line,
                             vonk_error *err) {
  const char *op = NULL;
  char shown[VONK_SHOWN];
  double *a, *b;
  uint32_t n_a, n_b;
  vonk_text text = {.size = 0};
  if (!yyjson_is_obj(r->object)) {
    return vonk_manifest_fail(r->bundle, err, r->where, "is %s: expected an object",
                              vonk_json_kind(r->object));
  }
  VONK_TRY(vonk_json_text(r->bundle, r->object, r->where, "op", true, &op, err));
  const struct step_rule *rule = find_rule(op);
  if (rule == NULL) {
    return vonk_bundle_fail(r->bundle, err, VONK_UNSUPPORTED,
                            VONK_MANIFEST
                            ": %s: step '%s' is not known to this vonk, and "
                            "without it predictions would be wrong: update "
                            "vonk",
                            r->where, vonk_bundle_show(op, strlen(op), shown));
  }
  VONK_TRY(find_input(r, step, err));
  VONK_TRY(find_axis(r, err));
  VONK_TRY(check_numbers(r, rule->a, true, false, &n_a, err));
  VONK_TRY(check_numbers(r, rule->b, rule->needs_b, rule->divides, &n_b, err));
  uint32_t n = n_a > n_b ? n_a : n_b;
  VONK_TRY(vonk_bundle_new(r->bundle, n, sizeof *a, &a, err));
  VONK_TRY(vonk_bundle_new(r->bundle, n, sizeof *b, &b, err));
  fill(r, rule->a, 0, a, n);
  fill(r, rule->b, 0, b, n);
  step->kind = rule->kind;
  step->axis = r->axis < 0 ? 0 : r->axis;
  step->n = n;
  step->a = a;
  step->b = b;
  describe(r, step, &text);
  return vonk_bundle_text(r->bundle, text.data, text.size, line, err);
}

vonk_status vonk_steps_read(vonk_bundle *bundle, yyjson_val *root, vonk_error *err) {
  vonk_manifest *m = &bundle->manifest;
  yyjson_val *list = NULL, *value;
  vonk_step *steps;
  const char **lines;
  size_t i, n;
  VONK_TRY(vonk_json_list(bundle, root, "", "preprocess", false, &list, err));
  if (list == NULL) {
    return VONK_OK;
  }
  if (yyjson_arr_size(list) > MOST_STEPS) {
    return vonk_manifest_fail(bundle, err, "preprocess",
                              "has %zu steps: expected at most %d", yyjson_arr_size(list),
                              MOST_STEPS);
  }
  VONK_TRY(vonk_bundle_new(bundle, yyjson_arr_size(list), sizeof *steps, &steps, err));
  VONK_TRY(vonk_bundle_new(bundle, yyjson_arr_size(list), sizeof *lines, &lines, err));
  yyjson_arr_foreach(list, i, n, value) {
    char where[32];
    (void)snprintf(where, sizeof where, "preprocess[%zu]", i);
    reader r = {.bundle = bundle, .object = value, .where = where};
    VONK_TRY(read_step(&r, &steps[i], &lines[i], err));
  }
  m->steps = steps;
  m->step_texts = lines;
  m->n_steps = (uint32_t)n;
  return VONK_OK;
}
