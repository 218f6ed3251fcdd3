/* Which files a bundle has that is a folder.
 *
 * How it works: the folder is walked, and everything in it must be a regular file or a
 * folder, or a link to a file inside the bundle. A link that leaves the bundle would make
 * it another model on another machine, or read a file that its author may not name; a
 * pipe or a device would never end. Nothing but the manifest is read here. */
#define _XOPEN_SOURCE 700
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle/internal.h"

enum { MOST_DEPTH = 32 };

typedef struct walk {
  vonk_bundle *bundle;
  char path[PATH_MAX]; /* of what is looked at now */
  size_t root;         /* bytes of path before the name within the bundle */
  vonk_buffer found;   /* bundle_file, one after the other */
} walk;

static vonk_status fail_here(const walk *w, vonk_error *err, vonk_status code,
                             const char *why) {
  char name[VONK_SHOWN];
  const char *inside = w->path + w->root;
  return vonk_bundle_fail(w->bundle, err, code, "'%s': %s",
                          vonk_bundle_show(inside, strlen(inside), name), why);
}

static vonk_status fail_errno(const walk *w, vonk_error *err, const char *what) {
  char reason[128], text[192];
  if (strerror_r(errno, reason, sizeof reason) != 0) {
    strcpy(reason, "unknown reason");
  }
  strcpy(text, what);
  strcat(text, ": ");
  strcat(text, reason);
  return fail_here(w, err, VONK_IO, text);
}

static vonk_status visit_folder(walk *w, size_t depth, vonk_error *err);

static vonk_status visit_file(walk *w, const struct stat *facts, vonk_error *err) {
  const char *name = w->path + w->root;
  const char *fault = vonk_bundle_name_fault(name, strlen(name));
  if (fault != NULL) {
    return fail_here(w, err, VONK_MODEL, fault);
  }
  if (strcmp(name, VONK_MANIFEST) == 0) {
    return VONK_OK;
  }
  bundle_file file = {.size = (uint64_t)facts->st_size};
  if (w->found.size / sizeof file >= VONK_BUNDLE_MAX_FILES) {
    return vonk_bundle_fail(w->bundle, err, VONK_MODEL,
                            "is a folder with more than %d files: give the folder of one "
                            "bundle",
                            VONK_BUNDLE_MAX_FILES);
  }
  VONK_TRY(vonk_bundle_text(w->bundle, name, strlen(name), &file.name, err));
  return vonk_buffer_append(&w->found, &file, sizeof file, err);
}

/* A link may be there if it leads to a file inside the bundle. */
static vonk_status visit_link(walk *w, vonk_error *err) {
  char target[PATH_MAX];
  struct stat facts;
  size_t n_root = w->root - 1; /* without the slash */
  if (realpath(w->path, target) == NULL) {
    return fail_errno(w, err, "is a link that leads nowhere");
  }
  if (strncmp(target, w->path, n_root) != 0 || target[n_root] != '/') {
    return fail_here(w, err, VONK_MODEL,
                     "is a link that leaves the bundle: put the file there instead");
  }
  if (stat(target, &facts) != 0) {
    return fail_errno(w, err, "cannot be looked at");
  }
  return S_ISREG(facts.st_mode)
             ? visit_file(w, &facts, err)
             : fail_here(w, err, VONK_MODEL,
                         "is a link to something else than a file: put files there");
}

static vonk_status visit(walk *w, size_t depth, vonk_error *err) {
  struct stat facts;
  if (lstat(w->path, &facts) != 0) {
    return fail_errno(w, err, "cannot be looked at");
  }
  if (S_ISLNK(facts.st_mode)) {
    return visit_link(w, err);
  }
  if (S_ISDIR(facts.st_mode)) {
    return visit_folder(w, depth + 1, err);
  }
  return S_ISREG(facts.st_mode)
             ? visit_file(w, &facts, err)
             : fail_here(w, err, VONK_MODEL,
                         "is a pipe, socket or device: a bundle has files only");
}

static vonk_status visit_entries(walk *w, DIR *folder, size_t depth, vonk_error *err) {
  size_t length = strlen(w->path);
  for (;;) {
    errno = 0;
    const struct dirent *item = readdir(folder);
    if (item == NULL) {
      return errno == 0 ? VONK_OK : fail_errno(w, err, "cannot be listed");
    }
    if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) {
      continue;
    }
    size_t more = strlen(item->d_name);
    if (length + 1 + more >= sizeof w->path) {
      return fail_here(w, err, VONK_IO, "holds a file with too long a path");
    }
    w->path[length] = '/';
    memcpy(w->path + length + 1, item->d_name, more + 1);
    VONK_TRY(visit(w, depth, err));
    w->path[length] = '\0';
  }
}

static vonk_status visit_folder(walk *w, size_t depth, vonk_error *err) {
  if (depth > MOST_DEPTH) {
    return fail_here(w, err, VONK_MODEL, "is more than 32 folders deep");
  }
  DIR *folder = opendir(w->path);
  if (folder == NULL) {
    return fail_errno(w, err, "cannot be listed");
  }
  vonk_status status = visit_entries(w, folder, depth, err);
  closedir(folder);
  return status;
}

/* --- the manifest -------------------------------------------------------------------- */

static vonk_status read_manifest(vonk_bundle *bundle, vonk_error *err) {
  size_t length = strlen(bundle->path), n_read = 0;
  char *path;
  uint8_t *text;
  VONK_TRY(vonk_bundle_new(bundle, length + sizeof "/" VONK_MANIFEST, 1, &path, err));
  memcpy(path, bundle->path, length);
  memcpy(path + length, "/" VONK_MANIFEST, sizeof "/" VONK_MANIFEST);
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(path, &id, err));
  if (id.is_folder || id.size > VONK_MANIFEST_MAX) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL, VONK_MANIFEST " is %s",
                            id.is_folder ? "a folder: pack the model again"
                                         : "larger than 4 MiB: pack the model again");
  }
  VONK_TRY(vonk_bundle_new(bundle, (size_t)id.size + 1, 1, &text, err));
  VONK_TRY(vonk_file_head(path, text, (size_t)id.size + 1, &n_read, err));
  if (n_read != (size_t)id.size) {
    return vonk_bundle_fail(bundle, err, VONK_IO,
                            VONK_MANIFEST " changed while it was read: open it again");
  }
  bundle->text = text;
  bundle->n_text = n_read;
  return VONK_OK;
}

vonk_status vonk_folder_read(vonk_bundle *bundle, vonk_error *err) {
  walk w;
  size_t length = strlen(bundle->path);
  w.bundle = bundle;
  w.found = (vonk_buffer){0};
  if (length + 1 >= sizeof w.path) {
    return vonk_bundle_fail(bundle, err, VONK_IO, "is too long a path");
  }
  memcpy(w.path, bundle->path, length + 1);
  w.root = length + 1;
  w.path[w.root] = '\0'; /* the folder itself has the empty name inside */
  vonk_status status = visit_folder(&w, 0, err);
  size_t n = w.found.size / sizeof *bundle->files;
  if (status == VONK_OK) {
    status = vonk_bundle_new(bundle, n, sizeof *bundle->files, &bundle->files, err);
  }
  if (status == VONK_OK && n > 0) {
    memcpy(bundle->files, w.found.data, w.found.size);
    bundle->n_files = n;
    vonk_bundle_sort_files(bundle->files, n);
  }
  vonk_buffer_release(&w.found);
  return status == VONK_OK ? read_manifest(bundle, err) : status;
}
