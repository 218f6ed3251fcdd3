/* vonk_load, vonk_unload and $VONK_MODELS.
 *
 * How it works. A model is opened and tried on its calls without any lock. Then, one load
 * at a time, its name is checked and its functions are registered; or, if the name has
 * functions already and they are of the same types, the model is exchanged. Nothing can
 * be taken out of DuckDB's catalogue again: should DuckDB take name(...) and refuse
 * try_name(...), the name stays empty, its functions say so, and a later load adds what
 * is missing. */
#define _POSIX_C_SOURCE 200809L /* scandir */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/functions/internal.h"

/* --- loading --- */

static const char *file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

/* The name has functions of other types. */
static vonk_status refuse_types(const vonk_sql_slot *slot, const char *path,
                                const vonk_sql_signature *wanted, vonk_error *err) {
  vonk_text is = {.size = 0}, would_be = {.size = 0};
  const vonk_sql_signature *has = slot->signature;
  size_t i = 0;
  while (i + 1 < has->n && i + 1 < wanted->n &&
         strcmp(has->overloads[i].text, wanted->overloads[i].text) == 0 &&
         strcmp(has->result_text, wanted->result_text) == 0) {
    i++;
  }
  vonk_sql_signature_describe(has, slot->name, i, &is);
  vonk_sql_signature_describe(wanted, slot->name, i, &would_be);
  return vonk_fail(
      err, VONK_INVALID,
      "'%s' was loaded in this database as %s; %s would be %s: choose another "
      "name",
      slot->name, is.data, file_of(path), would_be.data);
}

/* Registers what is missing. On success, and also if DuckDB took some of the functions,
 * the slot keeps the signature. */
static vonk_status make_functions(vonk_sql *sql, vonk_sql_slot *slot,
                                  vonk_sql_signature **signature, vonk_error *err) {
  if (slot->signature == NULL) {
    VONK_TRY(vonk_sql_name_check_free(sql, slot->name, err));
    pthread_mutex_lock(&sql->mutex);
    slot->signature = *signature;
    pthread_mutex_unlock(&sql->mutex);
    *signature = NULL;
  }
  return vonk_sql_typed_register(sql, slot, err);
}

/* The same with a connection that is there, or lent for the purpose. */
static vonk_status join_and_make(vonk_sql *sql, vonk_sql_slot *slot,
                                 vonk_sql_signature **signature, vonk_error *err) {
  bool lent = sql->connection == NULL && sql->guest.join != NULL;
  if (lent) {
    VONK_TRY(sql->guest.join(sql->guest.arg, &sql->connection, err));
  }
  if (sql->connection == NULL) {
    return vonk_fail(err, VONK_INVALID, "'%s': %s", slot->name, sql->detach_reason);
  }
  vonk_status status = make_functions(sql, slot, signature, err);
  if (lent) {
    duckdb_disconnect(&sql->connection);
  }
  return status;
}

/* With the registration's mutex. Takes over the signature, or leaves it. */
static vonk_status take_name(vonk_sql *sql, const char *name, const char *path,
                             vonk_sql_loaded *loaded, vonk_sql_signature **signature,
                             vonk_error *err) {
  vonk_sql_slot *slot = NULL;
  VONK_TRY(vonk_sql_find_or_add(sql, name, false, &slot, err));
  if (slot->signature != NULL && !vonk_sql_signature_equal(slot->signature, *signature)) {
    return refuse_types(slot, path, *signature, err);
  }
  if (!slot->has_plain || !slot->has_try) {
    VONK_TRY(join_and_make(sql, slot, signature, err));
  }
  vonk_sql_exchange(sql, slot, vonk_sql_loaded_retain(loaded),
                    vonk_model_summarize(loaded->model)->path, NULL);
  return VONK_OK;
}

