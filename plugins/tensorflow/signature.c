/* Signatures: what a model's author declared, made the model's inputs and outputs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opening.h"

/* Made for loaders, not for users. */
static bool is_hidden(kit_slice key) {
  return key.size > 2 && memcmp(key.data, "__", 2) == 0;
}

vonk_status vonk_tf_list_keys(tf_opening *opening, const tf_entry *entries, uint32_t n,
                              const char **out, vonk_error *err) {
  size_t size = 1, used = 0;
  for (uint32_t i = 0; i < n; ++i) {
    size += entries[i].key.size + 2;
  }
  char *text;
  VONK_TRY(vonk_kit_new(&opening->model->arena, size, 1, &text, err));
  for (uint32_t i = 0; i < n; ++i) {
    if (!is_hidden(entries[i].key)) {
      int length = snprintf(text + used, size - used, "%s%.*s", used == 0 ? "" : ", ",
                            (int)entries[i].key.size, (const char *)entries[i].key.data);
      used += length > 0 ? (size_t)length : 0;
    }
  }
  vonk_kit_clean_text(text, used);
  *out = text;
  return VONK_OK;
}

vonk_status vonk_tf_port_take(tf_opening *opening, kit_slice tensor, tf_port *out,
                              vonk_error *err) {
  uint64_t index = 0, unit = 1;
  size_t end = tensor.size;
  while (end > 0 && tensor.data[end - 1] >= '0' && tensor.data[end - 1] <= '9' &&
         unit <= 100000000) {
    index += (uint64_t)(tensor.data[--end] - '0') * unit;
    unit *= 10;
  }
  bool has_index = end > 0 && end < tensor.size && tensor.data[end - 1] == ':';
  size_t length = has_index ? end - 1 : tensor.size;
  out->index = has_index ? (int32_t)index : 0;
  return vonk_kit_new_text(&opening->model->arena, (const char *)tensor.data, length,
                           &out->node, err);
}

static vonk_status take_shape(tf_opening *opening, const tf_shape *shape, vonk_io *io,
                              vonk_error *err) {
  if (shape->rank > VONK_MAX_RANK) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': tensor '%s': has %" PRId32
                         " dimensions: at most %d are possible",
                         opening->place.path, io->name, shape->rank, VONK_MAX_RANK);
  }
  size_t rank = shape->rank < 0 ? 0 : (size_t)shape->rank;
  int64_t *dims;
  const char **names;
  VONK_TRY(vonk_kit_new(&opening->model->arena, rank + 1, sizeof *dims, &dims, err));
  VONK_TRY(vonk_kit_new(&opening->model->arena, rank + 1, sizeof *names, &names, err));
  for (size_t i = 0; i < rank; ++i) {
    dims[i] = shape->dims[i];
    if (dims[i] < 0 && shape->names[i].size != 0) {
      VONK_TRY(vonk_kit_new_text(&opening->model->arena,
                                 (const char *)shape->names[i].data, shape->names[i].size,
                                 &names[i], err));
    }
  }
  io->rank = shape->rank;
  io->shape = dims;
  io->dim_names = names;
  return VONK_OK;
}

static vonk_status take_info(tf_opening *opening, const char *kind, const tf_info *info,
                             vonk_io *io, tf_port *port, vonk_error *err) {
  *io = (vonk_io){.struct_size = (uint32_t)sizeof *io};
  VONK_TRY(vonk_kit_new_text(&opening->model->arena, (const char *)info->key.data,
                             info->key.size, &io->name, err));
  if (info->tensor.size == 0) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': %s '%s': is a sparse or composite tensor: vonk has dense ones only: "
        "export the model with tf.sparse.to_dense or .to_tensor() there",
        opening->place.path, kind, io->name);
  }
  const tf_dtype *dtype = vonk_tf_dtype(info->dtype);
  if (dtype == NULL || dtype->dtype == 0) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': %s '%s': is a tensor of %s: vonk has none such: put a tf.cast there",
        opening->place.path, kind, io->name,
        dtype == NULL ? "unknown dtype" : dtype->name);
  }
  io->dtype = dtype->dtype;
  VONK_TRY(vonk_tf_port_take(opening, info->tensor, port, err));
  port->dtype = dtype;
  return take_shape(opening, &info->shape, io, err);
}

