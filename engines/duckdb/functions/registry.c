/* The names of a database, and the model that each stands for now.
 *
 * How it works. A name is a slot that lives as long as the database's functions do; what
 * a reload exchanges is the reference in it. A chunk takes a reference to the model of
 * its slot, so that an exchanged model lives until the last chunk that began with it has
 * ended. Two locks: `registration` is held while functions are made through a
 * connection, where DuckDB takes locks of its own; `mutex` guards the slots and is never
 * held while DuckDB or a framework is called. No callback of DuckDB takes the first one
 * but that of vonk_load when it runs.
 *
 * A model that is used by its path has a slot too, named by the path. Only the last
 * MOST_PATHS of them keep their weights. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engines/duckdb/functions/internal.h"

enum { MOST_PATHS = 16 };

static vonk_status register_all(vonk_sql *sql, vonk_error *err) {
  VONK_TRY(vonk_sql_load_register(sql, err));
  VONK_TRY(vonk_sql_listing_register(sql, err));
  return vonk_sql_generic_register(sql, err);
}

vonk_status vonk_sql_create(duckdb_database database, duckdb_connection connection,
                            vonk_sql **out, vonk_error *err) {
  vonk_sql *sql;
  VONK_TRY(vonk_new(1, sizeof(*sql), &sql, err));
  sql->references = 1;
  sql->has_bind = vonk_duckdb_is_since(duckdb_library_version(), 1, 5, 6);
  sql->casts_first = vonk_duckdb_is_since(duckdb_library_version(), 2, 0, 0);
  sql->connection = connection;
  pthread_mutex_init(&sql->registration, NULL);
  pthread_mutex_init(&sql->mutex, NULL);
  pthread_mutex_init(&sql->running_mutex, NULL);
  vonk_status status = register_all(sql, err);
  if (status != VONK_OK) {
    vonk_sql_detach(sql, "the functions could not be registered");
    vonk_sql_release(sql);
    return status;
  }
  if (database != NULL) {
    vonk_sql_scan_register(sql, database);
  }
  *out = sql;
  return VONK_OK;
}

void vonk_sql_detach(vonk_sql *sql, const char *reason) {
  pthread_mutex_lock(&sql->registration);
  sql->connection = NULL;
  (void)snprintf(sql->detach_reason, sizeof(sql->detach_reason), "%s", reason);
  pthread_mutex_unlock(&sql->registration);
}

void vonk_sql_set_guest(vonk_sql *sql, const vonk_sql_guest *guest) {
  pthread_mutex_lock(&sql->registration);
  sql->connection = NULL;
  sql->guest = *guest;
  pthread_mutex_unlock(&sql->registration);
}

bool vonk_sql_has_bind(const vonk_sql *sql) { return sql->has_bind; }

void vonk_sql_retain(vonk_sql *sql) {
  atomic_fetch_add_explicit(&sql->references, 1, memory_order_relaxed);
}

void vonk_sql_release(vonk_sql *sql) {
  if (sql == NULL ||
      atomic_fetch_sub_explicit(&sql->references, 1, memory_order_acq_rel) != 1) {
    return;
  }
  if (sql->guest.ended != NULL) {
    sql->guest.ended(sql->guest.arg);
  }
  for (vonk_sql_slot *slot = sql->slots, *next; slot != NULL; slot = next) {
    next = slot->next;
    vonk_sql_loaded_release(slot->current);
    vonk_sql_signature_release(slot->signature);
    vonk_delete(slot->name);
    vonk_delete(slot->path);
    vonk_delete(slot->error);
    vonk_delete(slot);
  }
  pthread_mutex_destroy(&sql->registration);
  pthread_mutex_destroy(&sql->mutex);
  pthread_mutex_destroy(&sql->running_mutex);
  vonk_delete(sql);
}

void vonk_sql_release_info(void *sql) { vonk_sql_release(sql); }

uint64_t vonk_sql_rows(const vonk_sql *sql) {
  return atomic_load_explicit(&sql->rows, memory_order_relaxed);
}

/* --- slots --- */

/* The mutex is held. */
static vonk_sql_slot *find(const vonk_sql *sql, const char *name) {
  for (vonk_sql_slot *slot = sql->slots; slot != NULL; slot = slot->next) {
    if (slot->is_path ? strcmp(slot->name, name) == 0
                      : strcasecmp(slot->name, name) == 0) {
      return slot;
    }
  }
  return NULL;
}

vonk_sql_slot *vonk_sql_find(vonk_sql *sql, const char *name) {
  pthread_mutex_lock(&sql->mutex);
  vonk_sql_slot *slot = find(sql, name);
  pthread_mutex_unlock(&sql->mutex);
  return slot;
}

