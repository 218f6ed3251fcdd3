/* Opened models: the process-wide cache, sessions, and the thread budget. The layer's
 * only door. */
#ifndef VONK_SRC_MODEL_H
#define VONK_SRC_MODEL_H

#include "base/base.h"
#include "bundle/bundle.h"
#include "plugin/plugin.h"
#include "vonk/vonk.h"

/* One more reference; given back with vonk_model_close. */
void vonk_model_retain(vonk_model *);
const vonk_plugin *vonk_model_plugin(const vonk_model *);
/* Threads that the framework may use inside one run, as asked for when it was opened. */
uint32_t vonk_model_threads(const vonk_model *);

/* A session to run on: the model's one where the plug-in runs concurrently, else one that
 * nobody else has until it is given back. Made at first use. */
vonk_status vonk_session_acquire(vonk_model *, vonk_plugin_session **out,
                                 vonk_error *err);
void vonk_session_give_back(vonk_model *, vonk_plugin_session *);
/* Runs it. Inputs and outputs of the run are in the order of the summary, which a bundle
 * may have other than the plug-in. */
vonk_status vonk_session_run(const vonk_model *, vonk_plugin_session *, const vonk_run *,
                             vonk_error *err);

/* What the bundle says, NULL if the model is none: labels of outputs, steps of
 * preprocessing, the self-test. Ports are in the order of the summary. */
const vonk_manifest *vonk_model_manifest(const vonk_model *);

/* "cpu", "cuda:1", ... */
vonk_status vonk_device_parse(const char *text, vonk_device *out, vonk_error *err);
void vonk_device_describe(vonk_device, char out[32]);

/* Cores granted to the process: affinity mask and cgroup quota, at least 1 (cores.c). */
uint32_t vonk_cores_granted(void);

/* --- thread budget (budget.c) ---
 * A job is work cut into pieces. `work` takes pieces until none is left; it runs on the
 * calling thread at once, and on helpers while fewer threads are active in the process
 * than the budget allows. A helper looks at vonk_budget_is_crowded between pieces and
 * returns early when it is, so that callers that came later get their core. work returns
 * true when no piece is left, false when it returned early. */
typedef bool (*vonk_budget_work)(void *arg, bool is_helper);

/* Runs work with up to max_threads threads, the caller included; returns when all of them
 * have left work. Returns the largest number of threads that were in it at a time. */
uint32_t vonk_budget_run(vonk_budget_work work, void *arg, uint32_t max_threads);
bool vonk_budget_is_crowded(void);
/* How many threads the caller could use now, itself included: at least 1. */
uint32_t vonk_budget_room(void);
/* Joins the helpers. No job may be running. */
void vonk_budget_shutdown(void);

#endif /* VONK_SRC_MODEL_H */
