/* The dtype table, which conversions are allowed, what they yield, and bits.
 *
 * References: integers and widened floats are compared as long double, which holds every
 * value of every dtype; narrowed floats with the nearest of all finite values of the
 * target, found by search (ties to the even one). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow_fixture.h"

enum { FIRST = VONK_F16, LAST = VONK_BYTES };

static void test_table_has_a_row_for_every_dtype(void **state) {
  (void)state;
  static const char *const expected[] = {
      "float16 e 2 f 11", "bfloat16 - 2 f 8", "float32 f 4 f 24", "float64 g 8 f 53",
      "int8 c 1 i 7",     "int16 s 2 i 15",   "int32 i 4 i 31",   "int64 l 8 i 63",
      "uint8 C 1 u 8",    "uint16 S 2 u 16",  "uint32 I 4 u 32",  "uint64 L 8 u 64",
      "bool b 1 b 1",     "string u 0 s 0"};
  for (vonk_dtype dtype = FIRST; dtype <= LAST; dtype++) {
    const vonk_dtype_info *info = vonk_dtype_find(dtype);
    char row[64];
    assert_non_null(info);
    (void)snprintf(row, sizeof row, "%s %s %d %c %d", info->name,
                   info->format == NULL ? "-" : info->format, info->size, info->kind,
                   info->exact_bits);
    assert_string_equal(row, expected[dtype - FIRST]);
    assert_int_equal(info->dtype, dtype);
    if (info->format != NULL) assert_ptr_equal(vonk_dtype_of_format(info->format), info);
  }
  assert_null(vonk_dtype_find(0));
  assert_null(vonk_dtype_find(-1));
  assert_null(vonk_dtype_find(LAST + 1));
  assert_null(vonk_dtype_of_format("x"));
}

/* E exact, W widens, N a float narrows, R refused; rows: from, columns: to, both in the
 * order of the dtypes. */
static void test_conversions_never_change_an_integer(void **state) {
  (void)state;
  static const char *const expected[] = {
      "ENWWRRRRRRRRRR", /* float16 */
      "NEWWRRRRRRRRRR", /* bfloat16 */
      "NNEWRRRRRRRRRR", /* float32 */
      "NNNERRRRRRRRRR", /* float64 */
      "WWWWEWWWRRRRRR", /* int8 */
      "RRWWREWWRRRRRR", /* int16 */
      "RRRWRREWRRRRRR", /* int32 */
      "RRRRRRRERRRRRR", /* int64 */
      "WWWWRWWWEWWWRR", /* uint8 */
      "RRWWRRWWREWWRR", /* uint16 */
      "RRRWRRRWRREWRR", /* uint32 */
      "RRRRRRRRRRRERR", /* uint64 */
      "WWWWWWWWWWWWER", /* bool */
      "RRRRRRRRRRRRRE", /* string */
  };
  for (vonk_dtype from = FIRST; from <= LAST; from++) {
    char row[16] = "";
    for (vonk_dtype to = FIRST; to <= LAST; to++)
      row[to - FIRST] = "EWNR"[vonk_dtype_conversion(from, to)];
    assert_string_equal(row, expected[from - FIRST]);
  }
  assert_int_equal(vonk_dtype_conversion(0, VONK_F32), VONK_CONVERT_REFUSED);
  assert_int_equal(vonk_dtype_conversion(VONK_F32, 99), VONK_CONVERT_REFUSED);
}

/* --- references --- */

/* What IEEE 754 says the bits of a small float are worth: exponent_bits of exponent, then
 * mantissa_bits. */
static double small_float(unsigned bits, int exponent_bits, int mantissa_bits) {
  const unsigned ones = (1u << exponent_bits) - 1u;
  const unsigned mantissa = bits & ((1u << mantissa_bits) - 1u);
  const unsigned exponent = (bits >> mantissa_bits) & ones;
  const int bias = (int)(ones >> 1);
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  if (exponent == ones) return mantissa != 0 ? (double)NAN : sign * (double)INFINITY;
  if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign *
         ldexp((1u << mantissa_bits) + mantissa, (int)exponent - bias - mantissa_bits);
}

