/* Conformance: what a plug-in must leave as it is. Each check looks before loading, after
 * it, and after a model was run. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <fcntl.h>
#include <fenv.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/trial.h"

/* Loads, and with a model also opens, runs and closes. between is called after each of
 * the two. */
static void use_plugin(trial *t, void (*between)(trial *, const char *when)) {
  trial_load(t);
  between(t, "loading");
  if (t->model == NULL) {
    return;
  }
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  trial_batch *batch = calloc(1, sizeof(*batch));
  EXPECT(t, batch != NULL, "no memory");
  trial_make_batch(t, trial_rows(t, 2), TRIAL_ALIGNED, batch);
  trial_run_well(t, session, batch);
  trial_release_outputs(t, batch);
  t->api.release_session(session);
  t->api.release_model(t->opened);
  between(t, "running a model");
}

/* --- floating-point mode --- */

static struct {
  int rounding;
  bool flushes, zeroes;
} float_before;

static bool is_zero(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits == 0;
}

static bool flushes_results(void) {
  volatile float smallest_normal = FLT_MIN, half = 0.5F;
  volatile float result = smallest_normal * half;
  return is_zero(result);
}

static bool zeroes_inputs(void) {
  uint32_t one = 1;
  float smallest;
  memcpy(&smallest, &one, sizeof(smallest));
  volatile float denormal = smallest, huge = 16777216.0F;
  volatile float result =
      denormal * huge; /* a normal number, unless the input is taken as 0 */
  return is_zero(result);
}

static void compare_float(trial *t, const char *when) {
  EXPECT(t, fegetround() == float_before.rounding, "rounding is another after %s", when);
  EXPECT(
      t,
      flushes_results() == float_before.flushes && zeroes_inputs() == float_before.zeroes,
      "denormal numbers are flushed to zero after %s: built with -ffast-math?", when);
}

void check_float_mode(trial *t) {
  float_before.rounding = fegetround();
  float_before.flushes = flushes_results();
  float_before.zeroes = zeroes_inputs();
  use_plugin(t, compare_float);
}

/* --- signal handlers, locale, folder --- */

enum { N_SIGNALS = 32 };
static struct sigaction signals_before[N_SIGNALS];
static sigset_t mask_before;

static void compare_signals(trial *t, const char *when) {
  for (int i = 1; i < N_SIGNALS; i++) {
    struct sigaction now;
    memset(&now, 0, sizeof(now));
    (void)sigaction(i, NULL, &now);
    bool same =
        (now.sa_flags & SA_SIGINFO) == (signals_before[i].sa_flags & SA_SIGINFO) &&
        now.sa_handler == signals_before[i].sa_handler;
    EXPECT(t, same, "signal %d (%s) has another handler after %s", i, strsignal(i), when);
  }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  for (int i = 1; i < N_SIGNALS; i++) {
    EXPECT(t, sigismember(&mask, i) == sigismember(&mask_before, i),
           "signal %d (%s) is blocked or not, other than before, after %s", i,
           strsignal(i), when);
  }
}

void check_signals(trial *t) {
  for (int i = 1; i < N_SIGNALS; i++) {
    memset(&signals_before[i], 0, sizeof(signals_before[i]));
    (void)sigaction(i, NULL, &signals_before[i]);
  }
  sigprocmask(SIG_BLOCK, NULL, &mask_before);
  use_plugin(t, compare_signals);
}

static char locale_before[256], folder_before[4096];
static mode_t umask_before;

static void compare_locale(trial *t, const char *when) {
  char folder[4096] = "";
  const char *now = setlocale(LC_ALL, NULL);
  EXPECT(t, strcmp(now, locale_before) == 0, "locale was '%s' and is '%s' after %s",
         locale_before, now, when);
  EXPECT(t, getcwd(folder, sizeof(folder)) != NULL && strcmp(folder, folder_before) == 0,
         "the current folder was '%s' and is '%s' after %s", folder_before, folder, when);
  mode_t mask = umask(umask_before);
  EXPECT(t, mask == umask_before, "umask is another after %s", when);
}

void check_locale(trial *t) {
  snprintf(locale_before, sizeof(locale_before), "%s", setlocale(LC_ALL, NULL));
  EXPECT(t, getcwd(folder_before, sizeof(folder_before)) != NULL, "getcwd failed");
  umask_before = umask(022);
  umask(umask_before);
  use_plugin(t, compare_locale);
}

/* --- output, processes, files --- */

static void expect_no_output(trial *t, const char *when) {
  char text[256];
  fflush(NULL);
  ssize_t n = pread(STDOUT_FILENO, text, sizeof(text) - 1, 0);
  n = n < 0 ? 0 : n;
  text[n] = '\0';
  EXPECT(t, n == 0, "wrote to stdout or stderr by the end of %s: %.*s", when,
         (int)strcspn(text, "\n"), text);
}

