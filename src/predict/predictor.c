/* A predictor: a model bound to columns. Making one, asking it, releasing it. */
#include <stddef.h>
#include <string.h>

#include "predict/plan.h"

/* A column that no tensor can hold is kept with its reason: it matters only if an input
 * asks for it. */
static vonk_status parse_columns(vonk_predictor *p, const struct ArrowSchema *schema,
                                 vonk_error *err) {
  if (schema == NULL || schema->release == NULL || schema->format == NULL ||
      strcmp(schema->format, "+s") != 0 || schema->n_children < 0 ||
      (schema->n_children > 0 && schema->children == NULL)) {
    return vonk_fail(err, VONK_INVALID,
                     "columns: the schema is not a struct: give a struct schema whose "
                     "children are the columns");
  }
  VONK_TRY(vonk_new((size_t)schema->n_children, sizeof *p->columns, &p->columns, err));
  p->n_columns = (size_t)schema->n_children;
  for (size_t i = 0; i < p->n_columns; i++) {
    vonk_error why = VONK_ERROR_INIT;
    column_type *column = &p->columns[i];
    vonk_status status = vonk_type_parse(schema->children[i], &column->type, &why);
    if (status == VONK_OK) {
      continue;
    }
    if (status != VONK_UNSUPPORTED) {
      vonk_error_copy(err, &why);
      return status;
    }
    const char *name = schema->children[i]->name;
    VONK_TRY(vonk_new(1, sizeof *column->unreadable, &column->unreadable, err));
    *column->unreadable = why;
    column->type = (vonk_type){.kind = VONK_TYPE_NULL};
    VONK_TRY(vonk_new_string(name == NULL ? "" : name, &column->type.name, err));
  }
  return VONK_OK;
}

static vonk_status check_options(const vonk_bind_options *o, vonk_error *err) {
  if (o->nulls < VONK_NULLS_NULL || o->nulls > VONK_NULLS_ERROR ||
      o->row_errors < VONK_ROWS_RAISE || o->row_errors > VONK_ROWS_REPORT) {
    return vonk_fail(err, VONK_INVALID,
                     "bind options: nulls or row_errors is none of its values: use the "
                     "VONK_NULLS_ and VONK_ROWS_ constants");
  }
  if (o->advice < VONK_ADVICE_KEYWORDS || o->advice > VONK_ADVICE_DUCKDB) {
    return vonk_fail(err, VONK_INVALID,
                     "bind options: advice is %d: use the VONK_ADVICE_ constants",
                     (int)o->advice);
  }
  if (o->batch_rows < 0 || o->batch_bytes < 0) {
    return vonk_fail(
        err, VONK_INVALID,
        "bind options: batch_rows and batch_bytes cannot be negative: 0 chooses them");
  }
  if ((o->n_inputs > 0 && o->inputs == NULL) ||
      (o->n_outputs > 0 && o->outputs == NULL)) {
    return vonk_fail(err, VONK_INVALID, "bind options: a map has a count but no entries");
  }
  return VONK_OK;
}

static vonk_status create_parts(vonk_predictor *p, const vonk_bind_options *options,
                                vonk_error *err) {
  VONK_TRY(vonk_new(1, sizeof *p->counters, &p->counters, err));
  VONK_TRY(vonk_new(1, sizeof *p->workspaces, &p->workspaces, err));
  VONK_TRY(vonk_new(1, sizeof *p->workspace_mutex, &p->workspace_mutex, err));
  pthread_mutex_init(p->workspace_mutex, NULL);
  VONK_TRY(vonk_cancel_source_create(&p->cancel, err));
  p->nulls = options->nulls;
  p->row_errors = options->row_errors;
  p->advice = options->advice;
  p->squeeze = options->squeeze != 0;
  p->half_as_float = options->half_as_float != 0;
  p->sql_casts = options->sql_casts != 0;
  p->variable_lists = options->variable_lists != 0;
  p->signed_integers = options->signed_integers != 0;
  return VONK_OK;
}

static vonk_status bind(vonk_predictor *p, const struct ArrowSchema *columns,
                        const vonk_bind_options *options, vonk_error *err) {
  VONK_TRY(check_options(options, err));
  VONK_TRY(create_parts(p, options, err));
  VONK_TRY(parse_columns(p, columns, err));
  VONK_TRY(vonk_plan_signature(p, err));
  VONK_TRY(vonk_plan_match(p, options, err));
  VONK_TRY(vonk_plan_fit(p, err));
  VONK_TRY(vonk_plan_steps(p, err));
  VONK_TRY(vonk_plan_outputs(p, options, err));
  vonk_plan_batch(p, options->batch_rows, options->batch_bytes);
  return VONK_OK;
}

