/* Which calls a model permits.
 *
 * How it works. A call gives one argument per input, in the model's order. A row of one
 * element may come as a single value; any other row as a flat list, or, from two
 * dimensions on, as nested lists. A single input of shape [rows, k] may also come as k
 * single values, and all of it as one struct. Floats of up to 32 bits are there as FLOAT
 * and as DOUBLE, for all arguments together: that is what SQL's own casts need to bring
 * any number there; strings also as BLOB. ARRAY columns need no overload: DuckDB sees them
 * as lists without a copy, and an ARRAY overload beside a LIST one would make every call
 * ambiguous.
 *
 * The calls are tried on the model itself: one that no predictor can be bound to is left
 * out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

/* DuckDB lists every overload in its message of a call that fits none: many single values
 * are registered as "FLOAT, FLOAT...", and counted by us. */
enum { LEAST_SCALARS = 2, MOST_SCALARS = 1000, MOST_SPELT = 16, MOST_FIELDS = 256 };

duckdb_type vonk_sql_element_type(vonk_dtype dtype, bool is_wide) {
  switch (dtype) {
    case VONK_F16:
    case VONK_BF16:
    case VONK_F32:
      return is_wide ? DUCKDB_TYPE_DOUBLE : DUCKDB_TYPE_FLOAT;
    case VONK_F64:
      return DUCKDB_TYPE_DOUBLE;
    case VONK_I8:
      return DUCKDB_TYPE_TINYINT;
    case VONK_I16:
      return DUCKDB_TYPE_SMALLINT;
    case VONK_I32:
      return DUCKDB_TYPE_INTEGER;
    case VONK_I64:
      return DUCKDB_TYPE_BIGINT;
    case VONK_U8:
      return DUCKDB_TYPE_UTINYINT;
    case VONK_U16:
      return DUCKDB_TYPE_USMALLINT;
    case VONK_U32:
      return DUCKDB_TYPE_UINTEGER;
    case VONK_U64:
      return DUCKDB_TYPE_UBIGINT;
    case VONK_BOOL8:
      return DUCKDB_TYPE_BOOLEAN;
    default:
      return DUCKDB_TYPE_VARCHAR;
  }
}

/* --- one input's row --- */

/* How each input's row comes; see list_depth. */
typedef enum style { STYLE_SHORTEST, STYLE_FLAT, STYLE_NESTED } style;

static bool is_one_element(const vonk_io *io) {
  for (int32_t d = 1; d < io->rank; d++) {
    if (io->shape[d] != 1) {
      return false;
    }
  }
  return true;
}

/* Lists around the elements of an argument. */
static int32_t list_depth(const vonk_io *io, style s) {
  int32_t rank = io->rank - 1;
  if (rank == 0 || (s == STYLE_SHORTEST && is_one_element(io))) {
    return 0;
  }
  return s == STYLE_NESTED ? rank : 1;
}

/* The element types of all arguments together. */
typedef enum variant { AS_FLOAT, AS_DOUBLE, AS_BLOB, N_VARIANTS } variant;

static duckdb_logical_type row_type(const vonk_io *io, int32_t depth, variant v) {
  duckdb_logical_type type =
      duckdb_create_logical_type(v == AS_BLOB && io->dtype == VONK_BYTES
                                     ? DUCKDB_TYPE_BLOB
                                     : vonk_sql_element_type(io->dtype, v == AS_DOUBLE));
  for (int32_t d = 0; d < depth; d++) {
    duckdb_logical_type list = duckdb_create_list_type(type);
    duckdb_destroy_logical_type(&type);
    type = list;
  }
  return type;
}

void vonk_sql_describe_row(const vonk_io *io, vonk_text *out) {
  vonk_duckdb_type element = {.id = vonk_sql_element_type(io->dtype, false)};
  vonk_duckdb_type_describe(&element, out);
  for (int32_t d = io->rank - 1; d >= 1; d--) { /* FLOAT[28][3]: 3 times FLOAT[28] */
    if (io->shape[d] >= 0) {
      vonk_text_add(out, "[%" PRId64 "]", io->shape[d]);
    } else {
      vonk_text_add(out, "[]");
    }
  }
}

/* --- building the list --- */

typedef struct builder {
  vonk_sql_loaded *loaded;
  const vonk_model_summary *model;
  vonk_sql_signature *signature;
  vonk_error refusal; /* of the first overload that could not be bound */
} builder;

