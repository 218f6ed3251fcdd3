/* Cutting a batch into micro-batches; see rows.c for why it is done by place. */
#include <stdlib.h>
#include <string.h>

#include "predict/plan.h"

typedef struct sort_key {
  const int64_t *dims;
  size_t n_dims;
  int64_t row;
} sort_key;

static int compare_shapes(const void *a, const void *b) {
  const sort_key *x = a, *y = b;
  for (size_t d = 0; d < x->n_dims; d++) {
    if (x->dims[d] != y->dims[d]) {
      return x->dims[d] < y->dims[d] ? -1 : 1;
    }
  }
  return x->row < y->row ? -1 : x->row > y->row;
}

static bool same_shape(const call *c, int64_t a, int64_t b) {
  return memcmp(&c->free_dims[(size_t)a * c->n_free_dims],
                &c->free_dims[(size_t)b * c->n_free_dims],
                c->n_free_dims * sizeof *c->free_dims) == 0;
}

/* True if all rows are good and of one shape, so that they can run as they come. */
static bool rows_are_alike(const call *c) {
  for (int64_t i = 0; i < c->n_rows; i++) {
    if ((c->state != NULL && c->state[i] != ROW_GOOD) || !same_shape(c, 0, i)) {
      return false;
    }
  }
  return true;
}

/* Good rows by shape. */
static vonk_status sort_rows(call *c, vonk_error *err) {
  sort_key *keys = NULL;
  VONK_TRY(vonk_new((size_t)c->n_rows, sizeof *keys, &keys, err));
  vonk_status status = vonk_new((size_t)c->n_rows, sizeof *c->order, &c->order, err);
  int64_t n = 0;
  for (int64_t i = 0; status == VONK_OK && i < c->n_rows; i++) {
    if (c->state == NULL || c->state[i] == ROW_GOOD) {
      keys[n++] =
          (sort_key){&c->free_dims[(size_t)i * c->n_free_dims], c->n_free_dims, i};
    }
  }
  if (n > 1) {
    qsort(keys, (size_t)n, sizeof *keys, compare_shapes);
  }
  for (int64_t i = 0; i < n; i++) {
    c->order[i] = keys[i].row;
  }
  c->n_order = n;
  vonk_delete(keys);
  return status;
}

static bool starts_new_shape(const call *c, int64_t place) {
  return c->order != NULL && place > 0 &&
         !same_shape(c, c->order[place - 1], c->order[place]);
}

/* Long rows of a free dimension are only known here. */
int64_t vonk_rows_most(const call *c, int64_t place) {
  const vonk_predictor *p = c->predictor;
  if (c->n_free_dims == 0 || p->fixed_batch != 0) {
    return p->batch_rows;
  }
  int64_t row = c->order == NULL ? place : c->order[place];
  int64_t cap = p->batch_bytes /
                vonk_plan_row_bytes(p, &c->free_dims[(size_t)row * c->n_free_dims]);
  cap = cap > 0 ? cap : 1;
  return cap < p->batch_rows ? cap : p->batch_rows;
}

/* Where the micro-batch that begins here ends. */
static int64_t end_of_cut(const call *c, int64_t begin) {
  int64_t most = vonk_rows_most(c, begin), end = begin + 1;
  int64_t limit = c->n_order - begin < most ? c->n_order : begin + most;
  if (c->order == NULL) {
    return limit;
  }
  while (end < limit && !starts_new_shape(c, end)) {
    end++;
  }
  return end;
}

vonk_status vonk_rows_cut(call *c, vonk_error *err) {
  int64_t n = 0;
  c->n_order = c->n_rows;
  if (c->n_free_dims > 0 && c->n_rows > 0 && !rows_are_alike(c)) {
    VONK_TRY(sort_rows(c, err));
  }
  for (int64_t begin = 0; begin < c->n_order; begin = end_of_cut(c, begin)) {
    n++;
  }
  c->cuts = &c->only_cut;
  if (n > 1) {
    VONK_TRY(vonk_new((size_t)n, sizeof *c->cuts, &c->cuts, err));
  }
  for (int64_t begin = 0, end; begin < c->n_order; begin = end) {
    end = end_of_cut(c, begin);
    c->cuts[c->n_cuts++] = (cut){begin, end};
  }
  return VONK_OK;
}
