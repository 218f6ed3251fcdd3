/* A complete vonk plug-in in one file: linear models, y = activation(W x + b), from a
 * text file.
 *
 * The format "linear": the first line says "linear <inputs> <outputs>", then comes one
 * line for each output with its <inputs> weights and its bias, separated by commas; "#"
 * starts a comment line.
 *
 *   linear 2 1
 *   0.5,-1.25,3
 *
 * Build:  cc -std=c17 -O2 -fPIC -shared -fvisibility=hidden -Iinclude linear.c -o
 * vonk_linear.so -lm Test:   vonk plugins --conformance $PWD/vonk_linear.so --model
 * iris.linear Use:    VONK_PLUGIN_PATH=$PWD vonk run iris.linear flowers.csv -o
 * scores.csv
 *
 * docs/plugins.md walks through this file. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vonk/plugin.h"

enum { MAX_DIM = 4096, MAX_LINE = 1 << 20, CHECK_EVERY = 256 };

/* What open_model makes. Nothing in it changes afterwards, so any number of threads may
 * use it. */
struct vonk_plugin_model {
  size_t n_inputs, n_outputs;
  bool is_sigmoid;
  int64_t input_shape[2], output_shape[2]; /* [-1, n]: the rows are free */
  float weights[]; /* n_outputs times n_inputs weights and a bias */
};

/* This plug-in has nothing to prepare for a device: a session only points to its model.
 */
struct vonk_plugin_session {
  const vonk_plugin_model *model;
};

/* Two copies of vonk in one process would both call the entry function; either's table
 * stays valid until the process ends, so the first one that came is kept. */
static const vonk_host *_Atomic the_host;

/* --- errors and memory -------------------------------------------------------------- */

static vonk_status fail(vonk_error *err, vonk_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static vonk_status fail(vonk_error *err, vonk_status code, const char *format, ...) {
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

/* Memory comes from the host, so that its accounting and its tests of running out of
 * memory see it. */
static void *allocate(size_t size) {
  const vonk_host *host = the_host;
  return host->alloc(host->ctx, size, 0);
}

static void deallocate(void *pointer) {
  const vonk_host *host = the_host;
  host->free(host->ctx, pointer);
}

/* --- reading a model ---------------------------------------------------------------- */

/* The next line that is no comment, without its end; false at the end of the file. */
static bool read_line(FILE *file, char *line, int *number) {
  while (fgets(line, MAX_LINE, file) != NULL) {
    ++*number;
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] != '#' && line[0] != '\0') {
      return true;
    }
  }
  return false;
}

static vonk_status read_weights(FILE *file, char *line, int *number, const char *path,
                                vonk_plugin_model *model, vonk_error *err) {
  float *out = model->weights;
  for (size_t row = 0; row < model->n_outputs; row++) {
    if (!read_line(file, line, number)) {
      return fail(err, VONK_MODEL, "%s: ends after %zu of %zu lines of weights", path,
                  row, model->n_outputs);
    }
    char *rest = line;
    for (size_t i = 0; i <= model->n_inputs; i++) {
      char *end;
      float value = strtof(rest, &end);
      bool is_last = i == model->n_inputs;
      if (end == rest || !isfinite(value) || *end != (is_last ? '\0' : ',')) {
        return fail(
            err, VONK_MODEL,
            "%s: line %d: number %zu cannot be read: expected %zu weights and a bias, "
            "separated by commas",
            path, *number, i + 1, model->n_inputs);
      }
      *out++ = value;
      rest = end + 1;
    }
  }
  return VONK_OK;
}

/* A number from 1 to MAX_DIM that ends where `end` stands; 0 if it is none. */
static size_t parse_dim(const char **rest, char end) {
  char *stop;
  long value = strtol(*rest, &stop, 10);
  bool fits = stop != *rest && *stop == end && value > 0 && value <= MAX_DIM;
  *rest = *stop == '\0' ? stop : stop + 1;
  return fits ? (size_t)value : 0;
}

/* Reads the first line. Sizes that come from a file are checked before anything is
 * allocated by them. */
