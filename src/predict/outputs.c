/* The outputs as columns: which are wanted, under which names, of which types.
 *
 * A row of the model's output becomes a row of the column after two optional steps: `as`
 * takes its last dimension as classes, of which the largest remains ('argmax', 'label') or
 * the N largest ('top5'), and squeeze drops dimensions of 1, which moves no element.
 *
 * Labels belong to an output of a bundle. Where one output alone has some, it is the one
 * that `as` means: no output map need say so. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "predict/plan.h"

#define ERROR_COLUMN "error"

/* n_outputs if there is none. */
static size_t find_output(const vonk_predictor *p, const char *name) {
  size_t i = 0;
  while (i < p->n_outputs &&
         (name == NULL || strcmp(p->outputs[i].io->name, name) != 0)) {
    i++;
  }
  return i;
}

static void list_outputs(const vonk_predictor *p, vonk_text *out) {
  for (size_t i = 0; i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    vonk_text type = {.size = 0};
    vonk_plan_describe(o->io->dtype, o->tensor_rank, o->tensor_shape, &type);
    vonk_text_add(out, "%s%s (%s)", i == 0 ? "" : ", ", o->io->name, type.data);
  }
}

static vonk_status refuse_output(const vonk_predictor *p, const char *key,
                                 const char *fault, vonk_error *err) {
  vonk_text outputs = {.size = 0};
  list_outputs(p, &outputs);
  return vonk_fail(err, VONK_INVALID,
                   "output map: '%s' is %s: the model's outputs are %s",
                   key == NULL ? "" : key, fault, outputs.data);
}

/* Keeps the outputs that are named in the map, in the map's order: each is swapped to its
 * place at the front. */
static vonk_status select_outputs(vonk_predictor *p, const vonk_bind_options *options,
                                  vonk_error *err) {
  if (options->n_outputs == 0) {
    for (size_t i = 0; i < p->n_outputs; i++) {
      VONK_TRY(vonk_new_string(p->outputs[i].io->name, &p->outputs[i].name, err));
    }
    return VONK_OK;
  }
  for (size_t k = 0; k < options->n_outputs; k++) {
    const char *key = options->outputs[k].key, *column = options->outputs[k].value;
    size_t found = find_output(p, key);
    if (found == p->n_outputs) {
      return refuse_output(p, key, "no output of the model", err);
    }
    if (found < k) {
      return refuse_output(p, key, "mapped twice", err);
    }
    if (column == NULL || column[0] == '\0') {
      return refuse_output(p, key, "given no column name", err);
    }
    output_plan wanted = p->outputs[found];
    p->outputs[found] = p->outputs[k];
    p->outputs[k] = wanted;
    VONK_TRY(vonk_new_string(column, &p->outputs[k].name, err));
  }
  p->n_outputs = options->n_outputs;
  return VONK_OK;
}

static vonk_status check_names(const vonk_predictor *p, vonk_error *err) {
  for (size_t i = 0; i < p->n_outputs; i++) {
    for (size_t j = 0; j < i; j++) {
      if (strcmp(p->outputs[i].name, p->outputs[j].name) == 0) {
        return vonk_fail(
            err, VONK_INVALID,
            "output map: two outputs would become column '%s': give them different names",
            p->outputs[i].name);
      }
    }
    if (p->row_errors == VONK_ROWS_REPORT &&
        strcmp(p->outputs[i].name, ERROR_COLUMN) == 0) {
      return vonk_fail(err, VONK_INVALID,
                       "output '%s': would become column '" ERROR_COLUMN
                       "', which on_error='report' adds: map it to another name, %s=NAME",
                       p->outputs[i].io->name, p->outputs[i].io->name);
    }
  }
  return VONK_OK;
}

/* --- classes --- */

enum { MOST_ENTRIES = 1000 };

/* "top5": 5; 0 if it is no such text. */
static int64_t parse_top(const char *as) {
  const char *digits = as + 3;
  size_t n = strncmp(as, "top", 3) == 0 ? strspn(digits, "0123456789") : 0;
  if (n == 0 || n > 4 || digits[n] != '\0' || digits[0] == '0') {
    return 0;
  }
  long top = strtol(digits, NULL, 10);
  return top > MOST_ENTRIES ? 0 : (int64_t)top;
}

static vonk_status parse_as(const char *as, as_kind *kind, int64_t *top,
                            vonk_error *err) {
  if (as == NULL || as[0] == '\0') {
    *kind = AS_TENSOR;
    return VONK_OK;
  }
  *top = parse_top(as);
  if (*top > 0) {
    *kind = AS_TOP;
  } else if (strcmp(as, "argmax") == 0) {
    *kind = AS_LARGEST;
  } else if (strcmp(as, "label") == 0) {
    *kind = AS_LABEL;
  } else {
    return vonk_fail(err, VONK_INVALID,
                     "as='%s': is not known: it can be 'argmax', 'label', 'top5' (or "
                     "another number, up to 1000), or be left out for the tensor",
                     as);
  }
  return VONK_OK;
}

