/* Fuzz target: importing Arrow data.
 *
 * How it works: Arrow's structs hold pointers, so the input is not their bytes but drives
 * a generator of (schema, array) pairs. Most numbers come out fitting; some are replaced
 * by hostile ones: lengths, offsets, counts, NULL pointers, formats, the content of
 * offsets and index buffers. Buffers are allocated to exactly the sizes that the declared
 * numbers ask for, which is all that a consumer may rely on; where the numbers ask for
 * more than BUFFER_CAP, or are absurd, the buffer is missing or one byte long. So a read
 * past a buffer that the address sanitizer reports is a fault of ours.
 *
 * What vonk_column_view accepts is then read through the accessors as predict does, and
 * held against what arrow.h promises: lists inside their child, indices inside their
 * dictionary, exact counts of NULLs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "fuzz/target.h"

enum {
  BUFFER_CAP = 1 << 20,
  MAX_BLOCKS = 4096,
  MAX_LEVELS = 5,
  MAX_FIELDS = 3,
  MAX_ROWS_READ = 64
};

/* --- the input, and memory that lives as long as it --- */

typedef struct source {
  const uint8_t *data;
  size_t size;
  void *blocks[MAX_BLOCKS];
  size_t n_blocks;
} source;

static uint8_t take(source *in) {
  if (in->size == 0) return 0;
  in->size--;
  return *in->data++;
}

/* A block of exactly nbytes, zeroed; NULL if there are too many. */
static void *block(source *in, size_t nbytes) {
  if (in->n_blocks == MAX_BLOCKS) return NULL;
  void *bytes = calloc(1, nbytes > 0 ? nbytes : 1);
  if (bytes != NULL) in->blocks[in->n_blocks++] = bytes;
  return bytes;
}

/* fitting, or now and then another number. */
static int64_t number(source *in, int64_t fitting) {
  static const int64_t hostile[] = {0,
                                    1,
                                    -1,
                                    -2,
                                    3,
                                    255,
                                    65536,
                                    INT32_MAX,
                                    INT64_C(1) << 32,
                                    INT64_C(1) << 40,
                                    INT64_MAX / 16,
                                    INT64_MAX / 16 - 1,
                                    INT64_MAX / 8,
                                    INT64_MAX - 1,
                                    INT64_MAX,
                                    INT64_MIN};
  const uint8_t choice = take(in);
  if (choice < 224) return fitting;
  if (choice < 232) return fitting < INT64_MAX ? fitting + 1 : fitting;
  if (choice < 240) return fitting > INT64_MIN ? fitting - 1 : fitting;
  return hostile[choice - 240];
}

/* --- the generator --- */

/* What a buffer holds, and so how long it is. */
typedef enum { NO_BUFFER, BITS, VALUES, OFFSETS, SIZES, TEXT } content;

typedef struct format_form {
  const char *format;
  int n_children; /* -1: any */
  struct {
    content content;
    uint8_t width; /* bytes an element */
  } buffers[3];
} format_form;

static const format_form forms[] = {
    {"f", 0, {{BITS, 0}, {VALUES, 4}}},
    {"+l", 1, {{BITS, 0}, {OFFSETS, 4}}},
    {"+s", -1, {{BITS, 0}}},
    {"+w:3", 1, {{BITS, 0}}},
    {"u", 0, {{BITS, 0}, {OFFSETS, 4}, {TEXT, 1}}},
    {"+L", 1, {{BITS, 0}, {OFFSETS, 8}}},
    {"+vl", 1, {{BITS, 0}, {OFFSETS, 4}, {SIZES, 4}}},
    {"+vL", 1, {{BITS, 0}, {OFFSETS, 8}, {SIZES, 8}}},
    {"Z", 0, {{BITS, 0}, {OFFSETS, 8}, {TEXT, 1}}},
    {"b", 0, {{BITS, 0}, {BITS, 0}}},
    {"c", 0, {{BITS, 0}, {VALUES, 1}}},
    {"C", 0, {{BITS, 0}, {VALUES, 1}}},
    {"s", 0, {{BITS, 0}, {VALUES, 2}}},
    {"S", 0, {{BITS, 0}, {VALUES, 2}}},
    {"i", 0, {{BITS, 0}, {VALUES, 4}}},
    {"I", 0, {{BITS, 0}, {VALUES, 4}}},
    {"l", 0, {{BITS, 0}, {VALUES, 8}}},
    {"L", 0, {{BITS, 0}, {VALUES, 8}}},
    {"e", 0, {{BITS, 0}, {VALUES, 2}}},
    {"g", 0, {{BITS, 0}, {VALUES, 8}}},
    {"n", 0, {{NO_BUFFER, 0}}},
    {"+w:0", 1, {{BITS, 0}}},
    {"+w:2147483647", 1, {{BITS, 0}}},
    {"+w:", 1, {{BITS, 0}}},
    {"+w:-1", 1, {{BITS, 0}}},
    {"d:10,2", 0, {{BITS, 0}, {VALUES, 16}}},
    {"d:38,-7,128", 0, {{BITS, 0}, {VALUES, 16}}},
    {"d:38,2147483647", 0, {{BITS, 0}, {VALUES, 16}}},
    {"d:76,2,256", 0, {{BITS, 0}, {VALUES, 32}}},
    {"tsu:UTC", 0, {{BITS, 0}, {VALUES, 8}}},
    {"+m", 1, {{BITS, 0}, {OFFSETS, 4}}},
    {"vu", 0, {{BITS, 0}, {VALUES, 16}}},
    {"w:16", 0, {{BITS, 0}, {VALUES, 16}}},
    {"?", 0, {{BITS, 0}}},
    {"", 0, {{NO_BUFFER, 0}}},
};
static const char *const names[] = {"x",  "",         "a b",   "quote\"d",
                                    NULL, "\xff\xfe", "pixels"};

