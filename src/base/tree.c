/* Models that are folders: what tells a changed one from an unchanged one, and their
 * digest.
 *
 * How it works: a folder's own time changes only when a name in it comes or goes, so a
 * model saved again over itself would look the same. So all files below it are looked at,
 * links followed but those to folders elsewhere, and for each a hash is taken of its name within the folder and of what
 * stat tells; the hashes are added up, since folders are read in no order. The walk ends
 * with an error at more files, or at a greater depth, than models have: somebody gave the
 * folder above, or links run in a circle. Files of the names that a desktop leaves in any
 * folder are counted like all others: what a framework reads is its own secret. */
#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"

enum { MOST_FILES = 65536, MOST_DEPTH = 32 };

typedef struct walk {
  char path[PATH_MAX]; /* of what is looked at now */
  size_t root;         /* bytes of path before the name within the folder */
  size_t n_files;
  vonk_file_id *id;  /* to fill, or NULL */
  bool wants_names;  /* names is filled: "<name>\0" one after the other */
  vonk_buffer names; /* within the folder */
} walk;

static vonk_status fail_here(const walk *w, vonk_error *err, const char *what) {
  char reason[128];
  if (strerror_r(errno, reason, sizeof reason) != 0) {
    strcpy(reason, "unknown reason");
  }
  return vonk_fail(err, VONK_IO, "%s: %s: %s", w->path, what, reason);
}

/* --- the hash of one file ------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, const void *bytes, size_t nbytes) {
  const uint8_t *byte = bytes;
  for (size_t i = 0; i < nbytes; i++) {
    hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
  }
  return hash;
}

/* Spreads a hash over all bits, so that sums of hashes do not cancel out. */
static uint64_t spread(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
  hash = (hash ^ (hash >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
  return hash ^ (hash >> 33);
}

static int64_t nanoseconds(const struct stat *facts) {
  return (int64_t)((uint64_t)facts->st_mtim.tv_sec * UINT64_C(1000000000) +
                   (uint64_t)facts->st_mtim.tv_nsec);
}

static void add_to_id(vonk_file_id *id, const char *name, const struct stat *facts) {
  int64_t mtime_ns = nanoseconds(facts);
  const uint64_t told[] = {(uint64_t)facts->st_size, (uint64_t)mtime_ns,
                           (uint64_t)facts->st_ino, (uint64_t)facts->st_dev};
  uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), name, strlen(name) + 1);
  id->content += spread(mix(hash, told, sizeof told));
  id->size += (int64_t)facts->st_size;
  id->mtime_ns = mtime_ns > id->mtime_ns ? mtime_ns : id->mtime_ns;
}

/* --- the walk ------------------------------------------------------------------------ */

static vonk_status visit_folder(walk *w, size_t depth, vonk_error *err);

static vonk_status visit_file(walk *w, const struct stat *facts, vonk_error *err) {
  const char *name = w->path + w->root;
  if (++w->n_files > MOST_FILES) {
    w->path[w->root] = '\0';
    return vonk_fail(err, VONK_INVALID,
                     "%s: is a folder with more than %d files: give the folder of one "
                     "model",
                     w->path, MOST_FILES);
  }
  if (w->id != NULL) {
    add_to_id(w->id, name, facts);
  }
  return w->wants_names ? vonk_buffer_append(&w->names, name, strlen(name) + 1, err)
                        : VONK_OK;
}

/* Whether a folder is a link to one that does not lie in the model's. Whose that is, is
 * nothing to guess: it is not listed, and no plug-in reads it. */
static bool leads_out(walk *w) {
  char root[PATH_MAX], target[PATH_MAX];
  struct stat facts;
  if (lstat(w->path, &facts) != 0 || !S_ISLNK(facts.st_mode)) {
    return false;
  }
  w->path[w->root - 1] = '\0';
  bool is_known = realpath(w->path, root) != NULL;
  w->path[w->root - 1] = '/';
  size_t n = is_known ? strlen(root) : 0;
  is_known = is_known && realpath(w->path, target) != NULL;
  return !is_known || strncmp(target, root, n) != 0 ||
         (target[n] != '\0' && target[n] != '/');
}

/* What path says now. A file that has just gone is left out, like a link to nothing. */
static vonk_status visit(walk *w, size_t depth, vonk_error *err) {
  struct stat facts;
  if (stat(w->path, &facts) != 0) {
    return errno == ENOENT ? VONK_OK : fail_here(w, err, "cannot be looked at");
  }
  if (S_ISDIR(facts.st_mode)) {
    return leads_out(w) ? VONK_OK : visit_folder(w, depth + 1, err);
  }
  return S_ISREG(facts.st_mode) ? visit_file(w, &facts, err) : VONK_OK;
}

