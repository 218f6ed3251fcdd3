/* Finding and loading a framework's library, which is never linked.
 *
 * A copy that is already in the process, whoever loaded it, is used; else the file that
 * the environment names; else the one that set-up recorded. Nothing is searched in the
 * current folder or in the loader's path, for a search is code execution.
 *
 * Some frameworks end the process when a second copy of them is loaded, in a static
 * initialiser, where nothing can be caught. The loader recognises a library that is
 * loaded already by its SONAME, wherever it came from. But the process may have only a
 * part of the framework, or a build of it under other names. So before any file of such a
 * framework is loaded, the list of all that is loaded is searched for files of its
 * family: if there is one, then the library beside it is the only one that may be loaded,
 * and if there is none beside it, none may. "Beside it" is the folder by whose name it was
 * loaded, or the one in which it really lies: package managers fill a folder with links.
 * (The loader knows a file by its inode, so a file may be opened by any of its names.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fenv.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/kit.h"

enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

/* The file behind a handle, by the name it was loaded by; lives as long as the library,
 * for ever. */
static const char *name_of(void *library, const kit_framework *framework) {
  struct link_map *map = NULL;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == NULL ||
      map->l_name[0] == '\0') {
    return framework->soname;
  }
  return map->l_name;
}

static vonk_status check_symbol(const kit_framework *framework, void *library,
                                const char *source, const char *path, vonk_error *err) {
  if (dlsym(library, framework->symbol) != NULL) {
    return VONK_OK;
  }
  return vonk_kit_fail(
      err, VONK_UNSUPPORTED, "%s: %s '%s': has no %s: it is too old, or no %s at all: %s",
      framework->name, source, path, framework->symbol, framework->name, framework->hint);
}

/* --- what of the family is loaded ---------------------------------------------------- */

typedef struct family_search {
  const kit_framework *framework;
  char found[PATH_MAX]; /* the first file of the family; empty = none */
} family_search;

static int visit_loaded(struct dl_phdr_info *info, size_t size, void *arg) {
  (void)size;
  family_search *search = arg;
  const char *slash = strrchr(info->dlpi_name, '/');
  const char *file = slash == NULL ? info->dlpi_name : slash + 1;
  for (const char *const *start = search->framework->family; *start != NULL; ++start) {
    if (strncmp(file, *start, strlen(*start)) == 0 &&
        strlen(info->dlpi_name) < sizeof search->found) {
      strcpy(search->found, info->dlpi_name);
      return 1;
    }
  }
  return 0;
}

/* Puts the framework's library into path if it is in the folder of file. */
static bool is_beside(const kit_framework *framework, const char *file,
                      char path[PATH_MAX]) {
  const char *slash = strrchr(file, '/');
  if (file[0] != '/' || slash == NULL) {
    return false;
  }
  int n =
      snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - file), file, framework->soname);
  return n > 0 && n < PATH_MAX && access(path, R_OK) == 0;
}

/* If a part of the framework is loaded, the file that alone may be loaded now is put
 * into path, else path is left empty. */
static vonk_status find_sibling(const kit_framework *framework, char path[PATH_MAX],
                                vonk_error *err) {
  family_search search = {.framework = framework};
  path[0] = '\0';
  if (framework->family == NULL || dl_iterate_phdr(visit_loaded, &search) == 0) {
    return VONK_OK;
  }
  char real[PATH_MAX];
  if (is_beside(framework, search.found, path) ||
      (realpath(search.found, real) != NULL && is_beside(framework, real, path))) {
    return VONK_OK;
  }
  return vonk_kit_fail(
      err, VONK_UNSUPPORTED,
      "%s: this process has loaded '%s', and there is no %s beside it: a "
      "second copy of %s would end the process: use vonk in a process "
      "of its own, or load the whole of that copy first",
      framework->name, search.found, framework->soname, framework->name);
}

/* --- loading ------------------------------------------------------------------------- */

/* What the loader says, which begins with the path that the message has already. */
static const char *loader_reason(const char *path) {
  const char *why = dlerror();
  if (why == NULL) {
    return "cannot be loaded";
  }
  size_t size = strlen(path);
  bool has_path = strncmp(why, path, size) == 0 && strncmp(why + size, ": ", 2) == 0;
  return has_path ? why + size + 2 : why;
}

static vonk_status open_file(const kit_framework *framework, const char *path,
                             const char *source, void **out, vonk_error *err) {
  if (path[0] != '/') {
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "%s: %s '%s': give an absolute path",
                         framework->name, source, path);
  }
  void *library = dlopen(path, HOW);
  if (library == NULL) {
    const char *why = loader_reason(path);
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED, "%s: %s '%s': %s: %s", framework->name, source, path, why,
        strstr(why, "static TLS") != NULL
            ? "set GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4096, or load it earlier"
            : framework->hint);
  }
  VONK_TRY(check_symbol(framework, library, source, path, err));
  *out = library;
  return VONK_OK;
}

static vonk_status find_and_open(const kit_framework *framework, void **out,
                                 vonk_error *err) {
  *out = dlopen(framework->soname, HOW | RTLD_NOLOAD);
  if (*out != NULL) {
    return check_symbol(framework, *out, "this process has loaded",
                        name_of(*out, framework), err);
  }
  char sibling[PATH_MAX];
  VONK_TRY(find_sibling(framework, sibling, err));
  if (sibling[0] != '\0') {
    return open_file(framework, sibling, "beside what this process has loaded,", out,
                     err);
  }
  char source[128];
  const char *path = secure_getenv(framework->variable);
  if (path != NULL && path[0] != '\0') {
    snprintf(source, sizeof source, "%s says", framework->variable);
    return open_file(framework, path, source, out, err);
  }
  const vonk_host *host = vonk_kit_host();
  path = host->config(host->ctx, framework->config_key);
  if (path != NULL && path[0] != '\0') {
    snprintf(source, sizeof source, "set-up's record '%s' says", framework->config_key);
    return open_file(framework, path, source, out, err);
  }
  return vonk_kit_fail(err, VONK_UNSUPPORTED,
                       "%s: not found: no %s is loaded in this process, %s is not set, "
                       "and set-up recorded no '%s': %s",
                       framework->name, framework->soname, framework->variable,
                       framework->config_key, framework->hint);
}

vonk_status vonk_kit_framework_load(const kit_framework *framework, void **out,
                                    const char **path, vonk_error *err) {
  void *library;
  VONK_TRY(find_and_open(framework, &library, err));
  const char *name = name_of(library, framework);
  const char *real = realpath(name, NULL); /* kept: *path lives for ever */
  *path = real != NULL ? real : name;
  *out = library;
  return VONK_OK;
}

/* --- starting once ------------------------------------------------------------------- */

vonk_status vonk_kit_started(kit_start *once, vonk_error *err) {
  if (atomic_load_explicit(&once->is_done, memory_order_acquire)) {
    return VONK_OK;
  }
  vonk_status status = VONK_OK;
  pthread_mutex_lock(&once->lock);
  if (!atomic_load_explicit(&once->is_done, memory_order_relaxed)) {
    fenv_t mode;
    fegetenv(&mode);
    status = once->start(err);
    fesetenv(&mode);
    atomic_store_explicit(&once->is_done, status == VONK_OK, memory_order_release);
  }
  pthread_mutex_unlock(&once->lock);
  return status;
}
