/* AOTInductor packages, as files. */
#ifndef VONK_TORCH_PACKAGE_H
#define VONK_TORCH_PACKAGE_H

#include "torch_plugin.h"

/* What lies in a package. Slices point into the mapped file. */
typedef struct package_facts {
  kit_slice library; /* the machine code; its entry's bytes are checked */
  uint32_t library_sum;
  kit_slice source;  /* the C++ it was made of; empty = not there */
  kit_slice weights; /* beside the library; empty = inside it */
  const char *isa;   /* what it wants of the processor, as it says */
} package_facts;

/* Reads the package's metadata and checks that it is for this machine. */
vonk_status vonk_torch_package_check(vonk_plugin_model *, package_facts *out,
                                     vonk_error *err);

/* What the C++ text in a package says of input `index`: dtype, shape, and whether the
 * model writes into it. */
typedef struct source_input {
  bool is_known, is_written;
  kit_spec spec; /* name apart */
} source_input;
source_input vonk_torch_source_input(kit_slice source, uint32_t index);

/* The numbers in weight `index`, -1 if the text does not say. */
int64_t vonk_torch_source_constant(kit_slice source, size_t index);

/* The names of the last inputs or of the outputs out of a call specification; *n = 0 if
 * it has none. */
vonk_status vonk_torch_spec_keys(kit_arena *, const char *spec, bool is_input,
                                 const char *const **out, uint32_t *n, vonk_error *err);

#endif /* VONK_TORCH_PACKAGE_H */
