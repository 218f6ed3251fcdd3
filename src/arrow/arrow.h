/* Arrow in and out: the one dtype table, types parsed from schemas, validated views of
 * arrays, and building results. The layer's only door. Nothing here knows models. */
#ifndef VONK_ARROW_H
#define VONK_ARROW_H

#include "base/base.h"
#include "vonk/arrow_c_data.h"

/* --- dtypes (dtype.c) --- */

typedef struct vonk_dtype_info {
  vonk_dtype dtype;
  const char *name;   /* "float32" */
  const char *sql;    /* what to write in a CAST: "FLOAT" */
  const char *format; /* Arrow's: "f"; NULL = Arrow has no such type */
  uint8_t size;       /* bytes of an element; 0 for VONK_BYTES */
  char kind;          /* 'f' float, 'i' signed, 'u' unsigned, 'b' bool, 's' bytes */
  uint8_t exact_bits; /* integers of up to so many bits are exact: 24 for float32, 31 for
                         int32, 32 for uint32 */
} vonk_dtype_info;
/* NULL if dtype is none. */
const vonk_dtype_info *vonk_dtype_find(vonk_dtype dtype);
/* By Arrow's format, "f" for float32, "u" for VONK_BYTES; NULL if no dtype is written so.
 */
const vonk_dtype_info *vonk_dtype_of_format(const char *format);

/* How values of one dtype become another: EXACT equal bytes, WIDEN no value changes,
 * NARROW a float loses digits (allowed silently), REFUSED could change an integer or
 * truncate. */
typedef enum {
  VONK_CONVERT_EXACT,
  VONK_CONVERT_WIDEN,
  VONK_CONVERT_NARROW,
  VONK_CONVERT_REFUSED
} vonk_conversion;
vonk_conversion vonk_dtype_conversion(vonk_dtype from, vonk_dtype to);

/* Converts n elements; from and to may be unaligned, and do not overlap. The pair must
 * not be REFUSED, unless it is a whole number to a float (which is rounded, as SQL casts
 * it) or a pair of vonk_dtype_misfit (whose misfits lose their upper bits), nor
 * VONK_BYTES. float -> narrower float rounds to nearest, ties to even, as IEEE 754 does;
 * NaN stays NaN. */
void vonk_dtype_convert(vonk_dtype from, const void *source, vonk_dtype to, void *target,
                        size_t n);
/* The first of n signed integers that an unsigned dtype cannot hold, or of uint64 that
 * int64 cannot; n if there is none. May be unaligned. */
size_t vonk_dtype_misfit(vonk_dtype from, const void *source, vonk_dtype to, size_t n);
/* An integer in decimal digits; may be unaligned. */
void vonk_dtype_print(vonk_dtype dtype, const void *value, vonk_text *out);

/* decimal.c: n decimals (128-bit integers, two's complement, times 10^-scale; may be
 * unaligned) as floats, each rounded once, to nearest, ties to even. */
void vonk_decimal_convert(const void *source, int32_t scale, vonk_dtype to, void *target,
                          size_t n);

/* Bits (Arrow booleans, LSB first, from bit `offset` on) to bytes 0/1 and back. */
void vonk_bits_unpack(const uint8_t *bits, size_t offset, size_t n, uint8_t *bytes);
void vonk_bits_pack(const uint8_t *bytes, size_t n, uint8_t *bits);
/* How many of the n bits from bit `offset` on are 1. */
size_t vonk_bits_count(const uint8_t *bits, size_t offset, size_t n);
static inline bool vonk_bit_get(const uint8_t *bits, size_t i) {
  return ((unsigned)bits[i >> 3] >> (i & 7u)) & 1u;
}
static inline void vonk_bit_set(uint8_t *bits, size_t i) {
  bits[i >> 3] = (uint8_t)(bits[i >> 3] | (1u << (i & 7u)));
}
static inline void vonk_bit_clear(uint8_t *bits, size_t i) {
  bits[i >> 3] = (uint8_t)(bits[i >> 3] & ~(1u << (i & 7u)));
}

/* --- types (type.c) --- */

