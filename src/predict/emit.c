/* Putting the results of a call together as one Arrow struct array.
 *
 * Dense outputs are there already: their buffer becomes the array's. Pieces are laid out
 * row after row, level by level: the lists of level d number as many as the product of
 * the dimensions above it, summed over the rows; fixed-size lists need no offsets, others
 * get them. A row without a result counts 0 along those, and is filled along fixed-size
 * ones, as Arrow wants it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "predict/plan.h"

static int64_t count_bad(const call *c) {
  int64_t n = 0;
  for (int64_t i = 0; c->state != NULL && i < c->n_rows; i++) {
    n += c->state[i] != ROW_GOOD;
  }
  return n;
}

/* NULL if every row is good. */
static vonk_status make_validity(const call *c, int64_t n_bad, uint8_t **out,
                                 vonk_error *err) {
  uint8_t *bits = NULL;
  *out = NULL;
  if (n_bad == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_new(((size_t)c->n_rows + 7) / 8, 1, &bits, err));
  for (int64_t i = 0; i < c->n_rows; i++) {
    if (c->state[i] == ROW_GOOD) {
      vonk_bit_set(bits, (size_t)i);
    }
  }
  *out = bits;
  return VONK_OK;
}

vonk_status vonk_emit_values(const vonk_dtype_info *dtype, int64_t n, int64_t null_count,
                             uint8_t **validity, uint8_t **values, struct ArrowArray *out,
                             vonk_error *err) {
  if (dtype->kind == 'b') {
    uint8_t *bits = NULL;
    VONK_TRY(vonk_new(((size_t)n + 7) / 8, 1, &bits, err));
    if (n > 0) {
      vonk_bits_pack(*values, (size_t)n, bits);
    }
    vonk_delete(*values);
    *values = bits;
  }
  VONK_TRY(vonk_array_value(n, null_count, *validity, *values, out, err));
  *validity = NULL;
  *values = NULL;
  return VONK_OK;
}

/* The elements below all lists. Takes over *validity and *values on success. */
static vonk_status make_elements(const output_plan *o, int64_t n, int64_t null_count,
                                 uint8_t **validity, uint8_t **values,
                                 struct ArrowArray *out, vonk_error *err) {
  switch (o->as) {
    case AS_LABEL:
      return vonk_emit_labels(o, n, null_count, validity, values, out, err);
    case AS_TOP: /* always in a list, which has the rows' validity */
      return vonk_emit_entries(o, n, values, out, err);
    default:
      return vonk_emit_values(o->result_type, n, null_count, validity, values, out, err);
  }
}

typedef struct placed_row {
  const piece *piece; /* NULL: no result */
  int64_t place;
} placed_row;

/* One output on its way from pieces to an array. */
typedef struct emission {
  const call *call;
  const output_plan *output;
  placed_row *rows;
  int64_t n_bad;
  uint8_t **validity; /* of the rows; *validity becomes NULL when an array takes it */
} emission;

static vonk_status refuse_size(const emission *e, vonk_error *err) {
  return vonk_fail(err, VONK_INVALID,
                   "output '%s': one batch yields more than 2^31 elements, which a "
                   "list column cannot hold: give smaller batches",
                   e->output->io->name);
}

/* --- dense --- */

/* What lies under a NULL is zero, not another row's prediction. */
static void clear_bad_rows(const call *c, const output_plan *o, uint8_t *values) {
  size_t row_bytes = (size_t)o->row_elements * o->element_size;
  for (int64_t i = 0; c->state != NULL && row_bytes > 0 && i < c->n_rows; i++) {
    if (c->state[i] != ROW_GOOD) {
      memset(values + (size_t)i * row_bytes, 0, row_bytes);
    }
  }
}

/* Lists of one length, around all of *inner: fixed-size ones, or such that have offsets
 * and say nothing of it in their type. A NULL row's is as long as the others, so that the
 * values need not move. */
