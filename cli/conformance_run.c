/* Conformance: models and runs. */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/trial.h"

static trial_batch *new_batch(trial *t, int64_t rows, trial_memory memory) {
  trial_batch *batch = calloc(1, sizeof(*batch));
  EXPECT(t, batch != NULL, "no memory");
  trial_make_batch(t, rows, memory, batch);
  return batch;
}

trial_batch *trial_reference(trial *t, vonk_plugin_session *session) {
  trial_batch *batch = new_batch(t, trial_rows(t, TRIAL_ROWS), TRIAL_ALIGNED);
  trial_run_well(t, session, batch);
  return batch;
}

/* --- the model --- */

static void expect_io(trial *t, int32_t is_output, uint32_t i) {
  const vonk_io *io = is_output ? &t->outputs[i] : &t->inputs[i];
  const char *what = is_output ? "output" : "input";
  EXPECT(t, io->name != NULL && io->name[0] != '\0', "%s %u: has no name", what, i);
  EXPECT(t, io->dtype >= VONK_F16 && io->dtype <= VONK_BYTES, "%s '%s': dtype %d", what,
         io->name, io->dtype);
  EXPECT(t, io->rank >= -1 && io->rank <= VONK_MAX_RANK, "%s '%s': rank %d", what,
         io->name, io->rank);
  EXPECT(t, io->rank <= 0 || io->shape != NULL, "%s '%s': has no shape", what, io->name);
  for (int32_t d = 0; d < io->rank; d++) {
    EXPECT(t, io->shape[d] >= -1, "%s '%s': dim %d is %" PRId64, what, io->name, d,
           io->shape[d]);
  }
  for (uint32_t j = 0; j < i; j++) {
    const vonk_io *other = is_output ? &t->outputs[j] : &t->inputs[j];
    EXPECT(t, strcmp(io->name, other->name) != 0, "%ss %u and %u are both called '%s'",
           what, j, i, io->name);
  }
}

static void expect_no_more(trial *t, int32_t is_output, uint32_t n) {
  vonk_io untouched = {.struct_size = (uint32_t)sizeof(untouched), .rank = 77},
          io = untouched;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = t->api.describe(t->opened, is_output, n, &io, &err);
  EXPECT(t, status != VONK_OK && err.message[0] != '\0',
         "describe of %s %u of %u: returns %d, message '%s'",
         is_output ? "output" : "input", n, n, status, err.message);
  EXPECT(t, io.rank == untouched.rank && io.name == NULL,
         "describe fails and changes its output");
}

void check_model(trial *t) {
  trial_open(t);
  bool known = false;
  for (const char *const *format = t->api.formats; *format != NULL; format++) {
    known = known || (t->info.format != NULL && strcmp(*format, t->info.format) == 0);
  }
  EXPECT(t, known, "format '%s' is none of the plug-in's",
         t->info.format == NULL ? "NULL" : t->info.format);
  EXPECT(t, t->info.n_inputs > 0 && t->info.n_outputs > 0, "%u inputs and %u outputs",
         t->info.n_inputs, t->info.n_outputs);
  EXPECT(t, t->info.n_params >= -1 && t->info.weight_bytes >= -1,
         "n_params %" PRId64 ", weight_bytes %" PRId64, t->info.n_params,
         t->info.weight_bytes);
  for (uint32_t i = 0; i < t->info.n_metadata; i++) {
    EXPECT(t,
           t->info.metadata != NULL && t->info.metadata[i].key != NULL &&
               t->info.metadata[i].value != NULL,
           "metadata %u of %u is not set", i, t->info.n_metadata);
  }
  for (int32_t is_output = 0; is_output < 2; is_output++) {
    uint32_t n = is_output ? t->info.n_outputs : t->info.n_inputs;
    for (uint32_t i = 0; i < n; i++) {
      expect_io(t, is_output, i);
    }
    expect_no_more(t, is_output, n);
  }
  t->api.release_session(NULL);
  t->api.release_model(NULL);
  t->api.release_model(t->opened);
}

/* --- runs --- */

void check_run(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  static const int64_t rows[] = {1, 2, TRIAL_ROWS};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    trial_batch *batch = new_batch(t, trial_rows(t, rows[i]), TRIAL_ALIGNED);
    trial_run_well(t, session, batch);
    trial_release_outputs(t, batch);
  }
  if (trial_rows(t, 0) == 0) {
    /* Some models cannot be run on nothing; what they must not do is crash or fail in
     * silence. */
    trial_batch *batch = new_batch(t, 0, TRIAL_ALIGNED);
    vonk_error err = VONK_ERROR_INIT;
    vonk_status status = trial_run(t, session, batch, NULL, &err);
    EXPECT(t, status == VONK_OK || err.message[0] != '\0',
           "0 rows: fails without a message");
    trial_release_outputs(t, batch);
  }
  t->api.release_session(session);
  t->api.release_model(t->opened);
}

