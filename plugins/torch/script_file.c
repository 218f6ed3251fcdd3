/* A TorchScript file, looked at before PyTorch reads it: its program text (code.c) and
 * its pickles (pickle.c). */
#include "script_file.h"

#include <string.h>
#include <strings.h>

enum {
  MAX_CODE = 16 << 20,      /* of one file of program text */
  MAX_ALL_CODE = 256 << 20, /* of all of them */
  MAX_PICKLE = 64 << 20
};

static vonk_status check_code(const zip_archive *archive, const zip_entry *entry,
                              vonk_error *err) {
  kit_arena arena = {0};
  kit_slice text;
  char room[200];
  vonk_status status =
      vonk_torch_zip_unpack(archive, entry, MAX_CODE, &arena, &text, err);
  if (status == VONK_OK) {
    const char *why = vonk_torch_code_check(text, room, sizeof room);
    if (why != NULL) {
      status = vonk_kit_fail(err, VONK_UNSUPPORTED,
                             "'%s': %s (in %.100s): vonk runs models that compute and "
                             "nothing else: export one without it",
                             archive->path, why, entry->name);
    }
  }
  vonk_kit_arena_release(&arena);
  return status;
}

/* All of it but what only helps to find mistakes, which is not loaded. */
static vonk_status check_all_code(const zip_archive *archive, vonk_error *err) {
  uint64_t total = 0;
  for (uint32_t i = vonk_torch_zip_first(archive, "code/"); i < archive->n_entries; ++i) {
    const zip_entry *entry = &archive->entries[i];
    if (strncmp(entry->name, "code/", 5) != 0) {
      break;
    }
    if (vonk_kit_has_extension(entry->name, ".debug_pkl")) {
      continue;
    }
    total += entry->size;
    if (total > MAX_ALL_CODE) {
      return vonk_kit_fail(err, VONK_MODEL, "'%s': has too much program text",
                           archive->path);
    }
    VONK_TRY(check_code(archive, entry, err));
  }
  return VONK_OK;
}

/* PyTorch unpacks whatever it reads: nothing but text is packed. It also finds names in
 * other letters, which we would have passed by. */
static vonk_status check_entries(const zip_archive *archive, vonk_error *err) {
  static const char *const known[] = {"code/", "data/", "constants/", "data.pkl",
                                      "constants.pkl"};
  for (uint32_t i = 0; i < archive->n_entries; ++i) {
    const zip_entry *entry = &archive->entries[i];
    bool is_text = strncmp(entry->name, "code/", 5) == 0;
    if (entry->is_packed && !is_text && entry->size > MAX_PICKLE) {
      return vonk_kit_fail(err, VONK_MODEL, "'%s': its entry '%.200s' is packed",
                           archive->path, entry->name);
    }
    for (size_t j = 0; j < sizeof known / sizeof known[0]; ++j) {
      size_t n = strlen(known[j]);
      if (strncasecmp(entry->name, known[j], n) == 0 &&
          strncmp(entry->name, known[j], n) != 0) {
        return vonk_kit_fail(err, VONK_MODEL,
                             "'%s': its entry '%.200s' is named as PyTorch does not",
                             archive->path, entry->name);
      }
    }
  }
  return VONK_OK;
}

static vonk_status check_pickle(const zip_archive *archive, const char *name,
                                const char *folder, kit_arena *arena, script_file *out,
                                vonk_error *err) {
  const zip_entry *entry = vonk_torch_zip_find(archive, name);
  kit_slice pickle;
  if (entry == NULL) {
    return VONK_OK;
  }
  VONK_TRY(vonk_torch_zip_unpack(archive, entry, MAX_PICKLE, arena, &pickle, err));
  return vonk_torch_pickle_check(archive, pickle, folder, arena,
                                 out == NULL ? NULL : &out->examples,
                                 out == NULL ? NULL : &out->n_examples, err);
}

vonk_status vonk_torch_script_check(const zip_archive *archive, kit_arena *arena,
                                    script_file *out, vonk_error *err) {
  *out = (script_file){0};
  VONK_TRY(check_entries(archive, err));
  VONK_TRY(check_all_code(archive, err));
  kit_arena scratch = {0};
  vonk_status status = check_pickle(archive, "data.pkl", "data/", &scratch, NULL, err);
  if (status == VONK_OK) {
    status = check_pickle(archive, "constants.pkl", "constants/", &scratch, NULL, err);
  }
  vonk_kit_arena_release(&scratch);
  VONK_TRY(status);
  /* PyTorch does not read this one: it tells shapes, and may be as odd as it likes. */
  if (check_pickle(archive, "traced_inputs.pkl", NULL, arena, out, NULL) != VONK_OK) {
    *out = (script_file){0};
  }
  return VONK_OK;
}