vonk_status vonk_sql_find_or_add(vonk_sql *sql, const char *name, bool is_path,
                                 vonk_sql_slot **out, vonk_error *err) {
  vonk_sql_slot *fresh;
  VONK_TRY(vonk_new(1, sizeof(*fresh), &fresh, err));
  vonk_status status = vonk_new_string(name, &fresh->name, err);
  if (status != VONK_OK) {
    vonk_delete(fresh);
    return status;
  }
  fresh->is_path = is_path;
  fresh->totals.struct_size = (uint32_t)sizeof(fresh->totals);
  pthread_mutex_lock(&sql->mutex);
  vonk_sql_slot *slot = find(sql, name);
  if (slot == NULL) { /* at the end: vonk_models() lists in the order of loading */
    vonk_sql_slot **last = &sql->slots;
    while (*last != NULL) {
      last = &(*last)->next;
    }
    *last = fresh;
    slot = fresh;
    fresh = NULL;
  }
  pthread_mutex_unlock(&sql->mutex);
  if (fresh != NULL) {
    vonk_delete(fresh->name);
    vonk_delete(fresh);
  }
  *out = slot;
  return VONK_OK;
}

vonk_sql_loaded *vonk_sql_current(vonk_sql *sql, vonk_sql_slot *slot) {
  pthread_mutex_lock(&sql->mutex);
  vonk_sql_loaded *loaded =
      slot->current == NULL ? NULL : vonk_sql_loaded_retain(slot->current);
  slot->last_use = ++sql->clock;
  pthread_mutex_unlock(&sql->mutex);
  return loaded;
}

/* NULL for NULL, and where there is no memory: a message or path less. */
static char *copy_text(const char *text) {
  char *copy = NULL;
  if (text != NULL) {
    (void)vonk_new_string(text, &copy, NULL);
  }
  return copy;
}

void vonk_sql_exchange(vonk_sql *sql, vonk_sql_slot *slot, vonk_sql_loaded *loaded,
                       const char *path, const char *error) {
  char *new_path = copy_text(path), *new_error = copy_text(error);
  pthread_mutex_lock(&sql->mutex);
  vonk_sql_loaded *former = slot->current;
  char *old_path = slot->path, *old_error = slot->error;
  slot->current = loaded;
  slot->path = new_path;
  slot->error = new_error;
  slot->last_use = ++sql->clock;
  pthread_mutex_unlock(&sql->mutex);
  vonk_delete(old_path);
  vonk_delete(old_error);
  vonk_sql_loaded_release(former); /* may free the weights: not under the lock */
}

vonk_status vonk_sql_fail_unloaded(const vonk_sql_slot *slot, vonk_error *err) {
  return vonk_fail(err, VONK_INVALID,
                   "model '%s' is not loaded: FROM vonk_load('%s', 'PATH')", slot->name,
                   slot->name);
}

bool vonk_sql_is_path(const char *name_or_path) {
  return strpbrk(name_or_path, "/.#") != NULL;
}

vonk_status vonk_sql_fail_unknown(const char *name, vonk_error *err) {
  return vonk_fail(err, VONK_INVALID,
                   "model '%s' is not loaded: FROM vonk_load('%s', 'PATH'), or give the "
                   "path of a model file",
                   name, name);
}

/* --- what a generic call names --- */

/* The path that was used longest ago gives its weights back, if there are too many. */
static void evict_path(vonk_sql *sql) {
  size_t n = 0;
  vonk_sql_slot *oldest = NULL;
  vonk_sql_loaded *former = NULL;
  pthread_mutex_lock(&sql->mutex);
  for (vonk_sql_slot *slot = sql->slots; slot != NULL; slot = slot->next) {
    if (slot->is_path && slot->current != NULL) {
      n++;
      oldest = oldest == NULL || slot->last_use < oldest->last_use ? slot : oldest;
    }
  }
  if (n > MOST_PATHS) {
    former = oldest->current;
    oldest->current = NULL;
  }
  pthread_mutex_unlock(&sql->mutex);
  vonk_sql_loaded_release(former);
}

/* Opening a file again gives the same model, unless the file has changed: then the slot
 * follows. */
static vonk_status resolve_path(vonk_sql *sql, const char *path, vonk_sql_slot **slot,
                                vonk_sql_loaded **out, vonk_error *err) {
  vonk_sql_loaded *fresh;
  VONK_TRY(vonk_sql_loaded_create(path, NULL, &fresh, err));
  vonk_status status = vonk_sql_find_or_add(sql, path, true, slot, err);
  if (status != VONK_OK) {
    vonk_sql_loaded_release(fresh);
    return status;
  }
  vonk_sql_loaded *current = vonk_sql_current(sql, *slot);
  if (current != NULL && current->model == fresh->model) {
    vonk_sql_loaded_release(fresh);
    *out = current;
    return VONK_OK;
  }
  vonk_sql_loaded_release(current);
  vonk_sql_exchange(sql, *slot, vonk_sql_loaded_retain(fresh), path, NULL);
  evict_path(sql);
  *out = fresh;
  return VONK_OK;
}

vonk_status vonk_sql_resolve(vonk_sql *sql, const char *name_or_path,
                             vonk_sql_slot **slot, vonk_sql_loaded **out,
                             vonk_error *err) {
  *slot = vonk_sql_find(sql, name_or_path);
  if (*slot != NULL && !(*slot)->is_path) {
    *out = vonk_sql_current(sql, *slot);
    return *out == NULL ? vonk_sql_fail_unloaded(*slot, err) : VONK_OK;
  }
  if (!vonk_sql_is_path(name_or_path)) {
    return vonk_sql_fail_unknown(name_or_path, err);
  }
  return resolve_path(sql, name_or_path, slot, out, err);
}
