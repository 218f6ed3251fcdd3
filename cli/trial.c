/* One check of a plug-in in a child process.
 *
 * How it works: the child is a process group of its own, with its standard output and
 * error in a file in memory. It writes its verdict to a pipe and exits; a child that ends
 * without one crashed, and one that takes too long is killed with all that it started.
 * The parent loads nothing of the plug-in. */
#define _GNU_SOURCE /* memfd_create */

#include "cli/trial.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

unsigned trial_seconds = 60;

/* --- in the child --- */

static noreturn void end_with(const trial *t, char verdict, const char *reason) {
  static atomic_flag has_ended = ATOMIC_FLAG_INIT;
  while (atomic_flag_test_and_set(&has_ended)) {
    (void)poll(NULL, 0, 1000); /* another thread of the check was first */
  }
  char message[1 + sizeof(((vonk_text *)0)->data)];
  int size = snprintf(message, sizeof(message), "%c%s", verdict, reason);
  size_t left = size < 0                         ? 0
                : (size_t)size < sizeof(message) ? (size_t)size
                                                 : sizeof(message) - 1;
  if (write(t->report, message, left) < 0) {
    _exit(3);
  }
  _exit(0);
}

void trial_fail(trial *t, const char *format, ...) {
  char reason[1200];
  va_list args;
  va_start(args, format);
  vsnprintf(reason, sizeof(reason), format, args);
  va_end(args);
  end_with(t, 'F', reason);
}

void trial_skip(trial *t, const char *reason) { end_with(t, 'S', reason); }

static void *count_alloc(void *ctx, size_t size, size_t align) {
  trial *t = ctx;
  const vonk_host *host = vonk_host_get();
  void *pointer = host->alloc(host->ctx, size, align);
  t->live_blocks += pointer != NULL;
  return pointer;
}

static void count_free(void *ctx, void *pointer) {
  trial *t = ctx;
  const vonk_host *host = vonk_host_get();
  t->live_blocks -= pointer != NULL;
  host->free(host->ctx, pointer);
}

static trial *forking_trial;
static void count_fork(void) { forking_trial->forks++; }

/* In the words of the library's loader, which knows other versions of the interface. */
static noreturn void fail_without_entry(trial *t) {
  vonk_error err = VONK_ERROR_INIT;
  const vonk_plugin *plugin;
  (void)vonk_plugin_find(t->path, &plugin, &err);
  size_t size = strlen(t->path);
  bool named = strncmp(err.message, t->path, size) == 0;
  trial_fail(t, "%s", named ? err.message + size + 2 : err.message);
}

