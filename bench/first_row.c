/* From nothing to the first prediction, for bench/frameworks.py: opens a model, predicts
 * one row of zeros and ends.
 *
 *   bench_first_row MODEL [OPTION=VALUE ...]
 *
 * MODEL has one float32 input. Prints the monotonic clock's seconds at the end, MB of
 * private memory and of mapped files, and the milliseconds that opening and the first row
 * took. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vonk/vonk.h"

static void die(const char *what, const char *why) {
  fprintf(stderr, "bench_first_row: %s: %s\n", what, why);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double megabytes(const char *key) {
  char line[256];
  double kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) {
      kilobytes = strtod(line + strlen(key) + 1, NULL);
    }
  }
  if (file != NULL) {
    fclose(file);
  }
  return kilobytes / 1024;
}

static vonk_model *open_model(char **argv) {
  vonk_error err = {0};
  vonk_model *model = NULL;
  vonk_kv options[8];
  size_t n = 0;
  for (; n < 8 && argv[2 + n] != NULL; n++) {
    char *value = strchr(argv[2 + n], '=');
    if (value == NULL) {
      die(argv[2 + n], "wants OPTION=VALUE");
    }
    *value = '\0';
    options[n] = (vonk_kv){argv[2 + n], value + 1};
  }
  if (vonk_model_open(argv[1], options, n, &model, &err) != VONK_OK) {
    die("vonk", err.message);
  }
  return model;
}

static void keep_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void keep_array(struct ArrowArray *array) { array->release = NULL; }

static void predict_zeros(vonk_model *model) {
  const vonk_io *in = vonk_model_summarize(model)->inputs[0];
  int64_t width = 1;
  char format[32];
  for (int32_t d = 1; d < in->rank; d++) {
    width *= in->shape[d];
  }
  snprintf(format, sizeof format, "+w:%" PRId64, width);
  float *row = calloc((size_t)width, sizeof *row);
  struct ArrowSchema item_schema = {.format = "f", .name = "", .release = keep_schema};
  struct ArrowSchema *items[] = {&item_schema};
  struct ArrowSchema column_schema = {.format = format,
                                      .name = in->name,
                                      .n_children = 1,
                                      .children = items,
                                      .release = keep_schema};
  struct ArrowSchema *columns[] = {&column_schema};
  struct ArrowSchema schema = {
      .format = "+s", .n_children = 1, .children = columns, .release = keep_schema};
  const void *none[] = {NULL}, *values[] = {NULL, row};
  struct ArrowArray item = {
      .length = width, .n_buffers = 2, .buffers = values, .release = keep_array};
  struct ArrowArray *item_arrays[] = {&item};
  struct ArrowArray column = {.length = 1,
                              .n_buffers = 1,
                              .buffers = none,
                              .n_children = 1,
                              .children = item_arrays,
                              .release = keep_array};
  struct ArrowArray *column_arrays[] = {&column};
  struct ArrowArray rows = {.length = 1,
                            .n_buffers = 1,
                            .buffers = none,
                            .n_children = 1,
                            .children = column_arrays,
                            .release = keep_array};
  struct ArrowArray out;
  vonk_error err = {0};
  vonk_predictor *predictor = NULL;
  if (vonk_predictor_create(model, &schema, NULL, &predictor, &err) != VONK_OK ||
      vonk_predict(predictor, &rows, &out, &err) != VONK_OK) {
    die("vonk", err.message);
  }
  out.release(&out);
  vonk_predictor_release(predictor);
  free(row);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: bench_first_row MODEL [OPTION=VALUE ...]\n");
    return 2;
  }
  double start = now();
  vonk_model *model = open_model(argv);
  double opened = now();
  predict_zeros(model);
  double done = now();
  printf("%.6f %.1f %.1f %.1f %.1f\n", done, megabytes("RssAnon"), megabytes("RssFile"),
         (opened - start) * 1e3, (done - opened) * 1e3);
  vonk_model_close(model);
  return 0;
}
