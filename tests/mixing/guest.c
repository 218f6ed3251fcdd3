/* A process that has vonk's frameworks as its guests, and looks at what they do to it.
 *
 *   guest WHAT IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL EMBEDDING
 *
 * MODEL takes rows of floats. EMBEDDING takes five int64 tokens of 0 to 999 in a row and
 * fails on others. WHAT is one of the functions in the table below. What is wrong is
 * printed, and the process ends with 1; a guest must not print anything. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "host.h"
#include "state.h"

#define TOLERANCE 1e-5

int malloc_trim(size_t pad); /* glibc's */

typedef struct setting {
  host_floats in, expected;
  const char *model, *embedding;
} setting;

typedef struct guest {
  vonk_model *model;
  vonk_predictor *predictor;
} guest;

static guest open_guest(const char *spec, const char *format, int64_t width) {
  vonk_error err = {.struct_size = sizeof err};
  guest g = {.model = host_open(spec, &err)};
  if (g.model == NULL) {
    die("open: %s", err.message);
  }
  g.predictor = host_bind(g.model, format, width);
  return g;
}

static void close_guest(guest g) {
  vonk_predictor_release(g.predictor);
  vonk_model_close(g.model);
}

static void run_well(guest g, const setting *s) {
  double difference = host_predict(g.predictor, s->in, s->expected, NULL);
  if (!(difference <= TOLERANCE)) {
    die("differs by %g", difference);
  }
}

/* Five tokens in a row, the last one of the batch being last. */
static vonk_status run_tokens(guest g, int64_t last, vonk_error *err) {
  enum { ROWS = 7, WIDTH = 5 };
  int64_t tokens[ROWS * WIDTH];
  for (int i = 0; i < ROWS * WIDTH; i++) {
    tokens[i] = i * 7;
  }
  tokens[ROWS * WIDTH - 1] = last;
  host_batch b;
  host_batch_fill(&b, "l", tokens, ROWS, WIDTH);
  struct ArrowArray out = {0};
  vonk_status status = vonk_predict(g.predictor, &b.rows, &out, err);
  if (status == VONK_OK) {
    out.release(&out);
  }
  return status;
}

/* --- what is looked at --------------------------------------------------------------- */

static int count_plugin(void *arg, const vonk_plugin_summary *summary) {
  (void)summary;
  ++*(int *)arg;
  return 0;
}

/* Loading the plug-ins, opening, running, failing to run, failing to open, closing: the
 * process stays as it was. Prints what does not. */
static void look_at_state(const setting *s) {
  static state before, now;
  state_read(&before);
  int n_plugins = 0;
  vonk_plugins_visit(count_plugin, &n_plugins, NULL);
  if (state_threads() != 1) {
    die("plug-ins are loaded: %d threads", state_threads());
  }
  state_read(&now);
  state_compare(&before, &now, "load");
  guest g = open_guest(s->model, "f", s->in.width);
  guest e = open_guest(s->embedding, "l", 5);
  state_read(&now);
  state_compare(&before, &now, "open");
  run_well(g, s);
  vonk_error err = {.struct_size = sizeof err};
  if (run_tokens(e, 999, &err) != VONK_OK) {
    die("tokens: %s", err.message);
  }
  state_read(&now);
  state_compare(&before, &now, "run");
  if (run_tokens(e, 1000000, &err) == VONK_OK || err.message[0] == '\0') {
    die("a token outside of the table is no error");
  }
  if (run_tokens(e, 5, &err) != VONK_OK) {
    die("after a failed run: %s", err.message);
  }
  state_read(&now);
  state_compare(&before, &now, "failed run");
  close_guest(g);
  close_guest(e);
  state_read(&now);
  state_compare(&before, &now, "close");
}

