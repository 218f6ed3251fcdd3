/* Operators and functions in a model file.
 *
 * A node names an operator and its domain. Operators outside the domains that ONNX
 * Runtime itself implements come from operator libraries, which are code: such a model is
 * refused. A domain may also be that of functions which the file brings along, networks
 * of their own. ONNX Runtime replaces a call by what is called, so ten functions that
 * each call the next one ten times are ten thousand million nodes. Therefore the walk
 * notes who calls whom, and the size of the whole is computed before ONNX Runtime tries
 * to build it.
 */
#include <stdlib.h>
#include <string.h>

#include "onnx_walk.h"

enum { MAX_EXPANDED = 1000000, MAX_CALL_DEPTH = 64 };

static int compare_slices(kit_slice a, kit_slice b) {
  size_t shorter = a.size < b.size ? a.size : b.size;
  int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
  return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_functions(const onnx_function *a, const onnx_function *b) {
  int order = compare_slices(a->name, b->name);
  return order != 0 ? order : compare_slices(a->domain, b->domain);
}

static int compare_entries(const void *a, const void *b) {
  return compare_functions(*(const onnx_function *const *)a,
                           *(const onnx_function *const *)b);
}

static bool is_known_domain(const onnx_functions *functions, kit_slice domain) {
  static const char *const known[] = {"",
                                      "ai.onnx",
                                      "ai.onnx.ml",
                                      "ai.onnx.training",
                                      "ai.onnx.preview.training",
                                      "com.microsoft",
                                      "com.microsoft.nchwc",
                                      "com.microsoft.experimental",
                                      "com.ms.internal.nhwc"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (vonk_kit_slice_equals(domain, known[i])) {
      return true;
    }
  }
  for (size_t i = 0; i < functions->n_domains; ++i) {
    if (compare_slices(functions->domains[i], domain) == 0) {
      return true;
    }
  }
  return false;
}

/* The text fields `first` and `second` of a message; empty if it has none. */
static void read_two(kit_slice bytes, uint32_t first, uint32_t second, kit_slice *a,
                     kit_slice *b) {
  static const uint8_t nothing[1];
  *a = *b = (kit_slice){nothing, 0};
  kit_field field;
  while (vonk_kit_wire_next(&bytes, &field) == 1) {
    if (field.wire == KIT_WIRE_BYTES &&
        (field.number == first || field.number == second)) {
      *(field.number == first ? a : b) = field.bytes;
    }
  }
}

static vonk_status note_domain(walk *w, kit_slice domain) {
  onnx_functions *functions = &w->functions;
  if (is_known_domain(functions, domain)) {
    return VONK_OK;
  }
  if (functions->n_domains == ONNX_MAX_FUNCTION_DOMAINS) {
    return vonk_kit_fail(w->err, VONK_UNSUPPORTED,
                         "'%s': has functions of more than %d domains: export it with "
                         "functions inlined",
                         w->path, ONNX_MAX_FUNCTION_DOMAINS);
  }
  functions->domains[functions->n_domains++] = domain;
  return VONK_OK;
}

vonk_status vonk_onnx_functions_find(walk *w, kit_slice model) {
  onnx_functions *functions = &w->functions;
  kit_field field;
  for (kit_slice rest = model; vonk_kit_wire_next(&rest, &field) == 1;) {
    functions->count += field.number == 25 && field.wire == KIT_WIRE_BYTES;
  }
  size_t n = functions->count;
  VONK_TRY(
      vonk_kit_new(w->arena, n + 1, sizeof *functions->rows, &functions->rows, w->err));
  VONK_TRY(vonk_kit_new(w->arena, n + 1, sizeof *functions->sorted, &functions->sorted,
                        w->err));
  uint32_t index = 0;
  while (index < n && vonk_kit_wire_next(&model, &field) == 1) {
    if (field.number == 25 && field.wire == KIT_WIRE_BYTES) {
      onnx_function *row = &functions->rows[index];
      read_two(field.bytes, 10, 1, &row->domain, &row->name);
      row->index = index;
      functions->sorted[index++] = row;
      VONK_TRY(note_domain(w, row->domain));
    }
  }
  functions->current = &functions->rows[n];
  qsort((void *)functions->sorted, n, sizeof *functions->sorted, compare_entries);
  return VONK_OK;
}

void vonk_onnx_functions_enter(walk *w, bool is_main_graph) {
  onnx_functions *functions = &w->functions;
  uint32_t index = is_main_graph ? functions->count : functions->n_entered++;
  functions->current = &functions->rows[index];
  functions->current->first_call = functions->n_calls;
}

static vonk_status note_call(walk *w, uint32_t callee) {
  onnx_functions *functions = &w->functions;
  if (functions->n_calls == functions->calls_capacity) {
    size_t capacity = functions->calls_capacity == 0 ? 64 : 2 * functions->calls_capacity;
    uint32_t *larger;
    VONK_TRY(vonk_kit_new(w->arena, capacity, sizeof *larger, &larger, w->err));
    if (functions->n_calls != 0) {
      memcpy(larger, functions->calls, functions->n_calls * sizeof *larger);
    }
    functions->calls = larger; /* the arena keeps the smaller ones until its end */
    functions->calls_capacity = capacity;
  }
  functions->calls[functions->n_calls++] = callee;
  ++functions->current->n_calls;
  return VONK_OK;
}

vonk_status vonk_onnx_visit_node(walk *w, kit_slice bytes, const place *here) {
  (void)here;
  onnx_functions *functions = &w->functions;
  onnx_function wanted = {0};
  read_two(bytes, 7, 4, &wanted.domain, &wanted.name);
  ++functions->current->n_nodes;
  if (functions->count != 0) {
    const onnx_function *key = &wanted;
    const onnx_function *const *found = (const onnx_function *const *)bsearch(
        (const void *)&key, (const void *)functions->sorted, functions->count,
        sizeof *functions->sorted, compare_entries);
    if (found != NULL) {
      return note_call(w, (*found)->index);
    }
  }
  if (vonk_kit_slice_equals(wanted.domain, "ai.onnx.ml")) {
    vonk_onnx_count_attributes(w, bytes);
  }
  if (is_known_domain(functions, wanted.domain)) {
    return VONK_OK;
  }
  kit_slice op = wanted.name, domain = wanted.domain;
  return vonk_kit_fail(w->err, VONK_UNSUPPORTED,
                       "'%s': operator '%.*s' of domain '%.*s': is no standard operator, "
                       "and vonk runs no operator libraries: export the model with "
                       "standard operators, or do this step outside of it",
                       w->path, (int)(op.size > 80 ? 80 : op.size), (const char *)op.data,
                       (int)(domain.size > 80 ? 80 : domain.size),
                       (const char *)domain.data);
}

/* Nodes of `function` with all calls replaced, or UINT64_MAX if that is too deep or many.
 */
static uint64_t expand(const onnx_functions *functions, onnx_function *function,
                       unsigned depth) {
  if (depth > MAX_CALL_DEPTH || function->n_nodes > MAX_EXPANDED) {
    return UINT64_MAX;
  }
  if (function->n_expanded != 0) {
    return function->n_expanded;
  }
  uint64_t total = function->n_nodes + 1;
  for (size_t i = 0; i < function->n_calls && total <= MAX_EXPANDED; ++i) {
    uint32_t callee = functions->calls[function->first_call + i];
    uint64_t more = expand(functions, &functions->rows[callee], depth + 1);
    if (more > MAX_EXPANDED) {
      return UINT64_MAX;
    }
    total += more;
  }
  function->n_expanded = total;
  return total;
}

vonk_status vonk_onnx_functions_check(walk *w) {
  onnx_functions *functions = &w->functions;
  for (uint32_t i = 0; functions->count != 0 && i <= functions->count; ++i) {
    onnx_function *function = &functions->rows[i];
    if (expand(functions, function, 0) > MAX_EXPANDED) {
      bool is_main = i == functions->count;
      int length = function->name.size > 80 ? 80 : (int)function->name.size;
      return vonk_kit_fail(w->err, VONK_MODEL,
                           "'%s': %s'%.*s': calls functions in a ring, deeper than %d "
                           "levels, or of more than %d nodes in all: export the model "
                           "without functions",
                           w->path, is_main ? "the graph" : "function ", length,
                           is_main ? "" : (const char *)function->name.data,
                           MAX_CALL_DEPTH, MAX_EXPANDED);
    }
  }
  return VONK_OK;
}
