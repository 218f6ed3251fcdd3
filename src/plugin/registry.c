/* The plug-ins of the process: each loaded once, found by name, by path or by the model
 * they recognise.
 *
 * How it works: a list of entries, one per file ever tried, known by what identifies the
 * file (device, inode, size, time), so that links and copies of a path lead to one load.
 * An entry is either a plug-in or the reason why it is none; it is never changed or freed
 * once it is in the list, so that callers may keep pointers. Loading happens under the
 * list's lock. A file that was replaced after it failed is tried again, since its
 * identity differs. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "plugin/internal.h"

typedef struct entry {
  struct entry *next;
  vonk_file_id id;
  char *path;
  vonk_status status; /* VONK_OK: plugin is set; else reason */
  vonk_plugin plugin;
  vonk_error reason;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry *first;
static bool ended; /* shutdown_all has been called */

/* --- loading each file once --- */

static vonk_status load_new(const vonk_file_id *id, const char *path, entry **out,
                            vonk_error *err) {
  entry *made;
  VONK_TRY(vonk_new(1, sizeof(*made), &made, err));
  vonk_status status = vonk_path_resolve(path, &made->path, err);
  if (status != VONK_OK) {
    vonk_delete(made);
    return status;
  }
  made->id = *id;
  made->reason = (vonk_error)VONK_ERROR_INIT;
  made->plugin.path = made->path;
  made->status = vonk_plugin_load(made->path, &made->plugin.api, &made->reason);
  made->next = first;
  first = made;
  *out = made;
  return VONK_OK;
}

/* The plug-in at path, loaded now or before. */
static vonk_status load(const char *path, const vonk_plugin **out, vonk_error *err) {
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(path, &id, err));
  if (id.is_folder) {
    return vonk_fail(err, VONK_IO, "%s: is a folder: expected a plug-in's file", path);
  }
  const char *untrusted = vonk_untrusted(path);
  if (untrusted != NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED, "%s: not loaded: %s", path, untrusted);
  }
  pthread_mutex_lock(&lock);
  entry *found = ended ? NULL : first;
  while (found != NULL && !vonk_file_same(&found->id, &id)) {
    found = found->next;
  }
  vonk_status status = VONK_OK;
  if (ended) {
    status =
        vonk_fail(err, VONK_INVALID, "%s: vonk_shutdown has ended the plug-ins", path);
  } else if (found == NULL) {
    status = load_new(&id, path, &found, err);
  }
  pthread_mutex_unlock(&lock);
  if (found == NULL) {
    return status;
  }
  if (found->status != VONK_OK) {
    vonk_error_copy(err, &found->reason);
    return found->status;
  }
  *out = &found->plugin;
  return VONK_OK;
}

/* --- by name or path --- */

/* Whether a file is there, be it usable or not. */
static bool is_there(const char *path) {
  vonk_file_id id;
  return vonk_file_identify(path, &id, NULL) == VONK_OK;
}

static vonk_status find_in(const vonk_search *search, const char *name,
                           const vonk_plugin **out, vonk_error *err) {
  char file[128];
  snprintf(file, sizeof(file), "vonk_%s.so", name);
  for (size_t i = 0; i < search->n_folders; i++) {
    if (!search->folders[i].usable) {
      continue;
    }
    char *path;
    VONK_TRY(vonk_path_join(search->folders[i].path, file, &path, err));
    bool there = is_there(path);
    vonk_status status = there ? load(path, out, err) : VONK_OK;
    vonk_delete(path);
    if (there) {
      return status;
    }
  }
  vonk_text places = {0};
  vonk_search_explain(search, &places);
  return vonk_fail(
      err, VONK_UNSUPPORTED,
      "plug-in '%s': no file '%s' in any of these places: %s: install it, or name "
      "its folder in VONK_PLUGIN_PATH",
      name, file, places.data);
}

static vonk_status check_name(const char *name, vonk_error *err) {
  if (strchr(name, '/') != NULL) {
    return vonk_fail(
        err, VONK_INVALID,
        "plug-in '%s': is a relative path, which would depend on the current "
        "folder: give an absolute path, or a name",
        name);
  }
  size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (size == 0 || name[size] != '\0' || size > 64) {
    return vonk_fail(
        err, VONK_INVALID,
        "plug-in '%.80s': is no plug-in's name: expected up to 64 of a-z, 0-9 and "
        "_, or an absolute path",
        name);
  }
  return VONK_OK;
}

