/* Opening a bundle.
 *
 * How it works: first which files there are, without believing more of the container than
 * its structure; then the manifest, read whole and held against those files; then the
 * digests of all of them; then what the manifest takes from files, the labels and the
 * self-test. Nothing is handed out before all of it is done, and nothing is written.
 *
 * A zip file is mapped, and its files are used where they lie. Of a folder only what the
 * manifest takes is read into memory: the plug-in opens the model by its path. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "bundle/internal.h"

/* --- recognising --------------------------------------------------------------------- */

static bool is_named_as_one(const char *path) {
  size_t n = strlen(path);
  while (n > 0 && path[n - 1] == '/') {
    n--;
  }
  return n > 5 && strncasecmp(path + n - 5, ".vonk", 5) == 0 && path[n - 6] != '/';
}

/* Other folders have a manifest.json too: this one's speaks of us. */
static bool is_folder_of_one(const char *path) {
  static const char key[] = "\"vonk_bundle\"";
  char file[PATH_MAX];
  vonk_mapping text;
  struct stat facts;
  int n = snprintf(file, sizeof file, "%s/" VONK_MANIFEST, path);
  if (n < 0 || (size_t)n >= sizeof file || stat(file, &facts) != 0 ||
      !S_ISREG(facts.st_mode) || facts.st_size > VONK_MANIFEST_MAX ||
      vonk_file_map(file, &text, NULL) != VONK_OK) {
    return false;
  }
  bool found = false;
  for (size_t i = 0; !found && i + sizeof key - 1 <= text.size; i++) {
    found = memcmp(text.data + i, key, sizeof key - 1) == 0;
  }
  vonk_file_unmap(&text);
  return found;
}

bool vonk_bundle_recognise(const char *path, const uint8_t *head, size_t n_head) {
  static const char name[] = VONK_MANIFEST;
  enum { NAME_SIZE = 26, NAME = 30 }; /* where a zip file's first header has them */
  if (is_named_as_one(path)) {
    return true;
  }
  if (head == NULL) {
    return is_folder_of_one(path);
  }
  return n_head >= NAME + sizeof name - 1 && memcmp(head, "PK\3\4", 4) == 0 &&
         head[NAME_SIZE] == sizeof name - 1 && head[NAME_SIZE + 1] == 0 &&
         memcmp(head + NAME, name, sizeof name - 1) == 0;
}

/* --- opening ------------------------------------------------------------------------- */

static vonk_status read_files(vonk_bundle *bundle, vonk_error *err) {
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(bundle->path, &id, err));
  bundle->is_folder = id.is_folder;
  if (id.is_folder) {
    return vonk_folder_read(bundle, err);
  }
  VONK_TRY(vonk_file_map(bundle->path, &bundle->map, err));
  return vonk_zip_read(bundle, err);
}

static vonk_status open_bundle(vonk_bundle *bundle, const char *path, vonk_error *err) {
  VONK_TRY(vonk_path_resolve(path, &bundle->path, err));
  VONK_TRY(read_files(bundle, err));
  VONK_TRY(vonk_manifest_read(bundle, err));
  VONK_TRY(vonk_files_verify(bundle, err));
  VONK_TRY(vonk_labels_load(bundle, err));
  return vonk_selftest_load(bundle, err);
}

vonk_status vonk_bundle_open(const char *path, vonk_bundle **out, vonk_error *err) {
  vonk_bundle *bundle;
  VONK_TRY(vonk_new(1, sizeof *bundle, &bundle, err));
  vonk_status status = open_bundle(bundle, path, err);
  if (status != VONK_OK) {
    vonk_bundle_release(bundle);
    return status;
  }
  *out = bundle;
  return VONK_OK;
}

void vonk_bundle_release(vonk_bundle *bundle) {
  if (bundle == NULL) {
    return;
  }
  if (bundle->unpacked != NULL) {
    vonk_unpacked_remove(bundle->unpacked);
  }
  yyjson_doc_free(bundle->doc);
  vonk_file_unmap(&bundle->map);
  vonk_bundle_free_blocks(bundle);
  vonk_delete(bundle->path);
  vonk_delete(bundle);
}

const vonk_manifest *vonk_bundle_manifest(const vonk_bundle *bundle) {
  return &bundle->manifest;
}
const char *vonk_bundle_model_path(const vonk_bundle *bundle) {
  return bundle->model_path;
}
const vonk_files *vonk_bundle_files(const vonk_bundle *bundle) { return &bundle->model; }