void trial_load(trial *t) {
  if (t->host.ctx != NULL) {
    return;
  }
  t->host = *vonk_host_get();
  t->host.ctx = t; /* the functions that are not replaced do not look at it */
  t->host.alloc = count_alloc;
  t->host.free = count_free;
  forking_trial = t;
  EXPECT(t, pthread_atfork(count_fork, NULL, NULL) == 0, "pthread_atfork failed");
  void *handle = dlopen(t->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  EXPECT(t, handle != NULL, "dlopen: %s", dlerror());
  void *symbol = dlsym(handle, VONK_PLUGIN_ENTRY_V1);
  if (symbol == NULL) {
    fail_without_entry(t);
  }
  vonk_plugin_init_v1_fn init;
  memcpy(&init, &symbol, sizeof(init));
  struct {
    vonk_plugin_v1 table;
    uint8_t margin[512];
  } room = {.table = {.struct_size = (uint32_t)sizeof(vonk_plugin_v1)}};
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = init(&t->host, &room.table, &err);
  EXPECT(t, status == VONK_OK, "%s fails: %s", VONK_PLUGIN_ENTRY_V1, err.message);
  t->api = room.table;
}

vonk_status trial_open_path(trial *t, const char *path, const vonk_kv *options, size_t n,
                            vonk_plugin_model **out, vonk_error *err) {
  return t->api.open_model(path, options, n, out, err);
}

vonk_plugin_model *trial_open_again(trial *t) {
  vonk_plugin_model *model = NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status =
      trial_open_path(t, t->model, t->options, t->n_options, &model, &err);
  EXPECT(t, status == VONK_OK, "open_model: %s", err.message);
  EXPECT(t, model != NULL, "open_model: returned VONK_OK and no model");
  return model;
}

void trial_describe(trial *t) {
  vonk_error err = VONK_ERROR_INIT;
  t->info = (vonk_model_info){
      .struct_size = (uint32_t)sizeof(t->info), .n_params = -1, .weight_bytes = -1};
  EXPECT(t, t->api.model_info(t->opened, &t->info, &err) == VONK_OK, "model_info: %s",
         err.message);
  EXPECT(t, t->info.n_inputs <= TRIAL_MAX_IO && t->info.n_outputs <= TRIAL_MAX_IO,
         "a model of %u inputs and %u outputs is too large for this suite: use another",
         t->info.n_inputs, t->info.n_outputs);
  for (int32_t is_output = 0; is_output < 2; is_output++) {
    uint32_t n = is_output ? t->info.n_outputs : t->info.n_inputs;
    for (uint32_t i = 0; i < n; i++) {
      vonk_io *io = is_output ? &t->outputs[i] : &t->inputs[i];
      *io = (vonk_io){.struct_size = (uint32_t)sizeof(*io)};
      EXPECT(t, t->api.describe(t->opened, is_output, i, io, &err) == VONK_OK,
             "describe %s %u: %s", is_output ? "output" : "input", i, err.message);
    }
  }
}

void trial_open(trial *t) {
  if (t->model == NULL) {
    trial_skip(t, "needs a model");
  }
  trial_load(t);
  vonk_error err = VONK_ERROR_INIT;
  const char *version, *path;
  EXPECT(t, t->api.runtime(&version, &path, &err) == VONK_OK, "runtime: %s", err.message);
  t->opened = trial_open_again(t);
  trial_describe(t);
}

vonk_plugin_session *trial_session(trial *t) {
  vonk_plugin_session *session = NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_device cpu = {VONK_DEVICE_CPU, 0};
  EXPECT(t, t->api.create_session(t->opened, cpu, 1, &session, &err) == VONK_OK,
         "create_session: %s", err.message);
  EXPECT(t, session != NULL, "create_session: returned VONK_OK and no session");
  return session;
}

static noreturn void be_child(trial *t, void (*check)(trial *), int output) {
  setpgid(0, 0);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  check(t);
  end_with(t, 'P', "");
}

/* --- in the parent --- */

/* The last line that the child wrote to its standard output or error. */
static void add_last_line(vonk_text *reason, int output) {
  char text[1024];
  off_t end = lseek(output, 0, SEEK_END);
  off_t start = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
  ssize_t n = pread(output, text, sizeof(text) - 1, start);
  while (n > 0 && text[n - 1] == '\n') {
    n--;
  }
  if (n <= 0) {
    return;
  }
  text[n] = '\0';
  const char *line = strrchr(text, '\n');
  vonk_text_add(reason, ": %s", line == NULL ? text : line + 1);
}

static trial_verdict judge(const char *message, size_t size, int state, int output,
                           vonk_text *reason) {
  bool ended_well = WIFEXITED(state) && WEXITSTATUS(state) == 0;
  if (size > 0 && (ended_well || message[0] == 'F')) {
    vonk_text_add(reason, "%.*s", (int)size - 1, message + 1);
    return message[0] == 'P'   ? TRIAL_PASSED
           : message[0] == 'S' ? TRIAL_SKIPPED
                               : TRIAL_FAILED;
  }
  if (WIFSIGNALED(state)) {
    vonk_text_add(reason, "the process died of signal %d (%s)", WTERMSIG(state),
                  strsignal(WTERMSIG(state)));
  } else {
    vonk_text_add(reason, "the process exited with status %d", WEXITSTATUS(state));
  }
  add_last_line(reason, output);
  return TRIAL_FAILED;
}

/* Waits for the child to end while it collects its verdict: a full pipe would block it.
 */
static trial_verdict wait_for(pid_t child, int report, int output, vonk_text *reason) {
  uint64_t deadline = vonk_clock_ns() + trial_seconds * UINT64_C(1000000000);
  char message[1024];
  size_t size = 0;
  int state = 0;
  bool alive = true, open = true;
  while (alive || open) {
    struct pollfd wait = {.fd = report, .events = POLLIN};
    int ready = open ? poll(&wait, 1, alive ? 20 : 0) : poll(NULL, 0, 5);
    ssize_t n = ready > 0 ? read(report, message + size, sizeof(message) - size) : -1;
    size += n > 0 ? (size_t)n : 0;
    /* A process that the child left behind may hold the pipe open: do not wait for it. */
    open = n != 0 && (alive || ready > 0) && size < sizeof(message);
    alive = alive && waitpid(child, &state, WNOHANG) == 0;
    if (alive && vonk_clock_ns() > deadline) {
      kill(-child, SIGKILL);
      kill(child, SIGKILL);
      (void)waitpid(child, &state, 0);
      vonk_text_add(reason, "did not end within %u s", trial_seconds);
      return TRIAL_HUNG;
    }
  }
  kill(-child, SIGKILL); /* what it left behind */
  return judge(message, size, state, output, reason);
}

static int remove_entry(const char *path, const struct stat *info, int type,
                        struct FTW *place) {
  (void)info;
  (void)type;
  (void)place;
  return remove(path);
}

static void remove_folder(const char *folder) {
  enum { OPEN_FOLDERS = 8 };
  (void)nftw(folder, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

trial_verdict trial_start(const trial_subject *subject, void (*check)(trial *),
                          vonk_text *reason) {
  char folder[] = "/tmp/vonk-trial-XXXXXX";
  int ends[2];
  int output = memfd_create("vonk-trial", MFD_CLOEXEC);
  if (output < 0 || mkdtemp(folder) == NULL || pipe2(ends, O_CLOEXEC) != 0) {
    vonk_text_add(reason, "the check could not be started: %s", strerror(errno));
    return TRIAL_FAILED;
  }
  trial *t = calloc(1, sizeof(*t));
  fflush(NULL);
  pid_t child = t == NULL ? -1 : fork();
  if (child == 0) {
    close(ends[0]);
    t->path = subject->path;
    t->model = subject->model;
    t->options = subject->options;
    t->n_options = subject->n_options;
    t->folder = folder;
    t->report = ends[1];
    be_child(t, check, output);
  }
  close(ends[1]);
  trial_verdict verdict = TRIAL_FAILED;
  if (child < 0) {
    vonk_text_add(reason, "the check could not be started: %s", strerror(errno));
  } else {
    verdict = wait_for(child, ends[0], output, reason);
  }
  free(t);
  close(ends[0]);
  close(output);
  remove_folder(folder);
  return verdict;
}
