/* SHA-256, as FIPS 180-4 defines it; names as there.
 *
 * How it works: bytes are collected in blocks of 64; each block is spread to 64 words,
 * which are mixed into the state in 64 rounds. The end is marked by a 1 bit and the
 * length in bits, big-endian. Processors with instructions for it take those (sha256_x86.c),
 * which is six times as fast: a bundle of 500 MB is digested whenever it is opened. */
#include "base/sha256.h"

#include <stdatomic.h>
#include <string.h>

enum { BLOCK = 64, ROUNDS = 64 };

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const uint32_t vonk_sha256_constants[ROUNDS] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4,
    0xAB1C5ED5, 0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE,
    0x9BDC06A7, 0xC19BF174, 0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F,
    0x4A7484AA, 0x5CB0A9DC, 0x76F988DA, 0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7,
    0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967, 0x27B70A85, 0x2E1B2138, 0x4D2C6DFC,
    0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85, 0xA2BFE8A1, 0xA81A664B,
    0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070, 0x19A4C116,
    0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7,
    0xC67178F2};

static uint32_t rotate(uint32_t x, unsigned n) { return (x >> n) | (x << (32 - n)); }

static void expand(const uint8_t *block, uint32_t w[ROUNDS]) {
  for (size_t i = 0; i < 16; i++) {
    const uint8_t *p = block + 4 * i;
    w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  }
  for (size_t i = 16; i < ROUNDS; i++) {
    uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
    uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
}

static void compress(uint32_t state[8], const uint8_t *block) {
  uint32_t w[ROUNDS];
  expand(block, w);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (size_t i = 0; i < ROUNDS; i++) {
    uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    uint32_t choice = (e & f) ^ (~e & g);
    uint32_t t1 = h + s1 + choice + vonk_sha256_constants[i] + w[i];
    uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + s0 + majority;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

/* --- which of the two ---------------------------------------------------------------- */

enum { UNKNOWN, PORTABLE, FAST };
static _Atomic int chosen = UNKNOWN;

bool vonk_sha256_choose(bool portable) {
  bool is_fast = !portable && vonk_sha256_has_fast();
  atomic_store_explicit(&chosen, is_fast ? FAST : PORTABLE, memory_order_relaxed);
  return is_fast;
}

static void compress_blocks(uint32_t state[8], const uint8_t *blocks, size_t n) {
  int way = atomic_load_explicit(&chosen, memory_order_relaxed);
  if (way == FAST || (way == UNKNOWN && vonk_sha256_choose(false))) {
    vonk_sha256_fast(state, blocks, n);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    compress(state, blocks + i * BLOCK);
  }
}

/* --- the stream ---------------------------------------------------------------------- */

void vonk_sha256_start(vonk_sha256 *digest) {
  /* The same of the square roots of the first 8 primes. */
  static const uint32_t start[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  memcpy(digest->state, start, sizeof(start));
  digest->nbytes = 0;
}

void vonk_sha256_update(vonk_sha256 *digest, const void *bytes, size_t nbytes) {
  const uint8_t *p = bytes;
  while (nbytes > 0) {
    size_t used = (size_t)(digest->nbytes % BLOCK);
    size_t n = BLOCK - used < nbytes ? BLOCK - used : nbytes;
    if (n == BLOCK) {
      n = nbytes / BLOCK * BLOCK;
      compress_blocks(digest->state, p, n / BLOCK);
    } else {
      memcpy(digest->block + used, p, n);
      if (used + n == BLOCK) {
        compress_blocks(digest->state, digest->block, 1);
      }
    }
    digest->nbytes += n;
    p += n;
    nbytes -= n;
  }
}

void vonk_sha256_finish(vonk_sha256 *digest, char hex[65]) {
  static const uint8_t mark = 0x80, zero = 0;
  uint64_t nbits = digest->nbytes * 8;
  vonk_sha256_update(digest, &mark, 1);
  while (digest->nbytes % BLOCK != BLOCK - 8) {
    vonk_sha256_update(digest, &zero, 1);
  }
  uint8_t length[8];
  for (size_t i = 0; i < 8; i++) {
    length[i] = (uint8_t)(nbits >> (56 - 8 * i));
  }
  vonk_sha256_update(digest, length, sizeof(length));
  for (size_t i = 0; i < 64; i++) {
    hex[i] = "0123456789abcdef"[(digest->state[i / 8] >> (28 - 4 * (i % 8))) & 15];
  }
  hex[64] = '\0';
}
