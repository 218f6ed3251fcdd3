/* The files beside a model: variables and assets.
 *
 * Their names come out of the model and may be hostile. A name has to be relative,
 * without "..", and what it leads to, through all links, has to be a regular file inside
 * the model's folder. When the model's own file is a link (as in the Hugging Face cache,
 * whose snapshots link into one folder of blobs) the folder in which that file really is
 * counts as well. Nothing is opened here but the index of the variables, at whose end a
 * mark tells whether it is whole.
 *
 * Of a model in memory a name is looked for among those of its files, and TensorFlow is
 * told the one that it will have there (ram.c).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "opening.h"

/* --- the folder ---------------------------------------------------------------------- */

static vonk_status keep_path(tf_opening *opening, char *path, const char **out,
                             vonk_error *err) {
  if (path == NULL) {
    return vonk_kit_fail(err, VONK_IO, "'%s': its folder cannot be found: %s",
                         opening->place.path, strerror(errno));
  }
  size_t length = strlen(path);
  char *copy;
  vonk_status status = vonk_kit_new(&opening->model->arena, length + 1, 1, &copy, err);
  if (status == VONK_OK) {
    memcpy(copy, path, length); /* as it is: a name need not be clean text */
    *out = copy;
  }
  free(path);
  return status;
}

/* The folder part of a path, in place. */
static char *cut_file(char *path) {
  char *slash = path == NULL ? NULL : strrchr(path, '/');
  if (slash != NULL) {
    slash[slash == path ? 1 : 0] = '\0';
  }
  return path;
}

vonk_status vonk_tf_folder_take(tf_opening *opening, bool is_folder, vonk_error *err) {
  const char *path = opening->place.path;
  if (opening->model->source.files != NULL) {
    return vonk_tf_ram_take(opening->model, err);
  }
  if (is_folder) {
    VONK_TRY(keep_path(opening, realpath(path, NULL), &opening->folder, err));
    char file[PATH_MAX];
    int n = snprintf(file, sizeof file, "%s/saved_model.pb", opening->folder);
    char *real = n > 0 && n < (int)sizeof file ? realpath(file, NULL) : NULL;
    return keep_path(opening, cut_file(real), &opening->real_folder, err);
  }
  char *named = strchr(path, '/') == NULL ? strdup(".") : cut_file(strdup(path));
  char *folder = named == NULL ? NULL : realpath(named, NULL);
  free(named);
  VONK_TRY(keep_path(opening, folder, &opening->folder, err));
  return keep_path(opening, cut_file(realpath(path, NULL)), &opening->real_folder, err);
}

/* --- one file ------------------------------------------------------------------------ */

static vonk_status refuse(const tf_opening *opening, const char *what, kit_slice name,
                          vonk_status code, const char *why, vonk_error *err) {
  return vonk_kit_fail(err, code, "'%s': %s '%.*s': %s", opening->place.path, what,
                       VONK_TF_SHOWN(name), why);
}

/* What is wrong with a name, looked at as text; NULL if nothing. */
static const char *wrong_text(kit_slice name) {
  const char *text = (const char *)name.data;
  if (name.size == 0 || name.size >= PATH_MAX || !vonk_kit_is_text(text, name.size)) {
    return "is no file name (empty, not text, or too long): export the model again";
  }
  if (text[0] == '/' || memmem(text, name.size, "://", 3) != NULL) {
    return "is not relative to the model's folder: export the model again";
  }
  for (size_t start = 0; start <= name.size;) {
    const char *slash =
        start < name.size ? memchr(text + start, '/', name.size - start) : NULL;
    size_t end = slash == NULL ? name.size : (size_t)(slash - text);
    if (end - start == 2 && memcmp(text + start, "..", 2) == 0) {
      return "leaves the model's folder: export the model again";
    }
    start = end + 1;
  }
  return NULL;
}

static bool is_inside(const char *path, const char *folder) {
  size_t length = strlen(folder);
  return length != 0 && strncmp(path, folder, length) == 0 &&
         (folder[length - 1] == '/' || path[length] == '/');
}

