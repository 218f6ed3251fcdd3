/* Protobuf's encoding, as far as a reader needs it.
 *
 * A field is a key (its number and how it is encoded) and a value: a variable-length
 * number, 4 or 8 bytes, or a length and that many bytes. Groups, an old form that no
 * model format uses, are refused. Nothing is copied; a slice never leaves the one it came
 * from.
 */
#include <string.h>

#include "kit/kit.h"

bool vonk_kit_wire_number(kit_slice *rest, uint64_t *out) {
  uint64_t value = 0;
  for (unsigned i = 0; i < 10 && i < rest->size; ++i) {
    uint8_t byte = rest->data[i];
    if (i == 9 && byte > 1) {
      return false; /* more than 64 bits */
    }
    value |= (uint64_t)(byte & 0x7fu) << (7 * i);
    if (byte < 0x80) {
      rest->data += i + 1;
      rest->size -= i + 1;
      *out = value;
      return true;
    }
  }
  return false;
}

static bool take(kit_slice *rest, uint64_t nbytes, kit_slice *out) {
  if (nbytes > rest->size) {
    return false;
  }
  out->data = rest->data;
  out->size = (size_t)nbytes;
  rest->data += nbytes;
  rest->size -= (size_t)nbytes;
  return true;
}

int vonk_kit_wire_next(kit_slice *rest, kit_field *out) {
  if (rest->size == 0) {
    return 0;
  }
  uint64_t key, length;
  *out = (kit_field){0};
  if (!vonk_kit_wire_number(rest, &key) || key > UINT32_MAX || key >> 3 == 0) {
    return -1;
  }
  out->number = (uint32_t)(key >> 3);
  out->wire = (int32_t)(key & 7);
  kit_slice fixed = {0};
  switch (out->wire) {
    case KIT_WIRE_VARINT:
      return vonk_kit_wire_number(rest, &out->value) ? 1 : -1;
    case KIT_WIRE_BYTES:
      return vonk_kit_wire_number(rest, &length) && take(rest, length, &out->bytes) ? 1
                                                                                    : -1;
    case KIT_WIRE_4_BYTES:
    case KIT_WIRE_8_BYTES:
      if (!take(rest, out->wire == KIT_WIRE_8_BYTES ? 8 : 4, &fixed)) {
        return -1;
      }
      for (size_t i = fixed.size; i-- > 0;) {
        out->value = (out->value << 8) | fixed.data[i];
      }
      return 1;
    default:
      return -1;
  }
}
