/* What the C++ text and the call specification in an AOTInductor package say.
 *
 * Both are written by the compiler. Nothing is parsed but the few places that matter:
 *   inputs_info_[0].name = "arg4_1";
 *   int32_t arg4_1_expected_dtype = aoti_torch_dtype_float32();
 *   assert_size_stride(arg4_1, {s77, 784L}, {784L, 1L}, "input");
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package.h"

enum { MAX_NAME = 128 };

/* Behind the first place of `mark` in *rest, or false. */
static bool skip_to(kit_slice *rest, const char *mark) {
  const uint8_t *at =
      rest->size == 0 ? NULL : memmem(rest->data, rest->size, mark, strlen(mark));
  if (at == NULL) {
    return false;
  }
  at += strlen(mark);
  *rest = (kit_slice){at, rest->size - (size_t)(at - rest->data)};
  return true;
}

/* Copies the name that *rest begins with. */
static bool read_name(kit_slice rest, char *out) {
  size_t n = 0;
  while (n < rest.size && n + 1 < MAX_NAME &&
         (rest.data[n] == '_' || (rest.data[n] >= '0' && rest.data[n] <= '9') ||
          (rest.data[n] >= 'A' && rest.data[n] <= 'Z') ||
          (rest.data[n] >= 'a' && rest.data[n] <= 'z'))) {
    out[n] = (char)rest.data[n];
    ++n;
  }
  out[n] = '\0';
  return n != 0;
}

static vonk_dtype read_dtype(kit_slice source, const char *input) {
  static const struct {
    const char *name;
    vonk_dtype dtype;
  } names[] = {{"float16", VONK_F16}, {"bfloat16", VONK_BF16}, {"float32", VONK_F32},
               {"float64", VONK_F64}, {"int8", VONK_I8},       {"int16", VONK_I16},
               {"int32", VONK_I32},   {"int64", VONK_I64},     {"uint8", VONK_U8},
               {"uint16", VONK_U16},  {"uint32", VONK_U32},    {"uint64", VONK_U64},
               {"bool", VONK_BOOL8}};
  char mark[2 * MAX_NAME], name[MAX_NAME];
  snprintf(mark, sizeof mark, "%s_expected_dtype = aoti_torch_dtype_", input);
  if (!skip_to(&source, mark) || !read_name(source, name)) {
    return 0;
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    if (strcmp(names[i].name, name) == 0) {
      return names[i].dtype;
    }
  }
  return 0;
}

/* Reads "s77, 784L}" into a shape; what is no number is free. A row of one ends in a
 * comma, as Python writes it. */
static bool read_sizes(kit_slice rest, kit_spec *out) {
  const uint8_t *end = memchr(rest.data, '}', rest.size);
  const char *at = (const char *)rest.data;
  out->rank = 0;
  while (end != NULL && at < (const char *)end) {
    size_t left = (size_t)((const char *)end - at);
    const char *comma = memchr(at, ',', left);
    size_t size = comma == NULL ? left : (size_t)(comma - at);
    char text[24] = "", *stop = text;
    memcpy(text, at, size < sizeof text - 1 ? size : sizeof text - 1);
    at += size + 1;
    if (strspn(text, " ") == strlen(text)) {
      continue;
    }
    if (out->rank == VONK_MAX_RANK) {
      return false;
    }
    long long value = strtoll(text, &stop, 10);
    bool is_number = stop != text && (*stop == 'L' || *stop == '\0') && value >= 0;
    out->shape[out->rank++] = is_number ? value : -1;
  }
  return end != NULL;
}

int64_t vonk_torch_source_constant(kit_slice source, size_t index) {
  char mark[64];
  kit_spec spec = {0};
  int64_t count = 1;
  snprintf(mark, sizeof mark, "constants_info_[%zu].shape = {", index);
  if (!skip_to(&source, mark) || !read_sizes(source, &spec)) {
    return -1;
  }
  for (int32_t i = 0; i < spec.rank; ++i) {
    if (spec.shape[i] < 0 || __builtin_mul_overflow(count, spec.shape[i], &count)) {
      return -1;
    }
  }
  return count;
}

