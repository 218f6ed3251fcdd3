/* One run of one micro-batch.
 *
 * Values are made around the host's inputs and around the outputs that the host placed;
 * only the wanted outputs are asked for. A cancel sets the terminate flag of this run's
 * own options, which ONNX Runtime reads between nodes. Several threads may be in here
 * with one session.
 */
#include <string.h>

#include "onnx_plugin.h"

enum { STACK_SLOTS = 16 };

/* One slot per input and per wanted output. */
typedef struct run_slots {
  uint32_t n_inputs, n_wanted;
  ort_value **inputs, **outputs;
  const char **input_names, **output_names;
  uint32_t *wanted; /* indices into the model's outputs */
  void *heap;       /* all of these, if the stack had no room; else NULL */
} run_slots;

typedef struct stack_slots {
  ort_value *inputs[STACK_SLOTS], *outputs[STACK_SLOTS];
  const char *input_names[STACK_SLOTS], *output_names[STACK_SLOTS];
  uint32_t wanted[STACK_SLOTS];
} stack_slots;

static vonk_status take_slots(uint32_t n_inputs, uint32_t n_outputs, stack_slots *stack,
                              run_slots *slots, vonk_error *err) {
  slots->n_inputs = n_inputs;
  if (n_inputs <= STACK_SLOTS && n_outputs <= STACK_SLOTS) {
    slots->inputs = stack->inputs;
    slots->outputs = stack->outputs;
    slots->input_names = stack->input_names;
    slots->output_names = stack->output_names;
    slots->wanted = stack->wanted;
    memset(stack->inputs, 0, n_inputs * sizeof *stack->inputs);
    memset(stack->outputs, 0, n_outputs * sizeof *stack->outputs);
    return VONK_OK;
  }
  size_t n = (size_t)n_inputs + n_outputs;
  size_t nbytes = n * (2 * sizeof(void *)) + n_outputs * sizeof(uint32_t);
  char *heap = vonk_kit_alloc(nbytes);
  if (heap == NULL) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  memset(heap, 0, nbytes);
  slots->heap = heap;
  slots->inputs = (ort_value **)(void *)heap;
  slots->outputs = slots->inputs + n_inputs;
  slots->input_names = (const char **)(void *)(slots->outputs + n_outputs);
  slots->output_names = slots->input_names + n_inputs;
  slots->wanted = (uint32_t *)(void *)(slots->output_names + n_outputs);
  return VONK_OK;
}

static void release_slots(const ort_api *api, run_slots *slots) {
  for (uint32_t i = 0; i < slots->n_inputs; ++i) {
    api->ReleaseValue(slots->inputs[i]);
  }
  for (uint32_t i = 0; i < slots->n_wanted; ++i) {
    api->ReleaseValue(slots->outputs[i]);
  }
  vonk_kit_free(slots->heap);
}

/* ONNX Runtime leaves a place untouched if the output is an input of the model: such an
 * output is asked for without one, and copied there afterwards. */
static bool is_an_input(const vonk_plugin_model *model, const char *output) {
  for (uint32_t i = 0; i < model->info.n_inputs; ++i) {
    if (strcmp(model->inputs[i].name, output) == 0) {
      return true;
    }
  }
  return false;
}

static vonk_status bind(const vonk_plugin_session *session, const vonk_run *run,
                        run_slots *slots, vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  for (uint32_t i = 0; i < run->n_inputs; ++i) {
    slots->input_names[i] = model->inputs[i].name;
    VONK_TRY(vonk_onnx_tensor_in(session, run->inputs[i], &model->inputs[i],
                                 &slots->inputs[i], err));
  }
  for (uint32_t i = 0; i < run->n_outputs; ++i) {
    vonk_tensor *tensor = run->outputs[i];
    if (tensor == NULL) {
      continue;
    }
    uint32_t slot = slots->n_wanted++;
    slots->wanted[slot] = i;
    slots->output_names[slot] = model->outputs[i].name;
    if (tensor->data != NULL && !is_an_input(model, model->outputs[i].name)) {
      VONK_TRY(vonk_onnx_tensor_place(session, tensor, &model->outputs[i],
                                      &slots->outputs[slot], err));
    }
  }
  return VONK_OK;
}

/* --- cancel ------------------------------------------------------------------------ */

typedef struct run_watch {
  const onnx_runtime *runtime;
  ort_run_options *options;
  atomic_bool is_asked;
} run_watch;

