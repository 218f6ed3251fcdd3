/* Reading a zip file whose entries are stored, strictly.
 *
 * How it works: a zip file tells its content twice, in a header before each entry and in
 * a directory at its end, and lets anything lie in between; readers that believe
 * different parts see different files. So only one layout is taken, the one that `vonk
 * pack` and any plain zip program without compression write: entries one after the other
 * from the first byte on, the manifest first, then the directory, then the end record
 * without a comment. Both tellings must agree. Nothing is left over, so nothing can
 * overlap or hide. Sizes of 4 GiB and more stand in 64-bit fields ("zip64"). */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/internal.h"

enum {
  END_BYTES = 22,     /* of the end record */
  END64_BYTES = 56,   /* of the 64-bit end record */
  LOCATOR_BYTES = 20, /* of what points to that */
  CENTRAL_BYTES = 46, /* of an entry of the directory, without name and extra fields */
  LOCAL_BYTES = 30    /* of a header, without name and extra fields */
};
enum { /* flags of an entry */
       ENCRYPTED = 0x0001 | 0x0040 | 0x2000,
       SIZES_FOLLOW = 0x0008,
       UTF8_NAME = 0x0800
};
enum { EXTRA_ZIP64 = 0x0001, EXTRA_OTHER_NAME = 0x7075 };
enum { FILE_TYPE = 0170000, REGULAR = 0100000, DOS_FOLDER = 0x10 };

/* One entry, as the directory tells it. */
typedef struct entry {
  const char *name; /* in the map, not terminated */
  size_t n_name;
  uint32_t flags, crc;
  uint64_t offset; /* of its header */
  uint64_t data, size;
} entry;

typedef struct archive {
  const vonk_bundle *bundle;
  vonk_mapping file;
  uint64_t directory, directory_size, n_entries;
  entry *entries;
} archive;

static uint32_t get2(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t get4(const uint8_t *p) { return get2(p) | get2(p + 2) << 16; }
static uint64_t get8(const uint8_t *p) {
  return (uint64_t)get4(p) | (uint64_t)get4(p + 4) << 32;
}

static vonk_status fail(const archive *a, const char *why, vonk_error *err) {
  return vonk_bundle_fail(a->bundle, err, VONK_MODEL,
                          "is a damaged or doctored zip file: %s: get it again, or pack "
                          "the model again",
                          why);
}

static vonk_status fail_entry(const archive *a, const entry *e, const char *why,
                              vonk_error *err) {
  char name[VONK_SHOWN];
  return vonk_bundle_fail(a->bundle, err, VONK_MODEL,
                          "entry '%s': %s: pack the model again",
                          vonk_bundle_show(e->name, e->n_name, name), why);
}

uint32_t vonk_crc32(const uint8_t *bytes, size_t n) {
  uint32_t table[256], crc = UINT32_MAX;
  for (uint32_t i = 0; i < 256; i++) {
    table[i] = i;
    for (int bit = 0; bit < 8; bit++) {
      table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? 0xEDB88320u : 0);
    }
  }
  for (size_t i = 0; i < n; i++) {
    crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xFF];
  }
  return ~crc;
}

/* --- the end ------------------------------------------------------------------------- */

/* The 64-bit record, where there is one; *end becomes where the directory must end. */
static vonk_status read_end64(archive *a, const uint8_t *small, uint64_t *end,
                              vonk_error *err) {
  const uint8_t *data = a->file.data;
  uint64_t at = *end;
  bool has_locator =
      at >= LOCATOR_BYTES && memcmp(data + at - LOCATOR_BYTES, "PK\6\7", 4) == 0;
  if (!has_locator) {
    return VONK_OK;
  }
  const uint8_t *locator = data + at - LOCATOR_BYTES;
  at -= LOCATOR_BYTES;
  if (at < END64_BYTES || get8(locator + 8) != at - END64_BYTES ||
      get4(locator + 4) != 0 || get4(locator + 16) != 1) {
    return fail(a, "its 64-bit end record is not where it should be", err);
  }
  at -= END64_BYTES;
  const uint8_t *record = data + at;
  if (memcmp(record, "PK\6\6", 4) != 0 || get8(record + 4) != END64_BYTES - 12 ||
      get4(record + 16) != 0 || get4(record + 20) != 0 ||
      get8(record + 24) != get8(record + 32)) {
    return fail(a, "its 64-bit end record is wrong", err);
  }
  a->n_entries = get8(record + 32);
  a->directory_size = get8(record + 40);
  a->directory = get8(record + 48);
  bool is_same =
      (get2(small + 10) == UINT16_MAX || get2(small + 10) == a->n_entries) &&
      (get4(small + 12) == UINT32_MAX || get4(small + 12) == a->directory_size) &&
      (get4(small + 16) == UINT32_MAX || get4(small + 16) == a->directory);
  *end = at;
  return is_same ? VONK_OK : fail(a, "its two end records disagree", err);
}

