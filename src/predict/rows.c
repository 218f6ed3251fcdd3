/* Looking at a batch's rows before the model does: which have a NULL, which cannot be
 * converted, which shapes they have, and how they are cut into micro-batches.
 *
 * How it works. Where nothing can be wrong (fixed-size lists or scalars without NULLs) no
 * row is looked at. Otherwise one pass per column marks rows in `state`.
 *
 * Cutting. With fixed shapes a micro-batch is a range of places that does not depend on
 * which rows are good: a bad row's place is filled with a good one's values (run.c), so
 * that every good row keeps its place, its batch size, and with them its bits. With free
 * dimensions rows are sorted by shape first (stable, so one shape keeps its order), and
 * rows of one shape run together. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "predict/plan.h"

/* --- views --- */

static vonk_status open_source(const struct ArrowArray *rows, const vonk_predictor *p,
                               const source *s, source_view *view, vonk_error *err) {
  int64_t at = s->path[0];
  view->source = s;
  view->n_above = 0;
  VONK_TRY(vonk_column_view_field(rows, at, &p->columns[at].type, &view->column, err));
  const vonk_column *c = &view->column;
  for (size_t i = 1; i < s->path_size; i++) {
    if (c->null_count > 0) {
      view->above[view->n_above++] = c;
    }
    c = &c->children[s->path[i]];
  }
  view->values = c;
  for (int32_t d = 0; d < s->depth; d++) {
    c = &c->children[0];
  }
  view->leaf = c;
  return VONK_OK;
}

static vonk_status check_root(const call *c, const struct ArrowArray *rows,
                              vonk_error *err) {
  if (rows->release == NULL) {
    return vonk_fail(err, VONK_INVALID, "batch: the array was released already");
  }
  if (rows->n_children != (int64_t)c->predictor->n_columns ||
      (rows->n_children > 0 && rows->children == NULL)) {
    return vonk_fail(
        err, VONK_INVALID,
        "batch: has %" PRId64
        " columns where the predictor was bound to %zu: give batches of that schema",
        rows->children == NULL ? 0 : rows->n_children, c->predictor->n_columns);
  }
  if (rows->length < 0 || rows->offset < 0) {
    return vonk_fail(err, VONK_INVALID,
                     "batch: has length %" PRId64 " and offset %" PRId64
                     ": neither may be negative",
                     rows->length, rows->offset);
  }
  return VONK_OK;
}

static vonk_status open_views(call *c, workspace *ws, const struct ArrowArray *rows,
                              vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  VONK_TRY(check_root(c, rows, err));
  c->n_rows = rows->length;
  if (rows->null_count != 0 && rows->n_buffers >= 1 && rows->buffers != NULL &&
      rows->buffers[0] != NULL) {
    c->root_validity = rows->buffers[0];
    c->root_offset = rows->offset;
  }
  c->inputs = ws->views;
  for (size_t i = 0; i < p->n_inputs; i++) {
    const input_plan *plan = &p->inputs[i];
    for (size_t s = 0; s < plan->n_sources; s++) {
      VONK_TRY(open_source(rows, p, &plan->sources[s], &c->inputs[i].sources[s], err));
    }
  }
  return VONK_OK;
}

/* --- the state of rows --- */

static bool is_good(const call *c, int64_t i) {
  return c->state == NULL || c->state[i] == ROW_GOOD;
}

static vonk_status mark_null(call *c, const source_view *v, int64_t row,
                             vonk_error *err) {
  vonk_error why = VONK_ERROR_INIT;
  vonk_fail(&why, VONK_INVALID, "column '%s': is NULL", v->source->name);
  return vonk_call_bad_row(c, row, ROW_NULL, &why, err);
}

static bool has_null_row(const source_view *v, int64_t i) {
  for (size_t a = 0; a < v->n_above; a++) {
    if (vonk_column_is_null(v->above[a], i)) {
      return true;
    }
  }
  return vonk_column_is_null(v->values, i); /* of a dictionary: its value too */
}

