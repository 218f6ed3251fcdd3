/* A framework's own loop and vonk in one process, on the same rows, pass by pass as the
 * caller asks; bench/frameworks.py is the caller.
 *
 *   bench_loops FORMAT MODEL ROWS [OPTION=VALUE ...]
 *
 * FORMAT says which loop: onnx, tensorflow, aoti, torchscript; options are vonk's. Then,
 * for each line
 *
 *   own|vonk CALL_ROWS THREADS CALLS CUT
 *
 * on the standard input it makes CALLS calls of CALL_ROWS rows and prints the seconds they
 * took, wall and processor. What a call is:
 *   own   runs of at most CUT rows each (0: one run), which is the framework's own way of
 *         eating a table in its favourite bites
 *   vonk  one vonk_predict with default options
 * With two threads, calls of less than 1,000 rows are made by two callers at a time, as in
 * a service; of a larger call each thread takes half (own), or vonk shares it out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/loops/loops.h"
#include "vonk/vonk.h"

enum { SHARED_CALL_ROWS = 1000 }; /* from here on one call uses both threads */

void loop_die(const char *what, const char *why) {
  fprintf(stderr, "bench_loops: %s: %s\n", what, why);
  exit(1);
}

void *loop_library(const char *path) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    loop_die(path, dlerror());
  }
  return handle;
}

void loop_function(void *library, const char *name, void *function) {
  void *address = dlsym(library, name);
  if (address == NULL) {
    loop_die(name, "the library has no such function");
  }
  memcpy(function, &address, sizeof address);
}

/* --- one column of borrowed rows ---------------------------------------------------- */

static void release_nothing(struct ArrowArray *array) { array->release = NULL; }
static void release_no_schema(struct ArrowSchema *schema) { schema->release = NULL; }

typedef struct table {
  struct ArrowSchema schema, column_schema, item_schema;
  struct ArrowSchema *columns[1], *items[1];
  struct ArrowArray array, column, item;
  struct ArrowArray *column_arrays[1], *item_arrays[1];
  const void *no_buffer[1], *item_buffers[2];
  char format[32];
} table;

static void make_schema(table *t, const char *name, int64_t width) {
  snprintf(t->format, sizeof t->format, "+w:%" PRId64, width);
  t->columns[0] = &t->column_schema;
  t->items[0] = &t->item_schema;
  t->schema = (struct ArrowSchema){.format = "+s",
                                   .n_children = 1,
                                   .children = t->columns,
                                   .release = release_no_schema};
  t->column_schema = (struct ArrowSchema){.format = t->format,
                                          .name = name,
                                          .n_children = 1,
                                          .children = t->items,
                                          .release = release_no_schema};
  t->item_schema =
      (struct ArrowSchema){.format = "f", .name = "item", .release = release_no_schema};
}

static void make_arrays(table *t, const float *rows, int64_t n, int64_t width) {
  t->column_arrays[0] = &t->column;
  t->item_arrays[0] = &t->item;
  t->item_buffers[1] = rows;
  t->array = (struct ArrowArray){.length = n,
                                 .n_buffers = 1,
                                 .buffers = t->no_buffer,
                                 .n_children = 1,
                                 .children = t->column_arrays,
                                 .release = release_nothing};
  t->column = (struct ArrowArray){.length = n,
                                  .n_buffers = 1,
                                  .buffers = t->no_buffer,
                                  .n_children = 1,
                                  .children = t->item_arrays,
                                  .release = release_nothing};
  t->item = (struct ArrowArray){.length = n * width,
                                .n_buffers = 2,
                                .buffers = t->item_buffers,
                                .release = release_nothing};
}

/* --- the two loops ------------------------------------------------------------------ */

typedef struct bench {
  const loop_framework *framework;
  loop_model model;
  vonk_predictor *predictor;
  const float *rows;
  float *results;
  int64_t n_rows;
} bench;

/* The calls of one thread. */
typedef struct task {
  const bench *bench;
  int64_t first, call_rows, calls, cut;
  void (*call)(const struct task *, int64_t first_row);
} task;

static void call_own(const task *t, int64_t first) {
  const bench *b = t->bench;
  int64_t cut = t->cut > 0 ? t->cut : t->call_rows;
  for (int64_t at = first, end = first + t->call_rows; at < end; at += cut) {
    int64_t n = end - at < cut ? end - at : cut;
    b->framework->run(&b->model, b->rows + at * b->model.width, n,
                      b->results + at * b->model.n_classes);
  }
}

static void call_vonk(const task *t, int64_t first) {
  const bench *b = t->bench;
  vonk_error err = {0};
  struct ArrowArray out;
  table rows;
  rows.no_buffer[0] = NULL;
  rows.item_buffers[0] = NULL;
  make_arrays(&rows, b->rows + first * b->model.width, t->call_rows, b->model.width);
  if (vonk_predict(b->predictor, &rows.array, &out, &err) != VONK_OK) {
    loop_die("vonk", err.message);
  }
  out.release(&out);
}

static void *run_task(void *arg) {
  const task *t = arg;
  int64_t first = t->first;
  for (int64_t i = 0; i < t->calls; i++) {
    if (first + t->call_rows > t->bench->n_rows) {
      first = 0;
    }
    t->call(t, first);
    first += t->call_rows;
  }
  return NULL;
}

