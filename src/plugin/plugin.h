/* Finding and loading plug-ins, and what the host offers them. The layer's only door. */
#ifndef VONK_SRC_PLUGIN_H
#define VONK_SRC_PLUGIN_H

#include "base/base.h"
#include "vonk/vonk.h"

/* A loaded plug-in; lives until the process ends. api has every function set: what the
 * plug-in left out was filled with stubs once, so that callers never test for NULL. */
typedef struct vonk_plugin {
  vonk_plugin_v1 api;
  const char *path; /* absolute */
} vonk_plugin;

/* By name ("onnx"), or by absolute path. VONK_UNSUPPORTED names every place searched. */
vonk_status vonk_plugin_find(const char *name_or_path, const vonk_plugin **out,
                             vonk_error *err);

/* The plug-in that recognises what lies at path best. VONK_UNSUPPORTED says what the
 * installed ones can open, and adds why a plug-in that was found could not be loaded. */
vonk_status vonk_plugin_for_model(const char *path, const vonk_plugin **out,
                                  vonk_error *err);

/* The same, as vonk_model_recognise tells it: how surely, and by whom. */
int32_t vonk_plugin_recognise(const char *path, const vonk_plugin **out);

/* The first plug-in that says it opens this format ("savedmodel"). VONK_UNSUPPORTED as
 * above. what names the one who wants it, for the message. */
vonk_status vonk_plugin_for_format(const char *format, const char *what,
                                   const vonk_plugin **out, vonk_error *err);

/* Calls visit for every file that would be taken for a plug-in, and loads none: false
 * ends it. */
vonk_status vonk_plugin_files(bool (*visit)(void *arg, const char *path), void *arg,
                              vonk_error *err);

/* Calls shutdown of every plug-in that was loaded. */
void vonk_plugin_shutdown_all(void);

/* --- requests to stop (cancel.c)
 * ---------------------------------------------------------------------------------- One
 * source per predictor; each run in flight has a vonk_cancel of its own, on the stack of
 * the thread that runs it. */
typedef struct vonk_cancel_source vonk_cancel_source;
vonk_status vonk_cancel_source_create(vonk_cancel_source **out, vonk_error *err);
void vonk_cancel_source_release(
    vonk_cancel_source *); /* NULL is fine; no run may be in flight */
/* Stops every run in flight and marks the source: runs that join later are stopped at
 * once. */
void vonk_cancel_source_fire(vonk_cancel_source *);
bool vonk_cancel_source_fired(const vonk_cancel_source *);

struct vonk_cancel { /* plug-ins only pass it on */
  vonk_cancel_source *source;
  vonk_cancel *next, *previous;
  bool is_listed;          /* among the source's; never changed by a stop */
  void (*stop)(void *arg); /* NULL: nothing to call, or called already */
  void *arg;
  const void *stopper; /* the thread inside stop, by an address of its own; NULL = none */
};
void vonk_cancel_join(
    vonk_cancel *,
    vonk_cancel_source *); /* before the run; overwrites what the struct held */
void vonk_cancel_leave(vonk_cancel *); /* after it; waits for a stop in progress */

/* --- what plug-ins are given (host.c) --- */

/* The table that every plug-in of this process is given; static. */
const vonk_host *vonk_host_get(void);

/* --- where things are (paths.c, search.c) --- */

/* What vonk_set_framework or paths.conf says about key, or NULL; lives for ever. */
const char *vonk_paths_get(const char *key);
/* The folder of the program or shared object that holds this code, absolute, into out. */
vonk_status vonk_own_folder(char *out, size_t capacity, vonk_error *err);

/* --- fork (process.c) --- */

/* Says that the process now has threads or framework state that a fork would break. */
void vonk_process_mark_started(void);
/* VONK_FORKED in a child of a process that had been marked. Costs one relaxed load. */
vonk_status vonk_process_check(vonk_error *err);

#endif /* VONK_SRC_PLUGIN_H */