vonk_status vonk_plugin_find(const char *name_or_path, const vonk_plugin **out,
                             vonk_error *err) {
  if (name_or_path[0] == '/') {
    return load(name_or_path, out, err);
  }
  VONK_TRY(check_name(name_or_path, err));
  vonk_search search;
  VONK_TRY(vonk_search_start(&search, err));
  const vonk_plugin *plugin = NULL;
  vonk_status status = find_in(&search, name_or_path, &plugin, err);
  vonk_search_end(&search);
  VONK_TRY(status);
  if (strcmp(plugin->api.name, name_or_path) != 0) {
    return vonk_fail(err, VONK_ABI,
                     "%s: calls itself '%s': expected '%s', as its file is named",
                     plugin->path, plugin->api.name, name_or_path);
  }
  *out = plugin;
  return VONK_OK;
}

/* --- all of them --- */

/* What for_each found: a plug-in (error NULL), a file that is none, or a place that was
 * refused. */
typedef struct finding {
  const char *path;
  const vonk_plugin *plugin; /* NULL if error is set */
  const char *error;
  bool is_folder; /* a place that was refused, not a file */
} finding;
typedef bool (*on_finding)(void *arg, const finding *); /* false ends it */

/* Whether a folder before number n holds a file of the same name, which then is the one
 * in use. */
static vonk_status find_earlier(const vonk_search *search, size_t n, const char *file,
                                char **out, vonk_error *err) {
  for (size_t i = 0; i < n; i++) {
    char *path;
    if (!search->folders[i].usable) {
      continue;
    }
    VONK_TRY(vonk_path_join(search->folders[i].path, file, &path, err));
    if (is_there(path)) {
      *out = path;
      return VONK_OK;
    }
    vonk_delete(path);
  }
  *out = NULL;
  return VONK_OK;
}

static vonk_status visit_file(const vonk_search *search, size_t n, const char *path,
                              on_finding visit, void *arg, bool *go_on, vonk_error *err) {
  char *earlier = NULL;
  VONK_TRY(find_earlier(search, n, strrchr(path, '/') + 1, &earlier, err));
  finding found = {.path = path};
  vonk_error reason = VONK_ERROR_INIT;
  if (earlier != NULL) {
    (void)vonk_fail(&reason, VONK_UNSUPPORTED, "hidden by %s, which is found first",
                    earlier);
    found.error = reason.message;
  } else {
    vonk_status status = load(path, &found.plugin, &reason);
    found.error = status == VONK_OK ? NULL : reason.message;
  }
  *go_on = visit(arg, &found);
  vonk_delete(earlier);
  return VONK_OK;
}

static vonk_status visit_folder(const vonk_search *search, size_t n, on_finding visit,
                                void *arg, bool *go_on, vonk_error *err) {
  const vonk_folder *folder = &search->folders[n];
  if (!folder->usable) {
    finding refused = {.path = folder->path, .error = folder->reason, .is_folder = true};
    *go_on = !folder->asked || visit(arg, &refused);
    return VONK_OK;
  }
  char **paths = NULL;
  size_t n_paths = 0;
  vonk_error reason = VONK_ERROR_INIT;
  vonk_status status = vonk_folder_list(folder->path, &paths, &n_paths, &reason);
  if (status == VONK_IO) {
    finding unreadable = {
        .path = folder->path, .error = reason.message, .is_folder = true};
    *go_on = visit(arg, &unreadable);
    return VONK_OK;
  }
  if (status != VONK_OK) {
    vonk_error_copy(err, &reason);
    return status;
  }
  for (size_t i = 0; status == VONK_OK && *go_on && i < n_paths; i++) {
    status = visit_file(search, n, paths[i], visit, arg, go_on, err);
  }
  vonk_folder_list_release(paths, n_paths);
  return status;
}