void check_quiet(trial *t) { use_plugin(t, expect_no_output); }

static void expect_no_process(trial *t, const char *when) {
  int64_t forks = t->forks;
  EXPECT(t, forks == 0, "forked %" PRId64 " times by the end of %s", forks, when);
  EXPECT(t, waitpid(-1, NULL, WNOHANG) < 0, "has a child process after %s", when);
}

void check_processes(trial *t) { use_plugin(t, expect_no_process); }

typedef struct file_seen {
  char name[256];
  struct timespec changed;
  off_t size;
} file_seen;
enum { MAX_FILES = 4096 };
static file_seen files_before[MAX_FILES], files_after[MAX_FILES];
static char model_folder[4096];

static size_t list_files(trial *t, file_seen *out) {
  size_t n = 0;
  DIR *dir = opendir(model_folder);
  EXPECT(t, dir != NULL, "%s: cannot be listed", model_folder);
  for (struct dirent *entry; n < MAX_FILES && (entry = readdir(dir)) != NULL;) {
    struct stat info;
    if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        S_ISDIR(info.st_mode)) {
      continue;
    }
    snprintf(out[n].name, sizeof(out[n].name), "%s", entry->d_name);
    out[n].changed = info.st_mtim;
    out[n++].size = info.st_size;
  }
  closedir(dir);
  return n;
}

static size_t n_files_before;

static void compare_files(trial *t, const char *when) {
  size_t n = list_files(t, files_after);
  for (size_t i = 0; i < n; i++) {
    const file_seen *now = &files_after[i], *before = NULL;
    for (size_t j = 0; before == NULL && j < n_files_before; j++) {
      before = strcmp(files_before[j].name, now->name) == 0 ? &files_before[j] : NULL;
    }
    EXPECT(t, before != NULL, "%s%s was made by the end of %s", model_folder, now->name,
           when);
    EXPECT(t,
           before->size == now->size && before->changed.tv_sec == now->changed.tv_sec &&
               before->changed.tv_nsec == now->changed.tv_nsec,
           "%s%s was changed by the end of %s", model_folder, now->name, when);
  }
  EXPECT(t, n == n_files_before, "%s: had %zu files and has %zu after %s", model_folder,
         n_files_before, n, when);
}

void check_folder(trial *t) {
  if (t->model == NULL) {
    trial_skip(t, "needs a model");
  }
  char *absolute;
  vonk_error err = VONK_ERROR_INIT;
  EXPECT(t, vonk_path_resolve(t->model, &absolute, &err) == VONK_OK, "%s", err.message);
  strrchr(absolute, '/')[1] = '\0';
  snprintf(model_folder, sizeof(model_folder), "%s", absolute);
  n_files_before = list_files(t, files_before);
  use_plugin(t, compare_files);
}

/* --- memory --- */

int64_t trial_resident_bytes(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0; /* the sanitizer's own memory grows */
#endif
  char text[200] = "";
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) {
    return 0;
  }
  const char *line = fgets(text, (int)sizeof(text), file);
  fclose(file);
  /* The second number counts resident pages. */
  const char *second = line == NULL ? NULL : strchr(line, ' ');
  return second == NULL ? 0 : (int64_t)strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void open_run_close(trial *t, trial_batch *batch) {
  vonk_error err = VONK_ERROR_INIT;
  t->opened = trial_open_again(t);
  vonk_plugin_session *session = trial_session(t);
  EXPECT(t, trial_run(t, session, batch, NULL, &err) == VONK_OK, "run: %s", err.message);
  trial_release_outputs(t, batch);
  t->api.release_session(session);
  t->api.release_model(t->opened);
}

void check_memory(trial *t) {
  enum { WARM = 20, CYCLES = 200, ROOM = 16 << 20 };
  trial_open(t);
  trial_batch *batch = calloc(1, sizeof(*batch));
  EXPECT(t, batch != NULL, "no memory");
  trial_make_batch(t, trial_rows(t, 2), TRIAL_ALIGNED, batch);
  t->api.release_model(t->opened);
  int64_t blocks = 0, resident = 0;
  for (int i = 0; i < CYCLES; i++) {
    if (i == WARM) {
      blocks = t->live_blocks;
      resident = trial_resident_bytes();
    }
    open_run_close(t, batch);
  }
  int64_t more_blocks = t->live_blocks - blocks;
  int64_t more_bytes = trial_resident_bytes() - resident;
  EXPECT(t, more_blocks == 0,
         "%" PRId64 " blocks of the host's memory were kept over %d models", more_blocks,
         CYCLES - WARM);
  EXPECT(t, more_bytes < ROOM, "the process grew by %" PRId64 " bytes over %d models",
         more_bytes, CYCLES - WARM);
}
