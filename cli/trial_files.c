/* The model's files in memory, for the checks of open_files.
 *
 * How it works: a bundle holds a model's folder, so the regular files beside the model are
 * taken, too. They are mapped, and copied where a check wants them at another address. They are
 * said to lie in a folder that does not exist. What open_files is told is gone after the
 * call, but for the bytes. */
#define _GNU_SOURCE /* nftw, FTW_PHYS */

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/trial.h"

enum { MAX_FILES = 1000, MAX_COPY = 64 << 20, MAX_DEPTH = 8 };

/* Where nftw puts what it finds; it takes no argument of ours. */
static struct {
  trial *t;
  trial_files *out;
  size_t n_folder; /* length of the folder's path */
} reading;

static void add_file(const char *path, size_t nbytes) {
  trial_files *out = reading.out;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void *data = NULL;
  if (fd >= 0 && nbytes != 0) {
    data = mmap(NULL, nbytes, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  if (fd >= 0) {
    close(fd);
  }
  if (fd < 0 || data == MAP_FAILED) {
    return; /* what cannot be read is none of the model's */
  }
  char *name = strdup(path + reading.n_folder + 1);
  EXPECT(reading.t, name != NULL, "no memory");
  out->rows[out->n++] = (vonk_file){name, data, nbytes};
}

/* Not that of the model itself. */
static int visit(const char *path, const struct stat *info, int type, struct FTW *place) {
  const trial_files *out = reading.out;
  bool is_own =
      strcmp(path + reading.n_folder + 1, out->main) == 0; /* is there already */
  if (type == FTW_F && S_ISREG(info->st_mode) && !is_own && out->n < MAX_FILES) {
    add_file(path, (size_t)info->st_size);
  }
  return type == FTW_D && place->level > MAX_DEPTH ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int compare_files(const void *a, const void *b) {
  return strcmp(((const vonk_file *)a)->name, ((const vonk_file *)b)->name);
}

/* The same bytes where the check wants them: at an odd address, or at the end of a page,
 * in front of one that cannot be touched. */
static void move_files(trial *t, trial_memory memory, trial_files *files) {
  size_t total = 0;
  for (size_t i = 0; i < files->n; i++) {
    vonk_file *file = &files->rows[i];
    total += (size_t)file->nbytes;
    if (file->nbytes == 0 || total > MAX_COPY) {
      continue;
    }
    uint8_t *copy = trial_allocate(t, (size_t)file->nbytes, 1, memory);
    memcpy(copy, file->data, (size_t)file->nbytes);
    trial_protect(t, copy, (size_t)file->nbytes, memory);
    file->data = copy;
  }
}

void trial_read_files(trial *t, trial_memory memory, trial_files *out) {
  enum { OPEN_FOLDERS = 8 };
  char folder[4096];
  struct stat info;
  snprintf(folder, sizeof(folder), "%s", t->model);
  while (strlen(folder) > 1 && folder[strlen(folder) - 1] == '/') {
    folder[strlen(folder) - 1] = '\0';
  }
  EXPECT(t, stat(folder, &info) == 0, "%s: is not there", t->model);
  char *slash = strrchr(folder, '/');
  char name[256];
  snprintf(name, sizeof(name), "%.255s", slash == NULL ? folder : slash + 1);
  *out = (trial_files){.rows = calloc(MAX_FILES, sizeof(*out->rows))};
  EXPECT(t, out->rows != NULL, "no memory");
  snprintf(out->path, sizeof(out->path), "%.1000s/nowhere/%s", t->folder, name);
  bool is_file = !S_ISDIR(info.st_mode);
  if (is_file && slash == NULL) {
    snprintf(folder, sizeof(folder), ".");
  } else if (is_file) {
    slash[slash == folder ? 1 : 0] = '\0';
  }
  reading.t = t;
  reading.out = out;
  reading.n_folder = strlen(folder) - (strcmp(folder, "/") == 0);
  if (is_file) { /* first, for a folder may hold more than is taken */
    char path[4096 + sizeof(name)];
    snprintf(out->main, sizeof(out->main), "%s", name);
    snprintf(path, sizeof(path), "%.*s/%s", (int)reading.n_folder, folder, name);
    add_file(path, (size_t)info.st_size);
  }
  EXPECT(t, nftw(folder, visit, OPEN_FOLDERS, FTW_PHYS | FTW_ACTIONRETVAL) == 0,
         "%s: cannot be listed", folder);
  qsort(out->rows, out->n, sizeof(*out->rows), compare_files);
  move_files(t, memory, out);
}

vonk_status trial_open_files(trial *t, const trial_files *files, const vonk_kv *options,
                             size_t n, vonk_plugin_model **out, vonk_error *err) {
  size_t n_rows = files->n * sizeof(*files->rows), n_texts = 1;
  for (size_t i = 0; i < files->n; i++) {
    n_texts += strlen(files->rows[i].name) + 1;
  }
  vonk_file *rows = malloc(n_rows + 1);
  char *texts = malloc(n_texts), *path = strdup(files->path), *own = strdup(files->main);
  EXPECT(t, rows != NULL && texts != NULL && path != NULL && own != NULL, "no memory");
  char *end = texts;
  for (size_t i = 0; i < files->n; i++) {
    rows[i] = files->rows[i];
    rows[i].name = end;
    end = stpcpy(end, files->rows[i].name) + 1;
  }
  vonk_files table = {.struct_size = (uint32_t)sizeof(table),
                      .n_files = (uint32_t)files->n,
                      .path = path,
                      .main = files->main[0] == '\0' ? NULL : own,
                      .files = rows};
  vonk_status status = t->api.open_files(&table, options, n, out, err);
  memset(rows, 0x5A, n_rows);
  memset(texts, 0x5A, n_texts);
  memset(path, 0x5A, strlen(path));
  memset(own, 0x5A, strlen(own));
  memset(&table, 0x5A, sizeof(table));
  free(rows);
  free(texts);
  free(path);
  free(own);
  return status;
}

void trial_need_files(trial *t) {
  if (t->model == NULL) {
    trial_skip(t, "needs a model");
  }
  trial_load(t);
  if (!VONK_HAS(&t->api, open_files) || t->api.open_files == NULL) {
    trial_skip(t, "the plug-in has no open_files");
  }
}