static bool may_have_null_rows(const source_view *v) {
  return v->n_above > 0 || v->values->null_count > 0 ||
         v->source->type->kind == VONK_TYPE_NULL ||
         (v->source->type->kind == VONK_TYPE_DICTIONARY &&
          v->values->children[0].null_count > 0);
}

static vonk_status find_nulls(call *c, const source_view *v, vonk_error *err) {
  for (int64_t i = 0; i < c->n_rows; i++) {
    if (is_good(c, i) && has_null_row(v, i)) {
      VONK_TRY(mark_null(c, v, i, err));
    }
  }
  return VONK_OK;
}

static vonk_status find_root_nulls(call *c, vonk_error *err) {
  for (int64_t i = 0; c->root_validity != NULL && i < c->n_rows; i++) {
    if (!vonk_bit_get(c->root_validity, (size_t)(c->root_offset + i))) {
      vonk_error why = VONK_ERROR_INIT;
      vonk_fail(&why, VONK_INVALID, "row: is NULL");
      VONK_TRY(vonk_call_bad_row(c, i, ROW_NULL, &why, err));
    }
  }
  return VONK_OK;
}

/* --- lengths --- */

int64_t vonk_rows_start(const source_view *v, int64_t i) {
  int64_t start = i, n = 0;
  const vonk_column *c = v->values;
  for (int32_t d = 0; d < v->source->depth; d++) {
    vonk_column_list_at(c, start, &start, &n);
    c = &c->children[0];
  }
  return start;
}

/* The lists of one level inside one row must be equally long and lie one after the other.
 * NULL if so, else what is wrong. */
static const char *fault_of_level(const vonk_column *c, int64_t first, int64_t n_lists,
                                  int64_t *length) {
  int64_t start = 0, n = 0, expected = 0;
  *length = 0;
  for (int64_t k = 0; k < n_lists; k++) {
    if (vonk_column_is_null(c, first + k)) {
      return "an inner list is NULL, which a tensor cannot hold";
    }
    vonk_column_list_at(c, first + k, &start, &n);
    if (k == 0) {
      *length = n;
      expected = start;
    }
    if (n != *length) {
      return "its inner lists differ in length, which those of a tensor do not";
    }
    if (start != expected) {
      return "its inner lists do not lie one after the other: give lists, no list views";
    }
    expected += n;
  }
  return NULL;
}

/* The dimensions of row i as its lists give them; NULL, or what is wrong with them. */
static const char *measure_row(const source_view *v, int64_t i, int64_t *dims,
                               int64_t *leaf_start, int64_t *n_elements) {
  int64_t first = i, n_lists = 1;
  const vonk_column *c = v->values;
  for (int32_t d = 0; d < v->source->depth; d++) {
    int64_t length = 0, start = 0, ignored = 0;
    const char *fault = fault_of_level(c, first, n_lists, &length);
    if (fault != NULL) {
      return fault;
    }
    dims[d] = length;
    if (n_lists > 0) {
      vonk_column_list_at(c, first, &start, &ignored);
    }
    first = start;
    n_lists *= length;
    c = &c->children[0];
  }
  *leaf_start = first;
  *n_elements = n_lists;
  return NULL;
}

static vonk_status uneven(call *c, const source_view *v, const char *fault, int64_t row,
                          vonk_error *err) {
  vonk_error why = VONK_ERROR_INIT;
  vonk_fail(&why, VONK_INVALID, "column '%s': %s", v->source->name, fault);
  return vonk_call_bad_row(c, row, ROW_BAD, &why, err);
}

static vonk_status wrong_length(call *c, const input_view *in, const int64_t *dims,
                                int64_t row, vonk_error *err) {
  vonk_error why = VONK_ERROR_INIT;
  vonk_text found = {.size = 0}, wanted = {.size = 0};
  const source *s = in->sources[0].source;
  for (int32_t d = 0; d < s->depth; d++) {
    vonk_text_add(&found, "%s%" PRId64, d == 0 ? "" : " x ", dims[d]);
  }
  vonk_plan_describe(in->plan->io->dtype, in->plan->rank, in->plan->shape, &wanted);
  vonk_fail(&why, VONK_INVALID, "column '%s': has %s element%s, input '%s' wants %s",
            s->name, found.data, s->depth == 1 && dims[0] == 1 ? "" : "s",
            in->plan->io->name, wanted.data);
  return vonk_call_bad_row(c, row, ROW_BAD, &why, err);
}

