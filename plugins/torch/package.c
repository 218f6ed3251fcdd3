#include "torch_plugin.h"

static vonk_status open_package(vonk_plugin_model *model, vonk_error *err) {
  return vonk_kit_fail(err, VONK_UNSUPPORTED,
                       "'%s': AOTInductor packages are not supported yet", model->path);
}
static vonk_status run_package(const vonk_plugin_model *model, torch_call *call,
                               vonk_error *err) {
  (void)call;
  return open_package((vonk_plugin_model *)(uintptr_t)model, err);
}
static void release_package(vonk_plugin_model *model) { (void)model; }
const torch_kind vonk_torch_package_kind = {"aotinductor", open_package, open_package,
                                            run_package, release_package};
