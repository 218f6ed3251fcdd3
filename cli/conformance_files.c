/* Conformance: models whose files are in memory. They have to behave as at a path, and
 * nothing of them can be opened, for they are said to lie where nothing is. */
#define _DEFAULT_SOURCE /* the d_name of dirent */

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/trial.h"

/* --- as by path --- */

static vonk_plugin_model *open_well(trial *t, const trial_files *files) {
  vonk_plugin_model *model = NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = trial_open_files(t, files, t->options, t->n_options, &model, &err);
  EXPECT(t, status == VONK_OK, "open_files: %s", err.message);
  EXPECT(t, model != NULL, "open_files: returned VONK_OK and no model");
  return model;
}

static vonk_plugin_session *session_of(trial *t, vonk_plugin_model *model) {
  vonk_plugin_session *session = NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_device cpu = {VONK_DEVICE_CPU, 0};
  EXPECT(t, t->api.create_session(model, cpu, 1, &session, &err) == VONK_OK,
         "create_session of a model in memory: %s", err.message);
  return session;
}

static void expect_same_io(trial *t, const vonk_io *a, const vonk_io *b) {
  bool is_same = strcmp(a->name, b->name) == 0 && a->dtype == b->dtype &&
                 a->rank == b->rank &&
                 (a->rank <= 0 ||
                  memcmp(a->shape, b->shape, (size_t)a->rank * sizeof(*a->shape)) == 0);
  EXPECT(t, is_same, "'%s' by path is '%s' in memory, or of another dtype or shape",
         a->name, b->name);
}

/* Describes the model in t->opened and compares with what t says of the one at a path. */
static void expect_same_description(trial *t) {
  trial *by_path = malloc(sizeof(*by_path));
  EXPECT(t, by_path != NULL, "no memory");
  memcpy(by_path->inputs, t->inputs, sizeof(t->inputs));
  memcpy(by_path->outputs, t->outputs, sizeof(t->outputs));
  const vonk_model_info info = t->info;
  trial_describe(t);
  EXPECT(t,
         info.n_inputs == t->info.n_inputs && info.n_outputs == t->info.n_outputs &&
             info.n_metadata == t->info.n_metadata && info.n_params == t->info.n_params &&
             info.weight_bytes == t->info.weight_bytes &&
             strcmp(info.format, t->info.format) == 0,
         "model_info tells something else in memory than by path");
  for (uint32_t i = 0; i < info.n_inputs; i++) {
    expect_same_io(t, &by_path->inputs[i], &t->inputs[i]);
  }
  for (uint32_t i = 0; i < info.n_outputs; i++) {
    expect_same_io(t, &by_path->outputs[i], &t->outputs[i]);
  }
  free(by_path);
}

/* Opens the files and runs them; the outputs have to be those of the model at its path. */
static void compare_in_memory(trial *t, trial_memory memory, const char *what) {
  trial_need_files(t);
  trial_open(t);
  trial_files files;
  trial_read_files(t, memory, &files);
  vonk_plugin_session *session = trial_session(t);
  const trial_batch *expected = trial_reference(t, session);
  vonk_plugin_model *by_path = t->opened;
  t->opened = open_well(t, &files);
  expect_same_description(t);
  vonk_plugin_session *other = session_of(t, t->opened);
  trial_batch *found = trial_reference(t, other);
  trial_compare_all(t, expected, found, what);
  trial_release_outputs(t, found);
  t->api.release_session(other);
  t->api.release_model(t->opened);
  t->api.release_session(session);
  t->api.release_model(by_path);
}

void check_files(trial *t) { compare_in_memory(t, TRIAL_ODD, "by path and in memory"); }

/* Bytes that cannot be written, and end where memory ends. */
void check_files_read_only(trial *t) {
  compare_in_memory(t, TRIAL_READ_ONLY, "by path and in memory that is only read");
}

/* --- errors --- */

