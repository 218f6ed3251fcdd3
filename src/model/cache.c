/* The process-wide model cache: one copy of the weights, however many threads,
 * connections and tasks open the file.
 *
 * How it works. An entry's key is path, inode, size, mtime (of a folder: of all files in
 * it), device, plug-in and options. The first one to ask inserts the entry as "opening",
 * opens the file without holding the mutex, and wakes the others who asked for the same
 * key meanwhile. References are counted under the mutex; the last one takes the entry out
 * and frees it. If opening fails, the entry goes and each of those who waited tries for
 * itself, so that everybody gets the error itself. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  vonk_model *models;
  uint64_t bytes, limit; /* of the weights of all open models; limit 0 = none */
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void vonk_set_model_memory(uint64_t nbytes) {
  pthread_mutex_lock(&cache.mutex);
  cache.limit = nbytes;
  pthread_mutex_unlock(&cache.mutex);
}

/* Lengths stand before texts, so that no two requests share a key. */
static vonk_status add_text(vonk_buffer *key, const char *text, vonk_error *err) {
  char prefix[24];
  int n = snprintf(prefix, sizeof prefix, "%zu:", strlen(text));
  VONK_TRY(vonk_buffer_append(key, prefix, (size_t)n, err));
  return vonk_buffer_append(key, text, strlen(text), err);
}

static vonk_status make_key(const vonk_open_request *r, char **out, vonk_error *err) {
  vonk_buffer key = {0};
  char file[192];
  snprintf(file, sizeof file,
           "%" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRIu64 " %" PRId32
           " %" PRId32 " %" PRIu32,
           r->file.device, r->file.inode, r->file.size, r->file.mtime_ns, r->file.content,
           r->device.kind, r->device.index, r->threads);
  vonk_status status = add_text(&key, r->path, err);
  if (status == VONK_OK) {
    status = add_text(&key, file, err);
  }
  if (status == VONK_OK) {
    status = add_text(&key, r->plugin == NULL ? "" : r->plugin, err);
  }
  for (size_t i = 0; status == VONK_OK && i < r->n_options; i++) {
    status = add_text(&key, r->options[i].key, err);
    if (status == VONK_OK) {
      status = add_text(&key, r->options[i].value, err);
    }
  }
  if (status == VONK_OK) {
    status = vonk_buffer_append(&key, "", 1, err);
  }
  if (status == VONK_OK) {
    status = vonk_new_string((const char *)key.data, out, err);
  }
  vonk_buffer_release(&key);
  return status;
}

static vonk_model *find(const char *key) {
  for (vonk_model *m = cache.models; m != NULL; m = m->next) {
    if (strcmp(m->key, key) == 0) {
      return m;
    }
  }
  return NULL;
}

static void take_out(vonk_model *model) {
  for (vonk_model **link = &cache.models; *link != NULL; link = &(*link)->next) {
    if (*link == model) {
      *link = model->next;
      return;
    }
  }
}

static void free_entry(vonk_model *model) {
  vonk_delete(model->key);
  vonk_delete(model);
}

/* Counts the weights of a model that was just opened. Called with the mutex held. */
static vonk_status account(vonk_model *model, vonk_error *err) {
  const vonk_model_summary *s = &model->summary;
  int64_t nbytes = s->weight_bytes >= 0 ? s->weight_bytes : s->file_bytes;
  uint64_t weights = nbytes > 0 ? (uint64_t)nbytes : 0;
  if (cache.limit != 0 &&
      (weights > cache.limit || cache.bytes > cache.limit - weights)) {
    return vonk_fail(err, VONK_NOMEM,
                     "model '%s': its weights of %" PRIu64 " bytes and the %" PRIu64
                     " bytes of open models exceed the limit of %" PRIu64
                     ": close models or raise the limit",
                     s->path, weights, cache.bytes, cache.limit);
  }
  model->accounted_bytes = weights;
  cache.bytes += weights;
  return VONK_OK;
}

/* Waits for, or becomes, the one who opens. Returns a model with a reference for the
 * caller; *mine says that the caller is to open it. NULL: out of memory. Called with the
 * mutex held. */
static vonk_model *join(char **key, bool *mine, vonk_error *err) {
  vonk_model *model;
  *mine = false;
  while ((model = find(*key)) != NULL && model->is_opening) {
    pthread_cond_wait(&cache.changed, &cache.mutex);
  }
  if (model != NULL) {
    model->references++;
    return model;
  }
  if (vonk_new(1, sizeof *model, &model, err) != VONK_OK) {
    return NULL;
  }
  *mine = true;
  model->key = *key;
  *key = NULL;
  model->references = 1;
  model->is_opening = true;
  model->next = cache.models;
  cache.models = model;
  return model;
}

/* Opens an entry that is ours; on failure it is gone. */
static vonk_status open_entry(vonk_model *model, const vonk_open_request *request,
                              vonk_error *err) {
  vonk_status status = vonk_model_load(model, request, err);
  pthread_mutex_lock(&cache.mutex);
  bool is_loaded = status == VONK_OK;
  if (is_loaded) {
    status = account(model, err);
  }
  model->is_opening = false;
  if (status != VONK_OK) {
    take_out(model);
  }
  pthread_cond_broadcast(&cache.changed);
  pthread_mutex_unlock(&cache.mutex);
  if (status != VONK_OK) {
    if (is_loaded) {
      vonk_model_unload(model);
    }
    free_entry(model);
  }
  return status;
}

vonk_status vonk_model_open(const char *path, const vonk_kv *options, size_t n_options,
                            vonk_model **out, vonk_error *err) {
  vonk_open_request request;
  char *key = NULL;
  bool mine = false;
  vonk_model *model = NULL;
  VONK_TRY(vonk_process_check(err));
  VONK_TRY(vonk_open_request_parse(path, options, n_options, &request, err));
  vonk_status status = make_key(&request, &key, err);
  if (status == VONK_OK) {
    pthread_mutex_lock(&cache.mutex);
    model = join(&key, &mine, err);
    pthread_mutex_unlock(&cache.mutex);
    status = model == NULL ? VONK_NOMEM : VONK_OK;
  }
  if (status == VONK_OK && mine) {
    status = open_entry(model, &request, err);
  } else if (status == VONK_OK) {
    status = vonk_open_request_check_pin(&request, err);
    if (status != VONK_OK) {
      vonk_model_close(model);
    }
  }
  if (status == VONK_OK) {
    *out = model;
  }
  vonk_delete(key);
  vonk_open_request_clear(&request);
  return status;
}

void vonk_model_retain(vonk_model *model) {
  pthread_mutex_lock(&cache.mutex);
  model->references++;
  pthread_mutex_unlock(&cache.mutex);
}

void vonk_model_close(vonk_model *model) {
  if (model == NULL) {
    return;
  }
  pthread_mutex_lock(&cache.mutex);
  bool is_last = --model->references == 0;
  if (is_last) {
    take_out(model);
    cache.bytes -= model->accounted_bytes;
  }
  pthread_mutex_unlock(&cache.mutex);
  if (is_last) {
    vonk_model_unload(model);
    free_entry(model);
  }
}