static void find_labels(vonk_predictor *p) {
  const vonk_manifest *manifest = vonk_model_manifest(p->model);
  for (size_t i = 0; manifest != NULL && i < p->n_outputs; i++) {
    const vonk_port *port = &manifest->outputs[p->outputs[i].index];
    p->outputs[i].labels = port->n_labels == 0 ? NULL : port->labels;
    p->outputs[i].n_labels = port->n_labels;
  }
}

/* The only output that has labels comes first and alone; nothing if it is not one. */
static void choose_labelled(vonk_predictor *p) {
  size_t found = 0, n = 0;
  for (size_t i = 0; i < p->n_outputs; i++) {
    if (p->outputs[i].labels != NULL) {
      found = i;
      n++;
    }
  }
  if (n == 1) {
    output_plan labelled = p->outputs[found];
    p->outputs[found] = p->outputs[0];
    p->outputs[0] = labelled;
    p->n_outputs = 1;
  }
}

static vonk_status refuse_labels(const vonk_predictor *p, const output_plan *o,
                                 vonk_error *err) {
  bool is_bundle = vonk_model_manifest(p->model) != NULL;
  return vonk_fail(err, VONK_INVALID,
                   "as='label': output '%s' has no labels, for the %s: %s, or use "
                   "as='argmax' for the number of the class",
                   o->io->name, is_bundle ? "bundle has none" : "model is no bundle",
                   "pack it with --labels FILE");
}

static vonk_status check_classes(const vonk_predictor *p, const output_plan *o,
                                 const char *as, vonk_error *err) {
  int64_t n = o->tensor_rank < 1 ? 0 : o->tensor_shape[o->tensor_rank - 1];
  if (n == 0 || o->tensor_type->kind == 's') {
    vonk_text type = {.size = 0};
    vonk_plan_describe(o->io->dtype, o->tensor_rank, o->tensor_shape, &type);
    return vonk_fail(err, VONK_INVALID,
                     "as='%s': a row of output '%s' is %s: it needs numbers along a last "
                     "dimension",
                     as, o->io->name, type.data);
  }
  if (o->as == AS_LABEL && o->labels == NULL) {
    return refuse_labels(p, o, err);
  }
  if (o->labels != NULL && n > (int64_t)o->n_labels) {
    return vonk_fail(err, VONK_MODEL,
                     "as='%s': output '%s' has %" PRId64
                     " classes where the bundle has %" PRIu32
                     " labels: pack it with a label for every class",
                     as, o->io->name, n, o->n_labels);
  }
  return VONK_OK;
}

static vonk_status plan_classes(vonk_predictor *p, const char *as, as_kind kind,
                                int64_t top, vonk_error *err) {
  output_plan *o = &p->outputs[0];
  if (p->n_outputs != 1) {
    vonk_text outputs = {.size = 0};
    list_outputs(p, &outputs);
    return vonk_fail(
        err, VONK_INVALID,
        "as='%s': the model has %zu outputs, %s: choose one in the output map", as,
        p->n_outputs, outputs.data);
  }
  o->as = kind;
  o->top = top;
  if (kind == AS_LARGEST) {
    o->labels = NULL; /* are not asked for */
  }
  return check_classes(p, o, as, err);
}

/* --- types and shapes --- */

/* The narrowest that holds all values, or int64. */
static const vonk_dtype_info *signed_dtype(const vonk_dtype_info *type) {
  static const vonk_dtype wider[] = {VONK_I16, VONK_I32};
  for (size_t i = 0; i < sizeof wider / sizeof wider[0]; i++) {
    const vonk_dtype_info *info = vonk_dtype_find(wider[i]);
    if (info->exact_bits >= type->exact_bits) {
      return info;
    }
  }
  return vonk_dtype_find(VONK_I64);
}

static const vonk_dtype_info *result_dtype(const vonk_predictor *p,
                                           const output_plan *o) {
  if (o->as == AS_LARGEST || o->as == AS_LABEL) {
    return vonk_dtype_find(VONK_I64);
  }
  vonk_dtype dtype = o->tensor_type->dtype;
  bool half_as_float = p->half_as_float || o->as == AS_TOP;
  if (dtype == VONK_BF16 || (dtype == VONK_F16 && half_as_float)) {
    return vonk_dtype_find(VONK_F32);
  }
  if (p->signed_integers && o->tensor_type->kind == 'u') {
    return signed_dtype(o->tensor_type);
  }
  return o->tensor_type;
}

