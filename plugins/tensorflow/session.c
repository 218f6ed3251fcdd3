/* Sessions: a model's variables and tables, ready to run.
 *
 * A TF_Session is safe to run from many threads, so a core wraps one and is shared by all
 * sessions of a model.
 *
 * inter_op_parallelism_threads = -1 makes TensorFlow run in the calling thread; with 1 it
 * would hand every run over to a thread of its own, 70 us a time. The threads inside one
 * operation are a pool of the process, whose size the first session of the process (the
 * user's own included) decides: a later one's wish is not heard.
 */
#include <fenv.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "opening.h"

/* ConfigProto: 2 intra_op_parallelism_threads, 5 inter_op_parallelism_threads */
static size_t write_config(uint32_t threads, uint8_t out[32]) {
  size_t n = 0;
  out[n++] = 0x10;
  for (; threads >= 0x80; threads >>= 7) {
    out[n++] = (uint8_t)(threads | 0x80);
  }
  out[n++] = (uint8_t)threads;
  out[n++] = 0x28;
  memset(out + n, 0xff, 9);
  out[n + 9] = 1;
  return n + 10;
}

static vonk_status new_session(const vonk_plugin_model *model, uint32_t threads,
                               tf_status *status, tf_core *core, vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  tf_session_options *options = api->NewSessionOptions();
  uint8_t config[32];
  api->SetConfig(options, config, write_config(threads, config), status);
  core->session = api->NewSession(model->graph, options, status);
  api->DeleteSessionOptions(options);
  return vonk_tf_check(model->runtime, status, err, "'%s'", model->path);
}

/* A string scalar; its text is copied. */
static tf_tensor *new_text(const tf_api *api, const char *text) {
  tf_tensor *tensor = api->AllocateTensor(TF_TYPE_STRING, NULL, 0, sizeof(tf_string));
  if (tensor != NULL) {
    tf_string *element = api->TensorData(tensor);
    api->StringInit(element);
    api->StringAssignView(element, text, strlen(text));
  }
  return tensor;
}

/* What is fed when a session starts: the checkpoint's prefix and the assets' paths. */
typedef struct feeds {
  tf_output *outputs;
  tf_tensor **values;
  int n;
} feeds;

static vonk_status add_text(const vonk_plugin_model *model, const tf_port *port,
                            const char *text, feeds *f, vonk_error *err) {
  VONK_TRY(vonk_tf_port_find(model, port, &f->outputs[f->n], err));
  tf_tensor *value = new_text(&model->runtime->api, text);
  if (value == NULL) {
    return vonk_kit_fail_nomem(err, sizeof(tf_string));
  }
  f->values[f->n++] = value;
  return VONK_OK;
}

static vonk_status add_feeds(const vonk_plugin_model *model, feeds *f, vonk_error *err) {
  for (uint32_t i = 0; i < model->n_assets; ++i) {
    VONK_TRY(add_text(model, &model->assets[i].port, model->assets[i].path, f, err));
  }
  if (model->restore_node != NULL) {
    VONK_TRY(add_text(model, &model->prefix_port, model->prefix, f, err));
  }
  return VONK_OK;
}

/* Runs one node for what it does. n_feeds: how many of the feeds to give. */
static vonk_status run_node(const vonk_plugin_model *model, const tf_core *core,
                            const char *node, const feeds *f, int n_feeds,
                            tf_status *status, vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  const tf_operation *target = api->GraphOperationByName(model->graph, node);
  if (target == NULL) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': names the node '%s', which is not in its graph: save the "
                         "model again",
                         model->path, node);
  }
  api->SessionRun(core->session, NULL, f->outputs, f->values, n_feeds, NULL, NULL, 0,
                  &target, 1, NULL, status);
  vonk_status code =
      vonk_tf_check(model->runtime, status, err, "'%s': cannot be loaded", model->path);
  if (code == VONK_INVALID || code == VONK_BACKEND) {
    code = VONK_MODEL; /* what it was given came from the model itself */
    if (err != NULL) {
      err->code = code;
    }
  }
  return code;
}

