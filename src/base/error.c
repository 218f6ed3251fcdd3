/* Errors: a code and a message in a struct that the caller owns.
 *
 * How it works: the caller's struct may be older or newer than this library. What it can
 * hold is told by struct_size (0: the first version's size), and a field that it does not
 * reach is not written. Messages that do not fit are cut where a character ends, so that
 * they stay valid UTF-8. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

enum { MESSAGE_MAX = sizeof(((vonk_error *)0)->message) };

static size_t known_size(const vonk_error *err) {
  return err->struct_size == 0 ? sizeof(vonk_error) : (size_t)err->struct_size;
}

static bool reaches(const vonk_error *err, size_t offset, size_t size) {
  return known_size(err) >= offset + size;
}

#define HAS(err, field) reaches(err, offsetof(vonk_error, field), sizeof((err)->field))

/* Drops an incomplete character at the end of text, which was cut there. */
static void drop_partial_character(char *text) {
  size_t size = strlen(text), start = size;
  while (start > 0 && size - start < 3 && ((uint8_t)text[start - 1] & 0xC0) == 0x80) {
    start--;
  }
  if (start == 0) {
    return;
  }
  uint8_t lead = (uint8_t)text[start - 1];
  size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (size - (start - 1) < needs) {
    text[start - 1] = '\0';
  }
}

/* An address inside a struct that may be smaller than vonk_error, as far as *err has the
 * room for a message. */
static void set_message(vonk_error *err, const char *text) {
  size_t offset = offsetof(vonk_error, message);
  if (known_size(err) <= offset) {
    return;
  }
  size_t room = known_size(err) - offset;
  room = room < MESSAGE_MAX ? room : MESSAGE_MAX;
  size_t size = strlen(text);
  bool cut = size >= room;
  size = cut ? room - 1 : size;
  memcpy(err->message, text, size);
  err->message[size] = '\0';
  if (cut) {
    drop_partial_character(err->message);
  }
}

static void fill(vonk_error *err, vonk_status code, const char *text) {
  if (HAS(err, code)) {
    err->code = code;
  }
  if (HAS(err, native_code)) {
    err->native_code = 0;
  }
  if (HAS(err, row)) {
    err->row = -1;
  }
  set_message(err, text);
}

vonk_status vonk_fail(vonk_error *err, vonk_status code, const char *format, ...) {
  if (err == NULL) {
    return code;
  }
  char text[MESSAGE_MAX + 4]; /* longer than a message, so that fill() sees what is cut */
  va_list args;
  va_start(args, format);
  int written = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  fill(err, code, written < 0 ? format : text);
  return code;
}

vonk_status vonk_fail_nomem(vonk_error *err, size_t nbytes) {
  return vonk_fail(
      err, VONK_NOMEM,
      "memory: %zu bytes could not be allocated: free memory, or use smaller "
      "batches",
      nbytes);
}

vonk_status vonk_prefix(vonk_error *err, vonk_status code, const char *format, ...) {
  if (err == NULL) {
    return code;
  }
  if (HAS(err, code) && err->code != VONK_OK) {
    code = err->code;
  }
  char text[2 * MESSAGE_MAX + 4];
  va_list args;
  va_start(args, format);
  int written = vsnprintf(text, MESSAGE_MAX, format, args);
  va_end(args);
  size_t offset = offsetof(vonk_error, message);
  if (written < 0 || known_size(err) <= offset) {
    return code;
  }
  if (written >= MESSAGE_MAX) {
    drop_partial_character(text);
  }
  size_t size = strlen(text);
  size_t room = known_size(err) - offset;
  room = room < MESSAGE_MAX ? room : MESSAGE_MAX;
  snprintf(text + size, sizeof(text) - size, ": %.*s", (int)room, err->message);
  set_message(err, text);
  return code;
}

void vonk_error_set_row(vonk_error *err, int64_t row) {
  if (err != NULL && HAS(err, row)) {
    err->row = row;
  }
}

int64_t vonk_error_row(const vonk_error *err) {
  return err != NULL && HAS(err, row) ? err->row : -1;
}

void vonk_error_copy(vonk_error *to, const vonk_error *from) {
  if (to == NULL || from == NULL || to == from) {
    return;
  }
  char text[MESSAGE_MAX] = "";
  size_t offset = offsetof(vonk_error, message);
  if (known_size(from) > offset) {
    size_t room = known_size(from) - offset;
    room = room < MESSAGE_MAX ? room : MESSAGE_MAX;
    snprintf(text, sizeof(text), "%.*s", (int)room, from->message);
  }
  fill(to, HAS(from, code) ? from->code : VONK_OK, text);
  if (HAS(to, native_code) && HAS(from, native_code)) {
    to->native_code = from->native_code;
  }
  vonk_error_set_row(to, vonk_error_row(from));
}
