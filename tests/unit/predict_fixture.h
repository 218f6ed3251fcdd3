/* For the tests of src/model and src/predict: mock models written to a folder of their
 * own, and batches whose every number is in sight. */
#ifndef VONK_TESTS_PREDICT_FIXTURE_H
#define VONK_TESTS_PREDICT_FIXTURE_H

/* cmocka.h needs what stands before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* clang-format on */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "mock/counters.h"
#include "vonk/vonk.h"

#define MOCK(NAME) VONK_MOCK_DIR "/mock_" NAME ".so"

/* --- results of calls --------------------------------------------------------------- */

#define assert_ok(call, err) fixture_assert_ok((call), (err), __FILE__, __LINE__)
static inline void fixture_assert_ok(vonk_status status, const vonk_error *err,
                                     const char *file, int line) {
  if (status != VONK_OK) {
    print_error("%s:%d: %s: %s\n", file, line, vonk_status_name(status), err->message);
    _fail(file, line);
  }
}

/* The call failed with this code, and a message that holds this text. */
#define assert_fails(call, err, code, text) \
  fixture_assert_fails((call), (err), (code), (text), __FILE__, __LINE__)
static inline void fixture_assert_fails(vonk_status status, const vonk_error *err,
                                        vonk_status code, const char *text,
                                        const char *file, int line) {
  if (status != code || strstr(err->message, text) == NULL) {
    print_error("%s:%d: %s: %s\n  expected %s: ...%s...\n", file, line,
                vonk_status_name(status), err->message, vonk_status_name(code), text);
    _fail(file, line);
  }
}

/* --- model files -------------------------------------------------------------------- */

static char fixture_folder[64];

static inline int fixture_make_folder(void **state) {
  (void)state;
  strcpy(fixture_folder, "/tmp/vonk-test-XXXXXX");
  return mkdtemp(fixture_folder) == NULL;
}

static inline int fixture_remove_folder(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", fixture_folder);
  return system(command); /* a path of our own making */
}

/* Writes a model file; the path is good until the next call with the same name. */
static inline const char *fixture_write(const char *name, const char *text) {
  static _Thread_local char path[160];
  snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  assert_int_equal(fclose(file), 0);
  return path;
}

static inline vonk_model *fixture_open(const char *path, const char *plugin) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"plugin", plugin}};
  assert_ok(vonk_model_open(path, options, 1, &model, &err), &err);
  return model;
}

/* What the mock at this path counts. */
static inline mock_counters fixture_counters(const char *plugin) {
  mock_counters counters;
  mock_counters_fn read;
  void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  void *symbol = dlsym(library, "mock_counters_read");
  assert_non_null(symbol);
  memcpy(&read, &symbol, sizeof read);
  read(&counters);
  dlclose(library);
  return counters;
}

/* --- batches ------------------------------------------------------------------------ */

enum { FIXTURE_COLUMNS = 4 };

/* A batch and its schema, filled in place: it must not be moved. Buffers are borrowed. */
typedef struct fixture_batch {
  struct ArrowSchema schema, columns[FIXTURE_COLUMNS], items[FIXTURE_COLUMNS];
  struct ArrowSchema *schema_children[FIXTURE_COLUMNS], *item_schemas[FIXTURE_COLUMNS];
  struct ArrowArray array, arrays[FIXTURE_COLUMNS], item_arrays[FIXTURE_COLUMNS];
  struct ArrowArray *array_children[FIXTURE_COLUMNS], *item_children[FIXTURE_COLUMNS];
  const void *buffers[FIXTURE_COLUMNS][3], *item_buffers[FIXTURE_COLUMNS][2];
  const void *no_buffer[1];
  char formats[FIXTURE_COLUMNS][16];
} fixture_batch;

static inline void fixture_release_schema(struct ArrowSchema *schema) {
  schema->release = NULL;
}
static inline void fixture_release_array(struct ArrowArray *array) {
  array->release = NULL;
}

static inline void fixture_start(fixture_batch *b, int64_t n_rows) {
  memset(b, 0, sizeof *b);
  b->schema = (struct ArrowSchema){.format = "+s",
                                   .name = "",
                                   .children = b->schema_children,
                                   .release = fixture_release_schema};
  b->array = (struct ArrowArray){.length = n_rows,
                                 .n_buffers = 1,
                                 .buffers = b->no_buffer,
                                 .children = b->array_children,
                                 .release = fixture_release_array};
}

/* One more column: values, or texts (format "u", with offsets). validity may be NULL. */
static inline size_t fixture_add(fixture_batch *b, const char *name, const char *format,
                                 const void *validity, const void *values,
                                 const int32_t *offsets) {
  size_t i = (size_t)b->schema.n_children++;
  assert_true(i < FIXTURE_COLUMNS);
  b->array.n_children++;
  b->schema_children[i] = &b->columns[i];
  b->array_children[i] = &b->arrays[i];
  b->columns[i] = (struct ArrowSchema){.format = format,
                                       .name = name,
                                       .flags = ARROW_FLAG_NULLABLE,
                                       .release = fixture_release_schema};
  bool is_text = offsets != NULL;
  b->buffers[i][0] = validity;
  b->buffers[i][1] = is_text ? (const void *)offsets : values;
  b->buffers[i][2] = values;
  b->arrays[i] = (struct ArrowArray){.length = b->array.length,
                                     .null_count = validity == NULL ? 0 : -1,
                                     .n_buffers = is_text ? 3 : 2,
                                     .buffers = b->buffers[i],
                                     .release = fixture_release_array};
  return i;
}

/* One more column of lists: of `width` elements each, or, with offsets, of any length. */
static inline void fixture_add_lists(fixture_batch *b, const char *name,
                                     const char *format, int64_t width,
                                     const int32_t *offsets, const void *validity,
                                     const void *values) {
  size_t i = fixture_add(b, name, "", validity, values, NULL);
  snprintf(b->formats[i], sizeof b->formats[i], offsets == NULL ? "+w:%d" : "+l",
           (int)width);
  b->columns[i].format = b->formats[i];
  b->columns[i].n_children = 1;
  b->columns[i].children = &b->item_schemas[i];
  b->item_schemas[i] = &b->items[i];
  b->items[i] = (struct ArrowSchema){.format = format,
                                     .name = "item",
                                     .flags = ARROW_FLAG_NULLABLE,
                                     .release = fixture_release_schema};
  b->buffers[i][1] = offsets;
  b->arrays[i].n_buffers = offsets == NULL ? 1 : 2;
  b->arrays[i].n_children = 1;
  b->arrays[i].children = &b->item_children[i];
  b->item_children[i] = &b->item_arrays[i];
  b->item_buffers[i][1] = values;
  b->item_arrays[i] = (struct ArrowArray){
      .length = offsets == NULL ? width * b->array.length : offsets[b->array.length],
      .n_buffers = 2,
      .buffers = b->item_buffers[i],
      .release = fixture_release_array};
}

static inline vonk_predictor *fixture_bind(vonk_model *model, const fixture_batch *b,
                                           const vonk_bind_options *options) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_predictor *predictor = NULL;
  assert_ok(vonk_predictor_create(model, &b->schema, options, &predictor, &err), &err);
  return predictor;
}

static inline vonk_stats fixture_stats(const vonk_predictor *predictor) {
  vonk_stats stats = {.struct_size = (uint32_t)sizeof stats};
  vonk_predictor_stats(predictor, &stats);
  return stats;
}

#endif /* VONK_TESTS_PREDICT_FIXTURE_H */
