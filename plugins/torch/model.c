/* Models: what a file holds, told before anything is run.
 *
 * The file, mapped or in the host's memory, is looked at by readers of our own; then the
 * kind of file it is opens it, which fills in what the file says of inputs and outputs
 * (signature.c). Its bytes are not needed once the model is open: both kinds have copies.
 */
#include <inttypes.h>
#include <string.h>

#include "torch_file.h"
#include "torch_plugin.h"

const vonk_kv vonk_torch_options[] = {
    {"inputs",
     "dtype and shape of each input, -1 = free: 'x:f32[-1,784],mask:bool[-1,16]'"},
    {"outputs",
     "name, dtype and shape of each output: 'score:f32[-1,10]'; else a trial run tells"},
    {"allow_native_code",
     "1: load an AOTInductor package, which is machine code that can do all that you may "
     "do (default 0)"},
    {NULL, NULL},
};

static vonk_status set_option(vonk_plugin_model *model, const vonk_kv *option,
                              vonk_error *err) {
  if (strcmp(option->key, "inputs") == 0) {
    return vonk_kit_spec_parse(&model->arena, option->key, option->value,
                               &model->wanted_inputs, &model->n_wanted_inputs, err);
  }
  if (strcmp(option->key, "outputs") == 0) {
    return vonk_kit_spec_parse(&model->arena, option->key, option->value,
                               &model->wanted_outputs, &model->n_wanted_outputs, err);
  }
  if (strcmp(option->key, "allow_native_code") == 0) {
    if (strcmp(option->value, "0") != 0 && strcmp(option->value, "1") != 0) {
      return vonk_kit_fail(err, VONK_INVALID,
                           "allow_native_code='%.80s': 0 and 1 are possible",
                           option->value);
    }
    model->allow_native_code = option->value[0] == '1';
    return VONK_OK;
  }
  return vonk_kit_fail(err, VONK_INVALID,
                       "option '%.80s': the PyTorch plug-in has inputs, outputs and "
                       "allow_native_code",
                       option->key);
}

/* Tells the kind of the file, or what to do with it. */
static vonk_status find_kind(vonk_plugin_model *model, vonk_error *err) {
  kit_slice file = model->file;
  torch_file_kind kind = vonk_torch_kind_of_head(file.data, file.size);
  if (vonk_torch_is_zip(file.data, file.size)) {
    VONK_TRY(vonk_torch_zip_read(model->path, file, &model->arena, &model->archive, err));
    kind = vonk_torch_kind_of_archive(&model->archive);
  }
  if (kind != TORCH_FILE_SCRIPT && kind != TORCH_FILE_PACKAGE) {
    return vonk_torch_refuse(model->path, kind, file, err);
  }
  model->kind =
      kind == TORCH_FILE_SCRIPT ? &vonk_torch_script_kind : &vonk_torch_package_kind;
  return VONK_OK;
}

/* What the author put into the file with `_extra_files`, as far as it is text. */
enum { MAX_EXTRA = 64, MAX_EXTRA_BYTES = 4096 };
static vonk_status read_metadata(vonk_plugin_model *model, vonk_error *err) {
  const zip_archive *archive = &model->archive;
  vonk_kv *pairs;
  uint32_t n = 0;
  VONK_TRY(vonk_kit_new(&model->arena, MAX_EXTRA + 1, sizeof *pairs, &pairs, err));
  for (uint32_t i = vonk_torch_zip_first(archive, "extra/");
       i < archive->n_entries && n < MAX_EXTRA; ++i) {
    const zip_entry *entry = &archive->entries[i];
    kit_slice bytes;
    if (strncmp(entry->name, "extra/", 6) != 0) {
      break;
    }
    if (entry->size > MAX_EXTRA_BYTES) {
      continue;
    }
    VONK_TRY(vonk_torch_zip_unpack(archive, entry, MAX_EXTRA_BYTES, &model->arena, &bytes,
                                   err));
    if (vonk_kit_is_text((const char *)bytes.data, bytes.size)) {
      pairs[n].key = entry->name + 6;
      VONK_TRY(vonk_kit_new_text(&model->arena, (const char *)bytes.data, bytes.size,
                                 &pairs[n].value, err));
      ++n;
    }
  }
  model->info.metadata = pairs;
  model->info.n_metadata = n;
  return VONK_OK;
}

static vonk_status fill(vonk_plugin_model *model, const kit_source *source,
                        const vonk_kv *options, size_t n_options, vonk_error *err) {
  const char *path = source->path;
  VONK_TRY(vonk_kit_new_text(&model->arena, path, strlen(path), &model->path, err));
  for (size_t i = 0; i < n_options; ++i) {
    VONK_TRY(set_option(model, &options[i], err));
  }
  VONK_TRY(vonk_kit_source_map(
      source, INT64_MAX, "a TorchScript file or AOTInductor package", &model->file, err));
  VONK_TRY(find_kind(model, err));
  model->info = (vonk_model_info){.struct_size = (uint32_t)sizeof model->info,
                                  .n_params = -1,
                                  .weight_bytes = -1,
                                  .format = model->kind->format};
  VONK_TRY(read_metadata(model, err));
  VONK_TRY(model->kind->check(model, err));
  VONK_TRY(vonk_torch_runtime_get(&model->runtime, err));
  torch_scope scope;
  vonk_torch_enter(&scope, model->runtime, 1);
  vonk_status status = model->kind->open(model, err);
  vonk_torch_leave(&scope);
  return status;
}

static vonk_status open_source(kit_source source, const vonk_kv *options,
                               size_t n_options, vonk_plugin_model **out,
                               vonk_error *err) {
  vonk_plugin_model *model = vonk_kit_alloc(sizeof *model);
  if (model == NULL) {
    return vonk_kit_fail_nomem(err, sizeof *model);
  }
  *model = (vonk_plugin_model){0};
  vonk_status status = fill(model, &source, options, n_options, err);
  vonk_kit_source_unmap(&source, model->file);
  model->file = (kit_slice){0};
  if (status != VONK_OK) {
    vonk_torch_release_model(model);
    return status;
  }
  *out = model;
  return VONK_OK;
}

vonk_status vonk_torch_open_model(const char *path, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err) {
  return open_source((kit_source){path, NULL}, options, n_options, out, err);
}

vonk_status vonk_torch_open_files(const vonk_files *files, const vonk_kv *options,
                                  size_t n_options, vonk_plugin_model **out,
                                  vonk_error *err) {
  return open_source((kit_source){files->path, files}, options, n_options, out, err);
}

vonk_status vonk_torch_model_info(const vonk_plugin_model *model, vonk_model_info *out,
                                  vonk_error *err) {
  (void)err;
  vonk_kit_give(out, out->struct_size, &model->info, sizeof model->info);
  return VONK_OK;
}

vonk_status vonk_torch_describe(const vonk_plugin_model *model, int32_t is_output,
                                uint32_t index, vonk_io *out, vonk_error *err) {
  const kit_tables tables = {model->path, &model->info, model->inputs, model->outputs};
  return vonk_kit_describe(&tables, is_output, index, out, err);
}

void vonk_torch_release_model(vonk_plugin_model *model) {
  if (model != NULL) {
    if (model->inside != NULL) {
      model->kind->release(model);
    }
    vonk_kit_arena_release(&model->arena);
    vonk_kit_free(model);
  }
}
