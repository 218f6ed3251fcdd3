/* Files that TensorFlow has to read itself, of a model in memory: variables and assets.
 *
 * TensorFlow has a file system of its own that lives in memory, "ram://". While a session
 * starts the files stand in it, below a folder whose name no one else in the process has;
 * when it has started, or failed to, they are gone. So the variables are in memory twice
 * for that time.
 *
 * Nobody but TensorFlow sees these names: in messages they are put back to those that the
 * model's user knows.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opening.h"

#define SCHEME "ram://"

/* --- names -------------------------------------------------------------------------- */

/* What stands before the files' names for a user: the model's folder. */
static vonk_status take_home(vonk_plugin_model *model, vonk_error *err) {
  const char *path = model->path, *own = model->source.files->main;
  size_t n_home = strlen(path), n_own = own == NULL ? 0 : strlen(own);
  if (own != NULL && n_own < n_home && strcmp(path + n_home - n_own, own) == 0) {
    n_home -= n_own + 1;
  } else if (own != NULL) {
    const char *slash = strrchr(path, '/');
    n_home = slash == NULL ? 0 : (size_t)(slash - path);
  }
  return vonk_kit_new_text(&model->arena, n_home == 0 ? "." : path,
                           n_home == 0 ? 1 : n_home, &model->ram.home, err);
}

vonk_status vonk_tf_ram_take(vonk_plugin_model *model, vonk_error *err) {
  static atomic_uint_least64_t
      n_taken; /* its address tells copies of this plug-in apart */
  char name[64];
  int n = snprintf(name, sizeof name, SCHEME "vonk-%" PRIxPTR "-%" PRIuLEAST64,
                   (uintptr_t)&n_taken, atomic_fetch_add(&n_taken, 1));
  VONK_TRY(take_home(model, err));
  VONK_TRY(vonk_kit_new(&model->arena, (size_t)model->source.files->n_files + 1,
                        sizeof *model->ram.names, &model->ram.names, err));
  return vonk_kit_new_text(&model->arena, name, (size_t)n, &model->ram.folder, err);
}

vonk_status vonk_tf_ram_want(vonk_plugin_model *model, const vonk_file *file,
                             const char **out, vonk_error *err) {
  const char **place = &model->ram.names[file - model->source.files->files];
  if (*place == NULL) {
    size_t capacity = strlen(model->ram.folder) + strlen(file->name) + 2;
    char *name;
    VONK_TRY(vonk_kit_new(&model->arena, capacity, 1, &name, err));
    snprintf(name, capacity, "%s/%s", model->ram.folder, file->name);
    *place = name;
  }
  *out = *place;
  return VONK_OK;
}

/* --- putting and taking away ---------------------------------------------------------- */

/* TensorFlow ends the process if it gets no memory for a file, so that is tried before. */
static vonk_status check_memory(const vonk_plugin_model *model, vonk_error *err) {
  const vonk_files *files = model->source.files;
  size_t total = 0;
  for (uint32_t i = 0; i < files->n_files; ++i) {
    if (model->ram.names[i] != NULL &&
        __builtin_add_overflow(total, files->files[i].nbytes, &total)) {
      return vonk_kit_fail_nomem(err, SIZE_MAX);
    }
  }
  void *room = vonk_kit_alloc(total);
  vonk_kit_free(room);
  return room == NULL ? vonk_kit_fail_nomem(err, total) : VONK_OK;
}

static void put_file(const tf_api *api, const char *name, const vonk_file *file,
                     tf_status *status) {
  tf_writable_file *handle = NULL;
  api->NewWritableFile(name, &handle, status);
  if (api->GetCode(status) != TF_CODE_OK) {
    return;
  }
  if (file->nbytes != 0) { /* at once: in parts it would be moved as it grows */
    api->AppendWritableFile(handle, file->data, (size_t)file->nbytes, status);
  }
  tf_status *closed = api->NewStatus();
  api->CloseWritableFile(handle, closed); /* frees the handle */
  api->DeleteStatus(closed);
}

vonk_status vonk_tf_ram_put(const vonk_plugin_model *model, vonk_error *err) {
  if (model->source.files == NULL) {
    return VONK_OK;
  }
  VONK_TRY(check_memory(model, err));
  const tf_api *api = &model->runtime->api;
  tf_status *status = api->NewStatus();
  vonk_status code = VONK_OK;
  for (uint32_t i = 0; code == VONK_OK && i < model->source.files->n_files; ++i) {
    if (model->ram.names[i] != NULL) {
      put_file(api, model->ram.names[i], &model->source.files->files[i], status);
      code = vonk_tf_check(model->runtime, status, err,
                           "'%s': cannot be loaded out of memory", model->path);
    }
  }
  api->DeleteStatus(status);
  return code;
}

void vonk_tf_ram_drop(const vonk_plugin_model *model) {
  if (model->source.files == NULL) {
    return;
  }
  const tf_api *api = &model->runtime->api;
  tf_status *ignored = api->NewStatus();
  for (uint32_t i = 0; i < model->source.files->n_files; ++i) {
    if (model->ram.names[i] != NULL) {
      api->DeleteFile(model->ram.names[i], ignored);
    }
  }
  api->DeleteStatus(ignored);
}

/* --- messages ------------------------------------------------------------------------- */

void vonk_tf_ram_hide(const vonk_plugin_model *model, vonk_error *err) {
  if (model->source.files == NULL || err == NULL) {
    return;
  }
  /* TensorFlow says the name with or without what stands before "://". */
  const char *name = model->ram.folder + strlen(SCHEME);
  size_t n_name = strlen(name), used = 0;
  char text[2 * sizeof err->message];
  for (const char *rest = err->message; used + 1 < sizeof text;) {
    const char *found = strstr(rest, name);
    size_t n = found == NULL ? strlen(rest) : (size_t)(found - rest);
    bool has_scheme = found != NULL && n >= strlen(SCHEME) &&
                      memcmp(found - strlen(SCHEME), SCHEME, strlen(SCHEME)) == 0;
    int more = snprintf(text + used, sizeof text - used, "%.*s%s",
                        (int)(has_scheme ? n - strlen(SCHEME) : n), rest,
                        found == NULL ? "" : model->ram.home);
    used += more > 0 ? (size_t)more : 0;
    if (found == NULL) {
      break;
    }
    rest = found + n_name;
  }
  (void)vonk_kit_fail_text(err, err->code, err->native_code, text);
}
