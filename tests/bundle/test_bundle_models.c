/* Models in bundles: their names, order and choice are the manifest's, in memory, as a
 * private copy and in folders alike; one copy of the weights; nothing left behind. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "bundle_fixture.h"

static const char model_text[] =
    "input a f32 -1 2\n"
    "input b i64 -1\n"
    "output s = sum a\n"
    "output hidden = copy a\n"
    "output a2 = copy a\n"
    "output b2 = copy b\n";

static const fixture_file files[] = {{"model/net.mock", model_text},
                                     {"labels.txt", "low\nhigh\n"},
                                     {"model/more/words.txt", "beside it"},
                                     {NULL, NULL}};

/* Both inputs the other way round; one output less, the others exchanged. */
static const char described[] =
    "\"vonk_bundle\": 1, \"name\": \"net\", \"licence\": \"MIT\","
    "\"model\": {\"format\": \"mock\", \"path\": \"model/net.mock\","
    " \"options\": {\"scale\": \"2\"}},"
    "\"inputs\": ["
    " {\"name\": \"number\", \"tensor\": \"b\", \"dtype\": \"int64\", \"shape\": [-1]},"
    " {\"name\": \"pair\", \"tensor\": \"a\", \"dtype\": \"float32\", \"shape\": [-1, 2],"
    "  \"dim_names\": [\"row\", null]}],"
    "\"outputs\": ["
    " {\"name\": \"same\", \"tensor\": \"b2\", \"dtype\": \"int64\", \"shape\": [-1]},"
    " {\"name\": \"total\", \"tensor\": \"s\", \"dtype\": \"float32\", \"shape\": [-1]},"
    " {\"name\": \"level\", \"tensor\": \"a2\", \"dtype\": \"float32\","
    "  \"shape\": [-1, 2], \"labels\": \"labels.txt\"}],"
    "\"provenance\": {\"source\": \"net.mock\"}";

#define IN_MEMORY MOCK("in_memory")
#define BY_FILE MOCK("echo")

static vonk_status open_with(const char *path, const char *plugin, vonk_model **out,
                             vonk_error *err) {
  const vonk_kv options[] = {{"plugin", plugin}};
  return vonk_model_open(path, options, 1, out, err);
}

/* --- names and order ----------------------------------------------------------------- */

enum { ROWS = 3 };
static const int64_t numbers[ROWS] = {10, 20, 30};
static const float pairs[ROWS * 2] = {1, 2, 3, 4, 5, 6};

static void check_predictions(vonk_model *model) {
  vonk_error err = VONK_ERROR_INIT;
  fixture_batch b;
  struct ArrowArray out;
  struct ArrowSchema schema;
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "pair", "f", 2, NULL, NULL, pairs);
  fixture_add(&b, "number", "l", NULL, numbers, NULL);
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predictor_schema(predictor, &schema, &err), &err);
  assert_int_equal(schema.n_children, 3);
  assert_string_equal(schema.children[0]->name, "same");
  assert_string_equal(schema.children[2]->name, "level");
  schema.release(&schema);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  const int64_t *same = out.children[0]->buffers[1];
  const float *total = out.children[1]->buffers[1];
  const float *level = out.children[2]->children[0]->buffers[1];
  for (int i = 0; i < ROWS; i++) {
    assert_int_equal(same[i], numbers[i]);
    /* with the manifest's option scale */
    assert_true(total[i] == 2 * (pairs[2 * i] + pairs[2 * i + 1]));
    assert_true(level[2 * i] == 2 * pairs[2 * i]);
    assert_true(level[2 * i + 1] == 2 * pairs[2 * i + 1]);
  }
  out.release(&out);
  vonk_predictor_release(predictor);
}

static void check_summary(const vonk_model *model) {
  const vonk_model_summary *s = vonk_model_summarize(model);
  assert_int_equal(s->n_inputs, 2);
  assert_int_equal(s->n_outputs, 3);
  assert_string_equal(s->inputs[0]->name, "number");
  assert_int_equal(s->inputs[0]->dtype, VONK_I64);
  assert_string_equal(s->inputs[1]->name, "pair");
  assert_string_equal(s->inputs[1]->dim_names[0], "row");
  assert_null(s->inputs[1]->dim_names[1]);
  assert_string_equal(s->outputs[0]->name, "same");
  assert_string_equal(s->outputs[2]->name, "level");
  assert_int_equal(s->outputs[2]->shape[1], 2);
  assert_string_equal(s->format, "mock");
  const vonk_bundle_summary *b = vonk_model_bundle(model);
  assert_non_null(b);
  assert_string_equal(b->name, "net");
  assert_string_equal(b->licence, "MIT");
  assert_null(b->description);
  assert_int_equal(b->n_labels, 2);
  assert_string_equal(b->labels[1], "high");
  assert_int_equal(b->labels_output, 2);
  assert_int_equal(b->n_provenance, 1);
  assert_int_equal(b->selftest_rows, 0);
}

