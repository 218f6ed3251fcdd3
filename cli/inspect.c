/* `vonk inspect`: what a model wants and gives. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"

/* --- for people --- */

static void print_tensors(const char *title, const vonk_io *const *ios, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    vonk_text text = {.size = 0};
    vonk_cli_tensor(ios[i], &text);
    vonk_cli_clean(text.data);
    (void)printf("  %-10s %s\n", i == 0 ? title : "", text.data);
  }
}

static void print_size(const vonk_model_summary *s) {
  char count[32], weights[32], file[32];
  (void)printf("  %-10s ", "size");
  if (s->n_params >= 0) {
    (void)printf("%s parameters, ", vonk_cli_count(s->n_params, count));
  }
  if (s->weight_bytes >= 0) {
    (void)printf("%s of weights, ", vonk_cli_bytes(s->weight_bytes, weights));
  }
  (void)printf("%s file\n", vonk_cli_bytes(s->file_bytes, file));
}

/* How a column must look to feed an input, in the words of the tables people have. */
static void print_hint(const vonk_model_summary *s) {
  const vonk_io *in = s->n_inputs == 1 ? s->inputs[0] : NULL;
  if (in == NULL) {
    (void)printf(
        "# Columns named like the inputs are found by themselves; others: --input "
        "TENSOR=COLUMN\n");
  } else if (in->rank == 2 && in->shape[1] > 1) {
    (void)printf("# '%s' takes a list column of %" PRId64 " numbers, or %" PRId64
                 " number columns: --input %s=A,B,...\n",
                 in->name, in->shape[1], in->shape[1], in->name);
  } else {
    (void)printf("# '%s' takes the column of that name, or another: --input %s=COLUMN\n",
                 in->name, in->name);
  }
}

/* One line; long values are cut, --json has them whole. */
static void print_metadata(const char *title, const vonk_kv *entry) {
  enum { LONGEST = 100 };
  vonk_text text = {.size = 0};
  bool is_long = strlen(entry->value) > LONGEST;
  vonk_text_add(&text, "%.64s: %.*s%s", entry->key, LONGEST, entry->value,
                is_long ? "..." : "");
  vonk_cli_clean(text.data);
  (void)printf("  %-10s %s\n", title, text.data);
}

static void print_summary(const vonk_model_summary *s, const char *digest) {
  (void)printf("%s\n", s->path);
  vonk_text producer = {.size = 0};
  vonk_text_add(&producer, "%s", s->producer == NULL ? "" : s->producer);
  vonk_cli_clean(producer.data);
  (void)printf("  %-10s %s%s%s\n", "format", s->format,
               s->producer == NULL ? "" : ", written by ", producer.data);
  (void)printf("  %-10s plug-in %s, runtime %s (%s)\n", "opened by", s->plugin,
               s->runtime_version, s->runtime_path);
  (void)printf("  %-10s %s\n", "device", s->device);
  print_size(s);
  if (digest != NULL) {
    (void)printf("  %-10s %s\n", "sha256", digest);
  }
  print_tensors(s->n_inputs == 1 ? "input" : "inputs", s->inputs, s->n_inputs);
  print_tensors(s->n_outputs == 1 ? "output" : "outputs", s->outputs, s->n_outputs);
  for (uint32_t i = 0; i < s->n_metadata; i++) {
    print_metadata(i == 0 ? "metadata" : "", &s->metadata[i]);
  }
  (void)printf("\nNext:\n");
  print_hint(s);
  (void)printf("vonk run %s ROWS.parquet -o PREDICTIONS.parquet\n", s->path);
}

/* --- for scripts --- */

static json_t *json_text(const char *text) {
  if (text == NULL) {
    return json_null();
  }
  json_t *value = json_string(text); /* NULL if it is not UTF-8 */
  return value == NULL ? json_string("(not UTF-8)") : value;
}

static json_t *json_tensor(const vonk_io *io) {
  json_t *shape = json_null();
  if (io->rank >= 0) {
    shape = json_array();
    for (int32_t i = 0; i < io->rank; i++) {
      const char *name = io->dim_names == NULL ? NULL : io->dim_names[i];
      (void)json_array_append_new(
          shape, io->shape[i] >= 0 ? json_integer(io->shape[i]) : json_text(name));
    }
  }
  return json_pack("{s:o, s:s, s:o}", "name", json_text(io->name), "dtype",
                   vonk_dtype_name(io->dtype), "shape", shape);
}

static json_t *json_tensors(const vonk_io *const *ios, uint32_t n) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < n; i++) {
    (void)json_array_append_new(list, json_tensor(ios[i]));
  }
  return list;
}

static json_t *json_count(int64_t n) { return n < 0 ? json_null() : json_integer(n); }

static json_t *json_summary(const vonk_model_summary *s, const char *digest) {
  json_t *metadata = json_object();
  for (uint32_t i = 0; i < s->n_metadata; i++) {
    (void)json_object_set_new(metadata, s->metadata[i].key,
                              json_text(s->metadata[i].value));
  }
  json_t *root = json_object();
  (void)json_object_set_new(root, "path", json_text(s->path));
  (void)json_object_set_new(root, "format", json_text(s->format));
  (void)json_object_set_new(root, "producer", json_text(s->producer));
  (void)json_object_set_new(root, "plugin", json_text(s->plugin));
  (void)json_object_set_new(root, "runtime_version", json_text(s->runtime_version));
  (void)json_object_set_new(root, "runtime_path", json_text(s->runtime_path));
  (void)json_object_set_new(root, "device", json_text(s->device));
  (void)json_object_set_new(root, "parameters", json_count(s->n_params));
  (void)json_object_set_new(root, "weight_bytes", json_count(s->weight_bytes));
  (void)json_object_set_new(root, "file_bytes", json_count(s->file_bytes));
  (void)json_object_set_new(root, "inputs", json_tensors(s->inputs, s->n_inputs));
  (void)json_object_set_new(root, "outputs", json_tensors(s->outputs, s->n_outputs));
  (void)json_object_set_new(root, "metadata", metadata);
  if (digest != NULL) {
    (void)json_object_set_new(root, "sha256", json_text(digest));
  }
  return root;
}

/* --- the command --- */

static vonk_status inspect(const vonk_cli_args *args, const vonk_model *model,
                           vonk_error *err) {
  char digest[65];
  bool wants_digest = vonk_cli_flag(args, "sha256");
  if (wants_digest) {
    VONK_TRY(vonk_model_sha256(model, digest, err));
  }
  const vonk_model_summary *summary = vonk_model_summarize(model);
  if (vonk_cli_flag(args, "json")) {
    json_t *root = json_summary(summary, wants_digest ? digest : NULL);
    (void)json_dumpf(root, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(root);
  } else {
    print_summary(summary, wants_digest ? digest : NULL);
  }
  return VONK_OK;
}

int vonk_cli_inspect(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_cli_model_options options;
  if (vonk_cli_model_options_read(args, &options, &err) != VONK_OK) {
    return vonk_cli_misuse("inspect", &err);
  }
  vonk_model *model = NULL;
  vonk_status status =
      vonk_model_open(args->operands[0], options.kvs, options.n, &model, &err);
  if (status == VONK_OK) {
    status = inspect(args, model, &err);
  }
  vonk_model_close(model);
  vonk_cli_model_options_clear(&options);
  return status == VONK_OK ? VONK_EXIT_OK
                           : vonk_cli_fail("inspect", &err, VONK_EXIT_MODEL);
}
