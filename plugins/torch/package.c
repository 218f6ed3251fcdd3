/* AOTInductor packages: machine code that PyTorch compiled, run without any C++ of ours.
 *
 * The library in the package is put into a file that exists in memory only, sealed, and
 * loaded from there; it finds PyTorch by its SONAME. A library is never unloaded (it
 * could not be: it has C++ symbols of the whole process), so one that has been loaded is
 * kept by its content and used again.
 *
 * A container holds the weights once and as many models as may run at a time; a run
 * beyond that waits inside it.
 */
#define _GNU_SOURCE
#include "package.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HOW = RTLD_NOW | RTLD_LOCAL, MAX_MODELS = 64 };

/* --- loading ------------------------------------------------------------------------------ */

/* A loaded library. The list only grows, like the process's own. */
typedef struct loaded {
  struct loaded *next;
  uint32_t sum; /* three things that tell its content apart from any other's */
  size_t size;
  uint64_t hash;
  void *handle;
} loaded;

static pthread_mutex_t loaded_lock = PTHREAD_MUTEX_INITIALIZER;
static loaded *all_loaded;

static uint64_t hash_of(kit_slice bytes) { /* FNV-1a */
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < bytes.size; ++i) {
    hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001b3);
  }
  return hash;
}

static vonk_status write_all(const vonk_plugin_model *model, int fd, kit_slice bytes,
                             vonk_error *err) {
  for (size_t done = 0; done < bytes.size;) {
    ssize_t n = write(fd, bytes.data + done, bytes.size - done);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return vonk_kit_fail(err, VONK_NOMEM, "'%s': out of memory: %zu bytes were needed",
                           model->path, bytes.size);
    }
    done += (size_t)n;
  }
  return VONK_OK;
}

/* dlerror's words without the name that only this process has for the file. */
static vonk_status fail_load(const vonk_plugin_model *model, vonk_error *err) {
  const char *why = dlerror();
  const char *colon = why == NULL ? NULL : strstr(why, ": ");
  return vonk_kit_fail(err, VONK_UNSUPPORTED,
                       "'%s': does not fit PyTorch %s: %s: compile the package with this "
                       "version, or use the version it was compiled with",
                       model->path, model->runtime->version,
                       colon == NULL ? "it cannot be loaded" : colon + 2);
}

/* The descriptor stays open: libraries with large weights open themselves again, and the
 * loader tells libraries apart by names, which a number used twice would confuse. */
static vonk_status load_library(const vonk_plugin_model *model, kit_slice bytes,
                                void **out, vonk_error *err) {
  int fd = memfd_create("vonk-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) {
    return vonk_kit_fail(err, VONK_IO, "'%s': no file in memory can be made: %s",
                         model->path, strerror(errno));
  }
  vonk_status status = write_all(model, fd, bytes, err);
  if (status == VONK_OK) {
    char path[64];
    (void)fcntl(fd, F_ADD_SEALS,
                F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *out = dlopen(path, HOW);
    status = *out == NULL ? fail_load(model, err) : VONK_OK;
  }
  if (status != VONK_OK) {
    close(fd);
  }
  return status;
}

static vonk_status find_library(const vonk_plugin_model *model,
                                const package_facts *facts, void **out, vonk_error *err) {
  uint64_t hash = hash_of(facts->library);
  for (loaded *one = all_loaded; one != NULL; one = one->next) {
    if (one->sum == facts->library_sum && one->size == facts->library.size &&
        one->hash == hash) {
      *out = one->handle;
      return VONK_OK;
    }
  }
  loaded *fresh = malloc(sizeof *fresh); /* lives as long as the process */
  if (fresh == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *fresh);
  }
  vonk_status status = load_library(model, facts->library, out, err);
  if (status != VONK_OK) {
    free(fresh);
    return status;
  }
  vonk_torch_quiet(*out);
  *fresh = (loaded){all_loaded, facts->library_sum, facts->library.size, hash, *out};
  all_loaded = fresh;
  return VONK_OK;
}

typedef struct entry {
  const char *name;
  size_t offset;
  bool is_optional;
} entry;

