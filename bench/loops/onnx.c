/* ONNX Runtime's C interface: values around the caller's rows and results. */
#include <stddef.h>

#include "bench/loops/loops.h"
#include "plugins/onnx/ort_api.h"

enum { ELEMENT_FLOAT = 1 };

static ort_api api;
static ort_session *session;
static ort_memory_info *memory;
static const char *input, *output;

static void must(ort_status *status) {
  if (status != NULL) {
    loop_die("onnxruntime", api.GetErrorMessage(status));
  }
}

static void open_model(const loop_model *model) {
  const ort_api_base *(*get_base)(void);
  loop_function(loop_library(model->library), "OrtGetApiBase", &get_base);
  vonk_ort_api_take(get_base()->get_api(VONK_ORT_API_VERSION), VONK_ORT_API_VERSION,
                    &api);
  ort_env *env = NULL;
  ort_session_options *options = NULL;
  must(api.CreateEnv(ORT_LOG_FATAL, "bench", &env));
  must(api.CreateSessionOptions(&options));
  must(api.SetIntraOpNumThreads(options, 1));
  must(api.SetInterOpNumThreads(options, 1));
  must(api.CreateSession(env, model->path, options, &session));
  ort_allocator *allocator = NULL;
  char *in_name, *out_name;
  must(api.GetAllocatorWithDefaultOptions(&allocator));
  must(api.SessionGetInputName(session, 0, allocator, &in_name));
  must(api.SessionGetOutputName(session, 0, allocator, &out_name));
  input = in_name;
  output = out_name;
  must(api.CreateCpuMemoryInfo(ORT_ALLOCATOR_ARENA, ORT_MEMORY_DEFAULT, &memory));
}

static ort_value *wrap(void *data, const int64_t *shape, int32_t rank) {
  ort_value *value = NULL;
  size_t nbytes = sizeof(float);
  for (int32_t d = 0; d < rank; d++) {
    nbytes *= (size_t)shape[d];
  }
  must(api.CreateTensorWithDataAsOrtValue(memory, data, nbytes, shape, (size_t)rank,
                                          ELEMENT_FLOAT, &value));
  return value;
}

static void run(const loop_model *model, const float *rows, int64_t n, float *results) {
  int64_t in_shape[LOOP_MAX_RANK + 1] = {n}, out_shape[2] = {n, model->n_classes};
  for (int32_t d = 0; d < model->rank; d++) {
    in_shape[d + 1] = model->dims[d];
  }
  ort_value *in = wrap((void *)(uintptr_t)rows, in_shape, model->rank + 1);
  ort_value *out = wrap(results, out_shape, 2);
  const ort_value *ins[1] = {in};
  must(api.Run(session, NULL, &input, ins, 1, &output, 1, &out));
  api.ReleaseValue(in);
  api.ReleaseValue(out);
}

const loop_framework loop_onnx = {"onnx", open_model, run};
