/* Unpacking deflate (RFC 1951), for the program text of TorchScript files.
 *
 * The caller knows how many bytes there will be: everything beyond is an error, and so is
 * every code that is not complete, every distance that leads before the beginning. Codes
 * are read bit by bit with the canonical counts, which is slow and small; texts are small.
 */
#include <string.h>

#include "zip.h"

enum {
  MAX_BITS = 15,
  N_LENGTHS = 288,
  N_DISTANCES = 32,
  N_ORDER = 19,
  END_OF_BLOCK = 256
};

typedef struct stream {
  kit_slice in;
  size_t at;     /* the next byte */
  uint32_t bits; /* read but not used, the next one lowest */
  uint32_t n_bits;
  bool is_bad; /* the input ended */
  uint8_t *out;
  size_t used, size;
} stream;

/* A canonical Huffman code: how many codes there are of each length, and the symbols in
 * the order of their codes. */
typedef struct code {
  uint16_t counts[MAX_BITS + 1];
  uint16_t symbols[N_LENGTHS];
} code;

static uint32_t take_bits(stream *s, uint32_t n) {
  while (s->n_bits < n) {
    if (s->at == s->in.size) {
      s->is_bad = true;
      return 0;
    }
    s->bits |= (uint32_t)s->in.data[s->at++] << s->n_bits;
    s->n_bits += 8;
  }
  uint32_t value = s->bits & ((1u << n) - 1u);
  s->bits >>= n;
  s->n_bits -= n;
  return value;
}

/* false if the lengths are no code: more codes than there can be, or fewer, unless there
 * is but one. */
static bool make_code(const uint8_t *lengths, uint32_t n, code *out) {
  memset(out->counts, 0, sizeof out->counts);
  for (uint32_t i = 0; i < n; ++i) {
    ++out->counts[lengths[i]];
  }
  uint32_t n_used = n - out->counts[0];
  out->counts[0] = 0;
  int32_t left = 1;
  uint16_t offsets[MAX_BITS + 2] = {0};
  for (uint32_t i = 1; i <= MAX_BITS; ++i) {
    left = left * 2 - out->counts[i];
    if (left < 0) {
      return false;
    }
    offsets[i + 1] = (uint16_t)(offsets[i] + out->counts[i]);
  }
  for (uint32_t i = 0; i < n; ++i) {
    if (lengths[i] != 0) {
      out->symbols[offsets[lengths[i]]++] = (uint16_t)i;
    }
  }
  return left == 0 || n_used <= 1;
}

/* The next symbol, or UINT32_MAX. */
static uint32_t take_symbol(stream *s, const code *from) {
  uint32_t value = 0, first = 0, index = 0;
  for (uint32_t length = 1; length <= MAX_BITS && !s->is_bad; ++length) {
    value |= take_bits(s, 1);
    uint32_t count = from->counts[length];
    if (value - first < count) {
      return from->symbols[index + value - first];
    }
    index += count;
    first = (first + count) << 1;
    value <<= 1;
  }
  return UINT32_MAX;
}

static bool copy_stored(stream *s) {
  s->bits = 0;
  s->n_bits = 0;
  if (s->in.size - s->at < 4) {
    return false;
  }
  const uint8_t *head = s->in.data + s->at;
  size_t n = (size_t)head[0] | (size_t)head[1] << 8;
  size_t inverse = (size_t)head[2] | (size_t)head[3] << 8;
  s->at += 4;
  if ((n ^ inverse) != 0xffff || n > s->in.size - s->at || n > s->size - s->used) {
    return false;
  }
  memcpy(s->out + s->used, s->in.data + s->at, n);
  s->at += n;
  s->used += n;
  return true;
}

/* Repeats `length` bytes from `distance` bytes back, which may overlap. */
static bool repeat(stream *s, uint32_t length, uint32_t distance) {
  if (distance > s->used || length > s->size - s->used) {
    return false;
  }
  for (uint32_t i = 0; i < length; ++i, ++s->used) {
    s->out[s->used] = s->out[s->used - distance];
  }
  return true;
}

