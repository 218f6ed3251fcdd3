/* DuckDB's column types and Arrow's, both ways.
 *
 * How it works: one table names every type of DuckDB, the Arrow format that its vectors
 * can be lent as, and its width; a type without a format is one that no tensor can hold,
 * and its row says what to cast it to. Lists become list views with 64-bit offsets,
 * because DuckDB's list entries (offset, length) may lie anywhere in their child. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/duckdb.h"
#include "engines/duckdb/internal.h"

static const vonk_duckdb_type_info types[] = {
    {DUCKDB_TYPE_BOOLEAN, "BOOLEAN", "b", 1, NULL},
    {DUCKDB_TYPE_TINYINT, "TINYINT", "c", 1, NULL},
    {DUCKDB_TYPE_SMALLINT, "SMALLINT", "s", 2, NULL},
    {DUCKDB_TYPE_INTEGER, "INTEGER", "i", 4, NULL},
    {DUCKDB_TYPE_BIGINT, "BIGINT", "l", 8, NULL},
    {DUCKDB_TYPE_UTINYINT, "UTINYINT", "C", 1, NULL},
    {DUCKDB_TYPE_USMALLINT, "USMALLINT", "S", 2, NULL},
    {DUCKDB_TYPE_UINTEGER, "UINTEGER", "I", 4, NULL},
    {DUCKDB_TYPE_UBIGINT, "UBIGINT", "L", 8, NULL},
    {DUCKDB_TYPE_FLOAT, "FLOAT", "f", 4, NULL},
    {DUCKDB_TYPE_DOUBLE, "DOUBLE", "g", 8, NULL},
    {DUCKDB_TYPE_VARCHAR, "VARCHAR", "U", 16, NULL},
    {DUCKDB_TYPE_BLOB, "BLOB", "Z", 16, NULL},
    {DUCKDB_TYPE_LIST, "LIST", "+vL", 16, NULL},
    {DUCKDB_TYPE_ARRAY, "ARRAY", "+w", 0, NULL},
    {DUCKDB_TYPE_STRUCT, "STRUCT", "+s", 0, NULL},
    {DUCKDB_TYPE_ENUM, "ENUM", "", 4, NULL},
    {DUCKDB_TYPE_SQLNULL, "NULL", "n", 4, NULL},
    {DUCKDB_TYPE_TIMESTAMP, "TIMESTAMP", NULL, 8, NULL},
    {DUCKDB_TYPE_TIMESTAMP_S, "TIMESTAMP_S", NULL, 8, NULL},
    {DUCKDB_TYPE_TIMESTAMP_MS, "TIMESTAMP_MS", NULL, 8, NULL},
    {DUCKDB_TYPE_TIMESTAMP_NS, "TIMESTAMP_NS", NULL, 8, NULL},
    {DUCKDB_TYPE_TIMESTAMP_TZ, "TIMESTAMP WITH TIME ZONE", NULL, 8, NULL},
    {DUCKDB_TYPE_DATE, "DATE", NULL, 4, NULL},
    {DUCKDB_TYPE_TIME, "TIME", NULL, 8, NULL},
    {DUCKDB_TYPE_TIME_TZ, "TIME WITH TIME ZONE", NULL, 8, NULL},
    {DUCKDB_TYPE_TIME_NS, "TIME_NS", NULL, 8, NULL},
    {DUCKDB_TYPE_INTERVAL, "INTERVAL", NULL, 16, NULL},
    {DUCKDB_TYPE_HUGEINT, "HUGEINT", "g", 16, NULL},
    {DUCKDB_TYPE_UHUGEINT, "UHUGEINT", "g", 16, NULL},
    {DUCKDB_TYPE_DECIMAL, "DECIMAL", "g", 8, NULL},
    {DUCKDB_TYPE_MAP, "MAP", NULL, 16, NULL},
    {DUCKDB_TYPE_UNION, "UNION", NULL, 16, NULL},
    {DUCKDB_TYPE_UUID, "UUID", NULL, 16, "VARCHAR"},
    {DUCKDB_TYPE_BIT, "BIT", NULL, 16, "VARCHAR"},
    {DUCKDB_TYPE_BIGNUM, "BIGNUM", NULL, 16, "DOUBLE"},
    {DUCKDB_TYPE_GEOMETRY, "GEOMETRY", NULL, 16, NULL},
    {DUCKDB_TYPE_VARIANT, "VARIANT", NULL, 16, NULL},
};

const vonk_duckdb_type_info *vonk_duckdb_type_find(duckdb_type id) {
  static const vonk_duckdb_type_info other = {DUCKDB_TYPE_INVALID, "an unknown type",
                                              NULL, 16, NULL};
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    if (types[i].id == id) {
      return &types[i];
    }
  }
  return &other;
}

/* --- from DuckDB's description to ours --- */