static void stop_run(void *arg) {
  run_watch *watch = arg;
  atomic_store(&watch->is_asked, true);
  ort_status *status = watch->runtime->api.RunOptionsSetTerminate(watch->options);
  if (status != NULL) {
    watch->runtime->api.ReleaseStatus(status);
  }
}

static vonk_status call(const vonk_plugin_session *session,
                        const ort_run_options *options, run_slots *slots,
                        vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  ort_status *status =
      runtime->api.Run(session->core->session, options, slots->input_names,
                       (const ort_value *const *)slots->inputs, slots->n_inputs,
                       slots->output_names, slots->n_wanted, slots->outputs);
  vonk_status code = vonk_onnx_check(runtime, status, err, "'%s'", session->model->path);
  if (code != VONK_OK && code != VONK_NOMEM) {
    code = VONK_BACKEND; /* the data were checked before: it failed while running */
    if (err != NULL) {
      err->code = code;
    }
  }
  return code;
}

/* Options are made anew only when other runs have the idle ones: making them costs as much
 * as all else that a run of one row does here. */
static vonk_status take_options(const vonk_plugin_session *session, ort_run_options **out,
                                vonk_error *err) {
  const onnx_runtime *runtime = session->model->runtime;
  *out = atomic_exchange(&session->core->idle_options, NULL);
  return *out != NULL ? VONK_OK
                      : vonk_onnx_check(runtime, runtime->api.CreateRunOptions(out), err,
                                        "'%s'", session->model->path);
}

/* Those of a run that was to stop say so for ever. */
static void give_options_back(const vonk_plugin_session *session,
                              const run_watch *watch) {
  ort_run_options *spare = watch->options;
  if (!atomic_load(&watch->is_asked)) {
    spare = atomic_exchange(&session->core->idle_options, spare);
  }
  if (spare != NULL) {
    watch->runtime->api.ReleaseRunOptions(spare);
  }
}

static vonk_status call_watched(const vonk_plugin_session *session, const vonk_run *run,
                                run_slots *slots, vonk_error *err) {
  const vonk_host *host = run->host;
  run_watch watch = {.runtime = session->model->runtime};
  VONK_TRY(take_options(session, &watch.options, err));
  host->watch_cancel(host->ctx, run->cancel, stop_run, &watch);
  vonk_status status = VONK_CANCELLED;
  if (!atomic_load(&watch.is_asked)) {
    status = call(session, watch.options, slots, err);
  }
  host->watch_cancel(host->ctx, run->cancel, NULL, &watch);
  give_options_back(session, &watch);
  if (status != VONK_OK && atomic_load(&watch.is_asked)) {
    status = vonk_kit_fail(err, VONK_CANCELLED, "'%s': cancelled", session->model->path);
  }
  return status;
}

/* --- the run ----------------------------------------------------------------------- */

static vonk_status take_outputs(const vonk_plugin_session *session, const vonk_run *run,
                                run_slots *slots, vonk_error *err) {
  for (uint32_t slot = 0; slot < slots->n_wanted; ++slot) {
    uint32_t i = slots->wanted[slot];
    if (run->outputs[i]->data != NULL) {
      VONK_TRY(vonk_onnx_tensor_settle(session, &session->model->outputs[i],
                                       slots->outputs[slot], run->outputs[i], err));
    } else {
      VONK_TRY(vonk_onnx_tensor_adopt(session, run, &session->model->outputs[i],
                                      slots->outputs[slot], run->outputs[i], err));
      slots->outputs[slot] = NULL; /* the tensor has it now */
    }
  }
  return VONK_OK;
}

vonk_status vonk_onnx_run(vonk_plugin_session *session, const vonk_run *run,
                          vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  VONK_TRY(vonk_kit_run_check(model->path, &model->info, session->core->pid, run, err));
  stack_slots stack;
  run_slots slots = {0};
  VONK_TRY(take_slots(run->n_inputs, run->n_outputs, &stack, &slots, err));
  kit_float_mode mode;
  vonk_kit_float_mode_get(&mode);
  vonk_status status = bind(session, run, &slots, err);
  if (status == VONK_OK && slots.n_wanted != 0) {
    status = run->cancel == NULL ? call(session, NULL, &slots, err)
                                 : call_watched(session, run, &slots, err);
  }
  if (status == VONK_OK) {
    status = take_outputs(session, run, &slots, err);
  }
  release_slots(&model->runtime->api, &slots);
  vonk_kit_float_mode_set(&mode);
  return status;
}
