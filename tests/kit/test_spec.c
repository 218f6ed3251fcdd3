/* The text by which users tell a model's inputs and outputs. */
#include <stdlib.h>

#include "kit/host.h"
#include "kit/kit.h"
#include "unit/unit.h"

static int set_up(void **state) {
  vonk_kit_set_host(&plain_host);
  static kit_arena arena;
  *state = &arena;
  return 0;
}
static int tear_down(void **state) {
  vonk_kit_arena_release(*state);
  return 0;
}

typedef struct expected_entry {
  const char *name;
  vonk_dtype dtype;
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
} expected_entry;

typedef struct good_case {
  const char *text;
  uint32_t n;
  expected_entry entries[3];
} good_case;

static const good_case good[] = {
    {"x", 1, {{"x", 0, -1, {0}}}},
    {"image:f32[-1,3,12,12],ids:i64[-1,16]",
     2,
     {{"image", VONK_F32, 4, {-1, 3, 12, 12}}, {"ids", VONK_I64, 2, {-1, 16}}}},
    {"a,b:bool,c:string[]",
     3,
     {{"a", 0, -1, {0}}, {"b", VONK_BOOL8, -1, {0}}, {"c", VONK_BYTES, 0, {0}}}},
    /* a tensor of TensorFlow: the digits belong to the name */
    {"dense/Softmax:0", 1, {{"dense/Softmax:0", 0, -1, {0}}}},
    {"dense/Softmax:0:f16[-1,10]", 1, {{"dense/Softmax:0", VONK_F16, 2, {-1, 10}}}},
    {"  x : u8 [ -1 , 4 ] ,\ty ", 2, {{"x", VONK_U8, 2, {-1, 4}}, {"y", 0, -1, {0}}}},
    {"ns::x:f64[0,9223372036854775807]", 1, {{"ns::x", VONK_F64, 2, {0, INT64_MAX}}}},
    {"x:bf16[1,2,3,4,5,6,7,8]", 1, {{"x", VONK_BF16, 8, {1, 2, 3, 4, 5, 6, 7, 8}}}},
    {"\xc3\xa9t\xc3\xa9:i8[2]", 1, {{"\xc3\xa9t\xc3\xa9", VONK_I8, 1, {2}}}},
};

static void test_reads_names_dtypes_and_shapes(void **state) {
  for (size_t i = 0; i < sizeof good / sizeof good[0]; ++i) {
    const kit_spec *specs = NULL;
    uint32_t n = 0;
    vonk_error err = {0};
    vonk_status status =
        vonk_kit_spec_parse(*state, "inputs", good[i].text, &specs, &n, &err);
    if (status != VONK_OK || n != good[i].n) {
      fail_msg("'%s': %u entries, expected %u: %s", good[i].text, n, good[i].n,
               err.message);
    }
    for (uint32_t j = 0; j < n; ++j) {
      const expected_entry *expected = &good[i].entries[j];
      assert_string_equal(specs[j].name, expected->name);
      assert_int_equal(specs[j].dtype, expected->dtype);
      assert_int_equal(specs[j].rank, expected->rank);
      for (int32_t k = 0; k < specs[j].rank; ++k) {
        assert_int_equal(specs[j].shape[k], expected->shape[k]);
      }
    }
  }
}

static const struct {
  const char *text, *part; /* the part of the message that points at the fault */
} bad[] = {
    {"", "is empty"},
    {"  ", "is empty"},
    {"a,,b", "entry 2 is empty"},
    {"a,", "entry 2 is empty"},
    {"x:float32[3]", "'float32' is no dtype: there are f16 bf16 f32"},
    {"x:", "'' is no dtype"},
    {":f32", "has no name"},
    {"x[3]", "has a shape and no dtype"},
    {"x:f32[3", "'[3' is no shape"},
    {"x:f32[", "'[' is no shape"},
    {"x:f32[3]]", "'[3]]' is no shape"},
    {"x:f32[3]y", "'[3]y' is no shape"},
    {"x:f32[-2]", "'-2' is no dimension"},
    {"x:f32[1,]", "'' is no dimension"},
    {"x:f32[?,3]", "'?' is no dimension"},
    {"x:f32[3.5]", "'3.5' is no dimension"},
    {"x:f32[9223372036854775808]", "'9223372036854775808' is no dimension"},
    {"x:f32[1,1,1,1,1,1,1,1,1]", "has too many dimensions: 8 are possible"},
    {"x,y,x:f32", "names 'x' twice"},
    {"\xff:f32", "has no name"},
};

static void test_points_at_the_bad_part(void **state) {
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    const kit_spec *specs = NULL;
    uint32_t n = 77;
    vonk_error err = {0};
    vonk_status status =
        vonk_kit_spec_parse(*state, "inputs", bad[i].text, &specs, &n, &err);
    if (status != VONK_INVALID || strstr(err.message, bad[i].part) == NULL ||
        strncmp(err.message, "option 'inputs': ", 17) != 0) {
      fail_msg("'%s': status %d, \"%s\" lacks \"%s\"", bad[i].text, status, err.message,
               bad[i].part);
    }
    assert_null(specs);
    assert_int_equal(n, 77);
  }
}

static void test_bounds_what_it_reads(void **state) {
  size_t size = ((size_t)1 << 20) + 2;
  char *text = malloc(size);
  memset(text, 'x', size - 1);
  text[size - 1] = '\0';
  const kit_spec *specs = NULL;
  uint32_t n = 0;
  vonk_error err = {0};
  assert_int_equal(vonk_kit_spec_parse(*state, "inputs", text, &specs, &n, &err),
                   VONK_INVALID);
  assert_non_null(strstr(err.message, "is too long"));
  memset(text, ',', 5000);
  text[5000] = '\0';
  assert_int_equal(vonk_kit_spec_parse(*state, "inputs", text, &specs, &n, &err),
                   VONK_INVALID);
  assert_non_null(strstr(err.message, "is too long"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reads_names_dtypes_and_shapes),
      cmocka_unit_test(test_points_at_the_bad_part),
      cmocka_unit_test(test_bounds_what_it_reads),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
