/* The directory of a zip file, as strict as PyTorch's own files allow.
 *
 * A zip file can tell two readers two stories: entries that overlap, names that stand
 * twice or differ in the case of a letter, a header that names something else than the
 * directory does. What we look at has to be what PyTorch loads, so all of that is
 * refused. Entries lie in one folder, are stored or deflated, and hold what they say.
 */
#include "zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  END_BYTES = 22,     /* of the end record, without its comment */
  END64_BYTES = 56,   /* of the 64-bit end record */
  LOCATOR_BYTES = 20, /* of what points to that */
  CENTRAL_BYTES = 46, /* of a directory entry, without its name */
  LOCAL_BYTES = 30,   /* of a header before an entry's bytes, without its name */
  MAX_NAME = 4096,
  MAX_COMMENT = 65535,
  MAX_RATIO = 1040 /* deflate packs 1032 : 1 at most */
};

static uint32_t get2(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t get4(const uint8_t *p) { return get2(p) | get2(p + 2) << 16; }
static uint64_t get8(const uint8_t *p) {
  return (uint64_t)get4(p) | (uint64_t)get4(p + 4) << 32;
}

static vonk_status fail(const char *path, const char *why, vonk_error *err) {
  return vonk_kit_fail(err, VONK_MODEL,
                       "'%s': is a damaged or doctored zip archive: %s: get the file "
                       "again, or save the model again",
                       path, why);
}

/* --- where the directory is ------------------------------------------------------------ */

typedef struct directory {
  uint64_t offset, size, count;
} directory;

static const uint8_t *find_end(kit_slice file) {
  if (file.size < END_BYTES) {
    return NULL;
  }
  size_t at = file.size - END_BYTES;
  for (size_t i = 0; i <= MAX_COMMENT; ++i, --at) {
    if (memcmp(file.data + at, "PK\5\6", 4) == 0) {
      return file.data + at;
    }
    if (at == 0) {
      break;
    }
  }
  return NULL;
}

/* The 64-bit record says the same as the other one where that one says something. */
static bool read_end64(kit_slice file, const uint8_t *locator, const directory *small,
                       directory *out) {
  uint64_t at = get8(locator + 8);
  if (file.size < END64_BYTES || at > file.size - END64_BYTES) {
    return false;
  }
  const uint8_t *end = file.data + at;
  directory found = {get8(end + 48), get8(end + 40), get8(end + 32)};
  bool is_same = (small->offset == UINT32_MAX || small->offset == found.offset) &&
                 (small->size == UINT32_MAX || small->size == found.size) &&
                 (small->count == UINT16_MAX || small->count == found.count);
  if (memcmp(end, "PK\6\6", 4) != 0 || !is_same || get4(end + 16) != 0 ||
      get4(end + 20) != 0 || get8(end + 24) != found.count) {
    return false;
  }
  *out = found;
  return true;
}

static vonk_status find_directory(const char *path, kit_slice file, directory *out,
                                  vonk_error *err) {
  const uint8_t *end = find_end(file);
  if (end == NULL) {
    return fail(path, "its directory is missing, as in a file that was cut off", err);
  }
  size_t at = (size_t)(end - file.data);
  if (get2(end + 20) != file.size - at - END_BYTES || get2(end + 4) != 0 ||
      get2(end + 6) != 0 || get2(end + 8) != get2(end + 10)) {
    return fail(path, "its last record is wrong", err);
  }
  directory found = {get4(end + 16), get4(end + 12), get2(end + 10)};
  bool has_locator = at >= LOCATOR_BYTES && memcmp(end - LOCATOR_BYTES, "PK\6\7", 4) == 0;
  if (has_locator && !read_end64(file, end - LOCATOR_BYTES, &found, &found)) {
    return fail(path, "its two last records disagree", err);
  }
  if (found.offset > at || found.size > at - found.offset ||
      found.count > found.size / CENTRAL_BYTES || found.count > UINT32_MAX / 2) {
    return fail(path, "its directory is not where it should be", err);
  }
  *out = found;
  return VONK_OK;
}

/* --- one entry -------------------------------------------------------------------------- */

/* A name that stays in its folder on every system. */
static bool is_clean_name(const char *name, size_t size) {
  if (size == 0 || size > MAX_NAME || name[0] == '/' || !vonk_kit_is_text(name, size)) {
    return false;
  }
  for (size_t i = 0, start = 0; i <= size; ++i) {
    if (i == size || name[i] == '/') {
      size_t length = i - start;
      bool is_dots = length > 0 && length <= 2 && memcmp(name + start, "..", length) == 0;
      if (is_dots || (length == 0 && i != size)) {
        return false;
      }
      start = i + 1;
    } else if (name[i] == '\\' || (unsigned char)name[i] < 0x20) {
      return false;
    }
  }
  return true;
}

/* The sizes that did not fit into 32 bits. */
static bool read_extra(const uint8_t *extra, size_t n_extra, uint64_t *size,
                       uint64_t *packed, uint64_t *offset) {
  uint64_t *const wanted[] = {size, packed, offset};
  size_t n_wanted = 0;
  for (size_t i = 0; i < 3; ++i) {
    n_wanted += *wanted[i] == UINT32_MAX;
  }
  for (size_t at = 0; n_wanted != 0 && n_extra - at >= 4;) {
    size_t n_field = get2(extra + at + 2);
    if (n_field > n_extra - at - 4) {
      return false;
    }
    if (get2(extra + at) == 1) {
      const uint8_t *p = extra + at + 4;
      for (size_t i = 0; i < 3; ++i) {
        if (*wanted[i] == UINT32_MAX) {
          if (n_field < 8) {
            return false;
          }
          *wanted[i] = get8(p);
          p += 8;
          n_field -= 8;
        }
      }
      return true;
    }
    at += 4 + n_field;
  }
  return n_wanted == 0;
}

/* Where the entry's bytes are, by its own header, which must name it too. */
static bool find_data(kit_slice file, uint64_t end, const char *name, size_t n_name,
                      uint64_t offset, uint64_t packed, kit_slice *out) {
  if (offset > end || end - offset < LOCAL_BYTES) {
    return false;
  }
  const uint8_t *local = file.data + offset;
  uint64_t start = LOCAL_BYTES + (uint64_t)get2(local + 26) + get2(local + 28);
  if (memcmp(local, "PK\3\4", 4) != 0 || get2(local + 26) != n_name ||
      start > end - offset || memcmp(local + LOCAL_BYTES, name, n_name) != 0 ||
      packed > end - offset - start) {
    return false;
  }
  *out = (kit_slice){local + start, (size_t)packed};
  return true;
}

/* The length of "archive/" in "archive/data.pkl". */
static size_t folder_length(const char *name, size_t n_name) {
  const char *slash = memchr(name, '/', n_name);
  return slash == NULL ? 0 : (size_t)(slash - name) + 1;
}

/* Takes one entry off the directory; *used is how long it is. */
static const char *read_entry(kit_slice file, const directory *where, uint64_t at,
                              kit_slice *folder, zip_entry *out, uint64_t *used) {
  const uint8_t *entry = file.data + where->offset + at;
  uint64_t left = where->size - at;
  if (left < CENTRAL_BYTES || memcmp(entry, "PK\1\2", 4) != 0) {
    return "its directory is cut off";
  }
  size_t n_name = get2(entry + 28), n_extra = get2(entry + 30);
  *used = CENTRAL_BYTES + n_name + n_extra + get2(entry + 32);
  if (*used > left) {
    return "its directory is cut off";
  }
  const char *name = (const char *)entry + CENTRAL_BYTES;
  uint64_t size = get4(entry + 24), packed = get4(entry + 20), offset = get4(entry + 42);
  uint32_t flags = get2(entry + 8), method = get2(entry + 10);
  if (!is_clean_name(name, n_name)) {
    return "an entry's name leads out of it";
  }
  size_t n_folder = folder_length(name, n_name);
  if (folder->data == NULL) {
    *folder = (kit_slice){(const uint8_t *)name, n_folder};
  }
  if (n_folder == 0 || n_folder != folder->size ||
      memcmp(name, folder->data, n_folder) != 0) {
    return "its entries lie in different folders";
  }
  /* of the flags, a descriptor behind the data, UTF-8, and how hard it was packed */
  if ((flags & ~(uint32_t)0x080e) != 0 || (method != 0 && method != 8)) {
    return "an entry is encrypted, or packed in a way that PyTorch does not use";
  }
  if (!read_extra(entry + CENTRAL_BYTES + n_name, n_extra, &size, &packed, &offset) ||
      !find_data(file, where->offset, name, n_name, offset, packed, &out->data)) {
    return "an entry is not where the directory says";
  }
  if (method == 0 ? size != packed : size / MAX_RATIO > packed) {
    return "an entry's sizes are impossible";
  }
  *out = (zip_entry){.name = name + n_folder, /* copied once all is read */
                     .data = out->data,
                     .is_packed = method == 8,
                     .crc = get4(entry + 16),
                     .size = size,
                     .offset = offset};
  return NULL;
}

/* --- all entries ------------------------------------------------------------------------ */

static int by_offset(const void *a, const void *b) {
  const zip_entry *left = a, *right = b;
  return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const zip_entry *)a)->name, ((const zip_entry *)b)->name);
}

