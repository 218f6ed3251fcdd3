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
 * and if there is none beside it, none may.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/kit.h"

enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

/* The file behind a handle; lives for ever. */
static const char *path_of(void *library, const kit_framework *framework) {
  struct link_map *map = NULL;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == NULL ||
      map->l_name[0] == '\0') {
    return framework->soname;
  }
  char *path = realpath(map->l_name, NULL);
  return path != NULL ? path : map->l_name;
}

static vonk_status check_symbol(const kit_framework *framework, void *library,
                                const char *source, const char *path, vonk_error *err) {
  if (dlsym(library, framework->symbol) != NULL) {
    return VONK_OK;
  }
  return vonk_kit_fail(err, VONK_UNSUPPORTED, "%s: %s '%s': is no %s, it has no %s: %s",
                       framework->name, source, path, framework->name, framework->symbol,
                       framework->hint);
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
  if (realpath(search.found, real) != NULL) {
    *strrchr(real, '/') = '\0';
    int n = snprintf(path, PATH_MAX, "%s/%s", real, framework->soname);
    if (n > 0 && n < PATH_MAX && access(path, R_OK) == 0) {
      return VONK_OK;
    }
  }
  return vonk_kit_fail(
      err, VONK_UNSUPPORTED,
      "%s: this process has loaded '%s', and there is no %s beside it: a "
      "second copy of %s would end the process: use vonk in a process "
      "of its own, or load the whole of that copy first",
      framework->name, search.found, framework->soname, framework->name);
}

/* --- loading ------------------------------------------------------------------------- */

static vonk_status open_file(const kit_framework *framework, const char *path,
                             const char *source, void **out, vonk_error *err) {
  if (path[0] != '/') {
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "%s: %s '%s': give an absolute path",
                         framework->name, source, path);
  }
  void *library = dlopen(path, HOW);
  if (library == NULL) {
    const char *why = dlerror();
    return vonk_kit_fail(err, VONK_UNSUPPORTED, "%s: %s '%s': %s: %s", framework->name,
                         source, path, why == NULL ? "cannot be loaded" : why,
                         framework->hint);
  }
  VONK_TRY(check_symbol(framework, library, source, path, err));
  *out = library;
  return VONK_OK;
}

static vonk_status find_and_open(const kit_framework *framework, void **out,
                                 vonk_error *err) {
  *out = dlopen(framework->soname, HOW | RTLD_NOLOAD);
  if (*out != NULL) {
    return check_symbol(framework, *out, "in this process,", framework->soname, err);
  }
  char sibling[PATH_MAX];
  VONK_TRY(find_sibling(framework, sibling, err));
  if (sibling[0] != '\0') {
    return open_file(framework, sibling, "beside what this process has loaded,", out,
                     err);
  }
  char source[128];
  const char *path = getenv(framework->variable);
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
  *path = path_of(library, framework);
  *out = library;
  return VONK_OK;
}
