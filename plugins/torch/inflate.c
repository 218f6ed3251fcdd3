/* Unpacking deflate, for the program text of TorchScript files, and the sums of a zip's
 * entries: zlib, with memory of the host.
 *
 * The caller knows how many bytes there will be: fewer or more are an error.
 */
#define ZLIB_CONST /* its input is const */
#include <limits.h>
#include <zlib.h>

#include "zip.h"

static voidpf allocate(voidpf opaque, uInt count, uInt size) {
  (void)opaque;
  return vonk_kit_alloc((size_t)count * size);
}

static void release(voidpf opaque, voidpf block) {
  (void)opaque;
  vonk_kit_free(block);
}

vonk_status vonk_torch_inflate(kit_slice packed, uint8_t *out, size_t size) {
  static Bytef nothing;
  if (packed.size > UINT_MAX || size > UINT_MAX) {
    return VONK_MODEL;
  }
  z_stream stream = {
      .zalloc = allocate,
      .zfree = release,
      .next_in = packed.data,
      .avail_in = (uInt)packed.size,
      .next_out = size == 0 ? &nothing : out,
      .avail_out = (uInt)size,
  };
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) { /* negative: no header of zlib's own */
    return VONK_NOMEM;
  }
  int result = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (result == Z_MEM_ERROR) {
    return VONK_NOMEM;
  }
  return result == Z_STREAM_END && stream.avail_out == 0 ? VONK_OK : VONK_MODEL;
}

uint32_t vonk_torch_crc32(kit_slice bytes) {
  return (uint32_t)crc32_z(0, bytes.data, bytes.size);
}