/* Prints what a first prediction costs, and how many threads there are then. */
static void look_at_cost(const setting *s) {
  int64_t anonymous = state_anonymous(), mapped = state_memory("RssFile");
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  printf("threads %d, anonymous memory %.0f MB, of files %.0f MB\n", state_threads(),
         (double)(state_anonymous() - anonymous) / 1e6,
         (double)(state_memory("RssFile") - mapped) / 1e6);
  close_guest(g);
}

/* A child that is forked after a run is told so, and ends as it wants to. The parent goes
 * on. */
static void look_at_fork(const setting *s) {
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  for (int i = 0; i < 2; i++) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      host_batch b;
      host_batch_fill(&b, "f", s->in.values, s->in.rows, s->in.width);
      struct ArrowArray out = {0};
      vonk_error err = {.struct_size = sizeof err};
      vonk_status status = vonk_predict(g.predictor, &b.rows, &out, &err);
      if (status != VONK_FORKED || strstr(err.message, "spawn") == NULL) {
        die("in a child: status %d, %s", status, err.message);
      }
      if (i == 1) {
        exit(0); /* with exit handlers and destructors */
      }
      _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) {
      die("a forked child ended with wait status %x", (unsigned)status);
    }
    run_well(g, s);
  }
  close_guest(g);
}

/* --- ending ---------------------------------------------------------------------------- */

typedef struct busy {
  guest g;
  const setting *s;
  _Atomic int runs;
} busy;

/* Until a run fails, as it may while the process is ending. */
static void *run_for_ever(void *arg) {
  busy *b = arg;
  host_batch batch;
  host_batch_fill(&batch, "f", b->s->in.values, b->s->in.rows, b->s->in.width);
  struct ArrowArray out = {0};
  while (vonk_predict(b->g.predictor, &batch.rows, &out, NULL) == VONK_OK) {
    out.release(&out);
    b->runs++;
  }
  return NULL;
}

static void *exit_here(void *arg) {
  (void)arg;
  exit(0);
}

static void wait_for_runs(busy *b) {
  while (b->runs < 3) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

/* exit() while models are open, and nothing runs. */
static void exit_with_open_models(const setting *s) {
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  exit(0);
}

/* exit() in another thread than the one that opened and ran. */
static void exit_in_another_thread(const setting *s) {
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  pthread_t thread;
  pthread_create(&thread, NULL, exit_here, NULL);
  pthread_join(thread, NULL);
}

/* The process returns from main while other threads run models. */
static void exit_while_running(const setting *s) {
  static busy b;
  b.g = open_guest(s->model, "f", s->in.width);
  b.s = s;
  pthread_t threads[2];
  pthread_create(&threads[0], NULL, run_for_ever, &b);
  pthread_create(&threads[1], NULL, run_for_ever, &b);
  wait_for_runs(&b);
}

/* The thread that opened the model has ended long before another one closes it. */
static void *open_and_end(void *arg) {
  busy *b = arg;
  b->g = open_guest(b->s->model, "f", b->s->in.width);
  run_well(b->g, b->s);
  return NULL;
}

static void outlive_the_opening_thread(const setting *s) {
  busy b = {.s = s};
  pthread_t thread;
  pthread_create(&thread, NULL, open_and_end, &b);
  pthread_join(thread, NULL);
  run_well(b.g, s);
  close_guest(b.g);
}

/* --- without a current folder ----------------------------------------------------------- */

static void delete_folder(void) {
  char folder[] = "/tmp/vonk-guest-XXXXXX";
  if (mkdtemp(folder) == NULL || chdir(folder) != 0 || rmdir(folder) != 0) {
    die("%s: %s", folder, strerror(errno));
  }
}

/* The folder that the process was started in has been deleted, as happens to daemons:
 * the framework works, or the error says why not. */
static void start_without_folder(const setting *s) {
  delete_folder();
  vonk_error err = {.struct_size = sizeof err};
  vonk_model *model = host_open(s->model, &err);
  if (model == NULL) {
    printf("%s\n", err.message);
    if (chdir("/") != 0) {
      die("no folder");
    }
  } else {
    printf("works\n");
  }
  vonk_model_close(model);
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  close_guest(g);
}

static void lose_folder(const setting *s) {
  guest g = open_guest(s->model, "f", s->in.width);
  delete_folder();
  run_well(g, s);
  close_guest(g);
}

/* --- a full house ---------------------------------------------------------------------- */

static void *wait_for_end(void *arg) {
  pthread_barrier_wait(arg);
  pthread_barrier_wait(arg);
  return NULL;
}

/* The framework is loaded when there are many threads, each with its own thread-local
 * storage to be made larger. */
static void load_late(const setting *s) {
  enum { THREADS = 300 };
  pthread_t threads[THREADS];
  pthread_attr_t small;
  pthread_barrier_t barrier;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 256 * 1024);
  pthread_barrier_init(&barrier, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++) {
    if (pthread_create(&threads[i], &small, wait_for_end, &barrier) != 0) {
      die("no thread");
    }
  }
  pthread_barrier_wait(&barrier);
  guest g = open_guest(s->model, "f", s->in.width);
  run_well(g, s);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  close_guest(g);
}