static int exponent_bits_of(vonk_dtype dtype) { return dtype == VONK_F16 ? 5 : 8; }
static double half_value(vonk_dtype dtype, unsigned bits) {
  return small_float(bits, exponent_bits_of(dtype), 15 - exponent_bits_of(dtype));
}

/* The bits of the half nearest to value, by bisection over the rising non-negative ones;
 * the infinity stands where the next finite value would. */
static unsigned nearest_half(vonk_dtype dtype, double value) {
  const int exponent_bits = exponent_bits_of(dtype);
  const unsigned infinity = ((1u << exponent_bits) - 1u) << (15 - exponent_bits);
  const unsigned sign = signbit(value) ? 0x8000u : 0u;
  const double magnitude = fabs(value);
  const double limit = ldexp(1.0, 1 << (exponent_bits - 1));
  unsigned low = 0;
  unsigned high = infinity;
  if (magnitude >= limit) return infinity | sign;
  while (high - low > 1) {
    const unsigned middle = (low + high) / 2;
    if (half_value(dtype, middle) <= magnitude) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const double below = magnitude - half_value(dtype, low);
  const double above = (high == infinity ? limit : half_value(dtype, high)) - magnitude;
  const bool up = above < below || (above == below && (high & 1u) == 0);
  return (up ? high : low) | sign;
}

static long double element(vonk_dtype dtype, const void *at) {
  union {
    uint8_t u8;
    int8_t i8;
    uint16_t u16;
    int16_t i16;
    uint32_t u32;
    int32_t i32;
    uint64_t u64;
    int64_t i64;
    float f32;
    double f64;
  } x;
  memcpy(&x, at, vonk_dtype_find(dtype)->size);
  switch (dtype) {
    case VONK_F16:
    case VONK_BF16:
      return (long double)half_value(dtype, x.u16);
    case VONK_F32:
      return (long double)x.f32;
    case VONK_F64:
      return (long double)x.f64;
    case VONK_I8:
      return x.i8;
    case VONK_I16:
      return x.i16;
    case VONK_I32:
      return x.i32;
    case VONK_I64:
      return x.i64;
    case VONK_U16:
      return x.u16;
    case VONK_U32:
      return x.u32;
    case VONK_U64:
      return x.u64;
    default:
      return x.u8;
  }
}

/* --- what conversions yield --- */

/* n elements of all sorts: every byte pattern in turn for the small dtypes, edge patterns
 * for the others. */
static void fill(vonk_dtype dtype, uint8_t *out, size_t n) {
  const size_t size = vonk_dtype_find(dtype)->size;
  static const uint64_t edges[] = {0,
                                   1,
                                   2,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0x8000,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000u,
                                   0xffffffffu,
                                   0x3f800000u,
                                   0xbf800000u,
                                   UINT64_C(0x7fffffffffffffff),
                                   UINT64_C(0x8000000000000000),
                                   UINT64_MAX,
                                   UINT64_C(0x3ff0000000000000),
                                   UINT64_C(0xc000000000000001)};
  uint64_t random = 1;
  for (size_t i = 0; i < n; i++) {
    random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t bits =
        i < sizeof edges / sizeof edges[0] ? edges[i] : random >> (random & 31u);
    if (dtype == VONK_BOOL8) bits &= 1u;
    memcpy(out + i * size, &bits, size);
  }
}

static void check_widens(vonk_dtype from, vonk_dtype to) {
  enum { N = 1003 };
  uint8_t source[N * 8 + 1];
  uint8_t target[N * 8 + 1];
  const size_t from_size = vonk_dtype_find(from)->size;
  const size_t to_size = vonk_dtype_find(to)->size;
  fill(from, source + 1, N);
  target[N * to_size] = 0xa5;
  memset(target, 0xa5, sizeof target);
  vonk_dtype_convert(from, source + 1, to, target, N); /* the source is unaligned */
  assert_int_equal(target[N * to_size], 0xa5);
  for (size_t i = 0; i < N; i++) {
    const long double expected = element(from, source + 1 + i * from_size);
    const long double found = element(to, target + i * to_size);
    const bool both_nan = isnan(expected) && isnan(found);
    if (expected != found && !both_nan) {
      fail_msg("%s -> %s, element %zu: expected %Lg, found %Lg",
               vonk_dtype_find(from)->name, vonk_dtype_find(to)->name, i, expected,
               found);
    }
  }
}

static void test_exact_and_widening_conversions_keep_every_value(void **state) {
  (void)state;
  int pairs = 0;
  for (vonk_dtype from = FIRST; from < LAST; from++) {
    for (vonk_dtype to = FIRST; to < LAST; to++) {
      const vonk_conversion conversion = vonk_dtype_conversion(from, to);
      if (conversion != VONK_CONVERT_EXACT && conversion != VONK_CONVERT_WIDEN) continue;
      check_widens(from, to);
      pairs++;
    }
  }
  assert_int_equal(pairs, 13 + 49);
  vonk_dtype_convert(VONK_F64, NULL, VONK_F32, NULL, 0);
}

/* What vonk_dtype_conversion refuses, but SQL casts by itself. */
static void test_whole_numbers_become_the_nearest_float(void **state) {
  (void)state;
  enum { N = 1003 };
  static const vonk_dtype floats[] = {VONK_F32, VONK_F64, VONK_F16, VONK_BF16};
  for (vonk_dtype from = VONK_I8; from <= VONK_U64; from++) {
    const size_t size = vonk_dtype_find(from)->size;
    uint8_t source[N * 8], found[N * 8], halves[N * 2];
    float as_float[N];
    fill(from, source, N);
    vonk_dtype_convert(from, source, VONK_F32, as_float, N);
    for (size_t k = 0; k < sizeof floats / sizeof floats[0]; k++) {
      const size_t width = vonk_dtype_find(floats[k])->size;
      vonk_dtype_convert(from, source, floats[k], found, N);
      vonk_dtype_convert(VONK_F32, as_float, k < 2 ? VONK_F16 : floats[k], halves, N);
      for (size_t i = 0; i < N; i++) {
        const long double exact = element(from, source + i * size);
        const long double expected = k == 0   ? (long double)(float)exact
                                     : k == 1 ? (long double)(double)exact
                                              : element(floats[k], halves + i * 2);
        const long double got = element(floats[k], found + i * width);
        if (expected != got) {
          fail_msg("%s %Lg -> %s: expected %Lg, found %Lg", vonk_dtype_find(from)->name,
                   exact, vonk_dtype_find(floats[k])->name, expected, got);
        }
      }
    }
  }
}

static void check_all_halves(vonk_dtype half) {
  for (unsigned bits = 0; bits <= 0xffff; bits++) {
    const uint16_t source = (uint16_t)bits;
    const double expected = half_value(half, bits);
    float narrow;
    double wide;
    uint16_t back;
    vonk_dtype_convert(half, &source, VONK_F32, &narrow, 1);
    vonk_dtype_convert(half, &source, VONK_F64, &wide, 1);
    vonk_dtype_convert(VONK_F32, &narrow, half, &back, 1);
    if (isnan(expected)) {
      if (!isnan(narrow) || !isnan(wide) || !isnan(half_value(half, back)))
        fail_msg("%#x is no NaN", bits);
      continue;
    }
    if ((double)narrow != expected || wide != expected ||
        (signbit(narrow) == 0) != (signbit(expected) == 0) || back != bits) {
      fail_msg("%#x: expected %g, found %g and %g, back %#x", bits, expected,
               (double)narrow, wide, back);
    }
  }
}

static void test_all_65536_halves_widen_exactly_and_come_back(void **state) {
  (void)state;
  check_all_halves(VONK_F16);
  check_all_halves(VONK_BF16);
}

static void check_rounds(vonk_dtype half, double value) {
  uint16_t found;
  vonk_dtype_convert(VONK_F64, &value, half, &found, 1);
  const unsigned expected = nearest_half(half, value);
  if (found != expected) {
    fail_msg("float64 %a -> %s: expected %#x, found %#x", value,
             vonk_dtype_find(half)->name, expected, found);
  }
  const float narrow = (float)value;
  vonk_dtype_convert(VONK_F32, &narrow, half, &found, 1);
  const unsigned expected_narrow = nearest_half(half, (double)narrow);
  if (found != expected_narrow) {
    fail_msg("float32 %a -> %s: expected %#x, found %#x", (double)narrow,
             vonk_dtype_find(half)->name, expected_narrow, found);
  }
}

/* Around every half, every midpoint of two neighbours, and one step of a float and of a
 * double to either side: where rounding twice, or ties away from even, would show. */
static void check_rounding(vonk_dtype half) {
  const unsigned infinity = half == VONK_F16 ? 0x7c00u : 0x7f80u;
  for (unsigned bits = 0; bits < infinity; bits++) {
    const double value = half_value(half, bits);
    const double next = bits + 1 == infinity ? ldexp(1.0, half == VONK_F16 ? 16 : 128)
                                             : half_value(half, bits + 1);
    const double middle = value / 2 + next / 2;
    const double around[] = {value,
                             middle,
                             nextafter(middle, 0.0),
                             nextafter(middle, next),
                             (double)nextafterf((float)middle, 0.0F),
                             (double)nextafterf((float)middle, (float)next),
                             (value + middle) / 2};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
      check_rounds(half, around[i]);
      check_rounds(half, -around[i]);
    }
  }
  check_rounds(half, 1e300);
  check_rounds(half, 1e-300);
  check_rounds(half, -5e-324);
  check_rounds(half, (double)INFINITY);
}

