/* What the files of the PyTorch plug-in share. plugin.c has the picture. */
#ifndef VONK_TORCH_PLUGIN_H
#define VONK_TORCH_PLUGIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kit/kit.h"
#include "torch_api.h"
#include "zip.h"

/* --- runtime (runtime.c) ------------------------------------------------------------ */

/* PyTorch in this process. Made once, at the first need, and never taken down. */
typedef struct torch_runtime {
  torch_api api;
  torch_thread_api threads;
  void *library; /* libtorch_cpu.so, for dlsym */
  uint32_t major, minor, patch;
  const char *version, *path; /* of the library really loaded */
} torch_runtime;

/* Loads PyTorch if that has not been done. */
vonk_status vonk_torch_runtime_get(const torch_runtime **out, vonk_error *err);

/* The TorchScript half for the PyTorch that is loaded (script.c). */
vonk_status vonk_torch_script_get(const torch_runtime *, const script_api **out,
                                  vonk_error *err);

/* --- what the calling thread may use, for the time of one call (threads.c) ------------ */

typedef struct torch_scope {
  const torch_runtime *runtime;
  kit_float_mode mode; /* the caller's */
  int omp_threads, mkl_threads;
  bool has_gradients;
} torch_scope;
void vonk_torch_enter(torch_scope *, const torch_runtime *, uint32_t threads);
void vonk_torch_leave(torch_scope *);

/* --- a package's own words (quiet.c) --------------------------------------------------- */

/* What a package that was just loaded prints to std::cerr goes nowhere from now on. */
void vonk_torch_quiet(void *library);

/* --- messages (error.c) --------------------------------------------------------------- */

/* "'<path>': <why>", why being PyTorch's own words without what only its developers can
 * use. */
vonk_status vonk_torch_fail(vonk_error *err, vonk_status code, const char *path,
                            const char *why);

/* --- dtypes and tensors (tensor.c) ---------------------------------------------------- */

int32_t vonk_torch_dtype(vonk_dtype dtype);    /* -1: PyTorch has none like it */
vonk_dtype vonk_torch_dtype_of(int32_t dtype); /* 0: vonk has none like it */

/* Wraps the host's memory, which stays the host's. */
vonk_status vonk_torch_tensor_in(const torch_runtime *, const vonk_tensor *,
                                 const vonk_io *io, aten_tensor **out, vonk_error *err);
/* Dtype, rank and shape of a tensor. */
typedef struct torch_tensor_facts {
  vonk_dtype dtype;
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
  size_t count, nbytes;
  bool is_contiguous;
} torch_tensor_facts;
vonk_status vonk_torch_tensor_facts(const torch_runtime *, aten_tensor *,
                                    const char *name, torch_tensor_facts *out,
                                    vonk_error *err);
/* Hands an output over to *tensor, which owns it from then on; also if this fails. Its
 * memory is copied if it is that of one of the run's inputs or not contiguous. */
vonk_status vonk_torch_tensor_adopt(const torch_runtime *, const vonk_run *,
                                    const vonk_io *io, aten_tensor *value,
                                    vonk_tensor *tensor, vonk_error *err);
/* Replaces a tensor by a row-major copy in memory of its own. */
vonk_status vonk_torch_tensor_copy(const torch_runtime *, const char *name,
                                   aten_tensor **value, vonk_error *err);
void vonk_torch_tensor_delete(const torch_runtime *, aten_tensor *); /* takes NULL */

/* --- models (model.c) and their two kinds (script.c, package.c) ------------------------ */

/* One call of the network. Outputs are the caller's to delete. */
typedef struct torch_call {
  aten_tensor **inputs; /* taken over */
  uint32_t n_inputs, capacity, n_outputs;
  aten_tensor **outputs;
  const char **names; /* NULL, or room for the outputs' names; NULL = has none */
} torch_call;

/* A kind of file that runs. */
typedef struct torch_kind {
  const char *format;
  /* Looks at the file; nothing of PyTorch is loaded yet. */
  vonk_status (*check)(vonk_plugin_model *, vonk_error *err);
  /* Opens what lies in the file into model->inside, fills info, and the inputs as
   * far as the file says. */
  vonk_status (*open)(vonk_plugin_model *, vonk_error *err);
  vonk_status (*run)(const vonk_plugin_model *, torch_call *, vonk_error *err);
  void (*release)(vonk_plugin_model *);
} torch_kind;
extern const torch_kind vonk_torch_script_kind, vonk_torch_package_kind;

struct vonk_plugin_model {
  const torch_runtime *runtime;
  const torch_kind *kind;
  kit_arena arena; /* all texts and tables below */
  const char *path;
  kit_slice file; /* while the model is being opened, as are the archive's bytes */
  zip_archive archive;
  const kit_spec *wanted_inputs, *wanted_outputs; /* the options; NULL = not given */
  uint32_t n_wanted_inputs, n_wanted_outputs;
  bool allow_native_code;
  vonk_model_info info;
  vonk_io *inputs, *outputs;
  void *facts;  /* of the kind: what its check found */
  void *inside; /* of the kind: what it opened */
};

struct vonk_plugin_session {
  vonk_plugin_model *model;
  uint32_t threads;
  pid_t pid; /* of the process that started its threads; 0 if it has none */
};

extern const vonk_kv vonk_torch_options[];
int32_t vonk_torch_recognise(const char *path, const uint8_t *head, size_t n_head);
vonk_status vonk_torch_open_model(const char *path, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err);
vonk_status vonk_torch_open_files(const vonk_files *files, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err);
vonk_status vonk_torch_model_info(const vonk_plugin_model *, vonk_model_info *out,
                                  vonk_error *err);
vonk_status vonk_torch_describe(const vonk_plugin_model *, int32_t is_output,
                                uint32_t index, vonk_io *out, vonk_error *err);
void vonk_torch_release_model(vonk_plugin_model *);

/* --- inputs and outputs (signature.c) --------------------------------------------------- */

/* What the file says of one input. */
typedef struct torch_input {
  const char *name;
  bool is_optional;
  bool is_known;   /* dtype and shape: */
  bool is_exact;   /* and what the option says must not differ */
  kit_spec spec;   /* name apart */
  uint32_t number; /* its place in the file's own order */
} torch_input;

/* Makes model->inputs of what the file says and of the option `inputs`. *chosen gets the
 * number of each, rising. */
vonk_status vonk_torch_make_inputs(vonk_plugin_model *, const torch_input *, uint32_t n,
                                   const uint32_t **chosen, vonk_error *err);
/* Makes model->outputs of the option `outputs`, and of trial runs where that says too
 * little. `count` is how many there are, 0 = unknown, and `names` their names if they have
 * any. */
vonk_status vonk_torch_make_outputs(vonk_plugin_model *, uint32_t count,
                                    const char *const *names, vonk_error *err);

/* --- runs (run.c) ---------------------------------------------------------------------- */

vonk_status vonk_torch_create_session(vonk_plugin_model *, vonk_device device,
                                      uint32_t threads, vonk_plugin_session **out,
                                      vonk_error *err);
vonk_status vonk_torch_run(vonk_plugin_session *, const vonk_run *, vonk_error *err);
void vonk_torch_release_session(vonk_plugin_session *);

#endif /* VONK_TORCH_PLUGIN_H */