/* "(float*)(arg0_1.data_ptr())" without "const", or the target of a copy. */
static bool is_written(kit_slice source, const char *input) {
  char mark[2 * MAX_NAME];
  snprintf(mark, sizeof mark, "*)(%s.data_ptr())", input);
  for (kit_slice rest = source; skip_to(&rest, mark);) {
    const char *at = (const char *)rest.data - strlen(mark);
    const char *start = at;
    while (start > (const char *)source.data && start[-1] != '(' && start[-1] != '\n') {
      --start;
    }
    if (strncmp(start, "const ", 6) != 0) {
      return true;
    }
  }
  /* The first parameter of a function that writes ends in _ or _out; it may be a view. */
  static const char wrapped_view[] =
      "wrap_with_raii_handle_if_needed(reinterpret_tensor_wrapper(";
  static const char *const views[] = {"", "reinterpret_tensor_wrapper(", wrapped_view};
  for (size_t i = 0; i < sizeof views / sizeof views[0]; ++i) {
    for (int is_out = 0; is_out < 2; ++is_out) {
      kit_slice rest = source;
      snprintf(mark, sizeof mark, "%s(%s%s,", is_out ? "_out" : "_", views[i], input);
      if (skip_to(&rest, mark)) {
        return true;
      }
    }
  }
  return false;
}

source_input vonk_torch_source_input(kit_slice source, uint32_t index) {
  source_input found = {.is_written = true}; /* unless the text says otherwise */
  char mark[3 * MAX_NAME], name[MAX_NAME];
  kit_slice rest = source;
  snprintf(mark, sizeof mark, "inputs_info_[%u].name = \"", index);
  if (!skip_to(&rest, mark) || !read_name(rest, name)) {
    return found;
  }
  found.is_written = is_written(source, name);
  found.spec.dtype = read_dtype(source, name);
  rest = source;
  snprintf(mark, sizeof mark, "assert_size_stride(%s, {", name);
  found.is_known =
      found.spec.dtype != 0 && skip_to(&rest, mark) && read_sizes(rest, &found.spec);
  return found;
}

/* --- the call specification -------------------------------------------------------------- */

/* Where the element after the one at `at` begins: JSON, brackets and texts skipped. */
static const char *skip_element(const char *at) {
  int depth = 0;
  bool is_text = false;
  for (; *at != '\0'; ++at) {
    if (is_text) {
      at += *at == '\\' && at[1] != '\0';
      is_text = *at != '"';
    } else if (*at == '"') {
      is_text = true;
    } else if (*at == '[' || *at == '{') {
      ++depth;
    } else if (*at == ']' || *at == '}') {
      if (--depth < 0) {
        return NULL;
      }
    } else if (*at == ',' && depth == 0) {
      return at + 1;
    }
  }
  return NULL;
}

/* The names in "[\"a\", \"b\"]", as a JSON text within JSON. */
static vonk_status read_keys(kit_arena *arena, const char *context, const char **names,
                             uint32_t most, uint32_t *n, vonk_error *err) {
  const char *end = strstr(context, "]\"");
  *n = 0;
  while (end != NULL && *n < most) {
    const char *open = strstr(context, "\\\"");
    const char *close = open == NULL || open > end ? NULL : strstr(open + 2, "\\\"");
    if (close == NULL || close > end) {
      break;
    }
    VONK_TRY(
        vonk_kit_new_text(arena, open + 2, (size_t)(close - open - 2), &names[*n], err));
    ++*n;
    context = close + 2;
  }
  return VONK_OK;
}

vonk_status vonk_torch_spec_keys(kit_arena *arena, const char *spec, bool is_input,
                                 const char *const **out, uint32_t *n, vonk_error *err) {
  static const char dict[] = "{\"type\": \"builtins.dict\", \"context\": \"[";
  static const char children[] = "\"children_spec\": [";
  enum { MAX_KEYS = 256 };
  *n = 0;
  const char *at = strncmp(spec, "[1, ", 4) == 0 ? spec + 4 : NULL;
  if (at != NULL && is_input) { /* a pair: arguments, and those given by name */
    at = strstr(at, children);
    at = at == NULL ? NULL : skip_element(at + strlen(children));
    at = at == NULL ? NULL : at + strspn(at, " ");
  }
  if (at == NULL || strncmp(at, dict, strlen(dict)) != 0) {
    return VONK_OK;
  }
  /* A child that has children would be several tensors. */
  const char *inner = strstr(at, children);
  if (inner == NULL || strstr(inner + strlen(children), "\"type\": \"") != NULL) {
    return VONK_OK;
  }
  const char **names;
  VONK_TRY(vonk_kit_new(arena, MAX_KEYS, sizeof *names, &names, err));
  VONK_TRY(read_keys(arena, at + strlen(dict), names, MAX_KEYS, n, err));
  *out = names;
  return VONK_OK;
}