static void test_narrowing_rounds_to_nearest_even_once(void **state) {
  (void)state;
  check_rounding(VONK_F16);
  check_rounding(VONK_BF16);
}

static void test_published_half_values(void **state) {
  (void)state;
  static const struct {
    vonk_dtype dtype;
    double value;
    unsigned bits;
  } rows[] = {
      {VONK_F16, 0.333251953125, 0x3555}, {VONK_F16, 1.0 / 3, 0x3555},
      {VONK_F16, 65504.0, 0x7bff},        {VONK_F16, 65519.99, 0x7bff},
      {VONK_F16, 65520.0, 0x7c00},        {VONK_F16, 0x1p-24, 0x0001},
      {VONK_F16, 0x1p-25, 0x0000},        {VONK_F16, -2.0, 0xc000},
      {VONK_F16, 0x1p-14, 0x0400},        {VONK_F16, 0x1.ff8p-15, 0x03ff},
      {VONK_BF16, 1.0 / 3, 0x3eab},       {VONK_BF16, 3.140625, 0x4049},
      {VONK_BF16, 3.14159265, 0x4049},    {VONK_BF16, -2.0, 0xc000},
      {VONK_BF16, 3.38953139e38, 0x7f7f}, {VONK_BF16, 3.4028234e38, 0x7f80},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint16_t found;
    vonk_dtype_convert(VONK_F64, &rows[i].value, rows[i].dtype, &found, 1);
    if (found != rows[i].bits)
      fail_msg("%.17g: expected %#x, found %#x", rows[i].value, rows[i].bits, found);
  }
}