static bool copy_coded(stream *s, const code *lengths, const code *distances) {
  static const uint16_t length_base[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                         15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint8_t length_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                        2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static const uint16_t distance_base[] = {
      1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
      33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
      1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  for (;;) {
    uint32_t symbol = take_symbol(s, lengths);
    if (symbol == END_OF_BLOCK) {
      return true;
    }
    if (symbol < END_OF_BLOCK) {
      if (s->used == s->size) {
        return false;
      }
      s->out[s->used++] = (uint8_t)symbol;
      continue;
    }
    uint32_t i = symbol - END_OF_BLOCK - 1;
    if (symbol == UINT32_MAX || i >= sizeof length_base / sizeof length_base[0]) {
      return false;
    }
    uint32_t length = length_base[i] + take_bits(s, length_bits[i]);
    uint32_t j = take_symbol(s, distances);
    if (j >= sizeof distance_base / sizeof distance_base[0]) {
      return false;
    }
    uint32_t distance = distance_base[j] + take_bits(s, j < 4 ? 0 : j / 2 - 1);
    if (s->is_bad || !repeat(s, length, distance)) {
      return false;
    }
  }
}

/* Reads the code lengths of both codes, which are packed with a third one. */
static bool read_lengths(stream *s, uint8_t *lengths, uint32_t n, const code *packing) {
  for (uint32_t i = 0; i < n;) {
    uint32_t symbol = take_symbol(s, packing);
    if (symbol < 16) {
      lengths[i++] = (uint8_t)symbol;
      continue;
    }
    if (symbol > 18 || (symbol == 16 && i == 0)) {
      return false;
    }
    uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
    uint32_t count = symbol == 16   ? 3 + take_bits(s, 2)
                     : symbol == 17 ? 3 + take_bits(s, 3)
                                    : 11 + take_bits(s, 7);
    if (s->is_bad || count > n - i) {
      return false;
    }
    memset(lengths + i, value, count);
    i += count;
  }
  return true;
}

static bool copy_dynamic(stream *s) {
  static const uint8_t order[N_ORDER] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                         11, 4,  12, 3, 13, 2, 14, 1, 15};
  uint32_t n_lengths = 257 + take_bits(s, 5), n_distances = 1 + take_bits(s, 5);
  uint32_t n_order = 4 + take_bits(s, 4);
  uint8_t lengths[N_LENGTHS + N_DISTANCES] = {0};
  if (n_lengths > 286 || n_distances > 30) {
    return false;
  }
  for (uint32_t i = 0; i < n_order; ++i) {
    lengths[order[i]] = (uint8_t)take_bits(s, 3);
  }
  code first, second;
  if (s->is_bad || !make_code(lengths, N_ORDER, &first)) {
    return false;
  }
  memset(lengths, 0, sizeof lengths);
  if (!read_lengths(s, lengths, n_lengths + n_distances, &first) ||
      lengths[END_OF_BLOCK] == 0) {
    return false;
  }
  return make_code(lengths, n_lengths, &first) &&
         make_code(lengths + n_lengths, n_distances, &second) &&
         copy_coded(s, &first, &second);
}

static bool copy_fixed(stream *s) {
  uint8_t lengths[N_LENGTHS];
  memset(lengths, 8, 144);
  memset(lengths + 144, 9, 112);
  memset(lengths + 256, 7, 24);
  memset(lengths + 280, 8, 8);
  code first, second;
  if (!make_code(lengths, N_LENGTHS, &first)) {
    return false;
  }
  memset(lengths, 5, N_DISTANCES);
  return make_code(lengths, N_DISTANCES, &second) && copy_coded(s, &first, &second);
}

bool vonk_torch_inflate(kit_slice packed, uint8_t *out, size_t size) {
  stream s = {.in = packed, .out = out, .size = size};
  for (bool is_last = false; !is_last;) {
    is_last = take_bits(&s, 1) == 1;
    uint32_t kind = take_bits(&s, 2);
    bool is_good = kind == 0   ? copy_stored(&s)
                   : kind == 1 ? copy_fixed(&s)
                   : kind == 2 ? copy_dynamic(&s)
                               : false;
    if (s.is_bad || !is_good) {
      return false;
    }
  }
  return s.used == size;
}
