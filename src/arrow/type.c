/* How it works: Arrow writes a type as a format string. A format of a plain value is
 * looked up in the dtype table; every other one, those that no tensor can hold included,
 * is a row of `formats` here: what it becomes, how many children it has, and for the
 * refused ones the words and the way out. A format with a parameter ("+w:784") is a row
 * that ends with the fixed part. A schema comes from outside: its counts are checked
 * before they are used, and nesting has a bound. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "arrow/place.h"

enum { MAX_DEPTH = 16, MAX_CHILDREN = 1 << 20, ANY_CHILDREN = -1 };

/* The way out of an unsupported type: CAST(x AS word), word(x), or the word itself as
 * advice. */
typedef enum { HINT_CAST, HINT_CALL, HINT_ADVICE } hint_kind;

typedef struct format_row {
  const char *format;
  bool has_parameter; /* format is only the start */
  bool wide_offsets, is_binary;
  int8_t n_children;
  vonk_type_kind kind;
  const char *refused; /* NULL: supported. Else what it is, in words */
  hint_kind hint;
  const char *hint_word;
} format_row;

#define REFUSED(FORMAT, PARAMETER, WORDS, HINT, WORD) \
  {.format = FORMAT,                                  \
   .has_parameter = PARAMETER,                        \
   .refused = WORDS,                                  \
   .hint = HINT,                                      \
   .hint_word = WORD}
#define NO_TENSOR ", which no tensor can hold"

static const format_row formats[] = {
    {.format = "n", .kind = VONK_TYPE_NULL},
    {.format = "u", .kind = VONK_TYPE_TEXT},
    {.format = "U", .kind = VONK_TYPE_TEXT, .wide_offsets = true},
    {.format = "z", .kind = VONK_TYPE_TEXT, .is_binary = true},
    {.format = "Z", .kind = VONK_TYPE_TEXT, .is_binary = true, .wide_offsets = true},
    {.format = "+l", .kind = VONK_TYPE_LIST, .n_children = 1},
    {.format = "+L", .kind = VONK_TYPE_LIST, .n_children = 1, .wide_offsets = true},
    {.format = "+vl", .kind = VONK_TYPE_LIST_VIEW, .n_children = 1},
    {.format = "+vL", .kind = VONK_TYPE_LIST_VIEW, .n_children = 1, .wide_offsets = true},
    {.format = "+w:",
     .has_parameter = true,
     .kind = VONK_TYPE_FIXED_LIST,
     .n_children = 1},
    {.format = "+s", .kind = VONK_TYPE_STRUCT, .n_children = ANY_CHILDREN},
    REFUSED("vu", false, "is a string view", HINT_ADVICE,
            "cast it to utf8, which vonk reads"),
    REFUSED("vz", false, "is a binary view", HINT_ADVICE,
            "cast it to binary, which vonk reads"),
    REFUSED("w:", true, "is fixed-size binary", HINT_ADVICE,
            "cast it to binary, which vonk reads"),
    REFUSED("d:", true, "is a decimal", HINT_CAST, "DOUBLE"), /* of 128 bits: not */
    REFUSED("td", true, "is a date" NO_TENSOR, HINT_CALL, "epoch"),
    REFUSED("ts", true, "is a timestamp" NO_TENSOR, HINT_CALL, "epoch"),
    REFUSED("tt", true, "is a time of day" NO_TENSOR, HINT_CALL, "epoch"),
    REFUSED("tD", true, "is a duration" NO_TENSOR, HINT_CALL, "epoch"),
    REFUSED("ti", true, "is an interval" NO_TENSOR, HINT_CALL, "epoch"),
    REFUSED("+m", false, "is a map" NO_TENSOR, HINT_CALL, "map_values"),
    REFUSED("+ud:", true, "is a union" NO_TENSOR, HINT_ADVICE,
            "pass the member that the model takes"),
    REFUSED("+us:", true, "is a union" NO_TENSOR, HINT_ADVICE,
            "pass the member that the model takes"),
    REFUSED("+r", false, "is run-end encoded", HINT_ADVICE,
            "decode it first (pyarrow.compute.run_end_decode)"),
};

