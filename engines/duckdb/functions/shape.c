/* The arguments of a call as the columns of a predictor.
 *
 * How it works: argument types are parsed once into what engines/duckdb needs to see
 * vectors as Arrow arrays, and into the schema that a predictor is bound to. The key
 * spells the types out, so that calls with equal types share their predictors. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

/* --- the key --- */

static vonk_status add_key(const vonk_duckdb_type *type, vonk_buffer *key,
                           vonk_error *err) {
  char head[96];
  (void)snprintf(head, sizeof(head), "%d.%d.%d.%" PRIu64 ".%zu(", (int)type->id,
                 (int)type->index, (int)type->scale, (uint64_t)type->array_size,
                 type->n_children);
  VONK_TRY(vonk_buffer_append(key, head, strlen(head), err));
  for (size_t i = 0; i < type->n_children; i++) {
    const char *name = type->children[i].name;
    (void)snprintf(head, sizeof(head), "%zu:", strlen(name));
    VONK_TRY(vonk_buffer_append(key, head, strlen(head), err));
    VONK_TRY(vonk_buffer_append(key, name, strlen(name), err));
    VONK_TRY(add_key(&type->children[i], key, err));
  }
  return vonk_buffer_append(key, ")", 1, err);
}

static vonk_status make_key(vonk_sql_shape *shape, vonk_error *err) {
  vonk_buffer key = {0};
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < shape->n; i++) {
    status = add_key(&shape->types[i], &key, err);
  }
  if (status == VONK_OK) {
    status = vonk_buffer_append(&key, "", 1, err);
  }
  if (status == VONK_OK) {
    status = vonk_new_string((const char *)key.data, &shape->key, err);
  }
  vonk_buffer_release(&key);
  VONK_TRY(status);
  shape->hash = UINT64_C(14695981039346656037); /* FNV-1a */
  for (const char *at = shape->key; *at != '\0'; at++) {
    shape->hash = (shape->hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
  }
  return VONK_OK;
}

/* --- the schema --- */

static void release_columns(struct ArrowSchema *schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    struct ArrowSchema *child = schema->children[i];
    if (child->release != NULL) {
      child->release(child);
    }
  }
  vonk_delete(schema->private_data); /* the children, in one block */
  vonk_delete(schema->children);
  schema->release = NULL;
}

static vonk_status make_columns(vonk_sql_shape *shape, vonk_error *err) {
  struct ArrowSchema *children;
  VONK_TRY(vonk_new(shape->n, sizeof(*children), &children, err));
  shape->columns = (struct ArrowSchema){
      .format = "+s", .name = "", .private_data = children, .release = release_columns};
  VONK_TRY(
      vonk_new(shape->n, sizeof(struct ArrowSchema *), &shape->columns.children, err));
  shape->columns.n_children = (int64_t)shape->n;
  for (size_t i = 0; i < shape->n; i++) {
    shape->columns.children[i] = &children[i];
  }
  for (size_t i = 0; i < shape->n; i++) {
    VONK_TRY(vonk_duckdb_type_schema(&shape->types[i], &children[i], err));
  }
  return VONK_OK;
}

/* --- types --- */

/* Fields of an unnamed struct get names, for messages. */
static vonk_status name_fields(vonk_duckdb_type *type, vonk_error *err) {
  for (size_t i = 0; i < type->n_children; i++) {
    vonk_duckdb_type *child = &type->children[i];
    if (child->name[0] == '\0') {
      char name[32];
      (void)snprintf(name, sizeof(name), "field %zu", i + 1);
      vonk_delete(child->name);
      child->name = NULL;
      VONK_TRY(vonk_new_string(name, &child->name, err));
    }
    VONK_TRY(name_fields(child, err));
  }
  return VONK_OK;
}

static vonk_status fill(const duckdb_logical_type *types, size_t n, size_t first,
                        vonk_sql_shape *shape, vonk_error *err) {
  VONK_TRY(vonk_new(n, sizeof(*shape->types), &shape->types, err));
  for (size_t i = 0; i < n; i++) {
    char name[32];
    (void)snprintf(name, sizeof(name), "argument %zu", first + i);
    VONK_TRY(vonk_duckdb_type_parse(types[i], name, &shape->types[i], err));
    shape->n++;
    VONK_TRY(name_fields(&shape->types[i], err));
  }
  VONK_TRY(make_columns(shape, err));
  return make_key(shape, err);
}

vonk_status vonk_sql_shape_create(const duckdb_logical_type *types, size_t n,
                                  size_t first, vonk_sql_shape *out, vonk_error *err) {
  vonk_sql_shape shape = {.n = 0};
  vonk_status status = fill(types, n, first, &shape, err);
  if (status != VONK_OK) {
    vonk_sql_shape_clear(&shape);
    return status;
  }
  *out = shape;
  return VONK_OK;
}

void vonk_sql_shape_clear(vonk_sql_shape *shape) {
  for (size_t i = 0; i < shape->n; i++) {
    vonk_duckdb_type_clear(&shape->types[i]);
  }
  vonk_delete(shape->types);
  vonk_delete(shape->key);
  if (shape->columns.release != NULL) {
    shape->columns.release(&shape->columns);
  }
  *shape = (vonk_sql_shape){.n = 0};
}

/* --- vectors --- */

static void release_rows(struct ArrowArray *rows) {
  for (int64_t i = 0; i < rows->n_children; i++) {
    if (rows->children[i]->release != NULL) {
      rows->children[i]->release(rows->children[i]);
    }
  }
  vonk_delete(rows->private_data);
  rows->release = NULL;
}

/* One block: the children, pointers to them, and the buffers of the struct. */
typedef struct row_block {
  const void *buffers[1];
} row_block;

vonk_status vonk_sql_shape_view(const vonk_sql_shape *shape, duckdb_data_chunk chunk,
                                size_t first, struct ArrowArray *out, vonk_error *err) {
  size_t each = sizeof(struct ArrowArray) + sizeof(struct ArrowArray *), nbytes;
  uint8_t *block;
  VONK_TRY(vonk_size_mul(shape->n, each, &nbytes, err));
  VONK_TRY(vonk_size_add(nbytes, sizeof(row_block), &nbytes, err));
  VONK_TRY(vonk_new(1, nbytes, &block, err));
  struct ArrowArray *children = (struct ArrowArray *)(void *)(block + sizeof(row_block));
  struct ArrowArray **pointers = (struct ArrowArray **)(void *)(children + shape->n);
  int64_t n = (int64_t)duckdb_data_chunk_get_size(chunk);
  struct ArrowArray rows = {.length = n,
                            .n_buffers = 1,
                            .n_children = (int64_t)shape->n,
                            .buffers = ((row_block *)(void *)block)->buffers,
                            .children = pointers,
                            .private_data = block,
                            .release = release_rows};
  for (size_t i = 0; i < shape->n; i++) {
    pointers[i] = &children[i];
  }
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < shape->n; i++) {
    status = vonk_duckdb_view(duckdb_data_chunk_get_vector(chunk, (idx_t)(first + i)),
                              &shape->types[i], n, &children[i], err);
  }
  if (status != VONK_OK) {
    release_rows(&rows);
    return status;
  }
  *out = rows;
  return VONK_OK;
}
