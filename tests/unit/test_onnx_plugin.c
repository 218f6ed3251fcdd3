/* The ONNX plug-in alone, through its interface, with a host of our own in between: no
 * part of the library is used. Results are compared with what the models of
 * tests/onnx/models.py do by definition; tests/python/test_onnx_plugin.py compares with
 * ONNX Runtime's own Python.
 *
 * The tests run in the order written, in one process whose home folder is empty: the
 * first is about a missing ONNX Runtime, the last looks at what all of it left behind. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "unit/unit.h"
#include "vonk/plugin.h"

#ifndef VONK_TEST_ONNXRUNTIME
#define VONK_TEST_ONNXRUNTIME NULL
#endif

enum { N_THREADS = 8, N_RUNS = 50 };

/* --- the host
 * ------------------------------------------------------------------------------ */

struct vonk_cancel {
  pthread_mutex_t lock;
  void (*stop)(void *arg);
  void *arg;
  int is_asked, n_stops;
};

static const char *library_path;
static char home[] = "/tmp/vonk_test_home_XXXXXX";
static vonk_plugin_v1 plugin;
static unsigned n_threads_before; /* 1, or 2 with the thread sanitizer's own */

static void *host_alloc(void *ctx, size_t size, size_t align) {
  (void)ctx;
  (void)align;
  return malloc(size == 0 ? 1 : size);
}

static void host_free(void *ctx, void *pointer) {
  (void)ctx;
  free(pointer);
}

static void host_log(void *ctx, int32_t level, const char *where, const char *message) {
  (void)ctx;
  (void)level;
  (void)where;
  (void)message;
}

static const char *host_config(void *ctx, const char *key) {
  (void)ctx;
  return strcmp(key, "onnxruntime") == 0 ? library_path : NULL;
}

static void call_stop(vonk_cancel *cancel) {
  if (cancel->stop != NULL && cancel->is_asked && cancel->n_stops++ == 0) {
    cancel->stop(cancel->arg);
  }
}

static void host_watch(void *ctx, vonk_cancel *cancel, void (*stop)(void *), void *arg) {
  (void)ctx;
  pthread_mutex_lock(&cancel->lock);
  cancel->stop = stop;
  cancel->arg = arg;
  cancel->n_stops = 0;
  call_stop(cancel);
  pthread_mutex_unlock(&cancel->lock);
}

static void ask(vonk_cancel *cancel) {
  pthread_mutex_lock(&cancel->lock);
  cancel->is_asked = 1;
  call_stop(cancel);
  pthread_mutex_unlock(&cancel->lock);
}

static const vonk_host host = {
    .struct_size = (uint32_t)sizeof host,
    .alloc = host_alloc,
    .free = host_free,
    .log = host_log,
    .config = host_config,
    .watch_cancel = host_watch,
};

/* --- helpers
 * ------------------------------------------------------------------------------- */

typedef struct opened {
  vonk_plugin_model *model;
  vonk_plugin_session *session;
} opened;

static vonk_error clean(void) { return (vonk_error){.struct_size = sizeof(vonk_error)}; }

#define assert_ok(call)                                          \
  do {                                                           \
    vonk_error error_ = clean(), *err = &error_;                 \
    vonk_status status_ = (call);                                \
    if (status_ != VONK_OK) {                                    \
      fail_msg("status %" PRId32 ": %s", status_, err->message); \
    }                                                            \
  } while (0)

static const char *data_path(const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/onnx/%s", VONK_TEST_DATA, name);
  return path;
}

static opened open_model(const char *name) {
  opened it = {0};
  const vonk_device cpu = {VONK_DEVICE_CPU, 0};
  assert_ok(plugin.open_model(data_path(name), NULL, 0, &it.model, err));
  assert_ok(plugin.create_session(it.model, cpu, 1, &it.session, err));
  return it;
}

