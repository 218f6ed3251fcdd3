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

/* Runs the node that restores the variables. */
static vonk_status restore(const vonk_plugin_model *model, tf_core *core,
                           tf_status *status, vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  tf_output prefix, node;
  VONK_TRY(vonk_tf_port_find(model, &model->prefix_port, &prefix, err));
  node.operation = api->GraphOperationByName(model->graph, model->restore_node);
  if (node.operation == NULL) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': has no node '%s'", model->path,
                         model->restore_node);
  }
  tf_tensor *value = new_text(api, model->prefix);
  const tf_operation *targets[] = {node.operation};
  api->SessionRun(core->session, NULL, &prefix, &value, 1, NULL, NULL, 0, targets, 1,
                  NULL, status);
  api->DeleteTensor(value);
  return vonk_tf_check(model->runtime, status, err, "'%s'", model->path);
}

static vonk_status start(const vonk_plugin_model *model, uint32_t threads, tf_core *core,
                         vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  tf_status *status = api->NewStatus();
  vonk_status code = new_session(model, threads, status, core, err);
  if (code == VONK_OK && model->restore_node != NULL) {
    code = restore(model, core, status, err);
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