static vonk_status fail_absent(const tf_opening *opening, const char *what,
                               kit_slice name, int why_not, vonk_error *err) {
  char why[256];
  snprintf(why, sizeof why, "%s: copy the whole model with all its files",
           strerror(why_not));
  return refuse(opening, what, name, VONK_IO, why, err);
}

static vonk_status find_at_path(tf_opening *opening, const char *what, kit_slice name,
                                const char **out, vonk_error *err) {
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%.*s", opening->folder, (int)name.size,
           (const char *)name.data);
  char *real = realpath(path, NULL);
  if (real == NULL) {
    return fail_absent(opening, what, name, errno, err);
  }
  struct stat facts;
  bool inside = is_inside(real, opening->folder) || is_inside(real, opening->real_folder);
  bool is_file = inside && stat(real, &facts) == 0 && S_ISREG(facts.st_mode);
  if (!is_file) {
    free(real);
    return refuse(opening, what, name, VONK_MODEL,
                  inside
                      ? "is no regular file: copy the whole model with all its files"
                      : "is a link out of the model's folder: put the file itself there",
                  err);
  }
  return keep_path(opening, real, out, err);
}

static vonk_status find_in_memory(tf_opening *opening, const char *what, kit_slice name,
                                  const vonk_file **out, vonk_error *err) {
  *out = vonk_kit_source_find(&opening->model->source, name);
  return *out == NULL ? fail_absent(opening, what, name, ENOENT, err) : VONK_OK;
}

vonk_status vonk_tf_file_take(tf_opening *opening, const char *what, kit_slice name,
                              const char **out, vonk_error *err) {
  const char *wrong = wrong_text(name);
  if (wrong != NULL) {
    return refuse(opening, what, name, VONK_MODEL, wrong, err);
  }
  if (opening->model->source.files == NULL) {
    return find_at_path(opening, what, name, out, err);
  }
  const vonk_file *file;
  VONK_TRY(find_in_memory(opening, what, name, &file, err));
  return vonk_tf_ram_want(opening->model, file, out, err);
}

vonk_status vonk_tf_file_map(tf_opening *opening, const char *what, const char *name,
                             uint64_t most, const char *wanted, kit_slice *out,
                             vonk_error *err) {
  const kit_slice text = {(const uint8_t *)name, strlen(name)};
  if (opening->model->source.files == NULL) {
    const char *path = NULL;
    VONK_TRY(find_at_path(opening, what, text, &path, err));
    return vonk_kit_map(path, most, wanted, out, err);
  }
  const vonk_file *file;
  VONK_TRY(find_in_memory(opening, what, text, &file, err));
  VONK_TRY(vonk_kit_size_check(opening->place.path, file->nbytes, most, wanted, err));
  *out = vonk_kit_file_bytes(file);
  return VONK_OK;
}

bool vonk_tf_file_exists(const tf_opening *opening, const char *name) {
  if (opening->model->source.files != NULL) {
    const kit_slice text = {(const uint8_t *)name, strlen(name)};
    return vonk_kit_source_find(&opening->model->source, text) != NULL;
  }
  char path[2 * PATH_MAX];
  struct stat facts;
  snprintf(path, sizeof path, "%s/%s", opening->folder, name);
  return stat(path, &facts) == 0;
}

/* --- variables ----------------------------------------------------------------------- */

/* An index is a table of LevelDB: it ends in this number. */
static vonk_status check_index(tf_opening *opening, const char *name, vonk_error *err) {
  static const uint8_t mark[8] = {0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb};
  static const char what[] = "its file of variables";
  kit_slice file;
  VONK_TRY(vonk_tf_file_map(opening, what, name, INT64_MAX, "an index of variables",
                            &file, err));
  bool is_whole = file.size >= 48 && memcmp(file.data + file.size - 8, mark, 8) == 0;
  vonk_kit_source_unmap(&opening->model->source, file);
  return is_whole
             ? VONK_OK
             : refuse(opening, what, (kit_slice){(const uint8_t *)name, strlen(name)},
                      VONK_MODEL, "is cut off or damaged: copy the model again", err);
}

