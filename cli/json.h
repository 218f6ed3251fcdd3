/* JSON for scripts: what `--json` prints, over yyjson. A document and all its values live
 * from vonk_cli_json_start to vonk_cli_json_print
 * or _drop. */
#ifndef VONK_CLI_JSON_H
#define VONK_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "vonk/vonk.h"

typedef struct vonk_cli_json {
  yyjson_mut_doc *document; /* NULL if memory ran out: printing says so */
  yyjson_mut_val *root;
} vonk_cli_json;

/* A document whose root is an object, or an array. */
vonk_cli_json vonk_cli_json_start(bool is_array);
/* Prints it, indented, with a newline, and frees it. VONK_NOMEM. */
vonk_status vonk_cli_json_print(vonk_cli_json *, vonk_error *err);
/* Frees one that is not to be printed, or was. */
void vonk_cli_json_drop(vonk_cli_json *);

/* A copy of a text: null for NULL, "(not UTF-8)" for what is none. */
yyjson_mut_val *vonk_cli_json_text(const vonk_cli_json *, const char *text);
/* The same for the first size bytes. */
yyjson_mut_val *vonk_cli_json_text_n(const vonk_cli_json *, const char *text,
                                     size_t size);
/* null if it is negative, which means "not known". */
yyjson_mut_val *vonk_cli_json_count(const vonk_cli_json *, int64_t n);
/* An object of the entries' keys and values; of two with one key, the last. */
yyjson_mut_val *vonk_cli_json_entries(const vonk_cli_json *, const vonk_kv *entries,
                                      size_t n);

/* Adds a member to an object; key is static, or lives as long as the document. */
void vonk_cli_json_set(const vonk_cli_json *, yyjson_mut_val *object, const char *key,
                       yyjson_mut_val *value);

#endif /* VONK_CLI_JSON_H */
