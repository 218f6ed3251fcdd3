/* How it works: Arrow's structs are flat; what they point to belongs to an owner in
 * private_data, which the release frees. An owner of an array holds the pointers given by
 * the caller, the table of buffers and the structs of the children. As the specification
 * wants, release frees what a consumer has not moved out: a moved child's release is
 * NULL, its struct's memory stays the owner's. A build takes its parts over in its last,
 * infallible step, so that on failure all stay the caller's.
 *
 * Some readers reject a NULL data pointer even where there is no byte, so such a buffer
 * points at zeros; they serve as the one offset of an empty array, too. */
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "arrow/arrow.h"

enum { MAX_BUFFERS = 3 };
static alignas(64) const uint8_t zeros[64];

/* --- arrays --- */

typedef struct array_owner {
  void *owned[MAX_BUFFERS];
  const void *buffers[MAX_BUFFERS];
  struct ArrowArray *children[]; /* the children's structs follow the pointers to them */
} array_owner;

static void release_array(struct ArrowArray *array) {
  array_owner *owner = array->private_data;
  for (int64_t i = 0; i < array->n_children; i++) {
    struct ArrowArray *child = array->children[i];
    if (child->release != NULL) child->release(child);
  }
  for (int i = 0; i < MAX_BUFFERS; i++) vonk_delete(owner->owned[i]);
  vonk_delete(owner);
  array->release = NULL;
}

/* An array without buffers and n_children released children. *out is untouched on
 * failure. */
static vonk_status build_array(int64_t length, int64_t null_count, int64_t n_children,
                               struct ArrowArray *out, vonk_error *err) {
  array_owner *owner = NULL;
  size_t nbytes = 0;
  VONK_TRY(vonk_size_mul((size_t)n_children,
                         sizeof *owner->children + sizeof(struct ArrowArray), &nbytes,
                         err));
  VONK_TRY(vonk_size_add(nbytes, sizeof *owner, &nbytes, err));
  VONK_TRY(vonk_new(1, nbytes, &owner, err));
  struct ArrowArray *storage = (struct ArrowArray *)(void *)&owner->children[n_children];
  for (int64_t i = 0; i < n_children; i++) owner->children[i] = &storage[i];
  *out = (struct ArrowArray){.length = length,
                             .null_count = null_count,
                             .n_buffers = 1,
                             .n_children = n_children,
                             .buffers = owner->buffers,
                             .children = owner->children,
                             .release = release_array,
                             .private_data = owner};
  return VONK_OK;
}

/* Buffer 0 is the validity bitmap, the one that may be missing. */
static void take_buffer(struct ArrowArray *array, int index, void *bytes) {
  array_owner *owner = array->private_data;
  owner->owned[index] = bytes;
  owner->buffers[index] = bytes != NULL || index == 0 ? bytes : zeros;
  if (array->n_buffers <= index) array->n_buffers = index + 1;
}

vonk_status vonk_array_value(int64_t length, int64_t null_count, void *validity,
                             void *values, struct ArrowArray *out, vonk_error *err) {
  VONK_TRY(build_array(length, null_count, 0, out, err));
  take_buffer(out, 0, validity);
  take_buffer(out, 1, values);
  return VONK_OK;
}

vonk_status vonk_array_text(int64_t length, int64_t null_count, void *validity,
                            void *offsets, void *bytes, struct ArrowArray *out,
                            vonk_error *err) {
  VONK_TRY(build_array(length, null_count, 0, out, err));
  take_buffer(out, 0, validity);
  take_buffer(out, 1, offsets);
  take_buffer(out, 2, bytes);
  return VONK_OK;
}

vonk_status vonk_array_list(int64_t length, int64_t null_count, void *validity,
                            void *offsets, struct ArrowArray *item,
                            struct ArrowArray *out, vonk_error *err) {
  VONK_TRY(build_array(length, null_count, 1, out, err));
  take_buffer(out, 0, validity);
  take_buffer(out, 1, offsets);
  vonk_array_move(item, out->children[0]);
  return VONK_OK;
}

vonk_status vonk_array_fixed_list(int64_t length, int64_t null_count, void *validity,
                                  struct ArrowArray *item, struct ArrowArray *out,
                                  vonk_error *err) {
  VONK_TRY(build_array(length, null_count, 1, out, err));
  take_buffer(out, 0, validity);
  vonk_array_move(item, out->children[0]);
  return VONK_OK;
}

