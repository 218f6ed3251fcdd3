/* Columns to tensors: one micro-batch's rows as the model's inputs.
 *
 * Where the rows lie densely in the column and the dtype is the tensor's, the tensor
 * borrows the column's memory: not one value is copied. Otherwise the elements are
 * gathered, and converted on the way, into the workspace's buffer, where the steps of
 * preprocessing find them. Every byte that is gathered is counted. */
#include <string.h>

#include "predict/plan.h"

#define CHUNK 512 /* bools on their way through a conversion */

static int64_t row_of(const micro_batch *mb, int64_t place) {
  if (place >= mb->n) {
    place = mb->n - 1; /* padding repeats the last row */
  }
  return mb->rows_in == NULL ? mb->first + place : mb->rows_in[place];
}

/* The shape of this micro-batch's tensor; returns the elements of one row. */
static vonk_status set_shape(const call *c, const micro_batch *mb, size_t input,
                             size_t *free_dim, int64_t *shape, size_t *row_elements,
                             vonk_error *err) {
  const input_plan *plan = &c->predictor->inputs[input];
  size_t n = 1;
  shape[0] = mb->n_run;
  for (int32_t d = 0; d < plan->rank; d++) {
    int64_t dim = plan->shape[d];
    if (dim < 0) {
      dim = c->free_dims[(size_t)row_of(mb, 0) * c->n_free_dims + (*free_dim)++];
    }
    shape[d + 1] = dim;
    VONK_TRY(vonk_size_mul(n, (size_t)dim, &n, err));
  }
  *row_elements = n;
  return VONK_OK;
}

static void copy_bools(const vonk_column *leaf, size_t start, size_t n, vonk_dtype to,
                       uint8_t *target) {
  uint8_t bytes[CHUNK];
  size_t size = vonk_dtype_find(to)->size;
  for (size_t done = 0; done < n; done += CHUNK) {
    size_t now = n - done < CHUNK ? n - done : CHUNK;
    vonk_bits_unpack(leaf->values, start + done, now, bytes);
    vonk_dtype_convert(VONK_BOOL8, bytes, to, target + done * size, now);
  }
}

/* n elements from place `start` of the leaf on, as `to`. For a dictionary column start is
 * the row and n is 1. Not of FORM_RAW. */
static void copy_elements(const source_view *v, int64_t start, size_t n, vonk_dtype to,
                          uint8_t *target) {
  const vonk_column *leaf = v->leaf;
  if (n == 0) {
    return;
  }
  if (leaf->type->kind == VONK_TYPE_DICTIONARY) {
    start = vonk_column_index_at(leaf, start);
    leaf = &leaf->children[0];
  }
  size_t at = (size_t)(leaf->offset + start);
  if (leaf->type->kind == VONK_TYPE_DECIMAL) {
    vonk_decimal_convert((const uint8_t *)leaf->values + at * 16, leaf->type->scale, to,
                         target, n);
    return;
  }
  if (leaf->type->dtype == VONK_BOOL8) {
    copy_bools(leaf, at, n, to, target);
    return;
  }
  size_t size = vonk_dtype_find(leaf->type->dtype)->size;
  vonk_dtype_convert(leaf->type->dtype, (const uint8_t *)leaf->values + at * size, to,
                     target, n);
}

/* True if row first + k starts k rows after row first: always so unless a list view says
 * otherwise. */
static bool is_dense(const source_view *v, const micro_batch *mb, size_t row_elements) {
  if (mb->rows_in != NULL) {
    return false;
  }
  if (v->source->type->kind == VONK_TYPE_DICTIONARY) {
    return mb->n == 1;
  }
  if (!v->source->has_views || mb->n == 0) {
    return true;
  }
  int64_t start = vonk_rows_start(v, mb->first);
  for (int64_t k = 1; k < mb->n; k++) {
    start += (int64_t)row_elements;
    if (vonk_rows_start(v, mb->first + k) != start) {
      return false;
    }
  }
  return true;
}