static void close_model(opened it) {
  plugin.release_session(it.session);
  plugin.release_model(it.model);
}

static vonk_tensor tensor_of(vonk_dtype dtype, const int64_t *shape, int32_t rank,
                             void *data, uint64_t nbytes) {
  return (vonk_tensor){.struct_size = sizeof(vonk_tensor),
                       .dtype = dtype,
                       .rank = rank,
                       .shape = shape,
                       .data = data,
                       .nbytes = nbytes,
                       .device = {VONK_DEVICE_CPU, 0}};
}

static vonk_status run(opened it, const vonk_tensor *const *inputs, uint32_t n_inputs,
                       vonk_tensor *const *outputs, uint32_t n_outputs,
                       vonk_cancel *cancel, vonk_error *err) {
  const vonk_run call = {.struct_size = sizeof call,
                         .n_inputs = n_inputs,
                         .n_outputs = n_outputs,
                         .threads = 1,
                         .inputs = inputs,
                         .outputs = outputs,
                         .cancel = cancel,
                         .host = &host};
  return plugin.run(it.session, &call, err);
}

/* One input, one output. */
static vonk_status run_one(opened it, const vonk_tensor *in, vonk_tensor *out,
                           vonk_cancel *cancel, vonk_error *err) {
  return run(it, &in, 1, &out, 1, cancel, err);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static unsigned count_entries(const char *folder) {
  unsigned count = 0;
  DIR *directory = opendir(folder);
  assert_non_null(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  }
  closedir(directory);
  return count;
}

/* --- the runtime
 * --------------------------------------------------------------------------- */

static void missing_runtime_names_every_place_searched(void **state) {
  (void)state;
  vonk_error err = clean();
  const char *version, *path;
  library_path = NULL;
  assert_int_equal(plugin.runtime(&version, &path, &err), VONK_UNSUPPORTED);
  assert_string_equal(
      err.message,
      "ONNX Runtime: not found: no libonnxruntime.so.1 is loaded in this process, "
      "VONK_ONNXRUNTIME_LIBRARY is not set, and set-up recorded no 'onnxruntime': pip "
      "install "
      "onnxruntime, then set VONK_ONNXRUNTIME_LIBRARY to its capi/libonnxruntime.so.* or "
      "run "
      "vonk's set-up");
  setenv("VONK_ONNXRUNTIME_LIBRARY", "relative/libonnxruntime.so.1", 1);
  assert_int_equal(plugin.runtime(&version, &path, &err), VONK_UNSUPPORTED);
  assert_string_equal(err.message,
                      "ONNX Runtime: VONK_ONNXRUNTIME_LIBRARY says "
                      "'relative/libonnxruntime.so.1': give an absolute path");
  unsetenv("VONK_ONNXRUNTIME_LIBRARY");
  library_path = "/nowhere/libonnxruntime.so.1";
  assert_int_equal(plugin.runtime(&version, &path, &err), VONK_UNSUPPORTED);
  assert_non_null(strstr(err.message, "set-up's record 'onnxruntime' says '/nowhere/"));
  assert_non_null(strstr(err.message, "cannot open shared object file"));
  library_path = VONK_TEST_ONNXRUNTIME;
}

static void runtime_tells_version_and_path(void **state) {
  (void)state;
  const char *version = NULL, *path = NULL;
  assert_ok(plugin.runtime(&version, &path, err));
  char expected[4096];
  assert_non_null(realpath(library_path, expected));
  assert_string_equal(path, expected);
  assert_true(version[0] >= '1' && version[0] <= '9' && version[1] == '.');
  assert_string_equal(getenv("ORT_DISABLE_TELEMETRY"), "1");
}

static void another_device_is_an_error_not_the_cpu(void **state) {
  (void)state;
  opened it = open_model("mlp.onnx");
  vonk_device devices[4];
  uint32_t n = 0;
  assert_ok(plugin.devices(devices, 4, &n, err));
  assert_int_equal(devices[0].kind, VONK_DEVICE_CPU);
  vonk_plugin_session *session = NULL;
  vonk_error err = clean();
  const vonk_device rocm = {VONK_DEVICE_ROCM, 1}, vulkan = {7, 0};
  assert_int_equal(plugin.create_session(it.model, rocm, 1, &session, &err), VONK_DEVICE);
  assert_non_null(strstr(err.message, "device 'rocm:1': ONNX Runtime "));
  assert_non_null(strstr(err.message,
                         "was built without ROCMExecutionProvider: install "
                         "onnxruntime-rocm and point vonk to it, or use "
                         "device='cpu'"));
  assert_int_equal(plugin.create_session(it.model, vulkan, 1, &session, &err),
                   VONK_DEVICE);
  assert_null(session);
  close_model(it);
}

static uint32_t mxcsr(void) {
#if defined(__x86_64__)
  return __builtin_ia32_stmxcsr();
#else
  return 0;
#endif
}

static void floating_point_mode_stays(void **state) {
  (void)state;
  uint32_t before = mxcsr();
  opened it = open_model("mlp.onnx");
  float x[8] = {0.1f, 0.2f, 0.3f, 0.4f, 1e-40f, 3.3f, 7.7f, 1e30f}, y[6];
  const int64_t in_shape[] = {2, 4}, out_shape[] = {2, 3};
  vonk_tensor in = tensor_of(VONK_F32, in_shape, 2, x, sizeof x);
  vonk_tensor out = tensor_of(VONK_F32, out_shape, 2, y, sizeof y);
  assert_ok(run_one(it, &in, &out, NULL, err));
  close_model(it);
  assert_int_equal(mxcsr(), before);
}

/* --- runs
 * ---------------------------------------------------------------------------------- */

static void outputs_are_written_where_the_host_says(void **state) {
  (void)state;
  opened it = open_model("gather.onnx");
  int64_t index[5] = {3, 0, 9, 9, -1};
  const float expected[5] = {3, 0, 9, 9, 9};
  float y[6] = {-1, -1, -1, -1, -1, -1};
  const int64_t shape[] = {5};
  vonk_tensor in = tensor_of(VONK_I64, shape, 1, index, sizeof index);
  vonk_tensor out = tensor_of(VONK_F32, shape, 1, y, sizeof expected);
  assert_ok(run_one(it, &in, &out, NULL, err));
  assert_ptr_equal(out.data, y);
  assert_null(out.release);
  assert_memory_equal(y, expected, sizeof expected);
  assert_true(y[5] == -1.0f);
  close_model(it);
}

static void outputs_without_memory_are_handed_over(void **state) {
  (void)state;
  opened it = open_model("gather.onnx");
  int64_t index[3] = {7, 1, 4};
  const float expected[3] = {7, 1, 4};
  const int64_t shape[] = {3};
  vonk_tensor in = tensor_of(VONK_I64, shape, 1, index, sizeof index);
  vonk_tensor out = {.struct_size = sizeof out};
  assert_ok(run_one(it, &in, &out, NULL, err));
  plugin.release_session(it.session); /* the output outlives it */
  assert_int_equal(out.dtype, VONK_F32);
  assert_int_equal(out.rank, 1);
  assert_int_equal(out.shape[0], 3);
  assert_int_equal(out.nbytes, sizeof expected);
  assert_memory_equal(out.data, expected, sizeof expected);
  assert_non_null(out.release);
  out.release(&out);
  assert_null(out.release);
  plugin.release_model(it.model);
}

static void an_output_never_points_into_an_input(void **state) {
  (void)state;
  opened it = open_model("constant_output.onnx");
  float x[4] = {1, 2, 3, 4};
  const float k[3] = {1, 2, 3};
  const int64_t shape[] = {4};
  vonk_tensor in = tensor_of(VONK_F32, shape, 1, x, sizeof x);
  const vonk_tensor *inputs[] = {&in};
  vonk_tensor out[3] = {{.struct_size = sizeof *out},
                        {.struct_size = sizeof *out},
                        {.struct_size = sizeof *out}};
  vonk_tensor *outputs[] = {&out[0], &out[1], &out[2]};
  assert_ok(run(it, inputs, 1, outputs, 3, NULL, err));
  for (int i = 0; i < 2; ++i) {
    const float *data = out[i].data;
    assert_memory_equal(data, x, sizeof x);
    assert_true(data + 4 <= x || data >= x + 4);
  }
  plugin.release_session(
      it.session); /* a constant of the model stays as long as it is held */
  assert_memory_equal(out[2].data, k, sizeof k);
  assert_true((out[2].flags & VONK_READONLY) != 0);
  for (int i = 0; i < 3; ++i) {
    out[i].release(&out[i]);
  }
  plugin.release_model(it.model);
}

static void several_inputs_and_only_the_wanted_outputs(void **state) {
  (void)state;
  opened it = open_model("two_sided.onnx");
  float a[4] = {1, 2, 3, 4}, b[4] = {10, 20, 30, 40}, total[4];
  int64_t id[2] = {5, INT64_MAX - 1}, next[2], width[2] = {-7, -7};
  const float sums[4] = {11, 22, 33, 44};
  const int64_t wide[] = {2, 2}, narrow[] = {2};
  vonk_tensor in[] = {tensor_of(VONK_F32, wide, 2, a, sizeof a),
                      tensor_of(VONK_F32, wide, 2, b, sizeof b),
                      tensor_of(VONK_I64, narrow, 1, id, sizeof id)};
  const vonk_tensor *inputs[] = {&in[0], &in[1], &in[2]};
  vonk_tensor out[] = {tensor_of(VONK_F32, wide, 2, total, sizeof total),
                       tensor_of(VONK_I64, narrow, 1, next, sizeof next)};
  vonk_tensor *outputs[] = {&out[0], &out[1], NULL};
  assert_ok(run(it, inputs, 3, outputs, 3, NULL, err));
  assert_memory_equal(total, sums, sizeof sums);
  assert_int_equal(next[0], 6);
  assert_true(next[1] == INT64_MAX);
  assert_int_equal(width[0], -7);
  vonk_tensor *nothing[] = {NULL, NULL, NULL};
  assert_ok(run(it, inputs, 3, nothing, 3, NULL, err));
  close_model(it);
}

static void no_rows_give_no_rows(void **state) {
  (void)state;
  opened it = open_model("mlp.onnx");
  const int64_t shape[] = {0, 4};
  vonk_tensor in = tensor_of(VONK_F32, shape, 2, NULL, 0),
              out = {.struct_size = sizeof out};
  assert_ok(run_one(it, &in, &out, NULL, err));
  assert_int_equal(out.rank, 2);
  assert_int_equal(out.shape[0], 0);
  assert_int_equal(out.shape[1], 3);
  assert_null(out.data);
  assert_int_equal(out.nbytes, 0);
  out.release(&out);
  close_model(it);
}

static void strings_keep_their_bytes(void **state) {
  (void)state;
  opened it = open_model("identity_string.onnx");
  char bytes[] = "skip|spark\0le|\xc3\xa9|\xff";
  const int32_t offsets[] = {5, 13, 13, 16, 17, 17, 17};
  const int64_t shape[] = {2, 3};
  vonk_tensor in = tensor_of(VONK_BYTES, shape, 2, bytes, 17),
              out = {.struct_size = sizeof out};
  in.offsets = offsets;
  assert_ok(run_one(it, &in, &out, NULL, err));
  assert_int_equal(out.dtype, VONK_BYTES);
  for (int i = 0; i < 6; ++i) {
    int32_t expected = offsets[i + 1] - offsets[i],
            found = out.offsets[i + 1] - out.offsets[i];
    assert_int_equal(found, expected);
    assert_memory_equal((char *)out.data + out.offsets[i], bytes + offsets[i],
                        (size_t)expected);
  }
  assert_int_equal(out.nbytes, 12);
  out.release(&out);
  close_model(it);
}

static void half_floats_keep_their_bits(void **state) {
  (void)state;
  opened it = open_model("identity_f16.onnx");
  uint16_t x[6] = {0x3c00, 0x0001, 0x7bff, 0xfc00, 0x7e01, 0x8000}, y[6] = {0};
  const int64_t shape[] = {2, 3};
  vonk_tensor in = tensor_of(VONK_F16, shape, 2, x, sizeof x);
  vonk_tensor out = tensor_of(VONK_F16, shape, 2, y, sizeof y);
  assert_ok(run_one(it, &in, &out, NULL, err));
  assert_memory_equal(y, x, sizeof x);
  close_model(it);
}

/* --- errors
 * -------------------------------------------------------------------------------- */

static void wrong_inputs_are_named(void **state) {
  (void)state;
  opened it = open_model("mlp.onnx");
  float x[64] = {0}, y[6];
  const int64_t five[] = {2, 5}, four[] = {2, 4}, cube[] = {1, 2, 4}, minus[] = {-2, 4};
  const int64_t result[] = {2, 3};
  const struct {
    vonk_tensor in;
    const char *message;
  } wrong[] = {
      {tensor_of(VONK_F32, five, 2, x, 40),
       "input 'x': has shape [2, 5]: the model wants [n, 4]"},
      {tensor_of(VONK_F32, cube, 3, x, 32),
       "input 'x': has shape [1, 2, 4]: the model wants [n, 4]"},
      {tensor_of(VONK_F32, minus, 2, x, 32),
       "input 'x': has shape [-2, 4]: the model wants [n, 4]"},
      {tensor_of(VONK_F64, four, 2, x, 64), "input 'x': is f64: the model wants f32"},
      {tensor_of(VONK_F32, four, 2, x, 31),
       "input 'x': has 31 bytes: its 8 elements of f32 need more"},
      {tensor_of(VONK_F32, four, 9, x, 32), "input 'x': has rank 9: 0 to 8 are possible"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    vonk_tensor out = tensor_of(VONK_F32, result, 2, y, sizeof y);
    vonk_error err = clean();
    assert_int_equal(run_one(it, &wrong[i].in, &out, NULL, &err), VONK_INVALID);
    assert_string_equal(err.message, wrong[i].message);
  }
  close_model(it);
}

static void a_failing_run_says_why_and_prints_nothing(void **state) {
  (void)state;
  opened it = open_model("gather.onnx");
  int64_t index[2] = {1, 1000};
  const int64_t shape[] = {2};
  vonk_tensor in = tensor_of(VONK_I64, shape, 1, index, sizeof index);
  vonk_tensor out = {.struct_size = sizeof out};
  FILE *file = tmpfile();
  assert_non_null(file);
  fflush(stderr);
  int saved = dup(2);
  dup2(fileno(file), 2);
  vonk_error err = clean(), open_err = clean();
  vonk_status status = run_one(it, &in, &out, NULL, &err);
  vonk_plugin_model *none = NULL;
  char path[4096];
  snprintf(path, sizeof path, "%s", __FILE__);
  vonk_status open_status = plugin.open_model(path, NULL, 0, &none, &open_err);
  fflush(stderr);
  dup2(saved, 2);
  close(saved);
  fseek(file, 0, SEEK_END);
  assert_int_equal(ftell(file), 0);
  fclose(file);
  assert_int_equal(status, VONK_BACKEND);
  assert_int_equal(err.native_code, 2);
  assert_non_null(strstr(err.message, "Gather"));
  assert_non_null(
      strstr(err.message, "idx=1000 must be within the inclusive range [-10,9]"));
  assert_null(strstr(err.message, ".cc"));
  assert_null(strstr(err.message, ".h:"));
  assert_null(out.release);
  assert_int_not_equal(open_status, VONK_OK);
  close_model(it);
}

static void a_shape_other_than_the_hosts_is_an_error(void **state) {
  (void)state;
  opened it = open_model("mlp.onnx");
  float x[8] = {0}, y[9];
  const int64_t in_shape[] = {2, 4}, out_shape[] = {3, 3};
  vonk_tensor in = tensor_of(VONK_F32, in_shape, 2, x, sizeof x);
  vonk_tensor out = tensor_of(VONK_F32, out_shape, 2, y, sizeof y);
  vonk_error err = clean();
  assert_int_equal(run_one(it, &in, &out, NULL, &err), VONK_BACKEND);
  assert_non_null(strstr(err.message, "'y'"));
  assert_non_null(strstr(err.message, "{3,3}"));
  assert_non_null(strstr(err.message, "{2,3}"));
  close_model(it);
}

/* --- cancel
 * -------------------------------------------------------------------------------- */

static void *ask_soon(void *arg) {
  const struct timespec wait = {.tv_nsec = 100000000};
  nanosleep(&wait, NULL);
  ask(arg);
  return NULL;
}

static void a_long_run_is_cancelled_within_a_second(void **state) {
  (void)state;
  opened it = open_model("chain.onnx");
  const int64_t rows = 2000000, shape[] = {rows, 24}; /* 3 s in all */
  size_t nbytes = (size_t)rows * 24 * sizeof(float);
  float *x = calloc(1, nbytes);
  assert_non_null(x);
  vonk_tensor in = tensor_of(VONK_F32, shape, 2, x, nbytes),
              out = {.struct_size = sizeof out};
  vonk_cancel cancel = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t thread;
  double start = seconds();
  assert_int_equal(pthread_create(&thread, NULL, ask_soon, &cancel), 0);
  vonk_error error = clean();
  vonk_status status = run_one(it, &in, &out, &cancel, &error);
  double wall = seconds() - start;
  pthread_join(thread, NULL);
  if (status != VONK_CANCELLED) {
    fail_msg("status %d after %.2f s: %s", status, wall, error.message);
  }
  assert_int_equal(error.code, VONK_CANCELLED);
  assert_non_null(strstr(error.message, "cancelled"));
  if (wall > 1.1) {
    fail_msg("asked after 0.1 s, came back after %.2f s", wall);
  }
  assert_null(cancel.stop); /* no longer watched */
  /* One that was asked before never starts; the session still works. */
  assert_int_equal(run_one(it, &in, &out, &cancel, &error), VONK_CANCELLED);
  in.shape = (const int64_t[]){3, 24};
  in.nbytes = sizeof(float[3][24]);
  assert_ok(run_one(it, &in, &out, NULL, err));
  assert_int_equal(out.shape[0], 3);
  out.release(&out);
  free(x);
  close_model(it);
}

/* --- threads
 * ------------------------------------------------------------------------------- */

typedef struct worker {
  opened it;
  int64_t first;
  char failure[256];
} worker;

static void *run_often(void *arg) {
  worker *self = arg;
  int64_t index[7];
  float y[7];
  const int64_t shape[] = {7};
  for (int i = 0; i < N_RUNS; ++i) {
    for (int j = 0; j < 7; ++j) {
      index[j] = (self->first + i + j) % 10;
    }
    vonk_tensor in = tensor_of(VONK_I64, shape, 1, index, sizeof index);
    vonk_tensor out = tensor_of(VONK_F32, shape, 1, y, sizeof y);
    vonk_error err = clean();
    if (run_one(self->it, &in, &out, NULL, &err) != VONK_OK) {
      snprintf(self->failure, sizeof self->failure, "%.200s", err.message);
      return NULL;
    }
    for (int j = 0; j < 7; ++j) {
      if (y[j] != (float)index[j]) {
        snprintf(self->failure, sizeof self->failure, "run %d: %g, not %" PRId64, i,
                 (double)y[j], index[j]);
      }
    }
  }
  return NULL;
}

static void one_session_runs_in_eight_threads_at_a_time(void **state) {
  (void)state;
  opened it = open_model("gather.onnx");
  pthread_t threads[N_THREADS];
  worker workers[N_THREADS];
  for (int i = 0; i < N_THREADS; ++i) {
    workers[i] = (worker){.it = it, .first = i};
    assert_int_equal(pthread_create(&threads[i], NULL, run_often, &workers[i]), 0);
  }
  for (int i = 0; i < N_THREADS; ++i) {
    pthread_join(threads[i], NULL);
    assert_string_equal(workers[i].failure, "");
  }
  close_model(it);
}

static void nothing_is_left_behind(void **state) {
  (void)state;
  assert_int_equal(count_entries(home), 0);
  assert_int_equal(count_entries("/proc/self/task"), n_threads_before);
}

/* --- set-up
 * -------------------------------------------------------------------------------- */

static void *do_nothing(void *arg) { return arg; }

/* The thread sanitizer may start its thread with the first one of ours. */
static int count_threads(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, do_nothing, NULL) != 0) {
    return 1;
  }
  pthread_join(thread, NULL);
  n_threads_before = count_entries("/proc/self/task");
  return n_threads_before > 2;
}

