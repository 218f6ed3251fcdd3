/* Reading what surrounds a graph: a SavedModel is a list of MetaGraphDefs, a .meta file
 * is one. Fields by number, as TensorFlow's protocol files have them.
 */
#include <stdlib.h>
#include <string.h>

#include "graph_file.h"

enum { MAX_ENTRIES = 100000 };

/* MetaGraphDef */
enum {
  META_INFO = 1,
  META_GRAPH = 2,
  META_SAVER = 3,
  META_COLLECTION = 4,
  META_SIGNATURE = 5,
  META_ASSET = 6
};
enum { COLLECTION_ANY = 5 };
/* MetaInfoDef */
enum { INFO_TAG = 4, INFO_VERSION = 5 };
/* SaverDef */
enum { SAVER_FILENAME = 1, SAVER_RESTORE = 3 };

static vonk_status fail_damaged(const tf_place *place, const char *what,
                                vonk_error *err) {
  return vonk_kit_fail(err, VONK_MODEL,
                       "'%s': %s cannot be read: the file is cut off, damaged, or no "
                       "TensorFlow model: save it again",
                       place->path, what);
}

int vonk_tf_saved_model_next(kit_slice *rest, kit_slice *out) {
  kit_field field;
  int more;
  while ((more = vonk_kit_wire_next(rest, &field)) == 1) {
    if (field.number == 2) {
      *out = field.bytes;
      return field.wire == KIT_WIRE_BYTES ? 1 : -1;
    }
  }
  return more;
}

/* An entry of a map: 1 key, 2 value. */
static bool read_entry(kit_slice bytes, tf_entry *out) {
  kit_field field;
  int more;
  *out = (tf_entry){0};
  while ((more = vonk_kit_wire_next(&bytes, &field)) == 1) {
    if (field.number > 2) {
      continue;
    }
    if (field.wire != KIT_WIRE_BYTES) {
      return false;
    }
    *(field.number == 1 ? &out->key : &out->value) = field.bytes;
  }
  return more == 0 && vonk_kit_is_text((const char *)out->key.data, out->key.size);
}

static bool count_fields(kit_slice message, uint32_t number, uint32_t *out) {
  kit_field field;
  int more;
  *out = 0;
  while ((more = vonk_kit_wire_next(&message, &field)) == 1) {
    *out += field.number == number;
    if (*out > MAX_ENTRIES || (field.number == number && field.wire != KIT_WIRE_BYTES)) {
      return false;
    }
  }
  return more == 0;
}

/* --- signatures --------------------------------------------------------------------- */

/* Names in the order of people: numbers in them count as numbers. */
static int compare_names(kit_slice a, kit_slice b) {
  size_t i = 0, j = 0;
  while (i < a.size && j < b.size) {
    size_t m = i, n = j;
    while (m < a.size && a.data[m] >= '0' && a.data[m] <= '9') {
      ++m;
    }
    while (n < b.size && b.data[n] >= '0' && b.data[n] <= '9') {
      ++n;
    }
    if (m == i || n == j) {
      if (a.data[i] != b.data[j]) {
        return a.data[i] < b.data[j] ? -1 : 1;
      }
      ++i;
      ++j;
      continue;
    }
    for (; m - i > 1 && a.data[i] == '0'; ++i) {
    }
    for (; n - j > 1 && b.data[j] == '0'; ++j) {
    }
    if (m - i != n - j) {
      return m - i < n - j ? -1 : 1;
    }
    int order = memcmp(a.data + i, b.data + j, m - i);
    if (order != 0) {
      return order;
    }
    i = m;
    j = n;
  }
  return (i < a.size) - (j < b.size);
}

static int compare_entries(const void *a, const void *b) {
  kit_slice x = ((const tf_entry *)a)->key, y = ((const tf_entry *)b)->key;
  int order = compare_names(x, y);
  if (order == 0) { /* 1 and 01 */
    size_t n = x.size < y.size ? x.size : y.size;
    order = n == 0 ? 0 : memcmp(x.data, y.data, n);
    order = order != 0 ? order : (x.size > y.size) - (x.size < y.size);
  }
  return order;
}

/* All entries of a map, sorted; of a key that comes twice the last one, as protobuf has
 * it. */
