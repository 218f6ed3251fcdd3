/* What the files of engines/duckdb share. */
#ifndef VONK_ENGINES_DUCKDB_INTERNAL_H
#define VONK_ENGINES_DUCKDB_INTERNAL_H

#include "engines/duckdb/duckdb.h"

/* One row a type. */
typedef struct vonk_duckdb_type_info {
  duckdb_type id;
  const char *name;
  const char *format; /* Arrow's; "" = depends; NULL = no tensor can hold it */
  uint8_t width;      /* bytes of an element in a vector; 0 = it has none of its own */
  const char
      *cast; /* unsupported types: what to cast to, where there is a type to cast to */
} vonk_duckdb_type_info;
/* Never NULL. */
const vonk_duckdb_type_info *vonk_duckdb_type_find(duckdb_type id);

/* Of "+w:N": N; else 0. */
int64_t vonk_duckdb_fixed_length(const struct ArrowSchema *schema);
/* The size of the ARRAY that holds values of a fixed-size list; 0 = they go to a LIST, or
 * it is no such list. */
int64_t vonk_duckdb_array_size(const struct ArrowSchema *schema,
                               vonk_duckdb_layout layout);

/* The values of an ENUM as an Arrow text array, allocated with vonk_new. */
vonk_status vonk_duckdb_dictionary(duckdb_logical_type type, struct ArrowArray **out,
                                   vonk_error *err);

#endif /* VONK_ENGINES_DUCKDB_INTERNAL_H */
