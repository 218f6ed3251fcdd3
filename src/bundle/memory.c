/* Memory that goes with a bundle.
 *
 * How it works: small pieces are cut from blocks, large ones get a block of their own;
 * all of them are freed at once, when the bundle is. A manifest has hundreds of small
 * pieces and never gives one back. */
#define _POSIX_C_SOURCE 200809L
#include <stdalign.h>
#include <string.h>

#include "bundle/internal.h"

enum { BLOCK = 8192, LARGE = 2048 };

struct bundle_block {
  bundle_block *next;
  size_t used, size;
  alignas(max_align_t) uint8_t bytes[];
};

static vonk_status add_block(vonk_bundle *bundle, size_t size, bundle_block **out,
                             vonk_error *err) {
  bundle_block *block;
  size_t nbytes;
  VONK_TRY(vonk_size_add(size, sizeof *block, &nbytes, err));
  VONK_TRY(vonk_new(1, nbytes, &block, err));
  block->size = size;
  bundle_block *first = bundle->blocks;
  if (size > BLOCK && first != NULL) { /* the first one stays the one to cut from */
    block->next = first->next;
    first->next = block;
  } else {
    block->next = first;
    bundle->blocks = block;
  }
  *out = block;
  return VONK_OK;
}

vonk_status vonk_bundle_new(vonk_bundle *bundle, size_t count, size_t size,
                            void *out_pointer, vonk_error *err) {
  const size_t align = alignof(max_align_t);
  size_t nbytes;
  void *pointer = NULL;
  VONK_TRY(vonk_size_mul(count, size, &nbytes, err));
  VONK_TRY(vonk_size_add(nbytes, align - 1, &nbytes, err));
  nbytes = nbytes / align * align;
  if (nbytes > 0) {
    bundle_block *block = bundle->blocks;
    if (block == NULL || block->size - block->used < nbytes) {
      VONK_TRY(add_block(bundle, nbytes > LARGE ? nbytes : BLOCK, &block, err));
    }
    pointer = block->bytes + block->used;
    block->used += nbytes;
  }
  memcpy(out_pointer, &pointer, sizeof pointer);
  return VONK_OK;
}

vonk_status vonk_bundle_text(vonk_bundle *bundle, const char *text, size_t n,
                             const char **out, vonk_error *err) {
  char *copy;
  size_t length = strnlen(text, n);
  VONK_TRY(vonk_bundle_new(bundle, length + 1, 1, &copy, err));
  memcpy(copy, text, length);
  *out = copy;
  return VONK_OK;
}

void vonk_bundle_free_blocks(vonk_bundle *bundle) {
  while (bundle->blocks != NULL) {
    bundle_block *next = bundle->blocks->next;
    vonk_delete(bundle->blocks);
    bundle->blocks = next;
  }
}
