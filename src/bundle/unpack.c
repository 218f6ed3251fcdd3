/* A model's files in a folder of their own, for a plug-in that cannot take them from
 * memory.
 *
 * How it works: the folder is new, has a name that nobody can guess and admits only this
 * user; every file in it is made anew ("exclusive"), so nothing that lies there can be
 * written through. The folder is removed as soon as anything fails, and with the bundle. */
#define _GNU_SOURCE /* secure_getenv */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/internal.h"

static vonk_status fail_errno(const vonk_bundle *bundle, const char *path, int code,
                              vonk_error *err) {
  char reason[128];
  const char *text = strerror_r(code, reason, sizeof reason);
  return vonk_bundle_fail(bundle, err, VONK_IO,
                          "cannot be unpacked for its plug-in, which reads files only: "
                          "%s: %s: make room there, or name another folder in TMPDIR",
                          path, text);
}

/* --- removing ------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *facts, int type,
                      struct FTW *place) {
  (void)facts;
  (void)type;
  (void)place;
  (void)remove(path);
  return 0;
}

void vonk_unpacked_remove(const char *folder) {
  enum { OPEN_FOLDERS = 16 };
  if (nftw(folder, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) != 0) {
    vonk_log(VONK_LOG_WARNING, "bundle", "%s: cannot be removed", folder);
  }
}

/* --- writing ------------------------------------------------------------------------- */

static vonk_status write_fully(const vonk_bundle *bundle, const char *path,
                               const uint8_t *data, uint64_t n, vonk_error *err) {
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int code = file < 0 ? errno : 0;
  while (code == 0 && n > 0) {
    ssize_t written = write(file, data, n < (1u << 30) ? (size_t)n : 1u << 30);
    if (written >= 0) {
      data += written;
      n -= (uint64_t)written;
    } else if (errno != EINTR) {
      code = errno;
    }
  }
  if (file >= 0 && close(file) != 0 && code == 0) {
    code = errno;
  }
  return code == 0 ? VONK_OK : fail_errno(bundle, path, code, err);
}

/* The folders that path lies in, from the one that ends at `from` on. */
static vonk_status make_folders(const vonk_bundle *bundle, char *path, size_t from,
                                vonk_error *err) {
  for (char *slash = strchr(path + from, '/'); slash != NULL;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    int code = mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
    vonk_status status = code == 0 ? VONK_OK : fail_errno(bundle, path, code, err);
    *slash = '/';
    VONK_TRY(status);
  }
  return VONK_OK;
}

static vonk_status write_file(vonk_bundle *bundle, const char *folder,
                              const vonk_file *file, vonk_error *err) {
  size_t n_folder = strlen(folder), nbytes = n_folder + strlen(file->name) + 2;
  char *path;
  VONK_TRY(vonk_new(nbytes, 1, &path, err));
  (void)snprintf(path, nbytes, "%s/%s", folder, file->name);
  vonk_status status = make_folders(bundle, path, n_folder + 1, err);
  if (status == VONK_OK) {
    status = write_fully(bundle, path, file->data, file->nbytes, err);
  }
  vonk_delete(path);
  return status;
}

/* --- the folder ---------------------------------------------------------------------- */

static vonk_status make_folder(vonk_bundle *bundle, char **out, vonk_error *err) {
  static const char name[] = "/vonk-XXXXXX";
  const char *parent = secure_getenv("TMPDIR");
  if (parent == NULL || parent[0] != '/') {
    parent = "/tmp";
  }
  size_t n = strlen(parent);
  char *path;
  VONK_TRY(vonk_bundle_new(bundle, n + sizeof name, 1, &path, err));
  memcpy(path, parent, n);
  memcpy(path + n, name, sizeof name);
  if (mkdtemp(path) == NULL) { /* with mode 0700 */
    return fail_errno(bundle, parent, errno, err);
  }
  *out = path;
  return VONK_OK;
}

vonk_status vonk_bundle_unpack(vonk_bundle *bundle, const char **model_path,
                               vonk_error *err) {
  const vonk_files *model = &bundle->model;
  char *folder = NULL, *path;
  if (bundle->unpacked != NULL) {
    *model_path = bundle->unpacked_model;
    return VONK_OK;
  }
  VONK_TRY(make_folder(bundle, &folder, err));
  vonk_status status = VONK_OK;
  for (uint32_t i = 0; status == VONK_OK && i < model->n_files; i++) {
    status = write_file(bundle, folder, &model->files[i], err);
  }
  const char *main = model->main == NULL ? "" : model->main;
  size_t nbytes = strlen(folder) + strlen(main) + 2;
  if (status == VONK_OK) {
    status = vonk_bundle_new(bundle, nbytes, 1, &path, err);
  }
  if (status != VONK_OK) {
    vonk_unpacked_remove(folder);
    return status;
  }
  (void)snprintf(path, nbytes, "%s%s%s", folder, main[0] == '\0' ? "" : "/", main);
  bundle->unpacked = folder;
  bundle->unpacked_model = path;
  *model_path = path;
  return VONK_OK;
}
