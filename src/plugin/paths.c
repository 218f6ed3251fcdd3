/* Where a framework's library is: what this process was told, then what set-up recorded
 * in paths.conf.
 *
 * How it works: a host that knows better than set-up, such as the Python package, which
 * knows the frameworks of its interpreter, says so through vonk_set_framework. A process
 * may hold two copies of vonk (the Python package's libvonk.so and the DuckDB extension)
 * and both must come to the same answer, for two copies of a framework would end the
 * process: so what libvonk.so was told holds for every copy. Only then the first of
 * VONK_PATHS_CONF (an absolute path; alone if it is set), <own folder>/vonk/paths.conf
 * and <own folder>/../lib/vonk/paths.conf that exists is read once, at the first
 * question, and kept until the process ends. */
#define _GNU_SOURCE /* secure_getenv */

#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/internal.h"

#define AS_TEXT(number) AS_TEXT_OF(number)
#define AS_TEXT_OF(number) #number
enum { MAX_BYTES = 1 << 16, MAX_ENTRIES = 256, MAX_PATH = 4096 };

static struct {
  char text[MAX_BYTES];
  vonk_path_entry entries[MAX_ENTRIES];
  size_t n_entries;
} paths;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static char *trim(char *start, char *end) {
  while (start < end && isspace((unsigned char)*start)) {
    start++;
  }
  while (end > start && isspace((unsigned char)end[-1])) {
    end--;
  }
  *end = '\0';
  return start;
}

size_t vonk_paths_parse(char *text, vonk_path_entry *entries, size_t capacity) {
  size_t n = 0;
  char *line = text;
  while (*line != '\0' && n < capacity) {
    char *end = line + strcspn(line, "\n");
    char *next = *end == '\0' ? end : end + 1;
    char *equals = memchr(line, '=', (size_t)(end - line));
    if (equals != NULL && line[strspn(line, " \t")] != '#') {
      char *value = trim(equals + 1, end);
      char *key = trim(line, equals);
      if (*key != '\0' && *value != '\0') {
        entries[n++] = (vonk_path_entry){key, value};
      }
    }
    line = next;
  }
  return n;
}

static bool read_conf(const char *path) {
  vonk_error err = VONK_ERROR_INIT;
  size_t n;
  const char *reason = vonk_untrusted(path);
  if (reason != NULL) {
    vonk_log(VONK_LOG_WARNING, "paths", "%s: not read: %s", path, reason);
    return false;
  }
  if (vonk_file_head(path, (uint8_t *)paths.text, MAX_BYTES - 1, &n, &err) != VONK_OK) {
    vonk_log(VONK_LOG_DEBUG, "paths", "%s", err.message);
    return false;
  }
  paths.text[n] = '\0';
  paths.n_entries = vonk_paths_parse(paths.text, paths.entries, MAX_ENTRIES);
  vonk_log(VONK_LOG_DEBUG, "paths", "%s: %zu entries", path, paths.n_entries);
  return true;
}

static void read_once(void) {
  const char *named = secure_getenv("VONK_PATHS_CONF");
  if (named != NULL && named[0] != '\0') {
    if (named[0] != '/') {
      vonk_log(VONK_LOG_WARNING, "paths",
               "VONK_PATHS_CONF: '%s' is not an absolute path: "
               "not read",
               named);
    } else if (!read_conf(named)) {
      vonk_log(VONK_LOG_WARNING, "paths", "VONK_PATHS_CONF: %s cannot be read", named);
    }
    return;
  }
  char folder[MAX_PATH];
  if (vonk_own_folder(folder, sizeof(folder), NULL) != VONK_OK) {
    return;
  }
  static const char *const places[] = {"vonk/paths.conf", "../lib/vonk/paths.conf"};
  for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
    char *path;
    if (vonk_path_join(folder, places[i], &path, NULL) != VONK_OK) {
      return;
    }
    bool found = read_conf(path);
    vonk_delete(path);
    if (found) {
      return;
    }
  }
}

/* --- what this process was told ------------------------------------------------------ */

typedef struct told {
  struct told *next;
  const char *path; /* NULL: nothing any more */
  char *name;
} told;

static pthread_mutex_t told_mutex = PTHREAD_MUTEX_INITIALIZER;
static told *first_told; /* the latest first; never freed, since answers live for ever */

const char *vonk_get_framework(const char *name) {
  const char *path = NULL;
  if (name == NULL) {
    return NULL;
  }
  pthread_mutex_lock(&told_mutex);
  for (const told *t = first_told; t != NULL; t = t->next) {
    if (strcmp(t->name, name) == 0) {
      path = t->path;
      break;
    }
  }
  pthread_mutex_unlock(&told_mutex);
  return path;
}

vonk_status vonk_set_framework(const char *name, const char *path, vonk_error *err) {
  if (name == NULL || name[0] == '\0') {
    return vonk_fail(err, VONK_INVALID,
                     "framework: has no name: give 'onnxruntime', 'tensorflow' or "
                     "'torch'");
  }
  if (path != NULL && path[0] != '/') {
    return vonk_fail(err, VONK_INVALID,
                     "framework %s: '%s' is not an absolute path: give one", name, path);
  }
  const char *known = vonk_get_framework(name);
  if (known == path || (known != NULL && path != NULL && strcmp(known, path) == 0)) {
    return VONK_OK; /* what is said again and again takes no more memory */
  }
  told *fresh;
  char *copy = NULL;
  VONK_TRY(vonk_new(1, sizeof *fresh, &fresh, err));
  vonk_status status = vonk_new_string(name, &fresh->name, err);
  if (status == VONK_OK && path != NULL) {
    status = vonk_new_string(path, &copy, err);
  }
  if (status != VONK_OK) {
    vonk_delete(fresh->name);
    vonk_delete(fresh);
    return status;
  }
  fresh->path = copy;
  pthread_mutex_lock(&told_mutex);
  fresh->next = first_told;
  first_told = fresh;
  pthread_mutex_unlock(&told_mutex);
  return VONK_OK;
}

/* What the libvonk.so of this process was told, which may be ourselves; NULL: nothing, or
 * there is none. */
static const char *ask_library(const char *key) {
  static const char soname[] = "libvonk.so." AS_TEXT(VONK_VERSION_MAJOR);
  const char *(*ask)(const char *) = NULL;
  void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  void *symbol = library == NULL ? NULL : dlsym(library, "vonk_get_framework");
  memcpy(&ask, &symbol, sizeof ask);
  return ask == NULL ? NULL : ask(key); /* the handle is kept: it is never unloaded */
}

const char *vonk_paths_get(const char *key) {
  const char *told_path = vonk_get_framework(key);
  told_path = told_path == NULL ? ask_library(key) : told_path;
  if (told_path != NULL) {
    vonk_log(VONK_LOG_DEBUG, "paths", "%s: %s, as this process was told", key, told_path);
    return told_path;
  }
  pthread_once(&once, read_once);
  for (size_t i = 0; i < paths.n_entries; i++) {
    if (strcmp(paths.entries[i].key, key) == 0) {
      return paths.entries[i].value;
    }
  }
  return NULL;
}
