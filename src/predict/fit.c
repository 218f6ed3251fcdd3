/* Do the columns fit the inputs? Dtypes and shapes, checked before any row is read.
 *
 * A column is `depth` lists around elements. Its rows fit an input's row shape if
 *   depth 0   the shape has one element: [rows] or [rows, 1]
 *   depth 1   the elements fill the shape in row-major order; one dimension may be free
 *   depth n   the shape has n dimensions, list by list
 * and a binary value, whose bytes are numbers as the tensor has them, as a flat list does.
 * Lengths that only the rows know are checked there (rows.c). */
#include <inttypes.h>

#include "predict/plan.h"

static void describe_source(const source *s, vonk_text *out) {
  vonk_type_describe(s->type, out);
}

static void describe_input(const input_plan *input, vonk_text *out) {
  vonk_plan_describe(input->io->dtype, input->rank, input->shape, out);
}

/* Below its lists the column has elements of type t, which no tensor can hold. */
static vonk_status refuse_type(const source *s, const vonk_type *t,
                               const input_plan *input, vonk_error *err) {
  vonk_text found = {.size = 0}, wanted = {.size = 0}, way_out = {.size = 0};
  describe_source(s, &found);
  describe_input(input, &wanted);
  if (t->kind == VONK_TYPE_STRUCT && s->depth == 0 && t->n_children > 0) {
    vonk_text_add(&way_out, "map one of its fields, as in %s=%s.%s", input->io->name,
                  s->name, t->children[0].name);
  } else {
    vonk_text_add(&way_out, "give plain lists of %s",
                  input->dtype->dtype == VONK_BYTES ? "text" : "numbers");
  }
  return vonk_fail(err, VONK_INVALID, "column '%s': is %s, input '%s' wants %s: %s",
                   s->name, found.data, input->io->name, wanted.data, way_out.data);
}

/* Finds the elements below the lists. */
static vonk_status measure_depth(source *s, const input_plan *input, vonk_error *err) {
  const vonk_type *t = s->type;
  s->depth = 0;
  while (t->kind == VONK_TYPE_LIST || t->kind == VONK_TYPE_LIST_VIEW ||
         t->kind == VONK_TYPE_FIXED_LIST) {
    s->has_views = s->has_views || t->kind == VONK_TYPE_LIST_VIEW;
    s->depth++;
    t = &t->children[0];
  }
  s->leaf = t;
  if (t->kind == VONK_TYPE_VALUE || t->kind == VONK_TYPE_TEXT ||
      t->kind == VONK_TYPE_DECIMAL || t->kind == VONK_TYPE_NULL) {
    return VONK_OK;
  }
  if (t->kind == VONK_TYPE_DICTIONARY && s->depth == 0) {
    s->leaf = &t->children[0];
    return VONK_OK;
  }
  return refuse_type(s, t, input, err);
}

/* Binary values, one a row, for a tensor of numbers. */
static bool is_raw(const source *s, const input_plan *input) {
  return s->leaf->is_binary && s->depth == 0 && input->dtype->dtype != VONK_BYTES;
}

/* Dtypes differ: a cast, whose loss is then the user's choice. */
static vonk_status refuse_dtype(const source *s, const input_plan *input,
                                vonk_error *err) {
  vonk_text found = {.size = 0}, wanted = {.size = 0}, lists = {.size = 0};
  describe_source(s, &found);
  describe_input(input, &wanted);
  for (int32_t d = 0; d < s->depth; d++) {
    vonk_text_add(&lists, "[]");
  }
  bool is_text = s->leaf->dtype == VONK_BYTES || input->dtype->dtype == VONK_BYTES;
  return vonk_fail(err, VONK_INVALID,
                   "column '%s': is %s, input '%s' wants %s%s: write CAST(%s AS %s%s)",
                   s->name, found.data, input->io->name, wanted.data,
                   is_text ? "" : ", and the conversion could change values", s->name,
                   input->dtype->sql, lists.data);
}

/* Integers that the plain rule refuses: as floats, though digits may be lost, because SQL
 * casts so by itself; and without a sign, if they fit, for an engine that has only signed
 * ones. */