void check_determinism(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *a = trial_reference(t, session), *b = trial_reference(t, session);
  trial_compare_all(t, a, b, "in the second run");
  vonk_plugin_session *other = trial_session(t);
  trial_compare_all(t, a, trial_reference(t, other), "in another session");
}

typedef struct worker {
  pthread_t thread;
  trial *t;
  vonk_plugin_session *session;
  const trial_batch *expected;
} worker;

static void *run_often(void *arg) {
  enum { RUNS = 5 };
  worker *w = arg;
  for (int i = 0; i < RUNS; i++) {
    trial_batch *batch = new_batch(w->t, w->expected->rows, TRIAL_ALIGNED);
    trial_run_well(w->t, w->session, batch);
    trial_compare_all(w->t, w->expected, batch, "when several threads run");
    trial_release_outputs(w->t, batch);
  }
  return NULL;
}

/* One session for all where the plug-in claims that, else one each. */
void check_threads(trial *t) {
  enum { THREADS = 8 };
  trial_open(t);
  bool shared = (t->api.caps & VONK_CAP_CONCURRENT_RUN) != 0;
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  worker workers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.t = t,
                          .session = shared || i == 0 ? session : trial_session(t),
                          .expected = expected};
    EXPECT(t, pthread_create(&workers[i].thread, NULL, run_often, &workers[i]) == 0,
           "no thread could be started");
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(workers[i].thread, NULL);
  }
}

/* --- places for outputs --- */

/* Whether the host could know the output's shape before the run. */
static bool can_be_placed(const vonk_io *io) {
  bool known = io->dtype != VONK_BYTES && io->rank > 0;
  for (int32_t d = 1; known && d < io->rank; d++) {
    known = io->shape[d] >= 0;
  }
  return known;
}

enum { CANARY = 64, CANARY_BYTE = 0x5A };

/* Gives output i of batch a place of its own, of the shape of expected's, `more` rows
 * longer, between canaries. */
static uint8_t *give_place(trial *t, trial_batch *batch, const trial_batch *expected,
                           uint32_t i, int64_t more) {
  const vonk_tensor *model = &expected->output[i];
  vonk_tensor *out = &batch->output[i];
  int64_t *shape = calloc(VONK_MAX_RANK, sizeof(*shape));
  EXPECT(t, shape != NULL, "no memory");
  memcpy(shape, model->shape, (size_t)model->rank * sizeof(*shape));
  shape[0] += more;
  size_t nbytes = trial_elements(model->rank, shape) * trial_dtype_size(model->dtype);
  uint8_t *place = malloc(nbytes + (size_t)2 * CANARY);
  EXPECT(t, place != NULL, "no memory");
  memset(place, CANARY_BYTE, nbytes + (size_t)2 * CANARY);
  *out = (vonk_tensor){.struct_size = (uint32_t)sizeof(*out),
                       .dtype = model->dtype,
                       .rank = model->rank,
                       .shape = shape,
                       .data = place + CANARY,
                       .nbytes = nbytes,
                       .device = {VONK_DEVICE_CPU, 0}};
  return place;
}

static void expect_canaries(trial *t, const uint8_t *place, const vonk_tensor *out,
                            const char *name) {
  EXPECT(t, out->data == place + CANARY && out->release == NULL,
         "output '%s': is elsewhere than the host said", name);
  for (size_t i = 0; i < CANARY; i++) {
    EXPECT(t, place[i] == CANARY_BYTE && place[CANARY + out->nbytes + i] == CANARY_BYTE,
           "output '%s': was written beyond its place", name);
  }
}

static void need_places(trial *t) {
  bool any = false;
  trial_open(t);
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    any = any || can_be_placed(&t->outputs[i]);
  }
  if ((t->api.caps & VONK_CAP_PREALLOCATED_OUT) == 0) {
    trial_skip(t, "not claimed");
  }
  if (!any) {
    trial_skip(t, "needs a model with an output whose shape is known");
  }
}

void check_preallocated(trial *t) {
  need_places(t);
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  trial_batch *batch = new_batch(t, expected->rows, TRIAL_ALIGNED);
  uint8_t *places[TRIAL_MAX_IO] = {NULL};
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    if (can_be_placed(&t->outputs[i])) {
      places[i] = give_place(t, batch, expected, i, 0);
    }
  }
  trial_run_well(t, session, batch);
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    if (places[i] != NULL) {
      expect_canaries(t, places[i], &batch->output[i], t->outputs[i].name);
    }
    trial_compare(t, expected, batch, i, "where the host said");
  }
}

void check_wrong_place(trial *t) {
  need_places(t);
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    if (!can_be_placed(&t->outputs[i])) {
      continue;
    }
    trial_batch *batch = new_batch(t, expected->rows, TRIAL_ALIGNED);
    uint8_t *place = give_place(t, batch, expected, i, 1);
    vonk_error err = VONK_ERROR_INIT;
    vonk_status status = trial_run(t, session, batch, NULL, &err);
    const char *name = t->outputs[i].name;
    EXPECT(t, status != VONK_OK, "output '%s': a place for a row too many is taken",
           name);
    EXPECT(t, status == VONK_BACKEND && err.message[0] != '\0',
           "output '%s': returns %d for a place of a wrong shape, expected VONK_BACKEND "
           "and a "
           "message",
           name, status);
    expect_canaries(t, place, &batch->output[i], name);
  }
}

