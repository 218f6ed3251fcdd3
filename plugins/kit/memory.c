/* The host, and memory, all of which is the host's.
 *
 * What belongs to one model (names, shapes, tables) hangs on that model's arena, so that
 * a failure half-way through opening has one thing to release.
 */
#include <stdatomic.h>
#include <string.h>

#include "kit/kit.h"

struct kit_block {
  struct kit_block *next;
  max_align_t payload[];
};

static const vonk_host *_Atomic the_host;

const vonk_host *vonk_kit_host(void) { return atomic_load(&the_host); }

void vonk_kit_set_host(const vonk_host *host) {
  const vonk_host *none = NULL;
  atomic_compare_exchange_strong(&the_host, &none, host);
}

vonk_status vonk_kit_init(const vonk_host *host, const vonk_plugin_v1 *table,
                          vonk_plugin_v1 *plugin, vonk_error *err) {
  if (!VONK_HAS(host, watch_cancel) || !VONK_HAS(plugin, release_model)) {
    return vonk_kit_fail(
        err, VONK_ABI, "%s: the host is of an older interface: update vonk", table->name);
  }
  vonk_kit_set_host(host);
  uint32_t nbytes =
      plugin->struct_size < table->struct_size ? plugin->struct_size : table->struct_size;
  memcpy(plugin, table, nbytes);
  plugin->struct_size = nbytes;
  return VONK_OK;
}

void vonk_kit_give(void *out, uint32_t out_size, const void *ours, size_t our_size) {
  size_t nbytes = out_size != 0 && out_size < our_size ? out_size : our_size;
  memcpy((char *)out + sizeof(uint32_t), (const char *)ours + sizeof(uint32_t),
         nbytes - sizeof(uint32_t));
}

vonk_status vonk_kit_describe(const kit_tables *tables, int32_t is_output, uint32_t index,
                              vonk_io *out, vonk_error *err) {
  uint32_t count = is_output ? tables->info->n_outputs : tables->info->n_inputs;
  if (index >= count) {
    return vonk_kit_fail(err, VONK_INVALID, "'%s': has %u %s: there is no number %u",
                         tables->path, count, is_output ? "outputs" : "inputs", index);
  }
  const vonk_io *io = is_output ? &tables->outputs[index] : &tables->inputs[index];
  vonk_kit_give(out, out->struct_size, io, sizeof *io);
  return VONK_OK;
}

void *vonk_kit_alloc(size_t nbytes) { return vonk_kit_alloc_aligned(nbytes, 0); }

void *vonk_kit_alloc_aligned(size_t nbytes, size_t align) {
  const vonk_host *host = vonk_kit_host();
  return host->alloc(host->ctx, nbytes, align);
}

void vonk_kit_free(void *pointer) {
  const vonk_host *host = vonk_kit_host();
  host->free(host->ctx, pointer);
}

vonk_status vonk_kit_fail_nomem(vonk_error *err, size_t nbytes) {
  return vonk_kit_fail(err, VONK_NOMEM, "out of memory: %zu bytes were needed", nbytes);
}

vonk_status vonk_kit_new(kit_arena *arena, size_t count, size_t size, void *out_pointer,
                         vonk_error *err) {
  size_t nbytes;
  if (__builtin_mul_overflow(count, size, &nbytes) ||
      nbytes > SIZE_MAX - sizeof(struct kit_block)) {
    return vonk_kit_fail_nomem(err, SIZE_MAX);
  }
  struct kit_block *block = vonk_kit_alloc(sizeof *block + nbytes);
  if (block == NULL) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  block->next = arena->blocks;
  arena->blocks = block;
  memset(block->payload, 0, nbytes);
  void *payload = block->payload;
  memcpy(out_pointer, &payload, sizeof payload);
  return VONK_OK;
}

vonk_status vonk_kit_new_text(kit_arena *arena, const char *bytes, size_t nbytes,
                              const char **out, vonk_error *err) {
  char *copy;
  if (nbytes == SIZE_MAX) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  VONK_TRY(vonk_kit_new(arena, nbytes + 1, 1, &copy, err));
  if (nbytes != 0) {
    memcpy(copy, bytes, nbytes);
  }
  vonk_kit_clean_text(copy, nbytes);
  *out = copy;
  return VONK_OK;
}

void vonk_kit_arena_release(kit_arena *arena) {
  while (arena->blocks != NULL) {
    struct kit_block *block = arena->blocks;
    arena->blocks = block->next;
    vonk_kit_free(block);
  }
}
