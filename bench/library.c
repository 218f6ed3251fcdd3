/* The library against the bare ONNX Runtime loop, in one process, pass by pass in turn.
 *
 *   bench_library MODEL [ROWS [PASSES]]
 *
 * MODEL has one float32 input [N, width] and float32 outputs of fixed width. The bare
 * loop calls ONNX Runtime's C interface on the same rows with the same session options
 * (one intra-op thread), zero copy in and out, at the micro-batch that proves best for
 * it. vonk gets the rows as an Arrow list and as a fixed-size list. With two threads the
 * bare loop runs two threads over two halves.
 *
 * Prints medians in microseconds a row, and the ratios of medians bare / vonk: 1.00 is
 * the framework's own speed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/onnx/ort_api.h"
#include "vonk/vonk.h"

enum { MAX_PASSES = 99, ELEMENT_FLOAT = 1 };

typedef struct timing {
  double wall, cpu; /* seconds */
} timing;

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static timing now(void) {
  return (timing){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "bench_library: %s: %s\n", what, why);
  exit(1);
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, compare_doubles);
  return values[n / 2];
}

/* --- the bare loop
 * -----------------------------------------------------------------------------------------------
 */

typedef struct bare {
  ort_api api;
  ort_session *session;
  ort_memory_info *memory;
  char *input_name, *output_name;
  int64_t width, n_classes;
  const float *rows;
  float *results;
  int64_t n_rows, batch;
} bare;

typedef struct bare_part {
  const bare *loop;
  int64_t begin, end;
} bare_part;

static void must(const bare *b, ort_status *status) {
  if (status != NULL) {
    die("onnxruntime", b->api.GetErrorMessage(status));
  }
}

static void bare_open(bare *b, const char *library, const char *model) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    die(library, dlerror());
  }
  const ort_api_base *(*get_base)(void) =
      (const ort_api_base *(*)(void))dlsym(handle, "OrtGetApiBase");
  vonk_ort_api_take(get_base()->get_api(VONK_ORT_API_VERSION), VONK_ORT_API_VERSION,
                    &b->api);
  ort_env *env = NULL;
  ort_session_options *options = NULL;
  ort_allocator *allocator = NULL;
  must(b, b->api.CreateEnv(ORT_LOG_FATAL, "bench", &env));
  must(b, b->api.CreateSessionOptions(&options));
  must(b, b->api.SetIntraOpNumThreads(options, 1));
  must(b, b->api.SetInterOpNumThreads(options, 1));
  must(b, b->api.CreateSession(env, model, options, &b->session));
  must(b,
       b->api.CreateCpuMemoryInfo(ORT_ALLOCATOR_ARENA, ORT_MEMORY_DEFAULT, &b->memory));
  must(b, b->api.GetAllocatorWithDefaultOptions(&allocator));
  must(b, b->api.SessionGetInputName(b->session, 0, allocator, &b->input_name));
  must(b, b->api.SessionGetOutputName(b->session, 0, allocator, &b->output_name));
}

static ort_value *bare_tensor(const bare *b, void *data, int64_t n, int64_t width) {
  int64_t shape[2] = {n, width};
  ort_value *value = NULL;
  must(b, b->api.CreateTensorWithDataAsOrtValue(b->memory, data,
                                                (size_t)(n * width) * sizeof(float),
                                                shape, 2, ELEMENT_FLOAT, &value));
  return value;
}

static void *bare_run_part(void *arg) {
  const bare_part *part = arg;
  const bare *b = part->loop;
  for (int64_t at = part->begin; at < part->end; at += b->batch) {
    int64_t n = part->end - at < b->batch ? part->end - at : b->batch;
    ort_value *in =
        bare_tensor(b, (float *)(uintptr_t)b->rows + at * b->width, n, b->width);
    ort_value *out = bare_tensor(b, b->results + at * b->n_classes, n, b->n_classes);
    const char *in_name = b->input_name, *out_name = b->output_name;
    const ort_value *ins[1] = {in};
    must(b, b->api.Run(b->session, NULL, &in_name, ins, 1, &out_name, 1, &out));
    b->api.ReleaseValue(in);
    b->api.ReleaseValue(out);
  }
  return NULL;
}

static void bare_run(const bare *b, int n_threads) {
  bare_part parts[2] = {{b, 0, b->n_rows}, {b, 0, 0}};
  pthread_t second;
  if (n_threads == 2) {
    parts[0].end = b->n_rows / 2;
    parts[1] = (bare_part){b, b->n_rows / 2, b->n_rows};
    pthread_create(&second, NULL, bare_run_part, &parts[1]);
  }
  bare_run_part(&parts[0]);
  if (n_threads == 2) {
    pthread_join(second, NULL);
  }
}

