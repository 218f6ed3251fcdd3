/* A bundle's self-test: its rows through the ordinary predictor, and what came against what
 * the original model gave where it was packed.
 *
 * The rows become columns as a user would give them: one per input, of its name, fixed-size
 * lists nested as its dimensions. So the whole way is tested: conversion, preprocessing,
 * the run, and the result's columns. All outputs are predicted; those that the self-test
 * has numbers of are compared, element by element as doubles. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "predict/plan.h"

/* The element that is farthest off, of all that were compared. */
typedef struct mismatch {
  const vonk_port *port; /* NULL: nothing was compared yet */
  int64_t row, element;  /* element: in the row, counted in row-major order */
  double difference;     /* infinite for values other than floats */
  vonk_text found, expected;
} mismatch;

/* One output's elements, dense and row-major on both sides. */
typedef struct comparison {
  const vonk_port *port;
  const vonk_selftest_tensor *expected;
  const vonk_column *found;
  int64_t n, row_elements;
  mismatch *worst;
} comparison;

/* --- rows ------------------------------------------------------------------------------ */

/* bfloat16 is no Arrow type: it goes as float32, which has all its values. */
static vonk_dtype column_dtype(vonk_dtype dtype) {
  return dtype == VONK_BF16 ? VONK_F32 : dtype;
}

static int64_t count_elements(const vonk_selftest_tensor *t) {
  int64_t n = 1; /* the tensor is in memory: no overflow */
  for (int32_t d = 0; d < t->rank; d++) {
    n *= t->shape[d];
  }
  return n;
}

static vonk_status column_schema(const vonk_port *port, const vonk_selftest_tensor *t,
                                 struct ArrowSchema *out, vonk_error *err) {
  struct ArrowSchema item = {0};
  VONK_TRY(vonk_schema_value(t->rank == 1 ? port->name : "item",
                             column_dtype(port->dtype), &item, err));
  return vonk_schema_nest(port->name, t->rank - 1, t->shape + 1, &item, out, err);
}

static vonk_status text_elements(const vonk_selftest_tensor *t, int64_t n,
                                 struct ArrowArray *out, vonk_error *err) {
  int32_t *offsets = NULL;
  uint8_t *bytes = NULL;
  VONK_TRY(vonk_new((size_t)n + 1, sizeof *offsets, &offsets, err));
  vonk_status status = vonk_new((size_t)t->nbytes, 1, &bytes, err);
  if (status == VONK_OK) {
    memcpy(offsets, t->offsets, ((size_t)n + 1) * sizeof *offsets);
    if (t->nbytes > 0) {
      memcpy(bytes, t->data, (size_t)t->nbytes);
    }
    status = vonk_array_text(n, 0, NULL, offsets, bytes, out, err);
  }
  if (status != VONK_OK) {
    vonk_delete(offsets);
    vonk_delete(bytes);
  }
  return status;
}

static vonk_status number_elements(vonk_dtype dtype, const vonk_selftest_tensor *t,
                                   int64_t n, struct ArrowArray *out, vonk_error *err) {
  const vonk_dtype_info *info = vonk_dtype_find(column_dtype(dtype));
  uint8_t *values = NULL, *none = NULL;
  VONK_TRY(vonk_new((size_t)n, info->size, &values, err));
  vonk_dtype_convert(dtype, t->data, info->dtype, values, (size_t)n);
  vonk_status status = vonk_emit_values(info, n, 0, &none, &values, out, err);
  vonk_delete(values);
  return status;
}

static vonk_status column_array(const vonk_port *port, const vonk_selftest_tensor *t,
                                struct ArrowArray *out, vonk_error *err) {
  struct ArrowArray inner = {0}, outer = {0};
  int64_t n = count_elements(t);
  VONK_TRY(port->dtype == VONK_BYTES ? text_elements(t, n, &inner, err)
                                     : number_elements(port->dtype, t, n, &inner, err));
  for (int32_t d = t->rank - 1; d >= 1; d--) {
    int64_t n_lists = 1;
    for (int32_t k = 0; k < d; k++) {
      n_lists *= t->shape[k];
    }
    vonk_status status = vonk_array_fixed_list(n_lists, 0, NULL, &inner, &outer, err);
    if (status != VONK_OK) {
      inner.release(&inner);
      return status;
    }
    vonk_array_move(&outer, &inner);
  }
  vonk_array_move(&inner, out);
  return VONK_OK;
}

