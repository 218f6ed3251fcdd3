/* Bundles written by the tests in C: zip files with stored entries, or folders. */
#ifndef VONK_TESTS_BUNDLE_FIXTURE_H
#define VONK_TESTS_BUNDLE_FIXTURE_H

#include <sys/stat.h>

#include "bundle/internal.h"
#include "unit/predict_fixture.h"

typedef struct fixture_file {
  const char *name, *data;
} fixture_file;

/* --- bytes -------------------------------------------------------------------------- */

static inline void put(vonk_buffer *out, const void *bytes, size_t n) {
  assert_int_equal(vonk_buffer_append(out, bytes, n, NULL), VONK_OK);
}
static inline void put_number(vonk_buffer *out, uint64_t number, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) {
    uint8_t byte = (uint8_t)(i < 8 ? number >> (8 * i) : 0);
    put(out, &byte, 1);
  }
}

/* The fields that a header and its entry in the directory share. */
static inline void put_fields(vonk_buffer *out, const char *name, const char *data,
                              size_t n) {
  put_number(out, 20, 2);
  put_number(out, 0x0800, 2);
  put_number(out, 0, 2);
  put_number(out, 0x00210000, 4);
  put_number(out, vonk_crc32((const uint8_t *)data, n), 4);
  put_number(out, n, 4);
  put_number(out, n, 4);
  put_number(out, strlen(name), 2);
  put_number(out, 0, 2);
}

static inline void put_entry(vonk_buffer *out, vonk_buffer *directory, const char *name,
                             const char *data, size_t n) {
  put(directory, "PK\1\2", 4);
  put_number(directory, 20, 2);
  put_fields(directory, name, data, n);
  put_number(directory, 0, 2 + 2 + 2 + 4);
  put_number(directory, out->size, 4);
  put(directory, name, strlen(name));
  put(out, "PK\3\4", 4);
  put_fields(out, name, data, n);
  put(out, name, strlen(name));
  put(out, data, n);
}

/* --- a manifest with the digests of its files ---------------------------------------- */

/* described: members of the object, without braces. To be freed with vonk_delete. */
static inline char *fixture_manifest(const char *described, const fixture_file *files) {
  vonk_buffer text = {0};
  char line[512];
  put(&text, "{", 1);
  put(&text, described, strlen(described));
  put(&text, ", \"files\": {", 12);
  for (const fixture_file *file = files; file->name != NULL; file++) {
    vonk_sha256 digest;
    char hex[65];
    vonk_sha256_start(&digest);
    vonk_sha256_update(&digest, file->data, strlen(file->data));
    vonk_sha256_finish(&digest, hex);
    int n = snprintf(line, sizeof line, "%s\"%s\": {\"sha256\": \"%s\", \"size\": %zu}",
                     file == files ? "" : ", ", file->name, hex, strlen(file->data));
    put(&text, line, (size_t)n);
  }
  put(&text, "}}", 3); /* with its NUL */
  return (char *)text.data;
}

/* Writes fixture_folder/name; the path is good until the next call. */
static inline const char *fixture_zip(const char *name, const char *described,
                                      const fixture_file *files) {
  static char path[160];
  vonk_buffer out = {0}, directory = {0};
  char *manifest = fixture_manifest(described, files);
  size_t n_entries = 1;
  put_entry(&out, &directory, VONK_MANIFEST, manifest, strlen(manifest));
  for (const fixture_file *file = files; file->name != NULL; file++) {
    put_entry(&out, &directory, file->name, file->data, strlen(file->data));
    n_entries++;
  }
  size_t at = out.size;
  put(&out, directory.data, directory.size);
  put(&out, "PK\5\6", 4);
  put_number(&out, 0, 4);
  put_number(&out, n_entries, 2);
  put_number(&out, n_entries, 2);
  put_number(&out, directory.size, 4);
  put_number(&out, at, 4);
  put_number(&out, 0, 2);
  snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
  char fresh[180]; /* as `vonk pack` replaces one */
  snprintf(fresh, sizeof fresh, "%s.new", path);
  FILE *file = fopen(fresh, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(out.data, 1, out.size, file), out.size);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(rename(fresh, path), 0);
  vonk_delete(manifest);
  vonk_buffer_release(&out);
  vonk_buffer_release(&directory);
  return path;
}

/* The same as a folder. */
static inline const char *fixture_bundle_folder(const char *name, const char *described,
                                                const fixture_file *files) {
  static char path[160];
  char inner[256], file_name[80];
  snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
  assert_int_equal(mkdir(path, 0755), 0);
  for (const fixture_file *file = files; file->name != NULL; file++) {
    for (const char *slash = strchr(file->name, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
      snprintf(inner, sizeof inner, "%s/%.*s", path, (int)(slash - file->name),
               file->name);
      mkdir(inner, 0755); /* or it is there */
    }
    snprintf(file_name, sizeof file_name, "%s/%s", name, file->name);
    fixture_write(file_name, file->data);
  }
  char *manifest = fixture_manifest(described, files);
  snprintf(file_name, sizeof file_name, "%s/" VONK_MANIFEST, name);
  fixture_write(file_name, manifest);
  vonk_delete(manifest);
  return path;
}

#endif /* VONK_TESTS_BUNDLE_FIXTURE_H */