static void test_nan_stays_nan_on_every_way(void **state) {
  (void)state;
  static const uint32_t patterns[] = {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu,
                                      0x7f801fffu};
  for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
    float value;
    double wide;
    uint16_t half;
    uint16_t brain;
    memcpy(&value, &patterns[i], sizeof value);
    vonk_dtype_convert(VONK_F32, &value, VONK_F64, &wide, 1);
    assert_true(isnan(wide));
    for (vonk_dtype from = VONK_F32; from <= VONK_F64; from++) {
      const void *source = from == VONK_F32 ? (const void *)&value : (const void *)&wide;
      vonk_dtype_convert(from, source, VONK_F16, &half, 1);
      vonk_dtype_convert(from, source, VONK_BF16, &brain, 1);
      assert_true(isnan(half_value(VONK_F16, half)));
      assert_true(isnan(half_value(VONK_BF16, brain)));
    }
    vonk_dtype_convert(VONK_F16, &half, VONK_BF16, &brain, 1);
    assert_true(isnan(half_value(VONK_BF16, brain)));
    vonk_dtype_convert(VONK_BF16, &brain, VONK_F16, &half, 1);
    assert_true(isnan(half_value(VONK_F16, half)));
  }
}

static void test_halves_become_the_other_half_by_rounding(void **state) {
  (void)state;
  for (unsigned bits = 0; bits <= 0xffff; bits++) {
    const uint16_t source = (uint16_t)bits;
    uint16_t found;
    for (vonk_dtype from = VONK_F16; from <= VONK_BF16; from++) {
      const vonk_dtype to = from == VONK_F16 ? VONK_BF16 : VONK_F16;
      const double value = half_value(from, bits);
      if (isnan(value)) continue;
      vonk_dtype_convert(from, &source, to, &found, 1);
      const unsigned expected = nearest_half(to, value);
      if (found != expected)
        fail_msg("%#x of dtype %d: expected %#x, found %#x", bits, from, expected, found);
    }
  }
}