/* The self-test's rows as a batch; both are to be released on failure, too. */
static vonk_status make_rows(const vonk_manifest *m, struct ArrowSchema *schema,
                             struct ArrowArray *rows, vonk_error *err) {
  const vonk_selftest *test = &m->selftest;
  VONK_TRY(vonk_schema_struct("", test->n_inputs, schema, err));
  VONK_TRY(vonk_array_struct(test->rows, test->n_inputs, rows, err));
  for (uint32_t i = 0; i < test->n_inputs; i++) {
    const vonk_selftest_tensor *t = &test->inputs[i];
    const vonk_port *port = &m->inputs[t->port];
    VONK_TRY(column_schema(port, t, schema->children[i], err));
    VONK_TRY(column_array(port, t, rows->children[i], err));
  }
  return VONK_OK;
}

/* --- comparing ------------------------------------------------------------------------- */

/* Notes the element at `at` if none was farther off; the caller then says its values. */
static bool note(const comparison *c, int64_t at, double difference) {
  mismatch *worst = c->worst;
  if (worst->port != NULL && !(difference > worst->difference)) {
    return false;
  }
  worst->port = c->port;
  worst->row = at / c->row_elements;
  worst->element = at % c->row_elements;
  worst->difference = difference;
  worst->found.size = 0;
  worst->expected.size = 0;
  return true;
}

static double difference_of(double found, double expected) {
  if (isnan(found) || isnan(expected)) {
    return isnan(found) && isnan(expected) ? 0.0 : (double)INFINITY;
  }
  if (isinf(found) || isinf(expected)) {
    return found == expected ? 0.0 : (double)INFINITY;
  }
  double size = fabs(expected);
  return fabs(found - expected) / (size > 1.0 ? size : 1.0);
}

static void compare_floats(const comparison *c) {
  enum { CHUNK = 256 };
  double found[CHUNK], expected[CHUNK];
  const vonk_dtype_info *from = vonk_dtype_find(c->found->type->dtype);
  const vonk_dtype_info *of_test = vonk_dtype_find(c->port->dtype);
  const uint8_t *values = c->found->values;
  for (int64_t first = 0; first < c->n; first += CHUNK) {
    size_t now = c->n - first < CHUNK ? (size_t)(c->n - first) : CHUNK;
    size_t at = (size_t)(c->found->offset + first);
    vonk_dtype_convert(from->dtype, values + at * from->size, VONK_F64, found, now);
    values = c->expected->data;
    vonk_dtype_convert(of_test->dtype, values + (size_t)first * of_test->size, VONK_F64,
                       expected, now);
    values = c->found->values;
    for (size_t i = 0; i < now; i++) {
      if (note(c, first + (int64_t)i, difference_of(found[i], expected[i]))) {
        vonk_text_add(&c->worst->found, "%.9g", found[i]);
        vonk_text_add(&c->worst->expected, "%.9g", expected[i]);
      }
    }
  }
}

static void add_integer(const vonk_dtype_info *dtype, const void *value, vonk_text *out) {
  if (dtype->kind == 'i') {
    int64_t wide = 0;
    vonk_dtype_convert(dtype->dtype, value, VONK_I64, &wide, 1);
    vonk_text_add(out, "%" PRId64, wide);
  } else {
    uint64_t wide = 0;
    vonk_dtype_convert(dtype->dtype, value, VONK_U64, &wide, 1);
    vonk_text_add(out, "%" PRIu64, wide);
  }
}

