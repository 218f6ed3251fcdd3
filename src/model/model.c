/* One opened model: loading it through its plug-in, its summary, its sessions.
 *
 * A plug-in that runs concurrently has one session per model, shared by every thread. One
 * that does not gets a session per thread that runs at a time; they are kept for the next
 * one, so that their number is bounded by the thread budget and the callers. */
#include <inttypes.h>
#include <string.h>

#include "model/internal.h"

vonk_status vonk_model_check_options(const vonk_plugin *plugin, const vonk_kv *options,
                                     size_t n_options, vonk_error *err) {
  for (size_t i = 0; i < n_options; i++) {
    const char *key = options[i].key;
    const char *value = options[i].value;
    vonk_text known = {.size = 0};
    bool found = false;
    vonk_text_add(&known, "plugin, device, threads_per_run");
    for (const vonk_kv *option = plugin->api.options; option->key != NULL; option++) {
      found = found || strcmp(option->key, key) == 0;
      vonk_text_add(&known, ", %s", option->key);
    }
    if (!found && strcmp(key, "signature") == 0) {
      return vonk_fail(err, VONK_INVALID,
                       "signature '%s': %s models have one signature: leave it out",
                       value, plugin->api.name);
    }
    if (!found) {
      return vonk_fail(err, VONK_INVALID,
                       "option %s: is not known to plug-in %s: it takes %s", key,
                       plugin->api.name, known.data);
    }
  }
  return VONK_OK;
}

/* The file may have been exchanged while it was read. */
static vonk_status check_unchanged(const vonk_open_request *request, vonk_error *err) {
  vonk_file_id now;
  VONK_TRY(vonk_tree_identify(request->path, &now, err));
  if (!vonk_file_same(&now, &request->file)) {
    return vonk_fail(
        err, VONK_IO,
        "model '%s': the %s changed while it was being opened: open it again",
        request->path, request->file.is_folder ? "folder" : "file");
  }
  return VONK_OK;
}

static vonk_status describe_ios(vonk_model *model, const vonk_model_info *info,
                                vonk_error *err) {
  const vonk_plugin_v1 *api = &model->plugin->api;
  size_t n = (size_t)info->n_inputs + info->n_outputs;
  VONK_TRY(vonk_new(n, sizeof *model->ios, &model->ios, err));
  VONK_TRY(vonk_new(n, sizeof *model->io_table, &model->io_table, err));
  for (uint32_t i = 0; i < n; i++) {
    vonk_io *io = &model->ios[i];
    bool is_output = i >= info->n_inputs;
    uint32_t index = is_output ? i - info->n_inputs : i;
    io->struct_size = (uint32_t)sizeof *io;
    VONK_TRY(api->describe(model->opened, is_output, index, io, err));
    if (io->name == NULL || io->rank > VONK_MAX_RANK ||
        (io->rank > 0 && io->shape == NULL)) {
      return vonk_fail(err, VONK_ABI,
                       "plug-in %s: describes %s %" PRIu32
                       " without a name, or with a rank above %d",
                       api->name, is_output ? "output" : "input", index, VONK_MAX_RANK);
    }
    model->io_table[i] = io;
  }
  return VONK_OK;
}

static vonk_status summarize(vonk_model *model, const vonk_open_request *request,
                             vonk_error *err) {
  const vonk_plugin_v1 *api = &model->plugin->api;
  vonk_model_info info = {
      .struct_size = (uint32_t)sizeof info, .n_params = -1, .weight_bytes = -1};
  vonk_model_summary *s = &model->summary;
  VONK_TRY(api->model_info(model->opened, &info, err));
  model->n_all_outputs = info.n_outputs;
  VONK_TRY(describe_ios(model, &info, err));
  if (model->bundle != NULL) {
    VONK_TRY(vonk_bundled_present(model, &info, err));
  }
  VONK_TRY(api->runtime(&s->runtime_version, &s->runtime_path, err));
  vonk_device_describe(model->device, model->device_name);
  s->struct_size = (uint32_t)sizeof *s;
  s->n_inputs = info.n_inputs;
  s->n_outputs = info.n_outputs;
  s->n_metadata = info.n_metadata;
  s->path = model->path;
  s->format = info.format;
  s->producer = info.producer;
  s->plugin = api->name;
  s->device = model->device_name;
  s->n_params = info.n_params;
  s->weight_bytes = info.weight_bytes;
  s->file_bytes = request->file.size;
  s->inputs = model->io_table;
  s->outputs = model->io_table + info.n_inputs;
  s->metadata = info.metadata;
  return VONK_OK;
}

vonk_status vonk_model_is_bundle(const char *path, bool *out, vonk_error *err) {
  enum { HEAD = 64 };
  uint8_t head[HEAD];
  vonk_file_id id;
  size_t n_head = 0;
  VONK_TRY(vonk_file_identify(path, &id, err));
  if (!id.is_folder) {
    VONK_TRY(vonk_file_head(path, head, HEAD, &n_head, err));
  }
  *out = vonk_bundle_recognise(path, id.is_folder ? NULL : head, n_head);
  return VONK_OK;
}

