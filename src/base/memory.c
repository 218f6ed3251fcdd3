/* Memory and sizes.
 *
 * How it works: every allocation of the library, and every one that a plug-in makes
 * through the host table, goes through allocate() below. It numbers the allocations and
 * fails the one that a test asked for with vonk_memory_fail_at, which is how the tests
 * walk every out-of-memory path. Outside tests it costs one relaxed atomic addition. */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* glibc's calloc passes by the cache of small blocks that malloc has for each thread. */
enum { SMALL = 1024 };

static _Atomic int64_t n_allocations;
static _Atomic int64_t failing_allocation; /* its number, counted from 1; 0 = none */

/* align 0: malloc's own alignment, zeroed. */
static void *allocate(size_t nbytes, size_t align) {
  int64_t number = atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed) + 1;
  if (atomic_load_explicit(&failing_allocation, memory_order_relaxed) == number) {
    return NULL;
  }
  if (align == 0 && nbytes <= SMALL) {
    void *small = malloc(nbytes);
    return small == NULL ? NULL : memset(small, 0, nbytes);
  }
  if (align == 0) {
    return calloc(1, nbytes);
  }
  void *pointer = NULL;
  return posix_memalign(&pointer, align, nbytes) == 0 ? pointer : NULL;
}

vonk_status vonk_new(size_t count, size_t size, void *out_pointer, vonk_error *err) {
  size_t nbytes = 0;
  VONK_TRY(vonk_size_mul(count, size, &nbytes, err));
  void *pointer = NULL;
  if (nbytes > 0) {
    pointer = allocate(nbytes, 0);
    if (pointer == NULL) {
      return vonk_fail_nomem(err, nbytes);
    }
  }
  memcpy(out_pointer, &pointer, sizeof(pointer));
  return VONK_OK;
}

vonk_status vonk_new_aligned(size_t nbytes, size_t align, void *out_pointer,
                             vonk_error *err) {
  void *pointer = NULL;
  if (nbytes > 0) {
    pointer = allocate(nbytes, align);
    if (pointer == NULL) {
      return vonk_fail_nomem(err, nbytes);
    }
  }
  memcpy(out_pointer, &pointer, sizeof(pointer));
  return VONK_OK;
}

vonk_status vonk_new_string(const char *text, char **out, vonk_error *err) {
  size_t nbytes = strlen(text) + 1;
  char *copy = NULL;
  VONK_TRY(vonk_new(nbytes, 1, &copy, err));
  memcpy(copy, text, nbytes);
  *out = copy;
  return VONK_OK;
}

void vonk_delete(void *pointer) { free(pointer); }

int64_t vonk_memory_fail_at(int64_t n) {
  int64_t made = atomic_load(&n_allocations);
  atomic_store(&failing_allocation, n > 0 ? made + n : 0);
  return made;
}

vonk_status vonk_size_mul(size_t a, size_t b, size_t *out, vonk_error *err) {
  if (b != 0 && a > SIZE_MAX / b) {
    return vonk_fail(err, VONK_INVALID,
                     "size: %zu * %zu elements is more than this machine can address: "
                     "the data or the model states a wrong length",
                     a, b);
  }
  *out = a * b;
  return VONK_OK;
}

vonk_status vonk_size_add(size_t a, size_t b, size_t *out, vonk_error *err) {
  if (a > SIZE_MAX - b) {
    return vonk_fail(err, VONK_INVALID,
                     "size: %zu + %zu bytes is more than this machine can address: "
                     "the data or the model states a wrong length",
                     a, b);
  }
  *out = a + b;
  return VONK_OK;
}

vonk_status vonk_size_from(int64_t value, const char *what, size_t *out,
                           vonk_error *err) {
  if (value < 0 || (uint64_t)value > SIZE_MAX) {
    return vonk_fail(err, VONK_INVALID,
                     "%s: is %" PRId64 ": expected a number from 0 to %zu", what, value,
                     SIZE_MAX);
  }
  *out = (size_t)value;
  return VONK_OK;
}
