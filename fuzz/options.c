/* Fuzz target: what users write. Paths with pins, device names, options, the maps of
 * inputs and outputs, against models and columns of any signature.
 *
 * How it works: the first byte chooses. Opening is tried up to where a plug-in would be
 * looked for, with a file that exists. Binding is tried on a model that no plug-in has
 * opened: its signature, and the columns, are built from the input, with dims and formats
 * out of tables of likely and of hostile ones, names out of a few that meet, and map
 * texts as they come. What is accepted is held against what vonk.h promises; what is
 * refused must leave its output alone and say why. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "fuzz/target.h"
#include "model/internal.h"

enum { MAX_IO = 3, MAX_COLUMNS = 5, MAX_NODES = 40, MAX_MAP = 3, MAX_TEXT = 128 };

/* --- the input --- */

typedef struct source {
  const uint8_t *data;
  size_t size;
} source;

static uint8_t take(source *in) {
  if (in->size == 0) return 0;
  in->size--;
  return *in->data++;
}

/* Up to the next 0xFF, or a NUL; or one of a few names. */
static const char *take_text(source *in, char *out) {
  static const char *const names[] = {"x",   "y",   "a", "b",     "s",    "s.a",
                                      "a,b", "s.t", "",  "error", "x, a", "a,b,x"};
  enum { N_NAMES = sizeof names / sizeof names[0] };
  uint8_t choice = take(in);
  if (choice < N_NAMES) return names[choice];
  size_t n = 0;
  for (uint8_t c; n + 1 < MAX_TEXT && in->size > 0 && (c = take(in)) != 0xFF;) {
    out[n++] = (char)c;
  }
  out[n] = '\0';
  return out;
}

/* A refusal has a known code and a message. */
static void check_refused(vonk_status status, const vonk_error *err) {
  CHECK(status > VONK_OK && status <= VONK_FORKED);
  CHECK(err->code == status);
  CHECK(err->message[0] != '\0');
  CHECK(memchr(err->message, '\0', sizeof err->message) != NULL);
}

/* --- opening --- */

static void check_request(const vonk_open_request *r) {
  CHECK(r->path[0] == '/');
  size_t digits = strspn(r->pin, "0123456789abcdef");
  CHECK(r->pin[digits] == '\0' && (digits == 0 || digits == 64));
  for (size_t i = 0; i < r->n_options; i++) {
    CHECK(strcmp(r->options[i].key, "plugin") != 0);
    CHECK(strcmp(r->options[i].key, "device") != 0);
    CHECK(i == 0 || strcmp(r->options[i - 1].key, r->options[i].key) < 0);
  }
}

static void fuzz_request(source *in) {
  static const char *const keys[] = {"plugin", "device", "scale", "", "plugin "};
  char path[MAX_TEXT + 32], key_texts[MAX_MAP][MAX_TEXT], value_texts[MAX_MAP][MAX_TEXT];
  char suffix[MAX_TEXT];
  vonk_kv options[MAX_MAP];
  vonk_error err = VONK_ERROR_INIT;
  vonk_open_request request, before;
  size_t n_options = take(in) % (MAX_MAP + 1);
  for (size_t i = 0; i < n_options; i++) {
    uint8_t choice = take(in);
    options[i].key = choice < 5     ? keys[choice]
                     : choice < 250 ? take_text(in, key_texts[i])
                                    : NULL;
    options[i].value = choice == 255 ? NULL : take_text(in, value_texts[i]);
  }
  (void)snprintf(path, sizeof path, "%s%s", take(in) % 8 == 0 ? "" : "/proc/self/exe",
                 take_text(in, suffix));
  memset(&request, 0xAA, sizeof request);
  before = request;
  vonk_status status = vonk_open_request_parse(path, options, n_options, &request, &err);
  if (status != VONK_OK) {
    check_refused(status, &err);
    CHECK(request.path == before.path && request.options == before.options &&
          request.n_options == before.n_options && request.plugin == before.plugin);
    return;
  }
  check_request(&request);
  vonk_open_request_clear(&request);
}

