/* Reading TensorFlow's files: graphs (graph_file.c) and what surrounds them in a
 * SavedModel or .meta file (meta_file.c). Everything found is a slice of the file's
 * bytes, which have to stay mapped; only tables are allocated, in the arena given.
 */
#ifndef VONK_TF_GRAPH_FILE_H
#define VONK_TF_GRAPH_FILE_H

#include "kit/kit.h"

/* Where an error is: "'<path>': ..." */
typedef struct tf_place {
  const char *path;
  kit_arena *arena;
} tf_place;

/* --- graphs ------------------------------------------------------------------------ */

typedef struct tf_node {
  kit_slice name, op;
  kit_slice body; /* the whole NodeDef */
} tf_node;

/* Nodes of a graph or function, findable by name. */
typedef struct tf_nodes {
  tf_node *rows;
  uint32_t n, mask;
  uint32_t *slots; /* mask + 1 of them: row + 1, or 0 */
} tf_nodes;

typedef struct tf_function {
  kit_slice name;
  kit_slice signature; /* its OpDef */
  kit_slice body;      /* the whole FunctionDef */
  tf_nodes nodes;
} tf_function;

typedef struct tf_graph_file {
  kit_slice bytes; /* the whole GraphDef */
  tf_nodes nodes;
  tf_function *functions;
  uint32_t n_functions;
} tf_graph_file;

vonk_status vonk_tf_graph_read(const tf_place *, kit_slice bytes, tf_graph_file *out,
                               vonk_error *err);
const tf_node *vonk_tf_node_find(const tf_nodes *, kit_slice name); /* or NULL */
const tf_function *vonk_tf_function_find(const tf_graph_file *, kit_slice name);
/* An attribute's AttrValue; false if the node has none of that name. */
bool vonk_tf_node_attribute(const tf_node *, const char *name, kit_slice *out);
/* Steps through a node's inputs: start with *rest = node->body. */
bool vonk_tf_node_input(kit_slice *rest, kit_slice *out);

/* A shape: rank -1 if unknown, else dimensions, -1 if free, with their names. */
typedef struct tf_shape {
  int32_t rank; /* may be more than VONK_MAX_RANK: then only so many are in dims */
  int64_t dims[VONK_MAX_RANK];
  kit_slice names[VONK_MAX_RANK];
} tf_shape;
/* Reads a TensorShapeProto; false if it is damaged. */
bool vonk_tf_shape_read(kit_slice bytes, tf_shape *out);

/* --- what surrounds a graph --------------------------------------------------------- */

/* A TensorInfo of a signature. */
typedef struct tf_info {
  kit_slice key;    /* what users call it */
  kit_slice tensor; /* "node:0"; empty if it is no dense tensor */
  uint64_t dtype;
  tf_shape shape;
} tf_info;

/* An entry of a map or list that is read further when it is needed. */
typedef struct tf_entry {
  kit_slice key, value;
} tf_entry;

/* A MetaGraphDef. */
typedef struct tf_meta_file {
  kit_slice graph;
  kit_slice filename_tensor, restore_node; /* of its saver; empty = none */
  kit_slice version;                       /* of the TensorFlow that wrote it */
  kit_slice init_node;                     /* empty = none */
  kit_slice table_nodes; /* a list of nodes {1 names} that fill tables; may be empty */
  kit_slice asset_list;  /* as TensorFlow 1 has it; then also in assets */
  tf_entry *signatures, *assets; /* an asset's key is empty */
  kit_slice *tags;
  uint32_t n_signatures, n_assets, n_tags;
} tf_meta_file;

vonk_status vonk_tf_meta_read(const tf_place *, kit_slice bytes, tf_meta_file *out,
                              vonk_error *err);
/* Steps through the MetaGraphDefs of a SavedModel: 1, 0 at the end, -1 if damaged. */
int vonk_tf_saved_model_next(kit_slice *rest, kit_slice *out);

/* Reads one side of a signature: field 1 inputs, 2 outputs, sorted by key. */
vonk_status vonk_tf_signature_read(const tf_place *, const tf_entry *signature,
                                   uint32_t side, tf_info **out, uint32_t *n,
                                   vonk_error *err);
/* The tensor and file name of an asset; false if it is damaged. */
bool vonk_tf_asset_read(kit_slice bytes, kit_slice *tensor, kit_slice *filename);

#endif /* VONK_TF_GRAPH_FILE_H */
