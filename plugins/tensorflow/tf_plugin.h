/* What the files of the TensorFlow plug-in share. plugin.c has the picture. */
#ifndef VONK_TF_PLUGIN_H
#define VONK_TF_PLUGIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "graph_file.h"
#include "kit/kit.h"
#include "tf_api.h"

/* --- runtime (runtime.c) and silence (quiet.c) ------------------------------------- */

/* TensorFlow in this process. Made once, at the first need, and never taken down. */
typedef struct tf_runtime {
  tf_api api;
  const char *version, *path; /* of the library really loaded */
} tf_runtime;

/* Loads TensorFlow if that has not been done. */
vonk_status vonk_tf_runtime_get(const tf_runtime **out, vonk_error *err);

/* Around loading TensorFlow, by one thread at a time: drops what that thread writes to C's
 * stderr. */
void *vonk_tf_quiet_load_begin(void);
void vonk_tf_quiet_load_end(void *begun);
/* While any thread is between these two, TensorFlow logs nothing. */
void vonk_tf_quiet_begin(void);
void vonk_tf_quiet_end(void);
/* Makes them work: looks for TensorFlow's switch in a library that has it. False if there
 * is none; they then do nothing. */
bool vonk_tf_quiet_find(void *library);

/* --- errors (error.c) -------------------------------------------------------------- */

/* VONK_OK if status says so, else our code for it, with TensorFlow's message, made
 * readable, behind "<what>: ". */
vonk_status vonk_tf_check(const tf_runtime *, const tf_status *status, vonk_error *err,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* --- dtypes (tensor.c) ------------------------------------------------------------- */

/* One row per element type of TensorFlow. */
typedef struct tf_dtype {
  int tf;           /* TensorFlow's number, in a file and in its interface alike */
  vonk_dtype dtype; /* 0: vonk has no such tensors */
  uint32_t bits;    /* of one element; 0 = varying */
  bool is_weight;   /* whether such numbers in a model count as trained */
  const char *name; /* TensorFlow's, in lower case */
} tf_dtype;
const tf_dtype *vonk_tf_dtype(uint64_t tf);         /* NULL: unknown */
const tf_dtype *vonk_tf_dtype_of(vonk_dtype dtype); /* NULL: unknown */

/* --- models (model.c) and sessions (session.c) ------------------------------------- */

/* What is to be opened, and what is in it, told by its own reader: names live in the
 * model's arena, nothing points into the file. */

/* One tensor of the graph that is an input or output. */
typedef struct tf_port {
  const char *node; /* its node's name */
  int32_t index;    /* which of the node's outputs */
  const tf_dtype *dtype;
} tf_port;

/* A file of the model's folder, whose path TensorFlow is told when a session starts. */
typedef struct tf_asset {
  tf_port port;     /* the string that takes the path */
  const char *path; /* absolute */
} tf_asset;

/* Of a model in memory: its files for TensorFlow (ram.c). */
typedef struct tf_ram {
  const char *folder; /* their folder's name there */
  const char *home;   /* and what users call it */
  const char **names; /* by the files' numbers; NULL: TensorFlow does not read that one */
} tf_ram;

/* One TF_Session with its variables, shared by the sessions of a model. */
typedef struct tf_core {
  pid_t pid; /* of the process that started its threads */
  tf_session *session;
} tf_core;

struct vonk_plugin_model {
  const tf_runtime *runtime;
  kit_arena arena; /* all texts and tables below */
  kit_source source;
  const char *path; /* the source's */
  tf_ram ram;
  vonk_model_info info;
  vonk_io *inputs, *outputs;
  tf_port *input_ports, *output_ports;
  /* Some operation of it stores what it is given, so inputs are never borrowed. */
  bool keeps_inputs;
  tf_graph *graph;
  tf_output *feeds, *fetches; /* the ports in that graph */
  /* How a session gets its variables and tables; NULL: not at all. */
  const char *restore_node, *prefix; /* prefix: of the files with the variables */
  tf_port prefix_port;
  const char **init_nodes;
  uint32_t n_init_nodes;
  tf_asset *assets;
  uint32_t n_assets;
  pthread_mutex_t lock; /* guards core */
  tf_core *core;        /* NULL until the first session */
};

struct vonk_plugin_session {
  vonk_plugin_model *model;
  tf_core *core;
};

vonk_status vonk_tf_open_model(const char *path, const vonk_kv *options, size_t n_options,
                               vonk_plugin_model **out, vonk_error *err);
vonk_status vonk_tf_open_files(const vonk_files *files, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err);
vonk_status vonk_tf_model_info(const vonk_plugin_model *, vonk_model_info *out,
                               vonk_error *err);
vonk_status vonk_tf_describe(const vonk_plugin_model *, int32_t is_output, uint32_t index,
                             vonk_io *out, vonk_error *err);
void vonk_tf_release_model(vonk_plugin_model *);
extern const vonk_kv vonk_tf_options[];

vonk_status vonk_tf_create_session(vonk_plugin_model *, vonk_device device,
                                   uint32_t threads, vonk_plugin_session **out,
                                   vonk_error *err);
void vonk_tf_release_session(vonk_plugin_session *);
void vonk_tf_core_release(const tf_runtime *, tf_core *);

/* --- runs (run.c, tensor.c) -------------------------------------------------------- */

vonk_status vonk_tf_run(vonk_plugin_session *, const vonk_run *, vonk_error *err);

/* A tensor around the host's memory if the model allows that and it is aligned as
 * TensorFlow wants it, else around a copy. Strings are views of the host's bytes. */
vonk_status vonk_tf_tensor_in(const vonk_plugin_model *, uint32_t index,
                              const vonk_tensor *, tf_tensor **out, vonk_error *err);
/* Hands a tensor that TensorFlow made over to *tensor, which owns it from then on. If its
 * memory is that of one of the run's inputs it is copied. */
vonk_status vonk_tf_tensor_adopt(const tf_runtime *, const vonk_run *, const vonk_io *io,
                                 tf_tensor *value, vonk_tensor *tensor, vonk_error *err);

/* --- recognising (sniff.c) ---------------------------------------------------------- */

/* 0, 1 or 2 as vonk_plugin_v1.recognise says. */
int32_t vonk_tf_recognise(const char *path, const uint8_t *head, size_t n_head);

#endif /* VONK_TF_PLUGIN_H */
