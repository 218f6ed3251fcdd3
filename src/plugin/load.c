/* Loading one plug-in file.
 *
 * How it works: the file is opened with all its symbols bound at once (NOW: a missing one
 * is an error here, not a death later), for itself (LOCAL: its libraries' symbols bind
 * nobody else's), and is never unmapped (NODELETE: its threads may outlive us). Its entry
 * function fills a table in a larger block of ours, whose margin shows a plug-in that
 * writes more than it was told there is. What it filled is checked once and completed
 * with stubs, so that callers never test a function for NULL. Loading some libraries
 * changes the floating-point mode of the thread; it is put back. */
#define _POSIX_C_SOURCE 200809L

#include <dlfcn.h>
#include <fenv.h>
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "plugin/internal.h"

/* --- floating-point mode --- */

typedef struct float_mode {
  int rounding;
  bool flushes_results, flushes_inputs; /* denormal numbers become 0 */
} float_mode;

static float_mode read_float_mode(void) {
  volatile float smallest_normal = FLT_MIN, half = 0.5F, one = 1.0F;
  volatile float result = smallest_normal * half;
  volatile uint32_t denormal_bits = 1;
  volatile float denormal;
  uint32_t bits = denormal_bits;
  float value;
  memcpy(&value, &bits, sizeof(value));
  denormal = value;
  volatile float product = denormal * one;
  value = result;
  uint32_t result_bits, product_bits;
  memcpy(&result_bits, &value, sizeof(bits));
  value = product;
  memcpy(&product_bits, &value, sizeof(bits));
  return (float_mode){fegetround(), result_bits == 0, product_bits == 0};
}

static void restore_float_mode(const char *path, const fenv_t *environment,
                               float_mode before) {
  float_mode after = read_float_mode();
  fesetenv(environment);
  if (after.rounding != before.rounding ||
      after.flushes_results != before.flushes_results ||
      after.flushes_inputs != before.flushes_inputs) {
    vonk_log(VONK_LOG_WARNING, "plugin",
             "%s: loading it changed the floating-point mode of the thread, which was "
             "put back: "
             "build it, and the libraries it links, without -ffast-math",
             path);
  }
}

/* --- the entry function --- */

/* A shared object without our entry: is it a plug-in for another version of the
 * interface? */
static vonk_status fail_no_entry(void *handle, const char *path, vonk_error *err) {
  for (unsigned major = 0; major < 16; major++) {
    char symbol[32];
    snprintf(symbol, sizeof(symbol), "vonk_plugin_init_v%u", major);
    if (dlsym(handle, symbol) != NULL) {
      return vonk_fail(
          err, VONK_ABI,
          "%s: exports '%s', but this vonk looks for '%s': the plug-in is %s: %s", path,
          symbol, VONK_PLUGIN_ENTRY_V1, major < VONK_ABI_MAJOR ? "too old" : "too new",
          major < VONK_ABI_MAJOR ? "get one for this version of vonk"
                                 : "update vonk, or get an older one");
    }
  }
  return vonk_fail(
      err, VONK_ABI,
      "%s: does not export '%s': it is a shared library, but no vonk plug-in", path,
      VONK_PLUGIN_ENTRY_V1);
}

static vonk_status open_entry(const char *path, vonk_plugin_init_v1_fn *out,
                              vonk_error *err) {
  dlerror();
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == NULL) {
    const char *reason = dlerror();
    reason = reason == NULL ? "the loader gives no reason" : reason;
    size_t size = strlen(path);
    if (strncmp(reason, path, size) == 0 && strncmp(reason + size, ": ", 2) == 0) {
      reason += size + 2;
    }
    const char *hint = strstr(reason, "static TLS") != NULL
                           ? ": set GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4096"
                           : "";
    return vonk_fail(err, VONK_ABI, "%s: cannot be loaded: %s%s", path, reason, hint);
  }
  void *symbol = dlsym(handle, VONK_PLUGIN_ENTRY_V1);
  if (symbol == NULL) {
    return fail_no_entry(handle, path, err);
  }
  memcpy(out, &symbol, sizeof(symbol));
  return VONK_OK;
}

enum { MARGIN = 512, MARGIN_BYTE = 0xA5 };