static const entry entries[] = {
#define CONTAINER(name) "AOTInductorModelContainer" name
    {CONTAINER("CreateWithDevice"), offsetof(aoti_api, create_with_device), false},
    {CONTAINER("Delete"), offsetof(aoti_api, destroy), false},
    {CONTAINER("GetNumInputs"), offsetof(aoti_api, get_num_inputs), false},
    {CONTAINER("GetNumOutputs"), offsetof(aoti_api, get_num_outputs), false},
    {CONTAINER("GetCallSpec"), offsetof(aoti_api, get_call_spec), false},
    {CONTAINER("Run"), offsetof(aoti_api, run), false},
    {CONTAINER("GetNumConstants"), offsetof(aoti_api, get_num_constants), true},
    {CONTAINER("GetConstantDtype"), offsetof(aoti_api, get_constant_dtype), true},
    {CONTAINER("GetConstantDataSize"), offsetof(aoti_api, get_constant_data_size), true},
    {CONTAINER("GetConstantFromFolded"), offsetof(aoti_api, get_constant_from_folded),
     true},
    {CONTAINER("GetConstantsBlobSize"), offsetof(aoti_api, get_constants_blob_size),
     true},
    {"AOTInductorModelUpdateConstantsFromBlob",
     offsetof(aoti_api, update_constants_from_blob), true},
    {"AOTInductorGetLastError", offsetof(aoti_api, get_last_error), true},
#undef CONTAINER
};

static vonk_status take_api(const vonk_plugin_model *model, void *library, aoti_api *out,
                            vonk_error *err) {
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; ++i) {
    void *symbol = dlsym(library, entries[i].name);
    if (symbol == NULL && !entries[i].is_optional) {
      return vonk_kit_fail(err, VONK_MODEL,
                           "'%s': its library has no %s: compile the package with torch "
                           "2.9 or newer",
                           model->path, entries[i].name);
    }
    memcpy((char *)out + entries[i].offset, &symbol, sizeof symbol);
  }
  return VONK_OK;
}

/* --- a model -------------------------------------------------------------------------------- */

/* model->inside */
typedef struct package_inside {
  aoti_api api;
  aoti_container *container;
  void *weights; /* a copy of those that lie beside the library; else NULL */
  size_t n_inputs, n_outputs;
  const bool *is_written; /* the model writes into this input */
} package_inside;

static vonk_status fail(const vonk_plugin_model *model, const package_inside *inside,
                        vonk_status status, vonk_error *err) {
  const char *why = "";
  if (inside->api.get_last_error != NULL) {
    inside->api.get_last_error(&why);
  }
  return vonk_torch_fail(err, status, model->path, why == NULL ? "" : why);
}

/* A library whose weights lie beside it uses them where they are, so they are copied out
 * of the file, which goes. */
static vonk_status load_weights(const vonk_plugin_model *model,
                                const package_facts *facts, package_inside *inside,
                                vonk_error *err) {
  const aoti_api *api = &inside->api;
  uint64_t size = 0;
  if (facts->weights.size == 0) {
    return VONK_OK;
  }
  if (api->update_constants_from_blob == NULL || api->get_constants_blob_size == NULL ||
      api->get_constants_blob_size(inside->container, &size) != 0 ||
      size > facts->weights.size) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': its weights have %zu bytes where %" PRIu64 " are needed",
                         model->path, facts->weights.size, size);
  }
  enum { ALIGN = 64 };
  inside->weights = vonk_kit_alloc_aligned(facts->weights.size, ALIGN);
  if (inside->weights == NULL) {
    return vonk_kit_fail_nomem(err, facts->weights.size);
  }
  memcpy(inside->weights, facts->weights.data, facts->weights.size);
  return api->update_constants_from_blob(inside->container, inside->weights) == 0
             ? VONK_OK
             : fail(model, inside, VONK_MODEL, err);
}

static vonk_status create_container(const vonk_plugin_model *model,
                                    const package_facts *facts, package_inside *inside,
                                    vonk_error *err) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  size_t n_models = cores < 1 ? 1 : cores > MAX_MODELS ? MAX_MODELS : (size_t)cores;
  const aoti_api *api = &inside->api;
  if (api->create_with_device(&inside->container, n_models, "cpu", NULL) != 0 ||
      api->get_num_inputs(inside->container, &inside->n_inputs) != 0 ||
      api->get_num_outputs(inside->container, &inside->n_outputs) != 0) {
    return fail(model, inside, VONK_MODEL, err);
  }
  if (inside->n_inputs > UINT16_MAX || inside->n_outputs > UINT16_MAX) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "'%s': has too many inputs or outputs",
                         model->path);
  }
  return load_weights(model, facts, inside, err);
}

