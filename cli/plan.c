/* The plan of `vonk run`: from the inputs' columns and the command line to one SELECT and
 * one predictor.
 *
 * How it works. The columns are known from columns.c. Every column that a tensor could be
 * made of is offered to the predictor, and of the others those that the command line or a
 * name asks for, so that the refusal says why. The predictor says which it reads; the SELECT then names only the kept and the
 * read ones, and the predictor is made once more for exactly these. */
#define _DEFAULT_SOURCE /* strsep */
#include "cli/plan.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* --- what is kept --- */

static vonk_status keep_column(vonk_cli_plan *plan, const char *name, vonk_error *err) {
  size_t i;
  if (!vonk_cli_plan_find(plan, name, &i) || i >= plan->n_input_columns) {
    return vonk_cli_plan_no_column(plan, "--select", name, err);
  }
  if (plan->columns[i].is_kept) {
    return vonk_fail(err, VONK_INVALID, "--select: names the column '%s' twice", name);
  }
  plan->columns[i].is_kept = true;
  plan->selected[plan->n_selected++] = i;
  return VONK_OK;
}

static vonk_status keep_selected(const char *list, vonk_cli_plan *plan, vonk_error *err) {
  char *names;
  VONK_TRY(vonk_new_string(list, &names, err));
  vonk_status status = VONK_OK;
  char *rest = names, *name;
  while (status == VONK_OK && (name = strsep(&rest, ",")) != NULL) {
    size_t end = strlen(name);
    while (end > 0 && name[end - 1] == ' ') {
      name[--end] = '\0';
    }
    name += strspn(name, " ");
    if (*name != '\0') {
      status = keep_column(plan, name, err);
    }
  }
  vonk_delete(names);
  return status;
}

static vonk_status keep_columns(const char *list, vonk_cli_plan *plan, vonk_error *err) {
  VONK_TRY(vonk_new(plan->n_columns, sizeof(*plan->selected), &plan->selected, err));
  VONK_TRY(vonk_new(plan->n_columns, sizeof(*plan->fed), &plan->fed, err));
  if (list != NULL) {
    VONK_TRY(keep_selected(list, plan, err));
  } else {
    for (size_t i = 0; i < plan->n_input_columns; i++) {
      plan->columns[i].is_kept = true;
      plan->selected[plan->n_selected++] = i;
    }
  }
  plan->n_kept = plan->n_selected;
  return VONK_OK;
}

/* --- the schema that the predictor is offered --- */

static void release_offer(struct ArrowSchema *offer) {
  for (int64_t i = 0; i < offer->n_children; i++) {
    if (offer->children[i] != NULL && offer->children[i]->release != NULL) {
      offer->children[i]->release(offer->children[i]);
    }
    vonk_delete(offer->children[i]);
  }
  vonk_delete(offer->children);
  offer->release = NULL;
}

static vonk_status start_offer(size_t capacity, struct ArrowSchema *out,
                               vonk_error *err) {
  *out = (struct ArrowSchema){.format = "+s", .name = "", .release = release_offer};
  return vonk_new(capacity, sizeof(*out->children), &out->children, err);
}

static vonk_status offer_column(const vonk_cli_column *column, struct ArrowSchema *offer,
                                vonk_error *err) {
  struct ArrowSchema *child;
  VONK_TRY(vonk_new(1, sizeof(*child), &child, err));
  vonk_status status = vonk_duckdb_type_schema(&column->type, child, err);
  if (status != VONK_OK) {
    vonk_delete(child);
    return status;
  }
  offer->children[offer->n_children++] = child;
  return VONK_OK;
}

/* Does the command line, or the model by its own name for an input, ask for this column?
 */
static bool is_wanted(const vonk_cli_plan_request *r, const vonk_cli_mapping *mappings,
                      size_t n, const char *name) {
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < mappings[i].n_parts; j++) {
      if (strcmp(mappings[i].parts[j].name, name) == 0) {
        return true;
      }
    }
  }
  const vonk_model_summary *s = vonk_model_summarize(r->model);
  for (uint32_t i = 0; n == 0 && i < s->n_inputs; i++) {
    if (strcmp(s->inputs[i]->name, name) == 0) {
      return true;
    }
  }
  return false;
}

