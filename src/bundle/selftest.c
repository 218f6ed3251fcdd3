/* The self-test of a bundle: a few rows, and what the original model gave for them.
 *
 * How it works: what the manifest says is checked against the inputs and outputs while it
 * is read; the numbers are looked at once the files' digests are checked. Numbers stay
 * where they are in the bundle; texts are put one after the other, as a tensor has them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bundle/internal.h"

enum { MOST_ROWS = 1 << 20 };

/* One side of the test: its inputs, or its outputs. */
typedef struct side {
  vonk_bundle *bundle;
  const char *key;
  const vonk_port *ports;
  uint32_t n_ports;
  int64_t rows;
  bool is_output; /* some may be missing */
  vonk_selftest_tensor *tensors;
  bundle_source *sources;
  uint32_t n;
} side;

/* --- what the manifest says ---------------------------------------------------------- */

/* All dimensions known, and as the port has them. */
static vonk_status read_shape(const side *s, yyjson_val *object, const char *where,
                              vonk_selftest_tensor *t, vonk_error *err) {
  const vonk_port *port = &s->ports[t->port];
  yyjson_val *list = NULL, *value;
  size_t i, n;
  VONK_TRY(vonk_json_list(s->bundle, object, where, "shape", true, &list, err));
  size_t rank = yyjson_arr_size(list);
  if (rank == 0 || rank > VONK_MAX_RANK ||
      (port->rank >= 0 && rank != (size_t)port->rank)) {
    return vonk_manifest_fail(s->bundle, err, where,
                              "'shape' has %zu dimensions, the tensor itself %" PRId32,
                              rank, port->rank);
  }
  t->rank = (int32_t)rank;
  yyjson_arr_foreach(list, i, n, value) {
    int64_t dim = yyjson_is_uint(value) ? yyjson_get_sint(value) : -1;
    int64_t expected = i == 0 ? s->rows : port->rank >= 0 ? port->shape[i] : -1;
    if (dim < 0 || dim > INT32_MAX || (expected >= 0 && dim != expected)) {
      return vonk_manifest_fail(
          s->bundle, err, where,
          "'shape': dimension %zu is %" PRId64 ": expected %s%" PRId64 "", i, dim,
          expected < 0 ? "at least " : "", expected < 0 ? 0 : expected);
    }
    t->shape[i] = dim;
  }
  return VONK_OK;
}

static vonk_status count_elements(const vonk_selftest_tensor *t, size_t *out,
                                  vonk_error *err) {
  size_t n = 1;
  for (int32_t i = 0; i < t->rank; i++) {
    VONK_TRY(vonk_size_mul(n, (size_t)t->shape[i], &n, err));
  }
  *out = n;
  return VONK_OK;
}

static vonk_status read_source(const side *s, yyjson_val *object, const char *where,
                               const vonk_selftest_tensor *t, bundle_source *out,
                               vonk_error *err) {
  vonk_dtype dtype = s->ports[t->port].dtype;
  const char *name = NULL;
  char shown[VONK_SHOWN];
  size_t n, nbytes;
  if (count_elements(t, &n, NULL) != VONK_OK ||
      vonk_size_mul(n, vonk_port_item_size(dtype), &nbytes, NULL) != VONK_OK) {
    return vonk_manifest_fail(s->bundle, err, where, "is larger than any memory");
  }
  if (dtype == VONK_BYTES) {
    VONK_TRY(vonk_json_list(s->bundle, object, where, "values", true, &out->values, err));
    if (yyjson_arr_size(out->values) != n) {
      return vonk_manifest_fail(s->bundle, err, where,
                                "'values' has %zu entries, 'shape' has %zu elements",
                                yyjson_arr_size(out->values), n);
    }
    return VONK_OK;
  }
  VONK_TRY(vonk_json_text(s->bundle, object, where, "file", true, &name, err));
  bundle_file *file = vonk_bundle_find(s->bundle, name);
  vonk_bundle_show(name, strlen(name), shown);
  if (file == NULL) {
    return vonk_manifest_fail(s->bundle, err, where,
                              "file '%s': there is no such file in the bundle", shown);
  }
  if (file->size != nbytes) {
    return vonk_manifest_fail(s->bundle, err, where,
                              "file '%s' has %" PRIu64
                              " bytes, a %s tensor of this shape has %zu",
                              shown, file->size, vonk_dtype_name(dtype), nbytes);
  }
  file->is_kept = true;
  out->file = file;
  return VONK_OK;
}

