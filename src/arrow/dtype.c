/* How it works: one row per dtype says what the dtype is; which conversions are safe
 * follows from its columns, never from a list of pairs. The loops are made by macros, one
 * per pair that is allowed (PAIRS), because only a loop over two fixed types is
 * vectorised by the compiler. A pair that is allowed but has no loop fails the unit test.
 *
 * Half floats are integers to C17, so they go through float: float16 and bfloat16 widen
 * to it exactly, and every source of a half but double does too. A double is first
 * rounded to odd (cut off, the lowest bit set if anything was lost): rounding that to
 * nearest even gives what rounding the double once would, which rounding to nearest twice
 * does not. Whole numbers go to halves through float, as SQL would bring them there. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "arrow/arrow.h"

static const vonk_dtype_info dtypes[] = {
    {VONK_F16, "float16", "FLOAT", "e", 2, 'f', 11},
    {VONK_BF16, "bfloat16", "FLOAT", NULL, 2, 'f', 8},
    {VONK_F32, "float32", "FLOAT", "f", 4, 'f', 24},
    {VONK_F64, "float64", "DOUBLE", "g", 8, 'f', 53},
    {VONK_I8, "int8", "TINYINT", "c", 1, 'i', 7},
    {VONK_I16, "int16", "SMALLINT", "s", 2, 'i', 15},
    {VONK_I32, "int32", "INTEGER", "i", 4, 'i', 31},
    {VONK_I64, "int64", "BIGINT", "l", 8, 'i', 63},
    {VONK_U8, "uint8", "UTINYINT", "C", 1, 'u', 8},
    {VONK_U16, "uint16", "USMALLINT", "S", 2, 'u', 16},
    {VONK_U32, "uint32", "UINTEGER", "I", 4, 'u', 32},
    {VONK_U64, "uint64", "UBIGINT", "L", 8, 'u', 64},
    {VONK_BOOL8, "bool", "BOOLEAN", "b", 1, 'b', 1},
    {VONK_BYTES, "string", "VARCHAR", "u", 0, 's', 0},
};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0], DTYPE_END = VONK_BYTES + 1 };

const vonk_dtype_info *vonk_dtype_find(vonk_dtype dtype) {
  if (dtype < VONK_F16 || dtype >= DTYPE_END) return NULL;
  const vonk_dtype_info *info = &dtypes[dtype - VONK_F16];
  assert(info->dtype == dtype);
  return info;
}

const vonk_dtype_info *vonk_dtype_of_format(const char *format) {
  for (size_t i = 0; i < N_DTYPES; i++) {
    if (dtypes[i].format != NULL && strcmp(dtypes[i].format, format) == 0)
      return &dtypes[i];
  }
  return NULL;
}

vonk_conversion vonk_dtype_conversion(vonk_dtype from, vonk_dtype to) {
  const vonk_dtype_info *a = vonk_dtype_find(from);
  const vonk_dtype_info *b = vonk_dtype_find(to);
  if (a == NULL || b == NULL) return VONK_CONVERT_REFUSED;
  if (a == b) return VONK_CONVERT_EXACT;
  if (a->kind == 's' || b->kind == 's' || b->kind == 'b') return VONK_CONVERT_REFUSED;
  if (a->kind == 'f' && b->kind == 'f')
    return b->size > a->size ? VONK_CONVERT_WIDEN : VONK_CONVERT_NARROW;
  if (a->kind == 'f' || (a->kind == 'i' && b->kind == 'u')) return VONK_CONVERT_REFUSED;
  return b->exact_bits >= a->exact_bits ? VONK_CONVERT_WIDEN : VONK_CONVERT_REFUSED;
}

/* --- half floats --- */

static inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* yes or no, without a branch: that lets the loops that widen halves be vectorised. */
static inline uint32_t choose(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - (uint32_t)condition;
  return (yes & mask) | (no & ~mask);
}

/* 15 and 127 are the exponent biases; 13 the digits that float has more. A subnormal half
 * is a count of 2^-24. */
static inline float float_of_f16(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + ((127u - 15u) << 23);
  const uint32_t infinite = (magnitude << 13) | 0x7f800000u;
  const uint32_t subnormal = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
  const uint32_t finite = choose(magnitude >= 0x0400u, normal, subnormal);
  const uint32_t bits = choose(magnitude >= 0x7c00u, infinite, finite);
  return float_of_bits(bits | sign);
}

static inline float float_of_bf16(uint16_t half) {
  return float_of_bits((uint32_t)half << 16);
}

/* The addition to 0.5, whose last digit is 2^-24, rounds a subnormal result as the
 * hardware rounds. */