/* n rows that lie one after the other. */
static void copy_span(const source_view *v, int64_t row, size_t n, size_t row_elements,
                      const vonk_dtype_info *dtype, uint8_t *target) {
  if (v->source->form != FORM_RAW) {
    copy_elements(v, vonk_rows_start(v, row), n * row_elements, dtype->dtype, target);
    return;
  }
  const uint8_t *bytes = NULL;
  int64_t nbytes = 0;
  vonk_values_bytes(v, row, &bytes, &nbytes);
  memcpy(target, bytes, n * row_elements * dtype->size);
}

static void copy_rows(const source_view *v, const micro_batch *mb, size_t row_elements,
                      const vonk_dtype_info *dtype, uint8_t *target) {
  size_t row_bytes = row_elements * dtype->size;
  if (mb->n == 0 || row_bytes == 0) {
    return; /* target may be NULL then */
  }
  if (is_dense(v, mb, row_elements)) {
    copy_span(v, mb->first, (size_t)mb->n, row_elements, dtype, target);
  } else {
    for (int64_t k = 0; k < mb->n; k++) {
      copy_span(v, row_of(mb, k), 1, row_elements, dtype, target + (size_t)k * row_bytes);
    }
  }
  for (int64_t k = mb->n; k < mb->n_run; k++) {
    memcpy(target + (size_t)k * row_bytes, target + (size_t)(mb->n - 1) * row_bytes,
           row_bytes);
  }
}

/* Column j of n_columns: element k goes to target[k * n_columns + j]. */
static void interleave(const uint8_t *elements, size_t n, size_t size, size_t j,
                       size_t n_columns, uint8_t *target) {
  size_t stride = n_columns * size;
  target += j * size;
  switch (size) {
    case 4:
      for (size_t k = 0; k < n; k++) {
        memcpy(target + k * stride, elements + k * 4, 4);
      }
      break;
    case 8:
      for (size_t k = 0; k < n; k++) {
        memcpy(target + k * stride, elements + k * 8, 8);
      }
      break;
    default:
      for (size_t k = 0; k < n; k++) {
        memcpy(target + k * stride, elements + k * size, size);
      }
  }
}

/* The micro-batch's elements of a number column where they lie, if they lie densely in the
 * tensor's dtype; else NULL. */
static const uint8_t *elements_in_place(const source_view *v, const micro_batch *mb,
                                        const vonk_dtype_info *dtype) {
  const vonk_column *leaf = v->leaf;
  bool is_same = leaf->type->kind != VONK_TYPE_DICTIONARY &&
                 leaf->type->dtype == dtype->dtype && dtype->dtype != VONK_BOOL8;
  if (!is_same || mb->n == 0 || mb->n != mb->n_run || !is_dense(v, mb, 1)) {
    return NULL;
  }
  size_t at = (size_t)(leaf->offset + vonk_rows_start(v, mb->first));
  return (const uint8_t *)leaf->values + at * dtype->size;
}

/* Several number columns become the rows of one tensor: some rows of all columns at a
 * time, so that each piece of the tensor is written while it is in the fastest cache. */
static vonk_status pack_columns(const call *c, const micro_batch *mb, size_t input,
                                workspace *ws, vonk_error *err) {
  enum { TILE = 128 };
  const input_plan *plan = &c->predictor->inputs[input];
  const source_view *sources = c->inputs[input].sources;
  size_t n = (size_t)mb->n_run, size = plan->dtype->size, width = plan->n_sources;
  uint8_t *target = ws->values[input].data;
  VONK_TRY(vonk_buffer_resize(&ws->elements, n * size, err));
  for (size_t j = 0; j < width; j++) {
    if (elements_in_place(&sources[j], mb, plan->dtype) == NULL) {
      copy_rows(&sources[j], mb, 1, plan->dtype, ws->elements.data);
      interleave(ws->elements.data, n, size, j, width, target);
    }
  }
  for (size_t first = 0; first < n; first += TILE) {
    size_t now = n - first < TILE ? n - first : TILE;
    for (size_t j = 0; j < width; j++) {
      const uint8_t *elements = elements_in_place(&sources[j], mb, plan->dtype);
      if (elements != NULL) {
        interleave(elements + first * size, now, size, j, width,
                   target + first * width * size);
      }
    }
  }
  return VONK_OK;
}