static vonk_status take_side(tf_opening *opening, const tf_entry *signature,
                             bool is_output, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  tf_info *infos;
  uint32_t n;
  VONK_TRY(vonk_tf_signature_read(&opening->place, signature, is_output ? 2 : 1, &infos,
                                  &n, err));
  vonk_io *ios;
  tf_port *ports;
  VONK_TRY(vonk_kit_new(&model->arena, n + 1, sizeof *ios, &ios, err));
  VONK_TRY(vonk_kit_new(&model->arena, n + 1, sizeof *ports, &ports, err));
  for (uint32_t i = 0; i < n; ++i) {
    VONK_TRY(take_info(opening, is_output ? "output" : "input", &infos[i], &ios[i],
                       &ports[i], err));
  }
  *(is_output ? &model->outputs : &model->inputs) = ios;
  *(is_output ? &model->output_ports : &model->input_ports) = ports;
  *(is_output ? &model->info.n_outputs : &model->info.n_inputs) = n;
  return VONK_OK;
}

static vonk_status fail_no_signature(tf_opening *opening, const char *keys,
                                     vonk_error *err) {
  const char *path = opening->place.path;
  if (keys[0] == '\0') {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': has no signatures, so it does not say what its inputs "
                         "and outputs are: save it again with signatures "
                         "(tf.saved_model.save(..., signatures=...) or Keras' "
                         "model.export)",
                         path);
  }
  return opening->signature != NULL
             ? vonk_kit_fail(err, VONK_INVALID,
                             "'%s': has no signature '%.80s': it has: %s: choose one of "
                             "these with the option signature",
                             path, opening->signature, keys)
             : vonk_kit_fail(err, VONK_INVALID,
                             "'%s': has no signature 'serving_default': it has: %s: "
                             "choose one with the option signature",
                             path, keys);
}

static vonk_status find_signature(tf_opening *opening, const tf_entry **out,
                                  vonk_error *err) {
  const tf_meta_file *meta = &opening->meta;
  const char *wanted =
      opening->signature == NULL ? "serving_default" : opening->signature;
  for (uint32_t i = 0; i < meta->n_signatures; ++i) {
    if (vonk_kit_slice_equals(meta->signatures[i].key, wanted) &&
        !is_hidden(meta->signatures[i].key)) {
      *out = &meta->signatures[i];
      return VONK_OK;
    }
  }
  const char *keys;
  VONK_TRY(vonk_tf_list_keys(opening, meta->signatures, meta->n_signatures, &keys, err));
  return fail_no_signature(opening, keys, err);
}

/* What inspect shows. */
static vonk_status take_metadata(tf_opening *opening, const tf_entry *signature,
                                 vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  const tf_meta_file *meta = &opening->meta;
  vonk_kv *rows;
  tf_entry *tags;
  VONK_TRY(vonk_kit_new(&model->arena, 3, sizeof *rows, &rows, err));
  VONK_TRY(
      vonk_kit_new(opening->place.arena, meta->n_tags + 1, sizeof *tags, &tags, err));
  for (uint32_t i = 0; i < meta->n_tags; ++i) {
    tags[i].key = meta->tags[i];
  }
  rows[0].key = "signatures";
  VONK_TRY(vonk_tf_list_keys(opening, meta->signatures, meta->n_signatures,
                             &rows[0].value, err));
  rows[1].key = "signature";
  VONK_TRY(vonk_kit_new_text(&model->arena, (const char *)signature->key.data,
                             signature->key.size, &rows[1].value, err));
  rows[2].key = "tags";
  VONK_TRY(vonk_tf_list_keys(opening, tags, meta->n_tags, &rows[2].value, err));
  model->info.metadata = rows;
  model->info.n_metadata = meta->n_tags == 0 ? 2 : 3;
  return VONK_OK;
}

vonk_status vonk_tf_signature_take(tf_opening *opening, vonk_error *err) {
  const tf_entry *signature = NULL;
  VONK_TRY(find_signature(opening, &signature, err));
  VONK_TRY(take_side(opening, signature, false, err));
  VONK_TRY(take_side(opening, signature, true, err));
  if (opening->model->info.n_outputs == 0) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': signature '%.*s' has no outputs: choose another one with "
                         "the option signature",
                         opening->place.path, VONK_TF_SHOWN(signature->key));
  }
  opening->has_signature = true;
  return take_metadata(opening, signature, err);
}

/* --- what the user says beyond the file ------------------------------------------------ */