/* How many numbers constant i has, and their bytes; false if that cannot be told. The
 * library knows its size only with what it is padded with. */
static bool measure_constant(const package_facts *facts, const package_inside *inside,
                             size_t i, int64_t *numbers, int64_t *nbytes) {
  const aoti_api *api = &inside->api;
  int32_t dtype = 0;
  size_t padded = 0;
  bool is_folded = false;
  if (api->get_constant_dtype(inside->container, i, &dtype) != 0 ||
      api->get_constant_data_size(inside->container, i, &padded) != 0 ||
      (api->get_constant_from_folded != NULL &&
       api->get_constant_from_folded(inside->container, i, &is_folded) != 0)) {
    return false;
  }
  *numbers = *nbytes = 0;
  if (is_folded) {
    return true; /* the compiler made it of others */
  }
  const kit_dtype *row = vonk_kit_dtype(vonk_torch_dtype_of(dtype));
  int64_t width = row == NULL ? 1 : row->bytes;
  int64_t count = vonk_torch_source_constant(facts->source, i);
  if (count < 0 || count > (int64_t)padded / width) {
    count = (int64_t)padded / width;
  }
  bool is_float = dtype == ATEN_HALF || dtype == ATEN_BFLOAT16 || dtype == ATEN_FLOAT ||
                  dtype == ATEN_DOUBLE;
  *numbers = is_float ? count : 0;
  *nbytes = count * width;
  return true;
}

static void count_weights(vonk_plugin_model *model, const package_facts *facts,
                          const package_inside *inside) {
  const aoti_api *api = &inside->api;
  size_t n = 0;
  if (api->get_num_constants == NULL || api->get_constant_dtype == NULL ||
      api->get_constant_data_size == NULL ||
      api->get_num_constants(inside->container, &n) != 0) {
    return;
  }
  int64_t n_params = 0, total = 0;
  for (size_t i = 0; i < n; ++i) {
    int64_t numbers, nbytes;
    if (!measure_constant(facts, inside, i, &numbers, &nbytes)) {
      return;
    }
    n_params += numbers;
    total += nbytes;
  }
  model->info.n_params = n_params;
  model->info.weight_bytes = total;
}

/* Names come from the option, in the order of the inputs, or are those that arguments
 * given by name have, or input_0, input_1 and so on. */
static vonk_status name_input(vonk_plugin_model *model, uint32_t i, uint32_t n,
                              const char *const *keys, uint32_t n_keys, const char **out,
                              vonk_error *err) {
  if (model->n_wanted_inputs == n) {
    *out = model->wanted_inputs[i].name;
    return VONK_OK;
  }
  if (n_keys <= n && i >= n - n_keys) {
    *out = keys[i - (n - n_keys)];
    return VONK_OK;
  }
  char text[32];
  snprintf(text, sizeof text, "input_%" PRIu32, i);
  return vonk_kit_new_text(&model->arena, text, strlen(text), out, err);
}

static vonk_status make_inputs(vonk_plugin_model *model, const package_facts *facts,
                               package_inside *inside, const char *spec,
                               vonk_error *err) {
  uint32_t n = (uint32_t)inside->n_inputs, n_keys = 0;
  const char *const *keys = NULL;
  const uint32_t *chosen;
  torch_input *inputs;
  bool *is_written;
  VONK_TRY(vonk_torch_spec_keys(&model->arena, spec, true, &keys, &n_keys, err));
  VONK_TRY(vonk_kit_new(&model->arena, n, sizeof *inputs, &inputs, err));
  VONK_TRY(vonk_kit_new(&model->arena, n, sizeof *is_written, &is_written, err));
  for (uint32_t i = 0; i < n; ++i) {
    source_input found = vonk_torch_source_input(facts->source, i);
    is_written[i] = found.is_written;
    inputs[i] = (torch_input){.is_known = found.is_known,
                              .is_exact = found.is_known,
                              .spec = found.spec,
                              .number = i};
    VONK_TRY(name_input(model, i, n, keys, n_keys, &inputs[i].name, err));
  }
  inside->is_written = is_written;
  return vonk_torch_make_inputs(model, inputs, n, &chosen, err);
}