/* PyTorch finds an entry whatever the case of its letters. */
static int by_caseless_name(const void *a, const void *b) {
  return strcasecmp(((const zip_entry *)a)->name, ((const zip_entry *)b)->name);
}

static const char *check_entries(kit_slice file, zip_entry *entries, uint32_t n) {
  qsort(entries, n, sizeof *entries, by_offset);
  for (uint32_t i = 1; i < n; ++i) {
    const kit_slice *before = &entries[i - 1].data;
    uint64_t end = (uint64_t)(before->data - file.data) + before->size;
    if (end > entries[i].offset) {
      return "its entries overlap";
    }
  }
  qsort(entries, n, sizeof *entries, by_caseless_name);
  for (uint32_t i = 1; i < n; ++i) {
    if (strcasecmp(entries[i - 1].name, entries[i].name) == 0) {
      return "an entry stands in it twice";
    }
  }
  qsort(entries, n, sizeof *entries, by_name);
  return NULL;
}

/* Names are slices of the directory until now: each gets its own memory. */
static vonk_status read_entries(const char *path, kit_slice file, const directory *where,
                                kit_arena *arena, zip_entry *entries, vonk_error *err) {
  kit_slice folder = {0};
  uint64_t at = 0;
  for (uint64_t i = 0; i < where->count; ++i) {
    uint64_t used = 0;
    const char *why = read_entry(file, where, at, &folder, &entries[i], &used);
    if (why != NULL) {
      return fail(path, why, err);
    }
    size_t n_name = get2(file.data + where->offset + at + 28) - folder.size;
    VONK_TRY(vonk_kit_new_text(arena, entries[i].name, n_name, &entries[i].name, err));
    at += used;
  }
  return at == where->size ? VONK_OK : fail(path, "its directory is too long", err);
}

