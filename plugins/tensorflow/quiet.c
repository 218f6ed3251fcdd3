/* Keeping TensorFlow's log off stderr.
 *
 * TensorFlow logs through Abseil, a copy of which its libraries carry. Two things are
 * needed, and neither touches the environment, a file descriptor, or what other threads
 * write:
 *
 * 1. While TensorFlow is being loaded a static initialiser logs a line about oneDNN, to
 *    C's stream `stderr`, before anybody could tell Abseil anything (the environment
 *    could, but by another way of computing). glibc lets a program put another stream in
 *    that variable. For the time of loading it is one of our own, which drops what the
 *    loading thread writes and hands on what all others write.
 *
 * 2. Afterwards Abseil's lowest level that is logged can be set by a function that the
 *    library exports. Its name holds Abseil's version ("lts_20250814"), so it is looked
 *    for among the library's names by its end. The level is process-wide: it is raised
 *    while a thread of ours is inside TensorFlow and put back when the last one leaves,
 *    so that a user's own TensorFlow in this process logs as before.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tf_plugin.h"

/* --- 1. loading ---------------------------------------------------------------------- */

static pthread_t loading_thread; /* while it is loading */
static atomic_bool is_loading;

static ssize_t hand_on(void *cookie, const char *bytes, size_t nbytes) {
  (void)cookie;
  bool is_ours =
      atomic_load(&is_loading) && pthread_equal(loading_thread, pthread_self());
  for (size_t sent = 0; !is_ours && sent < nbytes;) {
    ssize_t n = write(STDERR_FILENO, bytes + sent, nbytes - sent);
    if (n <= 0) {
      return (ssize_t)sent;
    }
    sent += (size_t)n;
  }
  return (ssize_t)nbytes;
}

/* Made once and never closed: another thread may be writing to it. */
static FILE *the_stream(void) {
  static FILE *stream; /* one thread at a time loads */
  if (stream == NULL) {
    stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = hand_on});
    if (stream != NULL) {
      setvbuf(stream, NULL, _IONBF, 0);
    }
  }
  return stream;
}

void *vonk_tf_quiet_load_begin(void) {
  FILE *stream = the_stream();
  if (stream == NULL) {
    return NULL;
  }
  loading_thread = pthread_self();
  atomic_store(&is_loading, true);
  FILE *before = stderr;
  stderr = stream;
  return before;
}

void vonk_tf_quiet_load_end(void *before) {
  if (before != NULL) {
    stderr = before;
    atomic_store(&is_loading, false);
  }
}

/* --- 2. running ---------------------------------------------------------------------- */

enum { LEVEL_NOTHING = 1000 };

static int (*get_level)(void);
static void (*set_level)(int);
static pthread_mutex_t level_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned n_inside; /* threads between begin and end */
static int level_before;

/* The name that ends in `end` among the names of a library, of which there are nbytes. */
static void *find_by_end(void *library, const char *names, size_t nbytes,
                         const char *end) {
  size_t n_end = strlen(end) + 1; /* with its NUL */
  const char *found = memmem(names, nbytes, end, n_end);
  const char *start = found;
  while (start != NULL && start > names && start[-1] != '\0') {
    --start;
  }
  /* one that is in a namespace inside Abseil's would be another function */
  return start == NULL || strncmp(start, "_ZN4absl", 8) != 0 || found - start > 40
             ? NULL
             : dlsym(library, start);
}

bool vonk_tf_quiet_find(void *library) {
  struct link_map *map = NULL;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == NULL) {
    return false;
  }
  const char *names = NULL;
  size_t nbytes = 0;
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_STRTAB) {
      names = (const char *)entry->d_un.d_ptr; /* glibc has added the load address */
    } else if (entry->d_tag == DT_STRSZ) {
      nbytes = entry->d_un.d_val;
    }
  }
  if (names == NULL || (uintptr_t)names < map->l_addr) {
    return false;
  }
  void *get = find_by_end(library, names, nbytes, "11MinLogLevelEv");
  void *set =
      find_by_end(library, names, nbytes, "14SetMinLogLevelENS0_18LogSeverityAtLeastE");
  if (get == NULL || set == NULL) {
    return false;
  }
  memcpy(&get_level, &get, sizeof get);
  memcpy(&set_level, &set, sizeof set);
  return true;
}

void vonk_tf_quiet_begin(void) {
  if (set_level == NULL) {
    return;
  }
  pthread_mutex_lock(&level_lock);
  if (n_inside++ == 0) {
    level_before = get_level();
    set_level(LEVEL_NOTHING);
  }
  pthread_mutex_unlock(&level_lock);
}

void vonk_tf_quiet_end(void) {
  if (set_level == NULL) {
    return;
  }
  pthread_mutex_lock(&level_lock);
  if (--n_inside == 0) {
    set_level(level_before);
  }
  pthread_mutex_unlock(&level_lock);
}
