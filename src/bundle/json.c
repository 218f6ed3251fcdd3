/* Reading JSON that came from anywhere.
 *
 * How it works: yyjson reads the text, with our allocation hook. Before that the nesting
 * is measured, so that nothing that walks the values can run out of stack; after it every
 * object is looked at for keys that stand twice, of which one reader takes the first and
 * another the last. The functions below then fetch what a key must hold, and say what is
 * there instead. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/internal.h"

enum { MOST_DEPTH = 32 };

/* --- the allocation hook ------------------------------------------------------------- */

static void *json_malloc(void *ctx, size_t size) {
  (void)ctx;
  void *pointer = NULL;
  return vonk_new_aligned(size, 16, &pointer, NULL) == VONK_OK ? pointer : NULL;
}

static void *json_realloc(void *ctx, void *old, size_t old_size, size_t size) {
  void *pointer = json_malloc(ctx, size);
  if (pointer != NULL && old != NULL) {
    memcpy(pointer, old, old_size < size ? old_size : size);
    vonk_delete(old);
  }
  return pointer;
}

static void json_free(void *ctx, void *pointer) {
  (void)ctx;
  vonk_delete(pointer);
}

/* --- limits -------------------------------------------------------------------------- */

/* How deep lists and objects lie in each other, whether the text is JSON or not. */
static size_t depth_of(const uint8_t *text, size_t n) {
  size_t depth = 0, most = 0;
  bool is_text = false;
  for (size_t i = 0; i < n; i++) {
    uint8_t c = text[i];
    if (is_text) {
      i += c == '\\';
      is_text = c != '"';
    } else if (c == '"') {
      is_text = true;
    } else if (c == '[' || c == '{') {
      depth++;
      most = depth > most ? depth : most;
    } else if ((c == ']' || c == '}') && depth > 0) {
      depth--;
    }
  }
  return most;
}

static int by_text(const void *a, const void *b) {
  yyjson_val *x = *(yyjson_val *const *)a, *y = *(yyjson_val *const *)b;
  size_t n_x = yyjson_get_len(x), n_y = yyjson_get_len(y);
  int order = memcmp(yyjson_get_str(x), yyjson_get_str(y), n_x < n_y ? n_x : n_y);
  return order != 0 ? order : n_x < n_y ? -1 : n_x > n_y;
}

/* keys: room for those of any object. */
static vonk_status check_object(const vonk_bundle *bundle, yyjson_val *object,
                                yyjson_val **keys, vonk_error *err) {
  size_t n = 0, i, most;
  yyjson_val *key, *value;
  char shown[VONK_SHOWN];
  yyjson_obj_foreach(object, i, most, key, value) {
    (void)value;
    keys[n++] = key;
    if (memchr(yyjson_get_str(key), '\0', yyjson_get_len(key)) != NULL) {
      return vonk_manifest_fail(
          bundle, err, "", "key '%s' has a NUL in it",
          vonk_bundle_show(yyjson_get_str(key), yyjson_get_len(key), shown));
    }
  }
  if (n > 1) {
    qsort(keys, n, sizeof(yyjson_val *), by_text);
  }
  for (size_t k = 1; k < n; k++) {
    if (by_text(&keys[k - 1], &keys[k]) == 0) {
      return vonk_manifest_fail(
          bundle, err, "",
          "key '%s' stands twice in one object, and which of the two counts is nothing "
          "to guess: pack the model again",
          vonk_bundle_show(yyjson_get_str(keys[k]), yyjson_get_len(keys[k]), shown));
    }
  }
  return VONK_OK;
}

