/* What the framework writes, on its way into columns.
 *
 * Three ways, by how much is known before the run:
 *   direct  the column holds the model's own bytes and every row has its place: the
 * framework writes there dense   every row has its place, but the bytes change (bool,
 * bfloat16, classes) or the rows are scattered: through the workspace's buffer, or the
 * framework's own tensor, and from there row by row pieces  lists of free length, and
 * text: kept as they come, put together at the end (emit.c) */
#include <inttypes.h>
#include <string.h>

#include "predict/plan.h"

static int64_t result_row(const micro_batch *mb, int64_t place) {
  return mb->rows_out == NULL ? mb->first + place : mb->rows_out[place];
}

/* Where output o of this micro-batch can be written beforehand; NULL = the framework
 * allocates. */
static vonk_status preallocate(const call *c, const micro_batch *mb, const output_plan *o,
                               size_t o_index, workspace *ws, vonk_error *err) {
  vonk_tensor *t = &ws->outputs[o->index];
  int64_t *shape = ws->output_shapes[o->index];
  bool can = (c->predictor->api->caps & VONK_CAP_PREALLOCATED_OUT) != 0 &&
             o->tensor_elements >= 0 && o->tensor_type->size != 0;
  if (!can) {
    return VONK_OK;
  }
  size_t row_bytes = (size_t)o->tensor_elements * o->tensor_type->size, nbytes = 0;
  VONK_TRY(vonk_size_mul((size_t)mb->n_run, row_bytes, &nbytes, err));
  shape[0] = mb->n_run;
  for (int32_t d = 0; d < o->tensor_rank; d++) {
    shape[d + 1] = o->tensor_shape[d];
  }
  if (o->is_direct && mb->rows_out == NULL && mb->n == mb->n_run) {
    t->data = c->outputs[o_index].values + (size_t)mb->first * row_bytes;
  } else {
    VONK_TRY(vonk_buffer_resize(&ws->results[o->index], nbytes, err));
    t->data = ws->results[o->index].data;
  }
  t->dtype = o->tensor_type->dtype;
  t->rank = o->tensor_rank + 1;
  t->shape = shape;
  t->nbytes = nbytes;
  return VONK_OK;
}

vonk_status vonk_results_prepare(const call *c, const micro_batch *mb, workspace *ws,
                                 vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  for (size_t i = 0; i < ws->n_outputs; i++) {
    ws->output_table[i] = NULL;
    ws->outputs[i] = (vonk_tensor){.struct_size = (uint32_t)sizeof(vonk_tensor),
                                   .device = {VONK_DEVICE_CPU, 0}};
  }
  for (size_t i = 0; i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    VONK_TRY(preallocate(c, mb, o, i, ws, err));
    ws->output_table[o->index] = &ws->outputs[o->index];
  }
  return VONK_OK;
}

void vonk_results_release(workspace *ws) {
  for (size_t i = 0; i < ws->n_outputs; i++) {
    if (ws->outputs[i].release != NULL) {
      ws->outputs[i].release(&ws->outputs[i]);
    }
    ws->outputs[i].data = NULL;
  }
}

static void describe_shape(int32_t rank, const int64_t *shape, vonk_text *out) {
  for (int32_t d = 0; d < rank; d++) {
    vonk_text_add(out, "%s%" PRId64, d == 0 ? "" : ", ", shape[d]);
  }
}

/* The framework's tensor must be what the signature said, with one row per row. */
static vonk_status check_tensor(const output_plan *o, const micro_batch *mb,
                                const vonk_tensor *t, vonk_error *err) {
  bool fits = t->dtype == o->tensor_type->dtype && t->rank == o->tensor_rank + 1 &&
              t->shape[0] == mb->n_run;
  for (int32_t d = 0; fits && d < o->tensor_rank; d++) {
    fits = t->shape[d + 1] >= 0 &&
           (o->tensor_shape[d] < 0 || o->tensor_shape[d] == t->shape[d + 1]);
  }
  if (fits) {
    return VONK_OK;
  }
  vonk_text found = {.size = 0}, wanted = {.size = 0};
  if (t->rank > 0) {
    describe_shape(t->rank, t->shape, &found);
  }
  vonk_plan_describe(o->tensor_type->dtype, o->tensor_rank, o->tensor_shape, &wanted);
  return vonk_fail(err, VONK_MODEL,
                   "output '%s': came as %s[%s] for %" PRId64
                   " rows where the signature says %s a row: the model does "
                   "not keep to its signature, or does not keep rows apart",
                   o->io->name, vonk_dtype_name(t->dtype), found.data, mb->n_run,
                   wanted.data);
}

/* --- taking over --- */

/* n rows of the tensor as result elements. */
static vonk_status transform(const output_plan *o, const vonk_tensor *t,
                             const uint8_t *values, int64_t n_rows, int64_t row_elements,
                             uint8_t *target, vonk_error *err) {
  if (n_rows == 0 || row_elements == 0) {
    return VONK_OK;
  }
  int64_t length = t->shape[o->tensor_rank];
  if (o->as == AS_TOP) {
    int64_t entries = length < o->top ? length : o->top;
    return vonk_classes_top(o, values, n_rows * row_elements / entries, length,
                            (class_entry *)(void *)target, err);
  }
  if (o->as != AS_TENSOR) {
    return vonk_classes_largest(o, values, n_rows * row_elements, length,
                                (int64_t *)(void *)target, err);
  }
  vonk_dtype_convert(o->tensor_type->dtype, values, o->result_type->dtype, target,
                     (size_t)(n_rows * row_elements));
  return VONK_OK;
}