static inline uint16_t f16_of_float(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t rounded = magnitude + 0x0fffu + ((magnitude >> 13) & 1u);
  const uint32_t normal = (rounded - ((127u - 15u) << 23)) >> 13;
  const uint32_t subnormal = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x03ffu);
  const uint32_t half = magnitude > 0x7f800000u    ? nan
                        : magnitude >= 0x47800000u ? 0x7c00u
                        : magnitude >= 0x38800000u ? normal
                                                   : subnormal;
  return (uint16_t)(half | sign);
}

static inline uint16_t bf16_of_float(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x0040u;
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

static inline float odd_float_of_double(double value) {
  const float nearest = (float)value;
  const double back = (double)nearest;
  if (back == value || isnan(value)) return nearest;
  const uint32_t bits = bits_of_float(nearest) - (fabs(back) > fabs(value) ? 1u : 0u);
  return float_of_bits(bits | 1u);
}
static inline uint16_t f16_of_double(double value) {
  return f16_of_float(odd_float_of_double(value));
}
static inline uint16_t bf16_of_double(double value) {
  return bf16_of_float(odd_float_of_double(value));
}

/* --- one loop per allowed pair --- */

typedef void (*convert_loop)(const uint8_t *restrict source, uint8_t *restrict target,
                             size_t n);

/* How a dtype lies in memory, */
#define STORED_F16 uint16_t
#define STORED_BF16 uint16_t
#define STORED_F32 float
#define STORED_F64 double
#define STORED_I8 int8_t
#define STORED_I16 int16_t
#define STORED_I32 int32_t
#define STORED_I64 int64_t
#define STORED_U8 uint8_t
#define STORED_U16 uint16_t
#define STORED_U32 uint32_t
#define STORED_U64 uint64_t
#define STORED_BOOL8 uint8_t
/* the number that a stored element is, */
#define NUMBER_F16(x) float_of_f16(x)
#define NUMBER_BF16(x) float_of_bf16(x)
#define NUMBER_F32(x) (x)
#define NUMBER_F64(x) (x)
#define NUMBER_I8(x) (x)
#define NUMBER_I16(x) (x)
#define NUMBER_I32(x) (x)
#define NUMBER_I64(x) (x)
#define NUMBER_U8(x) (x)
#define NUMBER_U16(x) (x)
#define NUMBER_U32(x) (x)
#define NUMBER_U64(x) (x)
#define NUMBER_BOOL8(x) ((x) != 0)
/* and how a number is stored. */
#define STORE_F16(x) \
  _Generic((x), double: f16_of_double((double)(x)), default: f16_of_float((float)(x)))
#define STORE_BF16(x) \
  _Generic((x), double: bf16_of_double((double)(x)), default: bf16_of_float((float)(x)))
#define STORE_F32(x) (float)(x)
#define STORE_F64(x) (double)(x)
#define STORE_I8(x) (int8_t)(x)
#define STORE_I16(x) (int16_t)(x)
#define STORE_I32(x) (int32_t)(x)
#define STORE_I64(x) (int64_t)(x)
#define STORE_U8(x) (uint8_t)(x)
#define STORE_U16(x) (uint16_t)(x)
#define STORE_U32(x) (uint32_t)(x)
#define STORE_U64(x) (uint64_t)(x)

/* clang-format off */
#define PAIRS(X)                                                            \
  X(F16, BF16) X(F16, F32) X(F16, F64)                                      \
  X(BF16, F16) X(BF16, F32) X(BF16, F64)                                    \
  X(F32, F16) X(F32, BF16) X(F32, F64)                                      \
  X(F64, F16) X(F64, BF16) X(F64, F32)                                      \
  X(I8, F16) X(I8, BF16) X(I8, F32) X(I8, F64)                              \
  X(I8, I16) X(I8, I32) X(I8, I64)                                          \
  X(I16, F32) X(I16, F64) X(I16, I32) X(I16, I64)                           \
  X(I32, F64) X(I32, I64)                                                   \
  X(U8, F16) X(U8, BF16) X(U8, F32) X(U8, F64)                              \
  X(U8, I16) X(U8, I32) X(U8, I64) X(U8, U16) X(U8, U32) X(U8, U64)         \
  X(U16, F32) X(U16, F64) X(U16, I32) X(U16, I64) X(U16, U32) X(U16, U64)   \
  X(U32, F64) X(U32, I64) X(U32, U64)                                       \
  X(BOOL8, F16) X(BOOL8, BF16) X(BOOL8, F32) X(BOOL8, F64)                  \
  X(BOOL8, I8) X(BOOL8, I16) X(BOOL8, I32) X(BOOL8, I64)                    \
  X(BOOL8, U8) X(BOOL8, U16) X(BOOL8, U32) X(BOOL8, U64)                    \
  X(I16, F16) X(I16, BF16) X(U16, F16) X(U16, BF16)                         \
  X(I32, F16) X(I32, BF16) X(I32, F32) X(U32, F16) X(U32, BF16) X(U32, F32) \
  X(I64, F16) X(I64, BF16) X(I64, F32) X(I64, F64)                          \
  X(U64, F16) X(U64, BF16) X(U64, F32) X(U64, F64)                          \
  X(I8, U8) X(I8, U16) X(I8, U32) X(I8, U64)                                \
  X(I16, U8) X(I16, U16) X(I16, U32) X(I16, U64)                            \
  X(I32, U8) X(I32, U16) X(I32, U32) X(I32, U64)                            \
  X(I64, U8) X(I64, U16) X(I64, U32) X(I64, U64)                            \
  X(U64, I64)
/* clang-format on */

/* memcpy of one element is a plain load or store to the compiler, without a promise of
 * alignment. */
#define DEFINE_LOOP(FROM, TO)                                             \
  static void convert_##FROM##_##TO(const uint8_t *restrict source,       \
                                    uint8_t *restrict target, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                      \
      STORED_##FROM x;                                                    \
      memcpy(&x, source + i * sizeof x, sizeof x);                        \
      const STORED_##TO y = STORE_##TO(NUMBER_##FROM(x));                 \
      memcpy(target + i * sizeof y, &y, sizeof y);                        \
    }                                                                     \
  }
