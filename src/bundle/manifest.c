/* What a manifest says: the version, the model, texts; ports.c, steps.c and selftest.c
 * read the rest. docs/bundle.md is the schema. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/internal.h"

/* --- the version --------------------------------------------------------------------- */

static vonk_status check_version(const vonk_bundle *bundle, yyjson_val *root,
                                 vonk_error *err) {
  yyjson_val *value = vonk_json_get(root, "vonk_bundle");
  if (value == NULL) {
    return vonk_manifest_fail(bundle, err, "",
                              "has no 'vonk_bundle': it is not a bundle's manifest");
  }
  if (!yyjson_is_uint(value) || yyjson_get_uint(value) == 0) {
    return vonk_manifest_fail(bundle, err, "", "'vonk_bundle' is %s: expected %d",
                              yyjson_is_num(value) ? "no version" : vonk_json_kind(value),
                              VONK_BUNDLE_VERSION);
  }
  if (yyjson_get_uint(value) > VONK_BUNDLE_VERSION) {
    return vonk_bundle_fail(bundle, err, VONK_UNSUPPORTED,
                            "has version %" PRIu64
                            " of the format, this vonk reads up to %d: update vonk",
                            yyjson_get_uint(value), VONK_BUNDLE_VERSION);
  }
  return VONK_OK;
}

/* --- texts by key -------------------------------------------------------------------- */

static vonk_status read_texts(vonk_bundle *bundle, yyjson_val *object, const char *where,
                              const vonk_kv **out, uint32_t *n_out, vonk_error *err) {
  vonk_kv *list;
  size_t i, n;
  yyjson_val *key, *value;
  if (object == NULL) {
    return VONK_OK;
  }
  VONK_TRY(vonk_bundle_new(bundle, yyjson_obj_size(object), sizeof *list, &list, err));
  yyjson_obj_foreach(object, i, n, key, value) {
    char shown[VONK_SHOWN];
    const char *text = yyjson_get_str(key);
    const char *problem = !yyjson_is_str(value) ? vonk_json_kind(value)
                          : strlen(yyjson_get_str(value)) != yyjson_get_len(value)
                              ? "a text with a NUL in it"
                              : NULL;
    if (problem != NULL) {
      return vonk_manifest_fail(bundle, err, where, "'%s' is %s: expected a text",
                                vonk_bundle_show(text, strlen(text), shown), problem);
    }
    list[i] = (vonk_kv){text, yyjson_get_str(value)};
  }
  *out = list;
  *n_out = (uint32_t)n;
  return VONK_OK;
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const vonk_kv *)a)->key, ((const vonk_kv *)b)->key);
}

/* --- the model ----------------------------------------------------------------------- */

static vonk_status check_options(const vonk_bundle *bundle, vonk_error *err) {
  static const char *const of_the_one_who_opens[] = {"allow_native_code", "device",
                                                     "plugin", "threads_per_run"};
  const vonk_manifest *m = &bundle->manifest;
  for (uint32_t i = 0; i < m->n_options; i++) {
    for (size_t k = 0; k < sizeof of_the_one_who_opens / sizeof(char *); k++) {
      if (strcmp(m->options[i].key, of_the_one_who_opens[k]) == 0) {
        return vonk_manifest_fail(bundle, err, "model.options",
                                  "'%s' is not a bundle's to decide, but that of the one "
                                  "who opens it: pack the model again without it",
                                  m->options[i].key);
      }
    }
  }
  return VONK_OK;
}

/* A name that is looked for in the places of plug-ins, never a path. */
static vonk_status check_plugin_name(const vonk_bundle *bundle, vonk_error *err) {
  const char *name = bundle->manifest.plugin;
  char shown[VONK_SHOWN];
  if (name == NULL) {
    return VONK_OK;
  }
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (n == 0 || n > 64 || name[n] != '\0') {
    return vonk_manifest_fail(bundle, err, "model",
                              "plugin '%s' is no plug-in's name: expected up to 64 of "
                              "a-z, 0-9 and _",
                              vonk_bundle_show(name, strlen(name), shown));
  }
  return VONK_OK;
}

/* The model's own file, or the folder that all of it lies in; and which files go with it:
 * those in the same folder. */