static vonk_status read_sizes(FILE *file, char *line, int *number, const char *path,
                              size_t *n_inputs, size_t *n_outputs, vonk_error *err) {
  if (!read_line(file, line, number) || strncmp(line, "linear ", 7) != 0) {
    return fail(
        err, VONK_MODEL,
        "%s: is no linear model: expected a first line 'linear <inputs> <outputs>'",
        path);
  }
  const char *rest = line + 7;
  size_t inputs = parse_dim(&rest, ' '), outputs = parse_dim(&rest, '\0');
  if (inputs == 0 || outputs == 0) {
    return fail(
        err, VONK_MODEL,
        "%s: line %d: is '%.40s': expected 'linear <inputs> <outputs>' with numbers "
        "from 1 to %d",
        path, *number, line, MAX_DIM);
  }
  *n_inputs = inputs;
  *n_outputs = outputs;
  return VONK_OK;
}

static vonk_status read_model(FILE *file, char *line, const char *path, bool is_sigmoid,
                              vonk_plugin_model **out, vonk_error *err) {
  int number = 0;
  size_t n_inputs = 0, n_outputs = 0;
  vonk_status status = read_sizes(file, line, &number, path, &n_inputs, &n_outputs, err);
  if (status != VONK_OK) {
    return status;
  }
  size_t size = sizeof(vonk_plugin_model) + n_outputs * (n_inputs + 1) * sizeof(float);
  vonk_plugin_model *model = allocate(size);
  if (model == NULL) {
    return fail(err, VONK_NOMEM, "%s: %zu bytes could not be allocated", path, size);
  }
  *model = (vonk_plugin_model){.n_inputs = n_inputs,
                               .n_outputs = n_outputs,
                               .is_sigmoid = is_sigmoid,
                               .input_shape = {-1, (int64_t)n_inputs},
                               .output_shape = {-1, (int64_t)n_outputs}};
  status = read_weights(file, line, &number, path, model, err);
  if (status != VONK_OK) {
    deallocate(model);
    return status;
  }
  *out = model; /* outputs are written on success only */
  return VONK_OK;
}

static vonk_status read_options(const vonk_kv *options, size_t n, bool *is_sigmoid,
                                vonk_error *err) {
  for (size_t i = 0; i < n; i++) {
    bool is_known = strcmp(options[i].key, "activation") == 0;
    if (!is_known) {
      return fail(err, VONK_INVALID, "option '%s': is not known: expected 'activation'",
                  options[i].key);
    }
    *is_sigmoid = strcmp(options[i].value, "sigmoid") == 0;
    if (!*is_sigmoid && strcmp(options[i].value, "none") != 0) {
      return fail(err, VONK_INVALID,
                  "option 'activation': is '%s': expected 'none' or 'sigmoid'",
                  options[i].value);
    }
  }
  return VONK_OK;
}

/* --- the table's functions: models ----------------------------------------------------
 */

static int32_t recognise(const char *path, const uint8_t *head, size_t n_head) {
  static const char mark[] = "linear ", ending[] = ".linear";
  size_t size = strlen(path), n_mark = sizeof(mark) - 1, n_ending = sizeof(ending) - 1;
  if (head == NULL) {
    return 0; /* a folder */
  }
  if (n_head >= n_mark && memcmp(head, mark, n_mark) == 0) {
    return 2;
  }
  return size > n_ending && strcmp(path + size - n_ending, ending) == 0 && n_head > 0;
}

/* There is no framework to load. One that has one looks for it here, at the first call.
 */
static vonk_status runtime(const char **version, const char **path, vonk_error *err) {
  (void)err;
  *version = "1.0";
  *path = "built in";
  return VONK_OK;
}

/* Reads the model and closes file; NULL: it could not be opened. */
static vonk_status open_stream(FILE *file, const char *path, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err) {
  if (file == NULL) {
    return fail(err, VONK_IO, "%s: cannot be opened: %s", path, strerror(errno));
  }
  bool is_sigmoid = false;
  vonk_status status = read_options(options, n_options, &is_sigmoid, err);
  if (status != VONK_OK) {
    fclose(file);
    return status;
  }
  /* The host may have set a locale in which "0.5" is not a number. */
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  char *line = allocate(MAX_LINE);
  if (line == NULL || plain == (locale_t)0) {
    status = fail(err, VONK_NOMEM, "%s: no memory to read it", path);
  } else {
    locale_t before = uselocale(plain);
    status = read_model(file, line, path, is_sigmoid, out, err);
    uselocale(before);
  }
  if (plain != (locale_t)0) {
    freelocale(plain);
  }
  deallocate(line);
  fclose(file);
  return status;
}

