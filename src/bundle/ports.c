/* The inputs and outputs that a manifest names. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bundle/internal.h"

size_t vonk_port_item_size(vonk_dtype dtype) {
  static const uint8_t sizes[] = {
      [VONK_F16] = 2, [VONK_BF16] = 2, [VONK_F32] = 4,  [VONK_F64] = 8, [VONK_I8] = 1,
      [VONK_I16] = 2, [VONK_I32] = 4,  [VONK_I64] = 8,  [VONK_U8] = 1,  [VONK_U16] = 2,
      [VONK_U32] = 4, [VONK_U64] = 8,  [VONK_BOOL8] = 1};
  return dtype > 0 && (size_t)dtype < sizeof sizes ? sizes[dtype] : 0;
}

/* The dtype of that name, 0 if there is none. */
static vonk_dtype dtype_of(const char *name) {
  for (vonk_dtype dtype = VONK_F16; dtype <= VONK_BYTES; dtype++) {
    if (strcmp(vonk_dtype_name(dtype), name) == 0) {
      return dtype;
    }
  }
  return 0;
}

static vonk_status read_name(vonk_bundle *bundle, yyjson_val *object, const char *where,
                             const char *key, const char **out, vonk_error *err) {
  VONK_TRY(vonk_json_text(bundle, object, where, key, true, out, err));
  size_t n = strlen(*out);
  return n > 0 && n <= VONK_BUNDLE_MAX_NAME
             ? VONK_OK
             : vonk_manifest_fail(bundle, err, where,
                                  "'%s' has %zu bytes: expected 1 to %d", key, n,
                                  VONK_BUNDLE_MAX_NAME);
}

/* null: the framework does not say. */
static vonk_status read_shape(vonk_bundle *bundle, yyjson_val *object, const char *where,
                              vonk_port *port, vonk_error *err) {
  yyjson_val *list = yyjson_obj_get(object, "shape"), *value;
  size_t i, n;
  if (yyjson_is_null(list)) {
    port->rank = -1;
    return VONK_OK;
  }
  VONK_TRY(vonk_json_list(bundle, object, where, "shape", true, &list, err));
  if (yyjson_arr_size(list) > VONK_MAX_RANK) {
    return vonk_manifest_fail(bundle, err, where,
                              "'shape' has %zu dimensions: expected at most %d",
                              yyjson_arr_size(list), VONK_MAX_RANK);
  }
  port->rank = (int32_t)yyjson_arr_size(list);
  yyjson_arr_foreach(list, i, n, value) {
    int64_t dim = yyjson_get_sint(value);
    bool is_whole = yyjson_is_int(value) && (yyjson_is_sint(value) || dim >= 0);
    if (!is_whole || dim < -1 || dim > INT32_MAX) {
      return vonk_manifest_fail(
          bundle, err, where,
          "'shape': dimension %zu is %s: expected -1 (free) or 0 to "
          "%" PRId32,
          i, is_whole ? "out of range" : vonk_json_kind(value), INT32_MAX);
    }
    port->shape[i] = dim;
  }
  return VONK_OK;
}

static vonk_status read_dim_names(vonk_bundle *bundle, yyjson_val *object,
                                  const char *where, vonk_port *port, vonk_error *err) {
  yyjson_val *list = NULL, *value;
  size_t i, n;
  VONK_TRY(vonk_json_list(bundle, object, where, "dim_names", false, &list, err));
  if (list == NULL) {
    return VONK_OK;
  }
  if (port->rank < 0 || yyjson_arr_size(list) != (size_t)port->rank) {
    return vonk_manifest_fail(bundle, err, where,
                              "'dim_names' has %zu entries, 'shape' has %" PRId32,
                              yyjson_arr_size(list), port->rank < 0 ? 0 : port->rank);
  }
  yyjson_arr_foreach(list, i, n, value) {
    const char *name = yyjson_get_str(value); /* NULL if it is none */
    if (!yyjson_is_null(value) &&
        (name == NULL || strlen(name) != yyjson_get_len(value))) {
      return vonk_manifest_fail(
          bundle, err, where, "'dim_names': entry %zu is %s: expected a name or null", i,
          name == NULL ? vonk_json_kind(value) : "a text with a NUL in it");
    }
    port->dim_names[i] = name;
  }
  return VONK_OK;
}

