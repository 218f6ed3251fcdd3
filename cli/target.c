/* The output of `vonk run`.
 *
 * How it works. The rows go to a hidden file in the output's own folder; when all are
 * written it is made durable (fsync) and renamed, so that the final name never stands for
 * half a table. What cannot be renamed over (a device, a named pipe) is written straight.
 * The standard output is fed through a pipe: DuckDB opens what it writes to by name, and
 * opening the name of the standard output again would start at its beginning. */
#define _GNU_SOURCE /* pipe2 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "cli/signals.h"

enum { MAX_PATH_BYTES = 4096 };

/* --- the standard output --- */

typedef struct pump {
  pthread_t thread;
  int from;
  int error; /* errno; 0 = all went out */
} pump;

static void *run_pump(void *arg) {
  enum { BLOCK = 1 << 16 };
  pump *p = arg;
  char block[BLOCK];
  ssize_t n;
  while ((n = read(p->from, block, BLOCK)) != 0) {
    for (ssize_t done = 0; done < n && p->error == 0;) {
      ssize_t written = write(STDOUT_FILENO, block + done, (size_t)(n - done));
      p->error = written < 0 && errno != EINTR ? errno : 0;
      done += written > 0 ? written : 0;
    }
  }
  return NULL;
}

static vonk_status open_stdout(vonk_cli_target *t, vonk_error *err) {
  int ends[2];
  char path[64];
  pump *p;
  VONK_TRY(vonk_new(1, sizeof(*p), &p, err));
  if (pipe2(ends, O_CLOEXEC) != 0) {
    vonk_delete(p);
    return vonk_fail(err, VONK_IO, "the standard output: no pipe to it can be made: %s",
                     strerror(errno));
  }
  p->from = ends[0];
  t->pipe_end = ends[1];
  t->pump = p;
  if (pthread_create(&p->thread, NULL, run_pump, p) != 0) {
    (void)close(ends[0]);
    (void)close(ends[1]);
    t->pump = NULL;
    t->pipe_end = -1;
    vonk_delete(p);
    return vonk_fail(err, VONK_NOMEM,
                     "the standard output: no thread to feed it can be made");
  }
  (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
  VONK_TRY(vonk_new_string(path, &t->pipe_path, err));
  t->path = t->pipe_path;
  return VONK_OK;
}

/* Waits until everything has gone out. */
static int end_pump(vonk_cli_target *t) {
  pump *p = t->pump;
  if (p == NULL) {
    return 0;
  }
  (void)close(t->pipe_end);
  (void)pthread_join(p->thread, NULL);
  (void)close(p->from);
  int error = p->error;
  vonk_delete(p);
  t->pump = NULL;
  t->pipe_end = -1;
  return error;
}

/* --- files --- */

static vonk_status split_path(const char *path, char folder[MAX_PATH_BYTES],
                              char base[MAX_PATH_BYTES], vonk_error *err) {
  char copy[MAX_PATH_BYTES];
  if (strlen(path) >= MAX_PATH_BYTES) {
    return vonk_fail(err, VONK_IO, "%.64s...: the name is too long", path);
  }
  (void)snprintf(copy, sizeof(copy), "%s", path);
  (void)snprintf(folder, MAX_PATH_BYTES, "%s", dirname(copy));
  const char *slash = strrchr(path, '/');
  (void)snprintf(base, MAX_PATH_BYTES, "%s", slash == NULL ? path : slash + 1);
  return VONK_OK;
}

static vonk_status name_temporary(vonk_cli_target *t, vonk_error *err) {
  char folder[MAX_PATH_BYTES], base[MAX_PATH_BYTES], path[2 * MAX_PATH_BYTES + 32];
  VONK_TRY(split_path(t->final, folder, base, err));
  if (access(folder, W_OK | X_OK) != 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be written: the folder %s: %s", t->final,
                     folder, strerror(errno));
  }
  (void)snprintf(path, sizeof(path), "%s/.%.200s.vonk-%ld", folder, base, (long)getpid());
  VONK_TRY(vonk_new_string(path, &t->temporary, err));
  t->path = t->temporary;
  vonk_cli_signals_temporary(t->temporary);
  return VONK_OK;
}

static vonk_status open_file(const char *output, vonk_cli_target *t, vonk_error *err) {
  struct stat st;
  bool exists = stat(output, &st) == 0;
  if (exists && S_ISDIR(st.st_mode)) {
    return vonk_fail(err, VONK_IO, "%s: cannot be written: is a folder", output);
  }
  if (!exists) {
    VONK_TRY(vonk_new_string(output, &t->final, err));
    return name_temporary(t, err);
  }
  VONK_TRY(vonk_path_resolve(output, &t->final, err));
  if (!S_ISREG(st.st_mode)) {
    t->path = t->final;
    return VONK_OK;
  }
  return name_temporary(t, err);
}

