/* Conformance: loading, the table, and what a plug-in says to things that are no models.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/trial.h"

void check_load(trial *t) { trial_load(t); }

void check_table(trial *t) {
  vonk_error err = VONK_ERROR_INIT;
  const vonk_plugin *plugin;
  /* The library's own loader knows the rules of the table; it begins its messages with
   * the path. */
  vonk_status status = vonk_plugin_find(t->path, &plugin, &err);
  size_t size = strlen(t->path);
  bool named = strncmp(err.message, t->path, size) == 0;
  EXPECT(t, status == VONK_OK, "%s", named ? err.message + size + 2 : err.message);
  const vonk_plugin_v1 *api = &plugin->api;
  EXPECT(t, api->reserved == 0, "reserved is %u: expected 0", api->reserved);
  EXPECT(t, api->version[0] != '\0', "version is empty");
  for (const vonk_kv *option = api->options; option->key != NULL; option++) {
    EXPECT(t, option->key[0] != '\0' && option->value[0] != '\0',
           "an option has no key or no help");
    for (const vonk_kv *other = api->options; other != option; other++) {
      EXPECT(t, strcmp(other->key, option->key) != 0, "option '%s' stands there twice",
             option->key);
    }
  }
}

static unsigned count_threads(void) {
  unsigned n = 0;
  DIR *dir = opendir("/proc/self/task");
  for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
    n += entry->d_name[0] != '.';
  }
  if (dir != NULL) {
    closedir(dir);
  }
  return n;
}

void check_load_threads(trial *t) {
  unsigned before = count_threads();
  trial_load(t);
  unsigned after = count_threads();
  EXPECT(t, after <= before, "%u threads before loading, %u after", before, after);
}

/* n bytes of content at the end of a page that is followed by one that cannot be read. */
static uint8_t *place_before_guard(trial *t, const uint8_t *content, size_t n) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t pages = n / page + 2;
  uint8_t *start = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(t, start != MAP_FAILED, "mmap failed");
  EXPECT(t, mprotect(start + (pages - 1) * page, page, PROT_NONE) == 0,
         "mprotect failed");
  uint8_t *place = start + (pages - 1) * page - n;
  if (n > 0) {
    memcpy(place, content, n);
  }
  return place;
}

static void expect_score(trial *t, const char *path, const uint8_t *head, size_t n,
                         const char *what, int32_t least, int32_t most) {
  const uint8_t *guarded = head == NULL ? NULL : place_before_guard(t, head, n);
  int32_t score = t->api.recognise(path, guarded, n);
  EXPECT(t, score >= least && score <= most, "recognise of %s: is %d: expected %d to %d",
         what, score, least, most);
}

void check_recognise(trial *t) {
  enum { HEAD = 4096 };
  uint8_t head[HEAD] = {0};
  trial_load(t);
  expect_score(t, "/nowhere/at/all", head, 0, "an empty file", 0, 0);
  expect_score(t, "/nowhere/at/all", NULL, 0, "a folder that is not there", 0, 0);
  expect_score(t, t->folder, NULL, 0, "an empty folder", 0, 1);
  expect_score(t, "x", head, 1, "a single zero byte", 0, 0);
  for (size_t i = 0; i < HEAD; i++) {
    head[i] = (uint8_t)(i * 131 + (i >> 3));
  }
  expect_score(t, "/nowhere/noise", head, HEAD, "noise", 0, 1);
  if (t->model == NULL) {
    return;
  }
  vonk_error err = VONK_ERROR_INIT;
  vonk_file_id id;
  size_t n = 0;
  EXPECT(t, vonk_file_identify(t->model, &id, &err) == VONK_OK, "%s", err.message);
  if (!id.is_folder) {
    EXPECT(t, vonk_file_head(t->model, head, HEAD, &n, &err) == VONK_OK, "%s",
           err.message);
  }
  expect_score(t, t->model, id.is_folder ? NULL : head, n, "the model", 1, 2);
}

void check_runtime(trial *t) {
  trial_load(t);
  const char *version = NULL, *path = NULL;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = t->api.runtime(&version, &path, &err);
  if (status != VONK_OK) {
    EXPECT(t, err.message[0] != '\0', "fails without a message");
    EXPECT(t, version == NULL && path == NULL, "fails and changes its outputs");
    EXPECT(t, t->model == NULL && status == VONK_UNSUPPORTED, "%s", err.message);
    trial_skip(t, err.message);
  }
  EXPECT(t, version != NULL && path != NULL, "returns VONK_OK without version or path");
  const char *again_version = NULL, *again_path = NULL;
  status = t->api.runtime(&again_version, &again_path, NULL);
  EXPECT(t,
         status == VONK_OK && strcmp(version, again_version) == 0 &&
             strcmp(path, again_path) == 0,
         "the second call tells something else than the first");
}

/* --- what is no model --- */

static void expect_refusal(trial *t, const char *path, const vonk_kv *options, size_t n,
                           const char *what) {
  vonk_plugin_model *untouched = (vonk_plugin_model *)(void *)&t->report;
  vonk_plugin_model *out = untouched;
  vonk_error err = VONK_ERROR_INIT;
  vonk_status status = trial_open_path(t, path, options, n, &out, &err);
  EXPECT(t, status != VONK_OK, "%s: is opened", what);
  EXPECT(t, out == untouched, "%s: fails and changes its output", what);
  EXPECT(t, err.message[0] != '\0', "%s: fails without a message", what);
  EXPECT(t, err.code == status, "%s: returns status %d and puts %d into the error", what,
         status, err.code);
  EXPECT(t, memchr(err.message, '\0', sizeof(err.message)) != NULL,
         "%s: the message has no end", what);
  vonk_status again = trial_open_path(t, path, options, n, &out, NULL);
  EXPECT(t, again == status, "%s: status %d with an error to fill, %d without", what,
         status, again);
}

static void write_noise(trial *t, const char *path, size_t nbytes) {
  int file = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  EXPECT(t, file >= 0, "%s: cannot be made", path);
  uint32_t state = 12345;
  for (size_t i = 0; i < nbytes; i++) {
    state = state * 1664525U + 1013904223U;
    uint8_t byte = (uint8_t)(state >> 24);
    EXPECT(t, write(file, &byte, 1) == 1, "%s: cannot be written", path);
  }
  close(file);
}

void check_errors(trial *t) {
  char path[4096];
  trial_load(t);
  const char *dot = t->model == NULL ? NULL : strrchr(t->model, '.');
  dot = dot == NULL || strchr(dot, '/') != NULL ? "" : dot;
  const char *extension = dot;
  expect_refusal(t, "/nowhere/at/all", NULL, 0, "a file that is not there");
  snprintf(path, sizeof(path), "%s/folder%s", t->folder, extension);
  EXPECT(t, mkdir(path, 0700) == 0, "%s: cannot be made", path);
  expect_refusal(t, path, NULL, 0, "an empty folder");
  const struct {
    const char *name;
    size_t nbytes;
  } files[] = {{"empty file", 0}, {"file of 1 byte", 1}, {"file of noise", 4096}};
  for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
    snprintf(path, sizeof(path), "%s/noise%zu%s", t->folder, i, extension);
    write_noise(t, path, files[i].nbytes);
    expect_refusal(t, path, NULL, 0, files[i].name);
  }
  if (t->model != NULL) {
    vonk_kv unknown = {"no_such_option_anywhere", "1"};
    expect_refusal(t, t->model, &unknown, 1, "an option that is not in its list");
  }
}
