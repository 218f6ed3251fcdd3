/* One opened model with its options, and its idle predictors.
 *
 * How it works: a predictor is bound to the argument types of a call and to what the call
 * wants of the outputs; binding one costs microseconds, its workspaces are worth keeping.
 * So each use and shape has a pool; a chunk takes a predictor out, uses it alone (it can
 * then be cancelled without harm to others) and gives it back. There are as many of them
 * as threads ever worked at a time. */
#include <string.h>

#include "engines/duckdb/functions/internal.h"

struct vonk_sql_pool {
  struct vonk_sql_pool *next;
  vonk_sql_use use;
  uint64_t hash;
  char *key; /* of the shape */
  vonk_sql_predictor *idle;
};

static vonk_status fill(vonk_sql_loaded *loaded, const char *path,
                        const vonk_sql_load_options *o, vonk_error *err) {
  VONK_TRY(
      vonk_model_open(path, o->model_options, o->n_model_options, &loaded->model, err));
  if (o->as != NULL) {
    VONK_TRY(vonk_new_string(o->as, &loaded->as, err));
  }
  if (o->output != NULL) {
    VONK_TRY(vonk_new_string(o->output, &loaded->output, err));
  }
  loaded->batch_rows = o->batch_rows;
  loaded->nulls = o->nulls;
  loaded->row_errors = o->row_errors;
  loaded->squeeze = o->squeeze;
  loaded->layout = o->lists ? VONK_DUCKDB_LISTS : VONK_DUCKDB_ARRAYS;
  return VONK_OK;
}

vonk_status vonk_sql_loaded_create(const char *path, const vonk_sql_load_options *options,
                                   vonk_sql_loaded **out, vonk_error *err) {
  static const vonk_sql_load_options defaults = {0};
  vonk_sql_loaded *loaded;
  VONK_TRY(vonk_new(1, sizeof(*loaded), &loaded, err));
  loaded->references = 1;
  pthread_mutex_init(&loaded->mutex, NULL);
  vonk_status status = fill(loaded, path, options == NULL ? &defaults : options, err);
  if (status != VONK_OK) {
    vonk_sql_loaded_release(loaded);
    return status;
  }
  *out = loaded;
  return VONK_OK;
}

vonk_sql_loaded *vonk_sql_loaded_retain(vonk_sql_loaded *loaded) {
  atomic_fetch_add_explicit(&loaded->references, 1, memory_order_relaxed);
  return loaded;
}

static void release_predictor(vonk_sql_predictor *p) {
  vonk_predictor_release(p->predictor);
  if (p->results.release != NULL) {
    p->results.release(&p->results);
  }
  vonk_delete(p);
}

static void release_pool(vonk_sql_pool *pool) {
  for (vonk_sql_predictor *p = pool->idle, *next; p != NULL; p = next) {
    next = p->next;
    release_predictor(p);
  }
  vonk_delete(pool->key);
  vonk_delete(pool);
}