/* A name that is none of the ports would be a test of nothing. */
static vonk_status check_names(const side *s, yyjson_val *object, vonk_error *err) {
  size_t i, n;
  yyjson_val *key, *value;
  char shown[VONK_SHOWN];
  yyjson_obj_foreach(object, i, n, key, value) {
    (void)value;
    const char *name = yyjson_get_str(key);
    bool is_known = false;
    for (uint32_t k = 0; k < s->n_ports && !is_known; k++) {
      is_known = strcmp(s->ports[k].name, name) == 0;
    }
    if (!is_known) {
      return vonk_manifest_fail(s->bundle, err, s->key, "'%s' is none of the bundle's %s",
                                vonk_bundle_show(name, strlen(name), shown),
                                s->is_output ? "outputs" : "inputs");
    }
  }
  return VONK_OK;
}

/* In the order of the ports. */
static vonk_status read_side(side *s, yyjson_val *test, vonk_error *err) {
  yyjson_val *object = NULL;
  vonk_bundle *bundle = s->bundle;
  VONK_TRY(vonk_json_object(bundle, test, "selftest", s->is_output ? "outputs" : "inputs",
                            true, &object, err));
  VONK_TRY(check_names(s, object, err));
  VONK_TRY(vonk_bundle_new(bundle, s->n_ports, sizeof *s->tensors, &s->tensors, err));
  VONK_TRY(vonk_bundle_new(bundle, s->n_ports, sizeof *s->sources, &s->sources, err));
  for (uint32_t i = 0; i < s->n_ports; i++) {
    char shown[VONK_SHOWN], where[VONK_SHOWN + 32];
    const char *name = s->ports[i].name;
    yyjson_val *value = yyjson_obj_get(object, name);
    (void)snprintf(where, sizeof where, "%s.%s", s->key,
                   vonk_bundle_show(name, strlen(name), shown));
    if (value == NULL && s->is_output) {
      continue;
    }
    if (!yyjson_is_obj(value)) {
      return vonk_manifest_fail(bundle, err, where, "is %s: expected an object",
                                value == NULL ? "missing" : vonk_json_kind(value));
    }
    vonk_selftest_tensor *t = &s->tensors[s->n];
    t->port = i;
    VONK_TRY(read_shape(s, value, where, t, err));
    VONK_TRY(read_source(s, value, where, t, &s->sources[s->n], err));
    s->n++;
  }
  return s->n > 0 ? VONK_OK
                  : vonk_manifest_fail(bundle, err, s->key, "is empty: it tests nothing");
}

static vonk_status read_numbers(vonk_bundle *bundle, yyjson_val *test, vonk_error *err) {
  vonk_selftest *out = &bundle->manifest.selftest;
  yyjson_val *rows = vonk_json_get(test, "rows");
  yyjson_val *tolerance = vonk_json_get(test, "tolerance");
  if (!yyjson_is_uint(rows) || yyjson_get_uint(rows) == 0 ||
      yyjson_get_uint(rows) > MOST_ROWS) {
    return vonk_manifest_fail(bundle, err, "selftest", "'rows' is %s: expected 1 to %d",
                              yyjson_is_num(rows) ? "out of range" : vonk_json_kind(rows),
                              MOST_ROWS);
  }
  if (!yyjson_is_num(tolerance) || !isfinite(yyjson_get_num(tolerance)) ||
      yyjson_get_num(tolerance) < 0) {
    return vonk_manifest_fail(
        bundle, err, "selftest",
        "'tolerance' is %s: expected a number that is not negative",
        yyjson_is_num(tolerance) ? "out of range" : vonk_json_kind(tolerance));
  }
  out->rows = (int64_t)yyjson_get_uint(rows);
  out->tolerance = yyjson_get_num(tolerance);
  return VONK_OK;
}

