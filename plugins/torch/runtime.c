/* Finding PyTorch, which is never linked, as the kit's library.c explains.
 *
 * libtorch_cpu.so brings libc10 and its own libgomp along from its own folder. Its C
 * functions, made for compiled models, are enough to wrap memory and to hand results
 * out; they also tell the version. The one runtime is made under a lock at the first need
 * and lives until the process ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "torch_plugin.h"

/* Two copies of any of these would end the process. */
static const char *const family[] = {"libtorch", "libc10", NULL};

static const kit_framework framework = {
    .name = "PyTorch",
    .soname = "libtorch_cpu.so",
    .variable = "VONK_TORCH_LIBRARY",
    .config_key = "torch",
    .symbol = "aoti_torch_get_data_ptr",
    .hint =
        "install it with 'make setup EXTRAS=torch', or pip install torch and set "
        "VONK_TORCH_LIBRARY to its lib/libtorch_cpu.so",
    .family = family,
};

typedef struct entry {
  const char *name;
  size_t offset;
} entry;

#define API(member) {"aoti_torch_" #member, offsetof(torch_api, member)}
static const entry entries[] = {
    API(abi_version),
    API(device_type_cpu),
    API(grad_mode_is_enabled),
    API(grad_mode_set_enabled),
    API(create_tensor_from_blob),
    API(empty_strided),
    {"aoti_torch_copy_", offsetof(torch_api, copy)},
    API(delete_tensor_object),
    API(get_data_ptr),
    API(get_dim),
    API(get_sizes),
    API(get_strides),
    API(get_dtype),
    API(get_device_type),
};
#undef API

static vonk_status take_api(torch_runtime *runtime, vonk_error *err) {
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; ++i) {
    void *symbol = dlsym(runtime->library, entries[i].name);
    if (symbol == NULL) {
      return vonk_kit_fail(err, VONK_UNSUPPORTED,
                           "PyTorch: '%s' has no %s: it is older than the versions vonk "
                           "knows: install torch 2.9 or newer",
                           runtime->path, entries[i].name);
    }
    memcpy((char *)&runtime->api + entries[i].offset, &symbol, sizeof symbol);
  }
  return VONK_OK;
}

/* Its OpenMP is found among what it brought along. */
static void take_thread_api(torch_runtime *runtime) {
  static const entry optional[] = {
      {"torch_get_num_threads", offsetof(torch_thread_api, torch_get_num_threads)},
      {"omp_get_max_threads", offsetof(torch_thread_api, omp_get_max_threads)},
      {"omp_set_num_threads", offsetof(torch_thread_api, omp_set_num_threads)},
      {"MKL_Set_Num_Threads_Local",
       offsetof(torch_thread_api, mkl_set_num_threads_local)},
  };
  for (size_t i = 0; i < sizeof optional / sizeof optional[0]; ++i) {
    void *symbol = dlsym(runtime->library, optional[i].name);
    memcpy((char *)&runtime->threads + optional[i].offset, &symbol, sizeof symbol);
  }
}

/* MKL, which is inside PyTorch, asks for the current folder while it is being loaded, and
 * ends the process if that has been deleted. */
static vonk_status check_folder(vonk_error *err) {
  char folder[PATH_MAX]; /* as large as MKL's */
  if (getcwd(folder, sizeof folder) != NULL ||
      dlopen(framework.soname, RTLD_NOW | RTLD_NOLOAD) != NULL) {
    return VONK_OK;
  }
  return vonk_kit_fail(err, VONK_UNSUPPORTED,
                       "PyTorch: the current folder of this process cannot be told (%s): "
                       "loading PyTorch would end the process: change to a folder that "
                       "exists",
                       strerror(errno));
}

static vonk_status start(torch_runtime *runtime, vonk_error *err) {
  VONK_TRY(check_folder(err));
  VONK_TRY(vonk_kit_framework_load(&framework, &runtime->library, &runtime->path, err));
  VONK_TRY(take_api(runtime, err));
  take_thread_api(runtime);
  uint64_t version = runtime->api.abi_version();
  runtime->major = (uint32_t)(version >> 56) & 0xff;
  runtime->minor = (uint32_t)(version >> 48) & 0xff;
  runtime->patch = (uint32_t)(version >> 40) & 0xff;
  static char text[40];
  snprintf(text, sizeof text, "%u.%u.%u", runtime->major, runtime->minor, runtime->patch);
  runtime->version = text;
  return VONK_OK;
}

static torch_runtime the_runtime;

static vonk_status start_once(vonk_error *err) {
  torch_runtime fresh = {0};
  VONK_TRY(start(&fresh, err));
  the_runtime = fresh;
  return VONK_OK;
}

vonk_status vonk_torch_runtime_get(const torch_runtime **out, vonk_error *err) {
  static kit_start once = KIT_START(start_once);
  VONK_TRY(vonk_kit_started(&once, err));
  *out = &the_runtime;
  return VONK_OK;
}
