/* The mock's model files read: mock.h includes this in its middle and describes the
 * statements. */
#ifndef VONK_MOCK_MODEL_H
#define VONK_MOCK_MODEL_H

/* --- the model file ----------------------------------------------------------------- */

enum { MOCK_MAX_IO = 32, MOCK_MAX_META = 8, MOCK_MAX_FILE = 1 << 16 };
enum { MOCK_COPY, MOCK_SUM, MOCK_ROWS, MOCK_LENGTH, MOCK_SHORT };

typedef struct mock_tensor {
  char *name;
  vonk_dtype dtype;
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
  const char *dim_names[VONK_MAX_RANK];
  bool declared;
  int op;
  uint32_t source;
} mock_tensor;

struct vonk_plugin_model {
  char text[MOCK_MAX_FILE];
  mock_tensor inputs[MOCK_MAX_IO], outputs[MOCK_MAX_IO];
  uint32_t n_inputs, n_outputs, n_metadata;
  vonk_kv metadata[MOCK_MAX_META];
  const char *producer;
  int64_t n_params, weight_bytes, sleep_ms, fail_rows;
  bool has_fail, deaf;
  uint32_t fail_input;
  double fail_value, scale;
};

struct vonk_plugin_session {
  const vonk_plugin_model *model;
  _Atomic int running;
};

static char *mock_word(char **rest) {
  char *start = *rest + strspn(*rest, " \t\r");
  if (*start == '\0') {
    return NULL;
  }
  char *end = start + strcspn(start, " \t\r");
  *rest = *end == '\0' ? end : end + 1;
  *end = '\0';
  return start;
}

static vonk_dtype mock_find_dtype(const char *name) {
  for (int i = 1; name != NULL && i < MOCK_N_DTYPES; i++) {
    if (strcmp(mock_dtypes[i].name, name) == 0) {
      return i;
    }
  }
  return 0;
}

static bool mock_find_input(const vonk_plugin_model *model, const char *name,
                            uint32_t *out) {
  for (uint32_t i = 0; name != NULL && i < model->n_inputs; i++) {
    if (strcmp(model->inputs[i].name, name) == 0) {
      *out = i;
      return true;
    }
  }
  return false;
}

/* DTYPE DIM... up to the end or "=". */
static const char *mock_parse_type(mock_tensor *tensor, const char *dtype, char **rest,
                                   bool *has_op) {
  tensor->dtype = mock_find_dtype(dtype);
  if (tensor->dtype == 0) {
    return "unknown dtype";
  }
  char *word;
  while ((word = mock_word(rest)) != NULL && strcmp(word, "=") != 0) {
    char *end;
    if (strcmp(word, "?") == 0) {
      tensor->rank = -1;
      continue;
    }
    if (tensor->rank < 0 || tensor->rank == VONK_MAX_RANK) {
      return "too many dims";
    }
    long long dim = strtoll(word, &end, 10);
    bool named = *end != '\0';
    if (!named && dim < -1) {
      return "a dim is below -1";
    }
    tensor->dim_names[tensor->rank] = named ? word : NULL;
    tensor->shape[tensor->rank++] = named ? -1 : dim;
  }
  *has_op = word != NULL;
  return NULL;
}

static void mock_infer_type(const mock_tensor *source, mock_tensor *tensor) {
  if (tensor->op == MOCK_COPY || tensor->op == MOCK_SHORT) {
    tensor->dtype = source->dtype;
    tensor->rank = source->rank;
    memcpy(tensor->shape, source->shape, sizeof(tensor->shape));
    memcpy(tensor->dim_names, source->dim_names, sizeof(tensor->dim_names));
    return;
  }
  bool is_float = tensor->op == MOCK_SUM && mock_dtypes[source->dtype].is_float;
  tensor->dtype = !is_float ? VONK_I64 : source->dtype == VONK_F64 ? VONK_F64 : VONK_F32;
  tensor->rank = 1;
  tensor->shape[0] = source->rank > 0 ? source->shape[0] : -1;
}