static bool may_convert(const vonk_predictor *p, source *s, const input_plan *input) {
  const vonk_dtype_info *from = vonk_dtype_find(s->leaf->dtype);
  const bool is_integer = from != NULL && (from->kind == 'i' || from->kind == 'u');
  if (p->sql_casts && is_integer && input->dtype->kind == 'f') {
    return true;
  }
  if (p->signed_integers && is_integer && from->kind == 'i' &&
      input->dtype->kind == 'u') {
    s->form = FORM_SIGNED;
    return true;
  }
  return false;
}

/* How the elements become the tensor's; *is_exact: byte for byte. */
static vonk_status fit_dtype(const vonk_predictor *p, source *s, const input_plan *input,
                             bool *is_exact, vonk_error *err) {
  const bool is_text = s->leaf->dtype == VONK_BYTES;
  *is_exact = false;
  s->form = FORM_PLAIN;
  if (s->leaf->kind == VONK_TYPE_NULL) { /* only NULL rows: nothing is ever converted */
    return VONK_OK;
  }
  if (s->leaf->kind == VONK_TYPE_DECIMAL) {
    s->form = FORM_DECIMAL;
    return p->sql_casts && input->dtype->kind == 'f' ? VONK_OK
                                                     : refuse_dtype(s, input, err);
  }
  if (is_text != (input->dtype->dtype == VONK_BYTES)) {
    *is_exact = true;
    s->form = FORM_RAW;
    return is_raw(s, input) ? VONK_OK : refuse_dtype(s, input, err);
  }
  vonk_conversion c = is_text
                          ? VONK_CONVERT_EXACT
                          : vonk_dtype_conversion(s->leaf->dtype, input->dtype->dtype);
  if (c == VONK_CONVERT_REFUSED && !may_convert(p, s, input)) {
    return refuse_dtype(s, input, err);
  }
  *is_exact = c == VONK_CONVERT_EXACT;
  return VONK_OK;
}

static vonk_status refuse_shape(const source *s, const input_plan *input,
                                const char *way_out, vonk_error *err) {
  vonk_text found = {.size = 0}, wanted = {.size = 0};
  describe_source(s, &found);
  describe_input(input, &wanted);
  return vonk_fail(err, VONK_INVALID, "column '%s': is %s, a row of input '%s' is %s: %s",
                   s->name, found.data, input->io->name, wanted.data, way_out);
}

/* How many elements the dimensions that are not free make. */
static int64_t count_fixed(const input_plan *input, int32_t *n_free) {
  int64_t n = 1;
  *n_free = 0;
  for (int32_t d = 0; d < input->rank; d++) {
    *n_free += input->shape[d] < 0;
    n *= input->shape[d] < 0 ? 1 : input->shape[d];
  }
  return n;
}

/* How many bytes only the rows know. */
static vonk_status fit_raw(const source *s, const input_plan *input, vonk_error *err) {
  int32_t n_free;
  (void)count_fixed(input, &n_free);
  return n_free <= 1
             ? VONK_OK
             : refuse_shape(s, input,
                            "bytes cannot say two free dimensions: give nested lists",
                            err);
}

/* A flat list whose length the type tells must fill the row. */
static vonk_status fit_flat(const source *s, input_plan *input, vonk_error *err) {
  int32_t n_free;
  const int64_t rest = count_fixed(input, &n_free);
  if (input->rank == 0) {
    return refuse_shape(s, input, "give a column of single values", err);
  }
  if (n_free > 1) {
    return refuse_shape(
        s, input, "a flat list cannot say two free dimensions: give nested lists", err);
  }
  if (s->type->kind == VONK_TYPE_FIXED_LIST) {
    int64_t length = s->type->fixed_length;
    bool fits = n_free == 0 ? length == rest : rest > 0 && length % rest == 0;
    if (!fits) {
      vonk_text way_out = {.size = 0};
      vonk_text_add(&way_out, "give lists of %s%" PRId64 " elements",
                    n_free == 0 ? "" : "a multiple of ", rest);
      return refuse_shape(s, input, way_out.data, err);
    }
    for (int32_t d = 0; d < input->rank;
         d++) { /* the type says what the model leaves free */
      input->shape[d] = input->shape[d] < 0 ? length / rest : input->shape[d];
    }
    input->row_elements = length;
  }
  return VONK_OK;
}

