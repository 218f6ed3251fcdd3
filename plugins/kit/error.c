/* Error messages.
 *
 * Names in them may come out of a hostile file, so every message is cleaned to valid,
 * printable UTF-8. One that is too long is cut at a character's boundary.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kit/kit.h"

/* Bytes of the UTF-8 character at text, 0 if there is none in nbytes. */
static size_t utf8_length(const unsigned char *text, size_t nbytes) {
  static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  unsigned char first = text[0];
  size_t length = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
  if (length <= 1 || length > nbytes) {
    return length > nbytes ? 0 : length;
  }
  uint32_t code = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((text[i] & 0xc0u) != 0x80u) {
      return 0;
    }
    code = (code << 6) | (text[i] & 0x3fu);
  }
  bool is_surrogate = code >= 0xd800 && code < 0xe000;
  return code < smallest[length] || code > 0x10ffff || is_surrogate ? 0 : length;
}

bool vonk_kit_is_text(const char *bytes, size_t nbytes) {
  for (size_t i = 0; i < nbytes;) {
    size_t length = utf8_length((const unsigned char *)bytes + i, nbytes - i);
    if (length == 0 || bytes[i] == '\0') {
      return false;
    }
    i += length;
  }
  return true;
}

void vonk_kit_clean_text(char *text, size_t nbytes) {
  for (size_t i = 0; i < nbytes;) {
    size_t length = utf8_length((const unsigned char *)text + i, nbytes - i);
    bool is_control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
    if (length == 0 || is_control) {
      text[i] = text[i] == '\n' || text[i] == '\t' ? ' ' : '?';
      length = 1;
    }
    i += length;
  }
}

static void set_message(vonk_error *err, vonk_status code, int64_t native_code,
                        const char *text) {
  bool first_version = err->struct_size == 0;
  if (!first_version && err->struct_size < sizeof *err) {
    return; /* not even the first version's fields */
  }
  err->code = code;
  err->native_code = native_code;
  err->row = -1;
  size_t length = strlen(text);
  if (length >= sizeof err->message) {
    length = sizeof err->message - 1;
    while (length > 0 && ((unsigned char)text[length] & 0xc0u) == 0x80u) {
      --length;
    }
  }
  memcpy(err->message, text, length);
  err->message[length] = '\0';
  vonk_kit_clean_text(err->message, length);
}

vonk_status vonk_kit_fail(vonk_error *err, vonk_status code, const char *format, ...) {
  if (err != NULL) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    set_message(err, code, 0, text);
  }
  return code;
}

vonk_status vonk_kit_fail_text(vonk_error *err, vonk_status code, int64_t native_code,
                               const char *text) {
  if (err != NULL) {
    set_message(err, code, native_code, text);
  }
  return code;
}
