/* The graph in TensorFlow: imported once per model, shared by its sessions. */
#include <string.h>

#include "opening.h"

vonk_status vonk_tf_port_find(const vonk_plugin_model *model, const tf_port *port,
                              tf_output *out, vonk_error *err) {
  const tf_api *api = &model->runtime->api;
  tf_operation *operation = api->GraphOperationByName(model->graph, port->node);
  if (operation == NULL) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': names the node '%s', which is not in its graph: save the "
                         "model again",
                         model->path, port->node);
  }
  int n_outputs = api->OperationNumOutputs(operation);
  if (port->index >= n_outputs) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': names output %d of node '%s', which has %d: save the "
                         "model again",
                         model->path, port->index, port->node, n_outputs);
  }
  *out = (tf_output){operation, port->index};
  int found = api->OperationOutputType(*out);
  if (port->dtype != NULL && found != port->dtype->tf) {
    const tf_dtype *other = vonk_tf_dtype((uint64_t)found);
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': says that '%s:%d' is of %s, and its graph makes it %s: "
                         "save the model again",
                         model->path, port->node, port->index, port->dtype->name,
                         other == NULL ? "something else" : other->name);
  }
  return VONK_OK;
}

static vonk_status find_ports(vonk_plugin_model *model, const tf_port *ports, uint32_t n,
                              tf_output **out, vonk_error *err) {
  VONK_TRY(vonk_kit_new(&model->arena, n + 1, sizeof **out, out, err));
  for (uint32_t i = 0; i < n; ++i) {
    VONK_TRY(vonk_tf_port_find(model, &ports[i], &(*out)[i], err));
  }
  return VONK_OK;
}

vonk_status vonk_tf_import(tf_opening *opening, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  const tf_api *api = &model->runtime->api;
  tf_status *status = api->NewStatus();
  tf_import_options *options = api->NewImportGraphDefOptions();
  const tf_buffer bytes = {opening->graph.bytes.data, opening->graph.bytes.size, NULL};
  model->graph = api->NewGraph();
  vonk_tf_quiet_begin();
  api->GraphImportGraphDef(model->graph, &bytes, options, status);
  vonk_tf_quiet_end();
  vonk_status code = vonk_tf_check(model->runtime, status, err, "'%s'", model->path);
  if (code == VONK_INVALID || code == VONK_BACKEND || code == VONK_IO) {
    code = VONK_MODEL;
    if (err != NULL) {
      err->code = code;
    }
  }
  api->DeleteImportGraphDefOptions(options);
  api->DeleteStatus(status);
  VONK_TRY(code);
  VONK_TRY(
      find_ports(model, model->input_ports, model->info.n_inputs, &model->feeds, err));
  VONK_TRY(find_ports(model, model->output_ports, model->info.n_outputs, &model->fetches,
                      err));
  if (!opening->has_signature) {
    VONK_TRY(vonk_tf_graph_ports_describe(opening, err));
  }
  return vonk_tf_signature_refine(opening, err);
}
