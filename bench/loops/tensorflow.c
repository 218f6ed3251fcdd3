/* TensorFlow's C interface on a SavedModel: tensors around the caller's rows, which are
 * aligned as TensorFlow wants them; runs in the thread that calls. */
#include <stddef.h>
#include <string.h>

#include "bench/loops/loops.h"
#include "plugins/tensorflow/tf_api.h"

enum { TYPE_FLOAT = 1 };

/* TF_Buffer as the caller makes it. */
static tf_buffer *(*new_buffer)(void);
static tf_session *(*load)(const tf_session_options *, const tf_buffer *run_options,
                           const char *folder, const char *const *tags, int n_tags,
                           tf_graph *, tf_buffer *meta_graph, tf_status *);
static tf_session_options *(*new_options)(void);
static void (*set_config)(tf_session_options *, const void *, size_t, tf_status *);
static tf_graph *(*new_graph)(void);
static tf_operation *(*operation_by_name)(tf_graph *, const char *);
static tf_status *(*new_status)(void);
static void (*delete_status)(tf_status *);
static int (*get_code)(const tf_status *);
static const char *(*message)(const tf_status *);
static tf_tensor *(*new_tensor)(int type, const int64_t *shape, int rank, void *data,
                                size_t nbytes, tf_deallocate, void *arg);
static void (*delete_tensor)(tf_tensor *);
static void *(*tensor_data)(const tf_tensor *);
static void (*session_run)(tf_session *, const tf_buffer *, const tf_output *,
                           tf_tensor *const *, int, const tf_output *, tf_tensor **, int,
                           const tf_operation *const *, int, tf_buffer *, tf_status *);

static tf_session *session;
static tf_output feed, fetch;

static void find_functions(void *library) {
  const struct {
    const char *name;
    void *function;
  } entries[] = {
      {"TF_NewBuffer", &new_buffer},
      {"TF_LoadSessionFromSavedModel", &load},
      {"TF_NewSessionOptions", &new_options},
      {"TF_SetConfig", &set_config},
      {"TF_NewGraph", &new_graph},
      {"TF_GraphOperationByName", &operation_by_name},
      {"TF_NewStatus", &new_status},
      {"TF_DeleteStatus", &delete_status},
      {"TF_GetCode", &get_code},
      {"TF_Message", &message},
      {"TF_NewTensor", &new_tensor},
      {"TF_DeleteTensor", &delete_tensor},
      {"TF_TensorData", &tensor_data},
      {"TF_SessionRun", &session_run},
  };
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
    loop_function(library, entries[i].name, entries[i].function);
  }
}

/* The first field of this number in a protobuf message; an empty one if there is none. */
static kit_slice field_of(kit_slice rest, uint32_t number) {
  kit_field field;
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    if (field.number == number && field.wire == KIT_WIRE_BYTES) {
      return field.bytes;
    }
  }
  return (kit_slice){0};
}

/* MetaGraphDef: 5 signature_def, a map. */
static kit_slice find_signature(kit_slice meta_graph) {
  kit_field field;
  while (vonk_kit_wire_next(&meta_graph, &field) == 1) {
    if (field.number == 5 && field.wire == KIT_WIRE_BYTES &&
        vonk_kit_slice_equals(field_of(field.bytes, 1), "serving_default")) {
      return field_of(field.bytes, 2);
    }
  }
  loop_die("the SavedModel", "has no signature serving_default");
}

/* A map of names to TensorInfo, of which the first entry is taken: "operation:index". */
static tf_output find_tensor(tf_graph *graph, kit_slice entry) {
  kit_slice name = field_of(field_of(entry, 2), 1);
  char text[256];
  if (name.size < 3 || name.size >= sizeof text) {
    loop_die("the SavedModel", "has a signature without names");
  }
  memcpy(text, name.data, name.size);
  text[name.size] = '\0';
  char *colon = strrchr(text, ':');
  tf_output found = {0};
  if (colon != NULL) {
    *colon = '\0';
    found.index = colon[1] - '0';
    found.operation = operation_by_name(graph, text);
  }
  if (found.operation == NULL) {
    loop_die(text, "no such operation in the graph");
  }
  return found;
}

static void must(tf_status *status) {
  if (get_code(status) != TF_CODE_OK) {
    loop_die("tensorflow", message(status));
  }
  delete_status(status);
}

static void open_model(const loop_model *model) {
  /* ConfigProto: 2 intra_op_parallelism_threads 1, 5 inter_op_parallelism_threads -1,
   * which is the caller's thread */
  static const unsigned char config[] = {0x10, 1,    0x28, 0xff, 0xff, 0xff, 0xff,
                                         0xff, 0xff, 0xff, 0xff, 0xff, 1};
  static const char *const tags[] = {"serve"};
  find_functions(loop_library(model->library));
  tf_status *status = new_status();
  tf_session_options *options = new_options();
  tf_graph *graph = new_graph();
  tf_buffer *meta = new_buffer();
  set_config(options, config, sizeof config, status);
  session = load(options, NULL, model->path, tags, 1, graph, meta, status);
  must(status);
  kit_slice signature = find_signature((kit_slice){meta->data, meta->length});
  feed = find_tensor(graph, field_of(signature, 1));
  fetch = find_tensor(graph, field_of(signature, 2));
}

static void keep(void *data, size_t nbytes, void *arg) {
  (void)data, (void)nbytes, (void)arg;
}

static void run(const loop_model *model, const float *rows, int64_t n, float *results) {
  int64_t shape[LOOP_MAX_RANK + 1] = {n};
  for (int32_t d = 0; d < model->rank; d++) {
    shape[d + 1] = model->dims[d];
  }
  tf_status *status = new_status();
  tf_tensor *out = NULL;
  tf_tensor *in = new_tensor(TYPE_FLOAT, shape, model->rank + 1, (void *)(uintptr_t)rows,
                             (size_t)(n * model->width) * sizeof *rows, keep, NULL);
  session_run(session, NULL, &feed, &in, 1, &fetch, &out, 1, NULL, 0, NULL, status);
  must(status);
  memcpy(results, tensor_data(out), (size_t)(n * model->n_classes) * sizeof *results);
  delete_tensor(in);
  delete_tensor(out);
}

const loop_framework loop_tensorflow = {"tensorflow", open_model, run};
