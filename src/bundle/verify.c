/* The files of a bundle against its manifest: the same names, sizes and digests. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "bundle/internal.h"

enum { DIGITS = 64 };

/* --- names and sizes ----------------------------------------------------------------- */

static bool is_digest(yyjson_val *value) {
  const char *text = yyjson_get_str(value);
  return text != NULL && yyjson_get_len(value) == DIGITS &&
         strspn(text, "0123456789abcdefABCDEF") == DIGITS;
}

static vonk_status match_file(vonk_bundle *bundle, const char *name, yyjson_val *says,
                              vonk_error *err) {
  char shown[VONK_SHOWN];
  vonk_bundle_show(name, strlen(name), shown);
  const char *fault = vonk_bundle_name_fault(name, strlen(name));
  if (fault == NULL && strcmp(name, VONK_MANIFEST) == 0) {
    fault = "cannot list itself";
  }
  if (fault != NULL) {
    return vonk_manifest_fail(bundle, err, "files", "'%s' %s", shown, fault);
  }
  yyjson_val *size = yyjson_obj_get(says, "size");
  yyjson_val *digest = yyjson_obj_get(says, "sha256");
  if (!yyjson_is_uint(size)) {
    return vonk_manifest_fail(bundle, err, "files",
                              "'%s': 'size' is %s: expected its bytes", shown,
                              yyjson_is_num(size) ? "no size" : vonk_json_kind(size));
  }
  if (!is_digest(digest)) {
    return vonk_manifest_fail(
        bundle, err, "files", "'%s': 'sha256' is %s: expected 64 hex digits", shown,
        yyjson_is_str(digest) ? "another text" : vonk_json_kind(digest));
  }
  bundle_file *file = vonk_bundle_find(bundle, name);
  if (file == NULL) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL,
                            "file '%s' is missing, which the manifest lists: get the "
                            "bundle again",
                            shown);
  }
  if (file->size != yyjson_get_uint(size)) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL,
                            "file '%s' has %" PRIu64 " bytes, the manifest says %" PRIu64
                            ": it was damaged or changed: get the bundle again",
                            shown, file->size, yyjson_get_uint(size));
  }
  file->sha256 = yyjson_get_str(digest);
  return VONK_OK;
}

vonk_status vonk_files_match(vonk_bundle *bundle, yyjson_val *files, vonk_error *err) {
  yyjson_val *key;
  char shown[VONK_SHOWN];
  if (yyjson_obj_size(files) > VONK_BUNDLE_MAX_FILES) {
    return vonk_manifest_fail(bundle, err, "files", "lists more than %d files",
                              VONK_BUNDLE_MAX_FILES);
  }
  yyjson_obj_iter listed = yyjson_obj_iter_with(files);
  while ((key = yyjson_obj_iter_next(&listed)) != NULL) { /* no key stands twice */
    VONK_TRY(match_file(bundle, yyjson_get_str(key), yyjson_obj_iter_get_val(key), err));
  }
  for (size_t k = 0; k < bundle->n_files; k++) {
    const char *name = bundle->files[k].name;
    if (bundle->files[k].sha256 == NULL) {
      return vonk_bundle_fail(bundle, err, VONK_MODEL,
                              "has a file '%s' that its manifest does not list: pack the "
                              "model again",
                              vonk_bundle_show(name, strlen(name), shown));
    }
  }
  return VONK_OK;
}

/* --- digests ------------------------------------------------------------------------- */

/* Of a folder: into memory if it is kept, else only through the digest. */
static vonk_status digest_on_disk(vonk_bundle *bundle, bundle_file *file, char hex[65],
                                  vonk_error *err) {
  size_t n_path = strlen(bundle->path) + strlen(file->name) + 2, n_read = 0;
  char *path;
  uint8_t *data;
  VONK_TRY(vonk_new(n_path, 1, &path, err));
  (void)snprintf(path, n_path, "%s/%s", bundle->path, file->name);
  vonk_status status = VONK_OK;
  if (!file->is_kept) {
    status = vonk_sha256_file(path, hex, err);
  } else {
    status = vonk_bundle_new(bundle, (size_t)file->size + 1, 1, &data, err);
    if (status == VONK_OK) {
      status = vonk_file_head(path, data, (size_t)file->size + 1, &n_read, err);
    }
    if (status == VONK_OK && n_read == file->size) {
      file->data = file->size == 0 ? NULL : data;
    }
    if (status == VONK_OK) {
      vonk_sha256 digest;
      vonk_sha256_start(&digest);
      vonk_sha256_update(&digest, data, n_read);
      vonk_sha256_finish(&digest, hex);
    }
  }
  vonk_delete(path);
  return status;
}

static vonk_status verify_file(vonk_bundle *bundle, bundle_file *file, vonk_error *err) {
  char hex[DIGITS + 1], shown[VONK_SHOWN];
  if (bundle->is_folder) {
    VONK_TRY(digest_on_disk(bundle, file, hex, err));
  } else {
    vonk_sha256 digest;
    vonk_sha256_start(&digest);
    vonk_sha256_update(&digest, file->data, (size_t)file->size);
    vonk_sha256_finish(&digest, hex);
  }
  if (strncasecmp(hex, file->sha256, DIGITS) != 0) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL,
                            "file '%s': sha256 is %s, the manifest says %.64s: it was "
                            "damaged or changed: get the bundle again",
                            vonk_bundle_show(file->name, strlen(file->name), shown), hex,
                            file->sha256);
  }
  return VONK_OK;
}

vonk_status vonk_files_verify(vonk_bundle *bundle, vonk_error *err) {
  if (bundle->map.data !=
      NULL) { /* a hint: the next bytes are read while these are used */
    (void)posix_madvise((void *)(uintptr_t)bundle->map.data, bundle->map.size,
                        POSIX_MADV_WILLNEED);
  }
  for (size_t i = 0; i < bundle->n_files; i++) {
    VONK_TRY(verify_file(bundle, &bundle->files[i], err));
  }
  return VONK_OK;
}