/* --- vonk
 * --------------------------------------------------------------------------------------------------------
 */

static void release_nothing(struct ArrowArray *array) { array->release = NULL; }
static void release_no_schema(struct ArrowSchema *schema) { schema->release = NULL; }

/* One column of borrowed rows. */
typedef struct table {
  struct ArrowSchema schema, column_schema, item_schema;
  struct ArrowSchema *columns[1], *items[1];
  struct ArrowArray array, column, item;
  struct ArrowArray *column_arrays[1], *item_arrays[1];
  const void *no_buffer[1], *list_buffers[2], *item_buffers[2];
  int32_t *offsets;
  char format[32];
} table;

static void make_table(table *t, const char *name, const float *rows, int64_t n,
                       int64_t width, int is_fixed) {
  memset(t, 0, sizeof *t);
  snprintf(t->format, sizeof t->format, "+w:%" PRId64, width);
  t->columns[0] = &t->column_schema;
  t->items[0] = &t->item_schema;
  t->schema = (struct ArrowSchema){.format = "+s",
                                   .n_children = 1,
                                   .children = t->columns,
                                   .release = release_no_schema};
  t->column_schema = (struct ArrowSchema){.format = is_fixed ? t->format : "+l",
                                          .name = name,
                                          .n_children = 1,
                                          .children = t->items,
                                          .release = release_no_schema};
  t->item_schema =
      (struct ArrowSchema){.format = "f", .name = "item", .release = release_no_schema};
  t->offsets = malloc(((size_t)n + 1) * sizeof *t->offsets);
  for (int64_t i = 0; i <= n; i++) {
    t->offsets[i] = (int32_t)(i * width);
  }
  t->list_buffers[1] = t->offsets;
  t->item_buffers[1] = rows;
  t->column_arrays[0] = &t->column;
  t->item_arrays[0] = &t->item;
  t->array = (struct ArrowArray){.length = n,
                                 .n_buffers = 1,
                                 .buffers = t->no_buffer,
                                 .n_children = 1,
                                 .children = t->column_arrays,
                                 .release = release_nothing};
  t->column = (struct ArrowArray){.length = n,
                                  .n_buffers = is_fixed ? 1 : 2,
                                  .buffers = t->list_buffers,
                                  .n_children = 1,
                                  .children = t->item_arrays,
                                  .release = release_nothing};
  t->item = (struct ArrowArray){.length = n * width,
                                .n_buffers = 2,
                                .buffers = t->item_buffers,
                                .release = release_nothing};
}

static vonk_predictor *bind(vonk_model *model, const table *t) {
  vonk_error err = {0};
  vonk_predictor *predictor = NULL;
  if (vonk_predictor_create(model, &t->schema, NULL, &predictor, &err) != VONK_OK) {
    die("vonk", err.message);
  }
  return predictor;
}

/* The first prediction of every row, to compare. */
static void vonk_run_once(const vonk_predictor *predictor, const table *t,
                          const float *expected, int64_t n_values) {
  vonk_error err = {0};
  struct ArrowArray out;
  if (vonk_predict(predictor, &t->array, &out, &err) != VONK_OK) {
    die("vonk", err.message);
  }
  const float *values = out.children[0]->children[0]->buffers[1];
  if (memcmp(values, expected, (size_t)n_values * sizeof *values) != 0) {
    die("vonk", "predictions differ from the bare loop's");
  }
  out.release(&out);
}

