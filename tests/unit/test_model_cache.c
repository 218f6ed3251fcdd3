/* The process-wide model cache: one copy of the weights, whoever opens the file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "predict_fixture.h"

#define ECHO MOCK("echo")
static const char *const text = "input x f32 -1\noutput y = copy x\nweight_bytes 100\n";

static int64_t live_models(void) { return fixture_counters(ECHO).live_models; }

static void same_file_and_options_are_one_model(void **state) {
  (void)state;
  char link[160];
  const char *path = fixture_write("a.mock", text);
  snprintf(link, sizeof link, "%s/link.mock", fixture_folder);
  assert_int_equal(symlink(path, link), 0);
  vonk_model *first = fixture_open(path, ECHO), *second = fixture_open(path, ECHO);
  vonk_model *linked = fixture_open(link, ECHO);
  assert_ptr_equal(first, second);
  assert_ptr_equal(first, linked);
  assert_int_equal(live_models(), 1);
  assert_string_equal(vonk_model_summarize(linked)->path, path);
  vonk_model_close(first);
  vonk_model_close(second);
  assert_int_equal(live_models(), 1);
  vonk_model_close(linked);
  assert_int_equal(live_models(), 0);
  vonk_model_close(NULL);
}

static vonk_model *open_scaled(const char *path, const char *scale) {
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"scale", scale}, {"plugin", ECHO}, {"device", "cpu"}};
  assert_ok(vonk_model_open(path, options, 3, &model, &err), &err);
  return model;
}

static void other_options_are_another_model(void **state) {
  (void)state;
  const char *path = fixture_write("a.mock", text);
  vonk_model *one = open_scaled(path, "1"), *two = open_scaled(path, "2");
  vonk_model *again = open_scaled(path, "2");
  assert_ptr_not_equal(one, two);
  assert_ptr_equal(two, again);
  vonk_model_close(one);
  vonk_model_close(two);
  vonk_model_close(again);
  assert_int_equal(live_models(), 0);
}

static void the_order_of_options_does_not_matter(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  const char *path = fixture_write("a.mock", text);
  const vonk_kv options[] = {{"device", "cpu:0"}, {"plugin", ECHO}, {"scale", "2"}};
  vonk_model *first = open_scaled(path, "2"), *second = NULL;
  assert_ok(vonk_model_open(path, options, 3, &second, &err), &err);
  assert_ptr_equal(first, second);
  vonk_model_close(first);
  vonk_model_close(second);
}

static void a_changed_file_is_opened_anew(void **state) {
  (void)state;
  const char *path = fixture_write("changing.mock", text);
  vonk_model *before = fixture_open(path, ECHO);
  fixture_write("changing.mock", "input other f64 -1 3\noutput y = sum other\n");
  vonk_model *after = fixture_open(path, ECHO);
  assert_ptr_not_equal(before, after);
  assert_string_equal(vonk_model_summarize(before)->inputs[0]->name, "x");
  assert_string_equal(vonk_model_summarize(after)->inputs[0]->name, "other");
  vonk_model_close(before);
  vonk_model_close(after);
  assert_int_equal(live_models(), 0);
}

static void a_touched_file_of_the_same_size_is_opened_anew(void **state) {
  (void)state;
  const char *path = fixture_write("touched.mock", text);
  vonk_model *before = fixture_open(path, ECHO);
  const struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 1},
                                    {.tv_sec = 1000, .tv_nsec = 1}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
  vonk_model *after = fixture_open(path, ECHO);
  assert_ptr_not_equal(before, after);
  vonk_model_close(before);
  vonk_model_close(after);
}

/* --- eight threads ------------------------------------------------------------------ */

enum { THREADS = 8 };

typedef struct opener {
  pthread_barrier_t *barrier;
  const char *path;
  vonk_model *model;
  vonk_status status;
  char message[1024];
} opener;

static void *open_at_once(void *arg) {
  opener *o = arg;
  vonk_error err = VONK_ERROR_INIT;
  const vonk_kv options[] = {{"plugin", ECHO}};
  pthread_barrier_wait(o->barrier);
  o->status = vonk_model_open(o->path, options, 1, &o->model, &err);
  memcpy(o->message, err.message, sizeof o->message);
  return NULL;
}

