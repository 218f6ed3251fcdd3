// PyTorch's C++ interface, TorchScript and AOTInductor packages: tensors around the
// caller's rows, inference mode, one thread inside a run. A module of its own, since it is
// linked to PyTorch.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstring>
#include <memory>
#include <vector>

#include "bench/loops/loops.h"

namespace {

std::unique_ptr<torch::jit::Module> script;
std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package;

/* PyTorch's number of threads is the process's; OpenMP's, under it, is each thread's. */
void use_one_thread() {
  static thread_local bool is_set = false;
  if (!is_set) {
    at::set_num_threads(1);
    is_set = true;
  }
}

at::Tensor wrap(const loop_model *model, const float *rows, int64_t n) {
  std::vector<int64_t> shape{n};
  shape.insert(shape.end(), model->dims, model->dims + model->rank);
  return at::from_blob(const_cast<float *>(rows), shape, at::kFloat);
}

void keep(const loop_model *model, const at::Tensor &out, int64_t n, float *results) {
  at::Tensor dense = out.contiguous();
  std::memcpy(results, dense.const_data_ptr<float>(),
              static_cast<size_t>(n * model->n_classes) * sizeof *results);
}

void open_script(const loop_model *model) {
  script = std::make_unique<torch::jit::Module>(torch::jit::load(model->path));
  script->eval();
}

void run_script(const loop_model *model, const float *rows, int64_t n, float *results) {
  use_one_thread();
  c10::InferenceMode guard;
  keep(model, script->forward({wrap(model, rows, n)}).toTensor(), n, results);
}

void open_package(const loop_model *model) {
  package = std::make_unique<torch::inductor::AOTIModelPackageLoader>(
      model->path, "model", false /* not one caller alone */, 2 /* runs at a time */);
}

void run_package(const loop_model *model, const float *rows, int64_t n, float *results) {
  use_one_thread();
  c10::InferenceMode guard;
  keep(model, package->run({wrap(model, rows, n)})[0], n, results);
}

}  // namespace

extern "C" {
#define LOOP extern __attribute__((visibility("default"))) const loop_framework
LOOP loop_torchscript, loop_aoti;
const loop_framework loop_torchscript = {"torchscript", open_script, run_script};
const loop_framework loop_aoti = {"aoti", open_package, run_package};
}
