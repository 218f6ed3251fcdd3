/* Replays files through a fuzz target without libFuzzer, so that a corpus is a regression
 * test with any compiler.
 *
 * How it works: each argument is a file or a folder of files (not descended into). Every
 * file is read into a block of exactly its size, so that a sanitizer sees a read one byte
 * past the end, and handed to LLVMFuzzerTestOneInput. The empty input is always tried. A
 * missing corpus is a failure: a test that replays nothing would prove nothing. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/target.h"

enum { PATH_BYTES = 4096, MAX_INPUT_BYTES = 64 << 20 };

/* Reads a whole file into a block of its size; the caller frees *data. Returns 0, or -1
 * with a message printed. */
static int read_file(const char *path, uint8_t **data, size_t *size) {
  FILE *file = fopen(path, "rb");
  uint8_t *bytes = NULL;
  long end = -1;
  if (file == NULL) goto fail;
  if (fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0) goto fail;
  if (end > MAX_INPUT_BYTES || fseek(file, 0, SEEK_SET) != 0) goto fail;
  bytes = malloc(end > 0 ? (size_t)end : 1);
  if (bytes == NULL || fread(bytes, 1, (size_t)end, file) != (size_t)end) goto fail;
  (void)fclose(file);
  *data = bytes;
  *size = (size_t)end;
  return 0;
fail:
  (void)fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
  free(bytes);
  if (file != NULL) (void)fclose(file);
  return -1;
}

static int replay_file(const char *path) {
  uint8_t *data = NULL;
  size_t size = 0;
  if (read_file(path, &data, &size) != 0) return -1;
  (void)LLVMFuzzerTestOneInput(data, size);
  free(data);
  return 1;
}

/* Returns the number of files replayed, or -1. */
static int replay_folder(const char *folder) {
  DIR *dir = opendir(folder);
  if (dir == NULL) {
    (void)fprintf(stderr, "%s: cannot be opened: %s\n", folder, strerror(errno));
    return -1;
  }
  int files = 0;
  for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
    char path[PATH_BYTES];
    struct stat info;
    int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (length < 0 || (size_t)length >= sizeof path || stat(path, &info) != 0) continue;
    if (!S_ISREG(info.st_mode)) continue;
    if (replay_file(path) < 0) {
      files = -1;
      break;
    }
    files++;
  }
  (void)closedir(dir);
  return files;
}

int main(int argc, char **argv) {
  static const uint8_t nothing[1] = {0};
  int total = 0;
  (void)LLVMFuzzerTestOneInput(nothing, 0);
  for (int i = 1; i < argc; i++) {
    struct stat info;
    if (stat(argv[i], &info) != 0) {
      (void)fprintf(stderr, "%s: no such file or folder\n", argv[i]);
      return 1;
    }
    int files = S_ISDIR(info.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    if (files < 0) return 1;
    total += files;
  }
  (void)printf("replayed %d inputs\n", total);
  if (total == 0) {
    (void)fprintf(stderr,
                  "no corpus file found: give a folder that holds at least one\n");
    return 1;
  }
  return 0;
}
