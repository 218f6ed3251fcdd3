/* What every fuzz target has: the function that libFuzzer calls, and a check that ends the
 * process when a promise is broken. */
#ifndef VONK_FUZZ_TARGET_H
#define VONK_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                      \
    }                                                                               \
  } while (0)

#endif /* VONK_FUZZ_TARGET_H */