static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void release_array(struct ArrowArray *array) { array->release = NULL; }

static void put(uint8_t *at, uint8_t width, int64_t value) {
  const int32_t narrow = (int32_t)value;
  if (width == 8) {
    memcpy(at, &value, sizeof value);
  } else {
    memcpy(at, &narrow, sizeof narrow);
  }
}

/* The elements that offset and length declare; -1 if they are absurd or beyond the cap.
 */
static int64_t declared_elements(const struct ArrowArray *array) {
  if (array->length < 0 || array->offset < 0) return -1;
  if (array->length > BUFFER_CAP / 32 || array->offset > BUFFER_CAP / 32) return -1;
  return array->length + array->offset;
}

/* Absurd numbers are refused before a buffer is read, so that one byte must do; numbers
 * that are merely too big for us might not be, so that there must be no buffer. */
static void *stand_in(source *in, const struct ArrowArray *array) {
  const bool absurd = array->length < 0 || array->offset < 0 ||
                      (uint64_t)array->length + (uint64_t)array->offset >= SIZE_MAX / 16;
  return absurd ? block(in, 1) : NULL;
}

/* Fills offsets that rise, or sizes; returns the elements of the child that they ask for.
 */
static int64_t fill_offsets(source *in, content what, uint8_t width, uint8_t *bytes,
                            int64_t n) {
  int64_t position = take(in) % 4;
  for (int64_t i = 0; i < n; i++) {
    const int64_t fitting = what == OFFSETS ? position : take(in) % 4;
    const int64_t value = number(in, fitting);
    put(bytes + (size_t)i * width, width, value);
    position += take(in) % 4;
  }
  return position + 4;
}

/* The bytes that a text array's offsets lead to, as far as the cap: what a consumer may
 * read. */
static int64_t text_bytes(const struct ArrowArray *array, uint8_t width, int64_t n) {
  int64_t most = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t narrow;
    int64_t value;
    if (width == 8) {
      memcpy(&value, (const uint8_t *)array->buffers[1] + i * 8, sizeof value);
    } else {
      memcpy(&narrow, (const uint8_t *)array->buffers[1] + i * 4, sizeof narrow);
      value = narrow;
    }
    if (value > BUFFER_CAP) return -1;
    if (value > most) most = value;
  }
  return most;
}

/* Makes buffer number `index`; returns the elements of a child that its content asks for.
 */
static int64_t make_buffer(source *in, const format_form *form, int index,
                           struct ArrowArray *array) {
  const int64_t n = declared_elements(array);
  const uint8_t width = form->buffers[index].width;
  const content what = form->buffers[index].content;
  uint8_t *bytes = NULL;
  int64_t child = 0;
  if (n < 0) {
    array->buffers[index] = stand_in(in, array);
    return 0;
  }
  switch (what) {
    case BITS:
      bytes = block(in, (size_t)(n + 7) / 8);
      for (int64_t i = 0; bytes != NULL && i < (n + 7) / 8; i++) bytes[i] = take(in);
      break;
    case VALUES:
      bytes = block(in, (size_t)n * width);
      for (int64_t i = 0; bytes != NULL && i < n; i++)
        bytes[i * width] = take(in) & 15; /* mostly small indices */
      if (bytes != NULL && n > 0 && take(in) > 240)
        memset(bytes + (n - 1) * width, 0xff, width);
      break;
    case OFFSETS:
    case SIZES: {
      const int64_t entries = array->length == 0 ? 0 : what == OFFSETS ? n + 1 : n;
      bytes = block(in, (size_t)entries * width);
      if (bytes != NULL) child = fill_offsets(in, what, width, bytes, entries);
      break;
    }
    case TEXT: {
      const bool has_offsets = array->length > 0 && array->buffers[1] != NULL;
      const int64_t most =
          has_offsets ? text_bytes(array, form->buffers[1].width, n + 1) : 0;
      if (most >= 0) bytes = block(in, (size_t)most);
      break;
    }
    default:
      break;
  }
  array->buffers[index] = take(in) > 250 ? NULL : bytes;
  return child;
}

