/* The model's signature as vonk needs it: which dimension counts rows, and what one row
 * looks like.
 *
 * The first dimension of every input and output counts rows. If it is free, any number of
 * rows runs at a time; if it is a number, it must be the same for all of them, and rows
 * are cut to it. A model without such a dimension cannot be applied to a column, and the
 * error says which tensor gives it away.
 *
 * The size of a micro-batch: activations should stay in the cache, so the tensors of one
 * should be about 1 MiB (measured: 256 rows of a 784-512-10 network are 1.5 times faster
 * than 10,000), but a run has a fixed cost, so tiny rows get up to 2,048 and huge ones at
 * least 4. */
#include <inttypes.h>

#include "predict/plan.h"

#define CACHE_BYTES (1u << 20)
#define MOST_ROWS 2048
#define LEAST_ROWS 4
#define FREE_DIM_GUESS \
  64 /* elements assumed along a free dimension, and bytes of a text */
#define DEFAULT_BATCH_BYTES (64u << 20)

void vonk_plan_describe(vonk_dtype dtype, int32_t rank, const int64_t *shape,
                        vonk_text *out) {
  vonk_text_add(out, "%s", vonk_dtype_name(dtype));
  for (int32_t i = 0; i < rank; i++) {
    vonk_text_add(out, i == 0 ? "[" : ", ");
    if (shape[i] < 0) {
      vonk_text_add(out, "free");
    } else {
      vonk_text_add(out, "%" PRId64, shape[i]);
    }
  }
  if (rank > 0) {
    vonk_text_add(out, "]");
  }
}

/* Product of the dimensions, -1 if one is free. VONK_MODEL if those that are numbers, not
 * counting zeros, have a product beyond 2^31: so no product of some of them overflows. */
static vonk_status count_elements(const vonk_io *io, int32_t rank, const int64_t *shape,
                                  int64_t *out, vonk_error *err) {
  int64_t n = 1;
  bool is_free = false, is_empty = false;
  for (int32_t i = 0; i < rank; i++) {
    is_free = is_free || shape[i] < 0;
    is_empty = is_empty || shape[i] == 0;
    if (shape[i] <= 0) {
      continue;
    }
    if (n > INT32_MAX / shape[i]) {
      return vonk_fail(err, VONK_MODEL,
                       "tensor '%s': one row has more than 2^31 elements", io->name);
    }
    n *= shape[i];
  }
  *out = is_free ? -1 : is_empty ? 0 : n;
  return VONK_OK;
}

/* *fixed is the first tensor whose first dimension is a number; NULL = none yet. */
static vonk_status check_rows_dimension(const vonk_io *io, const char *what,
                                        const vonk_io **fixed, vonk_error *err) {
  const char *way_out = "export the model with a free first dimension";
  if (io->rank < 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "%s '%s': the model does not say its shape, so the columns cannot "
                     "be checked: export it with shapes",
                     what, io->name);
  }
  if (io->rank == 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "%s '%s': is a single value without a batch dimension, so the model "
                     "cannot run on rows: %s",
                     what, io->name, way_out);
  }
  if (io->shape[0] < 0) {
    return VONK_OK;
  }
  if (io->shape[0] == 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "%s '%s': its first dimension is 0, so it does not count rows: %s",
                     what, io->name, way_out);
  }
  if (*fixed != NULL && (*fixed)->shape[0] != io->shape[0]) {
    return vonk_fail(
        err, VONK_UNSUPPORTED,
        "%s '%s': its first dimension is %" PRId64 " where that of '%s' is %" PRId64
        ", so they do not count rows and the model has no batch dimension: "
        "%s",
        what, io->name, io->shape[0], (*fixed)->name, (*fixed)->shape[0], way_out);
  }
  *fixed = io;
  return VONK_OK;
}

/* A number where others are free would tie all rows to one batch size without the model
 * saying so for its inputs. */
static vonk_status check_mixed(const vonk_model_summary *s, const vonk_io *fixed,
                               vonk_error *err) {
  for (uint32_t i = 0; fixed != NULL && i < s->n_inputs; i++) {
    if (s->inputs[i]->shape[0] < 0) {
      return vonk_fail(err, VONK_UNSUPPORTED,
                       "input '%s': its first dimension is free while that of '%s' is "
                       "%" PRId64
                       ", so rows cannot be told apart: export the model with a free "
                       "first dimension everywhere",
                       s->inputs[i]->name, fixed->name, fixed->shape[0]);
    }
  }
  return VONK_OK;
}

static vonk_status plan_input(const vonk_io *io, input_plan *input, vonk_error *err) {
  input->io = io;
  input->dtype = vonk_dtype_find(io->dtype);
  if (input->dtype == NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "input '%s': has dtype %" PRId32 ", which this vonk does not know",
                     io->name, io->dtype);
  }
  input->rank = io->rank - 1;
  for (int32_t d = 0; d < input->rank; d++) {
    input->shape[d] = io->shape[d + 1];
  }
  return count_elements(io, input->rank, input->shape, &input->row_elements, err);
}

