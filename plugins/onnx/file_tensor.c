/* Tensors in a model file: how many elements, how many bytes, and where those are.
 *
 * Sizes are only computed, never allocated: a tensor's dimensions may claim anything. Of
 * a weight that lies in a file outside, the place is checked (external.c).
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "onnx_walk.h"

/* A tensor, as far as it can be told without its elements. */
typedef struct tensor_facts {
  kit_slice name;
  int ort_dtype;
  size_t count, raw_size, text_size;
  bool has_raw, is_external, has_bad_dims, has_location;
  onnx_external external;
  uint64_t length; /* of the external data; 0 = not said */
} tensor_facts;

static void add_dim(tensor_facts *facts, uint64_t dim, bool *has_zero) {
  *has_zero |= dim == 0;
  if (dim > INT64_MAX ||
      (dim != 0 && __builtin_mul_overflow(facts->count, dim, &facts->count))) {
    facts->has_bad_dims = true;
  }
}

static bool read_decimal(kit_slice text, uint64_t *out) {
  uint64_t value = 0;
  for (size_t i = 0; i < text.size; ++i) {
    uint64_t digit = (uint64_t)text.data[i] - '0';
    if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      return false;
    }
  }
  *out = value;
  return text.size != 0 && value <= INT64_MAX;
}

/* False if the entry makes no sense, or repeats another. */
static bool add_external_entry(tensor_facts *facts, kit_slice pair) {
  kit_slice key = {0}, value = {0};
  vonk_onnx_read_pair(pair, &key, &value);
  if (vonk_kit_slice_equals(key, "location")) {
    bool is_first = !facts->has_location;
    facts->has_location = true;
    facts->external.location = value;
    return is_first;
  }
  if (vonk_kit_slice_equals(key, "offset")) {
    return facts->external.offset == 0 && read_decimal(value, &facts->external.offset);
  }
  if (vonk_kit_slice_equals(key, "length")) {
    return facts->length == 0 && read_decimal(value, &facts->length);
  }
  return true;
}

/* One field of a tensor; false if it makes no sense. */
static bool add_tensor_field(tensor_facts *facts, const kit_field *field,
                             bool *has_zero) {
  kit_slice rest = field->bytes;
  uint64_t value = field->value;
  switch (field->number) {
    case 1:
      if (field->wire == KIT_WIRE_VARINT) {
        add_dim(facts, value, has_zero);
      }
      while (field->wire == KIT_WIRE_BYTES && rest.size != 0) {
        if (!vonk_kit_wire_number(&rest, &value)) {
          return false;
        }
        add_dim(facts, value, has_zero);
      }
      return true;
    case 2:
      facts->ort_dtype = value <= INT_MAX ? (int)value : -1;
      return true;
    case 6:
      facts->text_size += field->bytes.size;
      return true;
    case 8:
      facts->name = field->bytes;
      return true;
    case 9:
      facts->has_raw = true;
      facts->raw_size = field->bytes.size;
      return true;
    case 13:
      return add_external_entry(facts, field->bytes);
    case 14:
      facts->is_external = value == 1;
      return true;
    default:
      return true;
  }
}

static vonk_status fail_tensor(const walk *w, const tensor_facts *facts,
                               const char *why) {
  int length = facts->name.size > 200 ? 200 : (int)facts->name.size;
  return vonk_kit_fail(
      w->err, VONK_MODEL,
      "'%s': is a damaged ONNX file: tensor '%.*s': %s: download or export "
      "it again",
      w->path, length, (const char *)facts->name.data, why);
}

/* Bytes of all elements, false if that is more than can be. */
static bool tensor_nbytes(const tensor_facts *facts, uint64_t *out) {
  const onnx_dtype *dtype = vonk_onnx_dtype_of_ort(facts->ort_dtype);
  uint64_t nbits, bits = dtype == NULL ? 0 : dtype->bits;
  if (facts->has_bad_dims ||
      __builtin_mul_overflow((uint64_t)facts->count, bits, &nbits) || nbits > INT64_MAX) {
    return false;
  }
  *out = bits == 0 ? facts->text_size : nbits / 8 + (nbits % 8 != 0);
  return true;
}

