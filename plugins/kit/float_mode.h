/* The floating-point mode of a thread, kept around a framework's run.
 *
 * fegetenv and fesetenv keep it too, but reload the whole x87 unit: 140 ns for what takes
 * 10 here, in every run of one row. What SSE has is kept, in which all arithmetic but that
 * of long double is done; x87 is touched by loading a library at most, and there
 * vonk_kit_started keeps all.
 */
#ifndef VONK_KIT_FLOAT_MODE_H
#define VONK_KIT_FLOAT_MODE_H

#if defined(__x86_64__)
#include <stdint.h>

typedef struct kit_float_mode {
  uint32_t sse; /* rounding, flushing to zero, traps, flags */
} kit_float_mode;

static inline void vonk_kit_float_mode_get(kit_float_mode *out) {
  out->sse = __builtin_ia32_stmxcsr();
}

static inline void vonk_kit_float_mode_set(const kit_float_mode *mode) {
  __builtin_ia32_ldmxcsr(mode->sse);
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
