/* The loops that vonk is measured against: a framework's own interface, called as
 * directly as it can be, on rows in memory. One model a process; a failure ends it, since
 * a benchmark has nothing better to do.
 *
 * Every framework gets what is best for it: rows and results without a copy where it
 * takes them, one thread inside a run, its own graph optimisation.
 */
#ifndef VONK_BENCH_LOOPS_H
#define VONK_BENCH_LOOPS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LOOP_MAX_RANK = 8 };

/* A model with one float32 input [N, dims...] and one float32 output [N, n_classes]. */
typedef struct loop_model {
  const char *path;
  const char *library;         /* the framework's, as vonk found it */
  int64_t dims[LOOP_MAX_RANK]; /* of one row */
  int32_t rank;                /* of one row */
  int64_t width;               /* elements of one row */
  int64_t n_classes;
} loop_model;

typedef struct loop_framework {
  const char *format;
  void (*open)(const loop_model *);
  /* n rows in one run of the model. Callable from several threads at a time. */
  void (*run)(const loop_model *, const float *rows, int64_t n, float *results);
} loop_framework;

extern const loop_framework loop_onnx, loop_tensorflow;
/* In the module bench_torch.so, which is there if PyTorch is: loop_torchscript, loop_aoti. */

/* Prints "WHAT: WHY" and ends the process. */
void loop_die(const char *what, const char *why) __attribute__((noreturn));
/* dlopen and dlsym, or the end. *function is a pointer to a function pointer. */
void *loop_library(const char *path);
void loop_function(void *library, const char *name, void *function);

#ifdef __cplusplus
}
#endif
#endif /* VONK_BENCH_LOOPS_H */