PAIRS(DEFINE_LOOP)

#define LOOP_ROW(FROM, TO) [VONK_##FROM][VONK_##TO] = convert_##FROM##_##TO,
static const convert_loop loops[DTYPE_END][DTYPE_END] = {PAIRS(LOOP_ROW)};

void vonk_dtype_convert(vonk_dtype from, const void *source, vonk_dtype to, void *target,
                        size_t n) {
  assert(from != VONK_BYTES && (from == to || loops[from][to] != NULL));
  if (n == 0) return;
  if (from == to) {
    memcpy(target, source, n * dtypes[from - VONK_F16].size);
  } else {
    loops[from][to](source, target, n);
  }
}

/* --- integers that do not fit --- */

/* A negative number becomes a huge one. First whether there is any, without an exit, so
 * that the loop vectorises. */
#define DEFINE_MISFIT(FROM)                                                     \
  static size_t misfit_##FROM(const uint8_t *source, uint64_t most, size_t n) { \
    unsigned any = 0;                                                           \
    STORED_##FROM x;                                                            \
    for (size_t i = 0; i < n; i++) {                                            \
      memcpy(&x, source + i * sizeof x, sizeof x);                              \
      any |= (uint64_t)x > most;                                                \
    }                                                                           \
    for (size_t i = 0; any != 0 && i < n; i++) {                                \
      memcpy(&x, source + i * sizeof x, sizeof x);                              \
      if ((uint64_t)x > most) return i;                                         \
    }                                                                           \
    return n;                                                                   \
  }
DEFINE_MISFIT(I8)
DEFINE_MISFIT(I16)
DEFINE_MISFIT(I32)
DEFINE_MISFIT(I64)
DEFINE_MISFIT(U64)

size_t vonk_dtype_misfit(vonk_dtype from, const void *source, vonk_dtype to, size_t n) {
  static size_t (*const finders[DTYPE_END])(const uint8_t *, uint64_t, size_t) = {
      [VONK_I8] = misfit_I8,   [VONK_I16] = misfit_I16, [VONK_I32] = misfit_I32,
      [VONK_I64] = misfit_I64, [VONK_U64] = misfit_U64,
  };
  const uint64_t most = UINT64_MAX >> (64 - dtypes[to - VONK_F16].exact_bits);
  assert(finders[from] != NULL);
  return finders[from](source, most < INT64_MAX ? most : INT64_MAX, n);
}

void vonk_dtype_print(vonk_dtype dtype, const void *value, vonk_text *out) {
  const vonk_dtype_info *info = &dtypes[dtype - VONK_F16];
  const vonk_dtype wide = info->kind == 'i' ? VONK_I64 : VONK_U64;
  uint64_t bits = 0;
  vonk_dtype_convert(dtype, value, wide, &bits, 1);
  if (info->kind == 'i') {
    vonk_text_add(out, "%" PRId64, (int64_t)bits);
  } else {
    vonk_text_add(out, "%" PRIu64, bits);
  }
}