int32_t vonk_plan_result_dims(const output_plan *o) {
  bool is_dropped = o->as == AS_LARGEST || o->as == AS_LABEL;
  return is_dropped ? o->tensor_rank - 1 : o->tensor_rank;
}

static bool is_list_of_entries(const output_plan *o, int32_t d) {
  return o->as == AS_TOP && d == o->tensor_rank - 1;
}

bool vonk_plan_keeps_dim(const vonk_predictor *p, const output_plan *o, int32_t d) {
  return !p->squeeze || o->tensor_shape[d] != 1 || is_list_of_entries(o, d);
}

int64_t vonk_plan_result_dim(const output_plan *o, int32_t d, int64_t tensor_dim) {
  return is_list_of_entries(o, d) && tensor_dim > o->top ? o->top : tensor_dim;
}

static void plan_shape(const vonk_predictor *p, output_plan *o) {
  o->rank = 0;
  o->row_elements = 1;
  for (int32_t d = 0; d < vonk_plan_result_dims(o); d++) {
    int64_t dim = vonk_plan_result_dim(o, d, o->tensor_shape[d]);
    if (dim < 0) {
      o->row_elements = -1;
    } else if (o->row_elements >= 0) {
      o->row_elements *= dim;
    }
    if (vonk_plan_keeps_dim(p, o, d)) {
      o->is_list[o->rank] = dim < 0 || p->variable_lists || is_list_of_entries(o, d);
      o->shape[o->rank++] = dim;
    }
  }
  bool is_text = o->result_type->kind == 's';
  o->element_size = o->as == AS_TOP ? sizeof(class_entry) : o->result_type->size;
  o->is_dense = !is_text && o->row_elements >= 0;
  o->is_direct = o->is_dense && o->as == AS_TENSOR && o->result_type == o->tensor_type;
}

vonk_status vonk_plan_outputs(vonk_predictor *p, const vonk_bind_options *options,
                              vonk_error *err) {
  as_kind kind = AS_TENSOR;
  int64_t top = 0;
  VONK_TRY(parse_as(options->as, &kind, &top, err));
  if (kind != AS_TENSOR) {
    find_labels(p);
  }
  if (kind != AS_TENSOR && options->n_outputs == 0) {
    choose_labelled(p);
  }
  VONK_TRY(select_outputs(p, options, err));
  VONK_TRY(check_names(p, err));
  if (kind != AS_TENSOR) {
    VONK_TRY(plan_classes(p, options->as, kind, top, err));
  }
  for (size_t i = 0; i < p->n_outputs; i++) {
    p->outputs[i].result_type = result_dtype(p, &p->outputs[i]);
    plan_shape(p, &p->outputs[i]);
  }
  return VONK_OK;
}

/* --- the schema --- */

static vonk_status element_schema(const output_plan *o, const char *name,
                                  struct ArrowSchema *out, vonk_error *err) {
  if (o->as == AS_TOP) {
    return vonk_classes_schema(o, name, out, err);
  }
  vonk_dtype dtype = o->as == AS_LABEL ? VONK_BYTES : o->result_type->dtype;
  return vonk_schema_value(name, dtype, out, err);
}

/* Wraps the element's type in one list per dimension, innermost first. */
static vonk_status output_schema(const vonk_predictor *p, const output_plan *o,
                                 struct ArrowSchema *out, vonk_error *err) {
  const char *element = p->variable_lists ? "element" : "item";
  int64_t lengths[VONK_MAX_RANK];
  struct ArrowSchema item = {0};
  for (int32_t d = 0; d < o->rank; d++) {
    lengths[d] = o->is_list[d] ? -1 : o->shape[d];
  }
  VONK_TRY(element_schema(o, o->rank == 0 ? o->name : element, &item, err));
  return vonk_schema_nest(o->name, o->rank, lengths, &item, out, err);
}

vonk_status vonk_plan_schema(const vonk_predictor *p, struct ArrowSchema *out,
                             vonk_error *err) {
  bool has_error = p->row_errors == VONK_ROWS_REPORT;
  struct ArrowSchema schema = {0};
  VONK_TRY(vonk_schema_struct("", (int64_t)p->n_outputs + has_error, &schema, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; i < p->n_outputs && status == VONK_OK; i++) {
    status = output_schema(p, &p->outputs[i], schema.children[i], err);
  }
  if (status == VONK_OK && has_error) {
    status =
        vonk_schema_value(ERROR_COLUMN, VONK_BYTES, schema.children[p->n_outputs], err);
  }
  if (status != VONK_OK) {
    schema.release(&schema);
    return status;
  }
  vonk_schema_move(&schema, out);
  return VONK_OK;
}
