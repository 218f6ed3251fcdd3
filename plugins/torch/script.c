/* TorchScript: what PyTorch alone can load, through the C++ half of the plug-in.
 *
 * That half stands in the folder torch/ beside the plug-in, one file for each minor
 * version of PyTorch it was built for, for C++ has no stable interface. It is loaded
 * after PyTorch, whose libraries it finds by their SONAME.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "script_file.h"

enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

/* --- the C++ half ---------------------------------------------------------------------- */

/* The folder of the plug-in's own file. */
static vonk_status find_own_folder(char out[PATH_MAX], vonk_error *err) {
  Dl_info info;
  static const char here; /* an address in this file */
  if (dladdr(&here, &info) == 0 || info.dli_fname == NULL ||
      strlen(info.dli_fname) >= PATH_MAX) {
    return vonk_kit_fail(err, VONK_IO, "PyTorch: the plug-in cannot find its own folder");
  }
  strcpy(out, info.dli_fname);
  char *slash = strrchr(out, '/');
  strcpy(slash == NULL ? out : slash + 1, "");
  return VONK_OK;
}

static vonk_status load_half(const torch_runtime *runtime, const script_api **out,
                             vonk_error *err) {
  char folder[PATH_MAX], path[PATH_MAX + 64];
  VONK_TRY(find_own_folder(folder, err));
  snprintf(path, sizeof path, "%storch/vonk_torchscript-%" PRIu32 ".%" PRIu32 ".so",
           folder, runtime->major, runtime->minor);
  if (access(path, R_OK) != 0) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "PyTorch: this process uses version %s ('%s'), and this vonk was "
        "not built for TorchScript with %" PRIu32 ".%" PRIu32
        " ('%s' is missing): use the version of PyTorch that vonk was "
        "built with, or build vonk with this one (-DVONK_TORCH=%s)",
        runtime->version, runtime->path, runtime->major, runtime->minor, path,
        runtime->path);
  }
  void *library = dlopen(path, HOW);
  void *symbol = library == NULL ? NULL : dlsym(library, SCRIPT_ENTRY);
  if (symbol == NULL) {
    const char *why = dlerror();
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "PyTorch: '%s' does not fit version %s: %s: build vonk with "
                         "this PyTorch",
                         path, runtime->version, why == NULL ? "unknown" : why);
  }
  script_entry entry;
  memcpy(&entry, &symbol, sizeof symbol);
  const script_api *api = entry();
  char minor[24];
  int n = snprintf(minor, sizeof minor, "%" PRIu32 ".%" PRIu32 ".", runtime->major,
                   runtime->minor);
  if (api->struct_size != sizeof *api || strncmp(api->version, minor, (size_t)n) != 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "PyTorch: '%s' is of another vonk, or was built for another "
                         "version (%.20s): install both parts together",
                         path, api->version);
  }
  *out = api;
  return VONK_OK;
}

static pthread_mutex_t half_lock = PTHREAD_MUTEX_INITIALIZER;

vonk_status vonk_torch_script_get(const torch_runtime *runtime, const script_api **out,
                                  vonk_error *err) {
  static const script_api *half;
  pthread_mutex_lock(&half_lock);
  vonk_status status = half == NULL ? load_half(runtime, &half, err) : VONK_OK;
  *out = half;
  pthread_mutex_unlock(&half_lock);
  return status;
}

/* --- models ---------------------------------------------------------------------------- */

/* model->inside */
typedef struct script_inside {
  const script_api *api;
  script_module *module;
  const char **keys; /* of a dictionary's outputs; NULL until they are known */
  uint32_t n_keys;
} script_inside;

static vonk_status fail(const vonk_plugin_model *model, vonk_status status,
                        const script_message *message, vonk_error *err) {
  return vonk_torch_fail(err, status, model->path, message->text);
}

/* A traced module's example says dtype and shape of each argument. Its first dimension
 * counted rows, of which there may be any number. */
static torch_input input_of(const script_argument *argument, uint32_t number,
                            const script_file *file) {
  torch_input input = {
      .name = argument->name, .is_optional = argument->is_optional, .number = number};
  if (argument->position < file->n_examples) {
    const pickle_tensor *example = &file->examples[argument->position];
    if (example->dtype != 0 && example->rank >= 1) {
      input.is_known = true;
      input.spec.dtype = example->dtype;
      input.spec.rank = example->rank;
      memcpy(input.spec.shape, example->shape, sizeof input.spec.shape);
      input.spec.shape[0] = -1;
    }
  }
  return input;
}

