/* `vonk inspect --json`. */
#include <string.h>

#include "cli/inspect.h"
#include "cli/json.h"

const char *vonk_inspect_metadata(const vonk_model_summary *s, const char *key) {
  for (uint32_t i = 0; i < s->n_metadata; i++) {
    if (strcmp(s->metadata[i].key, key) == 0) {
      return s->metadata[i].value;
    }
  }
  return NULL;
}

bool vonk_inspect_has_signatures(const vonk_model_summary *s) {
  return vonk_inspect_metadata(s, "signature") != NULL &&
         vonk_inspect_metadata(s, "signatures") != NULL;
}

size_t vonk_inspect_next_signature(const char **rest, const char **start) {
  *rest += strspn(*rest, ", ");
  *start = *rest;
  size_t size = strcspn(*rest, ",");
  *rest += size;
  return size;
}

/* A free dimension is its name, or null. */
static yyjson_mut_val *shape_of(const vonk_cli_json *json, const vonk_io *io) {
  if (io->rank < 0) {
    return yyjson_mut_null(json->document);
  }
  yyjson_mut_val *shape = yyjson_mut_arr(json->document);
  for (int32_t i = 0; i < io->rank; i++) {
    const char *name = io->dim_names == NULL ? NULL : io->dim_names[i];
    (void)yyjson_mut_arr_append(shape, io->shape[i] >= 0
                                           ? yyjson_mut_sint(json->document, io->shape[i])
                                           : vonk_cli_json_text(json, name));
  }
  return shape;
}

static yyjson_mut_val *tensors(const vonk_cli_json *json, const vonk_io *const *ios,
                               uint32_t n) {
  yyjson_mut_val *list = yyjson_mut_arr(json->document);
  for (uint32_t i = 0; i < n; i++) {
    yyjson_mut_val *tensor = yyjson_mut_arr_add_obj(json->document, list);
    vonk_cli_json_set(json, tensor, "name", vonk_cli_json_text(json, ios[i]->name));
    vonk_cli_json_set(json, tensor, "dtype",
                      vonk_cli_json_text(json, vonk_dtype_name(ios[i]->dtype)));
    vonk_cli_json_set(json, tensor, "shape", shape_of(json, ios[i]));
  }
  return list;
}

/* null where the format has none. */
static yyjson_mut_val *signatures(const vonk_cli_json *json,
                                  const vonk_model_summary *s) {
  if (!vonk_inspect_has_signatures(s)) {
    return yyjson_mut_null(json->document);
  }
  yyjson_mut_val *list = yyjson_mut_arr(json->document);
  const char *rest = vonk_inspect_metadata(s, "signatures"), *start;
  size_t size;
  while ((size = vonk_inspect_next_signature(&rest, &start)) > 0) {
    (void)yyjson_mut_arr_append(list, vonk_cli_json_text_n(json, start, size));
  }
  return list;
}

vonk_status vonk_inspect_print_json(const vonk_model *model, const char *digest,
                                    vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(model);
  vonk_cli_json json = vonk_cli_json_start(false);
  const struct {
    const char *key, *text;
  } texts[] = {{"path", s->path},
               {"format", s->format},
               {"producer", s->producer},
               {"plugin", s->plugin},
               {"runtime_version", s->runtime_version},
               {"runtime_path", s->runtime_path},
               {"device", s->device}};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    vonk_cli_json_set(&json, json.root, texts[i].key,
                      vonk_cli_json_text(&json, texts[i].text));
  }
  const struct {
    const char *key;
    yyjson_mut_val *value;
  } values[] = {
      {"parameters", vonk_cli_json_count(&json, s->n_params)},
      {"weight_bytes", vonk_cli_json_count(&json, s->weight_bytes)},
      {"file_bytes", vonk_cli_json_count(&json, s->file_bytes)},
      {"inputs", tensors(&json, s->inputs, s->n_inputs)},
      {"outputs", tensors(&json, s->outputs, s->n_outputs)},
      {"metadata", vonk_cli_json_entries(&json, s->metadata, s->n_metadata)},
      {"signature", vonk_cli_json_text(&json, vonk_inspect_has_signatures(s)
                                                  ? vonk_inspect_metadata(s, "signature")
                                                  : NULL)},
      {"signatures", signatures(&json, s)},
      {"bundle", vonk_inspect_bundle_json(&json, s, vonk_model_bundle(model))},
  };
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    vonk_cli_json_set(&json, json.root, values[i].key, values[i].value);
  }
  if (digest != NULL) {
    vonk_cli_json_set(&json, json.root, "sha256", vonk_cli_json_text(&json, digest));
  }
  return vonk_cli_json_print(&json, err);
}
