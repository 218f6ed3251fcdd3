/* Where plug-ins are looked for.
 *
 * How it works: searching for plug-ins is running code, so the places are few and named:
 * the folders of VONK_PLUGIN_PATH, then three folders relative to the program or shared
 * object that holds this very code (found by the address of a function of ours), which
 * covers an installation, a program linked statically, a Python wheel and a build tree.
 * Never the current folder, nothing relative, nothing that everyone may write to. Each
 * refused place keeps its reason, which is shown when a plug-in is not found. */
#define _GNU_SOURCE /* dladdr1, secure_getenv */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/internal.h"

static const char *const own_places[] = {"vonk/plugins", "../lib/vonk/plugins",
                                         "plugins"};
enum { N_OWN_PLACES = sizeof(own_places) / sizeof(own_places[0]) };

vonk_status vonk_path_join(const char *folder, const char *rest, char **out,
                           vonk_error *err) {
  size_t nbytes = strlen(folder) + strlen(rest) + 2;
  char *path;
  VONK_TRY(vonk_new(nbytes, 1, &path, err));
  snprintf(path, nbytes, "%s/%s", folder, rest);
  *out = path;
  return VONK_OK;
}

const char *vonk_untrusted(const char *path) {
  struct stat info;
  if (stat(path, &info) == 0 && (info.st_mode & S_IWOTH) != 0) {
    return "everyone may write to it, and loading from it would run their code: chmod "
           "o-w";
  }
  return NULL;
}

vonk_status vonk_own_folder(char *out, size_t capacity, vonk_error *err) {
  Dl_info info;
  void *map = NULL;
  void *address = NULL;
  vonk_status (*self)(char *, size_t, vonk_error *) = vonk_own_folder;
  memcpy(&address, &self, sizeof(address));
  if (dladdr1(address, &info, &map, RTLD_DL_LINKMAP) == 0 || map == NULL) {
    return vonk_fail(err, VONK_IO, "own folder: the loader does not know where vonk is");
  }
  /* The program itself has no name there; what dladdr tells instead is argv[0], which may
   * be anything. */
  const char *name = ((const struct link_map *)map)->l_name;
  const char *file = name[0] == '\0' ? "/proc/self/exe" : name;
  if (file[0] != '/') {
    return vonk_fail(
        err, VONK_IO,
        "own folder: vonk was loaded by the relative name '%s', which may mean "
        "another file by now: load it by an absolute path",
        file);
  }
  char resolved[PATH_MAX];
  if (realpath(file, resolved) == NULL) {
    return vonk_fail(err, VONK_IO, "own folder: '%s' cannot be resolved", file);
  }
  *strrchr(resolved, '/') = '\0';
  if (strlen(resolved) >= capacity) {
    return vonk_fail(err, VONK_IO, "own folder: '%s' is too long a path", resolved);
  }
  strcpy(out, resolved);
  return VONK_OK;
}

/* Fills in whether folder can be used. */
static void judge(vonk_folder *folder) {
  struct stat info;
  const char *untrusted = NULL;
  folder->usable = false;
  if (folder->path[0] != '/') {
    snprintf(folder->reason, sizeof(folder->reason), "refused: not an absolute path");
  } else if (stat(folder->path, &info) != 0) {
    snprintf(folder->reason, sizeof(folder->reason), "%s",
             errno == ENOENT ? "not there" : "cannot be read");
  } else if (!S_ISDIR(info.st_mode)) {
    snprintf(folder->reason, sizeof(folder->reason), "refused: not a folder");
  } else if ((untrusted = vonk_untrusted(folder->path)) != NULL) {
    snprintf(folder->reason, sizeof(folder->reason), "refused: %s", untrusted);
  } else {
    folder->usable = true;
    folder->device = (uint64_t)info.st_dev;
    folder->inode = (uint64_t)info.st_ino;
  }
}

/* Takes path over. A folder that is there already is not added again. */
static void add_folder(vonk_search *search, char *path, bool asked) {
  vonk_folder folder = {.path = path, .asked = asked};
  judge(&folder);
  for (size_t i = 0; i < search->n_folders; i++) {
    const vonk_folder *other = &search->folders[i];
    bool same = folder.usable && other->usable && folder.device == other->device &&
                folder.inode == other->inode;
    if (same || strcmp(folder.path, other->path) == 0) {
      vonk_delete(path);
      return;
    }
  }
  search->folders[search->n_folders++] = folder;
}

