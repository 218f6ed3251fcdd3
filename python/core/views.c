/* String views, as polars and some engines export text, made into the plain strings that
 * the library reads.
 *
 * How it works: a batch with views is copied as structs (capsule.c: the values stay where
 * they are), and each view node in the copy is replaced by a large utf8 or binary array.
 * Only columns that the predictor reads are converted. What the views point to is checked,
 * so that a faulty producer is an error and not a crash. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

static const char *plain_format(const char *format) {
  return strcmp(format, "vu") == 0 ? "U" : strcmp(format, "vz") == 0 ? "Z" : NULL;
}

static bool has_views(const struct ArrowSchema *schema) {
  bool found = plain_format(schema->format) != NULL;
  for (int64_t i = 0; !found && i < schema->n_children; i++) {
    found = has_views(schema->children[i]);
  }
  return found || (schema->dictionary != NULL && has_views(schema->dictionary));
}

/* --- one array of views --- */

typedef struct view {
  int32_t size;
  union {
    char inlined[12];
    struct {
      char prefix[4];
      int32_t buffer, offset;
    } away;
  } at;
} view;

typedef struct strings {
  const void *buffers[3];
  uint8_t *validity;
  int64_t *offsets;
  char *bytes;
} strings;

static void release_strings(struct ArrowArray *array) {
  strings *s = array->private_data;
  free(s->validity);
  free(s->offsets);
  free(s->bytes);
  free(s);
  array->release = NULL;
}

static bool is_valid(const struct ArrowArray *a, int64_t i) {
  const uint8_t *bits = a->buffers[0];
  int64_t at = a->offset + i;
  return bits == NULL || (bits[at / 8] >> (at % 8) & 1) != 0;
}

/* The bytes of view i; NULL with an error if they lie nowhere. */
static const char *bytes_of(const struct ArrowArray *a, const view *v, int64_t i,
                            vonk_error *err) {
  if (v->size >= 0 && v->size <= (int32_t)sizeof v->at.inlined) {
    return v->at.inlined;
  }
  int64_t n_buffers = a->n_buffers - 3;
  const int64_t *sizes = a->buffers[a->n_buffers - 1];
  int32_t b = v->at.away.buffer, offset = v->at.away.offset;
  if (v->size < 0 || b < 0 || b >= n_buffers || offset < 0 ||
      (int64_t)offset + v->size > sizes[b]) {
    (void)vonk_py_fail(err, VONK_INVALID,
                       "string view %" PRId64
                       ": points outside its buffers: the producer is at fault",
                       i);
    return NULL;
  }
  return (const char *)a->buffers[2 + b] + offset;
}