static vonk_status open_model(const char *path, const vonk_kv *options, size_t n_options,
                              vonk_plugin_model **out, vonk_error *err) {
  return open_stream(fopen(path, "rb"), path, options, n_options, out, err);
}

/* The bytes of the model's own file, NULL if it is not there. The table is the host's and
 * goes after the call; the bytes stay. */
static const vonk_file *find_own(const vonk_files *files) {
  for (uint32_t i = 0; files->main != NULL && i < files->n_files; i++) {
    if (strcmp(files->files[i].name, files->main) == 0) {
      return &files->files[i];
    }
  }
  return NULL;
}

static vonk_status open_files(const vonk_files *files, const vonk_kv *options,
                              size_t n_options, vonk_plugin_model **out,
                              vonk_error *err) {
  const vonk_file *own = find_own(files);
  FILE *stream = NULL;
  errno = ENOENT;
  if (own != NULL && own->nbytes > 0) { /* "r" never writes there */
    stream = fmemopen((void *)(uintptr_t)own->data, (size_t)own->nbytes, "r");
  } else if (own != NULL) {
    return fail(err, VONK_MODEL, "%s: is empty", files->path);
  }
  return open_stream(stream, files->path, options, n_options, out, err);
}

static vonk_status model_info(const vonk_plugin_model *model, vonk_model_info *out,
                              vonk_error *err) {
  (void)err;
  size_t n_params = model->n_outputs * (model->n_inputs + 1);
  out->n_inputs = 1;
  out->n_outputs = 1;
  out->n_metadata = 0;
  out->n_params = (int64_t)n_params;
  out->weight_bytes = (int64_t)(n_params * sizeof(float));
  out->format = "linear";
  out->producer = NULL;
  out->metadata = NULL;
  return VONK_OK;
}

static vonk_status describe(const vonk_plugin_model *model, int32_t is_output,
                            uint32_t index, vonk_io *out, vonk_error *err) {
  if (index != 0) {
    return fail(err, VONK_INVALID, "%s %u: there is only one",
                is_output ? "output" : "input", index);
  }
  out->dtype = VONK_F32;
  out->name = is_output ? "y" : "x";
  out->rank = 2;
  out->shape = is_output ? model->output_shape : model->input_shape;
  out->dim_names = NULL;
  return VONK_OK;
}

static void release_model(vonk_plugin_model *model) { deallocate(model); }

static vonk_status create_session(vonk_plugin_model *model, vonk_device device,
                                  uint32_t threads, vonk_plugin_session **out,
                                  vonk_error *err) {
  (void)threads; /* a run stays on the thread that calls it */
  if (device.kind != VONK_DEVICE_CPU) {
    return fail(err, VONK_DEVICE, "device %d:%d: linear models run on the CPU only",
                device.kind, device.index);
  }
  vonk_plugin_session *session = allocate(sizeof(*session));
  if (session == NULL) {
    return fail(err, VONK_NOMEM, "session: %zu bytes could not be allocated",
                sizeof(*session));
  }
  session->model = model;
  *out = session;
  return VONK_OK;
}

static void release_session(vonk_plugin_session *session) { deallocate(session); }

/* --- the table's functions: run ----------------------------------------------------- */

/* An output of ours: its shape and its numbers in one block, freed by its release. */
typedef struct block {
  int64_t shape[2];
  float data[];
} block;

static void release_output(vonk_tensor *tensor) {
  deallocate(tensor->private_data);
  tensor->release = NULL;
}

/* Where the result goes: the place the host gave, which must fit, or a new one. */
static vonk_status place_output(const vonk_plugin_model *model, int64_t rows,
                                vonk_tensor *out, vonk_error *err) {
  int64_t n_outputs = (int64_t)model->n_outputs;
  size_t nbytes = (size_t)rows * model->n_outputs * sizeof(float);
  if (out->data != NULL) {
    bool fits = out->dtype == VONK_F32 && out->rank == 2 && out->shape[0] == rows &&
                out->shape[1] == n_outputs && out->nbytes == nbytes;
    return fits ? VONK_OK
                : fail(err, VONK_BACKEND,
                       "output 'y': the result is float32 [%lld, %lld], which is not the "
                       "shape "
                       "of its place",
                       (long long)rows, (long long)n_outputs);
  }
  block *b = allocate(sizeof(*b) + nbytes);
  if (b == NULL) {
    return fail(err, VONK_NOMEM, "output 'y': %zu bytes could not be allocated", nbytes);
  }
  b->shape[0] = rows;
  b->shape[1] = n_outputs;
  out->flags = 0;
  out->dtype = VONK_F32;
  out->rank = 2;
  out->shape = b->shape;
  out->data = nbytes == 0 ? NULL : b->data;
  out->offsets = NULL;
  out->nbytes = nbytes;
  out->device = (vonk_device){VONK_DEVICE_CPU, 0};
  out->private_data = b;
  out->release = release_output;
  return VONK_OK;
}

