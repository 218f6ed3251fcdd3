/* A DuckDB vector seen as an Arrow array.
 *
 * How it works. A flat vector has its elements in one block and its validity in 64-bit
 * words, LSB first, which is Arrow's bitmap on a little-endian machine: both are lent as
 * they are. What DuckDB stores differently is rewritten: booleans (a byte each) to bits,
 * strings (16-byte handles) to offsets and bytes, list entries (offset, length pairs) to
 * the two arrays of a list view, decimals (scaled integers) and 128-bit integers to
 * doubles. What is written, and the ArrowArray nodes, are blocks in
 * one chain that the outermost array owns. */
#include <string.h>

#include "engines/duckdb/internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "validity words are lent as a bitmap");

typedef struct block {
  struct block *next;
  max_align_t data[];
} block;

/* nbytes of memory that lives as long as the chain; zeroed. */
static vonk_status chain_new(block **chain, size_t count, size_t size, void *out_pointer,
                             vonk_error *err) {
  size_t nbytes;
  block *b;
  VONK_TRY(vonk_size_mul(count, size, &nbytes, err));
  VONK_TRY(vonk_size_add(nbytes, sizeof(block), &nbytes, err));
  VONK_TRY(vonk_new(1, nbytes, &b, err));
  b->next = *chain;
  *chain = b;
  void *data = b->data;
  memcpy(out_pointer, &data, sizeof(data));
  return VONK_OK;
}

static void release_chain(block *chain) {
  while (chain != NULL) {
    block *next = chain->next;
    vonk_delete(chain);
    chain = next;
  }
}

static void release_inner(struct ArrowArray *array) { array->release = NULL; }

static void release_outer(struct ArrowArray *array) {
  block *chain = array->private_data;
  array->release = NULL;
  release_chain(chain);
}

static bool is_valid(const uint64_t *validity, int64_t i) {
  return validity == NULL || ((validity[i / 64] >> (i % 64)) & 1u) != 0;
}

/* --- what is rewritten --- */

static vonk_status view_bools(duckdb_vector vector, int64_t n, block **chain,
                              const void **bits, vonk_error *err) {
  uint8_t *out;
  VONK_TRY(chain_new(chain, (size_t)n / 8 + 1, 1, &out, err));
  const uint8_t *bytes = duckdb_vector_get_data(vector);
  for (int64_t i = 0; i < n; i++) {
    out[i / 8] = (uint8_t)(out[i / 8] | ((bytes[i] != 0) << (i % 8)));
  }
  *bits = out;
  return VONK_OK;
}

static vonk_status view_text(duckdb_vector vector, int64_t n, block **chain,
                             const void **buffers, vonk_error *err) {
  duckdb_string_t *strings = duckdb_vector_get_data(vector);
  const uint64_t *validity = duckdb_vector_get_validity(vector);
  int64_t *offsets;
  VONK_TRY(chain_new(chain, (size_t)n + 1, sizeof(*offsets), &offsets, err));
  for (int64_t i = 0; i < n; i++) {
    offsets[i + 1] =
        offsets[i] + (is_valid(validity, i) ? strings[i].value.inlined.length : 0);
  }
  char *bytes;
  VONK_TRY(chain_new(chain, (size_t)offsets[n], 1, &bytes, err));
  for (int64_t i = 0; i < n; i++) {
    if (offsets[i + 1] > offsets[i]) {
      memcpy(bytes + offsets[i], duckdb_string_t_data(&strings[i]),
             (size_t)(offsets[i + 1] - offsets[i]));
    }
  }
  buffers[1] = offsets;
  buffers[2] = bytes;
  return VONK_OK;
}

static vonk_status view_entries(duckdb_vector vector, int64_t n, block **chain,
                                const void **buffers, vonk_error *err) {
  const duckdb_list_entry *entries = duckdb_vector_get_data(vector);
  const uint64_t *validity = duckdb_vector_get_validity(vector);
  int64_t *offsets, *sizes;
  VONK_TRY(chain_new(chain, (size_t)n + 1, sizeof(*offsets), &offsets, err));
  VONK_TRY(chain_new(chain, (size_t)n + 1, sizeof(*sizes), &sizes, err));
  for (int64_t i = 0; i < n; i++) {
    if (is_valid(validity, i)) {
      offsets[i] = (int64_t)entries[i].offset;
      sizes[i] = (int64_t)entries[i].length;
    }
  }
  buffers[1] = offsets;
  buffers[2] = sizes;
  return VONK_OK;
}

