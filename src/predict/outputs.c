/* The outputs as columns: which are wanted, under which names, of which types.
 *
 * A row of the model's output becomes a row of the column after two optional steps that
 * never move an element: `as='argmax'` replaces the last dimension by the index of its
 * largest value, squeeze drops dimensions of 1. */
#include <inttypes.h>
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

static vonk_status plan_argmax(vonk_predictor *p, const char *as, vonk_error *err) {
  if (strcmp(as, "argmax") != 0) {
    return vonk_fail(
        err, VONK_INVALID,
        "as='%s': is not known: it can be 'argmax', or be left out for the tensor", as);
  }
  if (p->n_outputs != 1) {
    vonk_text outputs = {.size = 0};
    list_outputs(p, &outputs);
    return vonk_fail(
        err, VONK_INVALID,
        "as='argmax': the model has %zu outputs, %s: choose one in the output map",
        p->n_outputs, outputs.data);
  }
  output_plan *o = &p->outputs[0];
  if (o->tensor_rank < 1 || o->tensor_type->kind == 's' ||
      o->tensor_shape[o->tensor_rank - 1] == 0) {
    vonk_text type = {.size = 0};
    vonk_plan_describe(o->io->dtype, o->tensor_rank, o->tensor_shape, &type);
    return vonk_fail(err, VONK_INVALID,
                     "as='argmax': a row of output '%s' is %s: argmax needs numbers "
                     "along a last dimension",
                     o->io->name, type.data);
  }
  o->argmax = true;
  return VONK_OK;
}

static const vonk_dtype_info *result_dtype(const vonk_predictor *p,
                                           const output_plan *o) {
  if (o->argmax) {
    return vonk_dtype_find(VONK_I64);
  }
  vonk_dtype dtype = o->tensor_type->dtype;
  if (dtype == VONK_BF16 || (dtype == VONK_F16 && p->half_as_float)) {
    return vonk_dtype_find(VONK_F32);
  }
  return o->tensor_type;
}

static void plan_shape(const vonk_predictor *p, output_plan *o) {
  int32_t rank = o->argmax ? o->tensor_rank - 1 : o->tensor_rank;
  o->rank = 0;
  o->row_elements = 1;
  for (int32_t d = 0; d < rank; d++) {
    int64_t dim = o->tensor_shape[d];
    if (dim < 0) {
      o->row_elements = -1;
    } else if (o->row_elements >= 0) {
      o->row_elements *= dim;
    }
    if (!(p->squeeze && dim == 1)) {
      o->shape[o->rank++] = dim;
    }
  }
  bool is_text = o->result_type->kind == 's';
  o->is_dense = !is_text && o->row_elements >= 0;
  o->is_direct = o->is_dense && !o->argmax && o->result_type == o->tensor_type;
}

vonk_status vonk_plan_outputs(vonk_predictor *p, const vonk_bind_options *options,
                              vonk_error *err) {
  VONK_TRY(select_outputs(p, options, err));
  VONK_TRY(check_names(p, err));
  if (options->as != NULL && options->as[0] != '\0') {
    VONK_TRY(plan_argmax(p, options->as, err));
  }
  for (size_t i = 0; i < p->n_outputs; i++) {
    p->outputs[i].result_type = result_dtype(p, &p->outputs[i]);
    plan_shape(p, &p->outputs[i]);
  }
  return VONK_OK;
}

/* --- the schema --- */

/* Wraps the element's type in one list per dimension, innermost first. */
static vonk_status output_schema(const output_plan *o, struct ArrowSchema *out,
                                 vonk_error *err) {
  struct ArrowSchema inner = {0}, outer = {0};
  VONK_TRY(vonk_schema_value(o->rank == 0 ? o->name : "item", o->result_type->dtype,
                             &inner, err));
  for (int32_t d = o->rank - 1; d >= 0; d--) {
    vonk_status status =
        vonk_schema_list(d == 0 ? o->name : "item", o->shape[d], &inner, &outer, err);
    if (status != VONK_OK) {
      inner.release(&inner);
      return status;
    }
    vonk_schema_move(&outer, &inner);
  }
  vonk_schema_move(&inner, out);
  return VONK_OK;
}

vonk_status vonk_plan_schema(const vonk_predictor *p, struct ArrowSchema *out,
                             vonk_error *err) {
  bool has_error = p->row_errors == VONK_ROWS_REPORT;
  struct ArrowSchema schema = {0};
  VONK_TRY(vonk_schema_struct("", (int64_t)p->n_outputs + has_error, &schema, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; i < p->n_outputs && status == VONK_OK; i++) {
    status = output_schema(&p->outputs[i], schema.children[i], err);
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