vonk_status vonk_torch_zip_read(const char *path, kit_slice file, kit_arena *arena,
                                zip_archive *out, vonk_error *err) {
  directory where = {0};
  VONK_TRY(find_directory(path, file, &where, err));
  zip_entry *entries;
  VONK_TRY(vonk_kit_new(arena, where.count, sizeof *entries, &entries, err));
  VONK_TRY(read_entries(path, file, &where, arena, entries, err));
  const char *why = check_entries(file, entries, (uint32_t)where.count);
  if (why != NULL) {
    return fail(path, why, err);
  }
  *out = (zip_archive){path, entries, (uint32_t)where.count};
  return VONK_OK;
}

/* --- finding and unpacking ---------------------------------------------------------------- */

uint32_t vonk_torch_zip_first(const zip_archive *archive, const char *start) {
  uint32_t low = 0, high = archive->n_entries;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (strcmp(archive->entries[middle].name, start) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

const zip_entry *vonk_torch_zip_find(const zip_archive *archive, const char *name) {
  uint32_t i = vonk_torch_zip_first(archive, name);
  return i < archive->n_entries && strcmp(archive->entries[i].name, name) == 0
             ? &archive->entries[i]
             : NULL;
}

const zip_entry *vonk_torch_zip_find_end(const zip_archive *archive, const char *folder,
                                         const char *end) {
  uint32_t i = vonk_torch_zip_first(archive, folder);
  size_t n_folder = strlen(folder);
  for (; i < archive->n_entries; ++i) {
    const zip_entry *entry = &archive->entries[i];
    if (strncmp(entry->name, folder, n_folder) != 0) {
      break;
    }
    if (vonk_kit_has_extension(entry->name, end)) {
      return entry;
    }
  }
  return NULL;
}

vonk_status vonk_torch_zip_unpack(const zip_archive *archive, const zip_entry *entry,
                                  uint64_t most, kit_arena *arena, kit_slice *out,
                                  vonk_error *err) {
  if (entry->size > most) {
    return vonk_kit_fail(err, VONK_MODEL,
                         "'%s': its entry '%.200s' has %" PRIu64
                         " bytes: at most %" PRIu64 " are possible",
                         archive->path, entry->name, entry->size, most);
  }
  kit_slice bytes = entry->data;
  if (entry->is_packed) {
    uint8_t *room;
    VONK_TRY(vonk_kit_new(arena, (size_t)entry->size, 1, &room, err));
    bytes = (kit_slice){room, (size_t)entry->size};
    vonk_status status = vonk_torch_inflate(entry->data, room, bytes.size);
    if (status != VONK_OK) {
      return status == VONK_NOMEM
                 ? vonk_kit_fail_nomem(err, bytes.size)
                 : fail(archive->path, "an entry cannot be unpacked", err);
    }
  }
  if (vonk_torch_crc32(bytes) != entry->crc) {
    return fail(archive->path, "an entry's bytes are not those that were saved", err);
  }
  *out = bytes;
  return VONK_OK;
}