static const format_row *find_format(const char *format) {
  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    const format_row *row = &formats[i];
    const bool fits = row->has_parameter
                          ? strncmp(row->format, format, strlen(row->format)) == 0
                          : strcmp(row->format, format) == 0;
    if (fits) return row;
  }
  return NULL;
}

/* --- the way out of an unsupported type --- */

static void add_identifier(vonk_text *out, const char *name) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  static const char others[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  if (name[0] != '\0' && strchr(letters, name[0]) != NULL &&
      name[strspn(name, others)] == '\0') {
    vonk_text_add(out, "%s", name);
    return;
  }
  vonk_text_add(out, "\"");
  for (const char *rest = name; *rest != '\0';) {
    const size_t plain = strcspn(rest, "\"");
    vonk_text_add(out, "%.*s", (int)(plain < 256 ? plain : 256), rest);
    rest += plain;
    if (*rest == '"') {
      vonk_text_add(out, "\"\"");
      rest++;
    }
  }
  vonk_text_add(out, "\"");
}

/* The SQL that reaches the place, "s.f"; false if it lies in a list or a dictionary,
 * which no plain expression reaches. */
static bool add_expression(const vonk_place *place, vonk_text *out) {
  if (place->parent != NULL) {
    if (place->parent->type->kind != VONK_TYPE_STRUCT ||
        !add_expression(place->parent, out))
      return false;
    if (out->size > 0) vonk_text_add(out, ".");
  } else if (place->type->kind == VONK_TYPE_STRUCT && place->type->name[0] == '\0') {
    return true;
  }
  add_identifier(out, place->type->name);
  return true;
}

static bool is_list(vonk_type_kind kind) {
  return kind == VONK_TYPE_LIST || kind == VONK_TYPE_LIST_VIEW ||
         kind == VONK_TYPE_FIXED_LIST;
}

static void add_hint(const vonk_place *place, const format_row *row, vonk_text *out) {
  int levels = 0;
  const vonk_place *column = place;
  while (column->parent != NULL && is_list(column->parent->type->kind)) {
    column = column->parent;
    levels++;
  }
  vonk_text at = {.size = 0};
  const bool reached = add_expression(column, &at);
  if (row->hint == HINT_ADVICE) {
    vonk_text_add(out, "%s", row->hint_word);
  } else if (row->hint == HINT_CAST && reached) {
    vonk_text_add(out, "write CAST(%s AS %s", at.data, row->hint_word);
    for (int i = 0; i < levels; i++) vonk_text_add(out, "[]");
    vonk_text_add(out, ")");
  } else if (row->hint == HINT_CALL && reached && levels == 0) {
    vonk_text_add(out, "write %s(%s)", row->hint_word, at.data);
  } else if (row->hint == HINT_CALL && reached && levels == 1) {
    vonk_text_add(out, "write [%s(x) for x in %s]", row->hint_word, at.data);
  } else {
    vonk_text_add(out, "convert its elements to numbers first (%s)", row->hint_word);
  }
}

static vonk_status refuse(const vonk_place *place, const format_row *row,
                          vonk_error *err) {
  vonk_text hint = {.size = 0};
  add_hint(place, row, &hint);
  return vonk_place_fail(place, err, VONK_UNSUPPORTED, "%s: %s", row->refused, hint.data);
}

/* --- parsing --- */

static vonk_status parse(const struct ArrowSchema *schema, const vonk_place *parent,
                         int depth, vonk_type *out, vonk_error *err);

/* The N of "+w:N"; Arrow has it as int32. */
static vonk_status parse_fixed_length(const vonk_place *place, const char *digits,
                                      int64_t *out, vonk_error *err) {
  int64_t length = 0;
  size_t i = 0;
  for (; digits[i] >= '0' && digits[i] <= '9' && length <= INT32_MAX; i++)
    length = length * 10 + (digits[i] - '0');
  if (i == 0 || digits[i] != '\0' || length > INT32_MAX) {
    return vonk_place_fail(
        place, err, VONK_INVALID,
        "has the format '+w:%s': expected a length from 0 to 2147483647 after the colon",
        digits);
  }
  *out = length;
  return VONK_OK;
}