static vonk_status read_port(vonk_bundle *bundle, yyjson_val *object, const char *where,
                             vonk_port *port, vonk_error *err) {
  const char *dtype = NULL;
  char shown[VONK_SHOWN];
  if (!yyjson_is_obj(object)) {
    return vonk_manifest_fail(bundle, err, where, "is %s: expected an object",
                              vonk_json_kind(object));
  }
  VONK_TRY(read_name(bundle, object, where, "name", &port->name, err));
  VONK_TRY(read_name(bundle, object, where, "tensor", &port->tensor, err));
  VONK_TRY(vonk_json_text(bundle, object, where, "dtype", true, &dtype, err));
  port->dtype = dtype_of(dtype);
  if (port->dtype == 0) {
    return vonk_manifest_fail(bundle, err, where,
                              "dtype '%s' is not known: expected float32, int64, string "
                              "or another one of docs/dtypes.md",
                              vonk_bundle_show(dtype, strlen(dtype), shown));
  }
  VONK_TRY(read_shape(bundle, object, where, port, err));
  return read_dim_names(bundle, object, where, port, err);
}

/* The file of an output's classes; it is read once its digest is checked. */
static vonk_status read_labels(vonk_bundle *bundle, yyjson_val *object, const char *where,
                               const vonk_port *port, bundle_source *out,
                               vonk_error *err) {
  const char *name = NULL;
  char shown[VONK_SHOWN];
  VONK_TRY(vonk_json_text(bundle, object, where, "labels", false, &name, err));
  if (name == NULL) {
    return VONK_OK;
  }
  bundle_file *file = vonk_bundle_find(bundle, name);
  if (file == NULL) {
    return vonk_manifest_fail(bundle, err, where,
                              "labels '%s': there is no such file in the bundle",
                              vonk_bundle_show(name, strlen(name), shown));
  }
  if (port->rank >= 0 && port->rank < 2) {
    return vonk_manifest_fail(bundle, err, where,
                              "has labels, but no dimension after the rows that they "
                              "could name");
  }
  file->is_kept = true;
  out->file = file;
  return VONK_OK;
}

static vonk_status check_unique(const vonk_bundle *bundle, const vonk_port *ports,
                                size_t n, const char *where, vonk_error *err) {
  char shown[VONK_SHOWN];
  const vonk_port *last = &ports[n];
  for (size_t i = 0; i < n; i++) {
    bool is_name = strcmp(ports[i].name, last->name) == 0;
    if (is_name || strcmp(ports[i].tensor, last->tensor) == 0) {
      const char *text = is_name ? last->name : last->tensor;
      return vonk_manifest_fail(bundle, err, where, "%s '%s' stands there twice",
                                is_name ? "name" : "tensor",
                                vonk_bundle_show(text, strlen(text), shown));
    }
  }
  return VONK_OK;
}

static vonk_status read_ports(vonk_bundle *bundle, yyjson_val *root, const char *key,
                              vonk_port **out, bundle_source *labels, uint32_t *n_out,
                              vonk_error *err) {
  yyjson_val *list = NULL, *value;
  vonk_port *ports;
  size_t i, n;
  VONK_TRY(vonk_json_list(bundle, root, "", key, true, &list, err));
  if (yyjson_arr_size(list) == 0 || yyjson_arr_size(list) > VONK_BUNDLE_MAX_PORTS) {
    return vonk_manifest_fail(bundle, err, key, "has %zu entries: expected 1 to %d",
                              yyjson_arr_size(list), VONK_BUNDLE_MAX_PORTS);
  }
  VONK_TRY(vonk_bundle_new(bundle, yyjson_arr_size(list), sizeof *ports, &ports, err));
  yyjson_arr_foreach(list, i, n, value) {
    char where[32];
    (void)snprintf(where, sizeof where, "%s[%zu]", key, i);
    VONK_TRY(read_port(bundle, value, where, &ports[i], err));
    VONK_TRY(check_unique(bundle, ports, i, where, err));
    if (labels != NULL) {
      VONK_TRY(read_labels(bundle, value, where, &ports[i], &labels[i], err));
    }
  }
  *out = ports;
  *n_out = (uint32_t)n;
  return VONK_OK;
}

vonk_status vonk_ports_read(vonk_bundle *bundle, yyjson_val *root, vonk_error *err) {
  vonk_manifest *m = &bundle->manifest;
  vonk_port *inputs = NULL;
  VONK_TRY(vonk_bundle_new(bundle, VONK_BUNDLE_MAX_PORTS, sizeof *bundle->label_sources,
                           &bundle->label_sources, err));
  VONK_TRY(read_ports(bundle, root, "inputs", &inputs, NULL, &m->n_inputs, err));
  VONK_TRY(read_ports(bundle, root, "outputs", &bundle->output_ports,
                      bundle->label_sources, &m->n_outputs, err));
  m->inputs = inputs;
  m->outputs = bundle->output_ports;
  return VONK_OK;
}