static vonk_status call_entry(const char *path, vonk_plugin_init_v1_fn init,
                              vonk_plugin_v1 *out, vonk_error *err) {
  union {
    vonk_plugin_v1 table;
    uint8_t bytes[sizeof(vonk_plugin_v1) + MARGIN];
  } block;
  memset(&block, MARGIN_BYTE, sizeof(block));
  block.table = (vonk_plugin_v1){.struct_size = (uint32_t)sizeof(vonk_plugin_v1)};
  vonk_error reason = VONK_ERROR_INIT;
  vonk_status status = init(vonk_host_get(), &block.table, &reason);
  if (status != VONK_OK) {
    return vonk_fail(err, status, "%s: cannot work here: %s", path,
                     reason.message[0] == '\0' ? "it gives no reason" : reason.message);
  }
  for (size_t i = sizeof(vonk_plugin_v1); i < sizeof(block.bytes); i++) {
    if (block.bytes[i] != MARGIN_BYTE) {
      return vonk_fail(
          err, VONK_ABI,
          "%s: wrote beyond the %zu bytes of the table it was given: it is made "
          "for a newer vonk and does not look at struct_size",
          path, sizeof(vonk_plugin_v1));
    }
  }
  *out = block.table;
  return VONK_OK;
}

/* --- the table --- */

static vonk_status no_devices(vonk_device *out, uint32_t cap, uint32_t *n,
                              vonk_error *err) {
  (void)err;
  if (cap > 0) {
    out[0] = (vonk_device){VONK_DEVICE_CPU, 0};
  }
  *n = 1;
  return VONK_OK;
}

static void no_shutdown(void) {}

static bool is_name(const char *name) {
  return name != NULL && name[0] != '\0' &&
         name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static const char *missing_function(const vonk_plugin_v1 *table) {
  const struct {
    const char *name;
    bool there;
  } functions[] = {
      {"recognise", table->recognise != NULL},
      {"runtime", table->runtime != NULL},
      {"open_model", table->open_model != NULL},
      {"model_info", table->model_info != NULL},
      {"describe", table->describe != NULL},
      {"create_session", table->create_session != NULL},
      {"run", table->run != NULL},
      {"release_session", table->release_session != NULL},
      {"release_model", table->release_model != NULL},
  };
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    if (!functions[i].there) {
      return functions[i].name;
    }
  }
  return NULL;
}

static vonk_status check_size(const char *path, vonk_plugin_v1 *table, vonk_error *err) {
  size_t size = table->struct_size;
  if (size > sizeof(*table)) {
    return vonk_fail(
        err, VONK_ABI,
        "%s: says it filled %zu bytes of a table of %zu: it must fill at most "
        "what struct_size offers",
        path, size, sizeof(*table));
  }
  if (!VONK_HAS(table, release_model)) {
    return vonk_fail(
        err, VONK_ABI,
        "%s: filled only %zu bytes of its table of functions: expected at least "
        "%zu",
        path, size, offsetof(vonk_plugin_v1, shutdown));
  }
  memset((uint8_t *)table + size, 0, sizeof(*table) - size);
  return VONK_OK;
}

static vonk_status check_texts(const char *path, const vonk_plugin_v1 *table,
                               vonk_error *err) {
  if (!is_name(table->name)) {
    return vonk_fail(
        err, VONK_ABI, "%s: its name is %s%s%s: expected one of a-z, 0-9 and _", path,
        table->name == NULL ? "" : "'", table->name == NULL ? "missing" : table->name,
        table->name == NULL ? "" : "'");
  }
  if (table->version == NULL) {
    return vonk_fail(err, VONK_ABI, "%s: 'version' is not set", path);
  }
  if (table->formats == NULL || table->formats[0] == NULL) {
    return vonk_fail(err, VONK_ABI, "%s: 'formats' names no format", path);
  }
  if (table->options == NULL) {
    return vonk_fail(err, VONK_ABI,
                     "%s: 'options' is not set: expected a list that ends with key NULL",
                     path);
  }
  for (const vonk_kv *option = table->options; option->key != NULL; option++) {
    if (option->value == NULL) {
      return vonk_fail(err, VONK_ABI, "%s: option '%s' has no line of help", path,
                       option->key);
    }
  }
  return VONK_OK;
}

vonk_status vonk_plugin_load(const char *path, vonk_plugin_v1 *out, vonk_error *err) {
  fenv_t environment;
  fegetenv(&environment);
  float_mode before = read_float_mode();
  vonk_plugin_init_v1_fn init = NULL;
  vonk_plugin_v1 table;
  vonk_status status = open_entry(path, &init, err);
  if (status == VONK_OK) {
    status = call_entry(path, init, &table, err);
  }
  restore_float_mode(path, &environment, before);
  VONK_TRY(status);
  VONK_TRY(check_size(path, &table, err));
  const char *missing = missing_function(&table);
  if (missing != NULL) {
    return vonk_fail(err, VONK_ABI, "%s: function '%s' is missing from its table", path,
                     missing);
  }
  VONK_TRY(check_texts(path, &table, err));
  if (table.devices == NULL) {
    table.devices = no_devices;
  }
  if (table.shutdown == NULL) {
    table.shutdown = no_shutdown;
  }
  *out = table;
  return VONK_OK;
}
