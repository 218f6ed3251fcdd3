/* Conformance: several models at a time, models that are broken, and options that are
 * wrong. */
#define _GNU_SOURCE /* nftw, FTW_PHYS */

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/trial.h"

/* The model again, with a session of its own. */
static vonk_plugin_session *open_another(trial *t, vonk_plugin_model **out) {
  vonk_plugin_model *before = t->opened;
  t->opened = trial_open_again(t);
  vonk_plugin_session *session = trial_session(t);
  *out = t->opened;
  t->opened = before;
  return session;
}

/* --- several models --- */

void check_two_models(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t), *other;
  vonk_plugin_model *again;
  const trial_batch *expected = trial_reference(t, session);
  other = open_another(t, &again);
  trial_compare_all(t, expected, trial_reference(t, other),
                    "when the model is opened a second time");
  /* The first to be opened is the first to go: what they share must outlive it. The
   * outputs of `expected` go with their model, so copies are compared. */
  const trial_batch *copy = trial_copy_outputs(t, expected);
  t->api.release_session(session);
  t->api.release_model(t->opened);
  t->opened = again;
  trial_describe(t);
  trial_compare_all(t, copy, trial_reference(t, other),
                    "after the model opened first was closed");
  t->api.release_session(other);
  t->api.release_model(again);
}

typedef struct opener {
  trial *t;
  const trial_batch *expected;
  vonk_plugin_session *session;
  atomic_bool is_done;
  atomic_uint n_runs;
} opener;

static void *run_meanwhile(void *arg) {
  opener *o = arg;
  while (!o->is_done) {
    trial_batch *batch = trial_reference(o->t, o->session);
    trial_compare_all(o->t, o->expected, batch, "while models are opened and closed");
    trial_release_outputs(o->t, batch);
    o->n_runs++;
  }
  return NULL;
}

/* One thread runs a session while others open, run and close the same model. */
void check_opening_threads(trial *t) {
  enum { CYCLES = 5 };
  trial_open(t);
  opener o = {.t = t, .session = trial_session(t)};
  o.expected = trial_reference(t, o.session);
  pthread_t thread;
  EXPECT(t, pthread_create(&thread, NULL, run_meanwhile, &o) == 0,
         "no thread could be started");
  for (int i = 0; i < CYCLES; i++) {
    vonk_plugin_model *model;
    vonk_plugin_session *session = open_another(t, &model);
    trial_batch *batch = trial_reference(t, session);
    trial_compare_all(t, o.expected, batch, "in a model opened while another runs");
    trial_release_outputs(t, batch);
    t->api.release_session(session);
    t->api.release_model(model);
  }
  o.is_done = true;
  pthread_join(thread, NULL);
}

/* --- broken models --- */

/* What a broken model may come to: it opens and has a description, or it is refused with
 * a message. */
static void expect_survival(trial *t, const char *path, const vonk_kv *options, size_t n,
                            const char *what) {
  vonk_plugin_model *untouched = (vonk_plugin_model *)(void *)&t->report;
  vonk_plugin_model *out = untouched;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = trial_open_path(t, path, options, n, &out, &err);
  if (status != VONK_OK) {
    EXPECT(t, out == untouched, "%s: fails and changes its output", what);
    EXPECT(t, err.message[0] != '\0', "%s: fails without a message", what);
    return;
  }
  vonk_model_info info = {.struct_size = (uint32_t)sizeof(info)};
  EXPECT(t, t->api.model_info(out, &info, &err) == VONK_OK || err.message[0] != '\0',
         "%s: model_info fails without a message", what);
  t->api.release_model(out);
}