vonk_status vonk_selftest_read(vonk_bundle *bundle, yyjson_val *root, vonk_error *err) {
  vonk_manifest *m = &bundle->manifest;
  yyjson_val *test = NULL;
  VONK_TRY(vonk_json_object(bundle, root, "", "selftest", false, &test, err));
  if (test == NULL) {
    return VONK_OK;
  }
  VONK_TRY(read_numbers(bundle, test, err));
  side in = {.bundle = bundle,
             .key = "selftest.inputs",
             .ports = m->inputs,
             .n_ports = m->n_inputs,
             .rows = m->selftest.rows};
  side out = {.bundle = bundle,
              .key = "selftest.outputs",
              .ports = m->outputs,
              .n_ports = m->n_outputs,
              .rows = m->selftest.rows,
              .is_output = true};
  VONK_TRY(read_side(&in, test, err));
  VONK_TRY(read_side(&out, test, err));
  bundle->test_inputs = in.sources;
  bundle->test_outputs = out.sources;
  bundle->test_in = in.tensors;
  bundle->test_out = out.tensors;
  m->selftest.inputs = in.tensors;
  m->selftest.outputs = out.tensors;
  m->selftest.n_inputs = in.n;
  m->selftest.n_outputs = out.n;
  return VONK_OK;
}

/* --- what the files hold ------------------------------------------------------------- */

static vonk_status check_bools(const vonk_bundle *bundle, const bundle_file *file,
                               vonk_error *err) {
  char shown[VONK_SHOWN];
  for (uint64_t i = 0; i < file->size; i++) {
    if (file->data[i] > 1) {
      return vonk_bundle_fail(bundle, err, VONK_MODEL,
                              "self-test '%s': byte %" PRIu64
                              " is %d: a bool is 0 or 1: pack the model again",
                              vonk_bundle_show(file->name, strlen(file->name), shown), i,
                              file->data[i]);
    }
  }
  return VONK_OK;
}

/* Texts one after the other, with where each starts. */
static vonk_status load_texts(vonk_bundle *bundle, yyjson_val *values,
                              vonk_selftest_tensor *t, vonk_error *err) {
  size_t i, n, nbytes = 0;
  yyjson_val *value;
  char *data;
  int32_t *offsets;
  yyjson_arr_foreach(values, i, n, value) {
    if (!yyjson_is_str(value)) {
      return vonk_manifest_fail(bundle, err, "selftest", "a value is %s: expected a text",
                                vonk_json_kind(value));
    }
    nbytes += yyjson_get_len(value); /* at most the manifest's size */
  }
  VONK_TRY(vonk_bundle_new(bundle, nbytes + 1, 1, &data, err));
  VONK_TRY(vonk_bundle_new(bundle, n + 1, sizeof *offsets, &offsets, err));
  size_t at = 0;
  yyjson_arr_foreach(values, i, n, value) {
    memcpy(data + at, yyjson_get_str(value), yyjson_get_len(value));
    at += yyjson_get_len(value);
    offsets[i + 1] = (int32_t)at;
  }
  t->data = data;
  t->nbytes = nbytes;
  t->offsets = offsets;
  return VONK_OK;
}

static vonk_status load_side(vonk_bundle *bundle, vonk_selftest_tensor *tensors,
                             const bundle_source *sources, uint32_t n,
                             const vonk_port *ports, vonk_error *err) {
  for (uint32_t i = 0; i < n; i++) {
    vonk_selftest_tensor *t = &tensors[i];
    const bundle_file *file = sources[i].file;
    if (sources[i].values != NULL) {
      VONK_TRY(load_texts(bundle, sources[i].values, t, err));
      continue;
    }
    t->data = file->data;
    t->nbytes = file->size;
    if (ports[t->port].dtype == VONK_BOOL8) {
      VONK_TRY(check_bools(bundle, file, err));
    }
  }
  return VONK_OK;
}

vonk_status vonk_selftest_load(vonk_bundle *bundle, vonk_error *err) {
  const vonk_manifest *m = &bundle->manifest;
  VONK_TRY(load_side(bundle, bundle->test_in, bundle->test_inputs, m->selftest.n_inputs,
                     m->inputs, err));
  return load_side(bundle, bundle->test_out, bundle->test_outputs, m->selftest.n_outputs,
                   m->outputs, err);
}