static void expect_one_error(trial *t, const trial_files *files, const vonk_kv *options,
                             size_t n, const char *what) {
  vonk_plugin_model *untouched = (vonk_plugin_model *)(void *)&t->report;
  vonk_plugin_model *out = untouched;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = trial_open_files(t, files, options, n, &out, &err);
  EXPECT(t, status != VONK_OK, "%s: is opened", what);
  EXPECT(t, out == untouched, "%s: fails and changes its output", what);
  EXPECT(t, err.message[0] != '\0', "%s: fails without a message", what);
  EXPECT(t, err.code == status, "%s: returns status %d and puts %d into the error", what,
         status, err.code);
  vonk_status again = trial_open_files(t, files, options, n, &out, NULL);
  EXPECT(t, again == status, "%s: status %d with an error to fill, %d without", what,
         status, again);
}

void check_file_errors(trial *t) {
  enum { NOISE = 4096 };
  static uint8_t noise[NOISE];
  const vonk_kv unknown = {"no_such_option_anywhere", "1"};
  trial_need_files(t);
  trial_files files;
  trial_read_files(t, TRIAL_ALIGNED, &files);
  expect_one_error(t, &files, &unknown, 1, "an option that is not in its list");
  for (size_t i = 0; i < NOISE; i++) {
    noise[i] = (uint8_t)(i * 131 + (i >> 3));
  }
  const struct {
    const char *name;
    size_t nbytes;
  } contents[] = {{"empty files", 0}, {"files of 1 byte", 1}, {"files of noise", NOISE}};
  for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
    for (size_t j = 0; j < files.n; j++) {
      files.rows[j].data = contents[i].nbytes == 0 ? NULL : noise;
      files.rows[j].nbytes = contents[i].nbytes;
    }
    expect_one_error(t, &files, t->options, t->n_options, contents[i].name);
  }
  files.n = 0;
  expect_one_error(t, &files, t->options, t->n_options, "no file at all");
}

/* --- cut off or missing --- */

/* It opens, or is refused with a message; so does its session. */
static void expect_survival(trial *t, const trial_files *files, const char *what) {
  vonk_plugin_model *untouched = (vonk_plugin_model *)(void *)&t->report;
  vonk_plugin_model *out = untouched;
  vonk_plugin_session *session = NULL;
  const vonk_device cpu = {VONK_DEVICE_CPU, 0};
  vonk_error err = VONK_ERROR_INIT;
  if (trial_open_files(t, files, t->options, t->n_options, &out, &err) != VONK_OK) {
    EXPECT(t, out == untouched, "%s: fails and changes its output", what);
    EXPECT(t, err.message[0] != '\0', "%s: fails without a message", what);
    return;
  }
  bool has_session = t->api.create_session(out, cpu, 1, &session, &err) == VONK_OK;
  EXPECT(t, has_session || err.message[0] != '\0',
         "%s: create_session fails without a message", what);
  if (has_session) {
    t->api.release_session(session);
  }
  t->api.release_model(out);
}

/* The files with one of them cut off, and without it. */
static void break_file(trial *t, const trial_files *files, size_t i) {
  static const int per_mille[] = {0, 500, 998};
  char what[300];
  const vonk_file whole = files->rows[i];
  trial_files broken = *files;
  broken.rows = calloc(files->n, sizeof(*broken.rows));
  EXPECT(t, broken.rows != NULL, "no memory");
  memcpy(broken.rows, files->rows, files->n * sizeof(*files->rows));
  for (size_t j = 0; j < sizeof(per_mille) / sizeof(per_mille[0]); j++) {
    broken.rows[i].nbytes = whole.nbytes * (uint64_t)per_mille[j] / 1000;
    snprintf(what, sizeof(what), "%.200s cut off", whole.name);
    expect_survival(t, &broken, what);
  }
  broken.n--;
  memmove(broken.rows + i, broken.rows + i + 1, (broken.n - i) * sizeof(*broken.rows));
  snprintf(what, sizeof(what), "without %.200s", whole.name);
  if (strcmp(whole.name, files->main) == 0) {
    expect_one_error(t, &broken, t->options, t->n_options, what);
  } else {
    expect_survival(t, &broken, what);
  }
  free(broken.rows);
}