static vonk_status fill(const struct ArrowArray *a, strings *s, vonk_error *err) {
  const view *views = a->buffers[1];
  int64_t n = 0;
  for (int64_t i = 0; i < a->length; i++) {
    if (!is_valid(a, i)) {
      s->offsets[i + 1] = n;
      continue;
    }
    const view *v = &views[a->offset + i];
    const char *bytes = bytes_of(a, v, i, err);
    if (bytes == NULL) {
      return VONK_INVALID;
    }
    if (s->bytes != NULL) { /* the second time */
      memcpy(s->bytes + n, bytes, (size_t)v->size);
      s->validity[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    n += v->size;
    s->offsets[i + 1] = n;
  }
  return VONK_OK;
}

/* Twice over the views: for the size, then for the bytes. */
static vonk_status convert(const struct ArrowArray *a, strings *s, vonk_error *err) {
  if (a->n_buffers < 3 || a->length < 0 || a->offset < 0) {
    return vonk_py_fail(err, VONK_INVALID,
                        "string views: have %" PRId64 " buffers, want 3 or more",
                        a->n_buffers);
  }
  size_t n = (size_t)a->length;
  s->offsets = calloc(n + 1, sizeof *s->offsets);
  s->validity = calloc(n / 8 + 1, 1);
  if (s->offsets == NULL || s->validity == NULL) {
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for %zu strings", n);
  }
  vonk_status status = fill(a, s, err);
  if (status != VONK_OK) {
    return status;
  }
  s->bytes = malloc((size_t)s->offsets[n] + 1);
  if (s->bytes == NULL) {
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for %" PRId64 " bytes",
                        s->offsets[n]);
  }
  return fill(a, s, err);
}

static vonk_status replace_views(struct ArrowArray *node, vonk_error *err) {
  strings *s = calloc(1, sizeof *s);
  if (s == NULL) {
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for strings");
  }
  struct ArrowArray made = {.length = node->length,
                            .null_count = node->null_count,
                            .n_buffers = 3,
                            .buffers = s->buffers,
                            .release = release_strings,
                            .private_data = s};
  vonk_status status = convert(node, s, err);
  if (status != VONK_OK) {
    made.release(&made);
    return status;
  }
  s->buffers[0] = s->validity;
  s->buffers[1] = s->offsets;
  s->buffers[2] = s->bytes;
  node->release(node);
  *node = made;
  return VONK_OK;
}

/* --- a tree --- */

static vonk_status check_shape(const struct ArrowSchema *schema,
                               const struct ArrowArray *node, vonk_error *err) {
  bool fits = schema->n_children == node->n_children &&
              (schema->dictionary == NULL) == (node->dictionary == NULL);
  return fits ? VONK_OK
              : vonk_py_fail(err, VONK_INVALID,
                             "batch: has %" PRId64
                             " children where its schema has %" PRId64
                             ": the producer is at fault",
                             node->n_children, schema->n_children);
}

/* schema is the producer's own, in which views are still views. */
static vonk_status replace_in(const struct ArrowSchema *schema, struct ArrowArray *node,
                              vonk_error *err) {
  if (plain_format(schema->format) != NULL) {
    return replace_views(node, err);
  }
  vonk_status status = check_shape(schema, node, err);
  for (int64_t i = 0; status == VONK_OK && i < schema->n_children; i++) {
    status = replace_in(schema->children[i], node->children[i], err);
  }
  if (status == VONK_OK && schema->dictionary != NULL) {
    status = replace_in(schema->dictionary, node->dictionary, err);
  }
  return status;
}

vonk_status vonk_py_views_convert(const struct ArrowSchema *schema,
                                  const vonk_predictor *predictor,
                                  struct ArrowArray *batch, vonk_error *err) {
  struct ArrowArray copy;
  vonk_py_shared *shared = vonk_py_share_array(batch);
  if (shared == NULL || vonk_py_export_array(shared, &copy) != VONK_OK) {
    vonk_py_unshare(shared);
    return vonk_py_fail(err, VONK_NOMEM, "memory: none left for a batch");
  }
  vonk_py_unshare(shared); /* the copy's nodes hold it */
  const int64_t *columns;
  size_t n;
  vonk_predictor_columns(predictor, &columns, &n);
  vonk_status status = check_shape(schema, &copy, err);
  for (size_t k = 0; status == VONK_OK && k < n; k++) {
    status = replace_in(schema->children[columns[k]], copy.children[columns[k]], err);
  }
  if (status != VONK_OK) {
    copy.release(&copy);
    return status;
  }
  *batch = copy;
  return VONK_OK;
}

static void name_plain(struct ArrowSchema *schema) {
  const char *plain = plain_format(schema->format);
  schema->format = plain == NULL ? schema->format : plain;
  for (int64_t i = 0; i < schema->n_children; i++) {
    name_plain(schema->children[i]);
  }
  if (schema->dictionary != NULL) {
    name_plain(schema->dictionary);
  }
}

/* A producer frees the formats it gave: so they are replaced in a copy. */
int vonk_py_views_rename(struct ArrowSchema *schema, struct ArrowSchema *original) {
  original->release = NULL;
  if (!has_views(schema)) {
    return 0;
  }
  struct ArrowSchema copy;
  vonk_py_shared *shared = vonk_py_share_schema(schema);
  if (shared == NULL || vonk_py_export_schema(shared, &copy) != VONK_OK ||
      vonk_py_export_schema(shared, original) != VONK_OK) {
    vonk_py_unshare(shared);
    (void)PyErr_NoMemory();
    return -1;
  }
  vonk_py_unshare(shared);
  name_plain(&copy);
  *schema = copy;
  return 0;
}