static vonk_status take_dense(const call *c, const micro_batch *mb, const output_plan *o,
                              output_result *result, const vonk_tensor *t,
                              vonk_error *err) {
  size_t row_bytes = (size_t)o->row_elements * o->element_size;
  if (o->is_direct && t->data == result->values + (size_t)mb->first * row_bytes &&
      mb->rows_out == NULL) {
    return VONK_OK; /* it is there already */
  }
  count(&c->predictor->counters->bytes_copied, (size_t)mb->n * row_bytes);
  if (mb->rows_out == NULL) {
    return transform(o, t, t->data, mb->n, o->row_elements,
                     result->values + (size_t)mb->first * row_bytes, err);
  }
  size_t tensor_bytes = mb->n_run == 0 ? 0 : (size_t)(t->nbytes / (uint64_t)mb->n_run);
  for (int64_t k = 0; k < mb->n; k++) {
    VONK_TRY(transform(o, t, (const uint8_t *)t->data + (size_t)k * tensor_bytes, 1,
                       o->row_elements,
                       result->values + (size_t)result_row(mb, k) * row_bytes, err));
  }
  return VONK_OK;
}

void vonk_piece_release(piece *x) {
  vonk_delete(x->rows);
  vonk_delete(x->values);
  vonk_delete(x->offsets);
  vonk_delete(x);
}

/* Text lies between the first and the last offset of the rows that count (padding is left
 * out). */
static vonk_status copy_text(const vonk_tensor *t, size_t n, piece *x, vonk_error *err) {
  VONK_TRY(vonk_new(n + 1, sizeof *x->offsets, &x->offsets, err));
  if (n == 0 || t->offsets == NULL) {
    return VONK_OK;
  }
  int32_t first = t->offsets[0];
  size_t nbytes = (size_t)(t->offsets[n] - first);
  VONK_TRY(vonk_new(nbytes, 1, &x->values, err));
  if (nbytes > 0) {
    memcpy(x->values, (const uint8_t *)t->data + first, nbytes);
  }
  for (size_t i = 0; i <= n; i++) {
    x->offsets[i] = t->offsets[i] - first;
  }
  return VONK_OK;
}

static vonk_status fill_piece(const call *c, const micro_batch *mb, const output_plan *o,
                              const vonk_tensor *t, piece *x, vonk_error *err) {
  int32_t kept = 0;
  x->first = mb->first;
  x->n = mb->n;
  x->row_elements = 1;
  for (int32_t d = 0; d < vonk_plan_result_dims(o); d++) {
    int64_t dim = vonk_plan_result_dim(o, d, t->shape[d + 1]);
    x->row_elements *= dim;
    if (vonk_plan_keeps_dim(c->predictor, o, d)) {
      x->shape[kept++] = dim;
    }
  }
  if (mb->rows_out != NULL) {
    VONK_TRY(vonk_new((size_t)mb->n, sizeof *x->rows, &x->rows, err));
    memcpy(x->rows, mb->rows_out, (size_t)mb->n * sizeof *x->rows);
  }
  size_t n = 0;
  VONK_TRY(vonk_size_mul((size_t)mb->n, (size_t)x->row_elements, &n, err));
  if (o->result_type->kind == 's') {
    return copy_text(t, n, x, err);
  }
  VONK_TRY(vonk_new(n, o->element_size, &x->values, err));
  return transform(o, t, t->data, mb->n, x->row_elements, x->values, err);
}

static vonk_status take_piece(call *c, const micro_batch *mb, const output_plan *o,
                              output_result *result, const vonk_tensor *t,
                              vonk_error *err) {
  piece *x = NULL;
  VONK_TRY(vonk_new(1, sizeof *x, &x, err));
  vonk_status status = fill_piece(c, mb, o, t, x, err);
  if (status != VONK_OK) {
    vonk_piece_release(x);
    return status;
  }
  count(&c->predictor->counters->bytes_copied,
        o->result_type->kind == 's'
            ? t->nbytes
            : (uint64_t)(mb->n * x->row_elements) * o->element_size);
  pthread_mutex_lock(&c->mutex);
  x->next = result->pieces;
  result->pieces = x;
  pthread_mutex_unlock(&c->mutex);
  return VONK_OK;
}

vonk_status vonk_results_take(call *c, const micro_batch *mb, workspace *ws,
                              vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    const vonk_tensor *t = &ws->outputs[o->index];
    status = check_tensor(o, mb, t, err);
    if (status == VONK_OK && o->labels != NULL) {
      status = vonk_classes_check(o, t, err);
    }
    if (status == VONK_OK) {
      status = vonk_values_check_output(c, mb, o, t, err);
    }
    if (status == VONK_OK) {
      status = o->is_dense ? take_dense(c, mb, o, &c->outputs[i], t, err)
                           : take_piece(c, mb, o, &c->outputs[i], t, err);
    }
  }
  vonk_results_release(ws);
  return status;
}
