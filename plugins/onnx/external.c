/* Files beside the model in which it keeps its weights.
 *
 * A location comes out of the model file and may be hostile. It has to be relative,
 * without
 * "..", and what it leads to, through all links, has to be a regular file inside the
 * model's folder. When the model's own path is a link (as in the Hugging Face cache,
 * whose snapshots link into one folder of blobs) the folder in which the file really is
 * counts as well. Nothing is opened here: the files are only looked at.
 *
 * Of a model in memory the location is one of its files' names. ONNX Runtime would look
 * for it in the working folder, so each one that a weight of the graph is in is noted, to
 * be handed over with the model.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "onnx_file.h"

/* "'m.onnx': tensor 'w': its data are said to be in 'x': <why>: <hint>" */
static vonk_status refuse(const onnx_folder *folder, const onnx_external *external,
                          vonk_status code, const char *why, vonk_error *err) {
  int n_name = external->name.size > 80 ? 80 : (int)external->name.size;
  int n_location = external->location.size > 200 ? 200 : (int)external->location.size;
  return vonk_kit_fail(err, code,
                       "'%s': tensor '%.*s': its data are said to be in '%.*s': %s",
                       folder->source->path, n_name, (const char *)external->name.data,
                       n_location, (const char *)external->location.data, why);
}

/* What is wrong with a location, looked at as text; NULL if nothing. */
static const char *wrong_text(const char *location, size_t size) {
  static const char leaves[] =
      "which leaves the model's folder: save the model with its data file beside it";
  if (size == 0) {
    return "which is no file name: export the model again";
  }
  if (size >= PATH_MAX || !vonk_kit_is_text(location, size)) {
    return "which is no file name (not text, or too long): export the model again";
  }
  if (location[0] == '/') {
    return "which is an absolute path: save the model with its data file beside it";
  }
  /* ONNX Runtime reads such "files" as addresses in memory. */
  if (location[0] == '*' || memmem(location, size, "MEM_ADDR_", 9) != NULL) {
    return "which stands for an address in memory: export the model again";
  }
  for (size_t start = 0; start <= size;) {
    const char *slash = start < size ? memchr(location + start, '/', size - start) : NULL;
    size_t end = slash == NULL ? size : (size_t)(slash - location);
    if (end - start == 2 && memcmp(location + start, "..", 2) == 0) {
      return leaves;
    }
    start = end + 1;
  }
  return NULL;
}

/* The folder part of a path, without links; to be freed. */
static char *resolve_folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  char folder[PATH_MAX];
  size_t length = slash == NULL ? 0 : (size_t)(slash - path);
  if (length >= sizeof folder) {
    return NULL;
  }
  memcpy(folder, path, length);
  folder[length] = '\0';
  return realpath(slash == NULL ? "." : length == 0 ? "/" : folder, NULL);
}

static void resolve_folders(onnx_folder *folder) {
  if (folder->resolved[0] != NULL) {
    return;
  }
  folder->resolved[0] = resolve_folder_of(folder->source->path);
  char *file = realpath(folder->source->path, NULL);
  if (file != NULL) {
    folder->resolved[1] = resolve_folder_of(file);
    free(file);
  }
}

static bool is_inside(const char *path, const char *folder) {
  size_t length = folder == NULL ? 0 : strlen(folder);
  if (length == 0 || strncmp(path, folder, length) != 0) {
    return false;
  }
  return folder[length - 1] == '/' || path[length] == '/';
}

static vonk_status fail_absent(const onnx_folder *folder, const onnx_external *external,
                               int why_not, vonk_error *err) {
  char why[256];
  snprintf(why, sizeof why, "%s: put that file into the model's folder",
           strerror(why_not));
  return refuse(folder, external, VONK_MODEL, why, err);
}

static vonk_status find_in_memory(onnx_folder *folder, const onnx_external *external,
                                  vonk_error *err) {
  const vonk_file *file = vonk_kit_source_find(folder->source, external->location);
  if (file == NULL) {
    return fail_absent(folder, external, ENOENT, err);
  }
  folder->checked_file = file;
  folder->checked_size = file->nbytes;
  return VONK_OK;
}

