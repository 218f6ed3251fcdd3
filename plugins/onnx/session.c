/* Sessions: a model's weights, ready to run on one device.
 *
 * An OrtSession is safe to run from many threads, so a core wraps one and is shared.
 * Opening a model already makes the core for the CPU and one thread, for only a loaded
 * session knows the shapes; the first such session takes that very core. A session of
 * another kind puts its own core in that place, so that the weights are in memory once.
 *
 * ONNX Runtime starts threads only for a core of more than one.
 */
#include <fenv.h>
#include <stdio.h>
#include <unistd.h>

#include "onnx_plugin.h"

static vonk_status append_cuda(const onnx_runtime *runtime, ort_session_options *options,
                               const char *index, vonk_error *err) {
  const ort_api *api = &runtime->api;
  static const char *const keys[] = {"device_id"};
  const char *const values[] = {index};
  ort_cuda_options *cuda = NULL;
  VONK_TRY(vonk_onnx_check(runtime, api->CreateCUDAProviderOptions(&cuda), err,
                           "device 'cuda:%s'", index));
  ort_status *status = api->UpdateCUDAProviderOptions(cuda, keys, values, 1);
  if (status == NULL) {
    status = api->SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda);
  }
  api->ReleaseCUDAProviderOptions(cuda);
  return vonk_onnx_check(runtime, status, err, "device 'cuda:%s'", index);
}

static vonk_status append_rocm(const onnx_runtime *runtime, ort_session_options *options,
                               const char *index, vonk_error *err) {
  const ort_api *api = &runtime->api;
  static const char *const keys[] = {"device_id"};
  const char *const values[] = {index};
  ort_rocm_options *rocm = NULL;
  VONK_TRY(vonk_onnx_check(runtime, api->CreateROCMProviderOptions(&rocm), err,
                           "device 'rocm:%s'", index));
  ort_status *status = api->UpdateROCMProviderOptions(rocm, keys, values, 1);
  if (status == NULL) {
    status = api->SessionOptionsAppendExecutionProvider_ROCM(options, rocm);
  }
  api->ReleaseROCMProviderOptions(rocm);
  return vonk_onnx_check(runtime, status, err, "device 'rocm:%s'", index);
}

/* One row per kind of device but the CPU. */
typedef struct device_kind {
  int32_t kind;
  const char *name, *provider, *package, *memory_name;
  size_t is_there; /* offset of the runtime's flag */
  vonk_status (*append)(const onnx_runtime *, ort_session_options *, const char *index,
                        vonk_error *);
} device_kind;

static const device_kind device_kinds[] = {
    {VONK_DEVICE_CUDA, "cuda", "CUDAExecutionProvider", "onnxruntime-gpu", "Cuda",
     offsetof(onnx_runtime, has_cuda), append_cuda},
    {VONK_DEVICE_ROCM, "rocm", "ROCMExecutionProvider", "onnxruntime-rocm", "Hip",
     offsetof(onnx_runtime, has_rocm), append_rocm},
};

/* NULL in *out for the CPU. */
static vonk_status find_device(const onnx_runtime *runtime, vonk_device device,
                               const device_kind **out, vonk_error *err) {
  *out = NULL;
  if (device.kind == VONK_DEVICE_CPU) {
    return VONK_OK;
  }
  for (size_t i = 0; i < sizeof device_kinds / sizeof device_kinds[0]; ++i) {
    const device_kind *row = &device_kinds[i];
    if (row->kind != device.kind) {
      continue;
    }
    if (!*(const bool *)((const char *)runtime + row->is_there)) {
      return vonk_kit_fail(
          err, VONK_DEVICE,
          "device '%s:%d': ONNX Runtime %s at '%s' was built without %s: "
          "install %s and point vonk to it, or use device='cpu'",
          row->name, device.index, runtime->version, runtime->path, row->provider,
          row->package);
    }
    *out = row;
    return VONK_OK;
  }
  return vonk_kit_fail(err, VONK_DEVICE,
                       "device %d:%d: the ONNX plug-in runs on cpu, cuda and rocm only",
                       device.kind, device.index);
}

static vonk_status append_device(const onnx_runtime *runtime, vonk_device device,
                                 const device_kind *kind, ort_session_options *options,
                                 ort_memory_info **memory, vonk_error *err) {
  char index[16];
  snprintf(index, sizeof index, "%d", device.index);
  vonk_status status = kind->append(runtime, options, index, err);
  if (status != VONK_OK) {
    if (err != NULL && status != VONK_NOMEM) {
      err->code = VONK_DEVICE;
    }
    return status == VONK_NOMEM ? status : VONK_DEVICE;
  }
  return vonk_onnx_check(
      runtime,
      runtime->api.CreateMemoryInfo(kind->memory_name, ORT_ALLOCATOR_DEVICE, device.index,
                                    ORT_MEMORY_DEFAULT, memory),
      err, "device '%s:%s'", kind->name, index);
}