/* "d:9,2" and "d:9,2,128", the decimals of 128 bits; false for any other. */
static bool parse_decimal(const char *format, vonk_type *type) {
  long numbers[2] = {0};
  const char *at = format + strlen("d:");
  for (size_t i = 0; i < 2; i++) {
    char *end;
    numbers[i] = strtol(at, &end, 10);
    const bool is_last = i == 1 && (*end == '\0' || strcmp(end, ",128") == 0);
    if (end == at || numbers[i] < -INT32_MAX || numbers[i] > INT32_MAX ||
        (i == 0 ? *end != ',' : !is_last))
      return false;
    at = end + 1;
  }
  type->kind = VONK_TYPE_DECIMAL;
  type->precision = (int32_t)numbers[0];
  type->scale = (int32_t)numbers[1];
  return true;
}

static vonk_status parse_children(const struct ArrowSchema *schema,
                                  const vonk_place *place, int depth, vonk_type *type,
                                  vonk_error *err) {
  if (schema->n_children == 0) return VONK_OK;
  if (schema->children == NULL) {
    return vonk_place_fail(place, err, VONK_INVALID,
                           "has %lld children, but no array of children",
                           (long long)schema->n_children);
  }
  VONK_TRY(
      vonk_new((size_t)schema->n_children, sizeof *type->children, &type->children, err));
  type->n_children = schema->n_children;
  for (int64_t i = 0; i < schema->n_children; i++) {
    VONK_TRY(parse(schema->children[i], place, depth + 1, &type->children[i], err));
  }
  return VONK_OK;
}

/* Arrow puts the index type where the type stands, and the type of the values aside. */
static vonk_status parse_dictionary(const struct ArrowSchema *schema,
                                    const vonk_place *place, int depth, vonk_type *type,
                                    vonk_error *err) {
  const vonk_dtype_info *index = vonk_dtype_of_format(schema->format);
  if (index == NULL || (index->kind != 'i' && index->kind != 'u')) {
    return vonk_place_fail(
        place, err, VONK_INVALID,
        "is a dictionary with indices of format '%s': expected integers", schema->format);
  }
  type->kind = VONK_TYPE_DICTIONARY;
  type->dtype = index->dtype;
  VONK_TRY(vonk_new(1, sizeof *type->children, &type->children, err));
  type->n_children = 1;
  VONK_TRY(parse(schema->dictionary, place, depth + 1, type->children, err));
  const vonk_type_kind kind = type->children[0].kind;
  if (kind != VONK_TYPE_VALUE && kind != VONK_TYPE_TEXT) {
    return vonk_place_fail(place, err, VONK_UNSUPPORTED,
                           "is a dictionary of %s: decode it first (pyarrow: "
                           "dictionary_decode())",
                           kind == VONK_TYPE_DECIMAL ? "decimals" : "nested values");
  }
  return VONK_OK;
}

/* Fills kind and what goes with it from the format, and checks the number of children. */
static vonk_status parse_format(const struct ArrowSchema *schema, const vonk_place *place,
                                vonk_type *type, vonk_error *err) {
  if (strncmp(schema->format, "d:", 2) == 0 && schema->n_children == 0 &&
      parse_decimal(schema->format, type))
    return VONK_OK;
  const format_row *row = find_format(schema->format);
  const vonk_dtype_info *value =
      row == NULL ? vonk_dtype_of_format(schema->format) : NULL;
  if (row == NULL && value == NULL) {
    return vonk_place_fail(place, err, VONK_INVALID,
                           "has the format '%s', which is none of Arrow's",
                           schema->format);
  }
  if (row != NULL && row->refused != NULL) return refuse(place, row, err);
  type->kind = row == NULL ? VONK_TYPE_VALUE : row->kind;
  type->dtype = value != NULL                  ? value->dtype
                : type->kind == VONK_TYPE_TEXT ? VONK_BYTES
                                               : 0;
  type->wide_offsets = row != NULL && row->wide_offsets;
  type->is_binary = row != NULL && row->is_binary;
  if (type->kind == VONK_TYPE_FIXED_LIST) {
    VONK_TRY(parse_fixed_length(place, schema->format + strlen(row->format),
                                &type->fixed_length, err));
  }
  const int64_t expected = row == NULL ? 0 : row->n_children;
  if (expected == ANY_CHILDREN) {
    if (schema->n_children >= 0 && schema->n_children <= MAX_CHILDREN) return VONK_OK;
    return vonk_place_fail(place, err, VONK_INVALID,
                           "is a struct of %lld fields: expected 0 to %d",
                           (long long)schema->n_children, (int)MAX_CHILDREN);
  }
  if (schema->n_children != expected) {
    return vonk_place_fail(
        place, err, VONK_INVALID, "has the format '%s' and %lld children: expected %lld",
        schema->format, (long long)schema->n_children, (long long)expected);
  }
  return VONK_OK;
}

