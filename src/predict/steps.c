/* Steps of preprocessing, on an input's tensor in place.
 *
 * The arithmetic is that of the tensor's own type, one rounding an operation, so that the
 * bits are those that Keras' Rescaling and torchvision's Normalize give (float(scale) * x +
 * float(offset), (x - float(mean)) / float(std)): no reciprocal, and the build keeps
 * compilers from contracting a product and a sum to one operation.
 *
 * Numbers along an axis. Where the axis is the last one, its few numbers (3 colours) are
 * repeated to a period of at least PERIOD of them, so that the loop over a period is long
 * enough to be vectorised; along any other axis one number holds for a whole run. */
#include <inttypes.h>
#include <string.h>

#include "predict/plan.h"

enum { PERIOD = 192 };

/* x, a and b do not overlap; x is aligned to its elements as the workspace's buffers are. */
#define DEFINE_STEPS(TYPE, NAME)                                                       \
  static void rescale_each_##NAME(TYPE *restrict x, const TYPE *restrict a,            \
                                  const TYPE *restrict b, size_t n) {                  \
    for (size_t i = 0; i < n; i++) {                                                   \
      TYPE scaled = a[i] * x[i];                                                       \
      x[i] = scaled + b[i];                                                            \
    }                                                                                  \
  }                                                                                    \
  static void normalize_each_##NAME(TYPE *restrict x, const TYPE *restrict a,          \
                                    const TYPE *restrict b, size_t n) {                \
    for (size_t i = 0; i < n; i++) {                                                   \
      TYPE centred = x[i] - a[i];                                                      \
      x[i] = centred / b[i];                                                           \
    }                                                                                  \
  }                                                                                    \
  static void rescale_all_##NAME(TYPE *restrict x, TYPE a, TYPE b, size_t n) {         \
    for (size_t i = 0; i < n; i++) {                                                   \
      TYPE scaled = a * x[i];                                                          \
      x[i] = scaled + b;                                                               \
    }                                                                                  \
  }                                                                                    \
  static void normalize_all_##NAME(TYPE *restrict x, TYPE a, TYPE b, size_t n) {       \
    for (size_t i = 0; i < n; i++) {                                                   \
      TYPE centred = x[i] - a;                                                         \
      x[i] = centred / b;                                                              \
    }                                                                                  \
  }                                                                                    \
  /* One pair of numbers, i, for a run of n elements. */                               \
  static void run_##NAME(const step_plan *s, TYPE *x, size_t i, size_t n) {            \
    const TYPE *a = s->a, *b = s->b;                                                   \
    if (s->kind == VONK_STEP_RESCALE) {                                                \
      rescale_all_##NAME(x, a[i], b[i], n);                                            \
    } else {                                                                           \
      normalize_all_##NAME(x, a[i], b[i], n);                                          \
    }                                                                                  \
  }                                                                                    \
  /* A pair for each element, again and again. */                                      \
  static void period_##NAME(const step_plan *s, TYPE *x, size_t n) {                   \
    for (size_t done = 0; done < n; done += s->period) {                               \
      size_t now = n - done < s->period ? n - done : s->period;                        \
      if (s->kind == VONK_STEP_RESCALE) {                                              \
        rescale_each_##NAME(x + done, s->a, s->b, now);                                \
      } else {                                                                         \
        normalize_each_##NAME(x + done, s->a, s->b, now);                              \
      }                                                                                \
    }                                                                                  \
  }                                                                                    \
  static void apply_##NAME(const step_plan *s, TYPE *x, size_t n_groups, size_t run) { \
    if (s->n > 1 && run == 1) {                                                        \
      period_##NAME(s, x, n_groups * s->n);                                            \
      return;                                                                          \
    }                                                                                  \
    for (size_t g = 0; g < n_groups; g++) {                                            \
      for (size_t i = 0; i < s->n; i++) {                                              \
        run_##NAME(s, x + (g * s->n + i) * run, i, run);                               \
      }                                                                                \
    }                                                                                  \
  }
DEFINE_STEPS(float, f32)
DEFINE_STEPS(double, f64)