static vonk_status load(vonk_sql *sql, const char *name, const char *path,
                        vonk_sql_loaded *loaded, vonk_error *err) {
  vonk_sql_signature *signature = NULL;
  VONK_TRY(vonk_sql_signature_create(loaded, &signature, err));
  pthread_mutex_lock(&sql->registration);
  vonk_status status = take_name(sql, name, path, loaded, &signature, err);
  pthread_mutex_unlock(&sql->registration);
  vonk_sql_signature_release(signature);
  return status;
}

vonk_status vonk_sql_load(vonk_sql *sql, const char *name, const char *path,
                          const vonk_sql_load_options *options, vonk_error *err) {
  VONK_TRY(vonk_sql_name_check(name, err));
  vonk_sql_loaded *loaded;
  VONK_TRY(vonk_sql_loaded_create(path, options, &loaded, err));
  vonk_status status = load(sql, name, path, loaded, err);
  vonk_sql_loaded_release(loaded);
  return status;
}

/* --- $VONK_MODELS --- */

/* A bad entry is there to be seen in vonk_models(). */
static void load_entry(vonk_sql *sql, const char *name, const char *path) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_sql_slot *slot = NULL;
  if (vonk_sql_load(sql, name, path, NULL, &err) == VONK_OK ||
      vonk_sql_find_or_add(sql, name, false, &slot, NULL) != VONK_OK) {
    return;
  }
  vonk_sql_exchange(sql, slot, vonk_sql_current(sql, slot), path, err.message);
}

static void load_path(vonk_sql *sql, const char *path) {
  char *name;
  if (vonk_sql_name_of_path(path, &name, NULL) == VONK_OK) {
    load_entry(sql, name, path);
    vonk_delete(name);
  }
}