static vonk_status parse_child(duckdb_logical_type child, const char *name,
                               vonk_duckdb_type *out, vonk_error *err) {
  vonk_status status = vonk_duckdb_type_parse(child, name, out, err);
  duckdb_destroy_logical_type(&child);
  return status;
}

static vonk_status parse_fields(duckdb_logical_type type, vonk_duckdb_type *out,
                                vonk_error *err) {
  idx_t n = duckdb_struct_type_child_count(type);
  VONK_TRY(vonk_new(n, sizeof(*out->children), &out->children, err));
  out->n_children = n;
  for (idx_t i = 0; i < n; i++) {
    char *name = duckdb_struct_type_child_name(type, i);
    vonk_status status =
        parse_child(duckdb_struct_type_child_type(type, i), name, &out->children[i], err);
    duckdb_free(name);
    VONK_TRY(status);
    out->supported = out->supported && out->children[i].supported;
  }
  return VONK_OK;
}

static vonk_status parse_nested(duckdb_logical_type type, vonk_duckdb_type *out,
                                vonk_error *err) {
  if (out->id == DUCKDB_TYPE_STRUCT) {
    return parse_fields(type, out, err);
  }
  if (out->id == DUCKDB_TYPE_ENUM) {
    out->index = duckdb_enum_internal_type(type);
    return vonk_duckdb_dictionary(type, &out->dictionary, err);
  }
  if (out->id == DUCKDB_TYPE_DECIMAL) {
    out->index = duckdb_decimal_internal_type(type);
    out->digits = duckdb_decimal_width(type);
    out->scale = duckdb_decimal_scale(type);
  }
  if (out->id != DUCKDB_TYPE_LIST && out->id != DUCKDB_TYPE_ARRAY) {
    return VONK_OK;
  }
  bool is_list = out->id == DUCKDB_TYPE_LIST;
  out->array_size = is_list ? 0 : duckdb_array_type_array_size(type);
  VONK_TRY(vonk_new(1, sizeof(*out->children), &out->children, err));
  out->n_children = 1;
  VONK_TRY(parse_child(
      is_list ? duckdb_list_type_child_type(type) : duckdb_array_type_child_type(type),
      "item", &out->children[0], err));
  out->supported = out->children[0].supported;
  return VONK_OK;
}

vonk_status vonk_duckdb_type_parse(duckdb_logical_type type, const char *name,
                                   vonk_duckdb_type *out, vonk_error *err) {
  vonk_duckdb_type t = {.id = duckdb_get_type_id(type)};
  t.supported = vonk_duckdb_type_find(t.id)->format != NULL;
  vonk_status status = vonk_new_string(name, &t.name, err);
  if (status == VONK_OK) {
    status = parse_nested(type, &t, err);
  }
  if (status != VONK_OK) {
    vonk_duckdb_type_clear(&t);
    return status;
  }
  *out = t;
  return VONK_OK;
}

void vonk_duckdb_type_clear(vonk_duckdb_type *type) {
  for (size_t i = 0; i < type->n_children; i++) {
    vonk_duckdb_type_clear(&type->children[i]);
  }
  vonk_delete(type->children);
  vonk_delete(type->name);
  if (type->dictionary != NULL) {
    type->dictionary->release(type->dictionary);
    vonk_delete(type->dictionary);
  }
  memset(type, 0, sizeof(*type));
}