static void a_bundle_has_the_names_order_and_choice_of_its_manifest(void **state) {
  (void)state;
  static const char *const plugins[] = {IN_MEMORY, BY_FILE, MOCK("exclusive"),
                                        MOCK("no_prealloc")};
  for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++) {
    for (int is_folder = 0; is_folder < 2; is_folder++) {
      char name[32];
      snprintf(name, sizeof name, "n%zu.%d", i, is_folder);
      const char *path = is_folder ? fixture_bundle_folder(name, described, files)
                                   : fixture_zip(name, described, files);
      vonk_model *model = fixture_open(path, plugins[i]);
      assert_string_equal(vonk_model_summarize(model)->path, path);
      check_summary(model);
      check_predictions(model);
      vonk_model_close(model);
    }
    mock_counters counters = fixture_counters(plugins[i]);
    assert_int_equal(counters.live_models, 0);
    assert_int_equal(counters.live_outputs, 0);
  }
}

static void an_option_of_the_one_who_opens_counts_more(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL, *plain = NULL;
  const char *path = fixture_zip("options.vonk", described, files);
  const vonk_kv options[] = {{"plugin", IN_MEMORY}, {"scale", "0.5"}};
  assert_ok(vonk_model_open(path, options, 2, &model, &err), &err);
  assert_ok(vonk_model_open(path, options, 1, &plain, &err), &err);
  assert_ptr_not_equal(model, plain);
  fixture_batch b;
  struct ArrowArray out;
  fixture_start(&b, ROWS);
  fixture_add_lists(&b, "pair", "f", 2, NULL, NULL, pairs);
  fixture_add(&b, "number", "l", NULL, numbers, NULL);
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  assert_true(((const float *)out.children[1]->buffers[1])[2] == 0.5F * (5 + 6));
  out.release(&out);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  vonk_model_close(plain);
}

static void a_raw_model_has_no_manifest(void **state) {
  (void)state;
  vonk_model *model = fixture_open(fixture_write("raw.mock", model_text), IN_MEMORY);
  assert_null(vonk_model_bundle(model));
  assert_string_equal(vonk_model_summarize(model)->inputs[0]->name, "a");
  vonk_model_close(model);
}

/* --- one copy of the weights --------------------------------------------------------- */

static void a_bundle_is_opened_once_until_it_is_replaced(void **state) {
  (void)state;
  static const fixture_file other[] = {
      {"model/net.mock", model_text}, {"labels.txt", "one\ntwo\n"}, {NULL, NULL}};
  const char *path = fixture_zip("cached.vonk", described, files);
  vonk_model *model = fixture_open(path, IN_MEMORY);
  vonk_model *again = fixture_open(path, IN_MEMORY);
  assert_ptr_equal(model, again);
  vonk_model_close(again);
  fixture_zip("cached.vonk", described, other); /* renamed over it */
  again = fixture_open(path, IN_MEMORY);
  assert_ptr_not_equal(model, again);
  assert_string_equal(vonk_model_bundle(again)->labels[0], "one");
  assert_string_equal(vonk_model_bundle(model)->labels[0], "low");
  check_predictions(model); /* from the file that is gone */
  check_predictions(again);
  vonk_model_close(model);
  vonk_model_close(again);

  const char *folder = fixture_bundle_folder("cached", described, files);
  model = fixture_open(folder, BY_FILE);
  again = fixture_open(folder, BY_FILE);
  assert_ptr_equal(model, again);
  vonk_model_close(again);
  char *manifest = fixture_manifest(described, other);
  fixture_write("cached/manifest.json", manifest);
  fixture_write("cached/labels.txt", "one\ntwo\n");
  vonk_delete(manifest);
  char extra[200];
  snprintf(extra, sizeof extra, "%s/model/more/words.txt", folder);
  assert_int_equal(unlink(extra), 0);
  snprintf(extra, sizeof extra, "%s/model/more", folder);
  assert_int_equal(rmdir(extra), 0);
  again = fixture_open(folder, BY_FILE);
  assert_ptr_not_equal(model, again);
  vonk_model_close(model);
  vonk_model_close(again);
}