static vonk_status for_each(on_finding visit, void *arg, vonk_error *err) {
  vonk_search search;
  VONK_TRY(vonk_search_start(&search, err));
  vonk_status status = VONK_OK;
  bool go_on = true;
  for (size_t i = 0; status == VONK_OK && go_on && i < search.n_folders; i++) {
    status = visit_folder(&search, i, visit, arg, &go_on, err);
  }
  vonk_search_end(&search);
  return status;
}

/* The paths are those of the folder's files; nothing is loaded. */
static vonk_status visit_names(const vonk_folder *folder,
                               bool (*visit)(void *arg, const char *path), void *arg,
                               bool *go_on, vonk_error *err) {
  char **paths = NULL;
  size_t n_paths = 0;
  VONK_TRY(vonk_folder_list(folder->path, &paths, &n_paths, err));
  for (size_t i = 0; *go_on && i < n_paths; i++) {
    *go_on = visit(arg, paths[i]);
  }
  vonk_folder_list_release(paths, n_paths);
  return VONK_OK;
}

vonk_status vonk_plugin_files(bool (*visit)(void *arg, const char *path), void *arg,
                              vonk_error *err) {
  vonk_search search;
  VONK_TRY(vonk_search_start(&search, err));
  vonk_status status = VONK_OK;
  bool go_on = true;
  for (size_t i = 0; status == VONK_OK && go_on && i < search.n_folders; i++) {
    if (search.folders[i].usable) {
      status = visit_names(&search.folders[i], visit, arg, &go_on, err);
    }
  }
  vonk_search_end(&search);
  return status;
}

/* --- by model --- */

typedef struct recognition {
  const char *path;
  const uint8_t *head;
  size_t n_head;
  const vonk_plugin *best;
  int32_t best_score;
  vonk_text formats, failures;
} recognition;

static bool recognise(void *arg, const finding *found) {
  recognition *r = arg;
  if (found->is_folder) {
    return true;
  }
  if (found->error != NULL) {
    /* A loading error begins with the path already. */
    bool named = strncmp(found->error, found->path, strlen(found->path)) == 0;
    vonk_text_add(&r->failures, "%s%s%s%s", r->failures.size == 0 ? "" : "; ",
                  named ? "" : found->path, named ? "" : ": ", found->error);
    return true;
  }
  const vonk_plugin_v1 *api = &found->plugin->api;
  vonk_text_add(&r->formats, "%s%s (", r->formats.size == 0 ? "" : ", ", api->name);
  for (size_t i = 0; api->formats[i] != NULL; i++) {
    vonk_text_add(&r->formats, "%s%s", i == 0 ? "" : ", ", api->formats[i]);
  }
  vonk_text_add(&r->formats, ")");
  int32_t score = api->recognise(r->path, r->head, r->n_head);
  if (score > r->best_score) {
    r->best_score = score;
    r->best = found->plugin;
  }
  return true;
}

static vonk_status fail_unrecognised(const recognition *r, vonk_error *err) {
  if (r->formats.size == 0) {
    vonk_search search;
    VONK_TRY(vonk_search_start(&search, err));
    vonk_text places = {0};
    vonk_search_explain(&search, &places);
    vonk_search_end(&search);
    return vonk_fail(
        err, VONK_UNSUPPORTED,
        "%s: no plug-in can be used; looked in: %s%s%s: install one, or name its "
        "folder in VONK_PLUGIN_PATH",
        r->path, places.data, r->failures.size == 0 ? "" : "; ", r->failures.data);
  }
  return vonk_fail(
      err, VONK_UNSUPPORTED,
      "%s: no plug-in recognises it; installed: %s%s%s: check the file, or choose "
      "the plug-in with the option 'plugin'",
      r->path, r->formats.data,
      r->failures.size == 0 ? "" : "; not usable: ", r->failures.data);
}

/* Asks every plug-in about what lies at r->path. */
static vonk_status ask_all(recognition *r, vonk_error *err) {
  enum { HEAD = 4096 };
  uint8_t head[HEAD];
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(r->path, &id, err));
  if (!id.is_folder) {
    VONK_TRY(vonk_file_head(r->path, head, HEAD, &r->n_head, err));
    r->head = head;
  }
  vonk_status status = for_each(recognise, r, err);
  r->head = NULL;
  return status;
}

