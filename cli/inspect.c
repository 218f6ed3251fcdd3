/* `vonk inspect`: what a model wants and gives. */
#include "cli/inspect.h"

#include <inttypes.h>
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

/* --- signatures --- */

static bool is_about_signatures(const vonk_model_summary *s, const vonk_kv *entry) {
  return vonk_inspect_has_signatures(s) &&
         (strcmp(entry->key, "signature") == 0 || strcmp(entry->key, "signatures") == 0);
}

static void print_signatures(const vonk_model_summary *s) {
  const char *rest = vonk_inspect_metadata(s, "signatures"), *start;
  vonk_text text = {.size = 0};
  size_t n = 0, size;
  while ((size = vonk_inspect_next_signature(&rest, &start)) > 0) {
    vonk_text_add(&text, "%s%.*s", n++ == 0 ? "" : ", ", (int)size, start);
  }
  vonk_cli_clean(text.data);
  vonk_text chosen = {.size = 0};
  vonk_text_add(&chosen, "%s", vonk_inspect_metadata(s, "signature"));
  vonk_cli_clean(chosen.data);
  (void)printf("  %-10s %s", "signature", chosen.data);
  (void)(n > 1 ? printf(", of: %s\n", text.data) : printf("\n"));
}

/* Another signature than the one opened, as an example to type. */
static bool other_signature(const vonk_model_summary *s, vonk_text *out) {
  const char *rest = vonk_inspect_metadata(s, "signatures"),
             *chosen = vonk_inspect_metadata(s, "signature");
  const char *start;
  size_t size;
  while ((size = vonk_inspect_next_signature(&rest, &start)) > 0) {
    if (strlen(chosen) != size || memcmp(chosen, start, size) != 0) {
      vonk_text_add(out, "%.*s", (int)size, start);
      return true;
    }
  }
  return false;
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

/* "vonk <command> MODEL", with the options that opened it but for `left_out`, so that the
 * line can be pasted. */
static void print_command(const char *command, const vonk_model_summary *s,
                          const vonk_cli_model_options *options, const char *left_out) {
  vonk_text word = {.size = 0};
  vonk_cli_shell_word(s->path, &word);
  (void)printf("vonk %s %s", command, word.data);
  for (size_t i = 0; i < options->n; i++) {
    const char *key = options->kvs[i].key;
    if (left_out != NULL && strcmp(key, left_out) == 0) {
      continue;
    }
    static const char *const own[] = {"device", "plugin", "signature"};
    bool is_own = false;
    for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++) {
      is_own = is_own || strcmp(key, own[k]) == 0;
    }
    vonk_text value = {.size = 0}, quoted = {.size = 0};
    vonk_text_add(&value, "%s%s%s", is_own ? "" : key, is_own ? "" : "=",
                  options->kvs[i].value);
    vonk_cli_shell_word(value.data, &quoted);
    (void)printf(" --%s %s", is_own ? key : "option", quoted.data);
  }
}

static void print_next(const vonk_model_summary *s,
                       const vonk_cli_model_options *options) {
  vonk_text other = {.size = 0}, quoted = {.size = 0};
  (void)printf("\nNext:\n");
  print_hint(s);
  print_command("run", s, options, NULL);
  (void)printf(" ROWS.parquet -o PREDICTIONS.parquet\n");
  if (vonk_inspect_has_signatures(s) && other_signature(s, &other)) {
    vonk_cli_clean(other.data);
    vonk_cli_shell_word(other.data, &quoted);
    print_command("inspect", s, options, "signature");
    (void)printf(" --signature %s\n", quoted.data);
  }
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
  if (vonk_inspect_has_signatures(s)) {
    print_signatures(s);
  }
  const char *title = "metadata";
  for (uint32_t i = 0; i < s->n_metadata; i++) {
    if (!is_about_signatures(s, &s->metadata[i])) {
      print_metadata(title, &s->metadata[i]);
      title = "";
    }
  }
}

/* --- the command --- */

static vonk_status inspect(const vonk_cli_args *args, vonk_model *model,
                           const vonk_cli_model_options *options, vonk_error *err) {
  char digest[65];
  if (vonk_cli_flag(args, "selftest")) {
    return vonk_inspect_selftest(model, vonk_cli_flag(args, "json"), err);
  }
  bool wants_digest = vonk_cli_flag(args, "sha256");
  if (wants_digest) {
    VONK_TRY(vonk_model_sha256(model, digest, err));
  }
  const vonk_model_summary *summary = vonk_model_summarize(model);
  if (vonk_cli_flag(args, "json")) {
    return vonk_inspect_print_json(model, wants_digest ? digest : NULL, err);
  }
  print_summary(summary, wants_digest ? digest : NULL);
  if (vonk_model_bundle(model) != NULL) {
    vonk_inspect_print_bundle(vonk_model_bundle(model));
  }
  print_next(summary, options);
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
    status = inspect(args, model, &options, &err);
  }
  bool is_failed_test = model != NULL && status == VONK_BACKEND;
  vonk_model_close(model);
  vonk_cli_model_options_clear(&options);
  if (status == VONK_OK) {
    return VONK_EXIT_OK;
  }
  return vonk_cli_fail("inspect", &err,
                       is_failed_test ? VONK_EXIT_FAILED : VONK_EXIT_MODEL);
}