bool vonk_rows_fit_dims(const input_plan *plan, const source *s, const int64_t *dims,
                        int64_t n_elements, int64_t *free_dims) {
  int64_t rest = 1;
  int32_t n_free = 0;
  if (s->depth == plan->rank && s->depth > 0) {
    bool is_empty =
        false; /* below an empty list, lengths are not known and do not matter */
    for (int32_t d = 0; d < plan->rank; d++) {
      if (plan->shape[d] < 0) {
        free_dims[n_free++] = dims[d];
      } else if (plan->shape[d] != dims[d] && !is_empty) {
        return false;
      }
      is_empty = is_empty || dims[d] == 0;
    }
    return true;
  }
  for (int32_t d = 0; d < plan->rank; d++) {
    n_free += plan->shape[d] < 0;
    rest *= plan->shape[d] < 0 ? 1 : plan->shape[d];
  }
  if (n_free == 0) {
    return n_elements == rest;
  }
  free_dims[0] = rest > 0 ? n_elements / rest : 0;
  return rest > 0 && n_elements % rest == 0;
}

static bool has_null_element(const source_view *v, int64_t start, int64_t n,
                             int64_t *at) {
  for (int64_t k = 0; v->leaf->null_count > 0 && k < n; k++) {
    if (vonk_column_is_null(v->leaf, start + k)) {
      *at = k;
      return true;
    }
  }
  return false;
}

static vonk_status check_row(call *c, const input_view *in, int64_t row,
                             int64_t *free_dims, vonk_error *err) {
  const source_view *v = &in->sources[0];
  if (v->source->form == FORM_RAW) {
    return vonk_values_check_bytes(c, in, row, free_dims, err);
  }
  int64_t dims[VONK_MAX_RANK + 8] = {0}, start = 0, n = 0, at = 0;
  const char *fault = measure_row(v, row, dims, &start, &n);
  if (fault != NULL) {
    return uneven(c, v, fault, row, err);
  }
  if (!vonk_rows_fit_dims(in->plan, v->source, dims, n, free_dims)) {
    return wrong_length(c, in, dims, row, err);
  }
  if (has_null_element(v, start, n, &at)) {
    vonk_error why = VONK_ERROR_INIT;
    vonk_fail(&why, VONK_INVALID, "column '%s': element %" PRId64 " of the list is NULL",
              v->source->name, at);
    return vonk_call_bad_row(c, row, ROW_BAD, &why, err);
  }
  return VONK_OK;
}

/* Nothing promises that offsets are aligned. No early exit: the loops vectorise. */
#define DEFINE_ALL_STEPS(NAME, TYPE)                                    \
  static bool NAME(const uint8_t *offsets, int64_t n_rows, int64_t n) { \
    uint64_t wrong = 0;                                                 \
    for (size_t i = 0; i < (size_t)n_rows; i++) {                       \
      TYPE low, high;                                                   \
      memcpy(&low, offsets + i * sizeof low, sizeof low);               \
      memcpy(&high, offsets + (i + 1) * sizeof high, sizeof high);      \
      wrong |= (uint64_t)((int64_t)high - (int64_t)low - n);            \
    }                                                                   \
    return wrong == 0;                                                  \
  }
DEFINE_ALL_STEPS(narrow_steps, int32_t)
DEFINE_ALL_STEPS(wide_steps, int64_t)

/* One pass over the offsets of a flat list, or of binary values; true if every row has n
 * elements, or bytes, which is the usual case. */
static bool all_have_length(const vonk_column *c, int64_t n) {
  if (c->type->kind == VONK_TYPE_FIXED_LIST) {
    return true; /* fit.c compared the type */
  }
  if ((c->type->kind != VONK_TYPE_LIST && c->type->kind != VONK_TYPE_TEXT) ||
      c->length == 0) {
    return c->length == 0;
  }
  const uint8_t *offsets = c->offsets;
  return c->type->wide_offsets
             ? wide_steps(offsets + (size_t)c->offset * 8, c->length, n)
             : narrow_steps(offsets + (size_t)c->offset * 4, c->length, n);
}