static vonk_status read_map(const tf_place *place, kit_slice message, uint32_t number,
                            const char *what, tf_entry **out, uint32_t *out_n,
                            vonk_error *err) {
  uint32_t count, n = 0;
  tf_entry *rows;
  kit_field field;
  if (!count_fields(message, number, &count)) {
    return fail_damaged(place, what, err);
  }
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *rows, &rows, err));
  while (vonk_kit_wire_next(&message, &field) == 1) {
    if (field.number != number) {
      continue;
    }
    tf_entry entry;
    if (!read_entry(field.bytes, &entry)) {
      return fail_damaged(place, what, err);
    }
    rows[n++] = entry;
  }
  qsort(rows, n, sizeof *rows, compare_entries);
  for (uint32_t i = 1; i < n; ++i) {
    if (compare_entries(&rows[i - 1], &rows[i]) == 0) {
      return vonk_kit_fail(
          err, VONK_MODEL, "'%s': %s: has '%.*s' twice: save the model again",
          place->path, what, rows[i].key.size > 80 ? 80 : (int)rows[i].key.size,
          (const char *)rows[i].key.data);
    }
  }
  *out = rows;
  *out_n = n;
  return VONK_OK;
}

/* TensorInfo: 1 name, 2 dtype, 3 shape; a sparse or composite tensor has other fields
 * instead of the name. */
static bool read_info(const tf_entry *entry, tf_info *out) {
  kit_slice rest = entry->value;
  kit_field field;
  int more;
  *out = (tf_info){.key = entry->key, .shape = {.rank = -1}};
  while ((more = vonk_kit_wire_next(&rest, &field)) == 1) {
    if (field.number == 1 && field.wire == KIT_WIRE_BYTES) {
      out->tensor = field.bytes;
    } else if (field.number == 2 && field.wire == KIT_WIRE_VARINT) {
      out->dtype = field.value;
    } else if (field.number == 3 && (field.wire != KIT_WIRE_BYTES ||
                                     !vonk_tf_shape_read(field.bytes, &out->shape))) {
      return false;
    }
  }
  return more == 0;
}

vonk_status vonk_tf_signature_read(const tf_place *place, const tf_entry *signature,
                                   uint32_t side, tf_info **out, uint32_t *n,
                                   vonk_error *err) {
  tf_entry *entries;
  tf_info *rows;
  uint32_t count;
  VONK_TRY(read_map(place, signature->value, side, "a signature", &entries, &count, err));
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *rows, &rows, err));
  for (uint32_t i = 0; i < count; ++i) {
    if (!read_info(&entries[i], &rows[i])) {
      return fail_damaged(place, "a signature", err);
    }
  }
  *out = rows;
  *n = count;
  return VONK_OK;
}

/* --- the rest ----------------------------------------------------------------------- */

/* AssetFileDef: 1 tensor {1 name}, 2 file name */
bool vonk_tf_asset_read(kit_slice bytes, kit_slice *tensor, kit_slice *filename) {
  tf_entry asset = {0}, info = {0};
  kit_field field;
  int more;
  while ((more = vonk_kit_wire_next(&bytes, &field)) == 1) {
    if (field.wire == KIT_WIRE_BYTES && field.number <= 2) {
      *(field.number == 1 ? &asset.key : &asset.value) = field.bytes;
    }
  }
  if (more != 0) {
    return false;
  }
  while ((more = vonk_kit_wire_next(&asset.key, &field)) == 1) {
    if (field.wire == KIT_WIRE_BYTES && field.number == 1) {
      info.key = field.bytes;
    }
  }
  *tensor = info.key;
  *filename = asset.value;
  return more == 0 && info.key.size != 0;
}

/* MetaInfoDef */
static vonk_status read_meta_info(const tf_place *place, kit_slice bytes,
                                  tf_meta_file *out, vonk_error *err) {
  uint32_t count;
  kit_field field;
  if (!count_fields(bytes, INFO_TAG, &count)) {
    return fail_damaged(place, "its description", err);
  }
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *out->tags, &out->tags, err));
  out->n_tags = 0;
  while (vonk_kit_wire_next(&bytes, &field) == 1) {
    if (field.number == INFO_TAG) {
      out->tags[out->n_tags++] = field.bytes;
    } else if (field.number == INFO_VERSION && field.wire == KIT_WIRE_BYTES) {
      out->version = field.bytes;
    }
  }
  return VONK_OK;
}