int32_t vonk_plugin_recognise(const char *path, const vonk_plugin **out) {
  recognition r = {.path = path};
  if (ask_all(&r, NULL) != VONK_OK || r.best == NULL) {
    return 0;
  }
  *out = r.best;
  return r.best_score;
}

vonk_status vonk_plugin_for_model(const char *path, const vonk_plugin **out,
                                  vonk_error *err) {
  recognition r = {.path = path};
  VONK_TRY(ask_all(&r, err));
  if (r.best == NULL) {
    return fail_unrecognised(&r, err);
  }
  *out = r.best;
  return VONK_OK;
}

/* --- by format --- */

typedef struct format_search {
  const char *format;
  const vonk_plugin *found;
  recognition others; /* what there is, for the message */
} format_search;

static bool opens_format(void *arg, const finding *found) {
  format_search *s = arg;
  if (found->plugin == NULL) {
    return true;
  }
  const char *const *formats = found->plugin->api.formats;
  vonk_text *text = &s->others.formats;
  for (size_t i = 0; formats[i] != NULL; i++) {
    vonk_text_add(text, "%s%s", text->size == 0 ? "" : ", ", formats[i]);
    if (strcmp(formats[i], s->format) == 0) {
      s->found = found->plugin;
      return false;
    }
  }
  return true;
}

vonk_status vonk_plugin_for_format(const char *format, const char *what,
                                   const vonk_plugin **out, vonk_error *err) {
  format_search s = {.format = format};
  VONK_TRY(for_each(opens_format, &s, err));
  if (s.found == NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "%s: no plug-in opens format '%.80s'; installed: %s: install it, or "
                     "name its folder in VONK_PLUGIN_PATH",
                     what, format,
                     s.others.formats.size == 0 ? "none" : s.others.formats.data);
  }
  *out = s.found;
  return VONK_OK;
}

/* --- the public part --- */

typedef struct visitor {
  int (*visit)(void *arg, const vonk_plugin_summary *);
  void *arg;
} visitor;

static bool summarize(void *arg, const finding *found) {
  const visitor *v = arg;
  static const char *const no_formats[] = {NULL};
  static const vonk_kv no_options[] = {{NULL, NULL}};
  vonk_plugin_summary summary = {
      .struct_size = (uint32_t)sizeof(summary),
      .path = found->path,
      .formats = no_formats,
      .options = no_options,
      .error = found->error,
  };
  if (found->plugin != NULL) {
    const vonk_plugin_v1 *api = &found->plugin->api;
    summary.caps = api->caps;
    summary.name = api->name;
    summary.version = api->version;
    summary.formats = api->formats;
    summary.options = api->options;
  }
  return v->visit(v->arg, &summary) == 0;
}

vonk_status vonk_plugins_visit(int (*visit)(void *arg, const vonk_plugin_summary *),
                               void *arg, vonk_error *err) {
  if (visit == NULL) {
    return vonk_fail(err, VONK_INVALID, "vonk_plugins_visit: visit is NULL");
  }
  visitor v = {visit, arg};
  return for_each(summarize, &v, err);
}

vonk_status vonk_plugin_runtime(const char *plugin, const char **version,
                                const char **path, vonk_error *err) {
  if (plugin == NULL || version == NULL || path == NULL) {
    return vonk_fail(err, VONK_INVALID, "vonk_plugin_runtime: an argument is NULL");
  }
  VONK_TRY(vonk_process_check(err));
  const vonk_plugin *found = NULL;
  VONK_TRY(vonk_plugin_find(plugin, &found, err));
  const char *found_version = NULL, *found_path = NULL;
  vonk_process_mark_started();
  VONK_TRY(found->api.runtime(&found_version, &found_path, err));
  *version = found_version;
  *path = found_path;
  return VONK_OK;
}

void vonk_plugin_shutdown_all(void) {
  pthread_mutex_lock(&lock);
  entry *list = ended ? NULL : first;
  ended = true;
  pthread_mutex_unlock(&lock);
  for (; list != NULL; list = list->next) {
    if (list->status == VONK_OK) {
      list->plugin.api.shutdown();
    }
  }
}
