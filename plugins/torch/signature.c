/* What goes into a model and what comes out, where the file does not say.
 *
 * PyTorch's files know the names of arguments, rarely dtypes and shapes, and nothing of
 * outputs. What the file says is taken, what the options say counts more, and what is
 * missing of the outputs is found by running the model on zeros with two numbers of rows:
 * dimensions that differ are free.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "torch_plugin.h"

enum { MAX_OUTPUTS = 1024, MAX_TRIAL_BYTES = 1 << 30, TRIAL_ALIGN = 64 };

/* --- inputs ------------------------------------------------------------------------------ */

static vonk_status make_io(vonk_plugin_model *model, const kit_spec *spec, vonk_io *out,
                           vonk_error *err) {
  int64_t *shape;
  VONK_TRY(vonk_kit_new(&model->arena, VONK_MAX_RANK, sizeof *shape, &shape, err));
  memcpy(shape, spec->shape, VONK_MAX_RANK * sizeof *shape);
  *out = (vonk_io){.struct_size = (uint32_t)sizeof *out,
                   .dtype = spec->dtype,
                   .name = spec->name,
                   .rank = spec->rank,
                   .shape = shape};
  return VONK_OK;
}

/* Appends text to a buffer of `capacity` bytes, as far as it goes. */
static void append(char *buffer, size_t capacity, const char *more, const char *comma) {
  size_t used = strlen(buffer);
  snprintf(buffer + used, capacity - used, "%s%.80s", used == 0 ? "" : comma, more);
}

/* The file does not say what an input is: shows the option that does. */
static vonk_status fail_unknown(const vonk_plugin_model *model, const torch_input *inputs,
                                uint32_t n, vonk_error *err) {
  char names[300] = "", example[400] = "";
  for (uint32_t i = 0; i < n; ++i) {
    if (!inputs[i].is_optional) {
      char entry[120];
      snprintf(entry, sizeof entry, "%.80s:f32[-1,784]", inputs[i].name);
      append(names, sizeof names, inputs[i].name, ", ");
      append(example, sizeof example, entry, ",");
    }
  }
  return vonk_kit_fail(
      err, VONK_INVALID,
      "'%s': the file does not say of what dtype and shape its inputs are (%s): say it "
      "with the option inputs, such as --option inputs='%s' with the model's own dtypes "
      "and sizes, or once for all in a bundle: vonk pack",
      model->path, names, example);
}

static const torch_input *find_input(const torch_input *inputs, uint32_t n,
                                     const char *name) {
  for (uint32_t i = 0; i < n; ++i) {
    if (strcmp(inputs[i].name, name) == 0) {
      return &inputs[i];
    }
  }
  return NULL;
}

static vonk_status check_names(const vonk_plugin_model *model, const torch_input *inputs,
                               uint32_t n, vonk_error *err) {
  char names[300] = "";
  for (uint32_t i = 0; i < n; ++i) {
    append(names, sizeof names, inputs[i].name, ", ");
  }
  for (uint32_t i = 0; i < model->n_wanted_inputs; ++i) {
    if (find_input(inputs, n, model->wanted_inputs[i].name) == NULL) {
      return vonk_kit_fail(err, VONK_INVALID,
                           "option 'inputs': '%s' has no input '%s': it has %s",
                           model->path, model->wanted_inputs[i].name, names);
    }
  }
  return VONK_OK;
}

/* The option's entry for an input; NULL = there is none. */
static const kit_spec *wanted_of(const vonk_plugin_model *model,
                                 const torch_input *input) {
  for (uint32_t i = 0; i < model->n_wanted_inputs; ++i) {
    if (strcmp(model->wanted_inputs[i].name, input->name) == 0) {
      return &model->wanted_inputs[i];
    }
  }
  return NULL;
}

static vonk_status check_dtype(const vonk_plugin_model *model, const kit_spec *spec,
                               const char *kind, vonk_error *err) {
  if (vonk_torch_dtype(spec->dtype) < 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': %s '%s' is %s: PyTorch has no such tensors", model->path,
                         kind, spec->name, vonk_kit_dtype(spec->dtype)->name);
  }
  return VONK_OK;
}

