/* Models of several frameworks are opened, run, cancelled, failed to open and closed by
 * four threads at random, for a while.
 *
 *   soak SECONDS IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL...
 *
 * Prints how often each was done, memory and files in the end; or what is wrong, and then
 * ends with 1. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "host.h"
#include "state.h"

#define TOLERANCE 1e-5
enum { THREADS = 4, MOST_MODELS = 8 };

static host_floats in, expected;
static const char *specs[MOST_MODELS];
static int n_specs;
static time_t end;
static _Atomic int n_opened, n_predicted, n_cancelled, n_refused;

static void predict(const vonk_predictor *predictor, const char *spec) {
  double difference = host_predict(predictor, in, expected, NULL);
  if (!(difference <= TOLERANCE)) {
    die("%s: differs by %g", spec, difference);
  }
  n_predicted++;
}

typedef struct cancelled {
  vonk_predictor *predictor;
  long wait_ns;
} cancelled;

static void *cancel_later(void *arg) {
  cancelled *c = arg;
  nanosleep(&(struct timespec){.tv_nsec = c->wait_ns}, NULL);
  vonk_predictor_cancel(c->predictor);
  return NULL;
}

/* Predicts until another thread has ended it. */
static void predict_until_cancelled(vonk_model *model, long wait_ns) {
  cancelled c = {host_bind(model, "f", in.width), wait_ns};
  pthread_t thread;
  pthread_create(&thread, NULL, cancel_later, &c);
  host_batch b;
  host_batch_fill(&b, "f", in.values, in.rows, in.width);
  vonk_error err = {.struct_size = sizeof err};
  struct ArrowArray out = {0};
  vonk_status status;
  while ((status = vonk_predict(c.predictor, &b.rows, &out, &err)) == VONK_OK) {
    out.release(&out);
  }
  if (status != VONK_CANCELLED) {
    die("cancelled: status %d: %s", status, err.message);
  }
  pthread_join(thread, NULL);
  vonk_predictor_release(c.predictor);
  n_cancelled++;
}

static void refuse(const char *spec) {
  char wrong[4096];
  vonk_error err = {.struct_size = sizeof err};
  snprintf(wrong, sizeof wrong, "%s;no_such_option=1", spec);
  if (host_open(wrong, &err) != NULL || strstr(err.message, "no_such_option") == NULL) {
    die("%s: %s", wrong, err.message);
  }
  n_refused++;
}

static void *work(void *arg) {
  unsigned seed = *(unsigned *)arg;
  while (time(NULL) < end) {
    const char *spec = specs[rand_r(&seed) % n_specs];
    vonk_error err = {.struct_size = sizeof err};
    vonk_model *model = host_open(spec, &err);
    if (model == NULL) {
      die("%s", err.message);
    }
    n_opened++;
    vonk_predictor *predictor = host_bind(model, "f", in.width);
    for (int n = rand_r(&seed) % 20; n >= 0; n--) {
      predict(predictor, spec);
    }
    if (rand_r(&seed) % 3 == 0) {
      predict_until_cancelled(model, rand_r(&seed) % 5000000);
    }
    if (rand_r(&seed) % 3 == 0) {
      refuse(spec);
    }
    vonk_predictor_release(predictor);
    vonk_model_close(model);
  }
  return NULL;
}

/* Each model once, so that all frameworks have started before anything is counted. */
static void start_all(void) {
  for (int i = 0; i < n_specs; i++) {
    vonk_error err = {.struct_size = sizeof err};
    vonk_model *model = host_open(specs[i], &err);
    if (model == NULL) {
      die("%s", err.message);
    }
    vonk_predictor *predictor = host_bind(model, "f", in.width);
    predict(predictor, specs[i]);
    vonk_predictor_release(predictor);
    vonk_model_close(model);
  }
}

static void run_for(long seconds) {
  pthread_t threads[THREADS];
  unsigned seeds[THREADS];
  end = time(NULL) + seconds;
  for (unsigned i = 0; i < THREADS; i++) {
    seeds[i] = i + 1;
    if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0) {
      die("no thread");
    }
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
}

static void report(const char *when) {
  printf(
      "%s: opened %d, predicted %d, cancelled %d, refused %d; anonymous memory %.0f "
      "MB, files %d, threads %d\n",
      when, n_opened, n_predicted, n_cancelled, n_refused,
      (double)state_anonymous() / 1e6, state_files(), state_threads());
}

int main(int argc, char **argv) {
  enum { FIRST_MODEL = 6 };
  n_specs = argc - FIRST_MODEL;
  if (n_specs < 1 || n_specs > MOST_MODELS) {
    die("usage: soak SECONDS IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL...");
  }
  in = host_read(argv[2], strtol(argv[3], NULL, 10));
  expected = host_read(argv[4], strtol(argv[5], NULL, 10));
  memcpy(specs, argv + FIRST_MODEL, (size_t)n_specs * sizeof *specs);
  long seconds = strtol(argv[1], NULL, 10);
  start_all();
  run_for((seconds + 1) / 2);
  report("half-way");
  run_for(seconds / 2);
  report("in the end");
  free(in.values);
  free(expected.values);
  vonk_shutdown();
  return 0;
}
