/* A model's files, which lie at a path or which the host has in memory.
 *
 * What a plug-in checks and reads is the same for both: it asks for the model's own file,
 * which is mapped or is there already, and looks for others beside it by their names. In
 * memory a name is all there is: no link has to be followed, and nothing can lie outside.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kit/kit.h"

/* Copies a text as it is: a name need not be clean. */
static vonk_status keep_text(kit_arena *arena, const char *text, const char **out,
                             vonk_error *err) {
  size_t nbytes = strlen(text) + 1;
  char *copy;
  VONK_TRY(vonk_kit_new(arena, nbytes, 1, &copy, err));
  memcpy(copy, text, nbytes);
  *out = copy;
  return VONK_OK;
}

vonk_status vonk_kit_source_keep(kit_arena *arena, kit_source source, kit_source *out,
                                 vonk_error *err) {
  kit_source kept = {0};
  VONK_TRY(vonk_kit_new_text(arena, source.path, strlen(source.path), &kept.path, err));
  if (source.files != NULL) {
    const uint32_t n = source.files->n_files;
    vonk_files *files;
    vonk_file *rows;
    VONK_TRY(vonk_kit_new(arena, 1, sizeof *files, &files, err));
    VONK_TRY(vonk_kit_new(arena, (size_t)n + 1, sizeof *rows, &rows, err));
    for (uint32_t i = 0; i < n; ++i) {
      rows[i] = source.files->files[i];
      VONK_TRY(keep_text(arena, source.files->files[i].name, &rows[i].name, err));
    }
    *files = (vonk_files){.struct_size = (uint32_t)sizeof *files,
                          .n_files = n,
                          .path = kept.path,
                          .files = rows};
    if (source.files->main != NULL) {
      VONK_TRY(keep_text(arena, source.files->main, &files->main, err));
    }
    kept.files = files;
  }
  *out = kept;
  return VONK_OK;
}

/* --- finding ------------------------------------------------------------------------ */

/* The next part of a name: between slashes, neither empty nor ".". */
static bool next_part(kit_slice *rest, kit_slice *out) {
  while (rest->size != 0) {
    const uint8_t *slash = memchr(rest->data, '/', rest->size);
    size_t n = slash == NULL ? rest->size : (size_t)(slash - rest->data);
    *out = (kit_slice){rest->data, n};
    size_t skipped = slash == NULL ? n : n + 1;
    *rest = (kit_slice){rest->data + skipped, rest->size - skipped};
    if (n != 0 && !(n == 1 && out->data[0] == '.')) {
      return true;
    }
  }
  return false;
}

/* The order of a file's name to `folder`/`name`, that of strcmp. */
static int compare(const char *file, kit_slice folder, kit_slice name) {
  kit_slice rests[] = {folder, name}, part;
  bool is_first = true;
  for (size_t i = 0; i < 2; ++i) {
    while (next_part(&rests[i], &part)) {
      if (!is_first && *file != '/') {
        return (unsigned char)*file < '/' ? -1 : 1;
      }
      file += !is_first;
      is_first = false;
      int order = strncmp(file, (const char *)part.data, part.size);
      if (order != 0) {
        return order;
      }
      file += part.size;
    }
  }
  return *file == '\0' ? 0 : 1;
}

/* The folder that the model's own file lies in, below that of all files. */
static kit_slice own_folder(const vonk_files *files) {
  const char *slash = files->main == NULL ? NULL : strrchr(files->main, '/');
  return slash == NULL
             ? (kit_slice){0}
             : (kit_slice){(const uint8_t *)files->main, (size_t)(slash - files->main)};
}

static const vonk_file *search(const vonk_files *files, kit_slice folder,
                               kit_slice name) {
  uint32_t low = 0, high = files->n_files;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare(files->files[middle].name, folder, name);
    if (order == 0) {
      return &files->files[middle];
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

const vonk_file *vonk_kit_source_find(const kit_source *source, kit_slice name) {
  if (name.size == 0 || memchr(name.data, '\0', name.size) != NULL) {
    return NULL;
  }
  return search(source->files, own_folder(source->files), name);
}

/* --- the model's own file ----------------------------------------------------------- */

vonk_status vonk_kit_source_map(const kit_source *source, uint64_t most,
                                const char *wanted, kit_slice *out, vonk_error *err) {
  const vonk_files *files = source->files;
  if (files == NULL) {
    return vonk_kit_map(source->path, most, wanted, out, err);
  }
  if (files->main == NULL) {
    return vonk_kit_fail(err, VONK_MODEL, "'%s': is a folder: give %s", source->path,
                         wanted);
  }
  const kit_slice name = {(const uint8_t *)files->main, strlen(files->main)};
  const vonk_file *file = search(files, (kit_slice){0}, name);
  if (file == NULL) {
    return vonk_kit_fail(err, VONK_IO, "'%s': cannot be opened: %s", source->path,
                         strerror(ENOENT));
  }
  VONK_TRY(vonk_kit_size_check(source->path, file->nbytes, most, wanted, err));
  *out = vonk_kit_file_bytes(file);
  return VONK_OK;
}

void vonk_kit_source_unmap(const kit_source *source, kit_slice file) {
  if (source->files == NULL) {
    vonk_kit_unmap(file);
  }
}

kit_slice vonk_kit_file_bytes(const vonk_file *file) {
  return file->nbytes == 0 ? (kit_slice){0}
                           : (kit_slice){file->data, (size_t)file->nbytes};
}
