/* What users say of a model's inputs and outputs: "image:f32[-1,3,12,12],ids:i64[-1,16]".
 *
 * Entries are separated by commas outside brackets. An entry is a name, or a name, a
 * colon, a dtype and perhaps dimensions: the last colon that digits do not follow ends
 * the name, so that a tensor of TensorFlow keeps its ":0". Blanks around parts are
 * skipped. The text comes from users and bundles: it is bounded before anything is
 * allocated, and an error shows the part that is wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kit/kit.h"

enum { MAX_TEXT = 1 << 20, MAX_ENTRIES = 4096, MAX_SHOWN = 80 };

/* A piece of the text. */
typedef struct piece {
  const char *start;
  size_t size;
} piece;

/* Where an error is: in which entry of which option. */
typedef struct place {
  const char *option;
  piece entry;
} place;

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static piece trim(piece text) {
  while (text.size > 0 && is_blank(text.start[0])) {
    ++text.start;
    --text.size;
  }
  while (text.size > 0 && is_blank(text.start[text.size - 1])) {
    --text.size;
  }
  return text;
}

static int shown(piece text) {
  return (int)(text.size < MAX_SHOWN ? text.size : MAX_SHOWN);
}

/* Takes what stands before the first comma outside brackets off the front of *rest;
 * false after the last one. *rest has no start once all is taken. */
static bool next_entry(piece *rest, piece *out) {
  if (rest->start == NULL) {
    return false;
  }
  size_t end = 0;
  bool is_inside = false;
  while (end < rest->size && (is_inside || rest->start[end] != ',')) {
    char c = rest->start[end++];
    is_inside = c == '[' || (is_inside && c != ']');
  }
  *out = (piece){rest->start, end};
  bool is_last = end == rest->size;
  *rest = is_last ? (piece){0} : (piece){rest->start + end + 1, rest->size - end - 1};
  return true;
}

/* --- one entry ----------------------------------------------------------------------- */

static vonk_status parse_dim(const place *at, piece text, int64_t *out, vonk_error *err) {
  piece rest = trim(text);
  if (rest.size == 2 && memcmp(rest.start, "-1", 2) == 0) {
    *out = -1;
    return VONK_OK;
  }
  int64_t value = 0;
  bool is_number = rest.size > 0;
  for (size_t i = 0; is_number && i < rest.size; ++i) {
    is_number = is_digit(rest.start[i]) && !__builtin_mul_overflow(value, 10, &value) &&
                !__builtin_add_overflow(value, rest.start[i] - '0', &value);
  }
  if (!is_number) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "option '%s': '%.*s': '%.*s' is no dimension: give a number, or "
                         "-1 for one that is free",
                         at->option, shown(at->entry), at->entry.start, shown(text),
                         text.start);
  }
  *out = value;
  return VONK_OK;
}

/* text is what stands between the brackets. */
static vonk_status parse_shape(const place *at, piece text, kit_spec *out,
                               vonk_error *err) {
  out->rank = 0;
  if (trim(text).size == 0) {
    return VONK_OK;
  }
  for (piece rest = text, dim; next_entry(&rest, &dim);) {
    if (out->rank == VONK_MAX_RANK) {
      return vonk_kit_fail(
          err, VONK_INVALID,
          "option '%s': '%.*s': has too many dimensions: %d are possible", at->option,
          shown(at->entry), at->entry.start, VONK_MAX_RANK);
    }
    VONK_TRY(parse_dim(at, dim, &out->shape[out->rank], err));
    ++out->rank;
  }
  return VONK_OK;
}

static vonk_status fail_dtype(const place *at, piece found, vonk_error *err) {
  char known[128];
  size_t used = 0;
  const kit_dtype *row;
  for (vonk_dtype dtype = 1; (row = vonk_kit_dtype(dtype)) != NULL; ++dtype) {
    int n = snprintf(known + used, sizeof known - used, " %s", row->name);
    used = n > 0 && (size_t)n < sizeof known - used ? used + (size_t)n : used;
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "option '%s': '%.*s': '%.*s' is no dtype: there are%.*s",
                       at->option, shown(at->entry), at->entry.start, shown(found),
                       found.start, (int)used, known);
}

