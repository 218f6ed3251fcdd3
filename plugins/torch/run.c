/* Sessions, and one run of one micro-batch.
 *
 * The model's weights are in memory once, whoever runs it, so a session is no more than
 * the number of threads a run may use. PyTorch has no way to stop a run that has begun:
 * the host asks between micro-batches.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "torch_plugin.h"

vonk_status vonk_torch_create_session(vonk_plugin_model *model, vonk_device device,
                                      uint32_t threads, vonk_plugin_session **out,
                                      vonk_error *err) {
  if (threads < 1 || threads > 1024) {
    return vonk_kit_fail(err, VONK_INVALID, "threads=%" PRIu32 ": 1 to 1024 are possible",
                         threads);
  }
  if (device.kind != VONK_DEVICE_CPU) {
    return vonk_kit_fail(err, VONK_DEVICE,
                         "device %" PRId32 ":%" PRId32
                         ": the PyTorch plug-in runs on the CPU only: use device='cpu', "
                         "or convert the model to ONNX for a GPU",
                         device.kind, device.index);
  }
  vonk_plugin_session *session = vonk_kit_alloc(sizeof *session);
  if (session == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *session);
  }
  *session = (vonk_plugin_session){model, threads, threads > 1 ? getpid() : 0};
  *out = session;
  return VONK_OK;
}

void vonk_torch_release_session(vonk_plugin_session *session) { vonk_kit_free(session); }

/* Room for the handles of a run. */
enum { STACK_SLOTS = 32 };
typedef struct run_slots {
  aten_tensor *stack[STACK_SLOTS];
  aten_tensor **heap; /* if the stack had no room; else NULL */
} run_slots;

static vonk_status take_slots(uint32_t n_inputs, uint32_t n_outputs, run_slots *slots,
                              torch_call *call, vonk_error *err) {
  size_t n = (size_t)n_inputs + n_outputs;
  aten_tensor **room = slots->stack;
  slots->heap = NULL;
  if (n > STACK_SLOTS) {
    slots->heap = room = vonk_kit_alloc(n * sizeof(aten_tensor *));
    if (room == NULL) {
      return vonk_kit_fail_nomem(err, n * sizeof(aten_tensor *));
    }
  }
  memset(room, 0, n * sizeof(aten_tensor *));
  *call = (torch_call){.inputs = room,
                       .n_inputs = n_inputs,
                       .capacity = n_outputs,
                       .outputs = room + n_inputs};
  return VONK_OK;
}

static vonk_status call_model(const vonk_plugin_model *model, const vonk_run *run,
                              torch_call *call, vonk_error *err) {
  vonk_status status = VONK_OK;
  uint32_t n = 0;
  for (; status == VONK_OK && n < run->n_inputs; ++n) {
    status = vonk_torch_tensor_in(model->runtime, run->inputs[n], &model->inputs[n],
                                  &call->inputs[n], err);
  }
  if (status != VONK_OK) {
    for (uint32_t i = 0; i < n; ++i) {
      vonk_torch_tensor_delete(model->runtime, call->inputs[i]);
    }
    return status;
  }
  VONK_TRY(model->kind->run(model, call, err)); /* takes the inputs over */
  if (call->n_outputs != run->n_outputs) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "'%s': returned %" PRIu32 " tensors where %" PRIu32
                         " were expected",
                         model->path, call->n_outputs, run->n_outputs);
  }
  return VONK_OK;
}

static vonk_status take_outputs(const vonk_plugin_model *model, const vonk_run *run,
                                torch_call *call, vonk_error *err) {
  for (uint32_t i = 0; i < run->n_outputs; ++i) {
    if (run->outputs[i] != NULL) {
      aten_tensor *value = call->outputs[i];
      call->outputs[i] = NULL; /* it is the tensor's now, or gone */
      VONK_TRY(vonk_torch_tensor_adopt(model->runtime, run, &model->outputs[i], value,
                                       run->outputs[i], err));
    }
  }
  return VONK_OK;
}

vonk_status vonk_torch_run(vonk_plugin_session *session, const vonk_run *run,
                           vonk_error *err) {
  const vonk_plugin_model *model = session->model;
  VONK_TRY(vonk_kit_run_check(model->path, &model->info, session->pid, run, err));
  run_slots slots;
  torch_call call;
  VONK_TRY(take_slots(run->n_inputs, run->n_outputs, &slots, &call, err));
  uint32_t threads = run->threads < session->threads ? run->threads : session->threads;
  torch_scope scope;
  vonk_torch_enter(&scope, model->runtime, threads);
  vonk_status status = call_model(model, run, &call, err);
  if (status == VONK_OK) {
    status = take_outputs(model, run, &call, err);
  }
  for (uint32_t i = 0; i < call.n_outputs; ++i) {
    vonk_torch_tensor_delete(model->runtime, call.outputs[i]);
  }
  vonk_torch_leave(&scope);
  vonk_kit_free(slots.heap);
  return status;
}