static void clear_overload(vonk_sql_overload *o) {
  for (size_t i = 0; i < o->n; i++) {
    duckdb_destroy_logical_type(&o->types[i]);
  }
  vonk_delete(o->types);
  vonk_delete(o->text);
  vonk_sql_shape_clear(&o->shape);
  *o = (vonk_sql_overload){.n = 0};
}

/* How many of the first types are spelt like this. */
static size_t count_equal(const vonk_duckdb_type *types, size_t n, const char *text) {
  size_t i = 0;
  for (; i < n; i++) {
    vonk_text other = {.size = 0};
    vonk_duckdb_type_describe(&types[i], &other);
    if (strcmp(other.data, text) != 0) {
      break;
    }
  }
  return i;
}

/* "FLOAT[], BIGINT"; equal types in a row are counted: "FLOAT x 784". */
static vonk_status add_types(const vonk_duckdb_type *types, size_t n, vonk_buffer *out,
                             vonk_error *err) {
  for (size_t i = 0, run; i < n; i += run) {
    vonk_text type = {.size = 0};
    char times[32];
    vonk_duckdb_type_describe(&types[i], &type);
    run = count_equal(types + i, n - i, type.data);
    (void)snprintf(times, sizeof(times), " x %zu", run);
    VONK_TRY(vonk_buffer_append(out, ", ", i == 0 ? 0 : 2, err));
    VONK_TRY(vonk_buffer_append(out, type.data, type.size, err));
    VONK_TRY(vonk_buffer_append(out, times, run == 1 ? 0 : strlen(times), err));
  }
  return VONK_OK;
}

/* A struct whose fields have no names is spelt like the arguments it takes the place of:
 * "STRUCT(FLOAT x 784)". */
static vonk_status describe_types(const vonk_sql_overload *o, vonk_buffer *out,
                                  vonk_error *err) {
  const vonk_duckdb_type *first = &o->shape.types[0];
  if (!o->is_unnamed) {
    return add_types(o->shape.types, o->n, out, err);
  }
  VONK_TRY(vonk_buffer_append(out, "STRUCT(", 7, err));
  VONK_TRY(add_types(first->children, first->n_children, out, err));
  return vonk_buffer_append(out, ")", 1, err);
}

static vonk_status describe_overload(vonk_sql_overload *o, vonk_error *err) {
  vonk_buffer text = {0};
  vonk_status status = describe_types(o, &text, err);
  if (status == VONK_OK) {
    status = vonk_buffer_append(&text, "", 1, err);
  }
  if (status == VONK_OK) {
    status = vonk_new_string((const char *)text.data, &o->text, err);
  }
  vonk_buffer_release(&text);
  return status;
}

static bool is_known(const vonk_sql_signature *s, const char *key) {
  for (size_t i = 0; i < s->n; i++) {
    if (strcmp(s->overloads[i].shape.key, key) == 0) {
      return true;
    }
  }
  return false;
}

/* Binds a predictor, which stays in the pool for the first call. */
static vonk_status try_overload(builder *b, vonk_sql_overload *o, vonk_error *err) {
  vonk_sql_predictor *p;
  vonk_sql_use use = {.kind = VONK_SQL_TYPED, .is_try = false};
  VONK_TRY(vonk_sql_predictor_take(b->loaded, use, &o->shape, &p, err));
  vonk_sql_predictor_give(b->loaded, p);
  return VONK_OK;
}

static vonk_status complete(vonk_sql_overload *o, vonk_error *err) {
  VONK_TRY(vonk_sql_shape_create(o->types, o->n, 1, &o->shape, err));
  return describe_overload(o, err);
}

/* Takes over types and their array. */
static vonk_status add(builder *b, duckdb_logical_type *types, size_t n, bool is_unnamed,
                       vonk_error *err) {
  vonk_sql_overload o = {.is_counted = n > MOST_SPELT && n > b->model->n_inputs,
                         .n = n,
                         .types = types,
                         .is_unnamed = is_unnamed,
                         .is_null = duckdb_get_type_id(types[0]) == DUCKDB_TYPE_SQLNULL};
  vonk_status status = complete(&o, err);
  if (status != VONK_OK) {
    clear_overload(&o);
    return status;
  }
  vonk_error why = VONK_ERROR_INIT;
  if (is_known(b->signature, o.shape.key) || b->signature->n == VONK_SQL_MOST_OVERLOADS) {
    clear_overload(&o);
  } else if ((status = try_overload(b, &o, &why)) != VONK_OK) {
    clear_overload(&o);
    if (b->refusal.code == VONK_OK) {
      b->refusal = why;
    }
    return status == VONK_NOMEM ? vonk_fail_nomem(err, 0) : VONK_OK;
  } else {
    b->signature->overloads[b->signature->n++] = o;
  }
  return VONK_OK;
}