/* yyjson keeps all values one after the other, so the walk needs no stack. */
static vonk_status check_objects(const vonk_bundle *bundle, vonk_error *err) {
  yyjson_val *values = yyjson_doc_get_root(bundle->doc);
  size_t n = yyjson_doc_get_val_count(bundle->doc), most = 0;
  for (size_t i = 0; i < n; i++) {
    size_t size = yyjson_obj_size(&values[i]); /* 0 if it is none */
    most = size > most ? size : most;
  }
  yyjson_val **keys;
  VONK_TRY(vonk_new(most, sizeof *keys, &keys, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < n; i++) {
    if (yyjson_is_obj(&values[i])) {
      status = check_object(bundle, &values[i], keys, err);
    }
  }
  vonk_delete(keys);
  return status;
}

vonk_status vonk_json_parse(vonk_bundle *bundle, vonk_error *err) {
  const yyjson_alc hook = {json_malloc, json_realloc, json_free, NULL};
  yyjson_read_err fault;
  if (depth_of(bundle->text, bundle->n_text) > MOST_DEPTH) {
    return vonk_manifest_fail(bundle, err, "",
                              "lists and objects are nested more than %d deep: pack the "
                              "model again",
                              MOST_DEPTH);
  }
  /* Without the flag for it, yyjson does not write to the text. */
  bundle->doc = yyjson_read_opts((char *)(uintptr_t)bundle->text, bundle->n_text,
                                 YYJSON_READ_NOFLAG, &hook, &fault);
  if (bundle->doc == NULL) {
    if (fault.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
      return vonk_fail_nomem(err, bundle->n_text);
    }
    size_t line = 0, column = 0, character = 0;
    (void)yyjson_locate_pos((const char *)bundle->text, bundle->n_text, fault.pos, &line,
                            &column, &character);
    return vonk_manifest_fail(bundle, err, "",
                              "is not JSON: line %zu, column %zu: %s: pack the model "
                              "again",
                              line, column, fault.msg);
  }
  if (!yyjson_is_obj(yyjson_doc_get_root(bundle->doc))) {
    return vonk_manifest_fail(bundle, err, "", "is %s: expected an object",
                              vonk_json_kind(yyjson_doc_get_root(bundle->doc)));
  }
  return check_objects(bundle, err);
}

/* --- fetching ------------------------------------------------------------------------ */

const char *vonk_json_kind(yyjson_val *value) {
  return value == NULL           ? "nothing"
         : yyjson_is_null(value) ? "null"
         : yyjson_is_bool(value) ? "true or false"
         : yyjson_is_num(value)  ? "a number"
         : yyjson_is_str(value)  ? "a text"
         : yyjson_is_arr(value)  ? "a list"
                                 : "an object";
}

yyjson_val *vonk_json_get(yyjson_val *object, const char *key) {
  yyjson_val *value = yyjson_obj_get(object, key);
  return value == NULL || yyjson_is_null(value) ? NULL : value;
}

static vonk_status fail_kind(const vonk_bundle *bundle, yyjson_val *value,
                             const char *where, const char *key, const char *expected,
                             vonk_error *err) {
  return value == NULL ? vonk_manifest_fail(bundle, err, where,
                                            "'%s' is missing: expected %s", key, expected)
                       : vonk_manifest_fail(bundle, err, where, "'%s' is %s: expected %s",
                                            key, vonk_json_kind(value), expected);
}

vonk_status vonk_json_text(const vonk_bundle *bundle, yyjson_val *object,
                           const char *where, const char *key, bool is_required,
                           const char **out, vonk_error *err) {
  yyjson_val *value = vonk_json_get(object, key);
  if (value == NULL && !is_required) {
    return VONK_OK;
  }
  if (!yyjson_is_str(value)) {
    return fail_kind(bundle, value, where, key, "a text", err);
  }
  if (strlen(yyjson_get_str(value)) != yyjson_get_len(value)) {
    return vonk_manifest_fail(bundle, err, where, "'%s' has a NUL in it", key);
  }
  *out = yyjson_get_str(value);
  return VONK_OK;
}

vonk_status vonk_json_object(const vonk_bundle *bundle, yyjson_val *object,
                             const char *where, const char *key, bool is_required,
                             yyjson_val **out, vonk_error *err) {
  yyjson_val *value = vonk_json_get(object, key);
  if (value == NULL && !is_required) {
    return VONK_OK;
  }
  if (!yyjson_is_obj(value)) {
    return fail_kind(bundle, value, where, key, "an object", err);
  }
  *out = value;
  return VONK_OK;
}

vonk_status vonk_json_list(const vonk_bundle *bundle, yyjson_val *object,
                           const char *where, const char *key, bool is_required,
                           yyjson_val **out, vonk_error *err) {
  yyjson_val *value = vonk_json_get(object, key);
  if (value == NULL && !is_required) {
    return VONK_OK;
  }
  if (!yyjson_is_arr(value)) {
    return fail_kind(bundle, value, where, key, "a list", err);
  }
  *out = value;
  return VONK_OK;
}