static vonk_status open_raw(vonk_model *model, const vonk_open_request *request,
                            vonk_error *err) {
  if (request->plugin != NULL) {
    VONK_TRY(vonk_plugin_find(request->plugin, &model->plugin, err));
  } else {
    VONK_TRY(vonk_plugin_for_model(request->path, &model->plugin, err));
  }
  VONK_TRY(
      vonk_model_check_options(model->plugin, request->options, request->n_options, err));
  VONK_TRY(vonk_open_request_check_pin(request, err));
  vonk_process_mark_started();
  return model->plugin->api.open_model(request->path, request->options,
                                       request->n_options, &model->opened, err);
}

static vonk_status load(vonk_model *model, const vonk_open_request *request,
                        vonk_error *err) {
  bool is_bundle = false;
  VONK_TRY(vonk_new_string(request->path, &model->path, err));
  VONK_TRY(vonk_model_is_bundle(request->path, &is_bundle, err));
  VONK_TRY(is_bundle ? vonk_bundled_open(model, request, err)
                     : open_raw(model, request, err));
  VONK_TRY(check_unchanged(request, err));
  model->device = request->device;
  model->threads = request->threads;
  VONK_TRY(summarize(model, request, err));
  if (model->device.kind !=
      VONK_DEVICE_CPU) { /* a missing device is told now, not at the first row */
    vonk_plugin_session *session = NULL;
    VONK_TRY(vonk_session_acquire(model, &session, err));
    vonk_session_give_back(model, session);
  }
  return VONK_OK;
}

vonk_status vonk_model_load(vonk_model *model, const vonk_open_request *request,
                            vonk_error *err) {
  pthread_mutex_init(&model->session_mutex, NULL);
  vonk_status status = load(model, request, err);
  if (status != VONK_OK) {
    vonk_model_unload(model);
  }
  return status;
}

void vonk_model_unload(vonk_model *model) {
  if (model->plugin != NULL) {
    const vonk_plugin_v1 *api = &model->plugin->api;
    while (model->idle_sessions != NULL) {
      idle_session *idle = model->idle_sessions;
      model->idle_sessions = idle->next;
      api->release_session(idle->session);
      vonk_delete(idle);
    }
    api->release_session(model->shared_session);
    api->release_model(model->opened);
  }
  pthread_mutex_destroy(&model->session_mutex);
  vonk_bundle_release(model->bundle); /* after the model that reads from it */
  vonk_delete(model->order);
  vonk_delete(model->io_table);
  vonk_delete(model->ios);
  vonk_delete(model->path);
}

static vonk_status create_session(vonk_model *model, vonk_plugin_session **out,
                                  vonk_error *err) {
  const vonk_plugin_v1 *api = &model->plugin->api;
  vonk_status status =
      api->create_session(model->opened, model->device, model->threads, out, err);
  return status == VONK_OK ? VONK_OK
                           : vonk_prefix(err, status, "model '%s'", model->path);
}

static bool is_concurrent(const vonk_model *model) {
  return (model->plugin->api.caps & VONK_CAP_CONCURRENT_RUN) != 0;
}

static vonk_status acquire_shared(vonk_model *model, vonk_plugin_session **out,
                                  vonk_error *err) {
  vonk_plugin_session *session = atomic_load(&model->shared_session);
  if (session == NULL) {
    vonk_status status = VONK_OK;
    pthread_mutex_lock(&model->session_mutex);
    session = model->shared_session;
    if (session == NULL) {
      status = create_session(model, &session, err);
    }
    if (status == VONK_OK) {
      atomic_store(&model->shared_session, session);
    }
    pthread_mutex_unlock(&model->session_mutex);
    VONK_TRY(status);
  }
  *out = session;
  return VONK_OK;
}

vonk_status vonk_session_acquire(vonk_model *model, vonk_plugin_session **out,
                                 vonk_error *err) {
  VONK_TRY(vonk_process_check(err));
  if (is_concurrent(model)) {
    return acquire_shared(model, out, err);
  }
  pthread_mutex_lock(&model->session_mutex);
  idle_session *idle = model->idle_sessions;
  if (idle != NULL) {
    model->idle_sessions = idle->next;
  }
  pthread_mutex_unlock(&model->session_mutex);
  if (idle == NULL) {
    return create_session(model, out, err);
  }
  *out = idle->session;
  vonk_delete(idle);
  return VONK_OK;
}

void vonk_session_give_back(vonk_model *model, vonk_plugin_session *session) {
  if (session == NULL || is_concurrent(model)) {
    return;
  }
  idle_session *idle = NULL;
  if (vonk_new(1, sizeof *idle, &idle, NULL) != VONK_OK) {
    model->plugin->api.release_session(
        session); /* cannot keep it: the next one is made anew */
    return;
  }
  idle->session = session;
  pthread_mutex_lock(&model->session_mutex);
  idle->next = model->idle_sessions;
  model->idle_sessions = idle;
  pthread_mutex_unlock(&model->session_mutex);
}

const vonk_model_summary *vonk_model_summarize(const vonk_model *model) {
  return &model->summary;
}
const vonk_plugin *vonk_model_plugin(const vonk_model *model) { return model->plugin; }
uint32_t vonk_model_threads(const vonk_model *model) { return model->threads; }

vonk_status vonk_model_sha256(const vonk_model *model, char hex[65], vonk_error *err) {
  return vonk_tree_sha256(model->path, hex, err);
}
