/* The opened model as the files of src/model/ see it. */
#ifndef VONK_SRC_MODEL_INTERNAL_H
#define VONK_SRC_MODEL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "model/model.h"

typedef struct idle_session {
  vonk_plugin_session *session;
  struct idle_session *next;
} idle_session;

struct vonk_model {
  /* Of the cache, under its mutex. */
  struct vonk_model *next;
  char *key;
  int64_t references;
  bool is_opening;
  uint64_t accounted_bytes;

  /* Written once while opening. */
  vonk_bundle *bundle; /* NULL if it is none */
  vonk_bundle_summary bundle_summary;
  uint32_t *order; /* of a bundle: the plug-in's number of each of our inputs, then of
                      each of our outputs; NULL where they are the same */
  uint32_t n_all_outputs; /* of the plug-in, of which a bundle may have left out some */
  const vonk_plugin *plugin;
  vonk_plugin_model *opened;
  vonk_device device;
  uint32_t threads; /* of a session */
  char device_name[32];
  char *path;
  vonk_io *ios;             /* inputs, then outputs */
  const vonk_io **io_table; /* pointers to ios, for the summary */
  vonk_model_summary summary;

  pthread_mutex_t session_mutex;
  vonk_plugin_session *_Atomic shared_session; /* plug-ins that run concurrently; made
                                                  under the mutex, read without */
  idle_session *idle_sessions;                 /* plug-ins that do not */
};

/* What a caller asked for, split into the host's keys and the plug-in's. */
typedef struct vonk_open_request {
  char *path;         /* absolute, links resolved, without the pin */
  char pin[65];       /* "" = none */
  vonk_file_id file;  /* at the time of the request */
  const char *plugin; /* NULL = the one that recognises the file */
  vonk_device device;
  uint32_t threads; /* that the framework may use inside one run */
  vonk_kv *options; /* of the plug-in, sorted by key; strings borrowed from the caller */
  size_t n_options;
} vonk_open_request;

vonk_status vonk_open_request_parse(const char *path, const vonk_kv *options,
                                    size_t n_options, vonk_open_request *out,
                                    vonk_error *err);
void vonk_open_request_clear(vonk_open_request *);
/* VONK_MODEL if the file's content is not what the path's #sha256 pin says; reads the
 * whole file if there is a pin. */
vonk_status vonk_open_request_check_pin(const vonk_open_request *, vonk_error *err);

/* --- bundles (bundled.c) --- */

/* Opens request->path as a bundle, with its plug-in: fills bundle, plugin and opened. */
vonk_status vonk_bundled_open(vonk_model *, const vonk_open_request *, vonk_error *err);
/* Makes what the plug-in says of its tensors, ios and io_table, what the manifest says,
 * and checks that both agree. */
vonk_status vonk_bundled_present(vonk_model *, vonk_model_info *, vonk_error *err);

/* VONK_INVALID for an option that the plug-in does not take. */
vonk_status vonk_model_check_options(const vonk_plugin *, const vonk_kv *options,
                                     size_t n_options, vonk_error *err);
vonk_status vonk_model_is_bundle(const char *path, bool *out, vonk_error *err);

/* Opens the file with its plug-in and fills the model's "written once" part. On failure
 * nothing is left in it. */
vonk_status vonk_model_load(vonk_model *, const vonk_open_request *, vonk_error *err);
void vonk_model_unload(vonk_model *);

#endif /* VONK_SRC_MODEL_INTERNAL_H */