/* What an older caller did not know is zero. */
static vonk_status read_options(const vonk_bind_options *given, vonk_bind_options *out,
                                vonk_error *err) {
  memset(out, 0, sizeof *out);
  if (given == NULL) {
    return VONK_OK;
  }
  if (given->struct_size < offsetof(vonk_bind_options, inputs)) {
    return vonk_fail(
        err, VONK_INVALID,
        "bind options: struct_size is not set: start from VONK_BIND_OPTIONS_INIT");
  }
  memcpy(out, given, given->struct_size < sizeof *out ? given->struct_size : sizeof *out);
  return VONK_OK;
}

vonk_status vonk_predictor_create(vonk_model *model, const struct ArrowSchema *columns,
                                  const vonk_bind_options *given, vonk_predictor **out,
                                  vonk_error *err) {
  vonk_bind_options options;
  vonk_predictor *p = NULL;
  VONK_TRY(read_options(given, &options, err));
  VONK_TRY(vonk_new(1, sizeof *p, &p, err));
  vonk_model_retain(model);
  p->model = model;
  p->api = &vonk_model_plugin(model)->api;
  p->references = 1;
  vonk_status status = bind(p, columns, &options, err);
  if (status != VONK_OK) {
    vonk_predictor_release(p);
    return status;
  }
  *out = p;
  return VONK_OK;
}

static void release_input(input_plan *input) {
  for (size_t s = 0; s < input->n_sources; s++) {
    vonk_delete(input->sources[s].name);
  }
  vonk_delete(input->sources);
  vonk_steps_clear(input);
}

static void release_workspaces(vonk_predictor *p) {
  while (p->workspaces != NULL && *p->workspaces != NULL) {
    workspace *ws = *p->workspaces;
    *p->workspaces = ws->next;
    vonk_workspace_release(ws);
  }
  vonk_delete(p->workspaces);
  if (p->workspace_mutex != NULL) {
    pthread_mutex_destroy(p->workspace_mutex);
    vonk_delete(p->workspace_mutex);
  }
}

vonk_predictor *vonk_predictor_retain(const vonk_predictor *p) {
  vonk_predictor *mine =
      (vonk_predictor *)(uintptr_t)p; /* the count is no part of what it predicts */
  atomic_fetch_add_explicit(&mine->references, 1, memory_order_relaxed);
  return mine;
}

void vonk_predictor_release(vonk_predictor *p) {
  if (p == NULL ||
      atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  for (size_t i = 0; i < p->n_columns; i++) {
    vonk_type_clear(&p->columns[i].type);
    vonk_delete(p->columns[i].unreadable);
  }
  for (size_t i = 0; i < p->n_inputs && p->inputs != NULL; i++) {
    release_input(&p->inputs[i]);
  }
  for (size_t i = 0; i < p->n_outputs && p->outputs != NULL; i++) {
    vonk_delete(p->outputs[i].name);
  }
  release_workspaces(p);
  vonk_cancel_source_release(p->cancel);
  vonk_delete(p->columns);
  vonk_delete(p->inputs);
  vonk_delete(p->outputs);
  vonk_delete(p->used_columns);
  vonk_delete(p->counters);
  vonk_model_close(p->model);
  vonk_delete(p);
}

vonk_status vonk_predictor_schema(const vonk_predictor *p, struct ArrowSchema *out,
                                  vonk_error *err) {
  return vonk_plan_schema(p, out, err);
}

void vonk_predictor_columns(const vonk_predictor *p, const int64_t **indices, size_t *n) {
  *indices = p->used_columns;
  *n = p->n_used_columns;
}

void vonk_predictor_cancel(vonk_predictor *p) { vonk_cancel_source_fire(p->cancel); }

int64_t vonk_predictor_batch_rows(const vonk_predictor *p) { return p->batch_rows; }

void vonk_predictor_stats(const vonk_predictor *p, vonk_stats *out) {
  const counters *c = p->counters;
  vonk_stats now = {.struct_size = out->struct_size,
                    .max_threads = c->max_threads,
                    .rows = c->rows,
                    .null_rows = c->null_rows,
                    .error_rows = c->error_rows,
                    .micro_batches = c->micro_batches,
                    .bytes_in = c->bytes_in,
                    .bytes_copied = c->bytes_copied,
                    .convert_ns = c->convert_ns,
                    .infer_ns = c->infer_ns,
                    .emit_ns = c->emit_ns,
                    .wait_ns = c->wait_ns};
  memcpy(out, &now, out->struct_size < sizeof now ? out->struct_size : sizeof now);
}