static bool needs_row_check(const input_view *in) {
  const source_view *v = &in->sources[0];
  if (v->source->form == FORM_RAW) {
    return in->plan->row_elements < 0 || in->plan->dtype->dtype == VONK_BOOL8 ||
           !all_have_length(v->values,
                            in->plan->row_elements * (int64_t)in->plan->dtype->size);
  }
  if (v->source->depth == 0) {
    return false;
  }
  if (in->plan->row_elements < 0 || v->leaf->null_count > 0) {
    return true;
  }
  const vonk_type *t = v->source->type;
  for (int32_t d = 0; d < v->source->depth; d++) {
    if (t->kind != VONK_TYPE_FIXED_LIST) {
      return v->source->depth > 1 || !all_have_length(v->values, in->plan->row_elements);
    }
    t = &t->children[0];
  }
  const vonk_column *inner = v->values;
  for (int32_t d = 1; d < v->source->depth; d++) {
    inner = &inner->children[0];
    if (inner->null_count > 0) {
      return true;
    }
  }
  return false;
}

static vonk_status check_lengths(call *c, size_t input, size_t first_free_dim,
                                 vonk_error *err) {
  const input_view *in = &c->inputs[input];
  int64_t ignored[VONK_MAX_RANK];
  for (int64_t i = 0; i < c->n_rows; i++) {
    if (is_good(c, i)) {
      int64_t *dims = c->free_dims == NULL
                          ? ignored
                          : &c->free_dims[(size_t)i * c->n_free_dims + first_free_dim];
      VONK_TRY(check_row(c, in, i, dims, err));
    }
  }
  return VONK_OK;
}

static size_t count_free_dims(const input_plan *plan) {
  size_t n = 0;
  for (int32_t d = 0; d < plan->rank; d++) {
    n += plan->shape[d] < 0;
  }
  return n;
}

vonk_status vonk_rows_open(call *c, workspace *ws, const struct ArrowArray *rows,
                           vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  size_t first_free_dim = 0;
  VONK_TRY(open_views(c, ws, rows, err));
  if (p->row_errors != VONK_ROWS_RAISE) {
    VONK_TRY(vonk_new((size_t)c->n_rows, 1, &c->state, err));
  }
  for (size_t i = 0; i < p->n_inputs; i++) {
    c->n_free_dims += count_free_dims(&p->inputs[i]);
  }
  if (c->n_free_dims > 0) {
    size_t n = 0;
    VONK_TRY(vonk_size_mul((size_t)c->n_rows, c->n_free_dims, &n, err));
    VONK_TRY(vonk_new(n, sizeof *c->free_dims, &c->free_dims, err));
  }
  VONK_TRY(find_root_nulls(c, err));
  for (size_t i = 0; i < p->n_inputs; i++) {
    for (size_t s = 0; s < p->inputs[i].n_sources; s++) {
      if (may_have_null_rows(&c->inputs[i].sources[s])) {
        VONK_TRY(find_nulls(c, &c->inputs[i].sources[s], err));
      }
    }
    if (needs_row_check(&c->inputs[i])) {
      VONK_TRY(check_lengths(c, i, first_free_dim, err));
    }
    for (size_t s = 0; s < p->inputs[i].n_sources; s++) {
      VONK_TRY(vonk_values_check_range(c, &c->inputs[i], s, first_free_dim, err));
    }
    first_free_dim += count_free_dims(&p->inputs[i]);
  }
  return VONK_OK;
}

void vonk_rows_close(call *c) {
  for (size_t i = 0; c->inputs != NULL && i < c->predictor->n_inputs; i++) {
    for (size_t s = 0; s < c->predictor->inputs[i].n_sources; s++) {
      vonk_column_clear(&c->inputs[i].sources[s].column);
    }
  }
  vonk_delete(c->state);
  vonk_delete(c->order);
  vonk_delete(c->free_dims);
  if (c->cuts != &c->only_cut) {
    vonk_delete(c->cuts);
  }
}
