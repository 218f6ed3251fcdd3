/* Values that must be looked at before they may become a tensor's: the bytes of a binary
 * column that are a row, and integers that the tensor's type may not hold.
 *
 * Where all is well, which is usual, one pass that vectorises finds it so; only then are
 * rows looked at one by one, to find those at fault. */
#include <inttypes.h>
#include <string.h>

#include "predict/plan.h"

/* --- a row as bytes --- */

void vonk_values_bytes(const source_view *v, int64_t i, const uint8_t **bytes,
                       int64_t *nbytes) {
  const vonk_column *column = v->leaf;
  if (column->type->kind == VONK_TYPE_DICTIONARY) {
    i = vonk_column_index_at(column, i);
    column = &column->children[0];
  }
  vonk_column_text_at(column, i, bytes, nbytes);
}

static vonk_status wrong_size(call *c, const input_view *in, int64_t nbytes, int64_t row,
                              vonk_error *err) {
  const input_plan *plan = in->plan;
  vonk_error why = VONK_ERROR_INIT;
  vonk_text wanted = {.size = 0};
  int64_t rest = (int64_t)plan->dtype->size;
  for (int32_t d = 0; d < plan->rank; d++) {
    rest *= plan->shape[d] < 0 ? 1 : plan->shape[d];
  }
  vonk_plan_describe(plan->io->dtype, plan->rank, plan->shape, &wanted);
  vonk_fail(&why, VONK_INVALID,
            "column '%s': has %" PRId64 " byte%s, input '%s' wants %s, %s%" PRId64
            " bytes",
            in->sources[0].source->name, nbytes, nbytes == 1 ? "" : "s", plan->io->name,
            wanted.data, plan->row_elements < 0 ? "a multiple of " : "", rest);
  return vonk_call_bad_row(c, row, ROW_BAD, &why, err);
}

vonk_status vonk_values_check_bytes(call *c, const input_view *in, int64_t row,
                                    int64_t *free_dims, vonk_error *err) {
  const input_plan *plan = in->plan;
  const source_view *v = &in->sources[0];
  const int64_t size = (int64_t)plan->dtype->size;
  const uint8_t *bytes = NULL;
  int64_t nbytes = 0;
  vonk_values_bytes(v, row, &bytes, &nbytes);
  if (nbytes % size != 0 ||
      !vonk_rows_fit_dims(plan, v->source, NULL, nbytes / size, free_dims)) {
    return wrong_size(c, in, nbytes, row, err);
  }
  for (int64_t k = 0; plan->dtype->dtype == VONK_BOOL8 && k < nbytes; k++) {
    if (bytes[k] > 1) {
      vonk_error why = VONK_ERROR_INIT;
      vonk_fail(&why, VONK_INVALID,
                "column '%s': byte %" PRId64 " is %u, input '%s' wants bool, 0 or 1",
                v->source->name, k, (unsigned)bytes[k], plan->io->name);
      return vonk_call_bad_row(c, row, ROW_BAD, &why, err);
    }
  }
  return VONK_OK;
}

/* --- integers out of range --- */

/* A row's elements where they lie. */
static const uint8_t *elements_of(const source_view *v, int64_t row) {
  const vonk_column *leaf = v->leaf;
  int64_t at = vonk_rows_start(v, row);
  if (leaf->type->kind == VONK_TYPE_DICTIONARY) {
    at = vonk_column_index_at(leaf, at);
    leaf = &leaf->children[0];
  }
  return (const uint8_t *)leaf->values +
         (size_t)(leaf->offset + at) * vonk_dtype_find(v->source->leaf->dtype)->size;
}

static bool all_good(const call *c) {
  return c->state == NULL || memchr(c->state, ROW_BAD, (size_t)c->n_rows) == NULL;
}

static bool has_null(const call *c) {
  return c->state != NULL && memchr(c->state, ROW_NULL, (size_t)c->n_rows) != NULL;
}

/* True if the rows lie one after the other, n elements each, and all fit. */
static bool all_fit(const call *c, const source_view *v, int64_t n, vonk_dtype to) {
  if (n < 0 || v->source->has_views || v->leaf->type->kind == VONK_TYPE_DICTIONARY ||
      !all_good(c) || has_null(c)) {
    return false;
  }
  const size_t all = (size_t)c->n_rows * (size_t)n;
  return all == 0 ||
         vonk_dtype_misfit(v->source->leaf->dtype, elements_of(v, 0), to, all) == all;
}