static void fuzz_device(source *in) {
  char text[MAX_TEXT], name[32];
  vonk_error err = VONK_ERROR_INIT;
  vonk_device device, again;
  vonk_status status = vonk_device_parse(take_text(in, text), &device, &err);
  if (status != VONK_OK) {
    check_refused(status, &err);
    return;
  }
  vonk_device_describe(device, name);
  CHECK(vonk_device_parse(name, &again, &err) == VONK_OK);
  CHECK(again.kind == device.kind && again.index == device.index);
}

/* --- a model that no plug-in has opened --- */

typedef struct made_model {
  struct vonk_model model;
  vonk_plugin plugin;
  vonk_io ios[2 * MAX_IO];
  const vonk_io *table[2 * MAX_IO];
  int64_t shapes[2 * MAX_IO][VONK_MAX_RANK];
  char names[2 * MAX_IO][MAX_TEXT];
} made_model;

static void make_io(source *in, made_model *m, size_t i) {
  static const int64_t dims[] = {-1, 1,  2,  3,         4,         0,
                                 -1, 32, -1, INT32_MAX, INT64_MAX, 1 << 20};
  vonk_io *io = &m->ios[i];
  io->struct_size = (uint32_t)sizeof *io;
  io->dtype = 1 + take(in) % 15; /* 15 is none */
  io->rank = (int32_t)(take(in) % (VONK_MAX_RANK + 2)) - 1;
  for (int32_t d = 0; d < io->rank; d++) {
    m->shapes[i][d] = dims[take(in) % (sizeof dims / sizeof dims[0])];
  }
  io->shape = m->shapes[i];
  io->name = take_text(in, m->names[i]);
  m->table[i] = io;
}

static void make_model(source *in, made_model *m) {
  memset(m, 0, sizeof *m);
  vonk_model_summary *s = &m->model.summary;
  s->n_inputs = take(in) % (MAX_IO + 1);
  s->n_outputs = take(in) % (MAX_IO + 1);
  for (size_t i = 0; i < s->n_inputs + s->n_outputs; i++) {
    make_io(in, m, i);
  }
  s->path = "/made";
  s->inputs = m->table;
  s->outputs = m->table + s->n_inputs;
  m->plugin.api.caps = VONK_CAP_CONCURRENT_RUN | VONK_CAP_PREALLOCATED_OUT;
  m->model.plugin = &m->plugin;
  m->model.references = 1; /* ours, so that nobody frees it */
}

/* --- columns --- */

typedef struct made_schema {
  struct ArrowSchema nodes[MAX_NODES];
  struct ArrowSchema *children[MAX_NODES][MAX_COLUMNS];
  char names[MAX_NODES][MAX_TEXT], formats[MAX_NODES][24];
  size_t n;
} made_schema;

static void release_nothing(struct ArrowSchema *schema) { schema->release = NULL; }

static struct ArrowSchema *make_schema(source *in, made_schema *made, int depth) {
  static const char *const formats[] = {
      "f", "g", "e", "c", "s",  "i",  "l",  "C",  "S",   "I",    "L",     "b",
      "u", "U", "z", "n", "+l", "+L", "+w", "+s", "+vl", "tsu:", "d:1,1", "+m"};
  if (made->n == MAX_NODES) return NULL;
  size_t at = made->n++;
  struct ArrowSchema *node = &made->nodes[at];
  const char *format = formats[take(in) % (sizeof formats / sizeof formats[0])];
  if (depth == 0) format = "+s";
  (void)snprintf(made->formats[at], sizeof made->formats[at],
                 strcmp(format, "+w") == 0 ? "%s:%u" : "%s", format, take(in) % 8u);
  *node = (struct ArrowSchema){.format = made->formats[at],
                               .name = take_text(in, made->names[at]),
                               .flags = ARROW_FLAG_NULLABLE,
                               .children = made->children[at],
                               .release = release_nothing};
  int64_t wanted = strcmp(format, "+s") == 0 ? take(in) % (MAX_COLUMNS + 1)
                   : format[0] == '+'        ? 1
                                             : 0;
  for (int64_t i = 0; depth < 6 && i < wanted; i++) {
    struct ArrowSchema *child = make_schema(in, made, depth + 1);
    if (child != NULL) made->children[at][node->n_children++] = child;
  }
  if (format[0] != '+' && take(in) % 8 == 7 && depth < 6) {
    node->dictionary = make_schema(in, made, 6);
  }
  return node;
}

