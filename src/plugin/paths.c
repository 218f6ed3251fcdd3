/* paths.conf: what set-up recorded, such as where a framework's library is.
 *
 * How it works: the first of VONK_PATHS_CONF (an absolute path; alone if it is set), <own
 * folder>/vonk/paths.conf and <own folder>/../lib/vonk/paths.conf that exists is read
 * once, at the first question, and kept until the process ends. */
#define _GNU_SOURCE /* secure_getenv */

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/internal.h"

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

const char *vonk_paths_get(const char *key) {
  pthread_once(&once, read_once);
  for (size_t i = 0; i < paths.n_entries; i++) {
    if (strcmp(paths.entries[i].key, key) == 0) {
      return paths.entries[i].value;
    }
  }
  return NULL;
}