static vonk_status make_inputs(vonk_plugin_model *model, script_inside *inside,
                               vonk_error *err) {
  const script_facts *facts = inside->api->facts(inside->module);
  torch_input *inputs;
  VONK_TRY(vonk_kit_new(&model->arena, facts->n_arguments, sizeof *inputs, &inputs, err));
  for (uint32_t i = 0; i < facts->n_arguments; ++i) {
    inputs[i] = input_of(&facts->arguments[i], i, model->facts);
  }
  const uint32_t *chosen;
  VONK_TRY(vonk_torch_make_inputs(model, inputs, facts->n_arguments, &chosen, err));
  script_message message;
  vonk_status status =
      inside->api->choose(inside->module, chosen, model->info.n_inputs, &message);
  return status == VONK_OK ? VONK_OK : fail(model, status, &message, err);
}

/* Which keys of a dictionary are outputs, in which order. */
static vonk_status set_keys(vonk_plugin_model *model, script_inside *inside,
                            uint32_t count, vonk_error *err) {
  VONK_TRY(vonk_kit_new(&model->arena, count, sizeof(char *), &inside->keys, err));
  for (uint32_t i = 0; i < count; ++i) {
    inside->keys[i] = model->wanted_outputs != NULL ? model->wanted_outputs[i].name
                                                    : model->outputs[i].name;
  }
  inside->n_keys = count;
  return VONK_OK;
}

static vonk_status make_outputs(vonk_plugin_model *model, script_inside *inside,
                                vonk_error *err) {
  const script_facts *facts = inside->api->facts(inside->module);
  bool is_dict = facts->returns == SCRIPT_DICT;
  if (is_dict && model->wanted_outputs != NULL) {
    VONK_TRY(set_keys(model, inside, model->n_wanted_outputs, err));
  }
  uint32_t count = facts->returns == SCRIPT_TENSOR  ? 1
                   : facts->returns == SCRIPT_TUPLE ? facts->n_fields
                                                    : 0;
  VONK_TRY(vonk_torch_make_outputs(model, count, facts->fields, err));
  return is_dict && inside->keys == NULL
             ? set_keys(model, inside, model->info.n_outputs, err)
             : VONK_OK;
}

static vonk_status open_script(vonk_plugin_model *model, vonk_error *err) {
  script_inside *inside;
  VONK_TRY(vonk_kit_new(&model->arena, 1, sizeof *inside, &inside, err));
  VONK_TRY(vonk_torch_script_get(model->runtime, &inside->api, err));
  script_message message;
  vonk_status status =
      inside->api->open(model->file.data, model->file.size, &inside->module, &message);
  if (status != VONK_OK) {
    return fail(model, status, &message, err);
  }
  model->inside = inside;
  const script_facts *facts = inside->api->facts(inside->module);
  model->info.n_params = facts->n_params;
  model->info.weight_bytes = facts->weight_bytes;
  VONK_TRY(make_inputs(model, inside, err));
  return make_outputs(model, inside, err);
}

static vonk_status run_script(const vonk_plugin_model *model, torch_call *call,
                              vonk_error *err) {
  const script_inside *inside = model->inside;
  script_call inner = {
      .n_inputs = call->n_inputs,
      .inputs = call->inputs,
      .capacity = call->capacity,
      .outputs = call->outputs,
      .names = call->names,
      .keys = inside->keys,
      .n_keys = inside->n_keys,
  };
  script_message message;
  vonk_status status = inside->api->run(inside->module, &inner, &message);
  for (uint32_t i = 0; i < call->n_inputs; ++i) {
    vonk_torch_tensor_delete(model->runtime, call->inputs[i]);
  }
  call->n_outputs = inner.n_outputs;
  return status == VONK_OK ? VONK_OK : fail(model, status, &message, err);
}

static void release_script(vonk_plugin_model *model) {
  const script_inside *inside = model->inside;
  inside->api->release(inside->module);
}

static vonk_status check_script(vonk_plugin_model *model, vonk_error *err) {
  script_file *file;
  VONK_TRY(vonk_kit_new(&model->arena, 1, sizeof *file, &file, err));
  VONK_TRY(vonk_torch_script_check(&model->archive, &model->arena, file, err));
  model->facts = file;
  return VONK_OK;
}

const torch_kind vonk_torch_script_kind = {"torchscript", check_script, open_script,
                                           run_script, release_script};