/* --- binding --- */

static void check_predictor(const vonk_predictor *p, const struct ArrowSchema *columns,
                            const vonk_model_summary *s, const vonk_bind_options *o) {
  struct ArrowSchema schema;
  vonk_error err = VONK_ERROR_INIT;
  const int64_t *indices = NULL;
  size_t n = 0;
  vonk_status status = vonk_predictor_schema(p, &schema, &err);
  if (status != VONK_OK) (void)fprintf(stderr, "%s\n", err.message);
  CHECK(status == VONK_OK);
  size_t n_outputs = o->n_outputs > 0 ? o->n_outputs : s->n_outputs;
  CHECK(schema.n_children ==
        (int64_t)n_outputs + (o->row_errors == VONK_ROWS_REPORT ? 1 : 0));
  schema.release(&schema);
  vonk_predictor_columns(p, &indices, &n);
  CHECK(n >= 1);
  for (size_t i = 0; i < n; i++) {
    CHECK(indices[i] >= 0 && indices[i] < columns->n_children);
    CHECK(i == 0 || indices[i] > indices[i - 1]);
  }
  CHECK(vonk_predictor_batch_rows(p) >= 1);
}

static size_t take_map(source *in, vonk_kv *map, char texts[][MAX_TEXT]) {
  size_t n = take(in) % (MAX_MAP + 1);
  for (size_t i = 0; i < n; i++) {
    map[i].key = take_text(in, texts[2 * i]);
    map[i].value = take(in) == 255 ? NULL : take_text(in, texts[2 * i + 1]);
  }
  return n;
}

static void fuzz_bind(source *in) {
  static made_model made;
  static made_schema schemas;
  static const int64_t sizes[] = {0, 1, 7, -1, INT64_MAX, 1 << 30};
  char input_texts[2 * MAX_MAP][MAX_TEXT], output_texts[2 * MAX_MAP][MAX_TEXT];
  char as[MAX_TEXT];
  vonk_kv inputs[MAX_MAP], outputs[MAX_MAP];
  vonk_bind_options options = VONK_BIND_OPTIONS_INIT;
  vonk_error err = VONK_ERROR_INIT;
  vonk_predictor *predictor = NULL;
  uint8_t bits = take(in);
  make_model(in, &made);
  memset(&schemas, 0, sizeof schemas);
  const struct ArrowSchema *columns = make_schema(in, &schemas, 0);
  options.inputs = inputs;
  options.n_inputs = (bits & 1) != 0 ? take_map(in, inputs, input_texts) : 0;
  options.outputs = outputs;
  options.n_outputs = (bits & 2) != 0 ? take_map(in, outputs, output_texts) : 0;
  options.as = (bits & 4) != 0 ? ((bits & 8) != 0 ? "argmax" : take_text(in, as)) : NULL;
  options.squeeze = (bits & 16) != 0;
  options.half_as_float = (bits & 32) != 0;
  const uint8_t more = take(in);
  options.variable_lists = (more & 1) != 0;
  options.signed_integers = (more & 2) != 0;
  options.sql_casts = (more & 4) != 0;
  options.advice = more % 3;
  options.nulls = take(in) % 3;
  options.row_errors = take(in) % 4;
  options.batch_rows = sizes[take(in) % 6];
  options.batch_bytes = sizes[take(in) % 6];
  vonk_status status =
      vonk_predictor_create(&made.model, columns, &options, &predictor, &err);
  if (status == VONK_OK) {
    check_predictor(predictor, columns, &made.model.summary, &options);
    vonk_predictor_release(predictor);
  } else {
    check_refused(status, &err);
    CHECK(predictor == NULL);
  }
  CHECK(made.model.references == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source in = {data, size};
  switch (take(&in) % 8) {
    case 0:
      fuzz_request(&in);
      break;
    case 1:
      fuzz_device(&in);
      break;
    default:
      fuzz_bind(&in);
      break;
  }
  return 0;
}