/* offered[i]: the column of child i. */
static vonk_status offer_columns(const vonk_cli_plan_request *r,
                                 const vonk_cli_mapping *mappings, size_t n,
                                 const vonk_cli_plan *plan, size_t *offered,
                                 struct ArrowSchema *offer, vonk_error *err) {
  for (size_t i = 0; i < plan->n_columns; i++) {
    if (plan->columns[i].type.supported ||
        is_wanted(r, mappings, n, plan->columns[i].name)) {
      offered[offer->n_children] = i;
      VONK_TRY(offer_column(&plan->columns[i], offer, err));
    }
  }
  return VONK_OK;
}

/* --- binding --- */

/* Adds the columns that the predictor reads to the SELECT. */
static void select_read(vonk_cli_plan *plan, const size_t *offered) {
  const int64_t *indices;
  size_t n;
  vonk_predictor_columns(plan->predictor, &indices, &n);
  for (size_t i = 0; i < n; i++) {
    plan->columns[offered[indices[i]]].is_read = true;
  }
  for (size_t i = 0; i < plan->n_columns; i++) {
    if (plan->columns[i].is_read && !plan->columns[i].is_kept) {
      plan->selected[plan->n_selected++] = i;
    }
  }
}

static size_t place_of(const vonk_cli_plan *plan, size_t column) {
  size_t place = 0;
  while (plan->selected[place] != column) {
    place++;
  }
  return place;
}

/* The predictor once more, for the columns that it reads and no others, in the input's
 * order. */
static vonk_status rebind(const vonk_cli_plan_request *r, const vonk_bind_options *bind,
                          vonk_cli_plan *plan, vonk_error *err) {
  struct ArrowSchema offer;
  VONK_TRY(start_offer(plan->n_columns, &offer, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < plan->n_columns; i++) {
    if (plan->columns[i].is_read) {
      plan->fed[plan->n_fed++] = place_of(plan, i);
      status = offer_column(&plan->columns[i], &offer, err);
    }
  }
  vonk_predictor *predictor = NULL;
  if (status == VONK_OK) {
    status = vonk_predictor_create(r->model, &offer, bind, &predictor, err);
  }
  offer.release(&offer);
  VONK_TRY(status);
  vonk_predictor_release(plan->predictor);
  plan->predictor = predictor;
  return vonk_predictor_schema(predictor, &plan->predictions, err);
}

/* The library speaks of maps and of SQL's CAST; here both are an option. */
static void add_hint(vonk_error *err) {
  static const char *const hints[][2] = {
      {"CAST(", " (here: --input TENSOR=COLUMN::TYPE)"},
      {"map it", " (here: --input TENSOR=COLUMN)"}};
  for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
    size_t length = strlen(err->message), more = strlen(hints[i][1]);
    if (strstr(err->message, hints[i][0]) != NULL &&
        length + more < sizeof(err->message)) {
      memcpy(err->message + length, hints[i][1], more + 1);
      return;
    }
  }
}

static vonk_status bind_offer(const vonk_cli_plan_request *r,
                              const vonk_bind_options *bind,
                              const vonk_cli_mapping *mappings, vonk_cli_plan *plan,
                              vonk_error *err) {
  struct ArrowSchema offer;
  size_t *offered = NULL;
  VONK_TRY(start_offer(plan->n_columns, &offer, err));
  vonk_status status = vonk_new(plan->n_columns, sizeof(*offered), &offered, err);
  if (status == VONK_OK) {
    status = offer_columns(r, mappings, bind->n_inputs, plan, offered, &offer, err);
  }
  if (status == VONK_OK) {
    status = vonk_predictor_create(r->model, &offer, bind, &plan->predictor, err);
    if (status != VONK_OK) {
      add_hint(err);
    }
  }
  if (status == VONK_OK) {
    select_read(plan, offered);
  }
  vonk_delete(offered);
  offer.release(&offer);
  return status;
}

static vonk_status bind_model(const vonk_cli_plan_request *r,
                              const vonk_cli_mapping *mappings, size_t n,
                              vonk_cli_plan *plan, vonk_error *err) {
  vonk_kv *inputs;
  VONK_TRY(vonk_new(n, sizeof(*inputs), &inputs, err));
  for (size_t i = 0; i < n; i++) {
    inputs[i] = (vonk_kv){mappings[i].tensor, mappings[i].names};
  }
  vonk_bind_options bind = *r->bind;
  bind.inputs = inputs;
  bind.n_inputs = n;
  vonk_status status = bind_offer(r, &bind, mappings, plan, err);
  if (status == VONK_OK) {
    status = rebind(r, &bind, plan, err);
  }
  vonk_delete(inputs);
  return status;
}