vonk_status vonk_array_struct(int64_t length, int64_t n_children, struct ArrowArray *out,
                              vonk_error *err) {
  return build_array(length, 0, n_children, out, err);
}

void vonk_array_move(struct ArrowArray *from, struct ArrowArray *to) {
  *to = *from;
  from->release = NULL;
}

/* --- schemas --- */

typedef struct schema_owner {
  char format[32]; /* "+w:" and an int64 at most */
  char *name;
  struct ArrowSchema *storage;
  struct ArrowSchema **children;
} schema_owner;

static void delete_schema_owner(schema_owner *owner) {
  if (owner == NULL) return;
  vonk_delete(owner->name);
  vonk_delete(owner->children);
  vonk_delete(owner->storage);
  vonk_delete(owner);
}

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    struct ArrowSchema *child = schema->children[i];
    if (child->release != NULL) child->release(child);
  }
  delete_schema_owner(schema->private_data);
  schema->release = NULL;
}

static vonk_status build_schema(const char *name, const char *format, int64_t n_children,
                                struct ArrowSchema *out, vonk_error *err) {
  schema_owner *owner = NULL;
  vonk_status status = vonk_new(1, sizeof *owner, &owner, err);
  if (status == VONK_OK) status = vonk_new_string(name, &owner->name, err);
  if (status == VONK_OK)
    status = vonk_new((size_t)n_children, sizeof *owner->storage, &owner->storage, err);
  if (status == VONK_OK)
    status = vonk_new((size_t)n_children, sizeof *owner->children, &owner->children, err);
  if (status != VONK_OK) {
    delete_schema_owner(owner);
    return status;
  }
  (void)snprintf(owner->format, sizeof owner->format, "%s", format);
  for (int64_t i = 0; i < n_children; i++) owner->children[i] = &owner->storage[i];
  *out = (struct ArrowSchema){.format = owner->format,
                              .name = owner->name,
                              .flags = ARROW_FLAG_NULLABLE,
                              .n_children = n_children,
                              .children = owner->children,
                              .release = release_schema,
                              .private_data = owner};
  return VONK_OK;
}

vonk_status vonk_schema_value(const char *name, vonk_dtype dtype, struct ArrowSchema *out,
                              vonk_error *err) {
  const vonk_dtype_info *info = vonk_dtype_find(dtype);
  if (info == NULL || info->format == NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "column '%s': Arrow has no type for %s: convert it to float32", name,
                     info == NULL ? "an unknown dtype" : info->name);
  }
  return build_schema(name, info->format, 0, out, err);
}

vonk_status vonk_schema_struct(const char *name, int64_t n_children,
                               struct ArrowSchema *out, vonk_error *err) {
  return build_schema(name, "+s", n_children, out, err);
}

vonk_status vonk_schema_list(const char *name, int64_t length, struct ArrowSchema *item,
                             struct ArrowSchema *out, vonk_error *err) {
  char format[32] = "+l";
  if (length > INT32_MAX) {
    return vonk_fail(err, VONK_INVALID,
                     "column '%s': a fixed-size list of %" PRId64
                     " elements: Arrow allows 2147483647",
                     name, length);
  }
  if (length >= 0) (void)snprintf(format, sizeof format, "+w:%" PRId64, length);
  VONK_TRY(build_schema(name, format, 1, out, err));
  vonk_schema_move(item, out->children[0]);
  return VONK_OK;
}

vonk_status vonk_schema_nest(const char *name, int32_t rank, const int64_t *shape,
                             struct ArrowSchema *item, struct ArrowSchema *out,
                             vonk_error *err) {
  struct ArrowSchema outer = {0};
  for (int32_t d = rank - 1; d >= 0; d--) {
    vonk_status status =
        vonk_schema_list(d == 0 ? name : item->name, shape[d], item, &outer, err);
    if (status != VONK_OK) {
      item->release(item);
      return status;
    }
    vonk_schema_move(&outer, item);
  }
  vonk_schema_move(item, out);
  return VONK_OK;
}

void vonk_schema_move(struct ArrowSchema *from, struct ArrowSchema *to) {
  *to = *from;
  from->release = NULL;
}
