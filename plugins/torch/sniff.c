/* What a file is, by its first bytes and, if it is a zip archive, by its directory.
 *
 * PyTorch writes five kinds of files under the same few extensions. Two of them run
 * without Python. The others are recognised so that their owner is told what to do; no
 * pickle is ever loaded.
 */
#include <string.h>

#include "torch_file.h"
#include "torch_plugin.h"

bool vonk_torch_is_zip(const uint8_t *head, size_t n_head) {
  return n_head >= 4 && memcmp(head, "PK\3\4", 4) == 0;
}

/* A length of 8 bytes, then JSON of that length. */
static bool is_safetensors(const uint8_t *head, size_t n_head) {
  return n_head >= 10 && head[8] == '{' && (head[9] == '"' || head[9] == '}') &&
         head[4] == 0 && head[5] == 0 && head[6] == 0 && head[7] == 0;
}

/* torch.save of old begins with a pickled number of its own. */
static bool is_legacy_pickle(const uint8_t *head, size_t n_head) {
  static const uint8_t magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                  0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  return n_head >= 2 + sizeof magic && head[0] == 0x80 &&
         memcmp(head + 2, magic, sizeof magic) == 0;
}

torch_file_kind vonk_torch_kind_of_head(const uint8_t *head, size_t n_head) {
  return is_legacy_pickle(head, n_head) ? TORCH_FILE_PICKLE
         : is_safetensors(head, n_head) ? TORCH_FILE_SAFETENSORS
                                        : TORCH_FILE_OTHER;
}

static bool has_folder(const zip_archive *archive, const char *folder) {
  return vonk_torch_zip_find_end(archive, folder, "") != NULL;
}

torch_file_kind vonk_torch_kind_of_archive(const zip_archive *archive) {
  if (has_folder(archive, "data/aotinductor/")) {
    return TORCH_FILE_PACKAGE;
  }
  bool has_data = vonk_torch_zip_find(archive, "data.pkl") != NULL;
  if (has_data && has_folder(archive, "code/")) {
    return TORCH_FILE_SCRIPT;
  }
  if (vonk_torch_zip_find_end(archive, "models/", ".json") != NULL ||
      vonk_torch_zip_find(archive, "serialized_exported_program.json") != NULL) {
    return TORCH_FILE_EXPORTED;
  }
  return has_data ? TORCH_FILE_PICKLE : TORCH_FILE_OTHER;
}

/* Reads the directory of the zip file at path. */
static torch_file_kind kind_of_zip(const char *path) {
  torch_file_kind kind = TORCH_FILE_OTHER;
  kit_arena arena = {0};
  kit_slice file = {0};
  zip_archive archive;
  if (vonk_kit_map(path, INT64_MAX, "a file", &file, NULL) == VONK_OK) {
    if (vonk_torch_zip_read(path, file, &arena, &archive, NULL) == VONK_OK) {
      kind = vonk_torch_kind_of_archive(&archive);
    }
    vonk_kit_arena_release(&arena);
    vonk_kit_unmap(file);
  }
  return kind;
}

int32_t vonk_torch_recognise(const char *path, const uint8_t *head, size_t n_head) {
  static const char *const extensions[] = {".pt",   ".pth",         ".pt2",        ".ts",
                                           ".ckpt", ".torchscript", ".safetensors"};
  if (head == NULL) {
    return 0; /* a folder */
  }
  torch_file_kind kind = vonk_torch_is_zip(head, n_head)
                             ? kind_of_zip(path)
                             : vonk_torch_kind_of_head(head, n_head);
  if (kind != TORCH_FILE_OTHER) {
    return 2;
  }
  for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; ++i) {
    if (vonk_kit_has_extension(path, extensions[i])) {
      return 1;
    }
  }
  return 0;
}

vonk_status vonk_torch_refuse(const char *path, torch_file_kind kind, kit_slice file,
                              vonk_error *err) {
  static const char *const what[] = {
      [TORCH_FILE_EXPORTED] =
          "is an exported program (torch.export), which PyTorch runs in Python only",
      [TORCH_FILE_PICKLE] =
          ("is a checkpoint or pickled module (torch.save): weights without a network, "
           "or Python code, which vonk never loads"),
      [TORCH_FILE_SAFETENSORS] = "is a safetensors file, weights without a network",
  };
  if (kind != TORCH_FILE_OTHER) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    size_t n_stem = dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name);
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': %s: convert it once: vonk pack %s -o %.*s.vonk", path,
                         what[kind], name, (int)n_stem, name);
  }
  const char *other = vonk_kit_what_else(file.data, file.size);
  return vonk_kit_fail(
      err, VONK_MODEL,
      "'%s': %s: give a TorchScript file (torch.jit.save) or an AOTInductor package",
      path, other != NULL ? other : "is none of PyTorch's files");
}