static vonk_status wrap_dense(const emission *e, int32_t d, int64_t n_lists,
                              struct ArrowArray *inner, struct ArrowArray *outer,
                              vonk_error *err) {
  int64_t null_count = d == 0 ? e->n_bad : 0;
  uint8_t *mask = d == 0 ? *e->validity : NULL;
  if (!e->output->is_list[d]) {
    return vonk_array_fixed_list(n_lists, null_count, mask, inner, outer, err);
  }
  if (inner->length > INT32_MAX) {
    return refuse_size(e, err);
  }
  int32_t *offsets = NULL;
  int64_t length = n_lists == 0 ? 0 : inner->length / n_lists;
  VONK_TRY(vonk_new((size_t)n_lists + 1, sizeof *offsets, &offsets, err));
  for (int64_t i = 0; i <= n_lists; i++) {
    offsets[i] = (int32_t)(i * length);
  }
  vonk_status status =
      vonk_array_list(n_lists, null_count, mask, offsets, inner, outer, err);
  if (status != VONK_OK) {
    vonk_delete(offsets);
  }
  return status;
}

static vonk_status emit_dense(const emission *e, output_result *result,
                              struct ArrowArray *out, vonk_error *err) {
  const output_plan *o = e->output;
  struct ArrowArray inner = {0}, outer = {0};
  uint8_t *none = NULL;
  bool is_scalar = o->rank == 0;
  clear_bad_rows(e->call, o, result->values);
  VONK_TRY(make_elements(o, e->call->n_rows * o->row_elements, is_scalar ? e->n_bad : 0,
                         is_scalar ? e->validity : &none, &result->values, &inner, err));
  for (int32_t d = o->rank - 1; d >= 0; d--) {
    int64_t n_lists = e->call->n_rows;
    for (int32_t k = 0; k < d; k++) {
      n_lists *= o->shape[k];
    }
    vonk_status status = wrap_dense(e, d, n_lists, &inner, &outer, err);
    if (status != VONK_OK) {
      inner.release(&inner);
      return status;
    }
    if (d == 0) {
      *e->validity = NULL;
    }
    vonk_array_move(&outer, &inner);
  }
  vonk_array_move(&inner, out);
  return VONK_OK;
}

/* --- pieces --- */

static vonk_status place_rows(emission *e, const output_result *result, vonk_error *err) {
  VONK_TRY(vonk_new((size_t)e->call->n_rows, sizeof *e->rows, &e->rows, err));
  for (const piece *x = result->pieces; x != NULL; x = x->next) {
    for (int64_t k = 0; k < x->n; k++) {
      int64_t row = x->rows == NULL ? x->first + k : x->rows[k];
      if (e->call->state == NULL || e->call->state[row] == ROW_GOOD) {
        e->rows[row] = (placed_row){x, k};
      }
    }
  }
  return VONK_OK;
}

static int64_t dim_of(const emission *e, int64_t row, int32_t d) {
  if (e->rows[row].piece != NULL) {
    return e->rows[row].piece->shape[d];
  }
  return e->output->is_list[d] ? 0 : e->output->shape[d];
}

/* Lists of level d in one row; d = rank: elements. */
static int64_t lists_in_row(const emission *e, int64_t row, int32_t d) {
  int64_t n = 1;
  for (int32_t k = 0; k < d; k++) {
    n *= dim_of(e, row, k);
  }
  return n;
}

static vonk_status count_lists(const emission *e, int32_t d, int64_t *out,
                               vonk_error *err) {
  int64_t n = 0;
  for (int64_t i = 0; i < e->call->n_rows; i++) {
    n += lists_in_row(e, i, d);
    if (n > INT32_MAX) {
      return refuse_size(e, err);
    }
  }
  *out = n;
  return VONK_OK;
}

static vonk_status lay_numbers(const emission *e, int64_t n_elements, uint8_t **values,
                               vonk_error *err) {
  size_t size = e->output->element_size, at = 0;
  VONK_TRY(vonk_new((size_t)n_elements, size, values, err));
  for (int64_t i = 0; i < e->call->n_rows; i++) {
    size_t nbytes = (size_t)lists_in_row(e, i, e->output->rank) * size;
    const placed_row *row = &e->rows[i];
    if (row->piece != NULL && nbytes > 0) {
      memcpy(*values + at, row->piece->values + (size_t)row->place * nbytes, nbytes);
    }
    at += nbytes;
  }
  return VONK_OK;
}