/* Integers, and bools, whose column has bits. */
static void compare_integers(const comparison *c) {
  const vonk_dtype_info *dtype = vonk_dtype_find(c->port->dtype);
  const uint8_t *values = c->found->values, *tests = c->expected->data;
  for (int64_t i = 0; i < c->n; i++) {
    size_t at = (size_t)(c->found->offset + i);
    const uint8_t *expected = tests + (size_t)i * dtype->size, *found = NULL;
    uint8_t truth = 0;
    if (dtype->kind == 'b') {
      truth = vonk_bit_get(values, at);
      found = &truth;
    } else {
      found = values + at * dtype->size;
    }
    bool is_same = memcmp(found, expected, dtype->size) == 0;
    if (note(c, i, is_same ? 0.0 : (double)INFINITY)) {
      add_integer(dtype, found, &c->worst->found);
      add_integer(dtype, expected, &c->worst->expected);
    }
  }
}

/* As much of a text as a message needs, cut between characters. */
static void add_text(const uint8_t *bytes, int64_t nbytes, vonk_text *out) {
  enum { MOST = 60 };
  int n = nbytes < MOST ? (int)nbytes : MOST;
  while (n > 0 && n < nbytes && (bytes[n] & 0xc0u) == 0x80u) {
    n--;
  }
  vonk_text_add(out, "'%.*s%s'", n, (const char *)bytes, n < nbytes ? "..." : "");
}

static void compare_texts(const comparison *c) {
  const uint8_t *tests = c->expected->data;
  for (int64_t i = 0; i < c->n; i++) {
    const int32_t *at = &c->expected->offsets[i];
    const uint8_t *expected = at[1] == at[0] ? (const uint8_t *)"" : tests + at[0];
    const uint8_t *found = NULL;
    int64_t size = 0;
    vonk_column_text_at(c->found, i, &found, &size);
    bool is_same = size == at[1] - at[0] &&
                   (size == 0 || memcmp(found, expected, (size_t)size) == 0);
    if (note(c, i, is_same ? 0.0 : (double)INFINITY)) {
      add_text(found, size, &c->worst->found);
      add_text(expected, at[1] - at[0], &c->worst->expected);
    }
  }
}

static vonk_status wrong_shape(const comparison *c, int32_t d, int64_t length,
                               vonk_error *err) {
  return vonk_fail(err, VONK_BACKEND,
                   "output '%s': has %" PRId64 " elements along dimension %" PRId32
                   " where the original model gave %" PRId64,
                   c->port->name, length, d, c->expected->shape[d]);
}

/* Goes down the lists, all of which must be as long as the self-test says. */
static vonk_status find_elements(comparison *c, vonk_error *err) {
  const vonk_selftest_tensor *t = c->expected;
  int64_t n_lists = t->shape[0];
  for (int32_t d = 1; d < t->rank; d++) {
    for (int64_t i = 0; i < n_lists; i++) {
      int64_t start = 0, length = 0;
      vonk_column_list_at(c->found, i, &start, &length);
      if (length != t->shape[d]) {
        return wrong_shape(c, d, length, err);
      }
    }
    c->found = &c->found->children[0];
    n_lists *= t->shape[d];
  }
  c->n = n_lists;
  c->row_elements = t->shape[0] == 0 ? 0 : n_lists / t->shape[0];
  return VONK_OK;
}

static vonk_status compare_column(comparison *c, vonk_error *err) {
  VONK_TRY(find_elements(c, err));
  if (c->n == 0) {
    return VONK_OK;
  }
  switch (vonk_dtype_find(c->port->dtype)->kind) {
    case 'f':
      compare_floats(c);
      break;
    case 's':
      compare_texts(c);
      break;
    default:
      compare_integers(c);
  }
  return VONK_OK;
}

static vonk_status compare_output(const vonk_port *port, const vonk_selftest_tensor *t,
                                  const struct ArrowSchema *schema,
                                  const struct ArrowArray *result, mismatch *worst,
                                  vonk_error *err) {
  vonk_type type = {0};
  vonk_column column = {0};
  comparison c = {.port = port, .expected = t, .found = &column, .worst = worst};
  VONK_TRY(vonk_type_parse(schema->children[t->port], &type, err));
  vonk_status status = vonk_column_view_field(result, t->port, &type, &column, err);
  if (status == VONK_OK) {
    status = compare_column(&c, err);
    vonk_column_clear(&column);
  }
  vonk_type_clear(&type);
  return status;
}

