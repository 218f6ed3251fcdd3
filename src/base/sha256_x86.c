/* SHA-256 by the instructions that x86-64 processors have for it since about 2017.
 *
 * How it works: sha256rnds2 does two rounds at a time on a state that is spread over two
 * registers, {a, b, e, f} and {c, d, g, h}, so the two change places after each. Four
 * registers hold the last 16 words of the message; sha256msg1 and sha256msg2 make the next
 * four of them: w[t] = s1(w[t-2]) + w[t-7] + s0(w[t-15]) + w[t-16]. Only the functions
 * here are compiled for such processors, and has_fast is asked before they are called. */
#include "base/sha256.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define FOR_SHA __attribute__((target("sha,sse4.1")))

bool vonk_sha256_has_fast(void) {
  enum { SSSE3 = 1 << 9, SSE41 = 1 << 19, SHA = 1 << 29 };
  unsigned a, b, c, d, extended_b;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & SSSE3) == 0 || (c & SSE41) == 0) {
    return false;
  }
  return __get_cpuid_count(7, 0, &a, &extended_b, &c, &d) != 0 && (extended_b & SHA) != 0;
}

typedef struct halves {
  __m128i abef, cdgh;
} halves;

/* Four rounds with four words of the message. */
FOR_SHA static inline void rounds(halves *s, __m128i words, const uint32_t *constants) {
  const __m128i k = _mm_loadu_si128((const __m128i *)(const void *)constants);
  const __m128i sum = _mm_add_epi32(words, k);
  s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, sum);
  s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

/* The four words after w[0] to w[3], in the place of the oldest. */
FOR_SHA static inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
  const __m128i seven_ago = _mm_alignr_epi8(w3, w2, 4);
  return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), seven_ago), w3);
}

FOR_SHA static inline __m128i load_words(const uint8_t *block) {
  const __m128i big_endian =
      _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)block),
                          big_endian);
}

FOR_SHA static void compress(halves *state, const uint8_t *block) {
  halves s = *state;
  __m128i w0 = load_words(block), w1 = load_words(block + 16);
  __m128i w2 = load_words(block + 32), w3 = load_words(block + 48);
  const uint32_t *k = vonk_sha256_constants;
  for (int i = 0; i < 3; i++, k += 16) {
    rounds(&s, w0, k);
    w0 = next_words(w0, w1, w2, w3);
    rounds(&s, w1, k + 4);
    w1 = next_words(w1, w2, w3, w0);
    rounds(&s, w2, k + 8);
    w2 = next_words(w2, w3, w0, w1);
    rounds(&s, w3, k + 12);
    w3 = next_words(w3, w0, w1, w2);
  }
  rounds(&s, w0, k);
  rounds(&s, w1, k + 4);
  rounds(&s, w2, k + 8);
  rounds(&s, w3, k + 12);
  state->abef = _mm_add_epi32(state->abef, s.abef);
  state->cdgh = _mm_add_epi32(state->cdgh, s.cdgh);
}

FOR_SHA void vonk_sha256_fast(uint32_t state[8], const uint8_t *blocks, size_t n) {
  /* Lanes are named from the lowest: {a, b, c, d} becomes {b, a, d, c}, and so on. */
  __m128i *memory = (__m128i *)(void *)state;
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(memory), 0xB1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(memory + 1), 0x1B);
  halves s = {.abef = _mm_alignr_epi8(badc, hgfe, 8),
              .cdgh = _mm_blend_epi16(hgfe, badc, 0xF0)};
  for (size_t i = 0; i < n; i++) {
    compress(&s, blocks + i * 64);
  }
  const __m128i abef = _mm_shuffle_epi32(s.abef, 0x1B); /* {a, b, e, f} */
  const __m128i ghcd = _mm_shuffle_epi32(s.cdgh, 0xB1); /* {g, h, c, d} */
  _mm_storeu_si128(memory, _mm_blend_epi16(abef, ghcd, 0xF0));
  _mm_storeu_si128(memory + 1, _mm_alignr_epi8(ghcd, abef, 8));
}

#else

bool vonk_sha256_has_fast(void) { return false; }

void vonk_sha256_fast(uint32_t state[8], const uint8_t *blocks, size_t n) {
  (void)state; /* is never called */
  (void)blocks;
  (void)n;
}

#endif