static vonk_status fit_nested(const source *s, const input_plan *input, vonk_error *err) {
  if (s->depth != input->rank) {
    return refuse_shape(
        s, input, "nest the lists as deep as the shape, or give one flat list", err);
  }
  const vonk_type *t = s->type;
  for (int32_t d = 0; d < input->rank; d++) {
    if (t->kind == VONK_TYPE_FIXED_LIST && input->shape[d] >= 0 &&
        t->fixed_length != input->shape[d]) {
      return refuse_shape(s, input, "give lists of those lengths", err);
    }
    t = &t->children[0];
  }
  return VONK_OK;
}

static vonk_status fit_scalar(const source *s, const input_plan *input, vonk_error *err) {
  for (int32_t d = 0; d < input->rank; d++) {
    if (input->shape[d] != 1 && input->shape[d] >= 0) {
      return refuse_shape(s, input,
                          "give one list column, or one scalar column per element", err);
    }
  }
  return VONK_OK;
}

/* A row of one element makes free dimensions 1. */
static void close_free_dimensions(input_plan *input) {
  for (int32_t d = 0; d < input->rank; d++) {
    input->shape[d] = input->shape[d] < 0 ? 1 : input->shape[d];
  }
  input->row_elements = 1;
}

static vonk_status fit_packed(const vonk_predictor *p, input_plan *input,
                              vonk_error *err) {
  bool is_exact = false;
  if (input->rank != 1 ||
      (input->shape[0] >= 0 && (size_t)input->shape[0] != input->n_sources)) {
    vonk_text wanted = {.size = 0};
    describe_input(input, &wanted);
    return vonk_fail(err, VONK_INVALID,
                     "input '%s': %zu columns were given to pack, a row is %s: give as "
                     "many columns as it has elements",
                     input->io->name, input->n_sources, wanted.data);
  }
  for (size_t i = 0; i < input->n_sources; i++) {
    source *s = &input->sources[i];
    VONK_TRY(measure_depth(s, input, err));
    if (s->depth != 0 || is_raw(s, input)) {
      return refuse_shape(s, input, "only single values can be packed", err);
    }
    VONK_TRY(fit_dtype(p, s, input, &is_exact, err));
  }
  input->shape[0] = (int64_t)input->n_sources;
  input->row_elements = (int64_t)input->n_sources;
  return VONK_OK;
}

static vonk_status fit_shape(const source *s, input_plan *input, vonk_error *err) {
  if (s->type->kind == VONK_TYPE_NULL) {
    return VONK_OK; /* no row of it ever becomes a tensor */
  }
  if (s->depth == 1) {
    return fit_flat(s, input, err);
  }
  if (s->depth > 1) {
    return fit_nested(s, input, err);
  }
  VONK_TRY(fit_scalar(s, input, err));
  close_free_dimensions(input);
  return VONK_OK;
}

/* Of a wrong shape and a wrong number type the shape is told: a cast would not help. */
static vonk_status fit_single(const vonk_predictor *p, input_plan *input,
                              vonk_error *err) {
  source *s = &input->sources[0];
  bool is_exact = false;
  VONK_TRY(measure_depth(s, input, err));
  if (is_raw(s, input)) {
    VONK_TRY(fit_raw(s, input, err));
  } else if ((s->leaf->dtype == VONK_BYTES) == (input->dtype->dtype == VONK_BYTES)) {
    VONK_TRY(fit_shape(s, input, err));
  }
  VONK_TRY(fit_dtype(p, s, input, &is_exact, err));
  bool is_plain = s->leaf->kind == VONK_TYPE_VALUE && s->leaf->dtype != VONK_BOOL8 &&
                  s->type->kind != VONK_TYPE_DICTIONARY;
  bool is_text = s->leaf->kind == VONK_TYPE_TEXT && !s->leaf->wide_offsets &&
                 s->type->kind != VONK_TYPE_DICTIONARY;
  bool is_bytes = s->form == FORM_RAW && s->type->kind != VONK_TYPE_DICTIONARY;
  input->may_borrow = is_exact && (is_plain || is_text || is_bytes);
  return VONK_OK;
}

vonk_status vonk_plan_fit(vonk_predictor *p, vonk_error *err) {
  p->groups_rows = false;
  for (size_t i = 0; i < p->n_inputs; i++) {
    input_plan *input = &p->inputs[i];
    VONK_TRY(input->n_sources > 1 ? fit_packed(p, input, err)
                                  : fit_single(p, input, err));
    p->groups_rows = p->groups_rows || input->row_elements < 0;
  }
  return VONK_OK;
}