static vonk_status describe(vonk_plugin_model *model, const package_facts *facts,
                            package_inside *inside, vonk_error *err) {
  const char *in_spec = "", *out_spec = "";
  if (inside->api.get_call_spec(inside->container, &in_spec, &out_spec) != 0) {
    return fail(model, inside, VONK_MODEL, err);
  }
  vonk_kv *pairs;
  VONK_TRY(vonk_kit_new(&model->arena, 1, sizeof *pairs, &pairs, err));
  pairs[0] = (vonk_kv){"isa", facts->isa};
  model->info.metadata = pairs;
  model->info.n_metadata = 1;
  count_weights(model, facts, inside);
  VONK_TRY(make_inputs(model, facts, inside, in_spec, err));
  const char *const *keys = NULL;
  uint32_t n_keys = 0, n = (uint32_t)inside->n_outputs;
  VONK_TRY(vonk_torch_spec_keys(&model->arena, out_spec, false, &keys, &n_keys, err));
  return vonk_torch_make_outputs(model, n, n_keys == n ? keys : NULL, err);
}

static vonk_status check_package(vonk_plugin_model *model, vonk_error *err) {
  package_facts *facts;
  VONK_TRY(vonk_kit_new(&model->arena, 1, sizeof *facts, &facts, err));
  VONK_TRY(vonk_torch_package_check(model, facts, err));
  model->facts = facts;
  return VONK_OK;
}

static vonk_status open_package(vonk_plugin_model *model, vonk_error *err) {
  const package_facts *facts = model->facts;
  package_inside *inside;
  void *library = NULL;
  VONK_TRY(vonk_kit_new(&model->arena, 1, sizeof *inside, &inside, err));
  pthread_mutex_lock(&loaded_lock);
  vonk_status status = find_library(model, facts, &library, err);
  pthread_mutex_unlock(&loaded_lock);
  VONK_TRY(status);
  VONK_TRY(take_api(model, library, &inside->api, err));
  model->inside = inside;
  VONK_TRY(create_container(model, facts, inside, err));
  return describe(model, facts, inside, err);
}

/* --- running -------------------------------------------------------------------------------- */

/* The host's memory must not be written: such an input is copied. */
static vonk_status own_inputs(const vonk_plugin_model *model,
                              const package_inside *inside, torch_call *call,
                              vonk_error *err) {
  for (uint32_t i = 0; i < call->n_inputs; ++i) {
    if (inside->is_written[i]) {
      VONK_TRY(vonk_torch_tensor_copy(model->runtime, model->inputs[i].name,
                                      &call->inputs[i], err));
    }
  }
  return VONK_OK;
}

static vonk_status run_package(const vonk_plugin_model *model, torch_call *call,
                               vonk_error *err) {
  const package_inside *inside = model->inside;
  vonk_status status = own_inputs(model, inside, call, err);
  if (status == VONK_OK && inside->n_outputs > call->capacity) {
    status =
        vonk_kit_fail(err, VONK_UNSUPPORTED, "'%s': has too many outputs", model->path);
  }
  if (status != VONK_OK) {
    for (uint32_t i = 0; i < call->n_inputs; ++i) {
      vonk_torch_tensor_delete(model->runtime, call->inputs[i]);
    }
    return status;
  }
  if (inside->api.run(inside->container, call->inputs, call->n_inputs, call->outputs,
                      inside->n_outputs, NULL, NULL) != 0) {
    return fail(model, inside, VONK_BACKEND, err);
  }
  call->n_outputs = (uint32_t)inside->n_outputs;
  return VONK_OK;
}

static void release_package(vonk_plugin_model *model) {
  package_inside *inside = model->inside;
  if (inside->container != NULL) {
    inside->api.destroy(inside->container);
  }
  vonk_kit_free(inside->weights);
}

const torch_kind vonk_torch_package_kind = {"aotinductor", check_package, open_package,
                                            run_package, release_package};
