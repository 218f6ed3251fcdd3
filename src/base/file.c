/* Files: names made absolute, what tells a changed file from an unchanged one, and the
 * bytes at its start.
 *
 * How it works: only regular files are read, and they are opened without blocking, so
 * that a pipe or a device given as a model neither hangs nor answers. */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static vonk_status fail_errno(vonk_error *err, const char *path, const char *what,
                              int code) {
  char reason[128];
  if (strerror_r(code, reason, sizeof(reason)) != 0) {
    strcpy(reason, "unknown reason");
  }
  vonk_status status = code == ENOMEM ? VONK_NOMEM : VONK_IO;
  (void)vonk_fail(err, status, "%s: %s: %s", path, what, reason);
  if (err != NULL && (err->struct_size == 0 || VONK_HAS(err, native_code))) {
    err->native_code = code;
  }
  return status;
}

vonk_status vonk_path_resolve(const char *path, char **out, vonk_error *err) {
  char resolved[PATH_MAX];
  if (realpath(path, resolved) == NULL) {
    return fail_errno(err, path, "cannot be found", errno);
  }
  return vonk_new_string(resolved, out, err);
}

vonk_status vonk_file_identify(const char *path, vonk_file_id *out, vonk_error *err) {
  struct stat info;
  if (stat(path, &info) != 0) {
    return fail_errno(err, path, "cannot be found", errno);
  }
  bool is_folder = S_ISDIR(info.st_mode);
  if (!is_folder && !S_ISREG(info.st_mode)) {
    return vonk_fail(
        err, VONK_IO,
        "%s: is neither a file nor a folder: give the name of a regular file", path);
  }
  *out = (vonk_file_id){
      .device = (uint64_t)info.st_dev,
      .inode = (uint64_t)info.st_ino,
      .size = is_folder ? 0 : (int64_t)info.st_size,
      .mtime_ns = (int64_t)((uint64_t)info.st_mtim.tv_sec * UINT64_C(1000000000) +
                            (uint64_t)info.st_mtim.tv_nsec),
      .is_folder = is_folder,
  };
  return VONK_OK;
}

bool vonk_file_same(const vonk_file_id *a, const vonk_file_id *b) {
  return a->device == b->device && a->inode == b->inode && a->size == b->size &&
         a->mtime_ns == b->mtime_ns && a->content == b->content;
}

static vonk_status open_regular(const char *path, int *out, vonk_error *err) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) {
    return fail_errno(err, path, "cannot be opened", errno);
  }
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    bool is_folder = S_ISDIR(info.st_mode);
    close(file);
    return vonk_fail(err, VONK_IO, "%s: is %s: expected a regular file", path,
                     is_folder ? "a folder" : "no file");
  }
  *out = file;
  return VONK_OK;
}

/* Reads until capacity bytes are there or the file ends. */
static vonk_status read_fully(int file, const char *path, uint8_t *out, size_t capacity,
                              size_t *n_read, vonk_error *err) {
  size_t total = 0;
  while (total < capacity) {
    ssize_t n = read(file, out + total, capacity - total);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return fail_errno(err, path, "cannot be read", errno);
    }
    if (n == 0) {
      break;
    }
    total += (size_t)n;
  }
  *n_read = total;
  return VONK_OK;
}

vonk_status vonk_file_head(const char *path, uint8_t *out, size_t capacity,
                           size_t *n_read, vonk_error *err) {
  int file;
  VONK_TRY(open_regular(path, &file, err));
  vonk_status status = read_fully(file, path, out, capacity, n_read, err);
  close(file);
  return status;
}

vonk_status vonk_file_map(const char *path, vonk_mapping *out, vonk_error *err) {
  int file;
  struct stat info;
  vonk_mapping mapping = {0};
  VONK_TRY(open_regular(path, &file, err));
  if (fstat(file, &info) != 0) {
    int code = errno;
    close(file);
    return fail_errno(err, path, "cannot be looked at", code);
  }
  if (info.st_size > 0) {
    mapping.size = (size_t)info.st_size;
    void *data = mmap(NULL, mapping.size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) {
      int code = errno;
      close(file);
      return fail_errno(err, path, "cannot be mapped", code);
    }
    mapping.data = data;
  }
  close(file);
  *out = mapping;
  return VONK_OK;
}

void vonk_file_unmap(vonk_mapping *mapping) {
  if (mapping->data != NULL) {
    munmap((void *)(uintptr_t)mapping->data, mapping->size);
  }
  *mapping = (vonk_mapping){0};
}

vonk_status vonk_sha256_file(const char *path, char hex[65], vonk_error *err) {
  enum { CHUNK = 1 << 16 };
  int file = -1;
  uint8_t *chunk = NULL;
  vonk_status status = open_regular(path, &file, err);
  if (status == VONK_OK) {
    status = vonk_new(CHUNK, 1, &chunk, err);
  }
  vonk_sha256 digest;
  vonk_sha256_start(&digest);
  size_t n = CHUNK;
  while (status == VONK_OK && n == CHUNK) {
    status = read_fully(file, path, chunk, CHUNK, &n, err);
    if (status == VONK_OK) {
      vonk_sha256_update(&digest, chunk, n);
    }
  }
  if (status == VONK_OK) {
    vonk_sha256_finish(&digest, hex);
  }
  vonk_delete(chunk);
  if (file >= 0) {
    close(file);
  }
  return status;
}
