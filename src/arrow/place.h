/* Naming the place of a fault inside a nested column. Private to src/arrow. */
#ifndef VONK_ARROW_PLACE_H
#define VONK_ARROW_PLACE_H

#include "arrow/arrow.h"

/* A chain on the stacks of the functions that descend into a type: naming costs nothing
 * until something fails. */
typedef struct vonk_place {
  const struct vonk_place *parent; /* NULL for the column itself */
  const vonk_type *type;           /* name and kind are set */
} vonk_place;

/* Adds "a", "a.b" for a field, "a[]" for the elements of a list. */
void vonk_place_add(const vonk_place *place, vonk_text *out);

/* Like vonk_fail, with "column '<place>': " before the message. */
vonk_status vonk_place_fail(const vonk_place *place, vonk_error *err, vonk_status code,
                            const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* VONK_ARROW_PLACE_H */