static int compare_entries(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

/* Every model in it, in the order of their names. False if it is no folder, or a model
 * itself. */
static bool load_folder(vonk_sql *sql, const char *folder) {
  struct dirent **entries;
  if (vonk_model_recognise(folder, NULL) > 0) {
    return false;
  }
  int n = scandir(folder, &entries, NULL, compare_entries);
  if (n < 0) {
    return false;
  }
  for (int i = 0; i < n; i++) {
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
    if (size > 0 && (size_t)size < sizeof(path) && entries[i]->d_name[0] != '.' &&
        vonk_sql_is_model_path(path)) {
      load_path(sql, path);
    }
    free(entries[i]); /* scandir's */
  }
  free(entries);
  return true;
}

static void load_listed(vonk_sql *sql, char *entry) {
  char *equals = strchr(entry, '='), *slash = strchr(entry, '/'),
       *hash = strchr(entry, '#');
  bool has_name = equals != NULL && (slash == NULL || equals < slash) &&
                  (hash == NULL || equals < hash);
  if (has_name) {
    *equals = '\0';
    load_entry(sql, entry, equals + 1);
  } else if (!load_folder(sql, entry)) {
    load_path(sql, entry);
  }
}

void vonk_sql_load_listed(vonk_sql *sql, const char *list) {
  char *copy, *rest = NULL;
  if (list == NULL || vonk_new_string(list, &copy, NULL) != VONK_OK) {
    return;
  }
  for (char *entry = strtok_r(copy, ":", &rest); entry != NULL;
       entry = strtok_r(NULL, ":", &rest)) {
    load_listed(sql, entry);
  }
  vonk_delete(copy);
}

/* --- the table functions --- */

static const vonk_sql_column load_columns[] = {
    {"name", VONK_SQL_CELL_TEXT},         {"path", VONK_SQL_CELL_TEXT},
    {"functions", VONK_SQL_CELL_TEXTS},   {"inputs", VONK_SQL_CELL_TEXT},
    {"outputs", VONK_SQL_CELL_TEXT},      {"plugin", VONK_SQL_CELL_TEXT},
    {"runtime", VONK_SQL_CELL_TEXT},      {"device", VONK_SQL_CELL_TEXT},
    {"parameters", VONK_SQL_CELL_BIGINT},
};

/* "pixels FLOAT[784], mask BIGINT" */
static void add_tensors(vonk_sql_output *out, const vonk_io *const *ios, size_t n) {
  vonk_text text = {.size = 0};
  for (size_t i = 0; i < n; i++) {
    vonk_text_add(&text, "%s%s ", i == 0 ? "" : ", ", ios[i]->name);
    vonk_sql_describe_row(ios[i], &text);
  }
  vonk_sql_output_text(out, text.data);
}

static void add_loaded(const vonk_sql_slot *slot, const vonk_model_summary *s,
                       vonk_sql_output *out) {
  vonk_sql_output_begin(out);
  vonk_sql_output_text(out, slot->name);
  vonk_sql_output_text(out, s->path);
  vonk_sql_output_functions(out, slot->signature, slot->name);
  add_tensors(out, s->inputs, s->n_inputs);
  add_tensors(out, s->outputs, s->n_outputs);
  vonk_sql_output_text(out, s->plugin);
  vonk_sql_output_text(out, s->runtime_version);
  vonk_sql_output_text(out, s->device);
  if (s->n_params >= 0) {
    vonk_sql_output_bigint(out, s->n_params);
  } else {
    vonk_sql_output_null(out);
  }
}

static vonk_status fill_load(vonk_sql *sql, const vonk_sql_arguments *a,
                             vonk_sql_output *out, vonk_error *err) {
  VONK_TRY(vonk_sql_load(sql, a->parameters[0], a->parameters[1], &a->load, err));
  vonk_sql_slot *slot = vonk_sql_find(sql, a->parameters[0]);
  vonk_sql_loaded *loaded = vonk_sql_current(sql, slot);
  if (loaded == NULL) { /* somebody was quicker */
    return vonk_sql_fail_unloaded(slot, err);
  }
  add_loaded(slot, vonk_model_summarize(loaded->model), out);
  vonk_sql_loaded_release(loaded);
  return VONK_OK;
}

static const vonk_sql_column unload_columns[] = {{"name", VONK_SQL_CELL_TEXT},
                                                 {"unloaded", VONK_SQL_CELL_BOOL}};

static vonk_status fill_unload(vonk_sql *sql, const vonk_sql_arguments *a,
                               vonk_sql_output *out, vonk_error *err) {
  vonk_sql_slot *slot = vonk_sql_find(sql, a->parameters[0]);
  vonk_sql_loaded *loaded = slot == NULL ? NULL : vonk_sql_current(sql, slot);
  bool was_loaded = loaded != NULL;
  vonk_sql_loaded_release(loaded);
  if (slot == NULL || (!was_loaded && slot->signature == NULL)) {
    return vonk_fail(err, VONK_INVALID,
                     "'%s': no model of that name was loaded: FROM vonk_models() lists "
                     "those that were",
                     a->parameters[0]);
  }
  vonk_sql_exchange(sql, slot, NULL, NULL, NULL);
  vonk_sql_output_begin(out);
  vonk_sql_output_text(out, slot->name);
  vonk_sql_output_bool(out, was_loaded);
  return VONK_OK;
}

vonk_status vonk_sql_load_register(vonk_sql *sql, vonk_error *err) {
  static const vonk_sql_table load_table = {
      .name = "vonk_load",
      .n_parameters = 2,
      .takes_options = true,
      .columns = load_columns,
      .n_columns = sizeof(load_columns) / sizeof(load_columns[0]),
      .fill = fill_load};
  static const vonk_sql_table unload_table = {
      .name = "vonk_unload",
      .n_parameters = 1,
      .columns = unload_columns,
      .n_columns = sizeof(unload_columns) / sizeof(unload_columns[0]),
      .fill = fill_unload};
  VONK_TRY(vonk_sql_table_register(sql, &load_table, err));
  return vonk_sql_table_register(sql, &unload_table, err);
}