/* A 128-bit integer in two words; upper counts 2^64s. */
static double wide_number(double upper, uint64_t lower) {
  return upper * 18446744073709551616.0 + (double)lower;
}

/* Integers as DuckDB stores them, less the scale. */
static double digits_at(const void *data, duckdb_type type, int64_t i) {
  switch (type) {
    case DUCKDB_TYPE_SMALLINT:
      return ((const int16_t *)data)[i];
    case DUCKDB_TYPE_INTEGER:
      return ((const int32_t *)data)[i];
    case DUCKDB_TYPE_BIGINT:
      return (double)((const int64_t *)data)[i];
    case DUCKDB_TYPE_UHUGEINT: {
      duckdb_uhugeint wide = ((const duckdb_uhugeint *)data)[i];
      return wide_number((double)wide.upper, wide.lower);
    }
    default: { /* by its magnitude: the words of a small negative number are huge */
      duckdb_hugeint wide = ((const duckdb_hugeint *)data)[i];
      if (wide.upper >= 0) {
        return wide_number((double)wide.upper, wide.lower);
      }
      uint64_t lower = ~wide.lower + 1u;
      uint64_t upper = ~(uint64_t)wide.upper + (lower == 0);
      return -wide_number((double)upper, lower);
    }
  }
}

static vonk_status view_wide(duckdb_vector vector, const vonk_duckdb_type *type,
                             int64_t n, block **chain, const void **values,
                             vonk_error *err) {
  const void *data = duckdb_vector_get_data(vector);
  const uint64_t *validity = duckdb_vector_get_validity(vector);
  duckdb_type stored = type->id == DUCKDB_TYPE_DECIMAL ? type->index : type->id;
  double *out, unit = 1;
  VONK_TRY(chain_new(chain, (size_t)n, sizeof(*out), &out, err));
  for (int i = 0; i < type->scale; i++) {
    unit *= 10; /* exact up to 10^22; DuckDB divides by the same power */
  }
  for (int64_t i = 0; i < n; i++) {
    if (is_valid(validity, i)) {
      out[i] = digits_at(data, stored, i) / unit;
    }
  }
  *values = out;
  return VONK_OK;
}

/* --- the array --- */

static vonk_status view_vector(duckdb_vector vector, const vonk_duckdb_type *type,
                               int64_t n, block **chain, struct ArrowArray *out,
                               vonk_error *err);

static duckdb_vector child_of(duckdb_vector vector, const vonk_duckdb_type *type,
                              size_t i, int64_t n, int64_t *child_length) {
  switch (type->id) {
    case DUCKDB_TYPE_LIST:
      *child_length = (int64_t)duckdb_list_vector_get_size(vector);
      return duckdb_list_vector_get_child(vector);
    case DUCKDB_TYPE_ARRAY:
      *child_length = n * (int64_t)type->array_size;
      return duckdb_array_vector_get_child(vector);
    default:
      *child_length = n;
      return duckdb_struct_vector_get_child(vector, i);
  }
}

static vonk_status view_children(duckdb_vector vector, const vonk_duckdb_type *type,
                                 block **chain, struct ArrowArray *out, vonk_error *err) {
  struct ArrowArray *children;
  VONK_TRY(chain_new(chain, type->n_children, sizeof(*children), &children, err));
  VONK_TRY(
      chain_new(chain, type->n_children, sizeof(*out->children), &out->children, err));
  for (size_t i = 0; i < type->n_children; i++) {
    int64_t length;
    duckdb_vector child = child_of(vector, type, i, out->length, &length);
    VONK_TRY(view_vector(child, &type->children[i], length, chain, &children[i], err));
    out->children[i] = &children[i];
  }
  out->n_children = (int64_t)type->n_children;
  return VONK_OK;
}

