/* The ground that everything else stands on: errors, memory, sizes, text, files, digests,
 * clocks. This header is the layer's only door. Nothing here knows Arrow or models. */
#ifndef VONK_BASE_H
#define VONK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vonk/plugin.h"

/* --- errors (error.c) ---
 * A message is set once, where the fault is found; callers may only put context before
 * it. */

/* Fills *err (which may be NULL) and returns code, so that `return vonk_fail(err,
 * VONK_IO, "...")` reads well. */
vonk_status vonk_fail(vonk_error *err, vonk_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Out of memory, without allocating. */
vonk_status vonk_fail_nomem(vonk_error *err, size_t nbytes);

/* Puts "<context>: " before the message of a failed call and returns err's code unchanged
 * (`code` if err is NULL). */
vonk_status vonk_prefix(vonk_error *err, vonk_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets err's row, if err can hold one. */
void vonk_error_set_row(vonk_error *err, int64_t row);
int64_t vonk_error_row(const vonk_error *err); /* -1 if there is none */

/* Copies from into *to (either may be NULL). */
void vonk_error_copy(vonk_error *to, const vonk_error *from);

/* An empty error of this version on the stack: vonk_error err = VONK_ERROR_INIT; */
#define VONK_ERROR_INIT {.struct_size = (uint32_t)sizeof(vonk_error), .row = -1}

#define VONK_TRY(call)                    \
  do {                                    \
    vonk_status vonk_try_status = (call); \
    if (vonk_try_status != VONK_OK) {     \
      return vonk_try_status;             \
    }                                     \
  } while (0)

/* --- memory and sizes (memory.c) --- */

/* Every allocation of the library passes here, so that a test can fail the n-th one.
 * Zeroed; NULL for 0 elements. */
vonk_status vonk_new(size_t count, size_t size, void *out_pointer, vonk_error *err);
/* Like vonk_new, not zeroed, at a multiple of align (a power of two >= sizeof(void *)).
 */
vonk_status vonk_new_aligned(size_t nbytes, size_t align, void *out_pointer,
                             vonk_error *err);
vonk_status vonk_new_string(const char *text, char **out, vonk_error *err);
void vonk_delete(void *pointer);

/* For tests: fails the n-th allocation from now on (1 = the next); 0 = never. Returns how
 * many were made so far. */
int64_t vonk_memory_fail_at(int64_t n);

vonk_status vonk_size_mul(size_t a, size_t b, size_t *out, vonk_error *err);
vonk_status vonk_size_add(size_t a, size_t b, size_t *out, vonk_error *err);
/* A length or dimension that came from outside: VONK_INVALID if negative or beyond
 * size_t. what names it. */
vonk_status vonk_size_from(int64_t value, const char *what, size_t *out, vonk_error *err);

/* --- growable bytes and text (buffer.c) --- */

/* Zero it to start. data is 64-byte aligned and has capacity bytes, size of them in use.
 */
typedef struct vonk_buffer {
  uint8_t *data;
  size_t size, capacity;
} vonk_buffer;

/* Room for `more` bytes after size; data may move. Grows by doubling. */
vonk_status vonk_buffer_reserve(vonk_buffer *, size_t more, vonk_error *err);
vonk_status vonk_buffer_append(vonk_buffer *, const void *bytes, size_t nbytes,
                               vonk_error *err);
/* size becomes nbytes; new bytes are zero. */
vonk_status vonk_buffer_resize(vonk_buffer *, size_t nbytes, vonk_error *err);
void vonk_buffer_release(vonk_buffer *);

/* Text of a fixed size, for messages: what does not fit is cut and ends with "...".
 * Always NUL-terminated. */
typedef struct vonk_text {
  char data[512];
  size_t size;
} vonk_text;
void vonk_text_add(vonk_text *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- files and folders (file.c, tree.c) --- */

typedef struct vonk_file_id { /* what tells a changed file from an unchanged one */
  uint64_t device, inode;
  int64_t size, mtime_ns; /* of a folder: size 0 and its own mtime */
  uint64_t content; /* of a folder, from vonk_tree_identify: a hash of what is in it */
  bool is_folder;
} vonk_file_id;

/* Absolute path without links, to be freed with vonk_delete. VONK_IO names path and
 * reason. */
vonk_status vonk_path_resolve(const char *path, char **out, vonk_error *err);
vonk_status vonk_file_identify(const char *path, vonk_file_id *out, vonk_error *err);
/* The same, but a folder is told by the names, sizes, times and inodes of the files below
 * it: content, size (their sum) and mtime_ns (the latest). VONK_INVALID for a folder that
 * cannot be a model, with more than 65,536 files. */
vonk_status vonk_tree_identify(const char *path, vonk_file_id *out, vonk_error *err);
/* Whether two are the same and unchanged. */
bool vonk_file_same(const vonk_file_id *, const vonk_file_id *);
/* The first bytes of a file: *n_read may be less than capacity. */
vonk_status vonk_file_head(const char *path, uint8_t *out, size_t capacity,
                           size_t *n_read, vonk_error *err);

/* A whole file, read-only. An empty one has data NULL. */
typedef struct vonk_mapping {
  const uint8_t *data;
  size_t size;
} vonk_mapping;
vonk_status vonk_file_map(const char *path, vonk_mapping *out, vonk_error *err);
void vonk_file_unmap(vonk_mapping *); /* which may be zero, and is afterwards */

/* --- digests and clocks (sha256.c, clock.c) --- */

typedef struct vonk_sha256 {
  uint32_t state[8];
  uint64_t nbytes;
  uint8_t block[64];
} vonk_sha256;
void vonk_sha256_start(vonk_sha256 *);
void vonk_sha256_update(vonk_sha256 *, const void *bytes, size_t nbytes);
void vonk_sha256_finish(vonk_sha256 *, char hex[65]);
/* For tests: takes the way that works on every processor, or the fastest one again.
 * Returns whether the fast one is in use now. */
bool vonk_sha256_choose(bool portable);
vonk_status vonk_sha256_file(const char *path, char hex[65], vonk_error *err);
/* The same; of a folder: the digest of what `sha256sum` prints for the files below it,
 * named within the folder and sorted by the bytes of their names. */
vonk_status vonk_tree_sha256(const char *path, char hex[65], vonk_error *err);

uint64_t vonk_clock_ns(void);     /* monotonic */
uint64_t vonk_clock_cpu_ns(void); /* of the whole process */

/* --- log (log.c) --- */

/* Goes to the callback of vonk_set_log, or nowhere: the library prints nothing by itself.
 */
void vonk_log(int32_t level, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
typedef void (*vonk_log_sink)(void *arg, int32_t level, const char *where,
                              const char *message);
/* Messages of level and above; a call of the former sink may still be under way when this
 * returns. */
void vonk_log_set_sink(int32_t level, vonk_log_sink sink, void *arg);

#endif /* VONK_BASE_H */
