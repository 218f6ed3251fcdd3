/* What plug-ins are given: the host table.
 *
 * How it works: one static table for each copy of the library in the process; a plug-in
 * that keeps state keeps it per table. Its functions only pass on to the layers below,
 * and none of them takes a lock that is held while a plug-in is called. */
#include <stddef.h>

#include "plugin/internal.h"

static void *host_alloc(void *ctx, size_t size, size_t align) {
  (void)ctx;
  if ((align & (align - 1)) != 0) {
    return NULL;
  }
  size_t least = _Alignof(max_align_t);
  void *pointer;
  vonk_status status = vonk_new_aligned(size == 0 ? 1 : size,
                                        align < least ? least : align, &pointer, NULL);
  return status == VONK_OK ? pointer : NULL;
}

static void host_free(void *ctx, void *pointer) {
  (void)ctx;
  vonk_delete(pointer);
}

static void host_log(void *ctx, int32_t level, const char *where, const char *message) {
  (void)ctx;
  vonk_log(level, where == NULL ? "plug-in" : where, "%s",
           message == NULL ? "" : message);
}

static const char *host_config(void *ctx, const char *key) {
  (void)ctx;
  return key == NULL ? NULL : vonk_paths_get(key);
}

static void host_watch_cancel(void *ctx, vonk_cancel *cancel, void (*stop)(void *arg),
                              void *arg) {
  (void)ctx;
  vonk_cancel_watch(cancel, stop, arg);
}

const vonk_host *vonk_host_get(void) {
  static const vonk_host table = {
      .struct_size = (uint32_t)sizeof(vonk_host),
      .abi_minor = VONK_ABI_MINOR,
      .alloc = host_alloc,
      .free = host_free,
      .log = host_log,
      .config = host_config,
      .watch_cancel = host_watch_cancel,
  };
  return &table;
}

void vonk_set_log(int32_t level,
                  void (*sink)(void *arg, int32_t level, const char *where,
                               const char *message),
                  void *arg) {
  vonk_log_set_sink(level, sink, arg);
}