static vonk_status gather_numbers(const call *c, const micro_batch *mb, size_t input,
                                  size_t row_elements, workspace *ws, vonk_error *err) {
  const input_plan *plan = &c->predictor->inputs[input];
  size_t n = 0, nbytes = 0;
  VONK_TRY(vonk_size_mul((size_t)mb->n_run, row_elements, &n, err));
  VONK_TRY(vonk_size_mul(n, plan->dtype->size, &nbytes, err));
  VONK_TRY(vonk_buffer_resize(&ws->values[input], nbytes, err));
  uint8_t *target = ws->values[input].data;
  if (plan->n_sources == 1) {
    copy_rows(&c->inputs[input].sources[0], mb, row_elements, plan->dtype, target);
  } else {
    VONK_TRY(pack_columns(c, mb, input, ws, err));
  }
  ws->inputs[input].data = nbytes == 0 ? NULL : target;
  ws->inputs[input].offsets = NULL;
  ws->inputs[input].nbytes = nbytes;
  count(&c->predictor->counters->bytes_copied, nbytes);
  return VONK_OK;
}

static vonk_status append_text(const source_view *v, int64_t at, vonk_buffer *bytes,
                               int32_t *offsets, size_t *n, vonk_error *err) {
  const vonk_column *leaf = v->leaf;
  const uint8_t *text = NULL;
  int64_t nbytes = 0;
  if (leaf->type->kind == VONK_TYPE_DICTIONARY) {
    at = vonk_column_index_at(leaf, at);
    leaf = &leaf->children[0];
  }
  vonk_column_text_at(leaf, at, &text, &nbytes);
  if (nbytes > INT32_MAX || bytes->size > (size_t)INT32_MAX - (size_t)nbytes) {
    return vonk_fail(
        err, VONK_INVALID,
        "column '%s': the text of one micro-batch exceeds 2 GiB: use a smaller batch",
        v->source->name);
  }
  VONK_TRY(vonk_buffer_append(bytes, text, (size_t)nbytes, err));
  offsets[++*n] = (int32_t)bytes->size;
  return VONK_OK;
}

static vonk_status gather_text(const call *c, const micro_batch *mb, size_t input,
                               size_t row_elements, workspace *ws, vonk_error *err) {
  const input_view *in = &c->inputs[input];
  vonk_buffer *bytes = &ws->values[input];
  size_t n = 0, per_source = in->plan->n_sources == 1 ? row_elements : 1, n_offsets = 0;
  VONK_TRY(vonk_size_mul((size_t)mb->n_run, row_elements, &n_offsets, err));
  VONK_TRY(vonk_size_mul(n_offsets + 1, sizeof(int32_t), &n_offsets, err));
  VONK_TRY(vonk_buffer_resize(&ws->offsets[input], n_offsets, err));
  int32_t *offsets = (int32_t *)(void *)ws->offsets[input].data;
  bytes->size = 0;
  offsets[0] = 0;
  for (int64_t k = 0; k < mb->n_run && mb->n > 0; k++) {
    for (size_t s = 0; s < in->plan->n_sources; s++) {
      int64_t start = vonk_rows_start(&in->sources[s], row_of(mb, k));
      for (size_t e = 0; e < per_source; e++) {
        VONK_TRY(
            append_text(&in->sources[s], start + (int64_t)e, bytes, offsets, &n, err));
      }
    }
  }
  ws->inputs[input].data = bytes->size == 0 ? NULL : bytes->data;
  ws->inputs[input].offsets = offsets;
  ws->inputs[input].nbytes = bytes->size;
  count(&c->predictor->counters->bytes_copied, bytes->size);
  return VONK_OK;
}

