/* Models in bundles.
 *
 * How it works: the bundle is opened and checked first (src/bundle). Its plug-in then gets
 * the model's files in memory, or a path: of a bundle that is a folder, or of a private
 * copy for a plug-in that reads files only. What the plug-in says of the model's tensors
 * must be what the manifest says; names, order and choice are the manifest's, so a run's
 * tensors are put in the plug-in's order on their way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

/* --- options ------------------------------------------------------------------------- */

static const vonk_kv *find_option(const vonk_kv *options, size_t n, const char *key) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(options[i].key, key) == 0) {
      return &options[i];
    }
  }
  return NULL;
}

/* What the manifest is about cannot be another thing for one who opens it. */
static vonk_status check_overrides(const vonk_open_request *request, vonk_error *err) {
  static const char *const fixed[] = {"signature", "inputs", "outputs"};
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
    if (find_option(request->options, request->n_options, fixed[i]) != NULL) {
      return vonk_fail(
          err, VONK_INVALID,
          "option %s: '%s' is a bundle, whose manifest has it: leave it out, or "
          "open the model's own file",
          fixed[i], request->path);
    }
  }
  return VONK_OK;
}

static vonk_status check_known(const vonk_model *model, vonk_error *err) {
  const vonk_manifest *m = vonk_bundle_manifest(model->bundle);
  vonk_error reason = VONK_ERROR_INIT;
  vonk_status status =
      vonk_model_check_options(model->plugin, m->options, m->n_options, &reason);
  return status == VONK_OK
             ? VONK_OK
             : vonk_fail(err, VONK_MODEL, "bundle '%s': manifest.json: model.options: %s",
                         model->path, reason.message);
}

static int compare_keys(const void *a, const void *b) {
  return strcmp(((const vonk_kv *)a)->key, ((const vonk_kv *)b)->key);
}

/* The manifest's, and over them the user's. To be freed; the texts are borrowed. */
static vonk_status merge_options(const vonk_manifest *m, const vonk_open_request *request,
                                 vonk_kv **out, size_t *n_out, vonk_error *err) {
  vonk_kv *options;
  size_t n = 0;
  VONK_TRY(vonk_new(m->n_options + request->n_options, sizeof *options, &options, err));
  for (uint32_t i = 0; i < m->n_options; i++) {
    if (find_option(request->options, request->n_options, m->options[i].key) == NULL) {
      options[n++] = m->options[i];
    }
  }
  for (size_t i = 0; i < request->n_options; i++) {
    options[n++] = request->options[i];
  }
  if (n > 1) {
    qsort(options, n, sizeof *options, compare_keys);
  }
  *out = options;
  *n_out = n;
  return VONK_OK;
}

/* --- opening ------------------------------------------------------------------------- */

static vonk_status find_plugin(vonk_model *model, const vonk_open_request *request,
                               vonk_error *err) {
  const vonk_manifest *m = vonk_bundle_manifest(model->bundle);
  const char *name = request->plugin != NULL ? request->plugin : m->plugin;
  char what[512];
  if (name == NULL) {
    (void)snprintf(what, sizeof what, "bundle '%s'", model->path);
    return vonk_plugin_for_format(m->format, what, &model->plugin, err);
  }
  vonk_status status = vonk_plugin_find(name, &model->plugin, err);
  return status == VONK_OK ? VONK_OK
                           : vonk_prefix(err, status, "bundle '%s'", model->path);
}

static vonk_status open_with_plugin(vonk_model *model, const vonk_kv *options, size_t n,
                                    vonk_error *err) {
  const vonk_plugin_v1 *api = &model->plugin->api;
  const char *path = vonk_bundle_model_path(model->bundle);
  if (path != NULL) {
    return api->open_model(path, options, n, &model->opened, err);
  }
  if (api->open_files != NULL) {
    return api->open_files(vonk_bundle_files(model->bundle), options, n, &model->opened,
                           err);
  }
  VONK_TRY(vonk_bundle_unpack(model->bundle, &path, err));
  vonk_status status = api->open_model(path, options, n, &model->opened, err);
  return status == VONK_OK ? VONK_OK
                           : vonk_prefix(err, status, "bundle '%s'", model->path);
}

vonk_status vonk_bundled_open(vonk_model *model, const vonk_open_request *request,
                              vonk_error *err) {
  vonk_kv *options;
  size_t n;
  VONK_TRY(check_overrides(request, err));
  VONK_TRY(vonk_open_request_check_pin(request, err));
  VONK_TRY(vonk_bundle_open(request->path, &model->bundle, err));
  VONK_TRY(find_plugin(model, request, err));
  VONK_TRY(check_known(model, err));
  VONK_TRY(
      vonk_model_check_options(model->plugin, request->options, request->n_options, err));
  VONK_TRY(
      merge_options(vonk_bundle_manifest(model->bundle), request, &options, &n, err));
  vonk_process_mark_started();
  vonk_status status = open_with_plugin(model, options, n, err);
  vonk_delete(options);
  return status;
}