static int load_plugin(void) {
  void *library = dlopen(VONK_PLUGIN_DIR "/vonk_onnx.so", RTLD_NOW | RTLD_LOCAL);
  void *symbol = library == NULL ? NULL : dlsym(library, VONK_PLUGIN_ENTRY_V1);
  if (symbol == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  vonk_plugin_init_v1_fn init;
  memcpy(&init, &symbol, sizeof symbol);
  vonk_error err = clean();
  plugin.struct_size = sizeof plugin;
  if (init(&host, &plugin, &err) != VONK_OK) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  return 0;
}

int main(void) {
  if ((const char *)VONK_TEST_ONNXRUNTIME == NULL) {
    puts("no ONNX Runtime was found when this was configured: run 'make setup'");
    return 1;
  }
  if (mkdtemp(home) == NULL || setenv("HOME", home, 1) != 0 ||
      setenv("XDG_CACHE_HOME", home, 1) != 0 || unsetenv("ORT_DISABLE_TELEMETRY") != 0 ||
      unsetenv("VONK_ONNXRUNTIME_LIBRARY") != 0 || count_threads() != 0 ||
      load_plugin() != 0) {
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(missing_runtime_names_every_place_searched),
      cmocka_unit_test(runtime_tells_version_and_path),
      cmocka_unit_test(another_device_is_an_error_not_the_cpu),
      cmocka_unit_test(floating_point_mode_stays),
      cmocka_unit_test(outputs_are_written_where_the_host_says),
      cmocka_unit_test(outputs_without_memory_are_handed_over),
      cmocka_unit_test(an_output_never_points_into_an_input),
      cmocka_unit_test(several_inputs_and_only_the_wanted_outputs),
      cmocka_unit_test(no_rows_give_no_rows),
      cmocka_unit_test(strings_keep_their_bytes),
      cmocka_unit_test(half_floats_keep_their_bits),
      cmocka_unit_test(wrong_inputs_are_named),
      cmocka_unit_test(a_failing_run_says_why_and_prints_nothing),
      cmocka_unit_test(a_shape_other_than_the_hosts_is_an_error),
      cmocka_unit_test(a_long_run_is_cancelled_within_a_second),
      cmocka_unit_test(one_session_runs_in_eight_threads_at_a_time),
      cmocka_unit_test(nothing_is_left_behind),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(home);
  return failed;
}