static vonk_status read_end(archive *a, vonk_error *err) {
  const uint8_t *data = a->file.data;
  uint64_t end = a->file.size - END_BYTES;
  const uint8_t *record = data + end;
  if (memcmp(record, "PK\5\6", 4) != 0) {
    return fail(a,
                "it does not end with its end record: it was cut off, or has a comment "
                "or other bytes after it",
                err);
  }
  if (get2(record + 20) != 0) {
    return fail(a, "its end record is wrong", err);
  }
  if (get2(record + 4) != 0 || get2(record + 6) != 0 ||
      get2(record + 8) != get2(record + 10)) {
    return fail(a, "it says that it is one part of several files", err);
  }
  a->n_entries = get2(record + 10);
  a->directory_size = get4(record + 12);
  a->directory = get4(record + 16);
  VONK_TRY(read_end64(a, record, &end, err));
  if (a->n_entries > VONK_BUNDLE_MAX_FILES + 1) {
    return vonk_bundle_fail(a->bundle, err, VONK_MODEL,
                            "has %" PRIu64 " entries: a bundle has at most %d",
                            a->n_entries, VONK_BUNDLE_MAX_FILES + 1);
  }
  if (a->directory > end || a->directory_size != end - a->directory) {
    return fail(a, "its directory is not where its end record says", err);
  }
  return VONK_OK;
}

/* Another kind of zip file is told apart before anything else is said of it. */
static vonk_status check_begin(const archive *a, vonk_error *err) {
  static const char name[] = VONK_MANIFEST;
  const uint8_t *data = a->file.data;
  if (a->file.size < END_BYTES || memcmp(data, "PK", 2) != 0) {
    return vonk_bundle_fail(a->bundle, err, VONK_MODEL,
                            "is no zip file: a bundle is a zip file or a folder: check "
                            "the name, or get the file again");
  }
  if (a->file.size < LOCAL_BYTES + sizeof name - 1 ||
      get2(data + 26) != sizeof name - 1 ||
      memcmp(data + LOCAL_BYTES, name, sizeof name - 1) != 0) {
    return vonk_bundle_fail(a->bundle, err, VONK_MODEL,
                            "its first entry is not " VONK_MANIFEST
                            ": it is another kind of zip file: pack the model with vonk "
                            "pack");
  }
  return VONK_OK;
}

/* --- entries ------------------------------------------------------------------------- */

/* Takes the 64-bit values of those that are full, in this order. size and packed are the
 * same thing for a stored entry. */
static const char *read_extra(const uint8_t *extra, size_t n, uint64_t *size,
                              uint64_t *packed, uint64_t *offset) {
  uint64_t *const wanted[] = {size, packed, offset};
  bool is_done = false;
  for (size_t at = 0; at < n;) {
    if (n - at < 4 || get2(extra + at + 2) > n - at - 4) {
      return "its extra fields are damaged";
    }
    uint32_t id = get2(extra + at), n_field = get2(extra + at + 2);
    const uint8_t *field = extra + at + 4;
    at += 4 + n_field;
    if (id == EXTRA_OTHER_NAME) {
      return "it has two names";
    }
    if (id != EXTRA_ZIP64) {
      continue;
    }
    if (is_done) {
      return "its 64-bit sizes stand twice";
    }
    is_done = true;
    for (size_t i = 0, used = 0; i < 3; i++) {
      if (wanted[i] == NULL || *wanted[i] != UINT32_MAX) {
        continue;
      }
      if (n_field - used < 8) {
        return "its 64-bit sizes are cut off";
      }
      *wanted[i] = get8(field + used);
      used += 8;
    }
  }
  return NULL;
}

static const char *flags_fault(uint32_t flags, uint32_t method) {
  if ((flags & ENCRYPTED) != 0) {
    return "is encrypted: a bundle's entries are plain";
  }
  if ((flags & SIZES_FOLLOW) != 0) {
    return "has its sizes after its data, as streams are written";
  }
  if (method != 0) {
    return "is compressed: a bundle's entries are stored";
  }
  return (flags & ~(uint32_t)(UTF8_NAME | 0x0006)) != 0
             ? "has flags that vonk does not know"
             : NULL;
}

