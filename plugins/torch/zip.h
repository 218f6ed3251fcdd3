/* PyTorch's archives: a bounded reader of zip files, which allocates nothing by what the
 * file claims. Thread safety: every function may be called from any thread. */
#ifndef VONK_TORCH_ZIP_H
#define VONK_TORCH_ZIP_H

#include "kit/kit.h"

typedef struct zip_entry {
  const char
      *name; /* below the folder that all entries share; lives as long as the arena */
  kit_slice data;  /* inside the file, packed if is_packed */
  bool is_packed;  /* by deflate */
  uint32_t crc;    /* of the unpacked bytes */
  uint64_t size;   /* unpacked, in bytes */
  uint64_t offset; /* of its header in the file */
} zip_entry;

/* All entries, by name. */
typedef struct zip_archive {
  const char *path; /* for messages */
  zip_entry *entries;
  uint32_t n_entries;
} zip_archive;

/* Reads the directory of a mapped file. What it returns points into the arena and the
 * file. */
vonk_status vonk_torch_zip_read(const char *path, kit_slice file, kit_arena *arena,
                                zip_archive *out, vonk_error *err);

const zip_entry *vonk_torch_zip_find(const zip_archive *, const char *name); /* or NULL */
/* The first entry at or behind which names begin with `start`, n_entries if none does. */
uint32_t vonk_torch_zip_first(const zip_archive *, const char *start);
/* The first entry in a folder whose name ends in `end`; NULL: none. */
const zip_entry *vonk_torch_zip_find_end(const zip_archive *, const char *folder,
                                         const char *end);

/* The unpacked bytes of an entry of at most `most` bytes, checked against its sum: inside
 * the file, or in the arena if it was packed. */
vonk_status vonk_torch_zip_unpack(const zip_archive *, const zip_entry *, uint64_t most,
                                  kit_arena *arena, kit_slice *out, vonk_error *err);

/* Unpacks a deflate stream into exactly `size` bytes: VONK_MODEL if it does not yield
 * that, VONK_NOMEM. */
vonk_status vonk_torch_inflate(kit_slice packed, uint8_t *out, size_t size);
/* The sum that a zip has of an entry's unpacked bytes. */
uint32_t vonk_torch_crc32(kit_slice bytes);

#endif /* VONK_TORCH_ZIP_H */
