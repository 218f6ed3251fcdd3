/* What the files that open a model share. model.c has the order of steps. */
#ifndef VONK_TF_OPENING_H
#define VONK_TF_OPENING_H

#include "tf_plugin.h"

/* A model while it is opened: its file and what was found in it. */
typedef struct tf_opening {
  vonk_plugin_model *model;
  tf_place place;
  const char *signature, *tags, *inputs, *outputs; /* options; NULL = not given */
  kit_slice file;                                  /* the graph's, mapped or in memory */
  tf_meta_file meta;
  tf_graph_file graph;
  bool has_signature;
  /* Absolute, without links: the folder of the path, and the one that the file really is
   * in, which is another if the path is a link. NULL if the model is in memory. */
  const char *folder, *real_folder;
} tf_opening;

/* How much of a slice to show with "%.*s". */
#define VONK_TF_SHOWN(slice) \
  ((slice).size > 200 ? 200 : (int)(slice).size), (const char *)(slice).data

/* --- what would run (reach.c) ------------------------------------------------------- */

enum { VONK_TF_FOR_RUN, VONK_TF_FOR_INIT, VONK_TF_FOR_RESTORE };

/* Numbers that are stored in the model. */
typedef struct tf_count {
  int64_t n, nbytes;
  bool is_unknown; /* some shape is not told */
} tf_count;

typedef struct tf_reach {
  uint8_t *seen; /* one for each node of the graph: 1 reached, 2 fed */
  tf_count variables, constants;
  uint32_t n_variables; /* whatever they hold */
  uint32_t n_file_readers;
  bool assigns_in_functions; /* to variables */
  bool keeps_inputs;         /* some operation stores what it is given */
  bool calls_indirectly;     /* functions, in conditions, loops and the like */
} tf_reach;

/* Everything that the nodes named need, checked for operations that a model must not
 * have. */
vonk_status vonk_tf_reach(tf_opening *, const kit_slice *roots, uint32_t n_roots,
                          int purpose, tf_reach *out, vonk_error *err);
/* The node's name in an input such as "node:1" or "^node". */
kit_slice vonk_tf_input_node(kit_slice input);

/* The function that a node calls with its inputs as arguments; false if it is no such
 * node. */
bool vonk_tf_called_function(const tf_node *, kit_slice *out);

/* VONK_OK if every file read by what was reached is one that vonk names: an asset, or the
 * checkpoint (origin.c). */
vonk_status vonk_tf_origins_check(tf_opening *, const tf_reach *, int purpose,
                                  vonk_error *err);

/* --- the model's other files (files.c) ---------------------------------------------- */

/* Finds the model's folder: that of path, or path itself if it is one. */
vonk_status vonk_tf_folder_take(tf_opening *, bool is_folder, vonk_error *err);
/* The path of a regular file in the model's folder, by which TensorFlow finds it, in the
 * model's arena. VONK_MODEL if name leads out of that folder, by itself or through links.
 */
vonk_status vonk_tf_file_take(tf_opening *, const char *what, kit_slice name,
                              const char **out, vonk_error *err);
/* The content of such a file; given back with vonk_kit_source_unmap. */
vonk_status vonk_tf_file_map(tf_opening *, const char *what, const char *name,
                             uint64_t most, const char *wanted, kit_slice *out,
                             vonk_error *err);
/* Whether name is there at all. */
bool vonk_tf_file_exists(const tf_opening *, const char *name);
/* Checks the files of variables: `prefix`.index and `prefix`.data-*, relative to the
 * folder. *out is the prefix by which TensorFlow finds them. */
vonk_status vonk_tf_variables_take(tf_opening *, const char *prefix, const char **out,
                                   vonk_error *err);

/* --- files of a model in memory (ram.c) ---------------------------------------------- */

/* Chooses names. */
vonk_status vonk_tf_ram_take(vonk_plugin_model *, vonk_error *err);
/* The name by which TensorFlow will find one of the model's files. */
vonk_status vonk_tf_ram_want(vonk_plugin_model *, const vonk_file *, const char **out,
                             vonk_error *err);
/* Around a session's start: makes all that is wanted findable, and takes it away. Nothing
 * is done for a model that lies at a path. */
vonk_status vonk_tf_ram_put(const vonk_plugin_model *, vonk_error *err);
void vonk_tf_ram_drop(const vonk_plugin_model *);
/* Replaces the names in a message. */
void vonk_tf_ram_hide(const vonk_plugin_model *, vonk_error *err);

/* --- loading what surrounds the graph (savedmodel.c) --------------------------------- */

/* Counts and checks what the outputs need, and finds out how variables, tables and assets
 * are loaded. prefix: of the variables' files in the folder. */
vonk_status vonk_tf_loading_take(tf_opening *, const char *prefix, vonk_error *err);

/* --- kinds of models (savedmodel.c, checkpoint.c, graphdef.c) ----------------------- */

vonk_status vonk_tf_savedmodel_open(tf_opening *, vonk_error *err);
vonk_status vonk_tf_checkpoint_open(tf_opening *, vonk_error *err);
vonk_status vonk_tf_graphdef_open(tf_opening *, vonk_error *err);
/* What the file is, by its beginning; an error if it is none of ours. */
typedef vonk_status (*tf_open_kind)(tf_opening *, vonk_error *);
vonk_status vonk_tf_kind_find(const kit_source *, tf_open_kind *out, vonk_error *err);

/* --- signatures (signature.c) ------------------------------------------------------- */

/* Takes inputs and outputs of the signature that was asked for. */
vonk_status vonk_tf_signature_take(tf_opening *, vonk_error *err);
/* "a, b, c" of the entries' keys, in the arena. */
vonk_status vonk_tf_list_keys(tf_opening *, const tf_entry *entries, uint32_t n,
                              const char **out, vonk_error *err);
/* Sets what the options `inputs` and `outputs` say beyond the file. */
vonk_status vonk_tf_signature_refine(tf_opening *, vonk_error *err);
/* Takes inputs and outputs of a graph that has no signature. */
vonk_status vonk_tf_graph_ports_take(tf_opening *, vonk_error *err);
/* After the import: what TensorFlow knows of dtypes and shapes of such a graph. */
vonk_status vonk_tf_graph_ports_describe(tf_opening *, vonk_error *err);
/* Splits "node:1" (or "node", or "^node"), and copies the node's name. */
vonk_status vonk_tf_port_take(tf_opening *, kit_slice tensor, tf_port *out,
                              vonk_error *err);

/* --- the graph in TensorFlow (import.c) --------------------------------------------- */

/* Gives the graph to TensorFlow and finds all ports in it. */
vonk_status vonk_tf_import(tf_opening *, vonk_error *err);
vonk_status vonk_tf_port_find(const vonk_plugin_model *, const tf_port *port,
                              tf_output *out, vonk_error *err);

#endif /* VONK_TF_OPENING_H */