/* Restores the variables, then fills the tables. */
static vonk_status load(const vonk_plugin_model *model, const tf_core *core,
                        tf_status *status, vonk_error *err) {
  const size_t n = (size_t)model->n_assets + 1;
  feeds f = {.outputs = vonk_kit_alloc(n * sizeof(tf_output)),
             .values = vonk_kit_alloc(n * sizeof(tf_tensor *))};
  vonk_status code = f.outputs == NULL || f.values == NULL
                         ? vonk_kit_fail_nomem(err, n * sizeof(tf_output))
                         : add_feeds(model, &f, err);
  if (code == VONK_OK && model->restore_node != NULL) {
    code = run_node(model, core, model->restore_node, &f, f.n, status, err);
  }
  for (uint32_t i = 0; code == VONK_OK && i < model->n_init_nodes; ++i) {
    code = run_node(model, core, model->init_nodes[i], &f, (int)model->n_assets, status,
                    err);
  }
  for (int i = 0; i < f.n; ++i) {
    model->runtime->api.DeleteTensor(f.values[i]);
  }
  vonk_kit_free(f.outputs);
  vonk_kit_free(f.values);
  return code;
}

static vonk_status start(const vonk_plugin_model *model, uint32_t threads, tf_core *core,
                         vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  tf_status *status = api->NewStatus();
  vonk_status code = new_session(model, threads, status, core, err);
  if (code == VONK_OK) {
    code = vonk_tf_ram_put(model, err);
    if (code == VONK_OK) {
      code = load(model, core, status, err);
    }
    vonk_tf_ram_drop(model);
  }
  if (code != VONK_OK) {
    vonk_tf_ram_hide(model, err);
  }
  api->DeleteStatus(status);
  return code;
}

static vonk_status core_create(const vonk_plugin_model *model, uint32_t threads,
                               tf_core **out, vonk_error *err) {
  tf_core *core = vonk_kit_alloc(sizeof *core);
  if (core == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *core);
  }
  *core = (tf_core){.pid = getpid()};
  fenv_t mode;
  fegetenv(&mode);
  vonk_tf_quiet_begin();
  vonk_status status = start(model, threads, core, err);
  vonk_tf_quiet_end();
  fesetenv(&mode);
  if (status != VONK_OK) {
    vonk_tf_core_release(model->runtime, core);
    return status;
  }
  *out = core;
  return VONK_OK;
}

void vonk_tf_core_release(const tf_runtime *runtime, tf_core *core) {
  if (core == NULL) {
    return;
  }
  if (core->session != NULL) {
    tf_status *ignored = runtime->api.NewStatus();
    runtime->api.CloseSession(core->session, ignored);
    runtime->api.DeleteSession(core->session, ignored);
    runtime->api.DeleteStatus(ignored);
  }
  vonk_kit_free(core);
}

vonk_status vonk_tf_create_session(vonk_plugin_model *model, vonk_device device,
                                   uint32_t threads, vonk_plugin_session **out,
                                   vonk_error *err) {
  if (device.kind != VONK_DEVICE_CPU) {
    return vonk_kit_fail(err, VONK_DEVICE,
                         "device %d:%d: the TensorFlow plug-in runs on the cpu only",
                         device.kind, device.index);
  }
  if (threads < 1 || threads > 1024) {
    return vonk_kit_fail(err, VONK_INVALID, "threads=%u: 1 to 1024 are possible",
                         threads);
  }
  vonk_plugin_session *session = vonk_kit_alloc(sizeof *session);
  if (session == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *session);
  }
  session->model = model;
  pthread_mutex_lock(&model->lock);
  vonk_status status =
      model->core != NULL ? VONK_OK : core_create(model, threads, &model->core, err);
  session->core = model->core;
  pthread_mutex_unlock(&model->lock);
  if (status != VONK_OK) {
    vonk_kit_free(session);
    return status;
  }
  *out = session;
  return VONK_OK;
}

void vonk_tf_release_session(vonk_plugin_session *session) { vonk_kit_free(session); }