static vonk_status refine_one(tf_opening *opening, const char *option,
                              const kit_spec *spec, vonk_io *io, vonk_error *err) {
  bool fits = spec->dtype == 0 || spec->dtype == io->dtype;
  if (!fits) {
    return vonk_kit_fail(err, VONK_INVALID,
                         "'%s': option %s: '%s' is said to be %s: the model has %s there",
                         opening->place.path, option, io->name,
                         vonk_kit_dtype(spec->dtype)->name,
                         vonk_kit_dtype(io->dtype)->name);
  }
  fits = spec->rank < 0 || io->rank < 0 || io->rank == spec->rank;
  for (int32_t i = 0; fits && i < io->rank && i < spec->rank; ++i) {
    fits = io->shape[i] < 0 || spec->shape[i] < 0 || io->shape[i] == spec->shape[i];
  }
  if (!fits) {
    char said[256], known[256];
    vonk_kit_shape_text(spec->shape, spec->rank, NULL, said, sizeof said);
    vonk_kit_shape_text(io->shape, io->rank, NULL, known, sizeof known);
    return vonk_kit_fail(err, VONK_INVALID,
                         "'%s': option %s: '%s' is said to have shape %s: the model has "
                         "%s there",
                         opening->place.path, option, io->name, said, known);
  }
  if (spec->rank < 0) {
    return VONK_OK;
  }
  int64_t *dims;
  const char **names = NULL;
  VONK_TRY(vonk_kit_new(&opening->model->arena, VONK_MAX_RANK, sizeof *dims, &dims, err));
  VONK_TRY(
      vonk_kit_new(&opening->model->arena, VONK_MAX_RANK, sizeof *names, &names, err));
  for (int32_t i = 0; i < spec->rank; ++i) {
    bool is_known = io->rank >= 0 && io->shape[i] >= 0;
    dims[i] = is_known ? io->shape[i] : spec->shape[i];
    names[i] =
        dims[i] < 0 && io->dim_names != NULL && io->rank >= 0 ? io->dim_names[i] : NULL;
  }
  io->rank = spec->rank;
  io->shape = dims;
  io->dim_names = names;
  return VONK_OK;
}

/* The name without ":0". */
static bool is_named(const kit_spec *spec, const char *name) {
  size_t n = strlen(name);
  return strncmp(spec->name, name, n) == 0 &&
         (spec->name[n] == '\0' || strcmp(spec->name + n, ":0") == 0);
}

static vonk_status refine_side(tf_opening *opening, const char *option, const char *text,
                               vonk_io *ios, uint32_t n, vonk_error *err) {
  const kit_spec *specs;
  uint32_t n_specs;
  VONK_TRY(
      vonk_kit_spec_parse(opening->place.arena, option, text, &specs, &n_specs, err));
  for (uint32_t i = 0; i < n_specs; ++i) {
    uint32_t j = 0;
    while (j < n && !is_named(&specs[i], ios[j].name)) {
      ++j;
    }
    if (j == n) {
      char list[400] = "";
      for (uint32_t k = 0, used = 0; k < n && used < 300; ++k) {
        int length = snprintf(list + used, sizeof list - used, "%s%.80s",
                              k == 0 ? "" : ", ", ios[k].name);
        used += length > 0 ? (uint32_t)length : 0;
      }
      return vonk_kit_fail(err, VONK_INVALID,
                           "'%s': option %s: the model has no '%s': it has: %s",
                           opening->place.path, option, specs[i].name, list);
    }
    VONK_TRY(refine_one(opening, option, &specs[i], &ios[j], err));
  }
  return VONK_OK;
}

vonk_status vonk_tf_signature_refine(tf_opening *opening, vonk_error *err) {
  vonk_plugin_model *model = opening->model;
  if (opening->inputs != NULL) {
    VONK_TRY(refine_side(opening, "inputs", opening->inputs, model->inputs,
                         model->info.n_inputs, err));
  }
  if (opening->outputs != NULL) {
    VONK_TRY(refine_side(opening, "outputs", opening->outputs, model->outputs,
                         model->info.n_outputs, err));
  }
  for (uint32_t i = 0; i < model->info.n_inputs; ++i) {
    const vonk_io *io = &model->inputs[i];
    if (io->rank < 0) {
      return vonk_kit_fail(
          err, VONK_INVALID,
          "'%s': input '%s': the model does not say its shape: say it "
          "with the option inputs, such as inputs='%s:%s[-1,4]' for rows "
          "of 4",
          opening->place.path, io->name, io->name, vonk_kit_dtype(io->dtype)->name);
    }
  }
  return VONK_OK;
}