void vonk_duckdb_type_describe(const vonk_duckdb_type *type, vonk_text *out) {
  if (type->id == DUCKDB_TYPE_LIST) {
    vonk_duckdb_type_describe(&type->children[0], out);
    vonk_text_add(out, "[]");
  } else if (type->id == DUCKDB_TYPE_ARRAY) {
    vonk_duckdb_type_describe(&type->children[0], out);
    vonk_text_add(out, "[%" PRIu64 "]", type->array_size);
  } else if (type->id == DUCKDB_TYPE_STRUCT) {
    for (size_t i = 0; i < type->n_children; i++) {
      const char *name = type->children[i].name;
      vonk_text_add(out, "%s%s%s", i == 0 ? "STRUCT(" : ", ", name,
                    name[0] == '\0' ? "" : " ");
      vonk_duckdb_type_describe(&type->children[i], out);
    }
    vonk_text_add(out, ")");
  } else if (type->id == DUCKDB_TYPE_DECIMAL) {
    vonk_text_add(out, "DECIMAL(%d,%d)", (int)type->digits, (int)type->scale);
  } else {
    vonk_text_add(out, "%s", vonk_duckdb_type_find(type->id)->name);
  }
}

/* --- to Arrow --- */

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    if (schema->children != NULL && schema->children[i] != NULL) {
      if (schema->children[i]->release != NULL) {
        schema->children[i]->release(schema->children[i]);
      }
      vonk_delete(schema->children[i]);
    }
  }
  vonk_delete(schema->children);
  if (schema->dictionary != NULL) {
    vonk_delete(schema->dictionary);
  }
  vonk_delete(schema->private_data); /* format and name */
  schema->release = NULL;
}

static void release_nothing(struct ArrowSchema *schema) { schema->release = NULL; }

/* A schema with room for its children, which are NULL. */
static vonk_status start_schema(const char *format, const vonk_duckdb_type *type,
                                struct ArrowSchema *out, vonk_error *err) {
  char *text;
  size_t size = strlen(format) + strlen(type->name) + 2;
  VONK_TRY(vonk_new(size, 1, &text, err));
  (void)snprintf(text, size, "%s%c%s", format, '\0', type->name);
  struct ArrowSchema schema = {.format = text,
                               .name = text + strlen(format) + 1,
                               .flags = ARROW_FLAG_NULLABLE,
                               .private_data = text,
                               .release = release_schema};
  vonk_status status =
      vonk_new(type->n_children, sizeof(*schema.children), &schema.children, err);
  if (status != VONK_OK) {
    vonk_delete(text);
    return status;
  }
  schema.n_children = (int64_t)type->n_children;
  *out = schema;
  return VONK_OK;
}

static vonk_status add_children(const vonk_duckdb_type *type, struct ArrowSchema *schema,
                                vonk_error *err) {
  for (size_t i = 0; i < type->n_children; i++) {
    struct ArrowSchema child;
    VONK_TRY(vonk_duckdb_type_schema(&type->children[i], &child, err));
    vonk_status status = vonk_new(1, sizeof(child), &schema->children[i], err);
    if (status != VONK_OK) {
      child.release(&child);
      return status;
    }
    *schema->children[i] = child;
  }
  if (type->id == DUCKDB_TYPE_ENUM) {
    VONK_TRY(vonk_new(1, sizeof(*schema->dictionary), &schema->dictionary, err));
    *schema->dictionary =
        (struct ArrowSchema){.format = "U", .name = "", .release = release_nothing};
  }
  return VONK_OK;
}

static vonk_status refuse(const vonk_duckdb_type *type, vonk_error *err) {
  vonk_text text = {.size = 0};
  vonk_duckdb_type_describe(type, &text);
  const char *cast = vonk_duckdb_type_find(type->id)->cast;
  if (cast != NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "column '%s': is %s, which no tensor can hold: cast it: \"%s\"::%s",
                     type->name, text.data, type->name, cast);
  }
  return vonk_fail(
      err, VONK_UNSUPPORTED,
      "column '%s': is %s, which no tensor can hold: turn it into numbers first",
      type->name, text.data);
}

vonk_status vonk_duckdb_type_schema(const vonk_duckdb_type *type, struct ArrowSchema *out,
                                    vonk_error *err) {
  const char *format = vonk_duckdb_type_find(type->id)->format;
  if (format == NULL) {
    return refuse(type, err);
  }
  char fixed[32];
  if (type->id == DUCKDB_TYPE_ARRAY) {
    (void)snprintf(fixed, sizeof(fixed), "+w:%" PRIu64, type->array_size);
    format = fixed;
  } else if (type->id == DUCKDB_TYPE_ENUM) {
    format = vonk_duckdb_type_find(type->index)->format;
  }
  struct ArrowSchema schema;
  VONK_TRY(start_schema(format, type, &schema, err));
  vonk_status status = add_children(type, &schema, err);
  if (status != VONK_OK) {
    schema.release(&schema);
    return status;
  }
  *out = schema;
  return VONK_OK;
}