void vonk_sql_loaded_release(vonk_sql_loaded *loaded) {
  if (loaded == NULL ||
      atomic_fetch_sub_explicit(&loaded->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  for (vonk_sql_pool *pool = loaded->pools, *next; pool != NULL; pool = next) {
    next = pool->next;
    release_pool(pool);
  }
  pthread_mutex_destroy(&loaded->mutex);
  vonk_model_close(loaded->model);
  vonk_delete(loaded->as);
  vonk_delete(loaded->output);
  vonk_delete(loaded);
}

/* `as` takes one output, whichever that is. */
size_t vonk_sql_loaded_outputs(const vonk_sql_loaded *loaded) {
  bool is_one = loaded->output != NULL || loaded->as != NULL;
  return is_one ? 1 : vonk_model_summarize(loaded->model)->n_outputs;
}

const char *vonk_sql_loaded_output(const vonk_sql_loaded *loaded, size_t i) {
  return loaded->output != NULL ? loaded->output
                                : vonk_model_summarize(loaded->model)->outputs[i]->name;
}

/* --- what a predictor is bound with --- */

/* The output that a generic function takes: the one the model was loaded with, else the
 * first that holds text, or numbers, as wanted. */
static vonk_status choose_output(const vonk_sql_loaded *loaded, vonk_sql_kind kind,
                                 const vonk_io **out, vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(loaded->model);
  bool wants_text = kind == VONK_SQL_TEXT;
  vonk_text outputs = {.size = 0};
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    const vonk_io *io = s->outputs[i];
    bool is_asked = loaded->output == NULL || strcmp(io->name, loaded->output) == 0;
    if (is_asked && (io->dtype == VONK_BYTES) == wants_text) {
      *out = io;
      return VONK_OK;
    }
    vonk_text_add(&outputs, "%s%s (%s)", i == 0 ? "" : ", ", io->name,
                  vonk_dtype_name(io->dtype));
  }
  return vonk_fail(err, VONK_INVALID, "has no output of %s: its outputs are %s: use %s",
                   wants_text ? "text" : "numbers", outputs.data,
                   wants_text ? "vonk_predict" : "vonk_predict_text");
}

/* A row that is one whole number is a label already. */
static bool is_label(const vonk_io *io) {
  return io->rank == 1 && io->dtype >= VONK_I8 && io->dtype <= VONK_U64;
}

static void choose_rows(const vonk_sql_loaded *loaded, vonk_sql_use use,
                        vonk_bind_options *o) {
  o->nulls = loaded->nulls;
  o->row_errors = loaded->row_errors;
  if (use.is_try) {
    o->row_errors = VONK_ROWS_REPORT;
  } else if (use.kind != VONK_SQL_TYPED && o->row_errors == VONK_ROWS_REPORT) {
    o->row_errors = VONK_ROWS_NULL; /* the type of vonk_predict is fixed */
  }
}

/* The column of an output. "error" is taken where errors are reported; the SQL names come
 * from vonk_sql_loaded_output. */
static const char *column_of(const char *output) {
  return strcmp(output, "error") == 0 ? "error of the model" : output;
}

/* The output that a bundle has labels for, unless the model was loaded with another; NULL
 * if there is none. */
static const vonk_io *labelled_output(const vonk_sql_loaded *loaded) {
  const vonk_bundle_summary *bundle = vonk_model_bundle(loaded->model);
  if (bundle == NULL || bundle->n_labels == 0) {
    return NULL;
  }
  const vonk_io *io = vonk_model_summarize(loaded->model)->outputs[bundle->labels_output];
  bool is_asked = loaded->output == NULL || strcmp(io->name, loaded->output) == 0;
  return is_asked ? io : NULL;
}

/* A model without text may have labels, which are the text that it gives. */
static vonk_status choose_text(const vonk_sql_loaded *loaded, vonk_bind_options *o,
                               const vonk_io **out, vonk_error *err) {
  const vonk_io *labelled = labelled_output(loaded);
  vonk_status status = choose_output(loaded, VONK_SQL_TEXT, out, err);
  if (status != VONK_OK && labelled != NULL) {
    *out = labelled;
    o->as = "label";
    return VONK_OK;
  }
  return status;
}

static vonk_status choose_generic(const vonk_sql_loaded *loaded, vonk_sql_use use,
                                  vonk_bind_options *o, vonk_kv *outputs,
                                  vonk_error *err) {
  const vonk_io *io = NULL;
  VONK_TRY(use.kind == VONK_SQL_TEXT ? choose_text(loaded, o, &io, err)
                                     : choose_output(loaded, use.kind, &io, err));
  outputs[0] = (vonk_kv){io->name, "value"};
  o->outputs = outputs;
  o->n_outputs = 1;
  if (use.kind == VONK_SQL_LABEL && !is_label(io)) {
    o->as = "argmax";
  }
  o->squeeze = use.kind != VONK_SQL_NUMBERS;
  return VONK_OK;
}

/* Whether the predictor is to find the output that `as` means: the labelled one of several. */
static bool is_left_open(const vonk_sql_loaded *loaded) {
  return loaded->as != NULL && loaded->output == NULL &&
         vonk_model_summarize(loaded->model)->n_outputs > 1;
}

static vonk_status bind(vonk_sql_loaded *loaded, vonk_sql_use use,
                        const vonk_sql_shape *shape, vonk_kv *outputs,
                        vonk_predictor **out, vonk_error *err) {
  vonk_bind_options o = VONK_BIND_OPTIONS_INIT;
  o.batch_rows = loaded->batch_rows;
  o.half_as_float = 1;
  o.sql_casts = 1;
  o.advice = VONK_ADVICE_DUCKDB;
  choose_rows(loaded, use, &o);
  if (use.kind != VONK_SQL_TYPED) {
    VONK_TRY(choose_generic(loaded, use, &o, outputs, err));
  } else {
    o.squeeze = loaded->squeeze;
    o.as = loaded->as;
    o.outputs = outputs;
    o.n_outputs = is_left_open(loaded) ? 0 : vonk_sql_loaded_outputs(loaded);
    for (size_t i = 0; i < o.n_outputs; i++) {
      const char *name = vonk_sql_loaded_output(loaded, i);
      outputs[i] = (vonk_kv){name, column_of(name)};
    }
  }
  return vonk_predictor_create(loaded->model, &shape->columns, &o, out, err);
}

/* vonk_predict_label and vonk_predict_text give one value a row. */
static vonk_status check_result(const vonk_sql_predictor *p, vonk_sql_kind kind,
                                vonk_error *err) {
  bool is_list = p->results.children[0]->format[0] == '+';
  if (is_list && (kind == VONK_SQL_LABEL || kind == VONK_SQL_TEXT)) {
    return vonk_fail(err, VONK_INVALID,
                     "a row of its output has more than one %s: load it under a name "
                     "(vonk_load) and call that",
                     kind == VONK_SQL_TEXT ? "text" : "label");
  }
  return VONK_OK;
}

static vonk_status fill_predictor(vonk_sql_loaded *loaded, vonk_sql_use use,
                                  const vonk_sql_shape *shape, vonk_sql_predictor *p,
                                  vonk_error *err) {
  vonk_kv *outputs;
  size_t n = use.kind == VONK_SQL_TYPED ? vonk_sql_loaded_outputs(loaded) : 1;
  VONK_TRY(vonk_new(n, sizeof(*outputs), &outputs, err));
  vonk_status status = bind(loaded, use, shape, outputs, &p->predictor, err);
  vonk_delete(outputs);
  VONK_TRY(status);
  VONK_TRY(vonk_predictor_schema(p->predictor, &p->results, err));
  p->reports = (size_t)p->results.n_children > n;
  p->seen.struct_size = (uint32_t)sizeof(p->seen);
  return check_result(p, use.kind, err);
}

static vonk_status create_predictor(vonk_sql_loaded *loaded, vonk_sql_use use,
                                    const vonk_sql_shape *shape, vonk_sql_predictor **out,
                                    vonk_error *err) {
  vonk_sql_predictor *p;
  VONK_TRY(vonk_new(1, sizeof(*p), &p, err));
  vonk_status status = fill_predictor(loaded, use, shape, p, err);
  if (status != VONK_OK) {
    release_predictor(p);
    return status;
  }
  *out = p;
  return VONK_OK;
}

/* --- the pools --- */

static bool fits(const vonk_sql_pool *pool, vonk_sql_use use,
                 const vonk_sql_shape *shape) {
  return pool->use.kind == use.kind && pool->use.is_try == use.is_try &&
         pool->hash == shape->hash && strcmp(pool->key, shape->key) == 0;
}

/* The pool, made if there is none, and an idle predictor of it, or NULL. */
static vonk_status take_idle(vonk_sql_loaded *loaded, vonk_sql_use use,
                             const vonk_sql_shape *shape, vonk_sql_pool **pool,
                             vonk_sql_predictor **out, vonk_error *err) {
  vonk_status status = VONK_OK;
  pthread_mutex_lock(&loaded->mutex);
  vonk_sql_pool *found = loaded->pools;
  while (found != NULL && !fits(found, use, shape)) {
    found = found->next;
  }
  if (found == NULL && (status = vonk_new(1, sizeof(*found), &found, err)) == VONK_OK) {
    status = vonk_new_string(shape->key, &found->key, err);
    if (status == VONK_OK) {
      found->use = use;
      found->hash = shape->hash;
      found->next = loaded->pools;
      loaded->pools = found;
    } else {
      vonk_delete(found);
    }
  }
  if (status == VONK_OK) {
    *pool = found;
    *out = found->idle;
    found->idle = found->idle == NULL ? NULL : found->idle->next;
  }
  pthread_mutex_unlock(&loaded->mutex);
  return status;
}

vonk_status vonk_sql_predictor_take(vonk_sql_loaded *loaded, vonk_sql_use use,
                                    const vonk_sql_shape *shape, vonk_sql_predictor **out,
                                    vonk_error *err) {
  vonk_sql_pool *pool = NULL;
  vonk_sql_predictor *p = NULL;
  VONK_TRY(take_idle(loaded, use, shape, &pool, &p, err));
  if (p == NULL) {
    VONK_TRY(create_predictor(loaded, use, shape, &p, err));
    p->pool = pool;
  }
  *out = p;
  return VONK_OK;
}

void vonk_sql_predictor_give(vonk_sql_loaded *loaded, vonk_sql_predictor *p) {
  if (p->is_cancelled) {
    release_predictor(p);
    return;
  }
  pthread_mutex_lock(&loaded->mutex);
  p->next = p->pool->idle;
  p->pool->idle = p;
  pthread_mutex_unlock(&loaded->mutex);
}