typedef enum {
  VONK_TYPE_VALUE, /* a number or bool (bits): dtype */
  VONK_TYPE_TEXT,  /* utf8 or binary: dtype VONK_BYTES; wide_offsets for the large ones */
  VONK_TYPE_LIST,  /* offsets; wide_offsets for large_list. One child */
  VONK_TYPE_LIST_VIEW,  /* offsets and sizes apart; wide_offsets for large_list_view. One
                           child */
  VONK_TYPE_FIXED_LIST, /* fixed_length elements a row. One child */
  VONK_TYPE_STRUCT,     /* n_children fields */
  VONK_TYPE_DICTIONARY, /* index dtype in `dtype`; one child: the dictionary's type (VALUE
                           or TEXT) */
  VONK_TYPE_DECIMAL,    /* 128 bits an element: scale. No dtype */
  VONK_TYPE_NULL        /* all NULL, no buffers */
} vonk_type_kind;

typedef struct vonk_type {
  vonk_type_kind kind;
  vonk_dtype dtype;
  bool wide_offsets;
  bool is_binary; /* VONK_TYPE_TEXT: not utf8 */
  bool nullable;
  int32_t precision, scale; /* of a DECIMAL */
  int64_t fixed_length;
  int64_t n_children;
  struct vonk_type *children; /* array of n_children */
  char *name;                 /* never NULL */
} vonk_type;

/* Parses and checks a schema (formats, child counts, nesting <= 16 deep, names). Messages
 * call it by its name, what lies in it by its path: "column 'a.b'" for a field, "column
 * 'a[]'" for the elements of a list. An unnamed struct, such as a batch, is left out of
 * the path. *out is filled; free its insides with vonk_type_clear. VONK_INVALID
 * malformed; VONK_UNSUPPORTED a type that no tensor can hold (a timestamp, map or
 * union): the message names the column, its type in words, and the cast to write. The
 * view types of strings (vu, vz) are VONK_UNSUPPORTED with the way out. */
vonk_status vonk_type_parse(const struct ArrowSchema *schema, vonk_type *out,
                            vonk_error *err);
void vonk_type_clear(vonk_type *);
/* In words, as a user would say it: "list<float32>", "float32[784]", "struct<a: int64, b:
 * string>". Fixed lengths stand as SQL writes them: float32[28][3] is 3 times
 * float32[28]. */
void vonk_type_describe(const vonk_type *, vonk_text *out);

/* --- columns (column.c) --- */

/* A validated view of an array, borrowed from it. Element i (0 <= i < length) is at
 * offset + i of the buffers.
 *
 * The child of a list covers the whole child array: element j (a position that the list's
 * offsets give) is at child.offset + j of its buffers. What no row of the top level
 * reaches is not looked at: a slice of a big array costs what the slice costs. So
 * null_count counts over the elements that the viewed rows reach, and only these may be
 * read.
 *
 * NULL of a parent is not repeated in its children: a field of a NULL struct row may be
 * valid, a NULL list may have elements. No pointer need be aligned: read with memcpy, or
 * vonk_dtype_convert. */
typedef struct vonk_column {
  const vonk_type *type;
  int64_t length;
  int64_t offset;
  int64_t null_count; /* exact, over what is reached; a DICTIONARY's includes rows whose
                         dictionary value is NULL */
  const uint8_t *validity; /* bitmap, bit offset + i; NULL = no NULL (DICTIONARY: but
                              perhaps in its values). Prefer vonk_column_is_null */
  const void
      *values; /* VALUE, DECIMAL: elements (bool: bits); TEXT: the bytes; DICTIONARY:
                  indices. NULL if there are none */
  const void *offsets; /* TEXT, LIST: int32 or int64, length + 1 from `offset` on;
                          LIST_VIEW: length of them. NULL if length is 0 */
  const void *sizes;   /* LIST_VIEW */
  int64_t n_children;
  struct vonk_column *children; /* LIST...: 1; STRUCT: fields (their offset includes the
                                   parent's); DICTIONARY: 1 */
} vonk_column;

/* Checks an array against its type and fills *out (free with vonk_column_clear): buffer
 * and child counts, non-negative lengths and offsets, no overflow, null_count in range
 * (-1 allowed), a validity bitmap where there are NULLs, offsets that never fall and stay
 * inside the child (text: that never fall), list views inside the child, children long
 * enough, dictionary indices of valid rows inside the dictionary. VONK_INVALID names the
 * column and the fault. The array must not be released. array and type must outlive the
 * view. Sizes of buffers cannot be checked: Arrow does not tell them. */