/* --- the kinds of calls --- */

static vonk_status add_per_input(builder *b, style s, variant v, vonk_error *err) {
  duckdb_logical_type *types;
  size_t n = b->model->n_inputs;
  VONK_TRY(vonk_new(n, sizeof(duckdb_logical_type), &types, err));
  for (size_t i = 0; i < n; i++) {
    const vonk_io *io = b->model->inputs[i];
    types[i] = row_type(io, list_depth(io, s), v);
  }
  return add(b, types, n, false, err);
}

/* k of a single input [rows, k] that may be given as k single values; 0 = it may not. */
static size_t scalars_of(const vonk_model_summary *model) {
  const vonk_io *io = model->inputs[0];
  bool can = model->n_inputs == 1 && io->rank == 2 && io->shape[1] >= LEAST_SCALARS &&
             io->shape[1] <= MOST_SCALARS;
  return can ? (size_t)io->shape[1] : 0;
}

static vonk_status add_scalars(builder *b, variant v, vonk_error *err) {
  size_t n = scalars_of(b->model);
  duckdb_logical_type *types;
  if (n == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_new(n, sizeof(duckdb_logical_type), &types, err));
  for (size_t i = 0; i < n; i++) {
    types[i] = row_type(b->model->inputs[0], 0, v);
  }
  return add(b, types, n, false, err);
}

/* One struct: of all inputs by name, or of the k single values of [rows, k] in their
 * order, whatever the fields are called. */
static vonk_status add_struct(builder *b, variant v, vonk_error *err) {
  size_t k = scalars_of(b->model), n = k > 0 ? k : b->model->n_inputs;
  if ((k == 0 && n < 2) || k > MOST_FIELDS) {
    return VONK_OK;
  }
  duckdb_logical_type *members = NULL, *types = NULL;
  const char **names = NULL;
  vonk_status status = vonk_new(n, sizeof(duckdb_logical_type), &members, err);
  if (status == VONK_OK) {
    status = vonk_new(n, sizeof(*names), &names, err);
  }
  if (status == VONK_OK) {
    status = vonk_new(1, sizeof(duckdb_logical_type), &types, err);
  }
  for (size_t i = 0; status == VONK_OK && i < n; i++) {
    const vonk_io *io = b->model->inputs[k > 0 ? 0 : i];
    members[i] = row_type(io, k > 0 ? 0 : list_depth(io, STYLE_SHORTEST), v);
    names[i] = k > 0 ? "" : io->name;
  }
  if (status == VONK_OK) {
    types[0] = duckdb_create_struct_type(members, names, n);
    status = add(b, types, 1, k > 0, err);
  }
  for (size_t i = 0; members != NULL && i < n; i++) {
    duckdb_destroy_logical_type(&members[i]);
  }
  vonk_delete(members);
  vonk_delete(names);
  return status;
}

/* A call with nothing but the literal NULL, which fits every overload equally well. */
static vonk_status add_nulls(builder *b, vonk_error *err) {
  duckdb_logical_type *types;
  size_t n = b->model->n_inputs;
  VONK_TRY(vonk_new(n, sizeof(duckdb_logical_type), &types, err));
  for (size_t i = 0; i < n; i++) {
    types[i] = duckdb_create_logical_type(DUCKDB_TYPE_SQLNULL);
  }
  return add(b, types, n, false, err);
}

static vonk_status add_all(builder *b, vonk_error *err) {
  static const style styles[] = {STYLE_SHORTEST, STYLE_FLAT, STYLE_NESTED};
  for (variant v = AS_FLOAT; v < N_VARIANTS; v++) { /* equal ones are added once */
    for (size_t s = 0; s < sizeof(styles) / sizeof(styles[0]); s++) {
      VONK_TRY(add_per_input(b, styles[s], v, err));
    }
    VONK_TRY(add_scalars(b, v, err));
    VONK_TRY(add_struct(b, v, err));
  }
  return add_nulls(b, err);
}

