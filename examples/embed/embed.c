/* A C program that embeds vonk: opens a model, binds it to a column, predicts a batch,
 * prints the result.
 *
 *   cc -o embed embed.c $(pkg-config --cflags --libs vonk)
 *   ./embed digit.onnx
 *
 * The model must have one float32 input [N, n] and a float32 output [N, m]. The batch has
 * three rows: all zeros, a ramp from 0 to 1, and NULL, which gives a NULL prediction.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <vonk/vonk.h>

enum { N_ROWS = 3 };

/* Our memory lives until main returns, so releasing it needs no work. Arrow asks only
 * that release marks the struct. */
static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void release_array(struct ArrowArray *array) { array->release = NULL; }

static int fail(const char *what, const vonk_error *err) {
  fprintf(stderr, "embed: %s: %s\n", what, err->message);
  return 1;
}

static void print_signature(const vonk_model_summary *s) {
  printf("%s model by %s, run by %s %s\n", s->format,
         s->producer == NULL ? "?" : s->producer, s->plugin, s->runtime_version);
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    printf("input %s: %s, rank %" PRId32 "\n", s->inputs[i]->name,
           vonk_dtype_name(s->inputs[i]->dtype), s->inputs[i]->rank);
  }
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    printf("output %s: %s, rank %" PRId32 "\n", s->outputs[i]->name,
           vonk_dtype_name(s->outputs[i]->dtype), s->outputs[i]->rank);
  }
}

/* Predicts three rows of `width` numbers and prints the first output, a fixed-size list
 * of floats. */
static int predict(vonk_model *model, const char *input, int64_t width, vonk_error *err) {
  /* The columns' type: a struct with one child, a list of `width` floats. */
  char format[32];
  snprintf(format, sizeof format, "+w:%" PRId64, width);
  struct ArrowSchema item_type = {
      .format = "f", .name = "item", .release = release_schema};
  struct ArrowSchema *items[] = {&item_type};
  struct ArrowSchema column_type = {.format = format,
                                    .name = input,
                                    .flags = ARROW_FLAG_NULLABLE,
                                    .n_children = 1,
                                    .children = items,
                                    .release = release_schema};
  struct ArrowSchema *columns[] = {&column_type};
  struct ArrowSchema type = {
      .format = "+s", .n_children = 1, .children = columns, .release = release_schema};

  vonk_predictor *predictor = NULL;
  if (vonk_predictor_create(model, &type, NULL, &predictor, err) != VONK_OK) {
    return fail("bind", err);
  }

  /* The rows: values one after the other, and a bitmap in which row 2 is NULL. */
  float *values = calloc((size_t)(N_ROWS * width), sizeof *values);
  if (values == NULL) {
    vonk_predictor_release(predictor);
    return 1;
  }
  for (int64_t i = 0; i < width; i++) {
    values[width + i] = (float)i / (float)width;
  }
  static const uint8_t validity[] = {0x3};
  const void *item_buffers[] = {NULL, values}, *list_buffers[] = {validity},
             *row_buffers[] = {NULL};
  struct ArrowArray item = {.length = N_ROWS * width,
                            .n_buffers = 2,
                            .buffers = item_buffers,
                            .release = release_array};
  struct ArrowArray *item_arrays[] = {&item};
  struct ArrowArray column = {.length = N_ROWS,
                              .null_count = 1,
                              .n_buffers = 1,
                              .buffers = list_buffers,
                              .n_children = 1,
                              .children = item_arrays,
                              .release = release_array};
  struct ArrowArray *column_arrays[] = {&column};
  struct ArrowArray rows = {.length = N_ROWS,
                            .n_buffers = 1,
                            .buffers = row_buffers,
                            .n_children = 1,
                            .children = column_arrays,
                            .release = release_array};

  struct ArrowArray out;
  vonk_status status = vonk_predict(predictor, &rows, &out, err);
  if (status == VONK_OK) {
    /* A struct of outputs; the first one is a list of m floats a row. */
    const struct ArrowArray *list = out.children[0], *elements = list->children[0];
    const float *predictions = elements->buffers[1];
    const uint8_t *valid = list->buffers[0];
    int64_t m = elements->length / list->length;
    for (int64_t i = 0; i < list->length; i++) {
      int is_valid = valid == NULL || (valid[i / 8] >> (i % 8)) & 1;
      printf("row %" PRId64 ":", i);
      for (int64_t k = 0; is_valid && k < m; k++) {
        printf(" %.4f", (double)predictions[i * m + k]);
      }
      printf(is_valid ? "\n" : " NULL\n");
    }
    out.release(&out);
  }
  free(values);
  vonk_predictor_release(predictor);
  return status == VONK_OK ? 0 : fail("predict", err);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: embed MODEL\n");
    return 2;
  }
  vonk_error err = {.struct_size = sizeof err};
  vonk_model *model = NULL;
  if (vonk_model_open(argv[1], NULL, 0, &model, &err) != VONK_OK) {
    return fail("open", &err);
  }
  const vonk_model_summary *s = vonk_model_summarize(model);
  print_signature(s);
  int code = 1;
  if (s->n_inputs == 1 && s->inputs[0]->rank == 2 && s->inputs[0]->shape[1] > 0) {
    code = predict(model, s->inputs[0]->name, s->inputs[0]->shape[1], &err);
  } else {
    fprintf(stderr, "embed: this example wants a model with one input [N, n]\n");
  }
  vonk_model_close(model);
  vonk_shutdown();
  return code;
}