static vonk_status view_vector(duckdb_vector vector, const vonk_duckdb_type *type,
                               int64_t n, block **chain, struct ArrowArray *out,
                               vonk_error *err) {
  const void **buffers;
  VONK_TRY(chain_new(chain, 3, sizeof(*buffers), &buffers, err));
  buffers[0] = duckdb_vector_get_validity(vector);
  *out = (struct ArrowArray){.length = n,
                             .null_count = buffers[0] == NULL ? 0 : -1,
                             .n_buffers = 2,
                             .buffers = buffers,
                             .dictionary = type->dictionary,
                             .release = release_inner};
  switch (type->id) {
    case DUCKDB_TYPE_BOOLEAN:
      return view_bools(vector, n, chain, &buffers[1], err);
    case DUCKDB_TYPE_DECIMAL:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
      return view_wide(vector, type, n, chain, &buffers[1], err);
    case DUCKDB_TYPE_SQLNULL:
      out->n_buffers = 0;
      out->null_count = n;
      return VONK_OK;
    case DUCKDB_TYPE_VARCHAR:
    case DUCKDB_TYPE_BLOB:
      out->n_buffers = 3;
      return view_text(vector, n, chain, buffers, err);
    case DUCKDB_TYPE_LIST:
      out->n_buffers = 3;
      VONK_TRY(view_entries(vector, n, chain, buffers, err));
      return view_children(vector, type, chain, out, err);
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
      out->n_buffers = 1;
      return view_children(vector, type, chain, out, err);
    default:
      buffers[1] = duckdb_vector_get_data(vector);
      return VONK_OK;
  }
}

vonk_status vonk_duckdb_view(duckdb_vector vector, const vonk_duckdb_type *type,
                             int64_t n, struct ArrowArray *out, vonk_error *err) {
  block *chain = NULL;
  struct ArrowArray array;
  vonk_status status = view_vector(vector, type, n, &chain, &array, err);
  if (status != VONK_OK) {
    release_chain(chain);
    return status;
  }
  array.private_data = chain;
  array.release = release_outer;
  *out = array;
  return VONK_OK;
}

/* --- ENUM --- */

vonk_status vonk_duckdb_dictionary(duckdb_logical_type type, struct ArrowArray **out,
                                   vonk_error *err) {
  uint32_t n = duckdb_enum_dictionary_size(type);
  vonk_buffer bytes = {0};
  block *chain = NULL;
  int64_t *offsets;
  const void **buffers;
  struct ArrowArray *array = NULL;
  vonk_status status = chain_new(&chain, (size_t)n + 1, sizeof(*offsets), &offsets, err);
  for (uint32_t i = 0; status == VONK_OK && i < n; i++) {
    char *value = duckdb_enum_dictionary_value(type, i);
    status = vonk_buffer_append(&bytes, value, strlen(value), err);
    offsets[i + 1] = (int64_t)bytes.size;
    duckdb_free(value);
  }
  char *copy;
  if (status == VONK_OK &&
      (status = chain_new(&chain, bytes.size, 1, &copy, err)) == VONK_OK &&
      (status = chain_new(&chain, 3, sizeof(*buffers), &buffers, err)) == VONK_OK &&
      (status = vonk_new(1, sizeof(*array), &array, err)) == VONK_OK) {
    if (bytes.size > 0) {
      memcpy(copy, bytes.data, bytes.size);
    }
    buffers[1] = offsets;
    buffers[2] = copy;
    *array = (struct ArrowArray){.length = n,
                                 .n_buffers = 3,
                                 .buffers = buffers,
                                 .release = release_outer,
                                 .private_data = chain};
    *out = array;
  } else {
    release_chain(chain);
  }
  vonk_buffer_release(&bytes);
  return status;
}

/* --- sizes --- */

static uint64_t text_bytes(duckdb_vector vector, int64_t n) {
  const duckdb_string_t *strings = duckdb_vector_get_data(vector);
  const uint64_t *validity = duckdb_vector_get_validity(vector);
  uint64_t total = 0;
  for (int64_t i = 0; i < n; i++) {
    total += is_valid(validity, i) ? strings[i].value.inlined.length : 0;
  }
  return total;
}

uint64_t vonk_duckdb_vector_bytes(duckdb_vector vector, const vonk_duckdb_type *type,
                                  int64_t n) {
  uint64_t total = vonk_duckdb_type_find(type->id)->width * (uint64_t)n;
  if (type->id == DUCKDB_TYPE_VARCHAR || type->id == DUCKDB_TYPE_BLOB) {
    return total + text_bytes(vector, n);
  }
  for (size_t i = 0; i < type->n_children; i++) {
    int64_t length;
    duckdb_vector child = child_of(vector, type, i, n, &length);
    total += vonk_duckdb_vector_bytes(child, &type->children[i], length);
  }
  return total;
}