/* What was compiled in cannot be changed by an option. */
static vonk_status check_exact(const vonk_plugin_model *model, const torch_input *input,
                               const kit_spec *wanted, vonk_error *err) {
  const kit_spec *found = &input->spec;
  bool fits =
      wanted->dtype == found->dtype && (wanted->rank < 0 || wanted->rank == found->rank);
  for (int32_t i = 0; fits && i < wanted->rank; ++i) {
    fits = found->shape[i] < 0 || found->shape[i] == wanted->shape[i];
  }
  if (fits) {
    return VONK_OK;
  }
  char shape[256];
  vonk_kit_shape_text(found->shape, found->rank, NULL, shape, sizeof shape);
  return vonk_kit_fail(err, VONK_INVALID,
                       "option 'inputs': '%s' is %s%s in '%s' and cannot be something "
                       "else",
                       input->name, vonk_kit_dtype(found->dtype)->name, shape,
                       model->path);
}

/* Adds one input to the model unless it is left out. */
static vonk_status take_input(vonk_plugin_model *model, const torch_input *input,
                              uint32_t *chosen, bool *is_unknown, vonk_error *err) {
  const kit_spec *wanted = wanted_of(model, input);
  if (wanted == NULL && input->is_optional) {
    return VONK_OK; /* it takes its default */
  }
  kit_spec spec = input->spec;
  spec.name = input->name;
  if (!input->is_known) {
    spec.dtype = 0;
    spec.rank = -1;
  }
  if (wanted != NULL && wanted->dtype != 0) {
    if (input->is_exact) {
      VONK_TRY(check_exact(model, input, wanted, err));
    }
    spec.dtype = wanted->dtype;
    if (wanted->rank >= 0) {
      spec.rank = wanted->rank;
      memcpy(spec.shape, wanted->shape, sizeof spec.shape);
    }
  }
  if (spec.dtype == 0 || spec.rank < 0) {
    *is_unknown = true;
    return VONK_OK;
  }
  VONK_TRY(check_dtype(model, &spec, "input", err));
  VONK_TRY(make_io(model, &spec, &model->inputs[model->info.n_inputs], err));
  chosen[model->info.n_inputs++] = input->number;
  return VONK_OK;
}

vonk_status vonk_torch_make_inputs(vonk_plugin_model *model, const torch_input *inputs,
                                   uint32_t n, const uint32_t **out_chosen,
                                   vonk_error *err) {
  uint32_t *chosen;
  bool is_unknown = false;
  VONK_TRY(check_names(model, inputs, n, err));
  VONK_TRY(vonk_kit_new(&model->arena, n, sizeof *chosen, &chosen, err));
  VONK_TRY(vonk_kit_new(&model->arena, n, sizeof *model->inputs, &model->inputs, err));
  for (uint32_t i = 0; i < n; ++i) {
    VONK_TRY(take_input(model, &inputs[i], chosen, &is_unknown, err));
  }
  if (is_unknown) {
    return fail_unknown(model, inputs, n, err);
  }
  if (model->info.n_inputs == 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': takes no input: vonk needs one that counts rows",
                         model->path);
  }
  *out_chosen = chosen;
  return VONK_OK;
}

/* --- trial runs ---------------------------------------------------------------------------- */

/* What one run on zeros gave. */
typedef struct trial {
  uint32_t n_outputs;
  aten_tensor *outputs[MAX_OUTPUTS];
  const char *names[MAX_OUTPUTS];
  torch_tensor_facts facts[MAX_OUTPUTS];
} trial;

/* Zeros for an input, freed with the arena. */
static vonk_status make_zeros(const vonk_plugin_model *model, const vonk_io *io,
                              int64_t rows, int64_t other, aten_tensor **out,
                              void **memory, vonk_error *err) {
  int64_t shape[VONK_MAX_RANK] = {0};
  size_t count = 0, nbytes = 0;
  for (int32_t i = 0; i < io->rank; ++i) {
    shape[i] = io->shape[i] >= 0 ? io->shape[i] : i == 0 ? rows : other;
  }
  if (vonk_kit_count(shape, io->rank, &count) != VONK_OK ||
      __builtin_mul_overflow(count, vonk_kit_dtype(io->dtype)->bytes, &nbytes) ||
      nbytes > MAX_TRIAL_BYTES) {
    return vonk_kit_fail(err, VONK_NOMEM, "input '%s' is too large for it", io->name);
  }
  void *data = vonk_kit_alloc_aligned(nbytes + 1, TRIAL_ALIGN);
  if (data == NULL) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  memset(data, 0, nbytes);
  *memory = data;
  const vonk_tensor tensor = {.struct_size = (uint32_t)sizeof tensor,
                              .dtype = io->dtype,
                              .rank = io->rank,
                              .shape = shape,
                              .data = data,
                              .nbytes = nbytes,
                              .device = {VONK_DEVICE_CPU, 0}};
  return vonk_torch_tensor_in(model->runtime, &tensor, io, out, err);
}