/* --- from Arrow --- */

int64_t vonk_duckdb_fixed_length(const struct ArrowSchema *schema) {
  return schema->format[1] == 'w' ? strtoll(schema->format + 3, NULL, 10) : 0;
}

int64_t vonk_duckdb_array_size(const struct ArrowSchema *schema,
                               vonk_duckdb_layout layout) {
  enum { MAX_ARRAY = 100000 }; /* DuckDB's own bound */
  int64_t length = schema->format[0] == '+' ? vonk_duckdb_fixed_length(schema) : 0;
  return layout == VONK_DUCKDB_ARRAYS && length <= MAX_ARRAY ? length : 0;
}

/* The row of an Arrow format; the small text types are not in the table, where each
 * DuckDB type stands once. */
static const vonk_duckdb_type_info *find_format(const char *format) {
  format = strcmp(format, "u") == 0 ? "U" : strcmp(format, "z") == 0 ? "Z" : format;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    if (types[i].format != NULL && format[0] != '+' &&
        strcmp(types[i].format, format) == 0) {
      return &types[i];
    }
  }
  return NULL;
}

size_t vonk_duckdb_format_width(const char *format) {
  const vonk_duckdb_type_info *info = find_format(format);
  return info == NULL ? 0 : info->width;
}

static vonk_status list_type_of(const struct ArrowSchema *schema,
                                vonk_duckdb_layout layout, duckdb_logical_type *out,
                                vonk_error *err) {
  duckdb_logical_type item;
  VONK_TRY(vonk_duckdb_type_of(schema->children[0], layout, &item, err));
  int64_t size = vonk_duckdb_array_size(schema, layout);
  *out = size > 0 ? duckdb_create_array_type(item, (idx_t)size)
                  : duckdb_create_list_type(item);
  duckdb_destroy_logical_type(&item);
  return VONK_OK;
}

vonk_status vonk_duckdb_struct_of(struct ArrowSchema *const *fields, size_t n,
                                  const char *const *names, vonk_duckdb_layout layout,
                                  duckdb_logical_type *out, vonk_error *err) {
  size_t done = 0;
  duckdb_logical_type *members = NULL;
  const char **labels = NULL;
  vonk_status status = vonk_new(n, sizeof(duckdb_logical_type), &members, err);
  if (status == VONK_OK) {
    status = vonk_new(n, sizeof(*labels), &labels, err);
  }
  while (status == VONK_OK && done < n) {
    labels[done] = names == NULL ? fields[done]->name : names[done];
    status = vonk_duckdb_type_of(fields[done], layout, &members[done], err);
    done += status == VONK_OK;
  }
  if (status == VONK_OK) {
    *out = duckdb_create_struct_type(members, labels, n);
    status = *out == NULL ? vonk_fail(err, VONK_BACKEND, "DuckDB: made no STRUCT type")
                          : VONK_OK;
  }
  for (size_t i = 0; i < done; i++) {
    duckdb_destroy_logical_type(&members[i]);
  }
  vonk_delete(members);
  vonk_delete(labels);
  return status;
}

vonk_status vonk_duckdb_type_of(const struct ArrowSchema *schema,
                                vonk_duckdb_layout layout, duckdb_logical_type *out,
                                vonk_error *err) {
  const char *format = schema->format;
  if (format[0] == '+' && (format[1] == 'l' || format[1] == 'L' || format[1] == 'w')) {
    return list_type_of(schema, layout, out, err);
  }
  if (strcmp(format, "+s") == 0) {
    return vonk_duckdb_struct_of(schema->children, (size_t)schema->n_children, NULL,
                                 layout, out, err);
  }
  const vonk_duckdb_type_info *info = find_format(format);
  if (info != NULL) {
    *out = duckdb_create_logical_type(info->id);
    return VONK_OK;
  }
  return vonk_fail(err, VONK_UNSUPPORTED,
                   "output '%s': Arrow type '%s': DuckDB has none for it", schema->name,
                   schema->format);
}