static void open_from_all(opener *openers, const char *path) {
  pthread_t threads[THREADS];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    openers[i] = (opener){.barrier = &barrier, .path = path};
    assert_int_equal(pthread_create(&threads[i], NULL, open_at_once, &openers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
  }
  pthread_barrier_destroy(&barrier);
}

static void eight_threads_open_one_model_once(void **state) {
  (void)state;
  opener openers[THREADS];
  for (int round = 0; round < 50; round++) {
    char name[32];
    snprintf(name, sizeof name, "round%d.mock", round);
    const char *path = fixture_write(name, text);
    int64_t before = fixture_counters(ECHO).models;
    open_from_all(openers, path);
    assert_int_equal(fixture_counters(ECHO).models, before + 1);
    for (int i = 0; i < THREADS; i++) {
      assert_int_equal(openers[i].status, VONK_OK);
      assert_ptr_equal(openers[i].model, openers[0].model);
      vonk_model_close(openers[i].model);
    }
    assert_int_equal(live_models(), 0);
  }
}

static void eight_threads_all_get_the_error_itself(void **state) {
  (void)state;
  opener openers[THREADS];
  const char *path = fixture_write("broken.mock", "input x f32 -1\nnonsense\n");
  for (int round = 0; round < 20; round++) {
    open_from_all(openers, path);
    for (int i = 0; i < THREADS; i++) {
      assert_int_equal(openers[i].status, VONK_MODEL);
      assert_non_null(strstr(openers[i].message, "line 2: unknown statement"));
      assert_null(openers[i].model);
    }
  }
  assert_int_equal(live_models(), 0);
}

static void a_failed_open_leaves_nothing_and_can_be_repeated(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = (vonk_model *)(uintptr_t)&err;
  const char *path = fixture_write("late.mock", "nonsense\n");
  const vonk_kv options[] = {{"plugin", ECHO}};
  assert_fails(vonk_model_open(path, options, 1, &model, &err), &err, VONK_MODEL,
               "line 1");
  assert_ptr_equal(model, (vonk_model *)(uintptr_t)&err);
  assert_int_equal(live_models(), 0);
  fixture_write("late.mock", text);
  vonk_model_close(fixture_open(path, ECHO));
}

/* --- pins --------------------------------------------------------------------------- */

static vonk_status open_pinned(const char *path, const char *pin, vonk_model **out,
                               vonk_error *err) {
  char pinned[512];
  const vonk_kv options[] = {{"plugin", ECHO}};
  snprintf(pinned, sizeof pinned, "%s#sha256=%s", path, pin);
  return vonk_model_open(pinned, options, 1, out, err);
}

static void a_pin_is_the_content_or_the_model_is_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  /* printf 'input x f32 -1\noutput y = copy x\n' | sha256sum */
  const char *pin = "74f32ef94ac41c9ec9dbbbe8a7fc883c6151eaf6c8b752ada90cbbcb59f2b8a7";
  const char *path = fixture_write("pin.mock", "input x f32 -1\noutput y = copy x\n");
  char upper[65], wrong[65], digest[65];
  vonk_model *model = NULL, *same = NULL;
  assert_ok(open_pinned(path, pin, &model, &err), &err);
  assert_ok(vonk_model_sha256(model, digest, &err), &err);
  assert_string_equal(digest, pin);
  for (int i = 0; i < 65; i++) {
    upper[i] = (char)(pin[i] >= 'a' ? pin[i] - 32 : pin[i]);
  }
  assert_ok(open_pinned(path, upper, &same, &err), &err);
  assert_ptr_equal(model, same);
  memcpy(wrong, pin, 65);
  wrong[63] = wrong[63] == '0' ? '1' : '0';
  vonk_model *none = NULL;
  assert_fails(open_pinned(path, wrong, &none, &err), &err, VONK_MODEL, pin); /* cached */
  vonk_model_close(model);
  vonk_model_close(same);
  assert_fails(open_pinned(path, wrong, &none, &err), &err, VONK_MODEL, wrong);
  assert_null(none);
  assert_int_equal(live_models(), 0);
}

static void a_malformed_pin_is_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  const char *path = fixture_write("pin.mock", text);
  static const char *const pins[] = {
      "", "abc", "zz35e0bab3af8fd7a57a30eb8aee6aa1bef41ab39ff84bd6f5ce8c2ef7fc4b3b",
      "74f32ef94ac41c9ec9dbbbe8a7fc883c6151eaf6c8b752ada90cbbcb59f2b8ab0",
      "74f32ef94ac41c9ec9dbbbe8a7fc883c6151eaf6c8b752ada90cbbcb59f2b8a "};
  for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
    vonk_model *model = NULL;
    assert_fails(open_pinned(path, pins[i], &model, &err), &err, VONK_INVALID,
                 "must be 64 hex digits");
    assert_null(model);
  }
}

/* --- memory ------------------------------------------------------------------------- */

