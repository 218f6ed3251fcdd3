/* vonk_models(), vonk_describe('digit'), vonk_plugins(): what there is. */
#include <inttypes.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- vonk_models --- */

static const vonk_sql_column model_columns[] = {
    {"name", VONK_SQL_CELL_TEXT},
    {"path", VONK_SQL_CELL_TEXT},
    {"format", VONK_SQL_CELL_TEXT},
    {"plugin", VONK_SQL_CELL_TEXT},
    {"device", VONK_SQL_CELL_TEXT},
    {"parameters", VONK_SQL_CELL_BIGINT},
    {"functions", VONK_SQL_CELL_TEXTS},
    {"loaded", VONK_SQL_CELL_BOOL},
    {"error", VONK_SQL_CELL_TEXT},
    {"rows", VONK_SQL_CELL_UBIGINT},
    {"null_rows", VONK_SQL_CELL_UBIGINT},
    {"error_rows", VONK_SQL_CELL_UBIGINT},
    {"micro_batches", VONK_SQL_CELL_UBIGINT},
    {"copied_bytes", VONK_SQL_CELL_UBIGINT},
    {"seconds", VONK_SQL_CELL_DOUBLE},
};

void vonk_sql_output_functions(vonk_sql_output *out, const vonk_sql_signature *signature,
                               const char *name) {
  const char *texts[VONK_SQL_MOST_OVERLOADS];
  vonk_text all[VONK_SQL_MOST_OVERLOADS];
  size_t n = 0;
  for (size_t i = 0; signature != NULL && i < signature->n; i++) {
    if (!signature->overloads[i].is_null) {
      all[n].size = 0;
      vonk_sql_signature_describe(signature, name, i, &all[n]);
      texts[n] = all[n].data;
      n++;
    }
  }
  vonk_sql_output_texts(out, texts, n);
}

/* What is known of a name at one moment. */
typedef struct snapshot {
  const vonk_sql_signature *signature;
  vonk_sql_loaded *loaded;
  char *path, *error;
  vonk_stats totals;
} snapshot;

/* The mutex is held. */
static vonk_status take_snapshot(const vonk_sql_slot *slot, snapshot *out,
                                 vonk_error *err) {
  *out = (snapshot){.signature = slot->signature, .totals = slot->totals};
  if (slot->path != NULL) {
    VONK_TRY(vonk_new_string(slot->path, &out->path, err));
  }
  if (slot->error != NULL) {
    vonk_status status = vonk_new_string(slot->error, &out->error, err);
    if (status != VONK_OK) {
      vonk_delete(out->path);
      return status;
    }
  }
  out->loaded = slot->current == NULL ? NULL : vonk_sql_loaded_retain(slot->current);
  return VONK_OK;
}

static void add_model(const vonk_sql_slot *slot, const snapshot *shot,
                      vonk_sql_output *out) {
  const vonk_model_summary *s =
      shot->loaded == NULL ? NULL : vonk_model_summarize(shot->loaded->model);
  vonk_sql_output_begin(out);
  vonk_sql_output_text(out, slot->name);
  vonk_sql_output_text(out, s == NULL ? shot->path : s->path);
  vonk_sql_output_text(out, s == NULL ? NULL : s->format);
  vonk_sql_output_text(out, s == NULL ? NULL : s->plugin);
  vonk_sql_output_text(out, s == NULL ? NULL : s->device);
  if (s != NULL && s->n_params >= 0) {
    vonk_sql_output_bigint(out, s->n_params);
  } else {
    vonk_sql_output_null(out);
  }
  vonk_sql_output_functions(out, shot->signature, slot->name);
  vonk_sql_output_bool(out, s != NULL);
  vonk_sql_output_text(out, shot->error);
  vonk_sql_output_ubigint(out, shot->totals.rows);
  vonk_sql_output_ubigint(out, shot->totals.null_rows);
  vonk_sql_output_ubigint(out, shot->totals.error_rows);
  vonk_sql_output_ubigint(out, shot->totals.micro_batches);
  vonk_sql_output_ubigint(out, shot->totals.bytes_copied);
  vonk_sql_output_double(out, (double)shot->totals.infer_ns / 1e9);
}

static vonk_status fill_models(vonk_sql *sql, const vonk_sql_arguments *a,
                               vonk_sql_output *out, vonk_error *err) {
  (void)a;
  pthread_mutex_lock(&sql->mutex);
  vonk_sql_slot *slot = sql->slots;
  pthread_mutex_unlock(&sql->mutex);
  while (slot != NULL) { /* slots stay, and their chain only grows at its end */
    snapshot shot;
    pthread_mutex_lock(&sql->mutex);
    vonk_status status = take_snapshot(slot, &shot, err);
    vonk_sql_slot *next = slot->next;
    pthread_mutex_unlock(&sql->mutex);
    VONK_TRY(status);
    if (shot.signature != NULL || shot.loaded != NULL || shot.error != NULL) {
      add_model(slot, &shot, out);
    }
    vonk_sql_loaded_release(shot.loaded);
    vonk_delete(shot.path);
    vonk_delete(shot.error);
    slot = next;
  }
  return VONK_OK;
}

/* --- vonk_describe --- */

