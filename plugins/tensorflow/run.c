/* One run of one micro-batch, in the caller's thread. Several threads may be in here with
 * one session. */
#include <string.h>

#include "tf_plugin.h"

enum { STACK_SLOTS = 16 };

/* One slot per input and per wanted output. */
typedef struct run_slots {
  uint32_t n_inputs, n_wanted;
  tf_tensor **inputs, **outputs;
  tf_output *fetches;
  uint32_t *wanted; /* indices into the model's outputs */
  void *heap;       /* all of these, if the stack had no room; else NULL */
} run_slots;

typedef struct stack_slots {
  tf_tensor *inputs[STACK_SLOTS], *outputs[STACK_SLOTS];
  tf_output fetches[STACK_SLOTS];
  uint32_t wanted[STACK_SLOTS];
} stack_slots;

static vonk_status take_slots(uint32_t n_inputs, uint32_t n_outputs, stack_slots *stack,
                              run_slots *slots, vonk_error *err) {
  slots->n_inputs = n_inputs;
  if (n_inputs <= STACK_SLOTS && n_outputs <= STACK_SLOTS) {
    slots->inputs = stack->inputs;
    slots->outputs = stack->outputs;
    slots->fetches = stack->fetches;
    slots->wanted = stack->wanted;
    memset(stack->inputs, 0, n_inputs * sizeof *stack->inputs);
    memset(stack->outputs, 0, n_outputs * sizeof *stack->outputs);
    return VONK_OK;
  }
  size_t n_pointers = (size_t)n_inputs + n_outputs;
  size_t nbytes =
      n_pointers * sizeof(void *) + n_outputs * (sizeof(tf_output) + sizeof(uint32_t));
  char *heap = vonk_kit_alloc(nbytes);
  if (heap == NULL) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  memset(heap, 0, nbytes);
  slots->heap = heap;
  slots->fetches = (tf_output *)(void *)heap;
  slots->inputs = (tf_tensor **)(void *)(slots->fetches + n_outputs);
  slots->outputs = slots->inputs + n_inputs;
  slots->wanted = (uint32_t *)(void *)(slots->outputs + n_outputs);
  return VONK_OK;
}

static void release_slots(const tf_api *api, run_slots *slots) {
  for (uint32_t i = 0; i < slots->n_inputs; ++i) {
    if (slots->inputs[i] != NULL) {
      api->DeleteTensor(slots->inputs[i]);
    }
  }
  for (uint32_t i = 0; i < slots->n_wanted; ++i) {
    if (slots->outputs[i] != NULL) {
      api->DeleteTensor(slots->outputs[i]);
    }
  }
  vonk_kit_free(slots->heap);
}

static vonk_status bind(const vonk_plugin_model *model, const vonk_run *run,
                        run_slots *slots, vonk_error *err) {
  for (uint32_t i = 0; i < run->n_inputs; ++i) {
    VONK_TRY(vonk_tf_tensor_in(model, i, run->inputs[i], &slots->inputs[i], err));
  }
  for (uint32_t i = 0; i < run->n_outputs; ++i) {
    if (run->outputs[i] != NULL) {
      slots->fetches[slots->n_wanted] = model->fetches[i];
      slots->wanted[slots->n_wanted++] = i;
    }
  }
  return VONK_OK;
}

static vonk_status call(const vonk_plugin_session *session, run_slots *slots,
                        vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  const tf_api *api = &model->runtime->api;
  tf_status *status = api->NewStatus();
  vonk_tf_quiet_begin();
  api->SessionRun(session->core->session, NULL, model->feeds, slots->inputs,
                  (int)slots->n_inputs, slots->fetches, slots->outputs,
                  (int)slots->n_wanted, NULL, 0, NULL, status);
  vonk_tf_quiet_end();
  vonk_status code = vonk_tf_check(model->runtime, status, err, "'%s'", model->path);
  if (code != VONK_OK && code != VONK_NOMEM) {
    code = VONK_BACKEND; /* the data were checked before: it failed while running */
    if (err != NULL) {
      err->code = code;
    }
  }
  api->DeleteStatus(status);
  return code;
}

static vonk_status take_outputs(const vonk_plugin_model *model, const vonk_run *run,
                                run_slots *slots, vonk_error *err) {
  for (uint32_t slot = 0; slot < slots->n_wanted; ++slot) {
    uint32_t i = slots->wanted[slot];
    VONK_TRY(vonk_tf_tensor_adopt(model->runtime, run, &model->outputs[i],
                                  slots->outputs[slot], run->outputs[i], err));
    slots->outputs[slot] = NULL; /* the tensor has it now */
  }
  return VONK_OK;
}

vonk_status vonk_tf_run(vonk_plugin_session *session, const vonk_run *run,
                        vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  VONK_TRY(vonk_kit_run_check(model->path, &model->info, session->core->pid, run, err));
  stack_slots stack;
  run_slots slots = {0};
  VONK_TRY(take_slots(run->n_inputs, run->n_outputs, &stack, &slots, err));
  kit_float_mode mode;
  vonk_kit_float_mode_get(&mode);
  vonk_status status = bind(model, run, &slots, err);
  if (status == VONK_OK && slots.n_wanted != 0) {
    status = call(session, &slots, err);
  }
  if (status == VONK_OK) {
    status = take_outputs(model, run, &slots, err);
  }
  release_slots(&model->runtime->api, &slots);
  vonk_kit_float_mode_set(&mode);
  return status;
}