static void weights_beyond_the_limit_are_refused(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *third = NULL;
  const vonk_kv options[] = {{"plugin", ECHO}};
  vonk_set_model_memory(250);
  vonk_model *one = fixture_open(fixture_write("one.mock", text), ECHO);
  vonk_model *two = fixture_open(fixture_write("two.mock", text), ECHO);
  const char *path = fixture_write("three.mock", text);
  assert_fails(vonk_model_open(path, options, 1, &third, &err), &err, VONK_NOMEM,
               "three.mock': its weights of 100 bytes and the 200 bytes of open models "
               "exceed the limit of 250: close models or raise the limit");
  assert_null(third);
  assert_int_equal(live_models(), 2);
  vonk_model *again = fixture_open(vonk_model_summarize(one)->path, ECHO);
  assert_ptr_equal(again, one); /* an open model costs nothing more */
  vonk_model_close(again);
  vonk_model_close(one);
  third = fixture_open(path, ECHO);
  vonk_model_close(two);
  vonk_model_close(third);
  vonk_set_model_memory(0);
}

static void a_model_that_does_not_tell_its_weights_counts_its_file(void **state) {
  (void)state;
  vonk_error err = VONK_ERROR_INIT;
  vonk_model *model = NULL;
  const vonk_kv options[] = {{"plugin", ECHO}};
  const char *path = fixture_write("file.mock", "input x f32 -1\noutput y = copy x\n");
  vonk_set_model_memory(32);
  assert_fails(vonk_model_open(path, options, 1, &model, &err), &err, VONK_NOMEM,
               "its weights of 33 bytes");
  vonk_set_model_memory(33);
  vonk_model_close(fixture_open(path, ECHO));
  vonk_set_model_memory(0);
}

static void a_predictor_keeps_its_model(void **state) {
  (void)state;
  const float values[] = {1, 2};
  fixture_batch b;
  fixture_start(&b, 2);
  fixture_add(&b, "x", "f", NULL, values, NULL);
  vonk_model *model = fixture_open(fixture_write("kept.mock", text), ECHO);
  vonk_predictor *predictor = fixture_bind(model, &b, NULL);
  vonk_model_close(model);
  assert_int_equal(live_models(), 1);
  vonk_error err = VONK_ERROR_INIT;
  struct ArrowArray out;
  assert_ok(vonk_predict(predictor, &b.array, &out, &err), &err);
  out.release(&out);
  vonk_predictor_release(predictor);
  assert_int_equal(live_models(), 0);
  assert_int_equal(fixture_counters(ECHO).live_sessions, 0);
}

static void the_summary_is_what_the_file_says(void **state) {
  (void)state;
  const char *path =
      fixture_write("full.mock",
                    "input x f32 batch 28 28\ninput id i64 batch\noutput y = sum x\n"
                    "output z i64 batch = copy id\nparams 7850\nweight_bytes "
                    "31400\nproducer a test 1.0\n"
                    "metadata author somebody\nmetadata note two words\n");
  vonk_model *model = fixture_open(path, ECHO);
  const vonk_model_summary *s = vonk_model_summarize(model);
  assert_int_equal(s->struct_size, sizeof *s);
  assert_int_equal(s->n_inputs, 2);
  assert_int_equal(s->n_outputs, 2);
  assert_string_equal(s->inputs[1]->name, "id");
  assert_string_equal(s->outputs[0]->name, "y");
  assert_string_equal(s->inputs[0]->dim_names[0], "batch");
  assert_int_equal(s->inputs[0]->rank, 3);
  assert_int_equal(s->inputs[0]->shape[2], 28);
  assert_int_equal(s->n_params, 7850);
  assert_int_equal(s->weight_bytes, 31400);
  assert_string_equal(s->producer, "a test 1.0");
  assert_int_equal(s->n_metadata, 2);
  assert_string_equal(s->metadata[1].value, "two words");
  assert_string_equal(s->format, "mock");
  assert_string_equal(s->plugin, "mock");
  assert_string_equal(s->device, "cpu");
  assert_string_equal(s->runtime_version, "1.0");
  assert_string_equal(s->path, path);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(s->file_bytes, info.st_size);
  vonk_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_file_and_options_are_one_model),
      cmocka_unit_test(other_options_are_another_model),
      cmocka_unit_test(the_order_of_options_does_not_matter),
      cmocka_unit_test(a_changed_file_is_opened_anew),
      cmocka_unit_test(a_touched_file_of_the_same_size_is_opened_anew),
      cmocka_unit_test(eight_threads_open_one_model_once),
      cmocka_unit_test(eight_threads_all_get_the_error_itself),
      cmocka_unit_test(a_failed_open_leaves_nothing_and_can_be_repeated),
      cmocka_unit_test(a_pin_is_the_content_or_the_model_is_refused),
      cmocka_unit_test(a_malformed_pin_is_refused),
      cmocka_unit_test(weights_beyond_the_limit_are_refused),
      cmocka_unit_test(a_model_that_does_not_tell_its_weights_counts_its_file),
      cmocka_unit_test(a_predictor_keeps_its_model),
      cmocka_unit_test(the_summary_is_what_the_file_says),
  };
  return cmocka_run_group_tests(tests, fixture_make_folder, fixture_remove_folder);
}