static vonk_status plan_output(const vonk_io *io, uint32_t index, output_plan *output,
                               vonk_error *err) {
  output->io = io;
  output->index = index;
  output->tensor_type = vonk_dtype_find(io->dtype);
  if (output->tensor_type == NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "output '%s': has dtype %" PRId32 ", which this vonk does not know",
                     io->name, io->dtype);
  }
  output->tensor_rank = io->rank - 1;
  for (int32_t d = 0; d < output->tensor_rank; d++) {
    output->tensor_shape[d] = io->shape[d + 1];
  }
  return count_elements(io, output->tensor_rank, output->tensor_shape,
                        &output->tensor_elements, err);
}

vonk_status vonk_plan_signature(vonk_predictor *p, vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(p->model);
  if (s->n_inputs == 0 || s->n_outputs == 0) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "model '%s': has no %s: there is nothing to predict", s->path,
                     s->n_inputs == 0 ? "input" : "output");
  }
  const vonk_io *fixed = NULL;
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    VONK_TRY(check_rows_dimension(s->inputs[i], "input", &fixed, err));
  }
  VONK_TRY(check_mixed(s, fixed, err));
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    VONK_TRY(check_rows_dimension(s->outputs[i], "output", &fixed, err));
  }
  VONK_TRY(check_mixed(s, fixed, err));
  p->fixed_batch = fixed == NULL ? 0 : fixed->shape[0];
  p->n_inputs = s->n_inputs;
  p->n_outputs = s->n_outputs;
  VONK_TRY(vonk_new(p->n_inputs, sizeof *p->inputs, &p->inputs, err));
  VONK_TRY(vonk_new(p->n_outputs, sizeof *p->outputs, &p->outputs, err));
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    VONK_TRY(plan_input(s->inputs[i], &p->inputs[i], err));
    p->groups_rows = p->groups_rows || p->inputs[i].row_elements < 0;
  }
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    VONK_TRY(plan_output(s->outputs[i], i, &p->outputs[i], err));
  }
  return VONK_OK;
}

/* Bytes of one tensor row; dimensions that are free are *free_dims onwards, or, if that
 * is NULL, all `longest`. */
static int64_t tensor_bytes(int32_t rank, const int64_t *shape,
                            const vonk_dtype_info *dtype, const int64_t **free_dims,
                            int64_t *longest) {
  int64_t nbytes = dtype->size == 0 ? FREE_DIM_GUESS : dtype->size;
  for (int32_t d = 0; d < rank; d++) {
    int64_t dim = shape[d];
    if (dim < 0 && *free_dims != NULL) {
      dim = *(*free_dims)++;
      *longest = dim > *longest ? dim : *longest;
    } else if (dim < 0) {
      dim = *longest;
    }
    if (dim > 0 && nbytes > INT32_MAX / dim) {
      return INT32_MAX;
    }
    nbytes *= dim > 0 ? dim : 1;
  }
  return nbytes;
}

int64_t vonk_plan_row_bytes(const vonk_predictor *p, const int64_t *free_dims) {
  int64_t row_bytes = 1, longest = free_dims == NULL ? FREE_DIM_GUESS : 1;
  for (size_t i = 0; i < p->n_inputs; i++) {
    const input_plan *input = &p->inputs[i];
    row_bytes +=
        tensor_bytes(input->rank, input->shape, input->dtype, &free_dims, &longest);
  }
  free_dims = NULL;
  for (size_t i = 0; i < p->n_outputs; i++) {
    const output_plan *o = &p->outputs[i];
    row_bytes += tensor_bytes(o->tensor_rank, o->tensor_shape, o->tensor_type, &free_dims,
                              &longest);
  }
  return row_bytes;
}

void vonk_plan_batch(vonk_predictor *p, int64_t batch_rows, int64_t batch_bytes) {
  int64_t row_bytes = vonk_plan_row_bytes(p, NULL);
  p->batch_bytes = batch_bytes > 0 ? batch_bytes : (int64_t)DEFAULT_BATCH_BYTES;
  if (p->fixed_batch != 0) {
    p->batch_rows = p->fixed_batch;
    return;
  }
  int64_t rows = batch_rows;
  if (rows <= 0) {
    rows = MOST_ROWS;
    while (rows > LEAST_ROWS && rows * row_bytes > (int64_t)CACHE_BYTES) {
      rows /= 2;
    }
  }
  int64_t cap = p->batch_bytes / row_bytes;
  cap = cap > 0 ? cap : 1;
  p->batch_rows = rows < cap ? rows : cap;
}