static vonk_status read_outputs(const vonk_plugin_model *model, const torch_call *call,
                                trial *out, vonk_error *err) {
  for (uint32_t i = 0; i < call->n_outputs; ++i) {
    char name[32];
    snprintf(name, sizeof name, "number %" PRIu32, i);
    VONK_TRY(vonk_torch_tensor_facts(model->runtime, call->outputs[i],
                                     out->names[i] != NULL ? out->names[i] : name,
                                     &out->facts[i], err));
  }
  out->n_outputs = call->n_outputs;
  return VONK_OK;
}

/* One run on `rows` rows of zeros, free dimensions behind the first being `other`. */
static vonk_status try_run(const vonk_plugin_model *model, int64_t rows, int64_t other,
                           aten_tensor **inputs, void **memory, trial *out,
                           vonk_error *err) {
  uint32_t n = model->info.n_inputs;
  vonk_status status = VONK_OK;
  for (uint32_t i = 0; status == VONK_OK && i < n; ++i) {
    status =
        make_zeros(model, &model->inputs[i], rows, other, &inputs[i], &memory[i], err);
  }
  torch_call call = {.inputs = inputs,
                     .n_inputs = n,
                     .capacity = MAX_OUTPUTS,
                     .outputs = out->outputs,
                     .names = out->names};
  if (status == VONK_OK) {
    status = model->kind->run(model, &call, err); /* takes the inputs over */
  } else {
    for (uint32_t i = 0; i < n; ++i) {
      vonk_torch_tensor_delete(model->runtime, inputs[i]);
    }
  }
  if (status == VONK_OK) {
    status = read_outputs(model, &call, out, err);
  }
  for (uint32_t i = 0; i < call.n_outputs; ++i) {
    vonk_torch_tensor_delete(model->runtime, call.outputs[i]);
  }
  for (uint32_t i = 0; i < n; ++i) {
    vonk_kit_free(memory[i]);
  }
  return status;
}

static vonk_status run_zeros(vonk_plugin_model *model, int64_t rows, int64_t other,
                             trial *out, vonk_error *err) {
  kit_arena arena = {0};
  aten_tensor **inputs;
  void **memory;
  vonk_status status =
      vonk_kit_new(&arena, model->info.n_inputs, sizeof *inputs, &inputs, err);
  if (status == VONK_OK) {
    status = vonk_kit_new(&arena, model->info.n_inputs, sizeof *memory, &memory, err);
  }
  if (status == VONK_OK) {
    memset(out, 0, sizeof *out);
    status = try_run(model, rows, other, inputs, memory, out, err);
  }
  vonk_kit_arena_release(&arena);
  return status;
}

static bool has_free_inside(const vonk_plugin_model *model) {
  for (uint32_t i = 0; i < model->info.n_inputs; ++i) {
    for (int32_t j = 1; j < model->inputs[i].rank; ++j) {
      if (model->inputs[i].shape[j] < 0) {
        return true;
      }
    }
  }
  return false;
}

/* Sizes for free dimensions behind the first: some networks need many words or pixels. */
static vonk_status run_trials(vonk_plugin_model *model, trial *first, trial *second,
                              vonk_error *err) {
  static const int64_t others[][2] = {{16, 17}, {64, 66}, {224, 256}};
  size_t n = has_free_inside(model) ? sizeof others / sizeof others[0] : 1;
  vonk_error why = {.struct_size = (uint32_t)sizeof why};
  vonk_status status = VONK_OK;
  for (size_t i = 0; i < n; ++i) {
    status = run_zeros(model, 2, others[i][0], first, i == 0 ? &why : NULL);
    if (status == VONK_OK) {
      status = run_zeros(model, 3, others[i][1], second, i == 0 ? &why : NULL);
    }
    if (status == VONK_OK) {
      return VONK_OK;
    }
  }
  return vonk_kit_fail(err, status == VONK_NOMEM ? VONK_NOMEM : VONK_MODEL,
                       "'%s': a trial run on two rows of zeros, to see what comes out, "
                       "failed: %.500s: if the inputs are right, say what comes out: "
                       "--option outputs='output:f32[-1,10]'",
                       model->path,
                       strncmp(why.message + 1, model->path, strlen(model->path)) == 0
                           ? why.message + strlen(model->path) + 4
                           : why.message);
}

/* --- outputs ------------------------------------------------------------------------------- */