static vonk_status visit_entries(walk *w, DIR *folder, size_t depth, vonk_error *err) {
  size_t length = strlen(w->path);
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(folder);
    if (entry == NULL) {
      return errno == 0 ? VONK_OK : fail_here(w, err, "cannot be listed");
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
      continue;
    }
    size_t more = strlen(entry->d_name);
    if (length + 1 + more >= sizeof w->path) {
      return vonk_fail(err, VONK_IO, "%s/%s: is too long a path", w->path, entry->d_name);
    }
    w->path[length] = '/';
    memcpy(w->path + length + 1, entry->d_name, more + 1);
    VONK_TRY(visit(w, depth, err));
    w->path[length] = '\0';
  }
}

static vonk_status visit_folder(walk *w, size_t depth, vonk_error *err) {
  if (depth > MOST_DEPTH) {
    return vonk_fail(err, VONK_INVALID,
                     "%s: is more than %d folders deep: links in a circle? Give the "
                     "folder of one model",
                     w->path, MOST_DEPTH);
  }
  DIR *folder = opendir(w->path);
  if (folder == NULL) {
    return fail_here(w, err, "cannot be listed");
  }
  vonk_status status = visit_entries(w, folder, depth, err);
  closedir(folder);
  return status;
}

/* The walk has its path on the stack: PATH_MAX bytes, once. */
static vonk_status walk_tree(walk *w, const char *path, vonk_error *err) {
  size_t length = strlen(path);
  if (length + 1 >= sizeof w->path) {
    return vonk_fail(err, VONK_IO, "%s: is too long a path", path);
  }
  memcpy(w->path, path, length + 1);
  w->root = length + 1; /* after the slash */
  return visit_folder(w, 0, err);
}

vonk_status vonk_tree_identify(const char *path, vonk_file_id *out, vonk_error *err) {
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(path, &id, err));
  if (id.is_folder) {
    walk w;
    w.n_files = 0;
    w.id = &id;
    w.wants_names = false;
    VONK_TRY(walk_tree(&w, path, err));
  }
  *out = id;
  return VONK_OK;
}

/* --- the digest ---------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One line as sha256sum prints it. */
static vonk_status add_line(vonk_sha256 *digest, const char *folder, const char *name,
                            vonk_error *err) {
  char path[PATH_MAX], hex[65];
  if (strpbrk(name, "\n\r\\") != NULL) {
    return vonk_fail(
        err, VONK_UNSUPPORTED,
        "%s: has a file with a line break or a backslash in its name, and so "
        "no sha256: rename it",
        folder);
  }
  snprintf(path, sizeof path, "%s/%s", folder, name); /* it fitted before */
  VONK_TRY(vonk_sha256_file(path, hex, err));
  vonk_sha256_update(digest, hex, 64);
  vonk_sha256_update(digest, "  ", 2);
  vonk_sha256_update(digest, name, strlen(name));
  vonk_sha256_update(digest, "\n", 1);
  return VONK_OK;
}

static vonk_status digest_names(const walk *w, const char *folder, char hex[65],
                                vonk_error *err) {
  const char **names;
  VONK_TRY(vonk_new(w->n_files, sizeof *names, &names, err));
  const char *next = (const char *)w->names.data;
  for (size_t i = 0; i < w->n_files; i++) {
    names[i] = next;
    next += strlen(next) + 1;
  }
  if (w->n_files > 1) {
    qsort(names, w->n_files, sizeof *names, compare_names);
  }
  vonk_sha256 digest;
  vonk_sha256_start(&digest);
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < w->n_files; i++) {
    status = add_line(&digest, folder, names[i], err);
  }
  if (status == VONK_OK) {
    vonk_sha256_finish(&digest, hex);
  }
  vonk_delete(names);
  return status;
}

vonk_status vonk_tree_sha256(const char *path, char hex[65], vonk_error *err) {
  vonk_file_id id;
  VONK_TRY(vonk_file_identify(path, &id, err));
  if (!id.is_folder) {
    return vonk_sha256_file(path, hex, err);
  }
  walk w;
  w.n_files = 0;
  w.id = NULL;
  w.wants_names = true;
  w.names = (vonk_buffer){0};
  vonk_status status = walk_tree(&w, path, err);
  if (status == VONK_OK) {
    status = digest_names(&w, path, hex, err);
  }
  vonk_buffer_release(&w.names);
  return status;
}
