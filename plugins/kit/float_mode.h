/* The floating-point mode of a thread, kept around a framework's run.
 *
 * fegetenv and fesetenv keep it too, but reload the whole x87 unit: 140 ns for what takes
 * 10 here, in every run of one row. The exception flags of SSE, in which all arithmetic is
 * done, are kept; those of x87, which nobody reads, are not.
 */
#ifndef VONK_KIT_FLOAT_MODE_H
#define VONK_KIT_FLOAT_MODE_H

#if defined(__x86_64__)
#include <stdint.h>

typedef struct kit_float_mode {
  uint32_t sse; /* rounding, flushing to zero, traps, flags */
  uint16_t x87; /* precision, rounding, traps */
} kit_float_mode;

static inline void vonk_kit_float_mode_get(kit_float_mode *out) {
  out->sse = __builtin_ia32_stmxcsr();
  __asm__ volatile("fnstcw %0" : "=m"(out->x87));
}

static inline void vonk_kit_float_mode_set(const kit_float_mode *mode) {
  uint16_t x87;
  __builtin_ia32_ldmxcsr(mode->sse);
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  if (x87 != mode->x87) {
    __asm__ volatile("fldcw %0" : : "m"(mode->x87));
  }
}

#else
#include <fenv.h>

typedef struct kit_float_mode {
  fenv_t environment;
} kit_float_mode;

static inline void vonk_kit_float_mode_get(kit_float_mode *out) {
  fegetenv(&out->environment);
}

static inline void vonk_kit_float_mode_set(const kit_float_mode *mode) {
  fesetenv(&mode->environment);
}

#endif
#endif /* VONK_KIT_FLOAT_MODE_H */
