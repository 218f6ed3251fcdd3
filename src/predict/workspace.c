/* One thread's working memory for micro-batches. The predictor keeps idle ones, so that a
 * steady stream of small batches allocates nothing but its results. */
#include "predict/plan.h"

/* The views of a call, which stay clear between calls. */
static vonk_status create_views(const vonk_predictor *p, workspace *ws, vonk_error *err) {
  size_t n_sources = 0;
  for (size_t i = 0; i < p->n_inputs; i++) {
    n_sources += p->inputs[i].n_sources;
  }
  VONK_TRY(vonk_new(p->n_inputs, sizeof *ws->views, &ws->views, err));
  VONK_TRY(vonk_new(n_sources, sizeof *ws->sources, &ws->sources, err));
  VONK_TRY(vonk_new(p->n_outputs, sizeof *ws->placed, &ws->placed, err));
  source_view *next = ws->sources;
  for (size_t i = 0; i < p->n_inputs; i++) {
    ws->views[i] = (input_view){.plan = &p->inputs[i], .sources = next};
    next += p->inputs[i].n_sources;
  }
  return VONK_OK;
}

static vonk_status create(const vonk_predictor *p, workspace *ws, vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(p->model);
  ws->n_inputs = s->n_inputs;
  ws->n_outputs = s->n_outputs;
  VONK_TRY(vonk_new(ws->n_inputs, sizeof *ws->values, &ws->values, err));
  VONK_TRY(vonk_new(ws->n_inputs, sizeof *ws->offsets, &ws->offsets, err));
  VONK_TRY(vonk_new(ws->n_outputs, sizeof *ws->results, &ws->results, err));
  VONK_TRY(vonk_new(ws->n_inputs, sizeof *ws->inputs, &ws->inputs, err));
  VONK_TRY(vonk_new(ws->n_outputs, sizeof *ws->outputs, &ws->outputs, err));
  VONK_TRY(vonk_new(ws->n_inputs, sizeof *ws->input_table, &ws->input_table, err));
  VONK_TRY(vonk_new(ws->n_outputs, sizeof *ws->output_table, &ws->output_table, err));
  VONK_TRY(vonk_new(ws->n_inputs, sizeof *ws->input_shapes, &ws->input_shapes, err));
  VONK_TRY(vonk_new(ws->n_outputs, sizeof *ws->output_shapes, &ws->output_shapes, err));
  VONK_TRY(vonk_new((size_t)p->batch_rows, sizeof *ws->rows_in, &ws->rows_in, err));
  VONK_TRY(vonk_new((size_t)p->batch_rows, sizeof *ws->rows_out, &ws->rows_out, err));
  for (size_t i = 0; i < ws->n_inputs; i++) {
    ws->input_table[i] = &ws->inputs[i];
  }
  return create_views(p, ws, err);
}

void vonk_workspace_release(workspace *ws) {
  if (ws == NULL) {
    return;
  }
  for (size_t i = 0; i < ws->n_inputs; i++) {
    if (ws->values != NULL) {
      vonk_buffer_release(&ws->values[i]);
    }
    if (ws->offsets != NULL) {
      vonk_buffer_release(&ws->offsets[i]);
    }
  }
  for (size_t i = 0; i < ws->n_outputs && ws->results != NULL; i++) {
    vonk_buffer_release(&ws->results[i]);
  }
  vonk_buffer_release(&ws->elements);
  vonk_delete(ws->values);
  vonk_delete(ws->offsets);
  vonk_delete(ws->results);
  vonk_delete(ws->inputs);
  vonk_delete(ws->outputs);
  vonk_delete(ws->input_table);
  vonk_delete(ws->output_table);
  vonk_delete(ws->input_shapes);
  vonk_delete(ws->output_shapes);
  vonk_delete(ws->rows_in);
  vonk_delete(ws->rows_out);
  vonk_delete(ws->views);
  vonk_delete(ws->sources);
  vonk_delete(ws->placed);
  vonk_delete(ws);
}

vonk_status vonk_workspace_acquire(const vonk_predictor *p, workspace **out,
                                   vonk_error *err) {
  pthread_mutex_lock(p->workspace_mutex);
  workspace *ws = *p->workspaces;
  if (ws != NULL) {
    *p->workspaces = ws->next;
  }
  pthread_mutex_unlock(p->workspace_mutex);
  if (ws == NULL) {
    VONK_TRY(vonk_new(1, sizeof *ws, &ws, err));
    vonk_status status = create(p, ws, err);
    if (status != VONK_OK) {
      vonk_workspace_release(ws);
      return status;
    }
  }
  *out = ws;
  return VONK_OK;
}

void vonk_workspace_give_back(const vonk_predictor *p, workspace *ws) {
  pthread_mutex_lock(p->workspace_mutex);
  ws->next = *p->workspaces;
  *p->workspaces = ws;
  pthread_mutex_unlock(p->workspace_mutex);
}
