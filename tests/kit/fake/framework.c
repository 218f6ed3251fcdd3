/* A framework's library for tests/kit/test_library.c, built several times: the copies
 * differ in FAKE_COPY and their folder, and share their SONAME. Like libtorch and
 * TensorFlow, a process that loads two of them ends, in a static initialiser. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>

#ifndef FAKE_COPY
#define FAKE_COPY 0
#endif

#if FAKE_COPY == 0
/* A part of the framework, or a library that is none. */
int fake_part(void);
__attribute__((visibility("default"))) int fake_part(void) { return 1; }
#else
int fake_framework_copy(void);
__attribute__((visibility("default"))) int fake_framework_copy(void) { return FAKE_COPY; }

__attribute__((constructor)) static void end_if_second(void) {
  if (getenv("VONK_FAKE_FRAMEWORK_IS_LOADED") != NULL) {
    abort();
  }
  setenv("VONK_FAKE_FRAMEWORK_IS_LOADED", "1", 1);
}
#endif
