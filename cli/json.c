/* JSON for scripts.
 *
 * How it works: yyjson checks that texts are UTF-8 when it writes, so a text out of a
 * model's file is written once by itself to see whether it may go in. A value
 * that could not be made for want of memory is NULL, which yyjson takes and leaves out. */
#include "cli/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

vonk_cli_json vonk_cli_json_start(bool is_array) {
  vonk_cli_json json = {.document = yyjson_mut_doc_new(NULL)};
  json.root = is_array ? yyjson_mut_arr(json.document) : yyjson_mut_obj(json.document);
  yyjson_mut_doc_set_root(json.document, json.root);
  return json;
}

void vonk_cli_json_drop(vonk_cli_json *json) {
  yyjson_mut_doc_free(json->document);
  *json = (vonk_cli_json){0};
}

vonk_status vonk_cli_json_print(vonk_cli_json *json, vonk_error *err) {
  size_t size = 0;
  char *text = yyjson_mut_write(json->document, YYJSON_WRITE_PRETTY_TWO_SPACES, &size);
  vonk_cli_json_drop(json);
  if (text == NULL) {
    return vonk_fail_nomem(err, 0);
  }
  (void)fwrite(text, 1, size, stdout);
  (void)putchar('\n');
  free(text);
  return VONK_OK;
}

yyjson_mut_val *vonk_cli_json_text_n(const vonk_cli_json *json, const char *text,
                                     size_t size) {
  yyjson_mut_val *value = yyjson_mut_strncpy(json->document, text, size);
  char *probe = yyjson_mut_val_write(value, 0, NULL);
  free(probe);
  return probe != NULL ? value : yyjson_mut_str(json->document, "(not UTF-8)");
}

yyjson_mut_val *vonk_cli_json_text(const vonk_cli_json *json, const char *text) {
  return text == NULL ? yyjson_mut_null(json->document)
                      : vonk_cli_json_text_n(json, text, strlen(text));
}

yyjson_mut_val *vonk_cli_json_count(const vonk_cli_json *json, int64_t n) {
  return n < 0 ? yyjson_mut_null(json->document) : yyjson_mut_sint(json->document, n);
}

yyjson_mut_val *vonk_cli_json_entries(const vonk_cli_json *json, const vonk_kv *entries,
                                      size_t n) {
  yyjson_mut_val *object = yyjson_mut_obj(json->document);
  for (size_t i = 0; i < n; i++) {
    (void)yyjson_mut_obj_put(object, vonk_cli_json_text(json, entries[i].key),
                             vonk_cli_json_text(json, entries[i].value));
  }
  return object;
}

void vonk_cli_json_set(const vonk_cli_json *json, yyjson_mut_val *object, const char *key,
                       yyjson_mut_val *value) {
  (void)yyjson_mut_obj_add(object, yyjson_mut_str(json->document, key), value);
}