static int64_t make_buffers(source *in, const format_form *form,
                            struct ArrowArray *array) {
  int n_buffers = 0;
  int64_t child = 0;
  while (n_buffers < 3 && form->buffers[n_buffers].content != NO_BUFFER) n_buffers++;
  array->n_buffers = number(in, n_buffers);
  array->buffers =
      take(in) > 250 ? NULL : block(in, (size_t)n_buffers * sizeof *array->buffers);
  for (int i = 0; array->buffers != NULL && i < n_buffers; i++) {
    const int64_t asked = make_buffer(in, form, i, array);
    if (asked > child) child = asked;
  }
  return child;
}

static void make(source *in, int level, int64_t length, struct ArrowSchema *schema,
                 struct ArrowArray *array);

/* The tables of children have as many entries as are declared, if these are few; else
 * there is none, or one of one byte where the count must be refused unread. */
static void make_children(source *in, int level, int n, int64_t length,
                          struct ArrowSchema *schema, struct ArrowArray *array) {
  schema->n_children = number(in, n);
  array->n_children = number(in, n);
  if (schema->n_children >= 0 && schema->n_children <= 8) {
    schema->children =
        block(in, (size_t)schema->n_children * sizeof(struct ArrowSchema *));
  }
  if (array->n_children >= 0 && array->n_children <= 8) {
    array->children = block(in, (size_t)array->n_children * sizeof(struct ArrowArray *));
  }
  for (int i = 0; i < n; i++) {
    struct ArrowSchema *child_schema = block(in, sizeof *child_schema);
    struct ArrowArray *child_array = block(in, sizeof *child_array);
    if (child_schema == NULL || child_array == NULL) return;
    make(in, level + 1, length, child_schema, child_array);
    if (schema->children != NULL && i < schema->n_children)
      schema->children[i] = child_schema;
    if (array->children != NULL && i < array->n_children)
      array->children[i] = child_array;
  }
}

static void make_dictionary(source *in, int level, struct ArrowSchema *schema,
                            struct ArrowArray *array) {
  struct ArrowSchema *schema_values = block(in, sizeof *schema_values);
  struct ArrowArray *array_values = block(in, sizeof *array_values);
  if (schema_values == NULL || array_values == NULL) return;
  make(in, level + 1, 16, schema_values, array_values);
  schema->dictionary = schema_values;
  if (take(in) < 250) array->dictionary = array_values;
}

/* One level: length is what the parent needs. Deep down only formats without children are
 * made. */
static void make(source *in, int level, int64_t length, struct ArrowSchema *schema,
                 struct ArrowArray *array) {
  const format_form *form = &forms[take(in) % (sizeof forms / sizeof forms[0])];
  if (level >= MAX_LEVELS && form->n_children != 0) form = &forms[0];
  schema->format = take(in) > 252 ? NULL : form->format;
  schema->name = names[take(in) % (sizeof names / sizeof names[0])];
  schema->flags = take(in);
  schema->release = take(in) > 252 ? NULL : release_schema;
  array->release = take(in) > 252 ? NULL : release_array;
  array->offset = number(in, take(in) % 9);
  array->length = number(in, length + take(in) % 3);
  array->null_count = number(in, (int64_t)(take(in) % 3) - 1);
  int64_t child = make_buffers(in, form, array);
  const int64_t n = declared_elements(array);
  if (form->buffers[1].content == NO_BUFFER) {
    child = n < 0 ? 0 : strncmp(form->format, "+w:3", 4) == 0 ? n * 3 : n;
  }
  if (child > 4096) child = 4096;
  if (form->n_children != 0) {
    make_children(in, level, form->n_children < 0 ? take(in) % (MAX_FIELDS + 1) : 1,
                  child, schema, array);
  } else {
    schema->n_children = number(in, 0);
    array->n_children = number(in, 0);
    if (take(in) > 200) make_dictionary(in, level, schema, array);
  }
}