void check_unwanted(trial *t) {
  trial_open(t);
  if (t->info.n_outputs < 2) {
    trial_skip(t, "needs a model with several outputs");
  }
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  for (uint32_t wanted = 0; wanted < t->info.n_outputs; wanted++) {
    trial_batch *batch = new_batch(t, expected->rows, TRIAL_ALIGNED);
    for (uint32_t i = 0; i < t->info.n_outputs; i++) {
      batch->outputs[i] = i == wanted ? &batch->output[i] : NULL;
    }
    trial_run_well(t, session, batch);
    trial_compare(t, expected, batch, wanted, "when it alone is wanted");
  }
}

/* --- inputs --- */

static void compare_memory(trial *t, trial_memory memory, const char *what) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  trial_batch *batch = new_batch(t, expected->rows, memory);
  trial_run_well(t, session, batch);
  trial_compare_all(t, expected, batch, what);
}

void check_unaligned(trial *t) {
  compare_memory(t, TRIAL_ODD, "when inputs lie at odd elements");
}

void check_read_only(trial *t) {
  compare_memory(t, TRIAL_READ_ONLY, "when inputs cannot be written");
}

/* --- lifetimes --- */

static void *duplicate(trial *t, const void *bytes, size_t nbytes) {
  void *copy = malloc(nbytes == 0 ? 1 : nbytes);
  EXPECT(t, copy != NULL, "no memory");
  if (nbytes > 0) {
    memcpy(copy, bytes, nbytes);
  }
  return copy;
}

trial_batch *trial_copy_outputs(trial *t, const trial_batch *batch) {
  trial_batch *copy = duplicate(t, batch, sizeof(*batch));
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    vonk_tensor *out = &copy->output[i];
    size_t n = trial_elements(out->rank, out->shape);
    out->data = duplicate(t, out->data, (size_t)out->nbytes);
    out->shape = duplicate(t, out->shape, (size_t)out->rank * sizeof(*out->shape));
    if (out->offsets != NULL) {
      out->offsets = duplicate(t, out->offsets, (n + 1) * sizeof(*out->offsets));
    }
  }
  return copy;
}

void check_lifetimes(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  trial_batch *batch = trial_reference(t, session);
  const trial_batch *expected = trial_copy_outputs(t, batch);
  t->api.release_session(session);
  trial_compare_all(t, expected, batch, "after its session was released");
  trial_release_outputs(t, batch);
  t->api.release_model(t->opened);
}

/* --- requests to stop --- */

static void *fire_soon(void *arg) {
  nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  vonk_cancel_source_fire(arg);
  return NULL;
}

static void expect_end(trial *t, vonk_plugin_session *session, vonk_cancel_source *source,
                       bool may_stop, const char *when) {
  trial_batch *batch = new_batch(t, trial_rows(t, TRIAL_ROWS), TRIAL_ALIGNED);
  vonk_error err = VONK_ERROR_INIT;
  vonk_cancel cancel;
  vonk_cancel_join(&cancel, source);
  vonk_status status = trial_run(t, session, batch, &cancel, &err);
  bool watches = cancel.stop != NULL;
  vonk_cancel_leave(&cancel);
  EXPECT(t, !watches, "asked to stop %s: the watch goes on after the run", when);
  EXPECT(t, status == VONK_OK || (may_stop && status == VONK_CANCELLED),
         "asked to stop %s: run returns %d: %s", when, status, err.message);
  EXPECT(t, status == VONK_OK || err.message[0] != '\0', "stops without a message");
  trial_release_outputs(t, batch);
}

void check_cancel(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  vonk_cancel_source *source = NULL, *late = NULL;
  vonk_error err = VONK_ERROR_INIT;
  EXPECT(t, vonk_cancel_source_create(&source, &err) == VONK_OK, "%s", err.message);
  expect_end(t, session, source, false, "never");
  vonk_cancel_source_fire(source);
  expect_end(t, session, source, true, "before the run");
  EXPECT(t, vonk_cancel_source_create(&late, &err) == VONK_OK, "%s", err.message);
  pthread_t thread;
  EXPECT(t, pthread_create(&thread, NULL, fire_soon, late) == 0, "no thread");
  expect_end(t, session, late, true, "during the run");
  pthread_join(thread, NULL);
  vonk_cancel_source_release(source);
  EXPECT(t, vonk_cancel_source_create(&source, &err) == VONK_OK, "%s", err.message);
  expect_end(t, session, source, false, "never, after others were");
  vonk_cancel_source_release(source);
  vonk_cancel_source_release(late);
}
