/* Growable bytes, and text of a fixed size for messages.
 *
 * How it works: a buffer grows by moving to a block of at least twice the size, so that n
 * appends cost O(n); blocks are 64-byte aligned as Arrow recommends. On failure a buffer
 * is as it was. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

enum { ALIGNMENT = 64 };

vonk_status vonk_buffer_reserve(vonk_buffer *buffer, size_t more, vonk_error *err) {
  size_t needed, rounded;
  VONK_TRY(vonk_size_add(buffer->size, more, &needed, err));
  if (needed <= buffer->capacity) {
    return VONK_OK;
  }
  VONK_TRY(vonk_size_add(needed, ALIGNMENT - 1, &rounded, err));
  size_t capacity = rounded / ALIGNMENT * ALIGNMENT;
  if (buffer->capacity <= SIZE_MAX / 2 && capacity < 2 * buffer->capacity) {
    capacity = 2 * buffer->capacity;
  }
  uint8_t *data;
  VONK_TRY(vonk_new_aligned(capacity, ALIGNMENT, &data, err));
  if (buffer->size > 0) {
    memcpy(data, buffer->data, buffer->size);
  }
  vonk_delete(buffer->data);
  buffer->data = data;
  buffer->capacity = capacity;
  return VONK_OK;
}

vonk_status vonk_buffer_append(vonk_buffer *buffer, const void *bytes, size_t nbytes,
                               vonk_error *err) {
  if (nbytes == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_buffer_reserve(buffer, nbytes, err));
  memcpy(buffer->data + buffer->size, bytes, nbytes);
  buffer->size += nbytes;
  return VONK_OK;
}

vonk_status vonk_buffer_resize(vonk_buffer *buffer, size_t nbytes, vonk_error *err) {
  if (nbytes > buffer->size) {
    VONK_TRY(vonk_buffer_reserve(buffer, nbytes - buffer->size, err));
    memset(buffer->data + buffer->size, 0, nbytes - buffer->size);
  }
  buffer->size = nbytes;
  return VONK_OK;
}

void vonk_buffer_release(vonk_buffer *buffer) {
  vonk_delete(buffer->data);
  *buffer = (vonk_buffer){0};
}

void vonk_text_add(vonk_text *text, const char *format, ...) {
  static const char cut[] = "...";
  enum { CHARACTER_MAX = 4 };
  if (text->size + CHARACTER_MAX >= sizeof(text->data) &&
      strcmp(text->data + text->size - (sizeof(cut) - 1), cut) == 0) {
    return; /* it was cut before */
  }
  size_t room = sizeof(text->data) - text->size;
  va_list args;
  va_start(args, format);
  int written = vsnprintf(text->data + text->size, room, format, args);
  va_end(args);
  if (written < 0) {
    text->data[text->size] = '\0';
    return;
  }
  if ((size_t)written < room) {
    text->size += (size_t)written;
    return;
  }
  /* Back to where a character starts, with room for the dots. */
  size_t end = sizeof(text->data) - sizeof(cut);
  while (end > 0 && ((uint8_t)text->data[end] & 0xC0) == 0x80) {
    end--;
  }
  memcpy(text->data + end, cut, sizeof(cut));
  text->size = end + sizeof(cut) - 1;
}