void vonk_steps_apply(const input_plan *input, const vonk_tensor *t) {
  for (size_t k = 0; t->nbytes > 0 && k < input->n_steps; k++) {
    const step_plan *s = &input->steps[k];
    size_t n_groups = 1, run = 1;
    for (int32_t d = 0; d < t->rank; d++) { /* the elements exist, so no overflow */
      if (s->n == 1 || d > s->axis) {
        run *= (size_t)t->shape[d];
      } else if (d < s->axis) {
        n_groups *= (size_t)t->shape[d];
      }
    }
    if (input->dtype->dtype == VONK_F32) {
      apply_f32(s, t->data, n_groups, run);
    } else {
      apply_f64(s, t->data, n_groups, run);
    }
  }
}

/* --- the plan --- */

/* count numbers in the input's dtype, the n given ones again and again. */
static vonk_status make_numbers(vonk_dtype dtype, const double *numbers, size_t n,
                                size_t count, void **out, vonk_error *err) {
  size_t size = vonk_dtype_find(dtype)->size;
  uint8_t *made = NULL;
  VONK_TRY(vonk_new(count, size, &made, err));
  for (size_t i = 0; i < count; i += n) {
    vonk_dtype_convert(VONK_F64, numbers, dtype, made + i * size, n);
  }
  *out = made;
  return VONK_OK;
}

static vonk_status plan_step(const vonk_step *step, const input_plan *input,
                             step_plan *plan, vonk_error *err) {
  vonk_dtype dtype = input->dtype->dtype;
  plan->kind = step->kind;
  plan->axis = step->axis;
  plan->n = step->n;
  plan->period = plan->n * ((PERIOD + plan->n - 1) / plan->n);
  VONK_TRY(make_numbers(dtype, step->a, plan->n, plan->period, &plan->a, err));
  return make_numbers(dtype, step->b, plan->n, plan->period, &plan->b, err);
}

/* Bundles promise it, and memory safety hangs on it. */
static vonk_status check_step(const vonk_step *step, const input_plan *input,
                              vonk_error *err) {
  vonk_dtype dtype = input->dtype->dtype;
  bool is_float = dtype == VONK_F32 || dtype == VONK_F64;
  bool has_axis = step->axis >= 1 && step->axis <= input->rank &&
                  input->shape[step->axis - 1] == (int64_t)step->n;
  if (is_float && step->n >= 1 && (step->n == 1 || has_axis)) {
    return VONK_OK;
  }
  return vonk_fail(err, VONK_MODEL,
                   "input '%s': a step of its preprocessing has %" PRIu32
                   " numbers along axis %" PRId32
                   ", which do not fit its shape, or its dtype %s is no float: pack the "
                   "model again",
                   input->io->name, step->n, step->axis, input->dtype->name);
}

static vonk_status plan_input_steps(const vonk_manifest *manifest, uint32_t index,
                                    input_plan *input, vonk_error *err) {
  size_t n = 0;
  for (uint32_t k = 0; k < manifest->n_steps; k++) {
    n += manifest->steps[k].input == index;
  }
  VONK_TRY(vonk_new(n, sizeof *input->steps, &input->steps, err));
  input->n_steps = n;
  n = 0;
  for (uint32_t k = 0; k < manifest->n_steps; k++) {
    if (manifest->steps[k].input == index) {
      VONK_TRY(check_step(&manifest->steps[k], input, err));
      VONK_TRY(plan_step(&manifest->steps[k], input, &input->steps[n++], err));
    }
  }
  input->may_borrow = input->may_borrow && n == 0;
  return VONK_OK;
}

vonk_status vonk_plan_steps(vonk_predictor *p, vonk_error *err) {
  const vonk_manifest *manifest = vonk_model_manifest(p->model);
  for (size_t i = 0; manifest != NULL && manifest->n_steps > 0 && i < p->n_inputs; i++) {
    VONK_TRY(plan_input_steps(manifest, (uint32_t)i, &p->inputs[i], err));
  }
  return VONK_OK;
}

void vonk_steps_clear(input_plan *input) {
  for (size_t k = 0; k < input->n_steps; k++) {
    vonk_delete(input->steps[k].a);
    vonk_delete(input->steps[k].b);
  }
  vonk_delete(input->steps);
}