vonk_status vonk_column_view(const struct ArrowArray *array, const vonk_type *type,
                             vonk_column *out, vonk_error *err);
/* The same for one column of a batch: child `field` of the struct array rows, from
 * rows->offset on, rows->length of them. NULLs of rows itself are not looked at. */
vonk_status vonk_column_view_field(const struct ArrowArray *rows, int64_t field,
                                   const vonk_type *type, vonk_column *out,
                                   vonk_error *err);
void vonk_column_clear(vonk_column *);

/* Where the value of row i of a DICTIONARY is, as an element of children[0]. Not for a
 * NULL row. */
int64_t vonk_column_index_at(const vonk_column *, int64_t i);

static inline bool vonk_column_is_null(const vonk_column *c, int64_t i) {
  if (c->type->kind == VONK_TYPE_NULL) return true;
  if (c->validity != NULL && !vonk_bit_get(c->validity, (size_t)(c->offset + i)))
    return true;
  if (c->type->kind != VONK_TYPE_DICTIONARY || c->children[0].null_count == 0)
    return false;
  /* One deep: there is no dictionary of dictionaries. */
  return vonk_column_is_null(&c->children[0], vonk_column_index_at(c, i));
}
/* Where the elements of list i start in the child (an index that counts from the child's
 * own element 0, its offset not yet added) and how many they are. For FIXED_LIST too. Not
 * for a NULL row of a LIST_VIEW. */
void vonk_column_list_at(const vonk_column *, int64_t i, int64_t *start, int64_t *count);
/* The bytes of text i. Not for a NULL row. */
void vonk_column_text_at(const vonk_column *, int64_t i, const uint8_t **bytes,
                         int64_t *nbytes);

/* --- results (result.c) --- */

/* A schema under construction is a plain ArrowSchema whose release frees everything
 * allocated by us. All are nullable. VONK_BYTES becomes utf8; VONK_UNSUPPORTED for a
 * dtype that Arrow lacks (bfloat16). */
vonk_status vonk_schema_value(const char *name, vonk_dtype dtype, struct ArrowSchema *out,
                              vonk_error *err);
vonk_status vonk_schema_struct(const char *name, int64_t n_children,
                               struct ArrowSchema *out, vonk_error *err);
/* item is moved into out. length >= 0: fixed-size list; -1: list with int32 offsets. */
vonk_status vonk_schema_list(const char *name, int64_t length, struct ArrowSchema *item,
                             struct ArrowSchema *out, vonk_error *err);
/* The same, once for each of rank dimensions, the outermost called name, the others like
 * the item; with rank 0 out is the item, whose name must be `name` then. Takes the item on
 * failure, too. */
vonk_status vonk_schema_nest(const char *name, int32_t rank, const int64_t *shape,
                             struct ArrowSchema *item, struct ArrowSchema *out,
                             vonk_error *err);

/* Arrays under construction own vonk_new memory: each pointer given is taken over on
 * success (freed by out->release), and stays the caller's on failure. validity NULL = no
 * NULL. Any other pointer may be NULL where the array has no bytes for it: the result
 * then points at zeros, for the readers that insist on a pointer. Offsets are int32. */
vonk_status vonk_array_value(int64_t length, int64_t null_count, void *validity,
                             void *values, struct ArrowArray *out, vonk_error *err);
vonk_status vonk_array_text(int64_t length, int64_t null_count, void *validity,
                            void *offsets, void *bytes, struct ArrowArray *out,
                            vonk_error *err);
/* item is moved. */
vonk_status vonk_array_list(int64_t length, int64_t null_count, void *validity,
                            void *offsets, struct ArrowArray *item,
                            struct ArrowArray *out, vonk_error *err);
vonk_status vonk_array_fixed_list(int64_t length, int64_t null_count, void *validity,
                                  struct ArrowArray *item, struct ArrowArray *out,
                                  vonk_error *err);
/* A struct array with n_children released children, to be moved in with vonk_array_move.
 */
vonk_status vonk_array_struct(int64_t length, int64_t n_children, struct ArrowArray *out,
                              vonk_error *err);
void vonk_array_move(struct ArrowArray *from, struct ArrowArray *to);
void vonk_schema_move(struct ArrowSchema *from, struct ArrowSchema *to);

#endif /* VONK_ARROW_H */
