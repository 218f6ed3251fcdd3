/* The element types as the mock knows them: names, sizes, and elements as doubles. */
#ifndef VONK_MOCK_DTYPES_H
#define VONK_MOCK_DTYPES_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "vonk/plugin.h"

/* --- the table of dtypes ------------------------------------------------------------ */

typedef struct mock_dtype {
  const char *name;
  size_t size; /* 0: VONK_BYTES */
  bool is_float;
} mock_dtype;
static const mock_dtype mock_dtypes[] = {
    {"", 0, false},    {"f16", 2, true},   {"bf16", 2, true},    {"f32", 4, true},
    {"f64", 8, true},  {"i8", 1, false},   {"i16", 2, false},    {"i32", 4, false},
    {"i64", 8, false}, {"u8", 1, false},   {"u16", 2, false},    {"u32", 4, false},
    {"u64", 8, false}, {"bool", 1, false}, {"string", 0, false},
};
enum { MOCK_N_DTYPES = sizeof(mock_dtypes) / sizeof(mock_dtypes[0]) };

static double mock_from_half(uint16_t bits) {
  int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  double value = exponent == 0    ? ldexp(fraction, -24)
                 : exponent == 31 ? (fraction == 0 ? HUGE_VAL : nan(""))
                                  : ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

/* To the nearest, ties to even; only for values a half can come near. */
static uint16_t mock_to_half(double value) {
  uint16_t sign = signbit(value) ? 0x8000 : 0;
  double magnitude = fabs(value);
  if (isnan(value)) {
    return 0x7E00;
  }
  if (magnitude >= 65520.0) {
    return sign | 0x7C00;
  }
  int exponent = 0;
  (void)frexp(magnitude, &exponent);
  int scale = exponent - 11 < -24 ? -24 : exponent - 11;
  int units = (int)nearbyint(ldexp(magnitude, -scale));
  if (units >= 2048) {
    units /= 2;
    scale++;
  }
  return (uint16_t)(sign |
                    (units < 1024 ? units : ((scale + 25) << 10) + (units - 1024)));
}

static double mock_get(const void *data, vonk_dtype dtype, size_t i) {
#define MOCK_GET(code, type)                                             \
  case code: {                                                           \
    type value;                                                          \
    memcpy(&value, (const char *)data + i * sizeof(type), sizeof(type)); \
    return (double)value;                                                \
  }
  switch (dtype) {
    MOCK_GET(VONK_F32, float)
    MOCK_GET(VONK_F64, double)
    MOCK_GET(VONK_I8, int8_t)
    MOCK_GET(VONK_I16, int16_t)
    MOCK_GET(VONK_I32, int32_t)
    MOCK_GET(VONK_I64, int64_t)
    MOCK_GET(VONK_U8, uint8_t)
    MOCK_GET(VONK_U16, uint16_t)
    MOCK_GET(VONK_U32, uint32_t)
    MOCK_GET(VONK_U64, uint64_t)
    MOCK_GET(VONK_BOOL8, uint8_t)
    default: {
      uint16_t half;
      memcpy(&half, (const char *)data + i * 2, 2);
      uint32_t wide = (uint32_t)half << 16;
      float value;
      memcpy(&value, &wide, sizeof(value));
      return dtype == VONK_BF16 ? (double)value : mock_from_half(half);
    }
  }
#undef MOCK_GET
}

static void mock_set(void *data, vonk_dtype dtype, size_t i, double number) {
#define MOCK_SET(code, type)                                       \
  case code: {                                                     \
    type value = (type)number;                                     \
    memcpy((char *)data + i * sizeof(type), &value, sizeof(type)); \
    return;                                                        \
  }
  switch (dtype) {
    MOCK_SET(VONK_F32, float)
    MOCK_SET(VONK_F64, double)
    MOCK_SET(VONK_I8, int8_t)
    MOCK_SET(VONK_I16, int16_t)
    MOCK_SET(VONK_I32, int32_t)
    MOCK_SET(VONK_I64, int64_t)
    MOCK_SET(VONK_U8, uint8_t)
    MOCK_SET(VONK_U16, uint16_t)
    MOCK_SET(VONK_U32, uint32_t)
    MOCK_SET(VONK_U64, uint64_t)
    case VONK_BOOL8: {
      ((uint8_t *)data)[i] = number != 0.0;
      return;
    }
    default: {
      float value = (float)number;
      uint32_t wide;
      memcpy(&wide, &value, sizeof(wide));
      uint16_t half = dtype == VONK_BF16 ? (uint16_t)(wide >> 16) : mock_to_half(number);
      memcpy((char *)data + i * 2, &half, 2);
    }
  }
#undef MOCK_SET
}

#endif /* VONK_MOCK_DTYPES_H */