/* Says the number and what the type holds. */
static void describe_misfit(const vonk_dtype_info *from, const uint8_t *value,
                            const vonk_dtype_info *to, vonk_text *out) {
  vonk_dtype_print(from->dtype, value, out);
  if (to->kind == 'i') {
    vonk_text_add(out, ", more than %" PRIu64 ", the most that %s holds",
                  UINT64_MAX >> (64 - to->exact_bits), to->name);
  } else {
    vonk_text_add(out, ", out of %s's range from 0 to %" PRIu64, to->name,
                  UINT64_MAX >> (64 - to->exact_bits));
  }
}

/* n elements of one row; OK with *fits false if one does not fit, which why says. */
static bool fit_elements(const vonk_dtype_info *from, const uint8_t *values, size_t n,
                         const vonk_dtype_info *to, const char *what, const char *name,
                         vonk_error *why) {
  const size_t at = vonk_dtype_misfit(from->dtype, values, to->dtype, n);
  if (at == n) {
    return true;
  }
  vonk_text words = {.size = 0};
  describe_misfit(from, values + at * from->size, to, &words);
  if (n == 1) {
    vonk_fail(why, VONK_INVALID, "%s '%s': is %s", what, name, words.data);
  } else {
    vonk_fail(why, VONK_INVALID, "%s '%s': element %zu is %s", what, name, at,
              words.data);
  }
  return false;
}

vonk_status vonk_values_check_range(call *c, const input_view *in, size_t index,
                                    size_t first_free_dim, vonk_error *err) {
  const input_plan *plan = in->plan;
  const source_view *v = &in->sources[index];
  const vonk_dtype_info *from = vonk_dtype_find(v->source->leaf->dtype);
  const bool is_packed = plan->n_sources > 1;
  if (v->source->form != FORM_SIGNED ||
      all_fit(c, v, is_packed ? 1 : plan->row_elements, plan->dtype->dtype)) {
    return VONK_OK;
  }
  for (int64_t i = 0; i < c->n_rows; i++) {
    size_t n = 1, next = first_free_dim;
    if (c->state != NULL && c->state[i] != ROW_GOOD) {
      continue;
    }
    for (int32_t d = 0; !is_packed && d < plan->rank; d++) {
      n *= (size_t)(plan->shape[d] >= 0
                        ? plan->shape[d]
                        : c->free_dims[(size_t)i * c->n_free_dims + next++]);
    }
    vonk_error why = VONK_ERROR_INIT;
    if (n > 0 && !fit_elements(from, elements_of(v, i), n, plan->dtype, "column",
                               v->source->name, &why)) {
      VONK_TRY(vonk_call_bad_row(c, i, ROW_BAD, &why, err));
    }
  }
  return VONK_OK;
}

vonk_status vonk_values_check_output(call *c, const micro_batch *mb, const output_plan *o,
                                     const vonk_tensor *t, vonk_error *err) {
  const vonk_dtype_info *from = o->tensor_type, *to = o->result_type;
  const size_t size = from->size; /* 0 for text */
  const size_t n = mb->n_run == 0 || size == 0 ? 0 : t->nbytes / size / (size_t)mb->n_run;
  const size_t all = (size_t)mb->n * n;
  const bool may_misfit = (o->as == AS_TENSOR || o->as == AS_TOP) && from->kind == 'u' &&
                          to->kind == 'i' && to->exact_bits < from->exact_bits;
  if (!may_misfit || all == 0 ||
      vonk_dtype_misfit(from->dtype, t->data, to->dtype, all) == all) {
    return VONK_OK;
  }
  for (int64_t k = 0; k < mb->n; k++) {
    const int64_t row = mb->rows_out == NULL ? mb->first + k : mb->rows_out[k];
    vonk_error why = VONK_ERROR_INIT;
    if ((c->state != NULL && c->state[row] != ROW_GOOD) ||
        fit_elements(from, (const uint8_t *)t->data + (size_t)k * n * size, n, to,
                     "output", o->io->name, &why)) {
      continue;
    }
    if (c->predictor->row_errors == VONK_ROWS_RAISE) {
      vonk_error_copy(err, &why); /* run.c finds the row, and says what to do */
      return why.code;
    }
    VONK_TRY(vonk_call_bad_row(c, row, ROW_BAD, &why, err));
  }
  return VONK_OK;
}
