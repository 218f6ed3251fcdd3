/* Decimals as floats, each rounded once.
 *
 * How it works. A decimal is a whole number of up to 128 bits over a power of ten. Below
 * 2^53 and 10^22 both are exact as doubles, and one division rounds once; any other is
 * written as digits with an exponent, which strtod rounds correctly (no decimal point is
 * written, so the locale does not matter). Narrower floats come from the double. Rounding
 * twice goes wrong only where the first result is a tie of the second, or is subnormal
 * there: then the decimal is compared with the double in whole numbers, and the double
 * moved to the odd neighbour on the decimal's side, which the second rounding treats as
 * the decimal itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"

/* --- whole numbers of up to 512 bits --- */

enum { N_LIMBS = 16 };

/* Least significant first. What is computed below fits: see compare. */
typedef struct whole {
  uint32_t limbs[N_LIMBS];
} whole;

static void multiply(whole *x, uint32_t factor) {
  uint64_t carry = 0;
  for (size_t i = 0; i < N_LIMBS; i++) {
    carry += (uint64_t)x->limbs[i] * factor;
    x->limbs[i] = (uint32_t)carry;
    carry >>= 32;
  }
}

static void multiply_power(whole *x, uint32_t factor, int32_t exponent) {
  for (int32_t i = 0; i < exponent; i++) multiply(x, factor);
}

/* Divides in place; returns the rest. */
static uint32_t divide(whole *x, uint32_t divisor) {
  uint64_t rest = 0;
  for (size_t i = N_LIMBS; i-- > 0;) {
    rest = rest << 32 | x->limbs[i];
    x->limbs[i] = (uint32_t)(rest / divisor);
    rest %= divisor;
  }
  return (uint32_t)rest;
}

static int compare_whole(const whole *a, const whole *b) {
  for (size_t i = N_LIMBS; i-- > 0;) {
    if (a->limbs[i] != b->limbs[i]) return a->limbs[i] < b->limbs[i] ? -1 : 1;
  }
  return 0;
}

static whole whole_of(uint64_t high, uint64_t low) {
  return (whole){
      {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)}};
}

/* --- one decimal --- */

/* magnitude * 10^-scale */
typedef struct decimal {
  uint64_t high, low; /* magnitude */
  bool is_negative;
  int32_t scale;
} decimal;

static decimal read_decimal(const uint8_t *source, int32_t scale) {
  decimal x = {.scale = scale};
  memcpy(&x.low, source, sizeof x.low);
  memcpy(&x.high, source + sizeof x.low, sizeof x.high);
  x.is_negative = x.high >> 63 != 0;
  if (x.is_negative) {
    x.low = ~x.low + 1;
    x.high = ~x.high + (x.low == 0);
  }
  return x;
}

/* Of the magnitude. */
static double nearest_by_text(const decimal *x) {
  enum { DIGITS = 9, PARTS = 5, BILLION = 1000000000 };
  char text[DIGITS * PARTS + 16];
  uint32_t parts[PARTS];
  size_t size = 0;
  whole rest = whole_of(x->high, x->low);
  for (size_t i = PARTS; i-- > 0;) parts[i] = divide(&rest, BILLION);
  for (size_t i = 0; i < PARTS; i++)
    size += (size_t)snprintf(text + size, sizeof text - size, "%09lu",
                             (unsigned long)parts[i]);
  (void)snprintf(text + size, sizeof text - size, "E%lld", -(long long)x->scale);
  const int before = errno; /* strtod says there what becomes 0 or infinite */
  const double value = strtod(text, NULL);
  errno = before;
  return value;
}

/* Of the magnitude. */
static double nearest(const decimal *x) {
  static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  enum { MOST = sizeof tens / sizeof tens[0] - 1 };
  if (x->high == 0 && x->low <= UINT64_C(1) << 53 && x->scale >= -MOST &&
      x->scale <= MOST) {
    const double whole_number = (double)x->low;
    return x->scale >= 0 ? whole_number / tens[x->scale] : whole_number * tens[-x->scale];
  }
  return nearest_by_text(x);
}

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* The sign of x - value, for value in [2^-200, 2^200] next to x. Both sides are multiplied
 * to whole numbers: by at most 2^252 and 10^98, which makes them less than 2^460. */
static int compare(const decimal *x, double value) {
  const uint64_t bits = bits_of(value);
  const int32_t exponent = (int32_t)(bits >> 52) - 1075;
  const uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
  whole left = whole_of(x->high, x->low), right = whole_of(0, mantissa);
  multiply_power(&left, 10, -x->scale);
  multiply_power(&left, 2, -exponent);
  multiply_power(&right, 10, x->scale);
  multiply_power(&right, 2, exponent);
  return compare_whole(&left, &right);
}

/* A float narrower than a double: where the double may be a tie of it. */
typedef struct narrow {
  vonk_dtype dtype;
  uint64_t dropped; /* the mantissa's bits that it lacks */
  double normal;    /* from here on it has all its own */
} narrow;

static bool may_be_tie(const narrow *to, double value) {
  if (value < 0x1p-200 || value > 0x1p200) return false; /* becomes 0 or infinite */
  return value < to->normal || (bits_of(value) & to->dropped) == (to->dropped >> 1) + 1;
}

/* What rounds to `to` as the decimal would. */
static double odd_neighbour(const decimal *x, double value) {
  const int side = compare(x, value);
  uint64_t bits = bits_of(value);
  if (side == 0) return value;
  bits = (side < 0 ? bits - 1 : bits) | 1;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void vonk_decimal_convert(const void *source, int32_t scale, vonk_dtype to, void *target,
                          size_t n) {
  enum { CHUNK = 64, SIZE = 16 };
  static const narrow narrows[] = {
      {VONK_F32, (UINT64_C(1) << 29) - 1, 0x1p-125},
      {VONK_F16, (UINT64_C(1) << 42) - 1, 0x1p-13},
      {VONK_BF16, (UINT64_C(1) << 45) - 1, 0x1p-125},
  };
  const narrow *narrower = NULL;
  for (size_t i = 0; i < sizeof narrows / sizeof narrows[0]; i++) {
    if (narrows[i].dtype == to) narrower = &narrows[i];
  }
  double values[CHUNK];
  uint8_t *out = target;
  for (size_t done = 0; done < n; done += CHUNK) {
    const size_t now = n - done < CHUNK ? n - done : CHUNK;
    for (size_t i = 0; i < now; i++) {
      const decimal x = read_decimal((const uint8_t *)source + (done + i) * SIZE, scale);
      double value = nearest(&x);
      if (narrower != NULL && may_be_tie(narrower, value))
        value = odd_neighbour(&x, value);
      values[i] = x.is_negative ? -value : value;
    }
    vonk_dtype_convert(VONK_F64, values, to, out + done * vonk_dtype_find(to)->size, now);
  }
}