/* text is what stands after the name's colon: a dtype, and perhaps [dimensions]. */
static vonk_status parse_type(const place *at, piece text, kit_spec *out,
                              vonk_error *err) {
  const char *open = memchr(text.start, '[', text.size);
  piece dtype =
      trim((piece){text.start, open == NULL ? text.size : (size_t)(open - text.start)});
  const kit_dtype *row;
  for (vonk_dtype i = 1; (row = vonk_kit_dtype(i)) != NULL; ++i) {
    if (dtype.size == strlen(row->name) &&
        memcmp(dtype.start, row->name, dtype.size) == 0) {
      out->dtype = i;
    }
  }
  if (out->dtype == 0) {
    return fail_dtype(at, dtype, err);
  }
  if (open == NULL) {
    return VONK_OK;
  }
  piece shape = {open + 1, text.size - (size_t)(open - text.start) - 1};
  if (shape.size == 0 ||
      memchr(shape.start, ']', shape.size) != shape.start + shape.size - 1) {
    piece whole = {open, shape.size + 1};
    return vonk_kit_fail(err, VONK_INVALID,
                         "option '%s': '%.*s': '%.*s' is no shape: write it as in "
                         "'x:f32[-1,784]'",
                         at->option, shown(at->entry), at->entry.start, shown(whole),
                         whole.start);
  }
  --shape.size;
  return parse_shape(at, shape, out, err);
}

/* The colon that ends the name; entry.size if there is none. */
static size_t find_name_end(piece entry) {
  const char *open = memchr(entry.start, '[', entry.size);
  size_t end = open == NULL ? entry.size : (size_t)(open - entry.start);
  for (size_t i = end; i-- > 0;) {
    if (entry.start[i] == ':') {
      piece after = trim((piece){entry.start + i + 1, end - i - 1});
      bool is_number = after.size > 0 && open == NULL;
      for (size_t j = 0; is_number && j < after.size; ++j) {
        is_number = is_digit(after.start[j]);
      }
      return is_number ? entry.size : i;
    }
  }
  return entry.size;
}

static vonk_status parse_entry(kit_arena *arena, const place *at, kit_spec *out,
                               vonk_error *err) {
  size_t name_end = find_name_end(at->entry);
  piece name = trim((piece){at->entry.start, name_end});
  bool has_bracket = memchr(name.start, '[', name.size) != NULL;
  if (name.size == 0 || has_bracket || !vonk_kit_is_text(name.start, name.size)) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "option '%s': '%.*s' %s: write entries as in 'x:f32[-1,784]'",
                         at->option, shown(at->entry), at->entry.start,
                         has_bracket ? "has a shape and no dtype" : "has no name");
  }
  *out = (kit_spec){.rank = -1};
  VONK_TRY(vonk_kit_new_text(arena, name.start, name.size, &out->name, err));
  if (name_end == at->entry.size) {
    return VONK_OK;
  }
  return parse_type(
      at, (piece){at->entry.start + name_end + 1, at->entry.size - name_end - 1}, out,
      err);
}

/* --- all ----------------------------------------------------------------------------- */

static vonk_status check_unique(const char *option, const kit_spec *specs, uint32_t n,
                                vonk_error *err) {
  for (uint32_t i = 0; i < n; ++i) {
    if (strcmp(specs[i].name, specs[n].name) == 0) {
      return vonk_kit_fail(err, VONK_INVALID, "option '%s': names '%.80s' twice", option,
                           specs[n].name);
    }
  }
  return VONK_OK;
}

vonk_status vonk_kit_spec_parse(kit_arena *arena, const char *option, const char *text,
                                const kit_spec **out, uint32_t *out_count,
                                vonk_error *err) {
  piece all = {text, strlen(text)}, entry;
  uint32_t count = 0;
  for (piece rest = all; next_entry(&rest, &entry) && count <= MAX_ENTRIES;) {
    ++count;
  }
  if (all.size > MAX_TEXT || count > MAX_ENTRIES) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "option '%s': is too long: %d entries and %d bytes are possible",
                         option, MAX_ENTRIES, MAX_TEXT);
  }
  if (trim(all).size == 0) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "option '%s': is empty: write it as in 'x:f32[-1,784]'", option);
  }
  kit_spec *specs;
  VONK_TRY(vonk_kit_new(arena, count, sizeof *specs, &specs, err));
  uint32_t n = 0;
  for (piece rest = all; next_entry(&rest, &entry); ++n) {
    place at = {option, trim(entry)};
    if (at.entry.size == 0) {
      return vonk_kit_fail(err, VONK_INVALID,
                           "option '%s': entry %" PRIu32 " is empty: a comma too many?",
                           option, n + 1);
    }
    VONK_TRY(parse_entry(arena, &at, &specs[n], err));
    VONK_TRY(check_unique(option, specs, n, err));
  }
  *out = specs;
  *out_count = n;
  return VONK_OK;
}