static void add_weights(onnx_file_facts *total, uint64_t count, uint64_t nbytes) {
  if (__builtin_add_overflow(total->n_params, count, &total->n_params)) {
    total->n_params = INT64_MAX;
  }
  if (__builtin_add_overflow(total->weight_bytes, nbytes, &total->weight_bytes)) {
    total->weight_bytes = INT64_MAX;
  }
}

static void count_weight(walk *w, const tensor_facts *facts, uint64_t nbytes) {
  const onnx_dtype *dtype = vonk_onnx_dtype_of_ort(facts->ort_dtype);
  bool is_trained = dtype != NULL && dtype->bits != 0 && dtype->dtype != VONK_I64 &&
                    dtype->dtype != VONK_BOOL8;
  add_weights(w->facts, is_trained ? facts->count : 0, nbytes);
}

/* How many floats an attribute lists; a file may write them one by one or together. */
static size_t count_floats(kit_slice attribute) {
  kit_field field;
  size_t n = 0;
  while (vonk_kit_wire_next(&attribute, &field) == 1) {
    if (field.number == 7) {
      n += field.wire == KIT_WIRE_BYTES ? field.bytes.size / sizeof(float)
                                        : field.wire == KIT_WIRE_4_BYTES;
    }
  }
  return n;
}

void vonk_onnx_count_attributes(walk *w, kit_slice node) {
  kit_field field;
  while (vonk_kit_wire_next(&node, &field) == 1) {
    if (field.number == 5 && field.wire == KIT_WIRE_BYTES) {
      size_t n = count_floats(field.bytes);
      add_weights(w->facts, n, n * sizeof(float));
    }
  }
}

/* ONNX Runtime takes files in memory for the weights of the model's own graph only. */
static vonk_status check_external(walk *w, const tensor_facts *facts, const place *here) {
  VONK_TRY(vonk_onnx_external_check(&w->folder, &facts->external, w->err));
  if (w->folder.source->files == NULL || !facts->is_external) {
    return VONK_OK;
  }
  if (here->is_main) {
    return vonk_onnx_external_note(&w->folder, w->arena, w->err);
  }
  int length = facts->name.size > 80 ? 80 : (int)facts->name.size;
  return vonk_kit_fail(w->err, VONK_UNSUPPORTED,
                       "'%s': tensor '%.*s': is kept in a file outside, and is no weight "
                       "of the main graph: out of a bundle ONNX Runtime loads only "
                       "those: save the model without external data",
                       w->path, length, (const char *)facts->name.data);
}

vonk_status vonk_onnx_visit_tensor(walk *w, kit_slice bytes, const place *here) {
  tensor_facts facts = {.count = 1};
  kit_field field;
  bool has_zero = false, makes_sense = true;
  for (kit_slice rest = bytes; makes_sense && vonk_kit_wire_next(&rest, &field) == 1;) {
    makes_sense = add_tensor_field(&facts, &field, &has_zero);
  }
  if (!makes_sense) {
    return fail_tensor(w, &facts, "its description makes no sense");
  }
  facts.count = has_zero ? 0 : facts.count;
  uint64_t nbytes;
  if (!tensor_nbytes(&facts, &nbytes)) {
    return fail_tensor(w, &facts,
                       "its dimensions are negative, or larger than any memory");
  }
  const onnx_dtype *dtype = vonk_onnx_dtype_of_ort(facts.ort_dtype);
  if (facts.has_raw && dtype != NULL && dtype->bits != 0 && !facts.is_external &&
      facts.raw_size != nbytes) {
    char why[160];
    snprintf(why, sizeof why, "has %zu bytes, its dimensions need %" PRIu64,
             facts.raw_size, nbytes);
    return fail_tensor(w, &facts, why);
  }
  if (facts.is_external || facts.has_location) {
    facts.external.name = facts.name;
    facts.external.nbytes = facts.length > nbytes ? facts.length : nbytes;
    VONK_TRY(check_external(w, &facts, here));
  }
  if (here->is_weight) {
    count_weight(w, &facts, nbytes);
  }
  return VONK_OK;
}
