/* What the C programs of tests/mixing share: models opened and run over libvonk as any
 * program would do it, and rows with the numbers that are expected of them.
 *
 * A model is given as PATH[;key=value]..., with the options of vonk_model_open. */
#ifndef VONK_TESTS_MIXING_HOST_H
#define VONK_TESTS_MIXING_HOST_H

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vonk/vonk.h"

/* Ends the process: what is wrong is told on stdout, for the test to show. */
static _Noreturn void die(const char *format, ...)
    __attribute__((format(printf, 1, 2), unused));
static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
  fflush(stdout);
  _Exit(1);
}

/* --- rows and what is expected ------------------------------------------------------- */

typedef struct host_floats {
  float *values;
  int64_t rows, width;
} host_floats;

/* A file of floats, `width` in a row. */
static inline host_floats host_read(const char *path, int64_t width) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    die("%s: cannot be read", path);
  }
  size_t n = (size_t)ftell(file) / sizeof(float);
  rewind(file);
  host_floats floats = {malloc(n * sizeof(float)), (int64_t)n / width, width};
  if (n == 0 || floats.values == NULL ||
      fread(floats.values, sizeof(float), n, file) != n) {
    die("%s: cannot be read", path);
  }
  fclose(file);
  return floats;
}

/* --- one batch of one column --------------------------------------------------------- */

typedef struct host_batch {
  char format[32];
  struct ArrowSchema item_type, column_type, type;
  struct ArrowSchema *items[1], *columns[1];
  struct ArrowArray item, column, rows;
  struct ArrowArray *item_arrays[1], *column_arrays[1];
  const void *item_buffers[2], *no_buffer[1];
} host_batch;

static inline void host_release_schema(struct ArrowSchema *schema) {
  schema->release = NULL;
}
static inline void host_release_array(struct ArrowArray *array) { array->release = NULL; }

/* Filled in place: it must not be moved. The rows are borrowed; format is Arrow's of one
 * element. */
static inline void host_batch_fill(host_batch *b, const char *format, const void *values,
                                   int64_t rows, int64_t width) {
  memset(b, 0, sizeof *b);
  snprintf(b->format, sizeof b->format, "+w:%" PRId64, width);
  b->item_type = (struct ArrowSchema){
      .format = format, .name = "item", .release = host_release_schema};
  b->items[0] = &b->item_type;
  b->column_type = (struct ArrowSchema){.format = b->format,
                                        .name = "rows",
                                        .n_children = 1,
                                        .children = b->items,
                                        .release = host_release_schema};
  b->columns[0] = &b->column_type;
  b->type = (struct ArrowSchema){.format = "+s",
                                 .name = "",
                                 .n_children = 1,
                                 .children = b->columns,
                                 .release = host_release_schema};
  b->item_buffers[1] = values;
  b->item = (struct ArrowArray){.length = rows * width,
                                .n_buffers = 2,
                                .buffers = b->item_buffers,
                                .release = host_release_array};
  b->item_arrays[0] = &b->item;
  b->column = (struct ArrowArray){.length = rows,
                                  .n_buffers = 1,
                                  .buffers = b->no_buffer,
                                  .n_children = 1,
                                  .children = b->item_arrays,
                                  .release = host_release_array};
  b->column_arrays[0] = &b->column;
  b->rows = (struct ArrowArray){.length = rows,
                                .n_buffers = 1,
                                .buffers = b->no_buffer,
                                .n_children = 1,
                                .children = b->column_arrays,
                                .release = host_release_array};
}

/* --- models -------------------------------------------------------------------------- */

enum { HOST_MOST_OPTIONS = 8 };

/* spec is PATH[;key=value]...; NULL, and *err says why, if it cannot be opened. */
static inline vonk_model *host_open(const char *spec, vonk_error *err) {
  char *text = strdup(spec), *rest = NULL;
  vonk_kv options[HOST_MOST_OPTIONS];
  size_t n = 0;
  const char *path = strtok_r(text, ";", &rest);
  for (char *key; n < HOST_MOST_OPTIONS && (key = strtok_r(NULL, ";", &rest)) != NULL;) {
    char *equals = strchr(key, '=');
    if (equals == NULL) {
      die("'%s': expected key=value", key);
    }
    *equals = '\0';
    options[n++] = (vonk_kv){key, equals + 1};
  }
  vonk_model *model = NULL;
  vonk_status status = vonk_model_open(path, options, n, &model, err);
  if (status != VONK_OK && model != NULL) {
    die("%s: failed, and gave a model", spec);
  }
  free(text);
  return model;
}

static inline vonk_predictor *host_bind(vonk_model *model, const char *format,
                                        int64_t width) {
  host_batch b;
  host_batch_fill(&b, format, NULL, 0, width);
  vonk_predictor *predictor = NULL;
  vonk_error err = {.struct_size = sizeof err};
  if (vonk_predictor_create(model, &b.type, NULL, &predictor, &err) != VONK_OK) {
    die("bind: %s", err.message);
  }
  return predictor;
}

/* Largest difference of the first output to what is expected; the predictions go to *out,
 * or are released if it is NULL. */
static inline double host_predict(const vonk_predictor *predictor, host_floats in,
                                  host_floats expected, struct ArrowArray *out) {
  host_batch b;
  host_batch_fill(&b, "f", in.values, in.rows, in.width);
  struct ArrowArray found = {0};
  vonk_error err = {.struct_size = sizeof err};
  if (vonk_predict(predictor, &b.rows, &found, &err) != VONK_OK) {
    die("predict: %s", err.message);
  }
  const struct ArrowArray *list = found.children[0], *items = list->children[0];
  if (list->length != expected.rows || items->length != expected.rows * expected.width) {
    die("%" PRId64 " rows of %" PRId64 " values, expected %" PRId64 " of %" PRId64,
        list->length, items->length, expected.rows, expected.rows * expected.width);
  }
  const float *values = items->buffers[1];
  double most = 0;
  for (int64_t i = 0; i < items->length; i++) {
    double difference = fabs((double)values[i] - (double)expected.values[i]);
    most = difference > most || isnan(difference) ? difference : most;
  }
  if (out == NULL) {
    found.release(&found);
  } else {
    *out = found;
  }
  return most;
}

#endif /* VONK_TESTS_MIXING_HOST_H */