/* The file's size, after checking that it is a regular file in the right place. */
static vonk_status look_at(onnx_folder *folder, const onnx_external *external,
                           uint64_t *out_size, vonk_error *err) {
  char path[2 * PATH_MAX];
  resolve_folders(folder);
  if (folder->resolved[0] == NULL) {
    return refuse(folder, external, VONK_IO, "and the model's folder cannot be found",
                  err);
  }
  snprintf(path, sizeof path, "%s/%.*s", folder->resolved[0],
           (int)external->location.size, (const char *)external->location.data);
  char *real = realpath(path, NULL);
  if (real == NULL) {
    return fail_absent(folder, external, errno, err);
  }
  struct stat facts;
  bool inside =
      is_inside(real, folder->resolved[0]) || is_inside(real, folder->resolved[1]);
  bool is_file = inside && stat(real, &facts) == 0 && S_ISREG(facts.st_mode);
  free(real);
  if (!inside) {
    return refuse(folder, external, VONK_MODEL,
                  "a link out of the model's folder: put the file itself there", err);
  }
  if (!is_file) {
    return refuse(folder, external, VONK_MODEL,
                  "which is no regular file: put the data file there", err);
  }
  *out_size = (uint64_t)facts.st_size;
  return VONK_OK;
}

vonk_status vonk_onnx_external_check(onnx_folder *folder, const onnx_external *external,
                                     vonk_error *err) {
  kit_slice location = external->location;
  bool is_known = folder->checked.size == location.size && location.size != 0 &&
                  memcmp(folder->checked.data, location.data, location.size) == 0;
  if (!is_known) {
    const char *wrong = wrong_text((const char *)location.data, location.size);
    if (wrong != NULL) {
      return refuse(folder, external, VONK_MODEL, wrong, err);
    }
    VONK_TRY(folder->source->files != NULL
                 ? find_in_memory(folder, external, err)
                 : look_at(folder, external, &folder->checked_size, err));
    folder->checked = location;
  }
  uint64_t end;
  if (__builtin_add_overflow(external->offset, external->nbytes, &end) ||
      end > folder->checked_size) {
    char why[256];
    snprintf(why, sizeof why,
             "%" PRIu64 " bytes from byte %" PRIu64 " on are needed, and it has %" PRIu64
             ": the file is cut off, or of another model",
             external->nbytes, external->offset, folder->checked_size);
    return refuse(folder, external, VONK_MODEL, why, err);
  }
  return VONK_OK;
}

/* --- what goes with a model in memory ------------------------------------------------ */

struct onnx_note {
  struct onnx_note *next;
  onnx_companion companion;
};

vonk_status vonk_onnx_external_note(onnx_folder *folder, kit_arena *arena,
                                    vonk_error *err) {
  const kit_slice location = folder->checked;
  if (folder->noted.data != NULL && folder->noted.size == location.size &&
      memcmp(folder->noted.data, location.data, location.size) == 0) {
    return VONK_OK;
  }
  struct onnx_note *note;
  char *text;
  VONK_TRY(vonk_kit_new(arena, 1, sizeof *note, &note, err));
  VONK_TRY(vonk_kit_new(arena, location.size + 1, 1, &text, err));
  memcpy(text, location.data, location.size);
  *note = (struct onnx_note){folder->notes,
                             {text, vonk_kit_file_bytes(folder->checked_file)}};
  folder->notes = note;
  folder->noted = location;
  ++folder->n_notes;
  return VONK_OK;
}

static int compare_companions(const void *a, const void *b) {
  return strcmp(((const onnx_companion *)a)->location,
                ((const onnx_companion *)b)->location);
}

vonk_status vonk_onnx_companions_list(const onnx_folder *folder, kit_arena *arena,
                                      onnx_file_facts *out, vonk_error *err) {
  onnx_companion *rows;
  uint32_t n = 0, n_kept = 0;
  if (folder->n_notes == 0) {
    return VONK_OK;
  }
  VONK_TRY(vonk_kit_new(arena, folder->n_notes, sizeof *rows, &rows, err));
  for (const struct onnx_note *note = folder->notes; note != NULL; note = note->next) {
    rows[n++] = note->companion;
  }
  qsort(rows, n, sizeof *rows, compare_companions);
  for (uint32_t i = 0; i < n; ++i) {
    if (i == 0 || compare_companions(&rows[i - 1], &rows[i]) != 0) {
      rows[n_kept++] = rows[i];
    }
  }
  out->companions = rows;
  out->n_companions = n_kept;
  return VONK_OK;
}

void vonk_onnx_folder_release(onnx_folder *folder) {
  free(folder->resolved[0]);
  free(folder->resolved[1]);
}