static float apply(const vonk_plugin_model *model, const float *weights, const float *x) {
  float sum = weights[model->n_inputs]; /* the bias */
  for (size_t i = 0; i < model->n_inputs; i++) {
    sum += weights[i] * x[i];
  }
  return model->is_sigmoid ? 1.0F / (1.0F + expf(-sum)) : sum;
}

typedef struct request {
  atomic_bool stop;
} request;

/* Called by the host from another thread; it must not block. */
static void ask_to_stop(void *arg) { atomic_store(&((request *)arg)->stop, true); }

static vonk_status compute(const vonk_plugin_model *model, size_t rows, const float *x,
                           float *y, request *asked, vonk_error *err) {
  for (size_t row = 0; row < rows; row++) {
    if (row % CHECK_EVERY == 0 && atomic_load(&asked->stop)) {
      return fail(err, VONK_CANCELLED, "linear: was asked to stop at row %zu of %zu", row,
                  rows);
    }
    for (size_t i = 0; i < model->n_outputs; i++) {
      const float *weights = model->weights + i * (model->n_inputs + 1);
      y[row * model->n_outputs + i] = apply(model, weights, x + row * model->n_inputs);
    }
  }
  return VONK_OK;
}

static vonk_status run(vonk_plugin_session *session, const vonk_run *job,
                       vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  const vonk_tensor *in = job->inputs[0];
  vonk_tensor *out = job->outputs[0];
  if (out == NULL) {
    return VONK_OK; /* nobody wants the result */
  }
  if (in->dtype != VONK_F32 || in->rank != 2 || in->shape[1] != model->input_shape[1]) {
    return fail(err, VONK_INVALID, "input 'x': expected float32 [rows, %zu]",
                model->n_inputs);
  }
  vonk_status status = place_output(model, in->shape[0], out, err);
  if (status != VONK_OK) {
    return status;
  }
  const vonk_host *host = job->host;
  request asked = {.stop = false};
  if (job->cancel != NULL) {
    host->watch_cancel(host->ctx, job->cancel, ask_to_stop, &asked);
  }
  status = compute(model, (size_t)in->shape[0], in->data, out->data, &asked, err);
  if (job->cancel != NULL) {
    host->watch_cancel(host->ctx, job->cancel, NULL, NULL); /* before asked goes away */
  }
  return status; /* after a failure the host calls the release that was set */
}

/* --- the entry function ------------------------------------------------------------- */

static const char *const formats[] = {"linear", NULL};
static const vonk_kv options[] = {
    {"activation", "applied to each output: none (default) or sigmoid"}, {NULL, NULL}};

VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *host,
                                                   vonk_plugin_v1 *plugin,
                                                   vonk_error *err);

vonk_status vonk_plugin_init_v1(const vonk_host *host, vonk_plugin_v1 *plugin,
                                vonk_error *err) {
  vonk_plugin_v1 table = {
      .struct_size = (uint32_t)sizeof(table),
      .abi_minor = VONK_ABI_MINOR,
      .caps = VONK_CAP_CONCURRENT_RUN | VONK_CAP_PREALLOCATED_OUT,
      .name = "linear",
      .version = "1.0",
      .formats = formats,
      .options = options,
      .recognise = recognise,
      .runtime = runtime,
      .open_model = open_model,
      .model_info = model_info,
      .describe = describe,
      .create_session = create_session,
      .run = run,
      .release_session = release_session,
      .release_model = release_model,
      .open_files = open_files,
  };
  if (!VONK_HAS(host, watch_cancel)) {
    return fail(err, VONK_ABI, "linear: this vonk is too old: it cannot stop a run");
  }
  const vonk_host *none = NULL;
  atomic_compare_exchange_strong(&the_host, &none, host);
  /* An older vonk has a shorter table: fill what it has room for. */
  if (plugin->struct_size < table.struct_size) {
    table.struct_size = plugin->struct_size;
  }
  memcpy(plugin, &table, table.struct_size);
  return VONK_OK;
}
