/* Names of files in a bundle, and messages.
 *
 * How it works: a name must mean the same file, inside the bundle, to every program that
 * reads or unpacks it on any system; so what only some systems understand (backslashes,
 * drives, control characters) is refused as well as what leaves the folder. */
#define _POSIX_C_SOURCE 200809L
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/internal.h"

/* --- text ---------------------------------------------------------------------------- */

/* Bytes of the character at text, 0 if it is none. */
static size_t character(const uint8_t *text, size_t n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  uint8_t lead = text[0];
  size_t size = lead < 0x80                   ? 1
                : lead >= 0xC0 && lead < 0xE0 ? 2
                : lead >= 0xE0 && lead < 0xF0 ? 3
                : lead >= 0xF0 && lead < 0xF8 ? 4
                                              : 0;
  if (size <= 1 || size > n) {
    return size > n ? 0 : size;
  }
  uint32_t code = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; i++) {
    if ((text[i] & 0xC0) != 0x80) {
      return 0;
    }
    code = code << 6 | (text[i] & 0x3F);
  }
  bool is_surrogate = code >= 0xD800 && code < 0xE000;
  return code < least[size] || code > 0x10FFFF || is_surrogate ? 0 : size;
}

bool vonk_text_is_utf8(const char *text, size_t n) {
  const uint8_t *bytes = (const uint8_t *)text;
  for (size_t i = 0; i < n;) {
    size_t size = character(bytes + i, n - i);
    if (size == 0) {
      return false;
    }
    i += size;
  }
  return true;
}

static bool is_control(uint8_t byte) { return byte < 0x20 || byte == 0x7F; }

const char *vonk_bundle_show(const char *text, size_t n, char out[VONK_SHOWN]) {
  const uint8_t *bytes = (const uint8_t *)text;
  size_t used = 0;
  for (size_t i = 0; i < n;) {
    size_t size = character(bytes + i, n - i);
    bool is_shown = size > 1 || (size == 1 && !is_control(bytes[i]));
    size_t width = is_shown ? size : 1;
    if (used + width > VONK_SHOWN - sizeof "...") {
      memcpy(out + used, "...", sizeof "...");
      return out;
    }
    if (is_shown) {
      memcpy(out + used, bytes + i, size);
    } else {
      out[used] = '?';
    }
    used += width;
    i += size == 0 ? 1 : size;
  }
  out[used] = '\0';
  return out;
}

/* --- messages ------------------------------------------------------------------------ */

vonk_status vonk_bundle_fail(const vonk_bundle *bundle, vonk_error *err, vonk_status code,
                             const char *format, ...) {
  char text[sizeof err->message];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return vonk_fail(err, code, "bundle '%s': %s", bundle->path, text);
}

vonk_status vonk_manifest_fail(const vonk_bundle *bundle, vonk_error *err,
                               const char *where, const char *format, ...) {
  char text[sizeof err->message];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return vonk_fail(err, VONK_MODEL, "bundle '%s': " VONK_MANIFEST ": %s%s%s",
                   bundle->path, where, where[0] == '\0' ? "" : ": ", text);
}

/* --- names --------------------------------------------------------------------------- */

static bool has_drive(const char *name, size_t n) {
  char letter = (char)(n > 0 ? name[0] | 0x20 : 0);
  return n > 1 && name[1] == ':' && letter >= 'a' && letter <= 'z';
}

static const char *part_fault(const char *part, size_t n) {
  if (n == 0) {
    return "has an empty part";
  }
  if (n <= 2 && memcmp(part, "..", n) == 0) {
    return n == 2 ? "has '..', which leaves its folder" : "has '.' as a part";
  }
  return NULL;
}

const char *vonk_bundle_name_fault(const char *name, size_t n) {
  if (n == 0) {
    return "is empty";
  }
  if (n > VONK_BUNDLE_MAX_NAME) {
    return "is longer than 4096 bytes";
  }
  if (name[0] == '/') {
    return "is absolute";
  }
  if (memchr(name, '\0', n) != NULL) {
    return "has a NUL";
  }
  if (memchr(name, '\\', n) != NULL) {
    return "has a backslash";
  }
  if (has_drive(name, n)) {
    return "names a drive";
  }
  if (name[n - 1] == '/') {
    return "is that of a folder, not of a file";
  }
  const char *fault = NULL;
  for (size_t i = 0, start = 0; i <= n && fault == NULL; i++) {
    if (i == n || name[i] == '/') {
      fault = part_fault(name + start, i - start);
      start = i + 1;
    } else if (is_control((uint8_t)name[i])) {
      fault = "has a control character";
    }
  }
  return fault != NULL || vonk_text_is_utf8(name, n) ? fault : "is not UTF-8";
}

static int compare(const void *a, const void *b) {
  return strcmp(((const bundle_file *)a)->name, ((const bundle_file *)b)->name);
}

void vonk_bundle_sort_files(bundle_file *files, size_t n) {
  if (n > 1) {
    qsort(files, n, sizeof *files, compare);
  }
}

bundle_file *vonk_bundle_find(const vonk_bundle *bundle, const char *name) {
  bundle_file key = {.name = name};
  return bundle->n_files == 0 ? NULL
                              : bsearch(&key, bundle->files, bundle->n_files,
                                        sizeof *bundle->files, compare);
}
