/* The mock plug-in, from which every file here is made: a facet includes this header,
 * fills the table with mock_fill and replaces what it wants to be wrong. Its models are
 * text files, one statement a line, "#" starting a comment:
 *
 *   input NAME DTYPE DIM...            DIM: a number; -1, free; a word, free and with
 * that name; "?" alone, rank unknown output NAME = OP INPUT             dtype and shape
 * follow from the op output NAME DTYPE DIM... = OP INPUT   declared; numbers are
 * converted, and free dims filled from the data fail INPUT VALUE                   a run
 * fails (VONK_BACKEND, "row value 13 is refused") if a row's first element equals
 *   fail_rows N                        a run fails if it has more than N rows
 * (VONK_NOMEM) sleep_ms N                         each run lasts N ms more; a request to
 * stop ends it deaf                               requests to stop are not listened to
 *   params N / weight_bytes N / producer TEXT / metadata KEY VALUE     what model_info
 * tells
 *
 * DTYPE: f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool string.
 * OP:    copy    the input's elements, any dtype; with declared dims, in that shape
 *        sum     of each row's elements: [rows], f32 for f16, bf16 and f32, f64 for f64,
 * else i64 rows    for each row, how many rows its run had: [rows] i64 length  for each
 * row, how many elements it has: [rows] i64 short   like copy, but a row too few: a
 * plug-in that lies A first dim that is a number is a fixed batch: a run of another
 * number of rows fails. Files are named *.mock, or begin with "# vonk mock"; a folder
 * with a file model.mock is a model, too. Option: scale, a factor for the floats of copy
 * and sum. */
#ifndef VONK_MOCK_H
#define VONK_MOCK_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "counters.h"
#include "dtypes.h"
#include "vonk/plugin.h"

/* --- state -------------------------------------------------------------------------- */

static struct {
  _Atomic int64_t models, live_models, sessions, live_sessions, outputs, live_outputs,
      runs, failed_runs, rows, largest_run, running, most_running, preallocated, stopped,
      shutdowns;
  _Atomic uintptr_t last_input;
} mock_count;

VONK_PLUGIN_EXPORT void mock_counters_read(mock_counters *out);
VONK_PLUGIN_EXPORT void mock_counters_read(mock_counters *out) {
  *out = (mock_counters){
      mock_count.models,        mock_count.live_models, mock_count.sessions,
      mock_count.live_sessions, mock_count.outputs,     mock_count.live_outputs,
      mock_count.runs,          mock_count.failed_runs, mock_count.rows,
      mock_count.largest_run,   mock_count.running,     mock_count.most_running,
      mock_count.preallocated,  mock_count.stopped,     mock_count.shutdowns,
      mock_count.last_input,
  };
}

static void mock_raise(_Atomic int64_t *most, int64_t value) {
  int64_t now = atomic_load(most);
  while (value > now && !atomic_compare_exchange_weak(most, &now, value)) {
  }
}

/* The first host that came: its functions stay valid, whichever copy of vonk calls. */
static const vonk_host *_Atomic mock_host;

static void *mock_alloc(size_t size) {
  const vonk_host *host = mock_host;
  return host->alloc(host->ctx, size, 0);
}

static void mock_free(void *pointer) {
  const vonk_host *host = mock_host;
  host->free(host->ctx, pointer);
}