static vonk_status find_model(vonk_bundle *bundle, vonk_error *err) {
  const char *path = bundle->manifest.model;
  size_t length = strlen(path);
  char shown[VONK_SHOWN];
  const char *fault = vonk_bundle_name_fault(path, length);
  if (fault != NULL) {
    return vonk_manifest_fail(bundle, err, "model", "path '%s' %s",
                              vonk_bundle_show(path, length, shown), fault);
  }
  bool is_file = vonk_bundle_find(bundle, path) != NULL;
  const char *slash = strrchr(path, '/');
  if (is_file && slash == NULL) {
    return vonk_manifest_fail(bundle, err, "model",
                              "path '%s' lies beside the manifest: a model has a folder "
                              "of its own",
                              vonk_bundle_show(path, length, shown));
  }
  size_t n_folder = is_file ? (size_t)(slash - path) : length;
  vonk_file *files;
  uint32_t n = 0;
  VONK_TRY(vonk_bundle_new(bundle, bundle->n_files, sizeof *files, &files, err));
  for (size_t i = 0; i < bundle->n_files; i++) {
    const bundle_file *file = &bundle->files[i];
    if (strncmp(file->name, path, n_folder) == 0 && file->name[n_folder] == '/') {
      files[n++] = (vonk_file){file->name + n_folder + 1, file->data, file->size};
    }
  }
  if (n == 0) {
    return vonk_manifest_fail(bundle, err, "model",
                              "path '%s': there is no such file or folder in the bundle",
                              vonk_bundle_show(path, length, shown));
  }
  size_t n_bundle = strlen(bundle->path);
  char *full;
  VONK_TRY(vonk_bundle_new(bundle, n_bundle + length + 2, 1, &full, err));
  memcpy(full, bundle->path, n_bundle);
  full[n_bundle] = '/';
  memcpy(full + n_bundle + 1, path, length);
  bundle->model = (vonk_files){.struct_size = (uint32_t)sizeof bundle->model,
                               .n_files = n,
                               .path = full,
                               .main = is_file ? path + n_folder + 1 : NULL,
                               .files = files};
  bundle->model_path = bundle->is_folder ? full : NULL;
  return VONK_OK;
}

static vonk_status read_model(vonk_bundle *bundle, yyjson_val *root, vonk_error *err) {
  vonk_manifest *m = &bundle->manifest;
  yyjson_val *model = NULL, *options = NULL;
  VONK_TRY(vonk_json_object(bundle, root, "", "model", true, &model, err));
  VONK_TRY(vonk_json_text(bundle, model, "model", "format", true, &m->format, err));
  VONK_TRY(vonk_json_text(bundle, model, "model", "plugin", false, &m->plugin, err));
  VONK_TRY(vonk_json_text(bundle, model, "model", "path", true, &m->model, err));
  VONK_TRY(vonk_json_object(bundle, model, "model", "options", false, &options, err));
  VONK_TRY(read_texts(bundle, options, "model.options", &m->options, &m->n_options, err));
  if (m->n_options > 1) {
    qsort((vonk_kv *)(uintptr_t)m->options, m->n_options, sizeof *m->options, by_key);
  }
  VONK_TRY(check_options(bundle, err));
  VONK_TRY(check_plugin_name(bundle, err));
  return find_model(bundle, err);
}

vonk_status vonk_manifest_read(vonk_bundle *bundle, vonk_error *err) {
  vonk_manifest *m = &bundle->manifest;
  yyjson_val *files = NULL, *provenance = NULL;
  VONK_TRY(vonk_json_parse(bundle, err));
  yyjson_val *root = yyjson_doc_get_root(bundle->doc);
  VONK_TRY(check_version(bundle, root, err));
  VONK_TRY(vonk_json_object(bundle, root, "", "files", true, &files, err));
  VONK_TRY(vonk_files_match(bundle, files, err));
  VONK_TRY(vonk_json_text(bundle, root, "", "name", false, &m->name, err));
  VONK_TRY(vonk_json_text(bundle, root, "", "description", false, &m->description, err));
  VONK_TRY(vonk_json_text(bundle, root, "", "licence", false, &m->licence, err));
  VONK_TRY(vonk_json_object(bundle, root, "", "provenance", false, &provenance, err));
  VONK_TRY(read_texts(bundle, provenance, "provenance", &m->provenance, &m->n_provenance,
                      err));
  VONK_TRY(read_model(bundle, root, err));
  VONK_TRY(vonk_ports_read(bundle, root, err));
  VONK_TRY(vonk_steps_read(bundle, root, err));
  return vonk_selftest_read(bundle, root, err);
}