/* Appends the n texts of one row, and where each ends. */
static vonk_status lay_row_text(const emission *e, int64_t i, int64_t n, int32_t *ends,
                                vonk_buffer *bytes, vonk_error *err) {
  const placed_row *row = &e->rows[i];
  for (int64_t k = 0; k < n; k++) {
    if (row->piece != NULL) {
      const int32_t *at = &row->piece->offsets[row->place * n + k];
      size_t nbytes = (size_t)(at[1] - at[0]);
      if (bytes->size + nbytes > INT32_MAX) {
        return vonk_fail(
            err, VONK_INVALID,
            "output '%s': one batch yields more than 2 GiB of text: give smaller batches",
            e->output->io->name);
      }
      VONK_TRY(vonk_buffer_append(bytes, row->piece->values + at[0], nbytes, err));
    }
    ends[k] = (int32_t)bytes->size;
  }
  return VONK_OK;
}

static vonk_status lay_text(const emission *e, int64_t n_elements, int32_t **offsets,
                            vonk_buffer *bytes, vonk_error *err) {
  VONK_TRY(vonk_new((size_t)n_elements + 1, sizeof **offsets, offsets, err));
  int32_t *ends = *offsets + 1;
  for (int64_t i = 0; i < e->call->n_rows; i++) {
    int64_t n = lists_in_row(e, i, e->output->rank);
    VONK_TRY(lay_row_text(e, i, n, ends, bytes, err));
    ends += n;
  }
  return VONK_OK;
}

static vonk_status emit_text(const emission *e, int64_t n_elements, int64_t null_count,
                             uint8_t **mask, struct ArrowArray *out, vonk_error *err) {
  int32_t *offsets = NULL;
  vonk_buffer bytes = {0};
  vonk_status status = lay_text(e, n_elements, &offsets, &bytes, err);
  if (status == VONK_OK) {
    status =
        vonk_array_text(n_elements, null_count, *mask, offsets, bytes.data, out, err);
  }
  if (status != VONK_OK) {
    vonk_delete(offsets);
    vonk_buffer_release(&bytes);
    return status;
  }
  *mask = NULL;
  return VONK_OK;
}

/* The elements below all lists; they carry the rows' validity if there is no list. */
static vonk_status emit_leaf(const emission *e, struct ArrowArray *out, vonk_error *err) {
  const output_plan *o = e->output;
  int64_t n_elements = 0, null_count = o->rank == 0 ? e->n_bad : 0;
  uint8_t *none = NULL, *values = NULL;
  uint8_t **mask = o->rank == 0 ? e->validity : &none;
  VONK_TRY(count_lists(e, o->rank, &n_elements, err));
  if (o->result_type->kind == 's') {
    return emit_text(e, n_elements, null_count, mask, out, err);
  }
  vonk_status status = lay_numbers(e, n_elements, &values, err);
  if (status == VONK_OK) {
    status = make_elements(o, n_elements, null_count, mask, &values, out, err);
  }
  vonk_delete(values);
  return status;
}

static vonk_status make_offsets(const emission *e, int32_t d, int64_t n_lists,
                                int32_t **out, vonk_error *err) {
  int32_t *offsets = NULL;
  size_t n = 0;
  VONK_TRY(vonk_new((size_t)n_lists + 1, sizeof *offsets, &offsets, err));
  for (int64_t i = 0; i < e->call->n_rows; i++) {
    int64_t lists = lists_in_row(e, i, d);
    for (int64_t k = 0; k < lists; k++) {
      offsets[n + 1] = offsets[n] + (int32_t)dim_of(e, i, d);
      n++;
    }
  }
  *out = offsets;
  return VONK_OK;
}

/* Wraps *inner, the children of level d's lists, in level d. */
static vonk_status wrap_level(const emission *e, int32_t d, struct ArrowArray *inner,
                              vonk_error *err) {
  struct ArrowArray outer = {0};
  int64_t n_lists = 0, null_count = d == 0 ? e->n_bad : 0;
  uint8_t *mask = d == 0 ? *e->validity : NULL;
  VONK_TRY(count_lists(e, d, &n_lists, err));
  if (!e->output->is_list[d]) {
    VONK_TRY(vonk_array_fixed_list(n_lists, null_count, mask, inner, &outer, err));
  } else {
    int32_t *offsets = NULL;
    VONK_TRY(make_offsets(e, d, n_lists, &offsets, err));
    vonk_status status =
        vonk_array_list(n_lists, null_count, mask, offsets, inner, &outer, err);
    if (status != VONK_OK) {
      vonk_delete(offsets);
      return status;
    }
  }
  if (d == 0) {
    *e->validity = NULL;
  }
  vonk_array_move(&outer, inner);
  return VONK_OK;
}