static void test_float64_narrows_to_float32_as_c_does(void **state) {
  (void)state;
  static const double values[] = {
      1.0 / 3, 1e300, -1e300, 1e-50, 16777217.0, 0x1.000001p0, 0x1.0000010000001p0};
  float found[sizeof values / sizeof values[0]];
  vonk_dtype_convert(VONK_F64, values, VONK_F32, found, sizeof values / sizeof values[0]);
  const float expected[] = {0x1.555556p-2F, INFINITY, -INFINITY,    0.0F,
                            16777216.0F,    1.0F,     0x1.000002p0F};
  assert_memory_equal(found, expected, sizeof expected);
}

/* --- bits --- */

static void test_bits_at_every_offset_agree_with_one_by_one(void **state) {
  (void)state;
  uint8_t bits[64];
  for (size_t i = 0; i < sizeof bits; i++) bits[i] = (uint8_t)(i * 151 + 43);
  for (size_t offset = 0; offset < 80; offset++) {
    for (size_t n = 0; n <= 300; n++) {
      uint8_t bytes[304];
      size_t ones = 0;
      memset(bytes, 7, sizeof bytes);
      vonk_bits_unpack(bits, offset, n, bytes);
      for (size_t i = 0; i < n; i++) {
        const size_t at = offset + i;
        const unsigned expected = (bits[at / 8] / (1u << (at % 8))) % 2;
        ones += expected;
        if (bytes[i] != expected)
          fail_msg("offset %zu, bit %zu: expected %u, found %u", offset, i, expected,
                   bytes[i]);
      }
      assert_int_equal(bytes[n], 7);
      assert_int_equal(vonk_bits_count(bits, offset, n), ones);
    }
  }
}

static void test_packed_bytes_unpack_again(void **state) {
  (void)state;
  for (size_t n = 0; n <= 70; n++) {
    uint8_t bytes[70] = {0};
    uint8_t bits[10];
    uint8_t back[70];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i % 3 == 0);
    memset(bits, 0xff, sizeof bits);
    vonk_bits_pack(bytes, n, bits);
    vonk_bits_unpack(bits, 0, n, back);
    if (n > 0) assert_memory_equal(back, bytes, n);
    if (n % 8 != 0) assert_int_equal(bits[n / 8] >> (n % 8), 0);
    assert_int_equal(bits[(n + 7) / 8], 0xff);
  }
  uint8_t byte = 0;
  vonk_bit_set(&byte, 5);
  assert_int_equal(byte, 32);
  assert_true(vonk_bit_get(&byte, 5));
  vonk_bit_clear(&byte, 5);
  assert_int_equal(byte, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table_has_a_row_for_every_dtype),
      cmocka_unit_test(test_conversions_never_change_an_integer),
      cmocka_unit_test(test_exact_and_widening_conversions_keep_every_value),
      cmocka_unit_test(test_whole_numbers_become_the_nearest_float),
      cmocka_unit_test(test_all_65536_halves_widen_exactly_and_come_back),
      cmocka_unit_test(test_narrowing_rounds_to_nearest_even_once),
      cmocka_unit_test(test_published_half_values),
      cmocka_unit_test(test_nan_stays_nan_on_every_way),
      cmocka_unit_test(test_halves_become_the_other_half_by_rounding),
      cmocka_unit_test(test_float64_narrows_to_float32_as_c_does),
      cmocka_unit_test(test_bits_at_every_offset_agree_with_one_by_one),
      cmocka_unit_test(test_packed_bytes_unpack_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