/* Key and value of a session setting. */
static vonk_status set_options(const vonk_plugin_model *model, uint32_t threads,
                               ort_session_options *options, vonk_error *err) {
  const onnx_runtime *runtime = model->runtime;
  const ort_api *api = &runtime->api;
  const vonk_kv entries[] = {
      {"session.load_model_format", model->is_ort_format ? "ORT" : "ONNX"},
      {"session.intra_op.allow_spinning", "0"},
      {"session.inter_op.allow_spinning", "0"},
      /* Prepacking makes a private copy of the weights; without it the pages of an
       * external data file are used as they are, and shared between processes. */
      {"session.disable_prepacking", model->share_weights ? "1" : "0"},
  };
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; ++i) {
    VONK_TRY(vonk_onnx_check(
        runtime, api->AddSessionConfigEntry(options, entries[i].key, entries[i].value),
        err, "'%s': %s", model->path, entries[i].key));
  }
  ort_status *status = api->SetIntraOpNumThreads(options, (int)threads);
  if (status == NULL) {
    status = api->SetInterOpNumThreads(options, 1);
  }
  if (status == NULL) {
    status = api->SetSessionGraphOptimizationLevel(options, model->graph_optimization);
  }
  if (status == NULL) { /* a foreign environment may print more than ours */
    status = api->SetSessionLogSeverityLevel(options, ORT_LOG_FATAL);
  }
  return vonk_onnx_check(runtime, status, err, "'%s'", model->path);
}

/* Gives ONNX Runtime the files that hold weights of a model in memory; it copies what it
 * needs of them while it makes the session. */
static vonk_status add_companions(const vonk_plugin_model *model,
                                  ort_session_options *options, vonk_error *err) {
  const size_t n = model->n_companions;
  kit_arena arena = {0};
  const char **names = NULL;
  char **bytes = NULL;
  size_t *sizes = NULL;
  vonk_status status = vonk_kit_new(&arena, n, sizeof *names, &names, err);
  if (status == VONK_OK) {
    status = vonk_kit_new(&arena, n, sizeof *bytes, &bytes, err);
  }
  if (status == VONK_OK) {
    status = vonk_kit_new(&arena, n, sizeof *sizes, &sizes, err);
  }
  for (size_t i = 0; status == VONK_OK && i < n; ++i) {
    const onnx_companion *row = &model->companions[i];
    names[i] = row->location;
    bytes[i] = (char *)(uintptr_t)row->bytes.data; /* it writes nothing there */
    sizes[i] = row->bytes.size;
  }
  if (status == VONK_OK) {
    status = vonk_onnx_check(model->runtime,
                             model->runtime->api.AddExternalInitializersFromFilesInMemory(
                                 options, names, bytes, sizes, n),
                             err, "'%s'", model->path);
  }
  vonk_kit_arena_release(&arena);
  return status;
}

/* Lets ONNX Runtime use an .ort file's bytes where they are, which stay until the model is
 * released; the weights among them, too, if they are to be shared. */
static vonk_status use_bytes(const vonk_plugin_model *model, kit_slice file,
                             ort_session_options *options, vonk_error *err) {
  enum { ALIGN = 16 }; /* as a FlatBuffer has its numbers */
  const onnx_runtime *runtime = model->runtime;
  if (!model->is_ort_format || (uintptr_t)file.data % ALIGN != 0) {
    return VONK_OK; /* ONNX Runtime makes a copy */
  }
  ort_status *status = runtime->api.AddSessionConfigEntry(
      options, "session.use_ort_model_bytes_directly", "1");
  if (status == NULL && model->share_weights) {
    status = runtime->api.AddSessionConfigEntry(
        options, "session.use_ort_model_bytes_for_initializers", "1");
  }
  return vonk_onnx_check(runtime, status, err, "'%s'", model->path);
}

/* Makes the OrtSession: of the file at the model's path, which takes less memory, or of
 * bytes. */
static vonk_status make_session(const vonk_plugin_model *model,
                                ort_session_options *options, ort_session **out,
                                vonk_error *err) {
  const onnx_runtime *runtime = model->runtime;
  kit_slice file;
  if (model->source.files == NULL) {
    return vonk_onnx_check(
        runtime, runtime->api.CreateSession(runtime->env, model->path, options, out), err,
        "'%s'", model->path);
  }
  VONK_TRY(vonk_kit_source_map(&model->source, UINT64_MAX, "a file", &file, err));
  VONK_TRY(use_bytes(model, file, options, err));
  if (model->n_companions != 0) {
    VONK_TRY(add_companions(model, options, err));
  }
  return vonk_onnx_check(runtime,
                         runtime->api.CreateSessionFromArray(runtime->env, file.data,
                                                             file.size, options, out),
                         err, "'%s'", model->path);
}