static vonk_status parse(const struct ArrowSchema *schema, const vonk_place *parent,
                         int depth, vonk_type *out, vonk_error *err) {
  const vonk_place place = {.parent = parent, .type = out};
  const char *name = schema == NULL || schema->release == NULL || schema->name == NULL
                         ? ""
                         : schema->name;
  VONK_TRY(vonk_new_string(name, &out->name, err));
  if (schema == NULL)
    return vonk_place_fail(&place, err, VONK_INVALID, "has no schema (NULL)");
  if (schema->release == NULL) {
    return vonk_place_fail(&place, err, VONK_INVALID, "has a schema that was released");
  }
  if (schema->format == NULL)
    return vonk_place_fail(&place, err, VONK_INVALID, "has a schema without a format");
  if (depth > MAX_DEPTH) {
    return vonk_place_fail(&place, err, VONK_UNSUPPORTED, "is nested more than %d deep",
                           (int)MAX_DEPTH);
  }
  out->nullable = (schema->flags & ARROW_FLAG_NULLABLE) != 0;
  if (schema->dictionary != NULL)
    return parse_dictionary(schema, &place, depth, out, err);
  VONK_TRY(parse_format(schema, &place, out, err));
  return parse_children(schema, &place, depth, out, err);
}

vonk_status vonk_type_parse(const struct ArrowSchema *schema, vonk_type *out,
                            vonk_error *err) {
  vonk_type type = {.name = NULL};
  const vonk_status status = parse(schema, NULL, 0, &type, err);
  if (status == VONK_OK) {
    *out = type;
  } else {
    vonk_type_clear(&type);
  }
  return status;
}

void vonk_type_clear(vonk_type *type) {
  for (int64_t i = 0; i < type->n_children; i++) vonk_type_clear(&type->children[i]);
  vonk_delete(type->children);
  vonk_delete(type->name);
  memset(type, 0, sizeof *type);
}

/* --- in words --- */

static void describe_struct(const vonk_type *type, vonk_text *out) {
  vonk_text_add(out, "struct<");
  for (int64_t i = 0; i < type->n_children && out->size + 1 < sizeof out->data; i++) {
    vonk_text_add(out, "%s%s: ", i > 0 ? ", " : "", type->children[i].name);
    vonk_type_describe(&type->children[i], out);
  }
  vonk_text_add(out, ">");
}

void vonk_type_describe(const vonk_type *type, vonk_text *out) {
  switch (type->kind) {
    case VONK_TYPE_VALUE: {
      const vonk_dtype_info *info = vonk_dtype_find(type->dtype);
      vonk_text_add(out, "%s", info == NULL ? "unknown" : info->name);
      break;
    }
    case VONK_TYPE_TEXT:
      vonk_text_add(out, type->is_binary ? "binary" : "string");
      break;
    case VONK_TYPE_DECIMAL:
      vonk_text_add(out, "decimal(%d, %d)", (int)type->precision, (int)type->scale);
      break;
    case VONK_TYPE_NULL:
      vonk_text_add(out, "null");
      break;
    case VONK_TYPE_STRUCT:
      describe_struct(type, out);
      break;
    case VONK_TYPE_FIXED_LIST:
      vonk_type_describe(&type->children[0], out);
      vonk_text_add(out, "[%lld]", (long long)type->fixed_length);
      break;
    default:
      vonk_text_add(out, type->kind == VONK_TYPE_DICTIONARY ? "dictionary<" : "list<");
      vonk_type_describe(&type->children[0], out);
      vonk_text_add(out, ">");
      break;
  }
}