static void run_tasks(task tasks[2], int n) {
  pthread_t second;
  if (n == 2 && pthread_create(&second, NULL, run_task, &tasks[1]) != 0) {
    loop_die("threads", "cannot make a second one");
  }
  run_task(&tasks[0]);
  if (n == 2) {
    pthread_join(second, NULL);
  }
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Two callers with half the calls each, or one; see the top of the file. */
static void measure(const bench *b, const char *loop, task all, int threads) {
  bool is_own = strcmp(loop, "own") == 0;
  bool is_shared = all.call_rows >= SHARED_CALL_ROWS;
  task tasks[2];
  int n = threads == 2 && (is_own || !is_shared) ? 2 : 1;
  all.bench = b;
  all.call = is_own ? call_own : call_vonk;
  if (n == 2 && is_shared) {
    all.call_rows /= 2;
  } else if (n == 2) {
    all.calls = (all.calls + 1) / 2;
  }
  tasks[0] = tasks[1] = all;
  tasks[1].first = b->n_rows / 2;
  vonk_set_threads((uint32_t)threads);
  double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  run_tasks(tasks, n);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  wall = seconds(CLOCK_MONOTONIC) - wall;
  printf("%.9f %.9f\n", wall, cpu);
  fflush(stdout);
}

/* --- setting up --------------------------------------------------------------------- */

static const vonk_io *only_io(const vonk_io *const *ios, uint32_t n, const char *what) {
  if (n != 1 || ios[0]->dtype != VONK_F32 || ios[0]->rank < 2) {
    loop_die(what, "wants one float32 tensor [N, ...]");
  }
  return ios[0];
}

/* PyTorch's are in a module beside this program. */
static const loop_framework *find_framework(const char *format) {
  static const loop_framework *const all[] = {&loop_onnx, &loop_tensorflow};
  char path[4096], name[64];
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    if (strcmp(all[i]->format, format) == 0) {
      return all[i];
    }
  }
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
  path[n < 0 ? 0 : n] = '\0';
  char *slash = strrchr(path, '/');
  strcpy(slash == NULL ? path : slash + 1, "bench_torch.so");
  snprintf(name, sizeof name, "loop_%s", format);
  const loop_framework *found = dlsym(loop_library(path), name);
  if (found == NULL) {
    loop_die(format, "there is no loop for it");
  }
  return found;
}

static void open_both(bench *b, char **argv, table *t) {
  vonk_error err = {0};
  vonk_model *model = NULL;
  vonk_kv options[8];
  size_t n_options = 0;
  for (; n_options < 8 && argv[4 + n_options] != NULL; n_options++) {
    char *value = strchr(argv[4 + n_options], '=');
    if (value == NULL) {
      loop_die(argv[4 + n_options], "wants KEY=VALUE");
    }
    *value = '\0';
    options[n_options] = (vonk_kv){argv[4 + n_options], value + 1};
  }
  if (vonk_model_open(argv[2], options, n_options, &model, &err) != VONK_OK) {
    loop_die("vonk", err.message);
  }
  const vonk_model_summary *s = vonk_model_summarize(model);
  const vonk_io *in = only_io(s->inputs, s->n_inputs, "the model's input");
  const vonk_io *out = only_io(s->outputs, s->n_outputs, "the model's output");
  b->model = (loop_model){.path = s->path,
                          .library = s->runtime_path,
                          .rank = in->rank - 1,
                          .width = 1,
                          .n_classes = out->shape[1]};
  for (int32_t d = 1; d < in->rank; d++) {
    b->model.dims[d - 1] = in->shape[d];
    b->model.width *= in->shape[d];
  }
  make_schema(t, in->name, b->model.width);
  if (vonk_predictor_create(model, &t->schema, NULL, &b->predictor, &err) != VONK_OK) {
    loop_die("vonk", err.message);
  }
  b->framework = find_framework(argv[1]);
  b->framework->open(&b->model);
}

static void make_rows(bench *b) {
  size_t n = (size_t)(b->n_rows * b->model.width);
  float *rows = NULL;
  if (posix_memalign((void **)&rows, 64, n * sizeof *rows) != 0) {
    loop_die("rows", "memory ran out");
  }
  b->results = calloc((size_t)(b->n_rows * b->model.n_classes), sizeof *b->results);
  uint32_t seed = 1;
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    rows[i] = (float)(seed >> 8) / (float)(1u << 24);
  }
  b->rows = rows;
}

/* What is fast but wrong is not worth timing. */
static void compare(const bench *b, const table *t) {
  struct ArrowArray out;
  vonk_error err = {0};
  task all = {.bench = b, .call_rows = b->n_rows};
  call_own(&all, 0);
  if (vonk_predict(b->predictor, &t->array, &out, &err) != VONK_OK) {
    loop_die("vonk", err.message);
  }
  const float *found = out.children[0]->children[0]->buffers[1];
  for (int64_t i = 0; i < b->n_rows * b->model.n_classes; i++) {
    if (!(fabsf(found[i] - b->results[i]) <= 1e-5f)) {
      loop_die("vonk", "predictions differ from the framework's");
    }
  }
  out.release(&out);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: bench_loops FORMAT MODEL ROWS [OPTION=VALUE ...]\n");
    return 2;
  }
  static bench b;
  static table t;
  char line[256], loop[8];
  open_both(&b, argv, &t);
  b.n_rows = atoll(argv[3]);
  make_rows(&b);
  make_arrays(&t, b.rows, b.n_rows, b.model.width);
  compare(&b, &t);
  printf("ready %" PRId64 "\n", vonk_predictor_batch_rows(b.predictor));
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    task all = {0};
    int threads = 1;
    if (sscanf(line, "%7s %" SCNd64 " %d %" SCNd64 " %" SCNd64, loop, &all.call_rows,
               &threads, &all.calls, &all.cut) != 5 ||
        all.call_rows < 1 || all.call_rows > b.n_rows || threads < 1 || threads > 2) {
      loop_die("command", line);
    }
    measure(&b, loop, all, threads);
  }
  return 0;
}