/* --- what the plug-in says and what the manifest says -------------------------------- */

static void add_shape(vonk_text *text, int32_t rank, const int64_t *shape) {
  if (rank < 0) {
    vonk_text_add(text, " of any shape");
    return;
  }
  for (int32_t i = 0; i < rank; i++) {
    vonk_text_add(text, "%s%" PRId64, i == 0 ? "[" : ", ", shape[i]);
  }
  vonk_text_add(text, rank == 0 ? "[]" : "]");
}

static vonk_status check_port(const vonk_model *model, const vonk_port *port,
                              const vonk_io *io, bool is_output, vonk_error *err) {
  bool is_same = port->dtype == io->dtype &&
                 (port->rank == io->rank || (port->rank < 0 && io->rank < 0));
  for (int32_t i = 0; is_same && i < port->rank; i++) {
    is_same = port->shape[i] == io->shape[i] || (port->shape[i] < 0 && io->shape[i] < 0);
  }
  if (is_same) {
    return VONK_OK;
  }
  vonk_text says = {.size = 0}, is = {.size = 0};
  vonk_text_add(&says, "%s", vonk_dtype_name(port->dtype));
  add_shape(&says, port->rank, port->shape);
  vonk_text_add(&is, "%s", vonk_dtype_name(io->dtype));
  add_shape(&is, io->rank, io->shape);
  return vonk_fail(
      err, VONK_MODEL,
      "bundle '%s': %s '%.80s': the manifest says %s, the model has %s: pack "
      "the model again",
      model->path, is_output ? "output" : "input", port->name, says.data, is.data);
}

/* The plug-in's number of the port's tensor. */
static vonk_status find_tensor(const vonk_model *model, const vonk_port *port,
                               const vonk_io *ios, uint32_t n, bool is_output,
                               uint32_t *out, vonk_error *err) {
  vonk_text names = {.size = 0};
  for (uint32_t i = 0; i < n; i++) {
    if (strcmp(ios[i].name, port->tensor) == 0) {
      *out = i;
      return check_port(model, port, &ios[i], is_output, err);
    }
    vonk_text_add(&names, "%s%s", i == 0 ? "" : ", ", ios[i].name);
  }
  return vonk_fail(
      err, VONK_MODEL,
      "bundle '%s': %s '%.80s': the manifest says that it is tensor '%.80s', "
      "the model has %s: pack the model again",
      model->path, is_output ? "output" : "input", port->name, port->tensor, names.data);
}

/* The port as an io; names of dimensions are the plug-in's where the manifest has none. */
static void present(const vonk_port *port, const vonk_io *of_plugin, vonk_io *out) {
  bool has_names = false;
  for (int32_t i = 0; i < port->rank; i++) {
    has_names = has_names || port->dim_names[i] != NULL;
  }
  *out = *of_plugin;
  out->name = port->name;
  if (has_names) {
    out->dim_names = port->dim_names;
  }
}

/* The inputs, or the outputs. */
typedef struct side {
  const vonk_port *ports;
  uint32_t n_ports;
  const vonk_io *of_plugin;
  uint32_t n_of_plugin;
  bool is_output;
} side;

static vonk_status match_ports(vonk_model *model, const side *s, uint32_t *order,
                               vonk_io *out, vonk_error *err) {
  for (uint32_t i = 0; i < s->n_ports; i++) {
    VONK_TRY(find_tensor(model, &s->ports[i], s->of_plugin, s->n_of_plugin, s->is_output,
                         &order[i], err));
    present(&s->ports[i], &s->of_plugin[order[i]], &out[i]);
  }
  return VONK_OK;
}

static bool is_as_it_comes(const uint32_t *order, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (order[i] != i) {
      return false;
    }
  }
  return true;
}

static vonk_status check_model(const vonk_model *model, const vonk_model_info *info,
                               vonk_error *err) {
  const vonk_manifest *m = vonk_bundle_manifest(model->bundle);
  if (info->format == NULL || strcmp(info->format, m->format) != 0) {
    return vonk_fail(err, VONK_MODEL,
                     "bundle '%s': the manifest says that the model's format is '%.80s', "
                     "plug-in %s says '%s': pack the model again",
                     model->path, m->format, model->plugin->api.name,
                     info->format == NULL ? "" : info->format);
  }
  if (info->n_inputs != m->n_inputs) { /* names stand once in both, so all are there */
    return vonk_fail(err, VONK_MODEL,
                     "bundle '%s': the manifest has %" PRIu32
                     " inputs, the model %" PRIu32 ": pack the model again",
                     model->path, m->n_inputs, info->n_inputs);
  }
  if (info->n_outputs > VONK_BUNDLE_MAX_PORTS) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "bundle '%s': the model has %" PRIu32
                     " outputs: a bundle's may have %d",
                     model->path, info->n_outputs, VONK_BUNDLE_MAX_PORTS);
  }
  return VONK_OK;
}