/* --- the output --- */

/* Is there a kept column of that name, as SQL compares names? */
static bool is_kept(const vonk_cli_plan *plan, const char *name) {
  for (size_t i = 0; i < plan->n_kept; i++) {
    if (strcasecmp(plan->columns[plan->selected[i]].name, name) == 0) {
      return true;
    }
  }
  return false;
}

/* The output of the model that becomes this column. */
static const char *tensor_of(const vonk_bind_options *bind, const char *column) {
  for (size_t i = 0; i < bind->n_outputs; i++) {
    if (strcmp(bind->outputs[i].value, column) == 0) {
      return bind->outputs[i].key;
    }
  }
  return column;
}

static vonk_status check_clash(const vonk_cli_plan *plan, const vonk_bind_options *bind,
                               vonk_error *err) {
  int64_t n = plan->predictions.n_children;
  bool has_errors = bind->row_errors == VONK_ROWS_REPORT;
  for (int64_t i = 0; i < n; i++) {
    const char *name = plan->predictions.children[i]->name;
    if (!is_kept(plan, name)) {
      continue;
    }
    if (has_errors && i == n - 1) {
      return vonk_fail(err, VONK_INVALID,
                       "column '%s': the input has one of that name, and --on-error "
                       "report adds its own: leave the "
                       "input's out with --select",
                       name);
    }
    const char *tensor = tensor_of(bind, name);
    return vonk_fail(err, VONK_INVALID,
                     "output '%s': would be the column '%s', but the input has one of "
                     "that name: name it with --output "
                     "%s=NAME, or leave the input's out with --select",
                     tensor, name, tensor);
  }
  return VONK_OK;
}

vonk_status vonk_cli_plan_create(const vonk_cli_plan_request *r, vonk_cli_plan *out,
                                 vonk_error *err) {
  vonk_cli_plan plan = {.n_columns = 0};
  vonk_status status = vonk_cli_plan_columns(r, &plan, err);
  if (status == VONK_OK && (status = keep_columns(r->select, &plan, err)) == VONK_OK &&
      (status = bind_model(r, r->mappings, r->n_mappings, &plan, err)) == VONK_OK) {
    status = check_clash(&plan, r->bind, err);
  }
  if (status != VONK_OK) {
    vonk_cli_plan_clear(&plan);
    return status;
  }
  *out = plan;
  return VONK_OK;
}

void vonk_cli_plan_clear(vonk_cli_plan *plan) {
  for (size_t i = 0; i < plan->n_columns; i++) {
    vonk_delete(plan->columns[i].name);
    vonk_delete(plan->columns[i].expression);
    if (plan->columns[i].logical != NULL) {
      duckdb_destroy_logical_type(&plan->columns[i].logical);
    }
    vonk_duckdb_type_clear(&plan->columns[i].type);
  }
  vonk_delete(plan->columns);
  vonk_delete(plan->selected);
  vonk_delete(plan->fed);
  vonk_predictor_release(plan->predictor);
  if (plan->predictions.release != NULL) {
    plan->predictions.release(&plan->predictions);
  }
  memset(plan, 0, sizeof(*plan));
}

void vonk_cli_plan_sql(const vonk_cli_plan *plan, const vonk_cli_source *source,
                       vonk_cli_sql *out) {
  vonk_cli_sql_add(out, "SELECT ");
  for (size_t i = 0; i < plan->n_selected; i++) {
    const vonk_cli_column *c = &plan->columns[plan->selected[i]];
    vonk_cli_sql_add(out, i == 0 ? "" : ", ");
    if (c->expression != NULL) {
      vonk_cli_sql_add(out, c->expression);
      vonk_cli_sql_add(out, " AS ");
    }
    vonk_cli_sql_name(out, c->name);
  }
  vonk_cli_sql_add(out, " FROM ");
  vonk_cli_sql_add(out, vonk_cli_sql_get(&source->relation));
}