static void a_folder_that_changes_while_it_is_opened_is_refused(void **state) {
  (void)state;
  static const char whole[] =
      "\"vonk_bundle\": 1, \"model\": {\"format\": \"mock\", \"path\": \"model\"},"
      "\"inputs\": [{\"name\": \"a\", \"tensor\": \"a\", \"dtype\": \"float32\","
      " \"shape\": [-1]}],"
      "\"outputs\": [{\"name\": \"o\", \"tensor\": \"o\", \"dtype\": \"float32\","
      " \"shape\": [-1]}]";
  static const fixture_file inside[] = {
      {"model/model.mock", "input a f32 -1\noutput o = copy a\n"}, {NULL, NULL}};
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const char *path = fixture_bundle_folder("touched", whole, inside);
  assert_fails(open_with(path, MOCK("touching"), &model, &err), &err, VONK_IO,
               "touched': the folder changed while it was being opened: open it again");
  assert_null(model);
  /* The same from a zip file is another matter: it is a copy that is changed. */
  model = fixture_open(fixture_zip("touched.vonk", whole, inside), MOCK("touching"));
  vonk_model_close(model);
}

static void weights_are_counted_by_what_the_model_says(void **state) {
  (void)state;
  static const fixture_file heavy[] = {
      {"model/net.mock",
       "input a f32 -1 2\ninput b i64 -1\noutput s = sum a\noutput a2 = copy a\n"
       "output b2 = copy b\nweight_bytes 1000000\n"},
      {"labels.txt", "low\nhigh\n"},
      {NULL, NULL}};
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const char *path = fixture_zip("heavy.vonk", described, heavy);
  int64_t nbytes = 1000000;
  assert_ok(open_with(path, IN_MEMORY, &model, &err), &err);
  assert_int_equal(vonk_model_summarize(model)->weight_bytes, nbytes);
  vonk_model_close(model);
  vonk_set_model_memory((uint64_t)nbytes - 1);
  assert_fails(open_with(path, IN_MEMORY, &model, &err), &err, VONK_NOMEM,
               "exceed the limit");
  vonk_set_model_memory((uint64_t)nbytes);
  assert_ok(open_with(path, IN_MEMORY, &model, &err), &err);
  vonk_set_model_memory(0);
  vonk_model_close(model);
}

/* --- pins ---------------------------------------------------------------------------- */

static void a_pin_is_the_digest_of_the_bundle(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  char hex[65], pinned[300], path[160];
  for (int is_folder = 0; is_folder < 2; is_folder++) {
    snprintf(path, sizeof path, "%s",
             is_folder ? fixture_bundle_folder("pinned", described, files)
                       : fixture_zip("pinned.vonk", described, files));
    vonk_model *model = fixture_open(path, BY_FILE);
    assert_ok(vonk_model_sha256(model, hex, &err), &err);
    vonk_model_close(model);
    snprintf(pinned, sizeof pinned, "%s#sha256=%s", path, hex);
    assert_ok(open_with(pinned, BY_FILE, &model, &err), &err);
    vonk_model_close(model);
    char *last = &pinned[strlen(pinned) - 1];
    *last = *last == '0' ? '1' : '0';
    assert_fails(open_with(pinned, BY_FILE, &model, &err), &err, VONK_MODEL,
                 "its content is not the pinned one");
  }
}

/* --- the private copy ---------------------------------------------------------------- */

/* What lies in the folder for temporary files: entries, and the name of the last one. */
static int list_temporary(const char *folder, char last[512]) {
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  int n = 0;
  for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
    if (entry->d_name[0] != '.') {
      snprintf(last, 512, "%s/%s", folder, entry->d_name);
      n++;
    }
  }
  closedir(dir);
  return n;
}

