/* How it works: Arrow keeps booleans and validity as bits, least significant first, from
 * any bit offset on. Each function walks the odd bits up to a byte border one by one,
 * then whole bytes (or 64 bits), then the odd rest. */
#include <string.h>

#include "arrow/arrow.h"

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

void vonk_bits_unpack(const uint8_t *bits, size_t offset, size_t n, uint8_t *bytes) {
  size_t i = 0;
  for (const size_t head = min_size(n, (8 - (offset & 7u)) & 7u); i < head; i++) {
    bytes[i] = vonk_bit_get(bits, offset + i);
  }
  for (; n - i >= 8; i += 8) {
    const uint8_t byte = bits[(offset + i) >> 3];
    for (size_t k = 0; k < 8; k++) bytes[i + k] = (uint8_t)((byte >> k) & 1u);
  }
  for (; i < n; i++) bytes[i] = vonk_bit_get(bits, offset + i);
}

void vonk_bits_pack(const uint8_t *bytes, size_t n, uint8_t *bits) {
  for (size_t i = 0; i < n; i += 8) {
    unsigned byte = 0;
    for (size_t k = 0; k < 8 && i + k < n; k++)
      byte |= (bytes[i + k] != 0 ? 1u : 0u) << k;
    bits[i >> 3] = (uint8_t)byte;
  }
}

/* Sums pairs, nibbles and bytes of bits in parallel; the multiplication adds the eight
 * bytes. */
static size_t count_word(uint64_t word) {
  word -= (word >> 1) & UINT64_C(0x5555555555555555);
  word = (word & UINT64_C(0x3333333333333333)) +
         ((word >> 2) & UINT64_C(0x3333333333333333));
  word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
  return (size_t)((word * UINT64_C(0x0101010101010101)) >> 56);
}

size_t vonk_bits_count(const uint8_t *bits, size_t offset, size_t n) {
  size_t i = 0;
  size_t count = 0;
  for (const size_t head = min_size(n, (8 - (offset & 7u)) & 7u); i < head; i++) {
    count += vonk_bit_get(bits, offset + i);
  }
  for (; n - i >= 64; i += 64) {
    uint64_t word;
    memcpy(&word, bits + ((offset + i) >> 3), sizeof word);
    count += count_word(word);
  }
  for (; i < n; i++) count += vonk_bit_get(bits, offset + i);
  return count;
}
