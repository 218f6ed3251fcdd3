/* Memory of the ONNX plug-in, all of it from the host.
 *
 * What belongs to one model (names, shapes, tables) hangs on that model's arena, so that
 * a failure half-way through opening has one thing to release.
 */
#include <string.h>

#include "onnx_plugin.h"

struct onnx_block {
  struct onnx_block *next;
  max_align_t payload[];
};

void *vonk_onnx_alloc(size_t nbytes) {
  const vonk_host *host = vonk_onnx_host();
  return host->alloc(host->ctx, nbytes, 0);
}

void vonk_onnx_free(void *pointer) {
  const vonk_host *host = vonk_onnx_host();
  host->free(host->ctx, pointer);
}

vonk_status vonk_onnx_fail_nomem(vonk_error *err, size_t nbytes) {
  return vonk_onnx_fail(err, VONK_NOMEM, "out of memory: %zu bytes were needed", nbytes);
}

vonk_status vonk_onnx_new(onnx_arena *arena, size_t count, size_t size, void *out_pointer,
                          vonk_error *err) {
  size_t nbytes;
  if (__builtin_mul_overflow(count, size, &nbytes) ||
      nbytes > SIZE_MAX - sizeof(struct onnx_block)) {
    return vonk_onnx_fail_nomem(err, SIZE_MAX);
  }
  struct onnx_block *block = vonk_onnx_alloc(sizeof *block + nbytes);
  if (block == NULL) {
    return vonk_onnx_fail_nomem(err, nbytes);
  }
  block->next = arena->blocks;
  arena->blocks = block;
  memset(block->payload, 0, nbytes);
  void *payload = block->payload;
  memcpy(out_pointer, &payload, sizeof payload);
  return VONK_OK;
}

vonk_status vonk_onnx_new_text(onnx_arena *arena, const char *bytes, size_t nbytes,
                               const char **out, vonk_error *err) {
  char *copy;
  if (nbytes == SIZE_MAX) {
    return vonk_onnx_fail_nomem(err, nbytes);
  }
  VONK_TRY(vonk_onnx_new(arena, nbytes + 1, 1, &copy, err));
  if (nbytes != 0) {
    memcpy(copy, bytes, nbytes);
  }
  vonk_onnx_clean_text(copy, nbytes);
  *out = copy;
  return VONK_OK;
}

void vonk_onnx_arena_release(onnx_arena *arena) {
  while (arena->blocks != NULL) {
    struct onnx_block *block = arena->blocks;
    arena->blocks = block->next;
    vonk_onnx_free(block);
  }
}
