/* Signatures: what a model's author declared, made the model's inputs and outputs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opening.h"

vonk_status vonk_tf_list_keys(tf_opening *opening, const tf_entry *entries, uint32_t n,
                              const char **out, vonk_error *err) {
  size_t size = 1;
  for (uint32_t i = 0; i < n; ++i) {
    size += entries[i].key.size + 2;
  }
  char *text, *end;
  VONK_TRY(vonk_kit_new(&opening->model->arena, size, 1, &text, err));
  end = text;
  for (uint32_t i = 0; i < n; ++i) {
    end += sprintf(end, "%s%.*s", i == 0 ? "" : ", ", (int)entries[i].key.size,
                   (const char *)entries[i].key.data);
  }
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

static vonk_status find_signature(tf_opening *opening, const tf_entry **out,
                                  vonk_error *err) {
  const tf_meta_file *meta = &opening->meta;
  const char *wanted =
      opening->signature == NULL ? "serving_default" : opening->signature;
  for (uint32_t i = 0; i < meta->n_signatures; ++i) {
    if (vonk_kit_slice_equals(meta->signatures[i].key, wanted)) {
      *out = &meta->signatures[i];
      return VONK_OK;
    }
  }
  const char *keys;
  VONK_TRY(vonk_tf_list_keys(opening, meta->signatures, meta->n_signatures, &keys, err));
  return vonk_kit_fail(err, VONK_INVALID,
                       "'%s': has no signature '%s': it has: %s: choose one with "
                       "signature",
                       opening->place.path, wanted, keys);
}

vonk_status vonk_tf_signature_take(tf_opening *opening, vonk_error *err) {
  const tf_entry *signature = NULL;
  VONK_TRY(find_signature(opening, &signature, err));
  VONK_TRY(take_side(opening, signature, false, err));
  return take_side(opening, signature, true, err);
}