static const char *mock_parse_output(vonk_plugin_model *model, char *rest) {
  static const char *const ops[] = {"copy", "sum", "rows", "length", "short"};
  mock_tensor *tensor = &model->outputs[model->n_outputs];
  tensor->name = mock_word(&rest);
  char *word = tensor->name == NULL ? NULL : mock_word(&rest);
  bool has_op = word != NULL && strcmp(word, "=") == 0;
  tensor->declared = !has_op;
  if (!has_op) {
    const char *problem = mock_parse_type(tensor, word, &rest, &has_op);
    if (problem != NULL) {
      return problem;
    }
  }
  const char *op = has_op ? mock_word(&rest) : "copy";
  const char *source = has_op                 ? mock_word(&rest)
                       : model->n_inputs == 0 ? NULL
                                              : model->inputs[0].name;
  tensor->op = -1;
  for (int i = 0; op != NULL && i <= MOCK_SHORT; i++) {
    tensor->op = strcmp(ops[i], op) == 0 ? i : tensor->op;
  }
  if (tensor->op < 0) {
    return "unknown op";
  }
  if (!mock_find_input(model, source, &tensor->source)) {
    return "unknown input";
  }
  const mock_tensor *input = &model->inputs[tensor->source];
  if (!tensor->declared) {
    mock_infer_type(input, tensor);
  }
  bool moves_bytes = tensor->op == MOCK_COPY || tensor->op == MOCK_SHORT;
  if ((input->dtype == VONK_BYTES && tensor->op == MOCK_SUM) ||
      (moves_bytes && (input->dtype == VONK_BYTES) != (tensor->dtype == VONK_BYTES)) ||
      (!moves_bytes && tensor->dtype == VONK_BYTES)) {
    return "that op has no strings";
  }
  model->n_outputs++;
  return NULL;
}

static const char *mock_parse_input(vonk_plugin_model *model, char *rest) {
  mock_tensor *tensor = &model->inputs[model->n_inputs];
  tensor->name = mock_word(&rest);
  bool has_op = false;
  const char *problem = mock_parse_type(tensor, mock_word(&rest), &rest, &has_op);
  if (problem == NULL && has_op) {
    problem = "an input has no op";
  }
  model->n_inputs += problem == NULL;
  return problem;
}

static const char *mock_parse_fail(vonk_plugin_model *model, char *rest) {
  const char *name = mock_word(&rest), *value = mock_word(&rest);
  model->has_fail = value != NULL && mock_find_input(model, name, &model->fail_input) &&
                    model->inputs[model->fail_input].dtype != VONK_BYTES;
  model->fail_value = value == NULL ? 0.0 : strtod(value, NULL);
  return model->has_fail ? NULL : "expected: fail INPUT VALUE";
}

static const char *mock_parse_number(const char *text, int64_t *out) {
  char *end = NULL;
  errno = 0;
  long long value = text == NULL ? 0 : strtoll(text, &end, 10);
  if (text == NULL || end == text || *end != '\0' || errno != 0 || value < 0) {
    return "expected a number";
  }
  *out = value;
  return NULL;
}

/* What is wrong with the statement, or NULL. */
static const char *mock_parse_line(vonk_plugin_model *model, char *line) {
  char *rest = line;
  const char *word = mock_word(&rest);
  if (word == NULL || word[0] == '#') {
    return NULL;
  }
  const struct {
    const char *name;
    int64_t *out;
  } numbers[] = {{"params", &model->n_params},
                 {"weight_bytes", &model->weight_bytes},
                 {"sleep_ms", &model->sleep_ms},
                 {"fail_rows", &model->fail_rows}};
  for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
    if (strcmp(word, numbers[i].name) == 0) {
      return mock_parse_number(mock_word(&rest), numbers[i].out);
    }
  }
  if (strcmp(word, "input") == 0) {
    return model->n_inputs == MOCK_MAX_IO ? "too many" : mock_parse_input(model, rest);
  }
  if (strcmp(word, "output") == 0) {
    return model->n_outputs == MOCK_MAX_IO ? "too many" : mock_parse_output(model, rest);
  }
  if (strcmp(word, "fail") == 0) {
    return mock_parse_fail(model, rest);
  }
  if (strcmp(word, "deaf") == 0) {
    model->deaf = true;
    return NULL;
  }
  if (strcmp(word, "producer") == 0) {
    model->producer = rest;
    return NULL;
  }
  if (strcmp(word, "metadata") == 0 && model->n_metadata < MOCK_MAX_META) {
    const char *key = mock_word(&rest);
    model->metadata[model->n_metadata] = (vonk_kv){key, rest};
    model->n_metadata += key != NULL;
    return key == NULL ? "expected: metadata KEY VALUE" : NULL;
  }
  return "unknown statement";
}