static vonk_status emit_pieces(emission *e, const output_result *result,
                               struct ArrowArray *out, vonk_error *err) {
  struct ArrowArray array = {0};
  VONK_TRY(place_rows(e, result, err));
  vonk_status status = emit_leaf(e, &array, err);
  for (int32_t d = e->output->rank - 1; status == VONK_OK && d >= 0; d--) {
    status = wrap_level(e, d, &array, err);
  }
  vonk_delete(e->rows);
  if (status != VONK_OK) {
    if (array.release != NULL) {
      array.release(&array);
    }
    return status;
  }
  vonk_array_move(&array, out);
  return VONK_OK;
}

/* --- the error column --- */

static int compare_rows(const void *a, const void *b) {
  int64_t x = ((const row_message *)a)->row, y = ((const row_message *)b)->row;
  return x < y ? -1 : x > y;
}

static vonk_status fill_errors(const call *c, const row_message *messages, size_t n,
                               uint8_t *validity, int32_t *offsets, uint8_t *bytes,
                               vonk_error *err) {
  size_t at = 0, next = 0;
  for (int64_t i = 0; i < c->n_rows; i++) {
    if (next < n && messages[next].row == i) {
      memcpy(bytes + at, c->message_text.data + messages[next].start,
             messages[next].size);
      at += messages[next++].size;
      vonk_bit_set(validity, (size_t)i);
    }
    if (at > INT32_MAX) {
      return vonk_fail(err, VONK_INVALID,
                       "column 'error': one batch has more than 2 GiB of messages: give "
                       "smaller batches");
    }
    offsets[i + 1] = (int32_t)at;
  }
  return VONK_OK;
}

static vonk_status emit_errors(const call *c, struct ArrowArray *out, vonk_error *err) {
  row_message *messages = (row_message *)(void *)c->messages.data;
  size_t n = c->messages.size / sizeof *messages;
  uint8_t *validity = NULL, *bytes = NULL;
  int32_t *offsets = NULL;
  if (n > 1) {
    qsort(messages, n, sizeof *messages, compare_rows);
  }
  vonk_status status = vonk_new(((size_t)c->n_rows + 7) / 8, 1, &validity, err);
  if (status == VONK_OK) {
    status = vonk_new((size_t)c->n_rows + 1, sizeof *offsets, &offsets, err);
  }
  if (status == VONK_OK) {
    status = vonk_new(c->message_text.size, 1, &bytes, err);
  }
  if (status == VONK_OK) {
    status = fill_errors(c, messages, n, validity, offsets, bytes, err);
  }
  if (status == VONK_OK) {
    status = vonk_array_text(c->n_rows, c->n_rows - (int64_t)n, validity, offsets, bytes,
                             out, err);
  }
  if (status != VONK_OK) {
    vonk_delete(validity);
    vonk_delete(offsets);
    vonk_delete(bytes);
  }
  return status;
}

vonk_status vonk_emit(call *c, struct ArrowArray *out, vonk_error *err) {
  const vonk_predictor *p = c->predictor;
  bool has_error = p->row_errors == VONK_ROWS_REPORT;
  int64_t n_bad = count_bad(c);
  struct ArrowArray result = {0};
  VONK_TRY(vonk_array_struct(c->n_rows, (int64_t)p->n_outputs + has_error, &result, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    uint8_t *validity = NULL;
    status = make_validity(c, n_bad, &validity, err);
    if (status == VONK_OK) {
      emission e = {.call = c, .output = o, .n_bad = n_bad, .validity = &validity};
      status = o->is_dense ? emit_dense(&e, &c->outputs[i], result.children[i], err)
                           : emit_pieces(&e, &c->outputs[i], result.children[i], err);
    }
    vonk_delete(validity);
  }
  if (status == VONK_OK && has_error) {
    status = emit_errors(c, result.children[p->n_outputs], err);
  }
  if (status != VONK_OK) {
    result.release(&result);
    return status;
  }
  vonk_array_move(&result, out);
  return VONK_OK;
}