static void a_copy_is_private_and_goes_with_the_model(void **state) {
  (void)state;
  char temporary[160], inside[512];
  struct stat facts;
  snprintf(temporary, sizeof temporary, "%s/tmp", fixture_folder);
  assert_int_equal(mkdir(temporary, 0700), 0);
  setenv("TMPDIR", temporary, 1);
  const char *path = fixture_zip("copied.vonk", described, files);
  vonk_model *model = fixture_open(path, IN_MEMORY);
  assert_int_equal(list_temporary(temporary, inside), 0); /* opened in place */
  vonk_model_close(model);

  mode_t mask = umask(0);
  model = fixture_open(path, BY_FILE);
  umask(mask);
  assert_int_equal(list_temporary(temporary, inside), 1);
  assert_int_equal(stat(inside, &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0700);
  strcat(inside, "/more/words.txt"); /* what belongs to the model goes with it */
  assert_int_equal(stat(inside, &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0600);
  assert_int_equal(facts.st_size, 9);
  vonk_model_close(model);
  assert_int_equal(list_temporary(temporary, inside), 0);

  vonk_error err = VONK_ERROR_INIT;
  static const fixture_file broken[] = {
      {"model/net.mock", "nonsense\n"}, {"labels.txt", "low\nhigh\n"}, {NULL, NULL}};
  path = fixture_zip("broken.vonk", described, broken);
  vonk_status status = open_with(path, BY_FILE, &model, &err);
  assert_int_not_equal(status, VONK_OK);
  assert_non_null(strstr(err.message, "bundle '"));
  assert_int_equal(list_temporary(temporary, inside), 0);
  unsetenv("TMPDIR");
}

static void a_copy_that_cannot_be_made_is_one_error(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  char temporary[160], inside[512];
  const char *path = fixture_zip("full.vonk", described, files);
  setenv("TMPDIR", "/no/such/folder", 1);
  assert_fails(open_with(path, BY_FILE, &model, &err), &err, VONK_IO,
               "/no/such/folder: No such file or directory: make room there, or name "
               "another folder in TMPDIR");
  assert_ok(open_with(path, IN_MEMORY, &model, &err), &err); /* needs none */
  vonk_model_close(model);

  /* A disk that is full, as far as a limit can play one: after 50 bytes of a file. */
  snprintf(temporary, sizeof temporary, "%s/full", fixture_folder);
  assert_int_equal(mkdir(temporary, 0700), 0);
  setenv("TMPDIR", temporary, 1);
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  small.rlim_cur = 50;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  vonk_status status = open_with(path, BY_FILE, &model, &err);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_fails(status, &err, VONK_IO, "net.mock: File too large");
  assert_int_equal(list_temporary(temporary, inside), 0);
  unsetenv("TMPDIR");
}

/* --- several threads ----------------------------------------------------------------- */

typedef struct opener {
  pthread_t thread;
  const char *path;
  vonk_model *model;
} opener;

static void *open_many_times(void *arg) {
  opener *o = arg;
  vonk_error err = VONK_ERROR_INIT;
  for (int i = 0; i < 20; i++) {
    vonk_model *model = NULL;
    if (open_with(o->path, IN_MEMORY, &model, &err) != VONK_OK) {
      return strdup(err.message);
    }
    check_predictions(model);
    vonk_model_close(o->model);
    o->model = model;
  }
  return NULL;
}

static void threads_open_and_predict_at_once(void **state) {
  (void)state;
  enum { THREADS = 6 };
  opener openers[THREADS] = {0};
  const char *path = fixture_zip("threads.vonk", described, files);
  for (int i = 0; i < THREADS; i++) {
    openers[i].path = path;
    assert_int_equal(
        pthread_create(&openers[i].thread, NULL, open_many_times, &openers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    void *message;
    pthread_join(openers[i].thread, &message);
    if (message != NULL) {
      print_error("%s\n", (const char *)message);
    }
    assert_null(message);
  }
  for (int i = 0; i < THREADS; i++) {
    assert_ptr_equal(openers[i].model, openers[0].model);
    vonk_model_close(openers[i].model);
  }
  assert_int_equal(fixture_counters(IN_MEMORY).live_models, 0);
}

/* --- recognising --------------------------------------------------------------------- */

static void a_bundle_is_recognised_by_its_name_or_its_content(void **state) {
  (void)state;
  const char *plugin = NULL;
  char path[200];
  assert_int_equal(vonk_model_recognise(fixture_zip("r.vonk", described, files), &plugin),
                   2);
  assert_string_equal(plugin, "bundle");
  assert_int_equal(vonk_model_recognise(fixture_zip("r.zip", described, files), NULL), 2);
  assert_int_equal(
      vonk_model_recognise(fixture_bundle_folder("r", described, files), NULL), 2);
  assert_int_equal(vonk_model_recognise(fixture_write("text.vonk", "hello"), NULL), 2);
  assert_int_equal(vonk_model_recognise(fixture_write("text.txt", "hello"), NULL), 0);
  snprintf(path, sizeof path, "%s/other", fixture_folder);
  assert_int_equal(mkdir(path, 0755), 0);
  fixture_write("other/manifest.json", "{\"name\": \"an app\", \"icons\": []}");
  assert_int_equal(vonk_model_recognise(path, NULL), 0);
}

/* --- memory -------------------------------------------------------------------------- */

static const char with_everything[] =
    "\"vonk_bundle\": 1, \"name\": \"all\", \"description\": \"d\", \"licence\": \"MIT\","
    "\"model\": {\"format\": \"mock\", \"path\": \"model/net.mock\","
    " \"options\": {\"scale\": \"2\"}},"
    "\"inputs\": ["
    " {\"name\": \"number\", \"tensor\": \"b\", \"dtype\": \"int64\", \"shape\": [-1]},"
    " {\"name\": \"pair\", \"tensor\": \"a\", \"dtype\": \"float32\", \"shape\": [-1, "
    "2]}],"
    "\"outputs\": [{\"name\": \"level\", \"tensor\": \"a2\", \"dtype\": \"float32\","
    " \"shape\": [-1, 2], \"labels\": \"labels.txt\"}],"
    "\"preprocess\": [{\"op\": \"normalize\", \"input\": \"pair\", \"mean\": [1, 2],"
    " \"std\": 3}],"
    "\"selftest\": {\"rows\": 1, \"tolerance\": 0.1, \"inputs\": {"
    " \"number\": {\"shape\": [1], \"file\": \"n.bin\"},"
    " \"pair\": {\"shape\": [1, 2], \"file\": \"n.bin\"}},"
    " \"outputs\": {\"level\": {\"shape\": [1, 2], \"file\": \"n.bin\"}}},"
    "\"provenance\": {\"source\": \"net.mock\"}";
static const fixture_file all_files[] = {{"model/net.mock", model_text},
                                         {"labels.txt", "low\nhigh\n"},
                                         {"n.bin", "12345678"},
                                         {NULL, NULL}};

static void fail_each_allocation(const char *path, const char *plugin) {
  char temporary[160], inside[512];
  int n_failed = 0;
  snprintf(temporary, sizeof temporary, "%s/memory", fixture_folder);
  mkdir(temporary, 0700);
  setenv("TMPDIR", temporary, 1);
  for (int64_t n = 1;; n++) {
    vonk_error err = VONK_ERROR_INIT;
    vonk_model *model = NULL;
    int64_t before = vonk_memory_fail_at(n);
    vonk_status status = open_with(path, plugin, &model, &err);
    int64_t made = vonk_memory_fail_at(0) - before;
    if (status != VONK_OK) {
      assert_fails(status, &err, VONK_NOMEM, "");
      assert_null(model);
      assert_int_equal(list_temporary(temporary, inside), 0);
      n_failed++;
    }
    vonk_model_close(model);
    if (made < n) {
      assert_int_equal(status, VONK_OK);
      break;
    }
    assert_true(n < 10000);
  }
  unsetenv("TMPDIR");
  assert_true(n_failed > 15);
  print_message("%s, %s: %d allocations failed\n", path, strrchr(plugin, '/') + 1,
                n_failed);
}

static void every_allocation_of_opening_may_fail(void **state) {
  (void)state;
  char path[160];
  snprintf(path, sizeof path, "%s", fixture_zip("all.vonk", with_everything, all_files));
  fail_each_allocation(path, IN_MEMORY);
  fail_each_allocation(path, BY_FILE);
  snprintf(path, sizeof path, "%s",
           fixture_bundle_folder("all", with_everything, all_files));
  fail_each_allocation(path, BY_FILE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_bundle_has_the_names_order_and_choice_of_its_manifest),
      cmocka_unit_test(an_option_of_the_one_who_opens_counts_more),
      cmocka_unit_test(a_raw_model_has_no_manifest),
      cmocka_unit_test(a_bundle_is_opened_once_until_it_is_replaced),
      cmocka_unit_test(a_folder_that_changes_while_it_is_opened_is_refused),
      cmocka_unit_test(weights_are_counted_by_what_the_model_says),
      cmocka_unit_test(a_pin_is_the_digest_of_the_bundle),
      cmocka_unit_test(a_copy_is_private_and_goes_with_the_model),
      cmocka_unit_test(a_copy_that_cannot_be_made_is_one_error),
      cmocka_unit_test(threads_open_and_predict_at_once),
      cmocka_unit_test(a_bundle_is_recognised_by_its_name_or_its_content),
      cmocka_unit_test(every_allocation_of_opening_may_fail),
  };
  return cmocka_run_group_tests(tests, fixture_make_folder, fixture_remove_folder);
}
