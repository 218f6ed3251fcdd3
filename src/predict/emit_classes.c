/* Classes as columns: the index of a label becomes its text, the entries of topN three
 * columns side by side. */
#include <string.h>

#include "predict/plan.h"

/* The numbers of n classes, an int64 every `stride` bytes. */
typedef struct class_numbers {
  const output_plan *output;
  int64_t n;
  const uint8_t *first;
  size_t stride;
} class_numbers;

static int64_t number_at(const class_numbers *c, int64_t i) {
  int64_t number;
  memcpy(&number, c->first + (size_t)i * c->stride, sizeof number);
  return number;
}

/* Where the label of each ends; what `validity` says is NULL, and everything if there are
 * no labels, is empty. */
static vonk_status measure_labels(const class_numbers *c, const uint8_t *validity,
                                  int32_t *offsets, vonk_error *err) {
  const output_plan *o = c->output;
  size_t at = 0;
  for (int64_t i = 0; i < c->n; i++) {
    bool is_there =
        o->labels != NULL && (validity == NULL || vonk_bit_get(validity, (size_t)i));
    at += is_there ? strlen(o->labels[number_at(c, i)]) : 0;
    if (at > INT32_MAX) {
      return vonk_fail(
          err, VONK_INVALID,
          "output '%s': one batch yields more than 2 GiB of labels: give smaller batches",
          o->io->name);
    }
    offsets[i + 1] = (int32_t)at;
  }
  return VONK_OK;
}

static void copy_labels(const class_numbers *c, const int32_t *offsets, uint8_t *bytes) {
  for (int64_t i = 0; i < c->n; i++) {
    size_t nbytes = (size_t)(offsets[i + 1] - offsets[i]);
    if (nbytes > 0) {
      memcpy(bytes + offsets[i], c->output->labels[number_at(c, i)], nbytes);
    }
  }
}

/* *validity is taken over on success. */
static vonk_status make_text(const class_numbers *c, int64_t null_count,
                             uint8_t **validity, struct ArrowArray *out,
                             vonk_error *err) {
  int32_t *offsets = NULL;
  uint8_t *bytes = NULL;
  VONK_TRY(vonk_new((size_t)c->n + 1, sizeof *offsets, &offsets, err));
  vonk_status status = measure_labels(c, *validity, offsets, err);
  if (status == VONK_OK) {
    status = vonk_new((size_t)offsets[c->n], 1, &bytes, err);
  }
  if (status == VONK_OK) {
    copy_labels(c, offsets, bytes);
    status = vonk_array_text(c->n, null_count, *validity, offsets, bytes, out, err);
  }
  if (status != VONK_OK) {
    vonk_delete(offsets);
    vonk_delete(bytes);
    return status;
  }
  *validity = NULL;
  return VONK_OK;
}

vonk_status vonk_emit_labels(const output_plan *o, int64_t n, int64_t null_count,
                             uint8_t **validity, uint8_t **values, struct ArrowArray *out,
                             vonk_error *err) {
  class_numbers c = {o, n, *values, sizeof(int64_t)};
  VONK_TRY(make_text(&c, null_count, validity, out, err));
  vonk_delete(*values);
  *values = NULL;
  return VONK_OK;
}

static vonk_status emit_index(int64_t n, const class_entry *entries,
                              struct ArrowArray *out, vonk_error *err) {
  int64_t *index = NULL;
  VONK_TRY(vonk_new((size_t)n, sizeof *index, &index, err));
  for (int64_t i = 0; i < n; i++) {
    index[i] = entries[i].index;
  }
  vonk_status status = vonk_array_value(n, 0, NULL, index, out, err);
  if (status != VONK_OK) {
    vonk_delete(index);
  }
  return status;
}

static vonk_status emit_entry_labels(const output_plan *o, int64_t n,
                                     const class_entry *entries, struct ArrowArray *out,
                                     vonk_error *err) {
  uint8_t *validity = NULL;
  if (o->labels == NULL) {
    VONK_TRY(vonk_new(((size_t)n + 7) / 8, 1, &validity, err));
  }
  class_numbers c = {o, n, (const uint8_t *)entries, sizeof *entries};
  vonk_status status = make_text(&c, o->labels == NULL ? n : 0, &validity, out, err);
  vonk_delete(validity);
  return status;
}

static vonk_status emit_scores(const output_plan *o, int64_t n,
                               const class_entry *entries, struct ArrowArray *out,
                               vonk_error *err) {
  size_t size = o->result_type->size;
  uint8_t *scores = NULL, *none = NULL;
  VONK_TRY(vonk_new((size_t)n, size, &scores, err));
  for (int64_t i = 0; i < n; i++) {
    memcpy(scores + (size_t)i * size, entries[i].u.score, size);
  }
  vonk_status status = vonk_emit_values(o->result_type, n, 0, &none, &scores, out, err);
  vonk_delete(scores);
  return status;
}

vonk_status vonk_emit_entries(const output_plan *o, int64_t n, uint8_t **values,
                              struct ArrowArray *out, vonk_error *err) {
  const class_entry *entries = (const class_entry *)(const void *)*values;
  struct ArrowArray array = {0};
  VONK_TRY(vonk_array_struct(n, 3, &array, err));
  vonk_status status = emit_index(n, entries, array.children[0], err);
  if (status == VONK_OK) {
    status = emit_entry_labels(o, n, entries, array.children[1], err);
  }
  if (status == VONK_OK) {
    status = emit_scores(o, n, entries, array.children[2], err);
  }
  if (status != VONK_OK) {
    array.release(&array);
    return status;
  }
  vonk_array_move(&array, out);
  vonk_delete(*values);
  *values = NULL;
  return VONK_OK;
}

vonk_status vonk_classes_schema(const output_plan *o, const char *name,
                                struct ArrowSchema *out, vonk_error *err) {
  struct ArrowSchema schema = {0};
  VONK_TRY(vonk_schema_struct(name, 3, &schema, err));
  vonk_status status = vonk_schema_value("index", VONK_I64, schema.children[0], err);
  if (status == VONK_OK) {
    status = vonk_schema_value("label", VONK_BYTES, schema.children[1], err);
  }
  if (status == VONK_OK) {
    status = vonk_schema_value("score", o->result_type->dtype, schema.children[2], err);
  }
  if (status != VONK_OK) {
    schema.release(&schema);
    return status;
  }
  vonk_schema_move(&schema, out);
  return VONK_OK;
}
