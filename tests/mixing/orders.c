/* A process that opens models of several frameworks one after the other, runs each twice,
 * then all at the same time, and lets them go in another order.
 *
 *   orders RELEASE IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL...
 *
 * RELEASE is the order of letting go: digits, such as 201. Prints for each model the
 * largest difference to what is expected, or what is wrong, and then ends with 1. */
#define _GNU_SOURCE
#include <pthread.h>

#include "host.h"

enum { MOST_MODELS = 8, ROUNDS = 8, THREADS_PER_MODEL = 2 };
#define TOLERANCE 1e-5

static host_floats in, expected;

typedef struct opened {
  const char *spec;
  vonk_model *model;
  vonk_predictor *predictor;
  double difference; /* the largest so far */
  struct ArrowArray kept;
} opened;

static void check(opened *o, double difference, const char *when) {
  if (!(difference <= TOLERANCE)) {
    die("%s: %s: differs by %g", o->spec, when, difference);
  }
  o->difference = difference > o->difference ? difference : o->difference;
}

static void open_and_run_twice(opened *o) {
  vonk_error err = {.struct_size = sizeof err};
  o->model = host_open(o->spec, &err);
  if (o->model == NULL) {
    die("open: %s", err.message);
  }
  o->predictor = host_bind(o->model, "f", in.width);
  check(o, host_predict(o->predictor, in, expected, NULL), "first run");
  check(o, host_predict(o->predictor, in, expected, NULL), "second run");
}

typedef struct runner {
  pthread_t thread;
  pthread_barrier_t *start;
  opened *o;
  double difference;
} runner;

static void *run_rounds(void *arg) {
  runner *r = arg;
  for (int i = 0; i < ROUNDS; i++) {
    pthread_barrier_wait(r->start);
    double difference = host_predict(r->o->predictor, in, expected, NULL);
    r->difference = difference > r->difference ? difference : r->difference;
  }
  return NULL;
}

/* Each round starts in all threads at once. */
static void run_all_at_once(opened *models, int n) {
  runner runners[MOST_MODELS * THREADS_PER_MODEL];
  pthread_barrier_t start;
  int n_threads = n * THREADS_PER_MODEL;
  pthread_barrier_init(&start, NULL, (unsigned)n_threads);
  for (int i = 0; i < n_threads; i++) {
    runners[i] = (runner){.start = &start, .o = &models[i % n]};
    if (pthread_create(&runners[i].thread, NULL, run_rounds, &runners[i]) != 0) {
      die("no thread");
    }
  }
  for (int i = 0; i < n_threads; i++) {
    pthread_join(runners[i].thread, NULL);
    check(runners[i].o, runners[i].difference, "all at once");
  }
  pthread_barrier_destroy(&start);
}

/* Predictions outlive their model and are what they were. */
static void let_go(opened *o) {
  check(o, host_predict(o->predictor, in, expected, &o->kept), "before it is let go");
  vonk_predictor_release(o->predictor);
  vonk_model_close(o->model);
}

static void check_kept(opened *o) {
  const float *values = o->kept.children[0]->children[0]->buffers[1];
  double most = 0;
  for (int64_t i = 0; i < expected.rows * expected.width; i++) {
    double difference = fabs((double)values[i] - (double)expected.values[i]);
    most = difference > most ? difference : most;
  }
  check(o, most, "kept predictions");
  o->kept.release(&o->kept);
}

int main(int argc, char **argv) {
  enum { FIRST_MODEL = 6 };
  int n = argc - FIRST_MODEL;
  if (n < 1 || n > MOST_MODELS || strlen(argv[1]) != (size_t)n) {
    die("usage: orders RELEASE IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL...");
  }
  in = host_read(argv[2], strtol(argv[3], NULL, 10));
  expected = host_read(argv[4], strtol(argv[5], NULL, 10));
  opened models[MOST_MODELS] = {0};
  for (int i = 0; i < n; i++) {
    models[i].spec = argv[FIRST_MODEL + i];
    open_and_run_twice(&models[i]);
  }
  run_all_at_once(models, n);
  for (int i = 0; i < n; i++) {
    let_go(&models[(argv[1][i] - '0') % n]);
  }
  for (int i = 0; i < n; i++) {
    check_kept(&models[i]);
    printf("%s %g\n", models[i].spec, models[i].difference);
  }
  free(in.values);
  free(expected.values);
  vonk_shutdown();
  return 0;
}
