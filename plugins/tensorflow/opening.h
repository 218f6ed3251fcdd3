/* What the files that open a model share. model.c has the order of steps. */
#ifndef VONK_TF_OPENING_H
#define VONK_TF_OPENING_H

#include "tf_plugin.h"

/* A model while it is opened: the mapped file and what was found in it. */
typedef struct tf_opening {
  vonk_plugin_model *model;
  tf_place place;
  const char *signature, *tags, *inputs, *outputs; /* options; NULL = not given */
  kit_slice file;                                  /* mapped */
  tf_meta_file meta;
  tf_graph_file graph;
  const char *folder; /* absolute, without links: where the model's own files are */
} tf_opening;

/* How much of a slice to show with "%.*s". */
#define VONK_TF_SHOWN(slice) \
  ((slice).size > 200 ? 200 : (int)(slice).size), (const char *)(slice).data

/* --- kinds of models (savedmodel.c, checkpoint.c, graphdef.c) ----------------------- */

vonk_status vonk_tf_savedmodel_open(tf_opening *, vonk_error *err);

/* --- signatures (signature.c) ------------------------------------------------------- */

/* Takes inputs and outputs of the signature that was asked for. */
vonk_status vonk_tf_signature_take(tf_opening *, vonk_error *err);
/* "a, b, c" of the entries' keys, in the arena. */
vonk_status vonk_tf_list_keys(tf_opening *, const tf_entry *entries, uint32_t n,
                              const char **out, vonk_error *err);
/* Splits "node:1" (or "node", or "^node"), and copies the node's name. */
vonk_status vonk_tf_port_take(tf_opening *, kit_slice tensor, tf_port *out,
                              vonk_error *err);

/* --- the graph in TensorFlow (import.c) --------------------------------------------- */

/* Gives the graph to TensorFlow and finds all ports in it. */
vonk_status vonk_tf_import(tf_opening *, vonk_error *err);
vonk_status vonk_tf_port_find(const vonk_plugin_model *, const tf_port *port,
                              tf_output *out, vonk_error *err);

#endif /* VONK_TF_OPENING_H */
