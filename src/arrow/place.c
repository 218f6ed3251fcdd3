/* How it works: a place is a chain of types from the fault up to the column. The path is
 * written from the column down, so the chain is followed by recursion (types are at most
 * 16 deep). What stands between two names depends on the upper one: a struct's field has
 * a name that the user knows, the element of a list has none. */
#include "arrow/place.h"

#include <stdarg.h>
#include <stdio.h>

void vonk_place_add(const vonk_place *place, vonk_text *out) {
  if (place->parent == NULL) {
    vonk_text_add(out, "%s", place->type->name);
    return;
  }
  vonk_place_add(place->parent, out);
  switch (place->parent->type->kind) {
    case VONK_TYPE_STRUCT:
      vonk_text_add(out, "%s%s", out->size > 0 ? "." : "", place->type->name);
      break;
    case VONK_TYPE_DICTIONARY:
      vonk_text_add(out, " (dictionary)");
      break;
    default:
      vonk_text_add(out, "[]");
      break;
  }
}

vonk_status vonk_place_fail(const vonk_place *place, vonk_error *err, vonk_status code,
                            const char *format, ...) {
  if (err == NULL) return code;
  char detail[768];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(detail, sizeof detail, format, arguments);
  va_end(arguments);
  vonk_text path = {.size = 0};
  vonk_place_add(place, &path);
  return vonk_fail(err, code, "column '%s': %s", path.data, detail);
}