/* Loads the file into an OrtSession. */
static vonk_status load(const vonk_plugin_model *model, const device_kind *kind,
                        onnx_core *core, vonk_error *err) {
  const onnx_runtime *runtime = model->runtime;
  ort_session_options *options = NULL;
  VONK_TRY(vonk_onnx_check(runtime, runtime->api.CreateSessionOptions(&options), err,
                           "'%s'", model->path));
  vonk_status status = set_options(model, core->threads, options, err);
  if (status == VONK_OK && kind != NULL) {
    status =
        append_device(runtime, core->device, kind, options, &core->device_memory, err);
  }
  if (status == VONK_OK) {
    status = make_session(model, options, &core->session, err);
    if (status == VONK_INVALID || status == VONK_BACKEND) {
      status = VONK_MODEL;
      if (err != NULL) {
        err->code = status;
      }
    }
  }
  runtime->api.ReleaseSessionOptions(options);
  return status;
}

vonk_status vonk_onnx_core_create(const vonk_plugin_model *model, vonk_device device,
                                  uint32_t threads, onnx_core **out, vonk_error *err) {
  const device_kind *kind;
  VONK_TRY(find_device(model->runtime, device, &kind, err));
  onnx_core *core = vonk_kit_alloc(sizeof *core);
  if (core == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *core);
  }
  *core = (onnx_core){.device = device, .threads = threads};
  atomic_init(&core->references, 1);
  core->pid = threads > 1 ? getpid() : 0;
  fenv_t mode;
  fegetenv(&mode);
  vonk_status status = load(model, kind, core, err);
  fesetenv(&mode);
  if (status != VONK_OK) {
    vonk_onnx_core_release(core);
    return status;
  }
  *out = core;
  return VONK_OK;
}

onnx_core *vonk_onnx_core_share(onnx_core *core) {
  atomic_fetch_add(&core->references, 1);
  return core;
}

void vonk_onnx_core_release(onnx_core *core) {
  const onnx_runtime *runtime;
  if (core == NULL || atomic_fetch_sub(&core->references, 1) != 1 ||
      vonk_onnx_runtime_get(&runtime, NULL) != VONK_OK) {
    return;
  }
  if (core->session != NULL) {
    runtime->api.ReleaseSession(core->session);
  }
  if (core->device_memory != NULL) {
    runtime->api.ReleaseMemoryInfo(core->device_memory);
  }
  if (core->idle_options != NULL) {
    runtime->api.ReleaseRunOptions(core->idle_options);
  }
  vonk_kit_free(core);
}

static bool is_fit(const onnx_core *core, vonk_device device, uint32_t threads) {
  return core != NULL && core->threads == threads && core->device.kind == device.kind &&
         core->device.index == device.index;
}

/* A core of this kind: the model's own if it fits, else a new one, which takes its place.
 */
static vonk_status take_core(vonk_plugin_model *model, vonk_device device,
                             uint32_t threads, onnx_core **out, vonk_error *err) {
  const device_kind *kind;
  VONK_TRY(find_device(model->runtime, device, &kind, err));
  device.index = kind == NULL ? 0 : device.index; /* there is one CPU */
  vonk_status status = VONK_OK;
  pthread_mutex_lock(&model->lock);
  if (!is_fit(model->resident, device, threads)) {
    vonk_onnx_core_release(model->resident);
    model->resident = NULL;
    status = vonk_onnx_core_create(model, device, threads, &model->resident, err);
  }
  if (status == VONK_OK) {
    *out = vonk_onnx_core_share(model->resident);
  }
  pthread_mutex_unlock(&model->lock);
  return status;
}

vonk_status vonk_onnx_create_session(vonk_plugin_model *model, vonk_device device,
                                     uint32_t threads, vonk_plugin_session **out,
                                     vonk_error *err) {
  if (threads < 1 || threads > 1024) {
    return vonk_kit_fail(err, VONK_INVALID, "threads=%u: 1 to 1024 are possible",
                         threads);
  }
  vonk_plugin_session *session = vonk_kit_alloc(sizeof *session);
  if (session == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *session);
  }
  session->model = model;
  vonk_status status = take_core(model, device, threads, &session->core, err);
  if (status != VONK_OK) {
    vonk_kit_free(session);
    return status;
  }
  *out = session;
  return VONK_OK;
}

void vonk_onnx_release_session(vonk_plugin_session *session) {
  if (session != NULL) {
    vonk_onnx_core_release(session->core);
    vonk_kit_free(session);
  }
}