/* The model's own file and a few others. */
void check_cut_files(trial *t) {
  enum { MOST = 4 };
  trial_need_files(t);
  trial_files files;
  trial_read_files(t, TRIAL_ALIGNED, &files);
  size_t n_others = 0;
  for (size_t i = 0; i < files.n; i++) {
    bool is_own = strcmp(files.rows[i].name, files.main) == 0;
    n_others += !is_own;
    if (is_own || n_others <= MOST) {
      break_file(t, &files, i);
    }
  }
}

/* --- many, and several at a time --- */

static size_t count_descriptors(void) {
  size_t n = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (dir != NULL && readdir(dir) != NULL) {
    n++;
  }
  if (dir != NULL) {
    closedir(dir);
  }
  return n;
}

/* batch: inputs, for any number of runs. */
static void open_run_close(trial *t, const trial_files *files, trial_batch *batch,
                           const trial_batch *expected) {
  vonk_plugin_model *model = open_well(t, files);
  vonk_plugin_session *session = session_of(t, model);
  trial_run_well(t, session, batch);
  trial_compare_all(t, expected, batch, "in one of several models in memory");
  trial_release_outputs(t, batch);
  t->api.release_session(session);
  t->api.release_model(model);
}

static trial_batch *new_batch(trial *t) {
  trial_batch *batch = calloc(1, sizeof(*batch));
  EXPECT(t, batch != NULL, "no memory");
  trial_make_batch(t, trial_rows(t, TRIAL_ROWS), TRIAL_ALIGNED, batch);
  return batch;
}

/* What every model in memory has to give: the outputs of the one at its path, which stays
 * open. */
static trial_batch *expected_outputs(trial *t) {
  trial_need_files(t);
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  trial_batch *batch = trial_reference(t, session);
  trial_batch *copy = trial_copy_outputs(t, batch);
  trial_release_outputs(t, batch);
  t->api.release_session(session);
  return copy;
}

void check_files_memory(trial *t) {
  enum { WARM = 20, CYCLES = 200, ROOM = 16 << 20 };
  const trial_batch *expected = expected_outputs(t);
  trial_files files;
  trial_read_files(t, TRIAL_ALIGNED, &files);
  trial_batch *batch = new_batch(t);
  int64_t blocks = 0, resident = 0;
  size_t descriptors = 0;
  for (int i = 0; i < CYCLES; i++) {
    if (i == WARM) {
      blocks = t->live_blocks;
      resident = trial_resident_bytes();
      descriptors = count_descriptors();
    }
    open_run_close(t, &files, batch, expected);
  }
  int64_t more_blocks = t->live_blocks - blocks;
  int64_t more_bytes = trial_resident_bytes() - resident;
  size_t now = count_descriptors();
  EXPECT(t, more_blocks == 0,
         "%" PRId64 " blocks of the host's memory were kept over %d models", more_blocks,
         CYCLES - WARM);
  EXPECT(t, now <= descriptors, "%zu files were left open over %d models",
         now - descriptors, CYCLES - WARM);
  EXPECT(t, more_bytes < ROOM, "the process grew by %" PRId64 " bytes over %d models",
         more_bytes, CYCLES - WARM);
}

typedef struct opener {
  trial *t;
  const trial_files *files;
  const trial_batch *expected;
  pthread_t thread;
} opener;

static void *open_often(void *arg) {
  enum { CYCLES = 5 };
  const opener *o = arg;
  trial_batch *batch = new_batch(o->t);
  for (int i = 0; i < CYCLES; i++) {
    open_run_close(o->t, o->files, batch, o->expected);
  }
  return NULL;
}

void check_files_threads(trial *t) {
  enum { THREADS = 4 };
  const trial_batch *expected = expected_outputs(t);
  trial_files files;
  trial_read_files(t, TRIAL_ALIGNED, &files);
  opener openers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    openers[i] = (opener){.t = t, .files = &files, .expected = expected};
    EXPECT(t, pthread_create(&openers[i].thread, NULL, open_often, &openers[i]) == 0,
           "no thread could be started");
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(openers[i].thread, NULL);
  }
}