/* The number behind "of" in ".data-00000-of-00002"; 0 if the text is something else. */
static unsigned shards_of(const char *text) {
  static const char pattern[] = ".data-#####-of-#####";
  for (size_t i = 0; i < sizeof pattern; ++i) {
    bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (pattern[i] == '#' ? !is_digit : text[i] != pattern[i]) {
      return 0;
    }
  }
  return (unsigned)strtoul(text + sizeof pattern - 6, NULL, 10);
}

/* How many data files there should be, by the name of one; 0 if none is there. */
static unsigned count_shards(const tf_opening *opening, const char *prefix) {
  char folder[2 * PATH_MAX];
  const char *slash = strrchr(prefix, '/');
  const char *file = slash == NULL ? prefix : slash + 1;
  snprintf(folder, sizeof folder, "%s/%.*s", opening->folder,
           slash == NULL ? 0 : (int)(slash - prefix), prefix);
  DIR *listing = opendir(folder);
  unsigned found = 0;
  for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
    size_t n = strlen(file);
    unsigned n_shards =
        strncmp(entry->d_name, file, n) == 0 ? shards_of(entry->d_name + n) : 0;
    found = n_shards > found ? n_shards : found;
  }
  if (listing != NULL) {
    closedir(listing);
  }
  return found;
}

/* The same of a model in memory, whose file PREFIX.index is given. */
static unsigned count_shards_beside(const vonk_files *files, const vonk_file *index) {
  size_t n = strlen(index->name) - strlen(".index");
  unsigned found = 0;
  for (uint32_t i = 0; i < files->n_files; ++i) {
    const char *name = files->files[i].name;
    unsigned n_shards = strncmp(name, index->name, n) == 0 ? shards_of(name + n) : 0;
    found = n_shards > found ? n_shards : found;
  }
  return found;
}

/* The prefix as TensorFlow is to be told it. */
static vonk_status make_prefix(tf_opening *opening, const char *prefix,
                               const char *index_path, const char **out,
                               vonk_error *err) {
  bool is_in_memory = opening->model->source.files != NULL;
  size_t size =
      (is_in_memory ? strlen(index_path) : strlen(opening->folder) + strlen(prefix) + 1) +
      1;
  char *path;
  VONK_TRY(vonk_kit_new(&opening->model->arena, size, 1, &path, err));
  if (is_in_memory) {
    memcpy(path, index_path, size - 1 - strlen(".index"));
  } else {
    snprintf(path, size, "%s/%s", opening->folder, prefix);
  }
  *out = path;
  return VONK_OK;
}

vonk_status vonk_tf_variables_take(tf_opening *opening, const char *prefix,
                                   const char **out, vonk_error *err) {
  static const char what[] = "its file of variables";
  const kit_source *source = &opening->model->source;
  char name[PATH_MAX];
  const char *index_path, *ignored;
  int n_name = snprintf(name, sizeof name, "%s.index", prefix);
  const kit_slice index = {(const uint8_t *)name, (size_t)n_name};
  VONK_TRY(vonk_tf_file_take(opening, what, index, &index_path, err));
  VONK_TRY(check_index(opening, name, err));
  unsigned n =
      source->files == NULL
          ? count_shards(opening, prefix)
          : count_shards_beside(source->files, vonk_kit_source_find(source, index));
  for (unsigned i = 0; i < (n == 0 ? 1 : n); ++i) {
    n_name =
        snprintf(name, sizeof name, "%s.data-%05u-of-%05u", prefix, i, n == 0 ? 1 : n);
    VONK_TRY(vonk_tf_file_take(opening, what,
                               (kit_slice){(const uint8_t *)name, (size_t)n_name},
                               &ignored, err));
  }
  return make_prefix(opening, prefix, index_path, out, err);
}
