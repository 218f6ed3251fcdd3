/* What the walk through an .onnx file keeps, for the files that share it. onnx_file.c
 * explains. */
#ifndef VONK_ONNX_WALK_H
#define VONK_ONNX_WALK_H

#include "onnx_file.h"

enum { ONNX_MAX_FUNCTION_DOMAINS = 64 };

typedef enum message_kind {
  IS_NOTHING = 0,
  IS_MODEL,
  IS_TRAINING,
  IS_FUNCTION,
  IS_GRAPH,
  IS_NODE,
  IS_ATTRIBUTE,
  IS_TENSOR,
  IS_SPARSE_TENSOR,
  IS_VALUE,
  IS_TYPE,
  IS_TENSOR_TYPE,
  IS_SEQUENCE_TYPE,
  IS_MAP_TYPE,
  IS_SHAPE,
  IS_TEXT_PAIR,
  KIND_COUNT
} message_kind;

/* Where a message stands. */
typedef struct place {
  message_kind parent;
  unsigned depth;
  bool is_weight;
  bool is_main; /* directly in the model's own graph */
} place;

/* A function that the file brings along. */
typedef struct onnx_function {
  kit_slice domain, name;
  uint32_t index;             /* in the order of the file */
  size_t n_nodes;             /* its own */
  size_t first_call, n_calls; /* calls of other functions, in onnx_functions.calls */
  uint64_t n_expanded;        /* nodes when all calls are replaced; 0 = not known yet */
} onnx_function;

/* All of them, and who calls whom. */
typedef struct onnx_functions {
  onnx_function *rows; /* in the order of the file; one more at the end: the main graph */
  const onnx_function **sorted; /* the functions by name and domain */
  uint32_t count, n_entered;
  onnx_function *current; /* whose nodes are being walked */
  uint32_t *calls;        /* indices of the functions called */
  size_t n_calls, calls_capacity;
  kit_slice domains[ONNX_MAX_FUNCTION_DOMAINS];
  size_t n_domains;
} onnx_functions;

typedef struct walk {
  const char *path;
  kit_slice whole;
  kit_arena *arena;
  onnx_file_facts *facts;
  onnx_folder folder;
  onnx_functions functions;
  vonk_error *err;
} walk;

/* Key and value of a StringStringEntryProto. */
void vonk_onnx_read_pair(kit_slice pair, kit_slice *key, kit_slice *value);

/* file_tensor.c: checks one TensorProto, and counts it if it is a weight. */
vonk_status vonk_onnx_visit_tensor(walk *, kit_slice, const place *);
/* Counts the floats that a node of ai.onnx.ml lists: coefficients, scales, thresholds of
 * trees. Those operators take what was trained as attributes, not as tensors. */
void vonk_onnx_count_attributes(walk *, kit_slice node);

/* functions.c: finds the model's functions; called before anything in it is walked. */
vonk_status vonk_onnx_functions_find(walk *, kit_slice model);
/* What is walked from now on belongs to the next function, or to the main graph. */
void vonk_onnx_functions_enter(walk *, bool is_main_graph);
/* Checks one node's domain and notes what it calls. */
vonk_status vonk_onnx_visit_node(walk *, kit_slice, const place *);
/* Checks at the end that the calls, replaced by what they call, give a network of a sane
 * size. */
vonk_status vonk_onnx_functions_check(walk *);

#endif /* VONK_ONNX_WALK_H */
