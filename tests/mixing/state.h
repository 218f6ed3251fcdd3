/* What a process has that a guest must leave alone, as lines of text to compare. */
#ifndef VONK_TESTS_MIXING_STATE_H
#define VONK_TESTS_MIXING_STATE_H

#include <dirent.h>
#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

extern char **environ;

enum { STATE_BYTES = 1 << 16 };

typedef struct state {
  char text[STATE_BYTES];
  size_t size;
} state;

static inline void state_add(state *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void state_add(state *s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(s->text + s->size, sizeof s->text - s->size, format, args);
  va_end(args);
  if (n < 0 || (size_t)n >= sizeof s->text - s->size) {
    die("the state does not fit");
  }
  s->size += (size_t)n;
}

static inline void state_add_signals(state *s) {
  for (int number = 1; number < NSIG; number++) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0) {
      void *handler;
      memcpy(&handler, &action.sa_handler, sizeof handler);
      state_add(s, "signal %d: %p %x\n", number, handler, (unsigned)action.sa_flags);
    }
  }
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, NULL, &blocked);
  for (int number = 1; number < NSIG; number++) {
    if (sigismember(&blocked, number) == 1) {
      state_add(s, "blocked: %d\n", number);
    }
  }
  stack_t stack;
  sigaltstack(NULL, &stack);
  state_add(s, "signal stack: %p\n", stack.ss_sp);
}

/* Of the calling thread: rounding, traps, and whether denormal numbers become 0. */
static inline void state_add_floats(state *s, const char *which) {
  volatile float smallest = FLT_MIN, half = 0.5F;
  volatile float denormal = smallest * half;
  state_add(s, "%s: rounding %d, traps %x, denormals %s\n", which, fegetround(),
            (unsigned)fegetexcept(), denormal > 0 ? "kept" : "flushed");
}

static inline void state_add_cores(state *s, const char *which) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(0, sizeof cores, &cores);
  state_add(s, "%s: %d cores, priority %d\n", which, CPU_COUNT(&cores),
            getpriority(PRIO_PROCESS, 0));
}

static inline void *state_of_new_thread(void *arg) {
  state *s = arg;
  state_add_floats(s, "new thread");
  state_add_cores(s, "new thread");
  return NULL;
}

static inline void state_add_limits(state *s) {
  for (int i = 0; i < RLIMIT_NLIMITS; i++) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)i, &limit) == 0) {
      state_add(s, "limit %d: %llu %llu\n", i, (unsigned long long)limit.rlim_cur,
                (unsigned long long)limit.rlim_max);
    }
  }
  for (int i = 0; i < 3; i++) {
    struct itimerval timer;
    getitimer((__itimer_which_t)i, &timer);
    state_add(s, "timer %d: %ld\n", i, (long)timer.it_interval.tv_sec);
  }
}

/* Everything but threads and open files. */
static inline void state_read(state *s) {
  s->size = 0;
  char folder[4096], name[17] = "";
  state_add_signals(s);
  state_add_floats(s, "this thread");
  state_add_cores(s, "this thread");
  pthread_t thread;
  if (pthread_create(&thread, NULL, state_of_new_thread, s) != 0) {
    die("no thread");
  }
  pthread_join(thread, NULL);
  state_add_limits(s);
  state_add(s, "locale: %s\n", setlocale(LC_ALL, NULL));
  state_add(s, "thread locale: %d\n", uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
  state_add(s, "folder: %s\n", getcwd(folder, sizeof folder));
  mode_t mask = umask(0);
  umask(mask);
  state_add(s, "umask: %o\n", (unsigned)mask);
  prctl(PR_GET_NAME, name);
  state_add(s, "name: %s, dumpable: %d\n", name, prctl(PR_GET_DUMPABLE));
  state_add(s, "children: %s\n", waitpid(-1, NULL, WNOHANG) == -1 ? "none" : "some");
  for (char **variable = environ; *variable != NULL; variable++) {
    state_add(s, "environment: %s\n", *variable);
  }
}

/* Prints the lines that are in one of them only. */
static inline void state_compare(const state *before, const state *after,
                                 const char *when) {
  const state *pair[] = {before, after};
  for (int i = 0; i < 2; i++) {
    for (const char *line = pair[i]->text; *line != '\0'; line = strchr(line, '\n') + 1) {
      size_t size = (size_t)(strchr(line, '\n') - line) + 1;
      char text[4096];
      snprintf(text, sizeof text, "%.*s", (int)size, line);
      const char *other = strstr(pair[1 - i]->text, text);
      if (other == NULL || (other != pair[1 - i]->text && other[-1] != '\n')) {
        printf("%s: %c %s", when, i == 0 ? '-' : '+', text);
      }
    }
  }
}

/* Entries of a folder, the dots not counted. */
static inline int state_count(const char *folder) {
  DIR *entries = opendir(folder);
  int n = -2;
  while (entries != NULL && readdir(entries) != NULL) {
    n++;
  }
  closedir(entries);
  return n;
}
static inline int state_threads(void) { return state_count("/proc/self/task"); }
static inline int state_files(void) { return state_count("/proc/self/fd"); }

/* Bytes in memory: "RssAnon" of no file, "RssFile" of files. */
static inline int64_t state_memory(const char *kind) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  size_t size = strlen(kind);
  long long kib = -1;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, kind, size) == 0 && line[size] == ':') {
      kib = strtoll(line + size + 1, NULL, 10);
    }
  }
  fclose(file);
  return kib * 1024;
}
static inline int64_t state_anonymous(void) { return state_memory("RssAnon"); }

#endif /* VONK_TESTS_MIXING_STATE_H */