vonk_status vonk_cli_target_open(const char *output, vonk_cli_format forced,
                                 vonk_cli_target *out, vonk_error *err) {
  vonk_cli_target t = {.pipe_end = -1};
  bool is_stdout = strcmp(output, "-") == 0;
  t.format = is_stdout ? VONK_FORMAT_CSV : vonk_cli_format_of(output, &t.compression);
  t.format = forced != VONK_FORMAT_UNKNOWN ? forced : t.format;
  if (t.format == VONK_FORMAT_UNKNOWN) {
    return vonk_fail(err, VONK_INVALID,
                     "-o: '%s' does not end with .parquet, .csv, .tsv, .json, .jsonl or "
                     ".ndjson: choose with --output-format",
                     output);
  }
  if (t.format == VONK_FORMAT_PARQUET && t.compression != NULL) {
    return vonk_fail(
        err, VONK_INVALID,
        "-o: '%s': a Parquet file is compressed inside: leave the last ending out",
        output);
  }
  vonk_status status = is_stdout ? open_stdout(&t, err) : open_file(output, &t, err);
  if (status != VONK_OK) {
    vonk_cli_target_close(&t);
    return status;
  }
  *out = t;
  return VONK_OK;
}

vonk_status vonk_cli_target_check(const vonk_cli_target *t, const vonk_cli_source *source,
                                  vonk_error *err) {
  struct stat st;
  if (t->final == NULL || stat(t->final, &st) != 0) {
    return VONK_OK;
  }
  for (size_t i = 0; i < source->n_files; i++) {
    if (source->files[i].device == st.st_dev && source->files[i].inode == st.st_ino) {
      return vonk_fail(err, VONK_INVALID,
                       "-o: '%s' is also an input: write to another file", t->final);
    }
  }
  return VONK_OK;
}

void vonk_cli_target_sql(const vonk_cli_target *t, const char *relation,
                         uint64_t row_group, vonk_cli_sql *out) {
  vonk_cli_sql_add(out, "COPY (SELECT * FROM ");
  vonk_cli_sql_add(out, relation);
  vonk_cli_sql_add(out, ") TO ");
  vonk_cli_sql_text(out, t->path);
  switch (t->format) {
    case VONK_FORMAT_PARQUET:
      vonk_cli_sql_add(out, " (FORMAT parquet, ROW_GROUP_SIZE ");
      vonk_cli_sql_number(out, row_group);
      break;
    case VONK_FORMAT_TSV:
      vonk_cli_sql_add(out, " (FORMAT csv, HEADER true, DELIMITER '\t'");
      break;
    case VONK_FORMAT_JSON:
      vonk_cli_sql_add(out, " (FORMAT json, ARRAY true");
      break;
    case VONK_FORMAT_JSON_LINES:
      vonk_cli_sql_add(out, " (FORMAT json");
      break;
    default:
      vonk_cli_sql_add(out, " (FORMAT csv, HEADER true");
      break;
  }
  if (t->format != VONK_FORMAT_PARQUET) {
    vonk_cli_sql_add(out, ", COMPRESSION ");
    vonk_cli_sql_text(out, t->compression == NULL ? "none" : t->compression);
  }
  vonk_cli_sql_add(out, ", USE_TMP_FILE false)");
}

static vonk_status sync_path(const char *path, int flags, vonk_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
  int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
  if (fd >= 0) {
    (void)close(fd);
  }
  /* Some file systems cannot sync a folder; the data itself is then as safe as they make
   * it. */
  if (error != 0 && !((flags & O_DIRECTORY) != 0 && error == EINVAL)) {
    return vonk_fail(err, VONK_IO, "%s: cannot be written: %s", path, strerror(error));
  }
  return VONK_OK;
}

/* The file that is replaced keeps its permissions. */
static void keep_mode(const vonk_cli_target *t) {
  struct stat st;
  if (stat(t->final, &st) == 0) {
    (void)chmod(t->temporary, st.st_mode & 07777);
  }
}

vonk_status vonk_cli_target_commit(vonk_cli_target *t, vonk_error *err) {
  int error = end_pump(t);
  if (error != 0) {
    return vonk_fail(err, VONK_IO, "the standard output: cannot be written to: %s",
                     strerror(error));
  }
  if (t->temporary == NULL) {
    return VONK_OK;
  }
  VONK_TRY(sync_path(t->temporary, 0, err));
  keep_mode(t);
  if (rename(t->temporary, t->final) != 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be written: %s", t->final,
                     strerror(errno));
  }
  vonk_cli_signals_temporary(NULL);
  vonk_delete(t->temporary);
  t->temporary = NULL;
  char folder[MAX_PATH_BYTES], base[MAX_PATH_BYTES];
  VONK_TRY(split_path(t->final, folder, base, err));
  return sync_path(folder, O_DIRECTORY, err);
}

void vonk_cli_target_close(vonk_cli_target *t) {
  (void)end_pump(t);
  if (t->temporary != NULL) {
    (void)unlink(t->temporary);
    vonk_cli_signals_temporary(NULL);
  }
  vonk_delete(t->temporary);
  vonk_delete(t->final);
  vonk_delete(t->pipe_path);
  *t = (vonk_cli_target){.pipe_end = -1};
}