static bool says_all(const vonk_plugin_model *model) {
  for (uint32_t i = 0; i < model->n_wanted_outputs; ++i) {
    if (model->wanted_outputs[i].dtype == 0 || model->wanted_outputs[i].rank < 0) {
      return false;
    }
  }
  return model->n_wanted_outputs != 0;
}

static vonk_status check_count(const vonk_plugin_model *model, uint32_t count,
                               vonk_error *err) {
  if (model->wanted_outputs != NULL && count != model->n_wanted_outputs) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "option 'outputs': names %" PRIu32
                         " outputs: '%s' returns %" PRIu32,
                         model->n_wanted_outputs, model->path, count);
  }
  if (count == 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "'%s': returns nothing", model->path);
  }
  return VONK_OK;
}

/* What two runs tell of an output: dimensions that differ are free. */
static vonk_status merge(const vonk_plugin_model *model, const torch_tensor_facts *first,
                         const torch_tensor_facts *second, kit_spec *spec,
                         vonk_error *err) {
  if (first->dtype != second->dtype || first->rank != second->rank) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': output '%s' has another dtype or rank with other rows",
                         model->path, spec->name);
  }
  if (spec->dtype != 0 && spec->dtype != first->dtype) {
    return vonk_kit_fail(err, VONK_INVALID, "option 'outputs': '%s' is %s, not %s",
                         spec->name, vonk_kit_dtype(first->dtype)->name,
                         vonk_kit_dtype(spec->dtype)->name);
  }
  spec->dtype = first->dtype;
  if (spec->rank < 0) {
    spec->rank = first->rank;
    for (int32_t i = 0; i < first->rank; ++i) {
      spec->shape[i] = first->shape[i] == second->shape[i] ? first->shape[i] : -1;
    }
  }
  return VONK_OK;
}

/* The name of output i: the option's, the file's, or "output", "output_0". */
static vonk_status name_output(vonk_plugin_model *model, uint32_t i, uint32_t count,
                               const char *from_file, const char **out, vonk_error *err) {
  char text[32];
  snprintf(text, sizeof text, count == 1 ? "output" : "output_%" PRIu32, i);
  const char *name = model->wanted_outputs != NULL ? model->wanted_outputs[i].name
                     : from_file != NULL           ? from_file
                                                   : text;
  return vonk_kit_new_text(&model->arena, name, strlen(name), out, err);
}

static vonk_status fill_outputs(vonk_plugin_model *model, uint32_t count,
                                const char *const *names, const trial *first,
                                const trial *second, vonk_error *err) {
  vonk_io *outputs;
  VONK_TRY(check_count(model, count, err));
  VONK_TRY(vonk_kit_new(&model->arena, count, sizeof *outputs, &outputs, err));
  for (uint32_t i = 0; i < count; ++i) {
    kit_spec spec = {.rank = -1};
    if (model->wanted_outputs != NULL) {
      spec = model->wanted_outputs[i];
    }
    const char *from_file = names != NULL   ? names[i]
                            : first != NULL ? first->names[i]
                                            : NULL;
    VONK_TRY(name_output(model, i, count, from_file, &spec.name, err));
    if (first != NULL) {
      VONK_TRY(merge(model, &first->facts[i], &second->facts[i], &spec, err));
    }
    VONK_TRY(check_dtype(model, &spec, "output", err));
    VONK_TRY(make_io(model, &spec, &outputs[i], err));
  }
  model->outputs = outputs;
  model->info.n_outputs = count;
  return VONK_OK;
}

vonk_status vonk_torch_make_outputs(vonk_plugin_model *model, uint32_t count,
                                    const char *const *names, vonk_error *err) {
  if (says_all(model)) {
    uint32_t n = count == 0 ? model->n_wanted_outputs : count;
    return fill_outputs(model, n, names, NULL, NULL, err);
  }
  kit_arena arena = {0};
  trial *trials;
  vonk_status status = vonk_kit_new(&arena, 2, sizeof *trials, &trials, err);
  if (status == VONK_OK) {
    status = run_trials(model, &trials[0], &trials[1], err);
  }
  if (status == VONK_OK && trials[0].n_outputs != trials[1].n_outputs) {
    status = vonk_kit_fail(err, VONK_UNSUPPORTED,
                           "'%s': returns %" PRIu32 " tensors for two rows and %" PRIu32
                           " for three: a fixed number is needed",
                           model->path, trials[0].n_outputs, trials[1].n_outputs);
  }
  if (status == VONK_OK) {
    status = fill_outputs(model, trials[0].n_outputs, names, &trials[0], &trials[1], err);
  }
  vonk_kit_arena_release(&arena);
  return status;
}