/* --- measuring
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct series {
  double wall[MAX_PASSES], cpu[MAX_PASSES];
} series;

static void record(series *s, int pass, timing start, int64_t n_rows) {
  timing end = now();
  s->wall[pass] = (end.wall - start.wall) * 1e6 / (double)n_rows;
  s->cpu[pass] = (end.cpu - start.cpu) * 1e6 / (double)n_rows;
}

static void find_best_batch(bare *b) {
  static const int64_t batches[] = {64, 128, 256, 512, 1024, 2048};
  double best = 0;
  int64_t best_batch = 0;
  printf("bare loop, CPU us/row by micro-batch:");
  for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
    double times[3];
    b->batch = batches[i];
    for (int pass = 0; pass < 3; pass++) {
      timing start = now();
      bare_run(b, 1);
      times[pass] = now().cpu - start.cpu;
    }
    double time = median(times, 3);
    printf("  %" PRId64 ": %.2f", b->batch, time * 1e6 / (double)b->n_rows);
    if (best_batch == 0 || time < best) {
      best = time;
      best_batch = batches[i];
    }
  }
  b->batch = best_batch;
  printf("  -> %" PRId64 "\n", best_batch);
}

static void print_row(const char *what, int threads, series *s, int n, double bare_wall,
                      double bare_cpu) {
  double wall = median(s->wall, n), cpu = median(s->cpu, n);
  printf("%-28s %7d   %8.3f %8.3f   %9.2f %9.2f\n", what, threads, wall, cpu,
         bare_wall / wall, bare_cpu / cpu);
}

static double measure(bare *b, vonk_predictor *const predictors[2], const table tables[2],
                      int threads, int passes, double *vonk_wall) {
  static series times[3];
  vonk_set_threads((uint32_t)threads);
  for (int pass = 0; pass < passes; pass++) {
    timing start = now();
    bare_run(b, threads);
    record(&times[0], pass, start, b->n_rows);
    for (int k = 0; k < 2; k++) {
      start = now();
      vonk_run_once(predictors[k], &tables[k], b->results, b->n_rows * b->n_classes);
      record(&times[k + 1], pass, start, b->n_rows);
    }
  }
  double wall = median(times[0].wall, passes), cpu = median(times[0].cpu, passes);
  print_row("bare ONNX Runtime loop", threads, &times[0], passes, wall, cpu);
  print_row("vonk, list<float>", threads, &times[1], passes, wall, cpu);
  print_row("vonk, fixed-size list", threads, &times[2], passes, wall, cpu);
  *vonk_wall = median(times[1].wall, passes);
  return wall;
}

static vonk_model *open_model(const char *path, bare *b) {
  vonk_error err = {0};
  vonk_model *model = NULL;
  if (vonk_model_open(path, NULL, 0, &model, &err) != VONK_OK) {
    die("vonk", err.message);
  }
  const vonk_model_summary *s = vonk_model_summarize(model);
  if (s->n_inputs != 1 || s->inputs[0]->rank != 2 || s->inputs[0]->dtype != VONK_F32 ||
      s->inputs[0]->shape[1] < 1 || s->outputs[0]->rank != 2 ||
      s->outputs[0]->dtype != VONK_F32 || s->outputs[0]->shape[1] < 1) {
    die(path,
        "wants a model with one float32 input [N, width] and a float32 output [N, n]");
  }
  b->width = s->inputs[0]->shape[1];
  b->n_classes = s->outputs[0]->shape[1];
  bare_open(b, s->runtime_path, s->path);
  return model;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: bench_library MODEL [ROWS [PASSES]]\n");
    return 2;
  }
  static bare b;
  b.n_rows = argc > 2 ? atoll(argv[2]) : 60000;
  int passes = argc > 3 ? atoi(argv[3]) : 11;
  passes = passes < 1 ? 1 : passes > MAX_PASSES ? MAX_PASSES : passes;
  vonk_model *model = open_model(argv[1], &b);
  size_t n = (size_t)(b.n_rows * b.width);
  float *rows = malloc(n * sizeof *rows);
  b.results = calloc((size_t)(b.n_rows * b.n_classes), sizeof *b.results);
  uint32_t seed = 1;
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    rows[i] = (float)(seed >> 8) / (float)(1u << 24);
  }
  b.rows = rows;
  static table tables[2];
  const char *name = vonk_model_summarize(model)->inputs[0]->name;
  make_table(&tables[0], name, rows, b.n_rows, b.width, 0);
  make_table(&tables[1], name, rows, b.n_rows, b.width, 1);
  vonk_predictor *predictors[2] = {bind(model, &tables[0]), bind(model, &tables[1])};

  printf("%s: %" PRId64 " rows x %" PRId64
         " float32, %d passes, medians; vonk's micro-batch %" PRId64 "\n",
         argv[1], b.n_rows, b.width, passes, vonk_predictor_batch_rows(predictors[0]));
  find_best_batch(&b);
  printf("%-28s %7s   %8s %8s   %9s %9s\n", "", "threads", "wall us", "CPU us",
         "bare/wall", "bare/CPU");
  double wall[2], bare_wall[2];
  for (int threads = 1; threads <= 2; threads++) {
    bare_wall[threads - 1] =
        measure(&b, predictors, tables, threads, passes, &wall[threads - 1]);
  }
  vonk_stats stats = {.struct_size = (uint32_t)sizeof stats};
  vonk_predictor_stats(predictors[0], &stats);
  printf(
      "two threads over one, wall: vonk %.2f, bare loop %.2f; bytes copied by vonk: "
      "%" PRIu64 "\n",
      wall[0] / wall[1], bare_wall[0] / bare_wall[1], stats.bytes_copied);
  for (int k = 0; k < 2; k++) {
    vonk_predictor_release(predictors[k]);
    free(tables[k].offsets);
  }
  vonk_model_close(model);
  free(rows);
  free(b.results);
  return 0;
}