/* SaverDef */
static bool read_saver(kit_slice bytes, tf_meta_file *out) {
  kit_field field;
  int more;
  while ((more = vonk_kit_wire_next(&bytes, &field)) == 1) {
    if (field.number == SAVER_FILENAME && field.wire == KIT_WIRE_BYTES) {
      out->filename_tensor = field.bytes;
    } else if (field.number == SAVER_RESTORE && field.wire == KIT_WIRE_BYTES) {
      out->restore_node = field.bytes;
    }
  }
  return more == 0;
}

/* The last field of that number; empty if there is none. */
static kit_slice last_bytes(kit_slice message, uint32_t number) {
  kit_slice found = {0};
  kit_field field;
  while (vonk_kit_wire_next(&message, &field) == 1) {
    if (field.number == number && field.wire == KIT_WIRE_BYTES) {
      found = field.bytes;
    }
  }
  return found;
}

/* TensorFlow 1 lists assets in a collection: AnyList {1 Any {2 AssetFileDef}}. */
static vonk_status read_asset_list(const tf_place *place, tf_meta_file *out,
                                   vonk_error *err) {
  kit_slice rest = out->asset_list;
  kit_field field;
  uint32_t count;
  if (!count_fields(rest, 1, &count)) {
    return fail_damaged(place, "its list of assets", err);
  }
  VONK_TRY(vonk_kit_new(place->arena, count + 1, sizeof *out->assets, &out->assets, err));
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    if (field.number == 1) {
      out->assets[out->n_assets++].value = last_bytes(field.bytes, 2);
    }
  }
  return VONK_OK;
}

/* A collection that names the node which initialises: "saved_model_main_op", or in old
 * files "legacy_init_op": CollectionDef 1 node list {1 names}. */
static bool read_collection(kit_slice bytes, tf_meta_file *out) {
  tf_entry entry;
  if (!read_entry(bytes, &entry)) {
    return false;
  }
  tf_entry list, name;
  if (vonk_kit_slice_equals(entry.key, "table_initializer")) {
    out->table_nodes = read_entry(entry.value, &list) ? list.key : (kit_slice){0};
    return true;
  }
  if (vonk_kit_slice_equals(entry.key, "saved_model_assets")) {
    out->asset_list = last_bytes(entry.value, COLLECTION_ANY);
    return true;
  }
  bool is_main = vonk_kit_slice_equals(entry.key, "saved_model_main_op");
  if (!is_main &&
      (!vonk_kit_slice_equals(entry.key, "legacy_init_op") || out->init_node.size != 0)) {
    return true;
  }
  if (read_entry(entry.value, &list) && read_entry(list.key, &name)) {
    out->init_node = name.key;
  }
  return true;
}

static vonk_status read_field(const tf_place *place, const kit_field *field,
                              tf_meta_file *out, vonk_error *err) {
  if (field->number > META_ASSET) {
    return VONK_OK;
  }
  if (field->wire != KIT_WIRE_BYTES) {
    return fail_damaged(place, "it", err);
  }
  switch (field->number) {
    case META_INFO:
      return read_meta_info(place, field->bytes, out, err);
    case META_GRAPH:
      if (out->graph.data != NULL) {
        return vonk_kit_fail(err, VONK_MODEL,
                             "'%s': has two graphs in one: save the model again",
                             place->path);
      }
      out->graph = field->bytes;
      return VONK_OK;
    case META_SAVER:
      return read_saver(field->bytes, out) ? VONK_OK
                                           : fail_damaged(place, "its saver", err);
    case META_COLLECTION:
      return read_collection(field->bytes, out)
                 ? VONK_OK
                 : fail_damaged(place, "a collection", err);
    case META_ASSET:
      out->assets[out->n_assets++].value = field->bytes;
      return VONK_OK;
    default:
      return VONK_OK;
  }
}

vonk_status vonk_tf_meta_read(const tf_place *place, kit_slice bytes, tf_meta_file *out,
                              vonk_error *err) {
  *out = (tf_meta_file){0};
  uint32_t n_assets;
  if (!count_fields(bytes, META_ASSET, &n_assets)) {
    return fail_damaged(place, "it", err);
  }
  VONK_TRY(
      vonk_kit_new(place->arena, n_assets + 1, sizeof *out->assets, &out->assets, err));
  kit_slice rest = bytes;
  kit_field field;
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    VONK_TRY(read_field(place, &field, out, err));
  }
  if (out->n_assets == 0 && out->asset_list.size != 0) {
    VONK_TRY(read_asset_list(place, out, err));
  }
  return read_map(place, bytes, META_SIGNATURE, "the list of signatures",
                  &out->signatures, &out->n_signatures, err);
}
