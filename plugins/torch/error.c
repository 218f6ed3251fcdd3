/* Error messages of PyTorch, made readable.
 *
 * The interpreter of TorchScript reports a traceback of its own program text before the
 * reason, and C++ code a list of source files behind it; the reason alone is kept, on one
 * line.
 */
#include <stdio.h>
#include <string.h>

#include "torch_plugin.h"

/* The end of "RuntimeError: " or "builtins.ValueError: " at text, or text itself. */
static const char *skip_class(const char *text) {
  size_t n =
      strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789");
  return n != 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

/* Behind the last place of a mark in text, or `otherwise`. */
static const char *behind_last(const char *text, const char *mark,
                               const char *otherwise) {
  for (const char *p = text; (p = strstr(p, mark)) != NULL;) {
    otherwise = p += strlen(mark);
  }
  return otherwise;
}

/* Where the reason begins: behind the last traceback, on the first line that is not
 * indented, as program text is. */
static const char *reason_of(const char *text) {
  const char *at = behind_last(text, "(most recent call last):\n", NULL);
  at = at == NULL ? NULL : behind_last(at, "<--- HERE\n", at);
  while (at != NULL && (*at == ' ' || *at == '\n')) {
    at = strchr(at + (*at == ' '), '\n');
    at += at != NULL;
  }
  return skip_class(at == NULL || *at == '\0' ? text : at);
}

/* What follows is for developers. */
static size_t reason_length(const char *reason) {
  static const char *const ends[] = {"\nException raised from", "\nTraceback of",
                                     "\nC++ CapturedTraceback", "\nframe #0",
                                     " (originally from ",      "\nThe above operation"};
  size_t length = strlen(reason);
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; ++i) {
    const char *end = strstr(reason, ends[i]);
    if (end != NULL && (size_t)(end - reason) < length) {
      length = (size_t)(end - reason);
    }
  }
  return length;
}

/* "… API call failed at /build/x.cpp, line 3": only what is before the place. */
static size_t skip_place(const char *text) {
  return strncmp(text, " at /", 5) == 0 ? strcspn(text + 4, ",\n ") + 4 : 0;
}

vonk_status vonk_torch_fail(vonk_error *err, vonk_status code, const char *path,
                            const char *why) {
  const char *reason = reason_of(why);
  const char *end = reason + reason_length(reason);
  char text[900];
  size_t used = 0;
  while (reason < end && used + 1 < sizeof text) {
    size_t place = skip_place(reason);
    if (place != 0) {
      reason += place;
      continue;
    }
    bool is_blank = *reason == ' ' || *reason == '\n' || *reason == '\t';
    if (!is_blank || (used != 0 && text[used - 1] != ' ')) {
      text[used++] = is_blank ? ' ' : *reason;
    }
    ++reason;
  }
  while (used > 0 && text[used - 1] == ' ') {
    --used;
  }
  text[used] = '\0';
  return vonk_kit_fail(err, code, "'%s': %s", path,
                       used == 0 ? "PyTorch gave no reason" : text);
}