static vonk_status mock_fail(vonk_error *err, vonk_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static vonk_status mock_fail(vonk_error *err, vonk_status code, const char *format, ...) {
  if (err != NULL) {
    va_list args;
    va_start(args, format);
    err->code = code;
    err->native_code = 0;
    err->row = -1;
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
  }
  return code;
}

#include "model.h"

/* --- the table's functions: models -------------------------------------------------- */

static int32_t mock_recognise(const char *path, const uint8_t *head, size_t n_head) {
  static const char mark[] = "# vonk mock";
  size_t size = strlen(path);
  if (head == NULL) {
    char inner[4096];
    return mock_in_folder(path, inner) ? 2 : 0;
  }
  if (n_head >= sizeof(mark) - 1 && memcmp(head, mark, sizeof(mark) - 1) == 0) {
    return 2;
  }
  return size >= 5 && strcmp(path + size - 5, ".mock") == 0;
}

static vonk_status mock_runtime(const char **version, const char **path,
                                vonk_error *err) {
  (void)err;
  *version = "1.0";
  *path = "built in";
  return VONK_OK;
}

static void mock_release_model(vonk_plugin_model *model) {
  if (model != NULL) {
    mock_free(model);
    mock_count.live_models--;
  }
}

static vonk_status mock_set_options(vonk_plugin_model *model, const vonk_kv *options,
                                    size_t n, vonk_error *err) {
  for (size_t i = 0; i < n; i++) {
    char *end = NULL;
    if (strcmp(options[i].key, "scale") != 0) {
      return mock_fail(err, VONK_INVALID, "option '%s': not known: expected 'scale'",
                       options[i].key);
    }
    model->scale = strtod(options[i].value, &end);
    if (end == options[i].value || *end != '\0') {
      return mock_fail(err, VONK_INVALID, "option 'scale': is '%s': expected a number",
                       options[i].value);
    }
  }
  return VONK_OK;
}

/* Opens what lies at path, or files in memory if they are given. */
static vonk_status mock_open(const char *path, const vonk_files *files,
                             const vonk_kv *options, size_t n_options,
                             vonk_plugin_model **out, vonk_error *err) {
  vonk_plugin_model *model = mock_alloc(sizeof(*model));
  if (model == NULL) {
    return mock_fail(err, VONK_NOMEM, "%s: no memory", path);
  }
  memset(model, 0, sizeof(*model));
  model->n_params = model->weight_bytes = -1;
  model->fail_rows = INT64_MAX;
  model->scale = 1.0;
  vonk_status status = mock_set_options(model, options, n_options, err);
  if (status == VONK_OK) {
    status =
        files == NULL ? mock_read(model, path, err) : mock_read_files(model, files, err);
  }
  if (status == VONK_OK) {
    status = mock_parse(model, path, err);
  }
  mock_count.live_models++;
  if (status != VONK_OK) {
    mock_release_model(model);
    return status;
  }
  mock_count.models++;
  *out = model;
  return VONK_OK;
}

static vonk_status mock_open_model(const char *path, const vonk_kv *options,
                                   size_t n_options, vonk_plugin_model **out,
                                   vonk_error *err) {
  return mock_open(path, NULL, options, n_options, out, err);
}

/* For facets that take files in memory; mock_fill leaves it out. */
static vonk_status mock_open_files(const vonk_files *files, const vonk_kv *options,
                                   size_t n_options, vonk_plugin_model **out,
                                   vonk_error *err) __attribute__((unused));
static vonk_status mock_open_files(const vonk_files *files, const vonk_kv *options,
                                   size_t n_options, vonk_plugin_model **out,
                                   vonk_error *err) {
  return mock_open(files->path, files, options, n_options, out, err);
}

static vonk_status mock_model_info(const vonk_plugin_model *model, vonk_model_info *out,
                                   vonk_error *err) {
  (void)err;
  uint32_t size = out->struct_size;
  *out = (vonk_model_info){
      .struct_size = size,
      .n_inputs = model->n_inputs,
      .n_outputs = model->n_outputs,
      .n_metadata = model->n_metadata,
      .n_params = model->n_params,
      .weight_bytes = model->weight_bytes,
      .format = "mock",
      .producer = model->producer,
      .metadata = model->metadata,
  };
  return VONK_OK;
}

static vonk_status mock_describe(const vonk_plugin_model *model, int32_t is_output,
                                 uint32_t index, vonk_io *out, vonk_error *err) {
  uint32_t n = is_output ? model->n_outputs : model->n_inputs;
  if (index >= n) {
    return mock_fail(err, VONK_INVALID, "%s %u: there are only %u",
                     is_output ? "output" : "input", index, n);
  }
  const mock_tensor *tensor = is_output ? &model->outputs[index] : &model->inputs[index];
  uint32_t size = out->struct_size;
  *out = (vonk_io){.struct_size = size,
                   .dtype = tensor->dtype,
                   .name = tensor->name,
                   .rank = tensor->rank,
                   .shape = tensor->shape,
                   .dim_names = tensor->dim_names};
  return VONK_OK;
}

static vonk_status mock_create_session(vonk_plugin_model *model, vonk_device device,
                                       uint32_t threads, vonk_plugin_session **out,
                                       vonk_error *err) {
  (void)threads;
  if (device.kind != VONK_DEVICE_CPU || device.index != 0) {
    return mock_fail(err, VONK_DEVICE, "device %d:%d: the mock has only the CPU",
                     device.kind, device.index);
  }
  vonk_plugin_session *session = mock_alloc(sizeof(*session));
  if (session == NULL) {
    return mock_fail(err, VONK_NOMEM, "session: no memory");
  }
  session->model = model;
  atomic_init(&session->running, 0);
  mock_count.sessions++;
  mock_count.live_sessions++;
  *out = session;
  return VONK_OK;
}

static void mock_release_session(vonk_plugin_session *session) {
  if (session != NULL) {
    mock_free(session);
    mock_count.live_sessions--;
  }
}

static void mock_shutdown(void) { mock_count.shutdowns++; }

/* --- the table's functions: run ----------------------------------------------------- */

static size_t mock_elements(int32_t rank, const int64_t *shape) {
  size_t n = 1;
  for (int32_t i = 0; i < rank; i++) {
    n *= (size_t)shape[i];
  }
  return n;
}

/* An output's memory: its shape, offsets and data, in one block. */
typedef struct mock_block {
  int64_t shape[VONK_MAX_RANK];
  double data[];
} mock_block;

static void mock_release_output(vonk_tensor *tensor) {
  mock_free(tensor->private_data);
  tensor->release = NULL;
  mock_count.live_outputs--;
}

static vonk_status mock_place(vonk_tensor *out, vonk_dtype dtype, int32_t rank,
                              const int64_t *shape, size_t nbytes, vonk_error *err) {
  if (out->data != NULL) {
    if (out->dtype != dtype || out->rank != rank || out->nbytes != nbytes ||
        memcmp(out->shape, shape, (size_t)rank * sizeof(*shape)) != 0) {
      return mock_fail(
          err, VONK_BACKEND,
          "output: the host's place has another dtype or shape than the result");
    }
    mock_count.preallocated++;
    return VONK_OK;
  }
  size_t n = mock_elements(rank, shape);
  size_t offset_bytes = dtype == VONK_BYTES ? (n + 1) * sizeof(int32_t) : 0;
  offset_bytes = (offset_bytes + 7) / 8 * 8;
  mock_block *block = mock_alloc(sizeof(*block) + offset_bytes + nbytes);
  if (block == NULL) {
    return mock_fail(err, VONK_NOMEM, "output: no memory");
  }
  memcpy(block->shape, shape, (size_t)rank * sizeof(*shape));
  out->flags = 0;
  out->dtype = dtype;
  out->rank = rank;
  out->shape = block->shape;
  out->offsets = dtype == VONK_BYTES ? (int32_t *)(void *)block->data : NULL;
  out->data = n == 0 ? NULL : (char *)block->data + offset_bytes;
  out->nbytes = nbytes;
  out->device = (vonk_device){VONK_DEVICE_CPU, 0};
  out->release = mock_release_output;
  out->private_data = block;
  mock_count.outputs++;
  mock_count.live_outputs++;
  return VONK_OK;
}

/* The shape of an output for this run: the declared one, its rows and one other free dim
 * filled from the data. */
static vonk_status mock_shape(const mock_tensor *tensor, const vonk_tensor *in,
                              int32_t *rank, int64_t *shape, vonk_error *err) {
  bool moves = tensor->op == MOCK_COPY || tensor->op == MOCK_SHORT;
  int64_t rows = in->rank == 0 ? 1 : in->shape[0];
  *rank = tensor->rank;
  memcpy(shape, tensor->shape, sizeof(tensor->shape));
  if (tensor->rank < 0 || (moves && !tensor->declared)) {
    *rank = in->rank;
    memcpy(shape, in->shape, (size_t)in->rank * sizeof(*shape));
  } else if (tensor->rank > 0) {
    shape[0] = rows;
  }
  size_t known = 1;
  int32_t unknown = -1;
  for (int32_t i = 0; i < *rank; i++) {
    unknown = shape[i] < 0 ? i : unknown;
    known *= shape[i] < 0 ? 1 : (size_t)shape[i];
  }
  size_t wanted = moves ? mock_elements(in->rank, in->shape) : (size_t)rows;
  if (unknown >= 0) {
    shape[unknown] = known == 0 ? 0 : (int64_t)(wanted / known);
  }
  if (mock_elements(*rank, shape) != wanted) {
    return mock_fail(err, VONK_BACKEND, "output '%s': %zu elements do not fill its shape",
                     tensor->name, wanted);
  }
  if (tensor->op == MOCK_SHORT && *rank > 0 && shape[0] > 0) {
    shape[0]--;
  }
  return VONK_OK;
}

static vonk_status mock_copy_strings(const vonk_tensor *in, vonk_tensor *out,
                                     int32_t rank, const int64_t *shape,
                                     vonk_error *err) {
  size_t n = mock_elements(rank, shape);
  int32_t start = in->offsets[0];
  vonk_status status =
      mock_place(out, VONK_BYTES, rank, shape, (size_t)(in->offsets[n] - start), err);
  if (status != VONK_OK) {
    return status;
  }
  int32_t *offsets = (int32_t *)(uintptr_t)out->offsets;
  for (size_t i = 0; i <= n; i++) {
    offsets[i] = in->offsets[i] - start;
  }
  if (out->nbytes > 0) {
    memcpy(out->data, (const char *)in->data + start, out->nbytes);
  }
  return VONK_OK;
}

static double mock_sum(const vonk_tensor *in, size_t row, size_t row_size, double scale) {
  double sum = 0.0;
  for (size_t i = 0; i < row_size; i++) {
    sum += mock_get(in->data, in->dtype, row * row_size + i);
  }
  return mock_dtypes[in->dtype].is_float ? sum * scale : sum;
}

static vonk_status mock_compute(const vonk_plugin_model *model, const mock_tensor *tensor,
                                const vonk_tensor *in, vonk_tensor *out,
                                vonk_error *err) {
  int64_t shape[VONK_MAX_RANK];
  int32_t rank;
  vonk_status status = mock_shape(tensor, in, &rank, shape, err);
  if (status != VONK_OK) {
    return status;
  }
  if (tensor->dtype == VONK_BYTES) {
    return mock_copy_strings(in, out, rank, shape, err);
  }
  size_t n = mock_elements(rank, shape), size = mock_dtypes[tensor->dtype].size;
  status = mock_place(out, tensor->dtype, rank, shape, n * size, err);
  if (status != VONK_OK || n == 0) {
    return status;
  }
  size_t rows = in->rank == 0 ? 1 : (size_t)in->shape[0];
  size_t row_size = mock_elements(in->rank, in->shape) / (rows == 0 ? 1 : rows);
  bool moves = tensor->op == MOCK_COPY || tensor->op == MOCK_SHORT;
  double scale = mock_dtypes[in->dtype].is_float ? model->scale : 1.0;
  if (moves && in->dtype == tensor->dtype && !(scale < 1.0 || scale > 1.0)) {
    memcpy(out->data, in->data, n * size);
    return VONK_OK;
  }
  for (size_t i = 0; i < n; i++) {
    double value = moves                     ? scale * mock_get(in->data, in->dtype, i)
                   : tensor->op == MOCK_SUM  ? mock_sum(in, i, row_size, scale)
                   : tensor->op == MOCK_ROWS ? (double)rows
                                             : (double)row_size;
    mock_set(out->data, tensor->dtype, i, value);
  }
  return VONK_OK;
}

static vonk_status mock_check_inputs(const vonk_plugin_model *model, const vonk_run *run,
                                     vonk_error *err) {
  for (uint32_t i = 0; i < run->n_inputs; i++) {
    const vonk_tensor *in = run->inputs[i];
    const mock_tensor *expected = &model->inputs[i];
    bool fits = in->dtype == expected->dtype &&
                (expected->rank < 0 || in->rank == expected->rank);
    for (int32_t d = 0; fits && d < expected->rank; d++) {
      fits = expected->shape[d] < 0 || expected->shape[d] == in->shape[d];
    }
    if (!fits) {
      return mock_fail(err, VONK_BACKEND,
                       "input '%s': has another dtype or shape: dim 0 is %" PRId64
                       ", expected %" PRId64,
                       expected->name, in->rank > 0 ? in->shape[0] : -1,
                       expected->rank > 0 ? expected->shape[0] : -1);
    }
    size_t rows = in->rank == 0 ? 1 : (size_t)in->shape[0];
    size_t row_size = mock_elements(in->rank, in->shape) / (rows == 0 ? 1 : rows);
    for (size_t r = 0;
         model->has_fail && i == model->fail_input && row_size > 0 && r < rows; r++) {
      double value = mock_get(in->data, in->dtype, r * row_size);
      if (!(value < model->fail_value || value > model->fail_value || isnan(value))) {
        return mock_fail(err, VONK_BACKEND, "row value %g is refused", model->fail_value);
      }
    }
  }
  return VONK_OK;
}

typedef struct mock_request {
  _Atomic int stop;
} mock_request;

static void mock_stop(void *arg) { atomic_store(&((mock_request *)arg)->stop, 1); }

static vonk_status mock_sleep(const vonk_plugin_model *model, const vonk_run *run,
                              vonk_error *err) {
  const vonk_host *host = run->host;
  mock_request request = {0};
  bool listens = run->cancel != NULL && !model->deaf;
  if (listens) {
    host->watch_cancel(host->ctx, run->cancel, mock_stop, &request);
  }
  for (int64_t i = 0; i < model->sleep_ms && !atomic_load(&request.stop); i++) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  if (listens) {
    host->watch_cancel(host->ctx, run->cancel, NULL, NULL);
  }
  if (atomic_load(&request.stop)) {
    mock_count.stopped++;
    return mock_fail(err, VONK_CANCELLED, "run: was asked to stop");
  }
  return VONK_OK;
}

static vonk_status mock_run_counted(vonk_plugin_session *session, const vonk_run *run,
                                    int64_t rows, vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  vonk_status status = mock_check_inputs(model, run, err);
  if (status == VONK_OK && rows > model->fail_rows) {
    status = mock_fail(err, VONK_NOMEM, "run: %" PRId64 " rows are too many", rows);
  }
  if (status == VONK_OK) {
    status = mock_sleep(model, run, err);
  }
  for (uint32_t i = 0; status == VONK_OK && i < run->n_outputs; i++) {
    const mock_tensor *tensor = &model->outputs[i];
    if (run->outputs[i] != NULL) {
      status =
          mock_compute(model, tensor, run->inputs[tensor->source], run->outputs[i], err);
    }
  }
  return status;
}

static vonk_status mock_run(vonk_plugin_session *session, const vonk_run *run,
                            vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  if (run->n_inputs != model->n_inputs || run->n_outputs != model->n_outputs) {
    return mock_fail(err, VONK_INVALID,
                     "run: %u inputs and %u outputs, expected %u and %u", run->n_inputs,
                     run->n_outputs, model->n_inputs, model->n_outputs);
  }
  const vonk_tensor *first = run->inputs[0];
  int64_t rows = first->rank == 0 ? 1 : first->shape[0];
  atomic_fetch_add(&session->running, 1);
  mock_count.runs++;
  mock_count.rows += rows;
  mock_raise(&mock_count.largest_run, rows);
  mock_raise(&mock_count.most_running, ++mock_count.running);
  atomic_store(&mock_count.last_input, (uintptr_t)first->data);
  vonk_status status = mock_run_counted(session, run, rows, err);
  mock_count.failed_runs += status != VONK_OK;
  mock_count.running--;
  atomic_fetch_sub(&session->running, 1);
  return status;
}

/* --- the table ---------------------------------------------------------------------- */

static const char *const mock_formats[] = {"mock", NULL};
static const vonk_kv mock_options[] = {
    {"scale", "factor for the floats of copy and sum; default 1"}, {NULL, NULL}};

static void mock_fill(const vonk_host *host, vonk_plugin_v1 *table) {
  const vonk_host *none = NULL;
  atomic_compare_exchange_strong(&mock_host, &none, host);
  *table = (vonk_plugin_v1){
      .struct_size = (uint32_t)sizeof(*table),
      .abi_minor = VONK_ABI_MINOR,
      .caps = VONK_CAP_CONCURRENT_RUN | VONK_CAP_PREALLOCATED_OUT,
      .name = "mock",
      .version = "1.0",
      .formats = mock_formats,
      .options = mock_options,
      .recognise = mock_recognise,
      .runtime = mock_runtime,
      .open_model = mock_open_model,
      .model_info = mock_model_info,
      .describe = mock_describe,
      .create_session = mock_create_session,
      .run = mock_run,
      .release_session = mock_release_session,
      .release_model = mock_release_model,
      .shutdown = mock_shutdown,
  };
}

VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *host,
                                                   vonk_plugin_v1 *plugin,
                                                   vonk_error *err);

#endif /* VONK_MOCK_H */