/* --- memory ---------------------------------------------------------------------------- */

static void check_growth(const char *what, int64_t before, int files, int rounds) {
  malloc_trim(0);
  double growth = (double)(state_anonymous() - before) / rounds;
  if (state_files() != files) {
    die("%s: %d open files, before %d", what, state_files(), files);
  }
  printf("%s: %.1f KB a round\n", what, growth / 1e3);
}

/* A model is opened, run and closed many times. */
static void open_often(const setting *s) {
  enum { WARM = 20, ROUNDS = 100 };
  int64_t before = 0;
  int files = 0;
  for (int i = 0; i < WARM + ROUNDS; i++) {
    if (i == WARM) {
      malloc_trim(0);
      before = state_anonymous();
      files = state_files();
    }
    guest g = open_guest(s->model, "f", s->in.width);
    run_well(g, s);
    close_guest(g);
  }
  check_growth("open, run and close", before, files, ROUNDS);
}

/* Opening fails many times, and so do runs. */
static void fail_often(const setting *s) {
  enum { WARM = 20, ROUNDS = 100 };
  vonk_error err = {.struct_size = sizeof err};
  guest e = open_guest(s->embedding, "l", 5);
  int64_t before = 0;
  int files = 0;
  for (int i = 0; i < WARM + ROUNDS; i++) {
    if (i == WARM) {
      malloc_trim(0);
      before = state_anonymous();
      files = state_files();
    }
    if (host_open(s->model, &err) != NULL || err.message[0] == '\0') {
      die("'%s' could be opened", s->model);
    }
    if (run_tokens(e, 1000000, &err) == VONK_OK) {
      die("a token outside of the table is no error");
    }
  }
  check_growth("fail to open and to run", before, files, ROUNDS);
  close_guest(e);
}

/* --- */

static const struct {
  const char *name;
  void (*look)(const setting *);
} looks[] = {
    {"state", look_at_state},
    {"cost", look_at_cost},
    {"fork", look_at_fork},
    {"exit-open", exit_with_open_models},
    {"exit-thread", exit_in_another_thread},
    {"exit-running", exit_while_running},
    {"outlive", outlive_the_opening_thread},
    {"late", load_late},
    {"no-folder", start_without_folder},
    {"lose-folder", lose_folder},
    {"open-often", open_often},
    {"fail-often", fail_often},
};

int main(int argc, char **argv) {
  if (argc != 8) {
    die("usage: guest WHAT IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL EMBEDDING");
  }
  setting s = {
      .in = host_read(argv[2], strtol(argv[3], NULL, 10)),
      .expected = host_read(argv[4], strtol(argv[5], NULL, 10)),
      .model = argv[6],
      .embedding = argv[7],
  };
  for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
    if (strcmp(argv[1], looks[i].name) == 0) {
      looks[i].look(&s);
      return 0;
    }
  }
  die("%s: no such look", argv[1]);
}