static vonk_status mock_parse(vonk_plugin_model *model, const char *path,
                              vonk_error *err) {
  int number = 1;
  for (char *line = model->text; *line != '\0'; number++) {
    char *end = line + strcspn(line, "\n");
    char *next = *end == '\0' ? end : end + 1;
    *end = '\0';
    const char *problem = mock_parse_line(model, line);
    if (problem != NULL) {
      return mock_fail(err, VONK_MODEL, "%s: line %d: %s", path, number, problem);
    }
    line = next;
  }
  if (model->n_inputs == 0 || model->n_outputs == 0) {
    return mock_fail(err, VONK_MODEL, "%s: declares no %s: is it a mock model?", path,
                     model->n_inputs == 0 ? "input" : "output");
  }
  return VONK_OK;
}

/* The statements of a model that is a folder: its model.mock. */
static bool mock_in_folder(const char *path, char out[4096]) {
  struct stat facts;
  int n = snprintf(out, 4096, "%s/model.mock", path);
  return n < 4096 && stat(out, &facts) == 0 && S_ISREG(facts.st_mode);
}

/* Checks the n bytes that were read. */
static vonk_status mock_end_text(vonk_plugin_model *model, const char *path, size_t n,
                                 vonk_error *err) {
  if (n == MOCK_MAX_FILE || memchr(model->text, '\0', n) != NULL) {
    return mock_fail(err, VONK_MODEL, "%s: is no text of less than %d bytes", path,
                     MOCK_MAX_FILE);
  }
  model->text[n] = '\0';
  return VONK_OK;
}

static vonk_status mock_read(vonk_plugin_model *model, const char *path,
                             vonk_error *err) {
  char inner[4096];
  FILE *file = fopen(mock_in_folder(path, inner) ? inner : path, "rb");
  if (file == NULL) {
    return mock_fail(err, VONK_IO, "%s: cannot be opened: %s", path, strerror(errno));
  }
  size_t n = fread(model->text, 1, MOCK_MAX_FILE, file);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed) {
    return mock_fail(err, VONK_IO, "%s: cannot be read: is it a folder?", path);
  }
  return mock_end_text(model, path, n, err);
}

/* The model's own file, or the model.mock of a folder. */
static const vonk_file *mock_find_file(const vonk_files *files) {
  const char *wanted = files->main == NULL ? "model.mock" : files->main;
  for (uint32_t i = 0; i < files->n_files; i++) {
    if (strcmp(files->files[i].name, wanted) == 0) {
      return &files->files[i];
    }
  }
  return NULL;
}

static vonk_status mock_read_files(vonk_plugin_model *model, const vonk_files *files,
                                   vonk_error *err) {
  const vonk_file *file = mock_find_file(files);
  if (file == NULL) {
    return mock_fail(err, VONK_IO, "%s: is not among its files", files->path);
  }
  size_t n = file->nbytes < MOCK_MAX_FILE ? (size_t)file->nbytes : MOCK_MAX_FILE;
  if (n > 0) {
    memcpy(model->text, file->data, n);
  }
  return mock_end_text(model, files->path, n, err);
}

#endif /* VONK_MOCK_MODEL_H */