/* --- the signature --- */

static vonk_status find_result(vonk_sql_loaded *loaded, const vonk_sql_overload *o,
                               bool is_try, duckdb_logical_type *out, vonk_error *err) {
  vonk_sql_predictor *p;
  vonk_sql_use use = {.kind = VONK_SQL_TYPED, .is_try = is_try};
  VONK_TRY(vonk_sql_predictor_take(loaded, use, &o->shape, &p, err));
  vonk_status status = vonk_sql_result_type(loaded, p, out, err);
  vonk_sql_predictor_give(loaded, p);
  return status;
}

static vonk_status describe_result(vonk_sql_signature *s, vonk_error *err) {
  vonk_text text = {.size = 0};
  VONK_TRY(vonk_sql_shape_create(&s->result, 1, 1, &s->result_shape, err));
  vonk_duckdb_type_describe(&s->result_shape.types[0], &text);
  return vonk_new_string(text.data, &s->result_text, err);
}

/* A tensor whose rank or rows the model does not tell is refused by the predictor too;
 * here it would be asked for its shape before that. */
static vonk_status check_ranks(const vonk_model_summary *model, vonk_error *err) {
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    if (model->inputs[i]->rank < 1) {
      return vonk_fail(err, VONK_UNSUPPORTED,
                       "input '%s': its shape does not tell what a row is: export the "
                       "model with a first dimension that counts rows",
                       model->inputs[i]->name);
    }
  }
  return model->n_inputs > 0
             ? VONK_OK
             : vonk_fail(err, VONK_UNSUPPORTED,
                         "the model has no input: there is nothing to call "
                         "it with");
}

static vonk_status build(builder *b, vonk_error *err) {
  vonk_sql_signature *s = b->signature;
  VONK_TRY(check_ranks(b->model, err));
  VONK_TRY(vonk_new(VONK_SQL_MOST_OVERLOADS, sizeof(*s->overloads), &s->overloads, err));
  VONK_TRY(add_all(b, err));
  if (s->n == 0) {
    vonk_error_copy(err, &b->refusal);
    return b->refusal.code;
  }
  VONK_TRY(find_result(b->loaded, &s->overloads[0], false, &s->result, err));
  VONK_TRY(find_result(b->loaded, &s->overloads[0], true, &s->try_result, err));
  return describe_result(s, err);
}

vonk_status vonk_sql_signature_create(vonk_sql_loaded *loaded, vonk_sql_signature **out,
                                      vonk_error *err) {
  builder b = {.loaded = loaded,
               .model = vonk_model_summarize(loaded->model),
               .refusal = VONK_ERROR_INIT};
  VONK_TRY(vonk_new(1, sizeof(*b.signature), &b.signature, err));
  vonk_status status = build(&b, err);
  if (status != VONK_OK) {
    vonk_sql_signature_release(b.signature);
    return status;
  }
  *out = b.signature;
  return VONK_OK;
}

void vonk_sql_signature_release(vonk_sql_signature *s) {
  if (s == NULL) {
    return;
  }
  for (size_t i = 0; i < s->n; i++) {
    clear_overload(&s->overloads[i]);
  }
  if (s->result != NULL) {
    duckdb_destroy_logical_type(&s->result);
  }
  if (s->try_result != NULL) {
    duckdb_destroy_logical_type(&s->try_result);
  }
  vonk_sql_shape_clear(&s->result_shape);
  vonk_delete(s->overloads);
  vonk_delete(s->result_text);
  vonk_delete(s);
}

bool vonk_sql_signature_equal(const vonk_sql_signature *a, const vonk_sql_signature *b) {
  bool equal = a->n == b->n && strcmp(a->result_shape.key, b->result_shape.key) == 0;
  for (size_t i = 0; equal && i < a->n; i++) {
    equal = strcmp(a->overloads[i].shape.key, b->overloads[i].shape.key) == 0;
  }
  return equal;
}

void vonk_sql_signature_describe(const vonk_sql_signature *s, const char *name, size_t i,
                                 vonk_text *out) {
  vonk_text_add(out, "%s(%s) -> %s", name, s->overloads[i].text, s->result_text);
}