static const char *name_fault(const entry *e, uint32_t attributes) {
  const char *fault = vonk_bundle_name_fault(e->name, e->n_name);
  uint32_t type = attributes >> 16 & FILE_TYPE;
  if (fault != NULL) {
    return fault;
  }
  if ((type != 0 && type != REGULAR) || (attributes & DOS_FOLDER) != 0) {
    return "is a link, a folder or a device: a bundle has files only";
  }
  for (size_t i = 0; i < e->n_name; i++) {
    if ((uint8_t)e->name[i] >= 0x80 && (e->flags & UTF8_NAME) == 0) {
      return "has a name that is not said to be UTF-8";
    }
  }
  return NULL;
}

/* What the directory says at *at, which moves on. */
static vonk_status read_central(archive *a, uint64_t *at, entry *e, vonk_error *err) {
  uint64_t left = a->directory + a->directory_size - *at;
  const uint8_t *p = a->file.data + *at;
  if (left < CENTRAL_BYTES || memcmp(p, "PK\1\2", 4) != 0) {
    return fail(a, "its directory has fewer entries than it says", err);
  }
  size_t n_name = get2(p + 28), n_extra = get2(p + 30), n_comment = get2(p + 32);
  if (left - CENTRAL_BYTES < n_name + n_extra + n_comment) {
    return fail(a, "its directory is cut off", err);
  }
  *e = (entry){.name = (const char *)p + CENTRAL_BYTES,
               .n_name = n_name,
               .flags = get2(p + 8),
               .crc = get4(p + 16),
               .offset = get4(p + 42),
               .size = get4(p + 24)};
  uint64_t packed = get4(p + 20);
  const char *fault = name_fault(e, get4(p + 38));
  fault = fault != NULL ? fault : flags_fault(e->flags, get2(p + 10));
  if (fault == NULL) {
    fault =
        read_extra(p + CENTRAL_BYTES + n_name, n_extra, &e->size, &packed, &e->offset);
  }
  if (fault == NULL && (packed != e->size || get2(p + 34) != 0)) {
    fault = "has two sizes, or lies in another file";
  }
  *at += CENTRAL_BYTES + n_name + n_extra + n_comment;
  return fault == NULL ? VONK_OK : fail_entry(a, e, fault, err);
}

/* The header before the entry must say the same. Sets where its data is. */
static vonk_status check_local(const archive *a, entry *e, vonk_error *err) {
  uint64_t left = e->offset < a->directory ? a->directory - e->offset : 0;
  const uint8_t *p = a->file.data + (left < LOCAL_BYTES ? 0 : e->offset);
  if (left < LOCAL_BYTES || memcmp(p, "PK\3\4", 4) != 0) {
    return fail_entry(a, e, "is not where the directory says", err);
  }
  size_t n_name = get2(p + 26), n_extra = get2(p + 28);
  left -= LOCAL_BYTES;
  if (left < n_name + n_extra) {
    return fail_entry(a, e, "its header is cut off", err);
  }
  uint64_t packed = get4(p + 18), size = get4(p + 22);
  const char *fault = read_extra(p + LOCAL_BYTES + n_name, n_extra, &size, &packed, NULL);
  if (fault != NULL) {
    return fail_entry(a, e, fault, err);
  }
  bool is_same = n_name == e->n_name && memcmp(p + LOCAL_BYTES, e->name, n_name) == 0 &&
                 get2(p + 6) == e->flags && get2(p + 8) == 0 && get4(p + 14) == e->crc &&
                 packed == e->size && size == e->size;
  if (!is_same) {
    return fail_entry(a, e, "its header and the directory disagree", err);
  }
  left -= n_name + n_extra;
  if (e->size > left) {
    return fail_entry(a, e, "is larger than the file", err);
  }
  e->data = e->offset + LOCAL_BYTES + n_name + n_extra;
  return VONK_OK;
}

static int by_offset(const void *a, const void *b) {
  uint64_t x = ((const entry *)a)->offset, y = ((const entry *)b)->offset;
  return x < y ? -1 : x > y;
}

/* Entries lie one after the other, from the first byte to the directory. */
static vonk_status check_layout(const archive *a, vonk_error *err) {
  uint64_t at = 0;
  for (size_t i = 0; i < a->n_entries; i++) {
    const entry *e = &a->entries[i];
    if (i == 0 && e->offset != 0) {
      return fail(a, "there are bytes before its first entry", err);
    }
    if (e->offset != at) {
      return fail_entry(a, e,
                        e->offset < at ? "overlaps with the entry before it"
                                       : "does not follow the entry before it",
                        err);
    }
    at = e->data + e->size;
  }
  return at == a->directory ? VONK_OK
                            : fail(a, "there are bytes before its directory", err);
}

