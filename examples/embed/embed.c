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

/* One column of rows, in memory of our own. */
typedef struct batch {
  char format[32]; /* "+w:784": a list of 784 */
  struct ArrowSchema item_type, column_type, type;
  struct ArrowSchema *items[1], *columns[1];
  struct ArrowArray item, column, rows;
  struct ArrowArray *item_arrays[1], *column_arrays[1];
  const void *item_buffers[2], *column_buffers[1], *row_buffers[1];
} batch;

/* The columns' type: a struct with one child, a list of `width` floats. */
static void describe_batch(batch *b, const char *name, int64_t width) {
  snprintf(b->format, sizeof b->format, "+w:%" PRId64, width);
  b->item_type =
      (struct ArrowSchema){.format = "f", .name = "item", .release = release_schema};
  b->items[0] = &b->item_type;
  b->column_type = (struct ArrowSchema){.format = b->format,
                                        .name = name,
                                        .flags = ARROW_FLAG_NULLABLE,
                                        .n_children = 1,
                                        .children = b->items,
                                        .release = release_schema};
  b->columns[0] = &b->column_type;
  b->type = (struct ArrowSchema){
      .format = "+s", .n_children = 1, .children = b->columns, .release = release_schema};
}

/* The rows: their values one after the other, and a bitmap of those that are not NULL.
 * Both stay ours; vonk only looks at them. */
static void fill_batch(batch *b, const float *values, int64_t width,
                       const uint8_t *validity) {
  b->item_buffers[1] = values;
  b->column_buffers[0] = validity;
  b->item = (struct ArrowArray){.length = N_ROWS * width,
                                .n_buffers = 2,
                                .buffers = b->item_buffers,
                                .release = release_array};
  b->item_arrays[0] = &b->item;
  b->column = (struct ArrowArray){.length = N_ROWS,
                                  .null_count = -1,
                                  .n_buffers = 1,
                                  .buffers = b->column_buffers,
                                  .n_children = 1,
                                  .children = b->item_arrays,
                                  .release = release_array};
  b->column_arrays[0] = &b->column;
  b->rows = (struct ArrowArray){.length = N_ROWS,
                                .n_buffers = 1,
                                .buffers = b->row_buffers,
                                .n_children = 1,
                                .children = b->column_arrays,
                                .release = release_array};
}

/* A struct of outputs; the first one is a list of m floats a row. */
static void print_predictions(const struct ArrowArray *out) {
  const struct ArrowArray *list = out->children[0], *elements = list->children[0];
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
}

/* Binds the input to a column of its own name, and predicts three rows of `width`
 * numbers. */
static int predict(vonk_model *model, const char *input, int64_t width, vonk_error *err) {
  static const uint8_t validity[] = {0x3}; /* row 2 is NULL */
  static batch b;
  vonk_predictor *predictor = NULL;
  describe_batch(&b, input, width);
  if (vonk_predictor_create(model, &b.type, NULL, &predictor, err) != VONK_OK) {
    return fail("bind", err);
  }
  vonk_status status = VONK_NOMEM;
  float *values = calloc((size_t)(N_ROWS * width), sizeof *values);
  if (values != NULL) {
    for (int64_t i = 0; i < width; i++) {
      values[width + i] = (float)i / (float)width;
    }
    fill_batch(&b, values, width, validity);
    struct ArrowArray out;
    status = vonk_predict(predictor, &b.rows, &out, err);
    if (status == VONK_OK) {
      print_predictions(&out);
      out.release(&out);
    }
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