/* Arrow data may lie at any address (a mapped file, a slice of a message); a tensor's
 * must be a multiple of its element. */
static bool is_aligned(const source_view *v, const micro_batch *mb,
                       const vonk_dtype_info *dtype) {
  bool is_text = dtype->dtype == VONK_BYTES;
  const void *start = is_text ? v->leaf->offsets : v->leaf->values;
  if (v->source->form == FORM_RAW) {
    const uint8_t *bytes = NULL;
    int64_t nbytes = 0;
    vonk_values_bytes(v, row_of(mb, 0), &bytes, &nbytes);
    start = bytes;
  }
  if (is_text && start == NULL) {
    return false; /* no text at all: Arrow needs no offsets, a tensor does */
  }
  return (uintptr_t)start % (is_text ? sizeof(int32_t) : dtype->size) == 0;
}

static void borrow(const source_view *v, const micro_batch *mb, size_t row_elements,
                   const vonk_dtype_info *dtype, vonk_tensor *t) {
  const vonk_column *leaf = v->leaf;
  size_t n = (size_t)mb->n * row_elements;
  t->flags = VONK_READONLY;
  if (v->source->form == FORM_RAW) {
    const uint8_t *bytes = NULL;
    int64_t nbytes = 0;
    vonk_values_bytes(v, mb->first, &bytes, &nbytes);
    t->offsets = NULL;
    t->nbytes = n * dtype->size;
    t->data = n == 0 ? NULL : (uint8_t *)(uintptr_t)bytes;
    return;
  }
  size_t at = (size_t)(leaf->offset + vonk_rows_start(v, mb->first));
  if (dtype->dtype == VONK_BYTES) {
    const int32_t *offsets = (const int32_t *)leaf->offsets + at;
    t->offsets = offsets;
    t->nbytes = (uint64_t)offsets[n];
    t->data = (void *)(uintptr_t)leaf->values;
    return;
  }
  t->offsets = NULL;
  t->nbytes = n * dtype->size;
  t->data = n == 0 ? NULL : (uint8_t *)(uintptr_t)leaf->values + at * dtype->size;
}

vonk_status vonk_tensors_fill(const call *c, const micro_batch *mb, workspace *ws,
                              vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  size_t free_dim = 0, row_elements = 0;
  for (size_t i = 0; i < p->n_inputs; i++) {
    const input_plan *plan = &p->inputs[i];
    vonk_tensor *t = &ws->inputs[i];
    VONK_TRY(set_shape(c, mb, i, &free_dim, ws->input_shapes[i], &row_elements, err));
    *t = (vonk_tensor){.struct_size = (uint32_t)sizeof *t,
                       .dtype = plan->dtype->dtype,
                       .rank = plan->rank + 1,
                       .shape = ws->input_shapes[i],
                       .device = {VONK_DEVICE_CPU, 0}};
    bool can_borrow = plan->may_borrow && mb->n > 0 && mb->n == mb->n_run &&
                      is_aligned(&c->inputs[i].sources[0], mb, plan->dtype);
    if (can_borrow && is_dense(&c->inputs[i].sources[0], mb, row_elements)) {
      borrow(&c->inputs[i].sources[0], mb, row_elements, plan->dtype, t);
    } else if (plan->dtype->dtype == VONK_BYTES) {
      VONK_TRY(gather_text(c, mb, i, row_elements, ws, err));
    } else {
      VONK_TRY(gather_numbers(c, mb, i, row_elements, ws, err));
      vonk_steps_apply(plan, t);
    }
    count(&p->counters->bytes_in,
          plan->dtype->dtype == VONK_BYTES && t->offsets != NULL && mb->n > 0
              ? t->nbytes - (uint64_t)t->offsets[0]
              : t->nbytes);
  }
  return VONK_OK;
}
