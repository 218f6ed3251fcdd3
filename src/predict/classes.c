/* The last dimension of an output as classes: the largest one, and the N largest.
 *
 * Order is NumPy's argmax: a NaN is larger than any number, and of equal ones the first
 * comes first. For N of them every number becomes an unsigned key of the same order, and a
 * heap with the worst kept entry on top is offered key after key: most are turned away by
 * one comparison. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "predict/plan.h"

/* The widest type of a kind compares as the narrow ones do. */
static vonk_dtype widest(const vonk_dtype_info *from) {
  return from->kind == 'f' ? VONK_F64 : from->kind == 'i' ? VONK_I64 : VONK_U64;
}

/* --- the largest --- */

#define DEFINE_ARGMAX(NAME, TYPE, IS_NAN)         \
  static int64_t NAME(const TYPE *x, int64_t n) { \
    int64_t best = 0;                             \
    for (int64_t i = 0; i < n; i++) {             \
      if (IS_NAN(x[i])) {                         \
        return i;                                 \
      }                                           \
      best = x[i] > x[best] ? i : best;           \
    }                                             \
    return best;                                  \
  }
#define NEVER(x) false
DEFINE_ARGMAX(argmax_f32, float, isnan)
DEFINE_ARGMAX(argmax_f64, double, isnan)
DEFINE_ARGMAX(argmax_i64, int64_t, NEVER)
DEFINE_ARGMAX(argmax_u64, uint64_t, NEVER)

vonk_status vonk_classes_largest(const output_plan *o, const uint8_t *values,
                                 int64_t n_groups, int64_t length, int64_t *target,
                                 vonk_error *err) {
  const vonk_dtype_info *from = o->tensor_type;
  vonk_dtype wide = widest(from);
  if (length == 0) {
    return vonk_fail(
        err, VONK_MODEL,
        "output '%s': has no element along its last dimension: argmax needs one",
        o->io->name);
  }
  if (from->dtype == VONK_F32 && ((uintptr_t)values % sizeof(float)) == 0) {
    for (int64_t g = 0; g < n_groups; g++) {
      target[g] = argmax_f32((const float *)(const void *)values + g * length, length);
    }
    return VONK_OK;
  }
  uint64_t *wide_values = NULL; /* 8 bytes an element, whatever the type */
  VONK_TRY(vonk_new((size_t)length, sizeof *wide_values, &wide_values, err));
  for (int64_t g = 0; g < n_groups; g++) {
    vonk_dtype_convert(from->dtype, values + (size_t)(g * length) * from->size, wide,
                       wide_values, (size_t)length);
    const void *x = wide_values;
    target[g] = wide == VONK_F64   ? argmax_f64(x, length)
                : wide == VONK_I64 ? argmax_i64(x, length)
                                   : argmax_u64(x, length);
  }
  vonk_delete(wide_values);
  return VONK_OK;
}

/* --- the N largest --- */

#define SIGN_BIT (UINT64_C(1) << 63)

/* Numbers of a widest type, in place, as unsigned ones of the same order. */
static void make_keys(vonk_dtype wide, uint64_t *x, size_t n) {
  if (wide == VONK_I64) {
    for (size_t i = 0; i < n; i++) {
      x[i] ^= SIGN_BIT;
    }
  }
  if (wide == VONK_F64) {
    for (size_t i = 0; i < n; i++) {
      double number;
      memcpy(&number, &x[i], sizeof number);
      number += 0.0; /* -0 equals 0 */
      uint64_t bits;
      memcpy(&bits, &number, sizeof bits);
      uint64_t key = (bits & SIGN_BIT) != 0 ? ~bits : bits | SIGN_BIT;
      x[i] = isnan(number) ? UINT64_MAX : key;
    }
  }
}

static bool is_worse(const class_entry *a, const class_entry *b) {
  return a->u.key != b->u.key ? a->u.key < b->u.key : a->index > b->index;
}

/* The entry at `at` goes down until none below it is worse. */
static void sink(class_entry *heap, int64_t n, int64_t at) {
  class_entry moving = heap[at];
  for (;;) {
    int64_t child = 2 * at + 1;
    if (child >= n) {
      break;
    }
    if (child + 1 < n && is_worse(&heap[child + 1], &heap[child])) {
      child++;
    }
    if (!is_worse(&heap[child], &moving)) {
      break;
    }
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moving;
}

/* The `top` largest of n keys, the largest first; top <= n. */
static void select_top(const uint64_t *keys, int64_t n, int64_t top, class_entry *heap) {
  for (int64_t i = 0; i < top; i++) {
    heap[i] = (class_entry){.index = i, .u.key = keys[i]};
  }
  for (int64_t i = top / 2 - 1; i >= 0; i--) {
    sink(heap, top, i);
  }
  for (int64_t i = top; i < n; i++) {
    if (keys[i] > heap[0].u.key) { /* of equal ones the first is there already */
      heap[0] = (class_entry){.index = i, .u.key = keys[i]};
      sink(heap, top, 0);
    }
  }
  for (int64_t left = top - 1; left > 0; left--) { /* the worst goes to the end */
    class_entry worst = heap[0];
    heap[0] = heap[left];
    heap[left] = worst;
    sink(heap, left, 0);
  }
}

vonk_status vonk_classes_top(const output_plan *o, const uint8_t *values,
                             int64_t n_groups, int64_t length, class_entry *target,
                             vonk_error *err) {
  const vonk_dtype_info *from = o->tensor_type;
  vonk_dtype wide = widest(from);
  int64_t top = length < o->top ? length : o->top;
  uint64_t *keys = NULL;
  VONK_TRY(vonk_new((size_t)length, sizeof *keys, &keys, err));
  for (int64_t g = 0; g < n_groups; g++) {
    const uint8_t *group = values + (size_t)(g * length) * from->size;
    class_entry *entries = target + g * top;
    vonk_dtype_convert(from->dtype, group, wide, keys, (size_t)length);
    make_keys(wide, keys, (size_t)length);
    select_top(keys, length, top, entries);
    for (int64_t i = 0; i < top; i++) {
      uint8_t score[sizeof entries->u] = {0};
      vonk_dtype_convert(from->dtype, group + (size_t)entries[i].index * from->size,
                         o->result_type->dtype, score, 1);
      memcpy(entries[i].u.score, score, sizeof score);
    }
  }
  vonk_delete(keys);
  return VONK_OK;
}

vonk_status vonk_classes_check(const output_plan *o, const vonk_tensor *t,
                               vonk_error *err) {
  if (o->labels == NULL || t->shape[o->tensor_rank] <= (int64_t)o->n_labels) {
    return VONK_OK;
  }
  return vonk_fail(err, VONK_MODEL,
                   "output '%s': came with %" PRId64
                   " classes along its last dimension where the bundle has %" PRIu32
                   " labels: pack it with a label for every class",
                   o->io->name, t->shape[o->tensor_rank], o->n_labels);
}
