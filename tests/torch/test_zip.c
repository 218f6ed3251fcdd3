/* The readers that see a TorchScript file before PyTorch does. */
#include <stdlib.h>

#include "kit/host.h"
#include "torch/script_file.h"
#include "torch/zip.h"
#include "unit/unit.h"

static int set_up(void **state) {
  (void)state;
  vonk_kit_set_host(&plain_host);
  return 0;
}

/* zlib's own output: stored, fixed and dynamic blocks. */
static const struct {
  const char *packed; /* as hexadecimal digits */
  const char *text;
} streams[] = {
    {"010500faff68656c6c6f", "hello"},
    {"cb48cdc9c957c8402701", "hello hello hello hello"},
    {"05c1010100000082a0add8ff0f81a18ad4c440925410052aac0e",
     "acaaabbbbaababbcabaacaaaaabababababbbaaaabaabbaaaaabbbaaacbb"},
    {"cb48cdc9c957", NULL},           /* cut off */
    {"010500faff68656c", NULL},       /* cut off in a stored block */
    {"010500fbff68656c6c6f", NULL},   /* a length and its inverse disagree */
    {"030200", NULL},                 /* repeats what is before the beginning */
    {"07", NULL},                     /* a kind of block that there is not */
    {"05e0ff0100000000000000", NULL}, /* too many codes */
    {"", NULL},
    {"030000", ""},
};

static size_t from_hex(const char *digits, uint8_t *out) {
  size_t n = strlen(digits) / 2;
  for (size_t i = 0; i < n; ++i) {
    char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
    out[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return n;
}

static void test_inflate_yields_exactly_what_was_said(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; ++i) {
    uint8_t packed[64], out[64] = {0};
    size_t size = streams[i].text == NULL ? 3 : strlen(streams[i].text);
    kit_slice in = {packed, from_hex(streams[i].packed, packed)};
    bool is_good = vonk_torch_inflate(in, out, size) == VONK_OK;
    if (is_good != (streams[i].text != NULL) ||
        (is_good && memcmp(out, streams[i].text, size) != 0)) {
      fail_msg("stream %zu: %d, '%.*s'", i, is_good, (int)size, (const char *)out);
    }
    if (is_good) { /* one byte less or more than there is */
      assert_int_equal(vonk_torch_inflate(in, out, size + 1), VONK_MODEL);
      assert_true(size == 0 || vonk_torch_inflate(in, out, size - 1) == VONK_MODEL);
    }
  }
}

static const struct {
  const char *text, *part; /* NULL: good */
} programs[] = {
    {"def forward(self, x: Tensor) -> Tensor:\n  return torch.neg(x)\n", NULL},
    {"_0 = getattr(self, \"0\")\n_1 = getattr(getattr(self, \"a\"), \"1\")", NULL},
    {"x = ops.prim.NumToTensor(y)\nz = ops.quantized.add(x, y)", NULL},
    {"ops.prim.RaiseException(\"cannot save: torch.save\", \"x\")", NULL},
    {"self.saved = 1; unsave = 2; save_it()", NULL},
    {"x = self.ops", NULL},
    {"# type: (Tensor) -> Tensor\nx = 'a\\'b' # torch.neg", NULL},
    {"torch.save(x, 'f')", "writes files"},
    {"torch\n.\nsave", "writes files"},
    {"torch.from_file('f')", "reads files"},
    {"# type: torch.save", "writes files"},
    {"def __setstate__(self)", "while the file is loaded"},
    {"ops.mylib.f(x)", "ops.mylib"},
    {"ops . mylib . f(x)", "ops.mylib"},
    {"o = ops", "another library"},
    {"getattr(torch, 'save')", "getattr"},
    {"getattr(torch, 'sa' 've')", "getattr"},
    {"getattr(torch, 's\\x61ve')", "getattr"},
    {"getattr(torch, name)", "getattr"},
    {"getattr(torch, '''save''')", "getattr"},
    {"g = getattr", "getattr"},
    {"__torch__.torch.classes.x.Y", "torch.classes"},
    {"x = 'never ends\n", "cannot be read"},
    {"'''\n", "cannot be read"},
    {"# it's\nx = 1", "cannot be read"},
    {"x = \x01", "cannot be read"},
    {"x = \xc3\xa9", "cannot be read"},
};

static void test_program_text_may_only_compute(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof programs / sizeof programs[0]; ++i) {
    char room[200];
    kit_slice text = {(const uint8_t *)programs[i].text, strlen(programs[i].text)};
    const char *why = vonk_torch_code_check(text, room, sizeof room);
    bool is_right = programs[i].part == NULL
                        ? why == NULL
                        : why != NULL && strstr(why, programs[i].part) != NULL;
    if (!is_right) {
      fail_msg("'%s': %s", programs[i].text, why == NULL ? "is good" : why);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_inflate_yields_exactly_what_was_said),
      cmocka_unit_test(test_program_text_may_only_compute),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