static vonk_status add_named(vonk_search *search, const char *list, vonk_error *err) {
  for (const char *start = list; *start != '\0';) {
    size_t size = strcspn(start, ":");
    if (size > 0) {
      char *path;
      VONK_TRY(vonk_new(size + 1, 1, &path, err));
      memcpy(path, start, size);
      add_folder(search, path, true);
    }
    start += size + (start[size] == ':' ? 1 : 0);
  }
  return VONK_OK;
}

static vonk_status add_own(vonk_search *search, vonk_error *err) {
  char own[PATH_MAX];
  vonk_error reason = VONK_ERROR_INIT;
  char *path;
  if (vonk_own_folder(own, sizeof(own), &reason) != VONK_OK) {
    VONK_TRY(vonk_new_string("vonk's own folder", &path, err));
    add_folder(search, path, true);
    vonk_folder *folder = &search->folders[search->n_folders - 1];
    snprintf(folder->reason, sizeof(folder->reason), "%.*s",
             (int)sizeof(folder->reason) - 1, reason.message);
    return VONK_OK;
  }
  for (size_t i = 0; i < N_OWN_PLACES; i++) {
    VONK_TRY(vonk_path_join(own, own_places[i], &path, err));
    char *plain; /* without "..", if it is there */
    if (vonk_path_resolve(path, &plain, NULL) == VONK_OK) {
      vonk_delete(path);
      path = plain;
    }
    add_folder(search, path, false);
  }
  return VONK_OK;
}

vonk_status vonk_search_start(vonk_search *out, vonk_error *err) {
  const char *list = secure_getenv("VONK_PLUGIN_PATH");
  size_t n = N_OWN_PLACES + 1;
  for (const char *c = list; c != NULL && *c != '\0'; c++) {
    n += *c == ':' ? 1 : 0;
  }
  vonk_search search = {0};
  VONK_TRY(vonk_new(n, sizeof(vonk_folder), &search.folders, err));
  vonk_status status = list == NULL ? VONK_OK : add_named(&search, list, err);
  if (status == VONK_OK) {
    status = add_own(&search, err);
  }
  if (status != VONK_OK) {
    vonk_search_end(&search);
    return status;
  }
  *out = search;
  return VONK_OK;
}

void vonk_search_end(vonk_search *search) {
  for (size_t i = 0; i < search->n_folders; i++) {
    vonk_delete(search->folders[i].path);
  }
  vonk_delete(search->folders);
  *search = (vonk_search){0};
}

void vonk_search_explain(const vonk_search *search, vonk_text *text) {
  for (size_t i = 0; i < search->n_folders; i++) {
    const vonk_folder *folder = &search->folders[i];
    vonk_text_add(text, "%s%s", i == 0 ? "" : ", ", folder->path);
    if (!folder->usable) {
      vonk_text_add(text, " (%s)", folder->reason);
    }
  }
}

static int select_plugin(const struct dirent *entry) {
  static const char start[] = "vonk_", end[] = ".so";
  size_t size = strlen(entry->d_name), least = sizeof(start) + sizeof(end) - 1;
  return size >= least && strncmp(entry->d_name, start, sizeof(start) - 1) == 0 &&
         strcmp(entry->d_name + size - (sizeof(end) - 1), end) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

vonk_status vonk_folder_list(const char *folder, char ***paths, size_t *n,
                             vonk_error *err) {
  struct dirent **entries = NULL;
  int count = scandir(folder, &entries, select_plugin, by_name);
  if (count < 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be listed", folder);
  }
  char **list = NULL;
  vonk_status status = vonk_new((size_t)count, sizeof(*list), &list, err);
  size_t n_listed = 0;
  for (int i = 0; i < count; i++) {
    if (status == VONK_OK) {
      status = vonk_path_join(folder, entries[i]->d_name, &list[n_listed], err);
      n_listed += status == VONK_OK ? 1 : 0;
    }
    free(entries[i]);
  }
  free(entries);
  if (status != VONK_OK) {
    vonk_folder_list_release(list, n_listed);
    return status;
  }
  *paths = list;
  *n = n_listed;
  return VONK_OK;
}

void vonk_folder_list_release(char **paths, size_t n) {
  for (size_t i = 0; i < n; i++) {
    vonk_delete(paths[i]);
  }
  vonk_delete(paths);
}
