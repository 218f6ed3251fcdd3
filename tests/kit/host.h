/* The least host that the inside of a plug-in can work with: memory, and nothing else. */
#ifndef VONK_TESTS_KIT_HOST_H
#define VONK_TESTS_KIT_HOST_H

#include <stdlib.h>

#include "vonk/plugin.h"

static void *plain_host_alloc(void *ctx, size_t size, size_t align) {
  (void)ctx;
  (void)align;
  return malloc(size == 0 ? 1 : size);
}

static void plain_host_free(void *ctx, void *pointer) {
  (void)ctx;
  free(pointer);
}

static const vonk_host plain_host = {.struct_size = (uint32_t)sizeof(vonk_host),
                                     .alloc = plain_host_alloc,
                                     .free = plain_host_free};

#endif /* VONK_TESTS_KIT_HOST_H */
