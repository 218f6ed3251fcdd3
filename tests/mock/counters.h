/* What a mock plug-in counts, for tests that look behind the library: dlsym(dlopen(path),
 * "mock_counters_read") is a function of this type. The counters belong to the loaded
 * file and are never reset. */
#ifndef VONK_MOCK_COUNTERS_H
#define VONK_MOCK_COUNTERS_H

#include <stdint.h>

typedef struct mock_counters {
  int64_t models, live_models;     /* opened so far, not yet released */
  int64_t sessions, live_sessions; /* created so far, not yet released */
  int64_t outputs, live_outputs;   /* tensors handed out so far, not yet released */
  int64_t runs, failed_runs;       /* calls of run */
  int64_t rows, largest_run;       /* rows of all runs; of the largest one */
  int64_t running, most_running;   /* runs in progress now; the most at a time */
  int64_t preallocated;            /* outputs written where the host said */
  int64_t stopped;                 /* runs ended by a request to stop */
  int64_t shutdowns;               /* calls of shutdown */
  uintptr_t last_input;            /* data of the first input of the last run */
} mock_counters;
typedef void (*mock_counters_fn)(mock_counters *out);

#endif /* VONK_MOCK_COUNTERS_H */