/* --- the test -------------------------------------------------------------------------- */

static vonk_status predict_rows(vonk_model *model, const struct ArrowSchema *columns,
                                const struct ArrowArray *rows, struct ArrowSchema *schema,
                                struct ArrowArray *result, vonk_error *err) {
  vonk_predictor *p = NULL;
  VONK_TRY(vonk_predictor_create(model, columns, NULL, &p, err));
  vonk_status status = vonk_predictor_schema(p, schema, err);
  if (status == VONK_OK) {
    status = vonk_predict(p, rows, result, err);
  }
  vonk_predictor_release(p);
  return status;
}

static vonk_status compare(const vonk_manifest *m, const struct ArrowSchema *schema,
                           const struct ArrowArray *result, mismatch *worst,
                           vonk_error *err) {
  const vonk_selftest *test = &m->selftest;
  for (uint32_t i = 0; i < test->n_outputs; i++) {
    const vonk_selftest_tensor *t = &test->outputs[i];
    VONK_TRY(compare_output(&m->outputs[t->port], t, schema, result, worst, err));
  }
  return VONK_OK;
}

static vonk_status judge(const vonk_selftest *test, const mismatch *worst,
                         vonk_error *err) {
  if (worst->port == NULL || worst->difference <= test->tolerance) {
    return VONK_OK;
  }
  vonk_text how = {.size = 0};
  if (isfinite(worst->difference)) {
    vonk_text_add(&how, ": a difference of %.3g, above the tolerance of %g",
                  worst->difference, test->tolerance);
  }
  return vonk_fail(
      err, VONK_BACKEND,
      "output '%s', row %" PRId64 ", element %" PRId64
      ": is %s where the original model gave %s%s: another version of the framework or "
      "another CPU may round differently; if it is more than rounding, pack the model "
      "anew "
      "for what runs here",
      worst->port->name, worst->row, worst->element, worst->found.data,
      worst->expected.data, how.data);
}

static vonk_status run(vonk_model *model, const vonk_manifest *m, mismatch *worst,
                       vonk_error *err) {
  struct ArrowSchema columns = {0}, schema = {0};
  struct ArrowArray rows = {0}, result = {0};
  vonk_status status = make_rows(m, &columns, &rows, err);
  if (status == VONK_OK) {
    status = predict_rows(model, &columns, &rows, &schema, &result, err);
  }
  if (status == VONK_OK) {
    status = compare(m, &schema, &result, worst, err);
  }
  struct ArrowSchema *schemas[] = {&columns, &schema};
  struct ArrowArray *arrays[] = {&rows, &result};
  for (int i = 0; i < 2; i++) {
    if (schemas[i]->release != NULL) {
      schemas[i]->release(schemas[i]);
    }
    if (arrays[i]->release != NULL) {
      arrays[i]->release(arrays[i]);
    }
  }
  return status;
}

vonk_status vonk_model_selftest(vonk_model *model, double *difference, vonk_error *err) {
  const vonk_manifest *m = vonk_model_manifest(model);
  const char *path = vonk_model_summarize(model)->path;
  mismatch worst = {.port = NULL};
  if (m == NULL || m->selftest.rows == 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "model '%s': %s has no self-test: 'vonk pack' gives it one", path,
                     m == NULL ? "is no bundle, so it" : "this bundle");
  }
  vonk_status status = run(model, m, &worst, err);
  double largest = status == VONK_OK ? worst.difference : (double)INFINITY;
  if (status == VONK_OK) {
    status = judge(&m->selftest, &worst, err);
  }
  if (difference != NULL && (status == VONK_OK || status == VONK_BACKEND)) {
    *difference = largest;
  }
  return status == VONK_OK ? VONK_OK
                           : vonk_prefix(err, status, "self-test of '%s'", path);
}