/* --- reading what was accepted, as predict does --- */

static volatile double sink; /* so that no read is optimised away */

static void read_value(const vonk_column *column, int64_t i) {
  const vonk_dtype_info *info = vonk_dtype_find(column->type->dtype);
  const size_t at = (size_t)(column->offset + i);
  if (info->dtype == VONK_BOOL8) {
    uint8_t byte;
    vonk_bits_unpack(column->values, at, 1, &byte);
    sink += byte;
    return;
  }
  uint8_t copy[8];
  memcpy(copy, (const uint8_t *)column->values + at * info->size, info->size);
  if (vonk_dtype_conversion(info->dtype, VONK_F64) == VONK_CONVERT_REFUSED) return;
  double value;
  vonk_dtype_convert(info->dtype, copy, VONK_F64, &value, 1);
  sink += value;
}

static void read_rows(const vonk_column *column, int64_t first, int64_t count);

static void read_row(const vonk_column *column, int64_t i) {
  const uint8_t *bytes;
  int64_t start;
  int64_t count;
  switch (column->type->kind) {
    case VONK_TYPE_VALUE:
      read_value(column, i);
      break;
    case VONK_TYPE_DECIMAL:
      for (vonk_dtype to = VONK_F16; to <= VONK_F64; to++) {
        double value = 0;
        vonk_decimal_convert(
            (const uint8_t *)column->values + (size_t)(column->offset + i) * 16,
            column->type->scale, to, &value, 1);
        sink += value;
      }
      break;
    case VONK_TYPE_TEXT:
      vonk_column_text_at(column, i, &bytes, &count);
      CHECK(bytes != NULL && count >= 0);
      if (count > 0) sink += bytes[0] + bytes[count - 1];
      break;
    case VONK_TYPE_STRUCT:
      for (int64_t k = 0; k < column->n_children; k++) {
        CHECK(column->children[k].length == column->length);
        read_rows(&column->children[k], i, 1);
      }
      break;
    case VONK_TYPE_DICTIONARY:
      start = vonk_column_index_at(column, i);
      CHECK(start >= 0 && start < column->children[0].length);
      read_rows(&column->children[0], start, 1);
      break;
    default:
      vonk_column_list_at(column, i, &start, &count);
      CHECK(start >= 0 && count >= 0 && start <= column->children[0].length);
      CHECK(count <= column->children[0].length - start);
      read_rows(&column->children[0], start, count);
      break;
  }
}

static void read_rows(const vonk_column *column, int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count && i - first < MAX_ROWS_READ; i++) {
    if (!vonk_column_is_null(column, i)) read_row(column, i);
  }
}

static void read_column(const vonk_column *column) {
  if (column->length <= BUFFER_CAP) {
    int64_t null_count = 0;
    for (int64_t i = 0; i < column->length; i++)
      null_count += vonk_column_is_null(column, i);
    CHECK(null_count == column->null_count);
  }
  read_rows(column, 0, column->length);
}

static void check_message(vonk_status status, const vonk_error *err) {
  if (status == VONK_OK) return;
  CHECK(err->code == status && err->message[0] != '\0' &&
        memchr(err->message, 0, sizeof err->message) != NULL);
}

static void import(const struct ArrowSchema *schema, const struct ArrowArray *array) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_type type;
  vonk_column column;
  vonk_status status = vonk_type_parse(schema, &type, &err);
  check_message(status, &err);
  if (status != VONK_OK) return;
  vonk_text words = {.size = 0};
  vonk_type_describe(&type, &words);
  CHECK(words.size == strlen(words.data));
  status = vonk_column_view(array, &type, &column, &err);
  check_message(status, &err);
  if (status == VONK_OK) {
    read_column(&column);
    vonk_column_clear(&column);
  }
  for (int64_t i = 0; type.kind == VONK_TYPE_STRUCT && i < type.n_children; i++) {
    if (array->children == NULL) break;
    if (vonk_column_view_field(array, i, &type.children[i], &column, &err) != VONK_OK)
      continue;
    read_column(&column);
    vonk_column_clear(&column);
  }
  vonk_type_clear(&type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static source in;
  struct ArrowSchema schema = {.format = NULL};
  struct ArrowArray array = {.length = 0};
  in = (source){.data = data, .size = size};
  make(&in, 0, 5, &schema, &array);
  import(&schema, &array);
  for (size_t i = 0; i < in.n_blocks; i++) free(in.blocks[i]);
  return 0;
}
