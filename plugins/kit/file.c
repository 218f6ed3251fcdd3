/* Model files: mapping one, and telling what a file is that is none.
 *
 * People point at the wrong file all the time: a Git LFS pointer, a login page that was
 * saved under the model's name. Each gets its own answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/kit.h"

bool vonk_kit_slice_equals(kit_slice slice, const char *text) {
  return slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

bool vonk_kit_has_extension(const char *path, const char *extension) {
  size_t n_path = strlen(path), n_extension = strlen(extension);
  return n_path >= n_extension && strcmp(path + n_path - n_extension, extension) == 0;
}

/* --- mapping ----------------------------------------------------------------------- */

vonk_status vonk_kit_size_check(const char *path, uint64_t nbytes, uint64_t most,
                                const char *wanted, vonk_error *err) {
  return nbytes <= most && nbytes <= SIZE_MAX
             ? VONK_OK
             : vonk_kit_fail(err, VONK_MODEL,
                             "'%s': has %" PRIu64 " bytes: at most %" PRIu64
                             " are possible: give %s",
                             path, nbytes, most, wanted);
}

static vonk_status check_facts(const char *path, const struct stat *facts, uint64_t most,
                               const char *wanted, vonk_error *err) {
  if (!S_ISREG(facts->st_mode)) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': is %s: give %s", path,
                         S_ISDIR(facts->st_mode) ? "a folder" : "no regular file",
                         wanted);
  }
  return vonk_kit_size_check(path, (uint64_t)facts->st_size, most, wanted, err);
}

vonk_status vonk_kit_map(const char *path, uint64_t most, const char *wanted,
                         kit_slice *out, vonk_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return vonk_kit_fail(err, VONK_IO, "'%s': cannot be opened: %s", path,
                         strerror(errno));
  }
  struct stat facts;
  kit_slice file = {0};
  vonk_status status = fstat(fd, &facts) == 0
                           ? check_facts(path, &facts, most, wanted, err)
                           : vonk_kit_fail(err, VONK_IO, "'%s': cannot be read: %s", path,
                                           strerror(errno));
  if (status == VONK_OK && facts.st_size != 0) {
    void *data = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      status = vonk_kit_fail(err, VONK_IO, "'%s': cannot be mapped: %s", path,
                             strerror(errno));
    } else {
      file = (kit_slice){data, (size_t)facts.st_size};
    }
  }
  close(fd);
  if (status == VONK_OK) {
    *out = file;
  }
  return status;
}

void vonk_kit_unmap(kit_slice file) {
  if (file.data != NULL) {
    munmap((void *)(uintptr_t)file.data, file.size);
  }
}

/* --- what else it may be ----------------------------------------------------------- */

static bool starts(const uint8_t *head, size_t n_head, const char *text, size_t n_text) {
  return n_head >= n_text && memcmp(head, text, n_text) == 0;
}

static bool is_web_page(const uint8_t *head, size_t n_head) {
  size_t i = starts(head, n_head, "\xef\xbb\xbf", 3) ? 3 : 0;
  while (i < n_head && (head[i] == ' ' || (head[i] >= '\t' && head[i] <= '\r'))) {
    ++i;
  }
  if (n_head - i < 5 || head[i] != '<') {
    return false;
  }
  char text[10] = {0};
  for (size_t j = 0; j < sizeof text - 1 && i + j < n_head; ++j) {
    uint8_t c = head[i + j];
    text[j] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  return memcmp(text, "<html", 5) == 0 || memcmp(text, "<!doctype", 9) == 0 ||
         memcmp(text, "<?xml", 5) == 0 || memcmp(text, "<head", 5) == 0;
}

const char *vonk_kit_what_else(const uint8_t *head, size_t n_head) {
  static const struct {
    const char *text;
    size_t n_text;
    const char *answer;
  } known[] = {
      {"version https://git-lfs", 23,
       "is a Git LFS pointer, not the model itself: run 'git lfs pull' in its folder"},
      {"\x1f\x8b", 2, "is compressed with gzip: unpack it first"},
      {"BZh", 3, "is compressed with bzip2: unpack it first"},
      {"\xfd"
       "7zXZ",
       5, "is compressed with xz: unpack it first"},
      {"\x28\xb5\x2f\xfd", 4, "is compressed with zstd: unpack it first"},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (starts(head, n_head, known[i].text, known[i].n_text)) {
      return known[i].answer;
    }
  }
  return is_web_page(head, n_head) ? "is a web page, not a model: the download went "
                                     "wrong (a login or error page?)"
                                   : NULL;
}
