/* What the files of the ONNX plug-in share. plugin.c has the picture. */
#ifndef VONK_ONNX_PLUGIN_H
#define VONK_ONNX_PLUGIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kit/kit.h"
#include "ort_api.h"

/* --- errors (error.c) -------------------------------------------------------------- */

/* Turns ONNX Runtime's status, which it releases, into ours: VONK_OK for NULL, else its
 * message, without source file names, behind "<what>: ". */
typedef struct onnx_runtime onnx_runtime;
vonk_status vonk_onnx_check(const onnx_runtime *, ort_status *status, vonk_error *err,
                            const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* --- runtime (runtime.c) ----------------------------------------------------------- */

/* ONNX Runtime in this process. Made once, at the first need, and never taken down. */
struct onnx_runtime {
  ort_api api;
  ort_env *env;
  ort_allocator *allocator;   /* the default one, for strings that ONNX Runtime makes */
  ort_memory_info *cpu;       /* describes the host's memory */
  const char *version, *path; /* of the library really loaded */
  bool has_cuda, has_rocm;    /* execution providers of this build */
  bool takes_files;           /* in memory, beside a model in memory */
};

/* Loads ONNX Runtime if that has not been done. */
vonk_status vonk_onnx_runtime_get(const onnx_runtime **out, vonk_error *err);

/* --- dtypes (tensor.c) ------------------------------------------------------------- */

/* One row per element type. */
typedef struct onnx_dtype {
  int ort;          /* ONNX's number, in a file and in ONNX Runtime's interface alike */
  vonk_dtype dtype; /* 0: vonk has no such tensors */
  uint32_t bits;    /* of one element; 0 = varying */
  const char *name;
} onnx_dtype;
const onnx_dtype *vonk_onnx_dtype_of_ort(int ort);      /* NULL: unknown */
const onnx_dtype *vonk_onnx_dtype_of(vonk_dtype dtype); /* NULL: unknown */

/* --- models (model.c) and sessions (session.c) ------------------------------------- */

/* One OrtSession, shared by the sessions and the outputs that need its memory. */
typedef struct onnx_core {
  atomic_int references;
  vonk_device device;
  uint32_t threads;
  pid_t pid; /* of the process that started its threads; 0 if it has none */
  ort_session *session;
  ort_memory_info *device_memory; /* NULL on the CPU */
  /* Of a run that has ended, for the next one; NULL if there are none. Taken and put back
   * by exchange. */
  ort_run_options *_Atomic idle_options;
} onnx_core;

/* A list of names, in an arena. */
typedef struct onnx_name {
  const char *text;
  const struct onnx_name *next;
} onnx_name;

/* A file in memory that the model's tensors say they are in. */
typedef struct onnx_companion {
  const char *location; /* as they say it */
  kit_slice bytes;
} onnx_companion;

struct vonk_plugin_model {
  const onnx_runtime *runtime;
  kit_arena arena; /* all texts and tables below */
  kit_source source;
  const char *path; /* the source's */
  const onnx_companion *companions;
  uint32_t n_companions;
  bool is_ort_format;
  int graph_optimization; /* as ONNX Runtime counts */
  bool share_weights;
  vonk_model_info info;
  vonk_io *inputs, *outputs;
  const onnx_name *shapeless; /* inputs and outputs whose shape the file does not say */
  pthread_mutex_t lock;       /* guards resident */
  onnx_core
      *resident; /* the core made last: by open, then by a session of another kind */
};

struct vonk_plugin_session {
  vonk_plugin_model *model;
  onnx_core *core;
};

vonk_status vonk_onnx_open_model(const char *path, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err);
vonk_status vonk_onnx_open_files(const vonk_files *files, const vonk_kv *options,
                                 size_t n_options, vonk_plugin_model **out,
                                 vonk_error *err);
vonk_status vonk_onnx_model_info(const vonk_plugin_model *, vonk_model_info *out,
                                 vonk_error *err);
vonk_status vonk_onnx_describe(const vonk_plugin_model *, int32_t is_output,
                               uint32_t index, vonk_io *out, vonk_error *err);
void vonk_onnx_release_model(vonk_plugin_model *);
extern const vonk_kv vonk_onnx_options[];

/* Reads inputs, outputs and (of an .ort file) metadata out of a loaded session. */
vonk_status vonk_onnx_read_signature(vonk_plugin_model *, ort_session *, vonk_error *err);

vonk_status vonk_onnx_core_create(const vonk_plugin_model *, vonk_device device,
                                  uint32_t threads, onnx_core **out, vonk_error *err);
void vonk_onnx_core_release(onnx_core *);
onnx_core *vonk_onnx_core_share(onnx_core *);

vonk_status vonk_onnx_create_session(vonk_plugin_model *, vonk_device device,
                                     uint32_t threads, vonk_plugin_session **out,
                                     vonk_error *err);
void vonk_onnx_release_session(vonk_plugin_session *);

/* --- runs (run.c, tensor.c) -------------------------------------------------------- */

vonk_status vonk_onnx_run(vonk_plugin_session *, const vonk_run *, vonk_error *err);

/* Wraps a host tensor; its memory stays the host's, except that strings are copied. */
vonk_status vonk_onnx_tensor_in(const vonk_plugin_session *, const vonk_tensor *,
                                const vonk_io *io, ort_value **out, vonk_error *err);
/* Wraps the memory into which an output is to be written. */
vonk_status vonk_onnx_tensor_place(const vonk_plugin_session *, const vonk_tensor *,
                                   const vonk_io *io, ort_value **out, vonk_error *err);
/* After the run: copies an output that did not come in its place to *tensor. */
vonk_status vonk_onnx_tensor_settle(const vonk_plugin_session *, const vonk_io *io,
                                    ort_value *value, vonk_tensor *tensor,
                                    vonk_error *err);
/* Hands a value that ONNX Runtime made over to *tensor, which owns it from then on. If
 * its memory is that of one of the run's inputs it is copied. */
vonk_status vonk_onnx_tensor_adopt(const vonk_plugin_session *, const vonk_run *,
                                   const vonk_io *io, ort_value *value,
                                   vonk_tensor *tensor, vonk_error *err);

#endif /* VONK_ONNX_PLUGIN_H */
