/* What the files of src/plugin share. */
#ifndef VONK_SRC_PLUGIN_INTERNAL_H
#define VONK_SRC_PLUGIN_INTERNAL_H

#include "plugin/plugin.h"

/* The watch_cancel of the host table, less its ctx. */
void vonk_cancel_watch(vonk_cancel *, void (*stop)(void *arg), void *arg);

/* --- where things are (search.c) --- */

/* One place in which plug-ins are looked for. */
typedef struct vonk_folder {
  char *path;
  uint64_t device, inode;
  bool usable;
  bool asked; /* somebody named it in VONK_PLUGIN_PATH, so its absence is worth a word */
  char reason[256]; /* why it is not usable */
} vonk_folder;

typedef struct vonk_search {
  vonk_folder *folders;
  size_t n_folders;
} vonk_search;

/* VONK_PLUGIN_PATH, then the library's own folders; each once. */
vonk_status vonk_search_start(vonk_search *out, vonk_error *err);
void vonk_search_end(vonk_search *);
/* Adds "<path> (<reason>), ..." for every place. */
void vonk_search_explain(const vonk_search *, vonk_text *text);

/* The vonk_<name>.so files of a folder, sorted: *paths has *n entries, each and the array
 * to be freed. */
vonk_status vonk_folder_list(const char *folder, char ***paths, size_t *n,
                             vonk_error *err);
void vonk_folder_list_release(char **paths, size_t n);

/* Why what lies there must not be loaded from (writable by everyone), or NULL. */
const char *vonk_untrusted(const char *path);

/* "<folder>/<rest>" in a new string. */
vonk_status vonk_path_join(const char *folder, const char *rest, char **out,
                           vonk_error *err);

/* --- paths.conf (paths.c) --- */

typedef struct vonk_path_entry {
  const char *key, *value;
} vonk_path_entry;

/* Cuts text, which is changed, into entries that point into it: lines "key = value"; "#"
 * starts a comment line. Lines that are neither are left out. Returns how many entries
 * were filled, at most capacity. */
size_t vonk_paths_parse(char *text, vonk_path_entry *entries, size_t capacity);

/* --- loading one file (load.c) --- */

/* Opens the shared object, calls its entry function, checks the table and fills its
 * optional entries. */
vonk_status vonk_plugin_load(const char *path, vonk_plugin_v1 *out, vonk_error *err);

#endif /* VONK_SRC_PLUGIN_INTERNAL_H */