static vonk_status read_entries(archive *a, vonk_error *err) {
  uint64_t at = a->directory;
  for (size_t i = 0; i < a->n_entries; i++) {
    VONK_TRY(read_central(a, &at, &a->entries[i], err));
    VONK_TRY(check_local(a, &a->entries[i], err));
  }
  if (at != a->directory + a->directory_size) {
    return fail(a, "its directory has more entries than it says", err);
  }
  if (a->n_entries > 1) {
    qsort(a->entries, (size_t)a->n_entries, sizeof *a->entries, by_offset);
  }
  return check_layout(a, err);
}

/* --- no two files of one name -------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
  const entry *x = a, *y = b;
  size_t n = x->n_name < y->n_name ? x->n_name : y->n_name;
  int order = memcmp(x->name, y->name, n);
  return order != 0 ? order : x->n_name < y->n_name ? -1 : x->n_name > y->n_name;
}

/* Which of two would be read is nothing to guess. Nor can a file be a folder as well.
 * (Names that differ in the case of letters are two files, as they are on disk here.) */
static vonk_status check_names(archive *a, vonk_error *err) {
  size_t n = (size_t)a->n_entries;
  qsort(a->entries, n, sizeof *a->entries, by_name);
  for (size_t i = 0; i < n; i++) {
    const entry *e = &a->entries[i];
    if (i > 0 && by_name(e - 1, e) == 0) {
      return fail_entry(a, e, "is there twice", err);
    }
    for (size_t k = 1; k < e->n_name; k++) {
      entry folder = {.name = e->name, .n_name = k};
      if (e->name[k] == '/' &&
          bsearch(&folder, a->entries, n, sizeof folder, by_name) != NULL) {
        return fail_entry(a, e, "lies in a folder that is a file", err);
      }
    }
  }
  return VONK_OK;
}

/* --- the files ----------------------------------------------------------------------- */

static vonk_status take_manifest(vonk_bundle *bundle, const archive *a, vonk_error *err) {
  const entry *first = &a->entries[0]; /* named so: check_begin, and headers agree */
  if (a->n_entries == 0) {
    return fail(a, "its directory is empty", err);
  }
  if (first->size > VONK_MANIFEST_MAX) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL,
                            VONK_MANIFEST " has %" PRIu64 " bytes: at most %d are taken",
                            first->size, VONK_MANIFEST_MAX);
  }
  bundle->text = a->file.data + first->data;
  bundle->n_text = (size_t)first->size;
  if (vonk_crc32(bundle->text, bundle->n_text) != first->crc) {
    return vonk_bundle_fail(bundle, err, VONK_MODEL,
                            VONK_MANIFEST
                            " does not have its checksum: the file was damaged or "
                            "changed: get it again, or pack the model again");
  }
  return VONK_OK;
}

static vonk_status take_files(vonk_bundle *bundle, const archive *a, vonk_error *err) {
  size_t n = 0;
  VONK_TRY(vonk_bundle_new(bundle, (size_t)a->n_entries, sizeof *bundle->files,
                           &bundle->files, err));
  for (size_t i = 1; i < a->n_entries; i++) { /* the first is the manifest */
    const entry *e = &a->entries[i];
    bundle_file *file = &bundle->files[n++];
    VONK_TRY(vonk_bundle_text(bundle, e->name, e->n_name, &file->name, err));
    file->data = e->size == 0 ? NULL : a->file.data + e->data;
    file->size = e->size;
  }
  bundle->n_files = n;
  vonk_bundle_sort_files(bundle->files, n);
  return VONK_OK;
}

vonk_status vonk_zip_read(vonk_bundle *bundle, vonk_error *err) {
  archive a = {.bundle = bundle, .file = bundle->map};
  VONK_TRY(check_begin(&a, err));
  VONK_TRY(read_end(&a, err));
  VONK_TRY(vonk_new((size_t)a.n_entries + 1, sizeof *a.entries, &a.entries, err));
  vonk_status status = read_entries(&a, err);
  if (status == VONK_OK) {
    status = take_manifest(bundle, &a, err);
  }
  if (status == VONK_OK) {
    status = take_files(bundle, &a, err);
  }
  if (status == VONK_OK) {
    status = check_names(&a, err);
  }
  vonk_delete(a.entries);
  return status;
}