static void summarize(vonk_model *model) {
  const vonk_manifest *m = vonk_bundle_manifest(model->bundle);
  vonk_bundle_summary *s = &model->bundle_summary;
  *s = (vonk_bundle_summary){.struct_size = (uint32_t)sizeof *s,
                             .n_provenance = m->n_provenance,
                             .n_steps = m->n_steps,
                             .name = m->name,
                             .description = m->description,
                             .licence = m->licence,
                             .provenance = m->provenance,
                             .steps = m->step_texts,
                             .selftest_rows = m->selftest.rows,
                             .selftest_tolerance = m->selftest.tolerance};
  for (uint32_t i = 0; i < m->n_outputs && s->n_labels == 0; i++) {
    s->n_labels = m->outputs[i].n_labels;
    s->labels = m->outputs[i].labels;
    s->labels_output = s->n_labels > 0 ? i : 0;
  }
}

vonk_status vonk_bundled_present(vonk_model *model, vonk_model_info *info,
                                 vonk_error *err) {
  const vonk_manifest *m = vonk_bundle_manifest(model->bundle);
  size_t n = (size_t)m->n_inputs + m->n_outputs;
  vonk_io *of_plugin = model->ios;
  VONK_TRY(check_model(model, info, err));
  VONK_TRY(vonk_new(n, sizeof *model->order, &model->order, err));
  VONK_TRY(vonk_new(n, sizeof *model->ios, &model->ios, err));
  const side in = {m->inputs, m->n_inputs, of_plugin, info->n_inputs, false};
  const side out = {m->outputs, m->n_outputs, of_plugin + info->n_inputs, info->n_outputs,
                    true};
  vonk_status status = match_ports(model, &in, model->order, model->ios, err);
  if (status == VONK_OK) {
    status = match_ports(model, &out, model->order + m->n_inputs,
                         model->ios + m->n_inputs, err);
  }
  vonk_delete(of_plugin);
  VONK_TRY(status);
  for (size_t i = 0; i < n; i++) { /* at most as many as there were */
    model->io_table[i] = &model->ios[i];
  }
  if (m->n_outputs == info->n_outputs && is_as_it_comes(model->order, m->n_inputs) &&
      is_as_it_comes(model->order + m->n_inputs, m->n_outputs)) {
    vonk_delete(model->order);
    model->order = NULL;
  }
  info->n_outputs = m->n_outputs;
  summarize(model);
  return VONK_OK;
}

/* --- running ------------------------------------------------------------------------- */

vonk_status vonk_session_run(const vonk_model *model, vonk_plugin_session *session,
                             const vonk_run *run, vonk_error *err) {
  const vonk_plugin_v1 *api = &model->plugin->api;
  if (model->order == NULL) {
    return api->run(session, run, err);
  }
  const vonk_tensor *inputs[VONK_BUNDLE_MAX_PORTS];
  vonk_tensor *outputs[VONK_BUNDLE_MAX_PORTS];
  for (uint32_t i = 0; i < run->n_inputs; i++) {
    inputs[model->order[i]] = run->inputs[i];
  }
  for (uint32_t i = 0; i < model->n_all_outputs; i++) {
    outputs[i] = NULL; /* not wanted */
  }
  for (uint32_t i = 0; i < run->n_outputs; i++) {
    outputs[model->order[run->n_inputs + i]] = run->outputs[i];
  }
  vonk_run ordered = *run;
  ordered.n_outputs = model->n_all_outputs;
  ordered.inputs = inputs;
  ordered.outputs = outputs;
  return api->run(session, &ordered, err);
}

/* --- what is said of it -------------------------------------------------------------- */

const vonk_manifest *vonk_model_manifest(const vonk_model *model) {
  return model->bundle == NULL ? NULL : vonk_bundle_manifest(model->bundle);
}

const vonk_bundle_summary *vonk_model_bundle(const vonk_model *model) {
  return model->bundle == NULL ? NULL : &model->bundle_summary;
}

/* 2 also for a bundle that will not open: it is a bundle all the same. */
int32_t vonk_model_recognise(const char *path, const char **plugin) {
  char *resolved;
  bool is_bundle = false;
  const vonk_plugin *found = NULL;
  int32_t score = 0;
  if (path == NULL || vonk_path_resolve(path, &resolved, NULL) != VONK_OK) {
    return 0;
  }
  if (vonk_model_is_bundle(resolved, &is_bundle, NULL) == VONK_OK) {
    score = is_bundle ? 2 : vonk_plugin_recognise(resolved, &found);
  }
  vonk_delete(resolved);
  if (score > 0 && plugin != NULL) {
    *plugin = found == NULL ? "bundle" : found->api.name;
  }
  return score;
}