void check_option_values(trial *t) {
  static const char *const values[] = {"",   "no such thing", "[", "x:",      "x:f32[-1",
                                       "-1", "1e99",          ",", "\xff\xfe"};
  if (t->model == NULL) {
    trial_skip(t, "needs a model");
  }
  trial_load(t);
  for (const vonk_kv *option = t->api.options; option->key != NULL; option++) {
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
      char what[200];
      snprintf(what, sizeof(what), "option %s='%s'", option->key, values[i]);
      vonk_kv *all = calloc(t->n_options + 1, sizeof(*all));
      EXPECT(t, all != NULL, "no memory");
      size_t n = 0;
      for (size_t j = 0; j < t->n_options; j++) {
        if (strcmp(t->options[j].key, option->key) != 0) {
          all[n++] = t->options[j];
        }
      }
      all[n++] = (vonk_kv){option->key, values[i]};
      expect_survival(t, t->model, all, n, what);
      free(all);
    }
  }
}

/* Where the copy that nftw makes begins; it takes no argument of ours. */
static struct {
  trial *t;
  const char *target;
  size_t source_size; /* length of the source's path */
  int per_mille;      /* of a file that is kept */
} copying;

static void copy_file(const char *from, const char *to, off_t nbytes) {
  trial *t = copying.t;
  int source = open(from, O_RDONLY | O_CLOEXEC);
  int target = open(to, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  EXPECT(t, source >= 0 && target >= 0, "%s: cannot be copied", from);
  char bytes[65536];
  while (nbytes > 0) {
    size_t wanted = nbytes < (off_t)sizeof(bytes) ? (size_t)nbytes : sizeof(bytes);
    ssize_t n = read(source, bytes, wanted);
    EXPECT(t, n > 0 && write(target, bytes, (size_t)n) == n, "%s: cannot be copied",
           from);
    nbytes -= n;
  }
  close(source);
  close(target);
}

static int copy_entry(const char *path, const struct stat *info, int type,
                      struct FTW *place) {
  char to[4096];
  (void)place;
  snprintf(to, sizeof(to), "%s%s", copying.target, path + copying.source_size);
  if (type == FTW_D) {
    EXPECT(copying.t, mkdir(to, 0700) == 0, "%s: cannot be made", to);
  } else {
    copy_file(path, to, info->st_size * copying.per_mille / 1000);
  }
  return 0;
}

/* The model with its file, or each file of its folder, cut off. */
void check_cut_models(trial *t) {
  enum { OPEN_FOLDERS = 8 };
  static const struct {
    const char *name;
    int per_mille;
  } cuts[] = {{"empty", 0}, {"half", 500}, {"most", 998}};
  if (t->model == NULL) {
    trial_skip(t, "needs a model");
  }
  trial_load(t);
  char model[4096], target[4096], what[100];
  snprintf(model, sizeof(model), "%s", t->model);
  while (strlen(model) > 1 && model[strlen(model) - 1] == '/') {
    model[strlen(model) - 1] = '\0';
  }
  const char *slash = strrchr(model, '/');
  const char *name = slash == NULL ? model : slash + 1;
  for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
    snprintf(target, sizeof(target), "%s/%s", t->folder, cuts[i].name);
    EXPECT(t, mkdir(target, 0700) == 0, "%s: cannot be made", target);
    snprintf(target, sizeof(target), "%s/%s/%.200s", t->folder, cuts[i].name, name);
    copying.t = t;
    copying.target = target;
    copying.source_size = strlen(model);
    copying.per_mille = cuts[i].per_mille;
    EXPECT(t, nftw(model, copy_entry, OPEN_FOLDERS, FTW_PHYS) == 0,
           "%s: cannot be copied", t->model);
    snprintf(what, sizeof(what), "the model cut off (%s)", cuts[i].name);
    expect_survival(t, target, t->options, t->n_options, what);
  }
}

/* --- outputs and inputs --- */

/* The inputs are the host's again when run has returned. */
void check_outputs_are_own(trial *t) {
  trial_open(t);
  vonk_plugin_session *session = trial_session(t);
  trial_batch *batch = trial_reference(t, session);
  const trial_batch *expected = trial_copy_outputs(t, batch);
  for (uint32_t i = 0; i < t->info.n_inputs; i++) {
    const vonk_tensor *in = &batch->input[i];
    if (in->nbytes > 0) {
      memset(in->data, 0x5A, (size_t)in->nbytes);
    }
  }
  trial_compare_all(t, expected, batch,
                    "after the host wrote to its inputs: outputs are not inputs");
}