static const vonk_sql_column tensor_columns[] = {
    {"kind", VONK_SQL_CELL_TEXT},     {"name", VONK_SQL_CELL_TEXT},
    {"dtype", VONK_SQL_CELL_TEXT},    {"shape", VONK_SQL_CELL_TEXT},
    {"sql_type", VONK_SQL_CELL_TEXT},
};

static void add_shape(const vonk_io *io, vonk_sql_output *out) {
  vonk_text text = {.size = 0};
  for (int32_t d = 0; d < io->rank; d++) {
    vonk_text_add(&text, d == 0 ? "[" : ", ");
    const char *name = io->dim_names == NULL ? NULL : io->dim_names[d];
    if (io->shape[d] >= 0) {
      vonk_text_add(&text, "%" PRId64, io->shape[d]);
    } else {
      vonk_text_add(&text, "%s", name != NULL ? name : d == 0 ? "N" : "?");
    }
  }
  vonk_text_add(&text, io->rank > 0 ? "]" : io->rank == 0 ? "[]" : "?");
  vonk_sql_output_text(out, text.data);
}

static void add_tensor(const char *kind, const vonk_io *io, vonk_sql_output *out) {
  vonk_text type = {.size = 0};
  vonk_sql_output_begin(out);
  vonk_sql_output_text(out, kind);
  vonk_sql_output_text(out, io->name);
  vonk_sql_output_text(out, vonk_dtype_name(io->dtype));
  add_shape(io, out);
  if (io->rank >= 1) {
    vonk_sql_describe_row(io, &type);
    vonk_sql_output_text(out, type.data);
  } else { /* what a row is, nobody knows */
    vonk_sql_output_null(out);
  }
}

static void add_tensors(const vonk_model *model, vonk_sql_output *out) {
  const vonk_model_summary *s = vonk_model_summarize(model);
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    add_tensor("input", s->inputs[i], out);
  }
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    add_tensor("output", s->outputs[i], out);
  }
}

static vonk_status fill_describe(vonk_sql *sql, const vonk_sql_arguments *a,
                                 vonk_sql_output *out, vonk_error *err) {
  const char *name = a->parameters[0];
  vonk_sql_slot *slot = vonk_sql_find(sql, name);
  vonk_sql_loaded *loaded = slot == NULL ? NULL : vonk_sql_current(sql, slot);
  if (loaded != NULL) {
    add_tensors(loaded->model, out);
    vonk_sql_loaded_release(loaded);
    return VONK_OK;
  }
  if (!vonk_sql_is_path(name)) {
    return vonk_sql_fail_unknown(name, err);
  }
  vonk_model *model;
  VONK_TRY(vonk_model_open(name, NULL, 0, &model, err));
  add_tensors(model, out);
  vonk_model_close(model);
  return VONK_OK;
}

/* --- vonk_plugins --- */

static const vonk_sql_column plugin_columns[] = {
    {"name", VONK_SQL_CELL_TEXT},     {"version", VONK_SQL_CELL_TEXT},
    {"path", VONK_SQL_CELL_TEXT},     {"formats", VONK_SQL_CELL_TEXTS},
    {"options", VONK_SQL_CELL_TEXTS}, {"error", VONK_SQL_CELL_TEXT},
};

/* "signature: which of the model's signatures" for each. */
static void add_options(const vonk_kv *options, vonk_sql_output *out) {
  enum { MOST = 32 };
  const char *texts[MOST];
  vonk_text all[MOST];
  size_t n = 0;
  for (; n < MOST && options != NULL && options[n].key != NULL; n++) {
    all[n].size = 0;
    vonk_text_add(&all[n], "%s: %s", options[n].key, options[n].value);
    texts[n] = all[n].data;
  }
  vonk_sql_output_texts(out, texts, n);
}

static int visit_plugin(void *arg, const vonk_plugin_summary *s) {
  vonk_sql_output *out = arg;
  size_t n = 0;
  while (s->formats != NULL && s->formats[n] != NULL) {
    n++;
  }
  vonk_sql_output_begin(out);
  vonk_sql_output_text(out, s->name);
  vonk_sql_output_text(out, s->version);
  vonk_sql_output_text(out, s->path);
  vonk_sql_output_texts(out, s->formats, n);
  add_options(s->options, out);
  vonk_sql_output_text(out, s->error);
  return 0;
}

static vonk_status fill_plugins(vonk_sql *sql, const vonk_sql_arguments *a,
                                vonk_sql_output *out, vonk_error *err) {
  (void)sql;
  (void)a;
  return vonk_plugins_visit(visit_plugin, out, err);
}

/* --- registering --- */

vonk_status vonk_sql_listing_register(vonk_sql *sql, vonk_error *err) {
  static const vonk_sql_table tables[] = {
      {.name = "vonk_models",
       .columns = model_columns,
       .n_columns = COUNT(model_columns),
       .fill = fill_models},
      {.name = "vonk_describe",
       .n_parameters = 1,
       .columns = tensor_columns,
       .n_columns = COUNT(tensor_columns),
       .fill = fill_describe},
      {.name = "vonk_plugins",
       .columns = plugin_columns,
       .n_columns = COUNT(plugin_columns),
       .fill = fill_plugins},
  };
  for (size_t i = 0; i < COUNT(tables); i++) {
    VONK_TRY(vonk_sql_table_register(sql, &tables[i], err));
  }
  return VONK_OK;
}
