/* AOTInductor packages as files: which parts they have, which machine they are for, and
 * what their C++ text says of inputs.
 *
 * A package is machine code for one kind of processor, and PyTorch's own loader does not
 * compare; a wrong one would end the process with an illegal instruction. So its metadata
 * is held against this processor before anything of it is loaded.
 *
 * The compiled code trusts its inputs: it reads beyond an array that is too short. The
 * C++ text beside it, written by the same compiler, has each input's dtype and sizes; it
 * is searched for the few lines that say so, and if they are not found the user has to.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "package.h"

enum { MAX_METADATA = 1 << 20 };
#define MODELS "data/aotinductor/"

/* --- the processor --------------------------------------------------------------------- */

typedef struct feature {
  const char *name;
  bool is_there;
} feature;

/* The words of AOTI_CPU_ISA. */
static vonk_status check_word(const vonk_plugin_model *model, const char *word,
                              size_t size, vonk_error *err) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool has_avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const feature features[] = {
      {"INVALID_VEC_ISA", true}, /* no vector instructions beyond the common ones */
      {"AVX2", has_avx2},
      {"AVX512", has_avx512},
      {"AVX512_VNNI", has_avx512 && __builtin_cpu_supports("avx512vnni")},
  };
#else
  const feature features[] = {{"INVALID_VEC_ISA", true}};
#endif
  for (size_t i = 0; i < sizeof features / sizeof features[0]; ++i) {
    if (strlen(features[i].name) == size && memcmp(features[i].name, word, size) == 0 &&
        features[i].is_there) {
      return VONK_OK;
    }
  }
  char has[200] = "";
  for (size_t i = 1; i < sizeof features / sizeof features[0]; ++i) {
    if (features[i].is_there) {
      size_t used = strlen(has);
      snprintf(has + used, sizeof has - used, " %s", features[i].name);
    }
  }
  return vonk_kit_fail(
      err, VONK_UNSUPPORTED,
      "'%s': is machine code for a processor with %.*s: this one has%s: compile the "
      "package again for this machine, or for many with cpp.simdlen=256",
      model->path, (int)(size < 100 ? size : 100), word,
      has[0] == '\0' ? " none of what AOTInductor knows" : has);
}

static vonk_status check_isa(const vonk_plugin_model *model, const char *isa,
                             vonk_error *err) {
  if (isa == NULL) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': does not say for which processor it was compiled "
                         "(AOTI_CPU_ISA): compile the package with torch 2.9 or newer",
                         model->path);
  }
  for (const char *word = isa; *word != '\0';) {
    size_t size = strcspn(word, " ,");
    if (size != 0) {
      VONK_TRY(check_word(model, word, size, err));
    }
    word += size;
    word += strspn(word, " ,");
  }
  return VONK_OK;
}

/* --- metadata --------------------------------------------------------------------------- */

/* The text of a key of a flat JSON object of texts, in the arena; NULL: it is not there.
 * Texts with escapes are not what we look for. */
static vonk_status find_text(kit_arena *arena, kit_slice json, const char *key,
                             const char **out, vonk_error *err) {
  char quoted[64];
  int n_key = snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *at =
      json.size == 0 ? NULL : memmem(json.data, json.size, quoted, (size_t)n_key);
  *out = NULL;
  if (at == NULL) {
    return VONK_OK;
  }
  const char *end = (const char *)json.data + json.size;
  at += n_key;
  while (at < end && (*at == ' ' || *at == ':' || *at == '\n')) {
    ++at;
  }
  if (at == end || *at != '"') {
    return VONK_OK;
  }
  const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
  return close == NULL
             ? VONK_OK
             : vonk_kit_new_text(arena, at + 1, (size_t)(close - at - 1), out, err);
}

static vonk_status check_equal(const vonk_plugin_model *model, const char *what,
                               const char *found, const char *here, vonk_error *err) {
  if (found == NULL || found[0] == '\0' || strcmp(found, here) == 0) {
    return VONK_OK;
  }
  return vonk_kit_fail(
      err, VONK_UNSUPPORTED,
      "'%s': was compiled for %s '%s': this is '%s': compile the package "
      "again for this machine",
      model->path, what, found, here);
}

static vonk_status check_metadata(vonk_plugin_model *model, const zip_entry *entry,
                                  package_facts *out, vonk_error *err) {
  kit_slice json = {0};
  kit_arena *arena = &model->arena;
  if (entry != NULL) {
    VONK_TRY(
        vonk_torch_zip_unpack(&model->archive, entry, MAX_METADATA, arena, &json, err));
  }
  const char *device, *platform, *machine;
  VONK_TRY(find_text(arena, json, "AOTI_DEVICE_KEY", &device, err));
  VONK_TRY(find_text(arena, json, "AOTI_PLATFORM", &platform, err));
  VONK_TRY(find_text(arena, json, "AOTI_MACHINE", &machine, err));
  VONK_TRY(find_text(arena, json, "AOTI_CPU_ISA", &out->isa, err));
  struct utsname here;
  uname(&here);
  VONK_TRY(check_equal(model, "the device", device, "cpu", err));
  VONK_TRY(check_equal(model, "the system", platform, "linux", err));
  VONK_TRY(check_equal(model, "the processor", machine, here.machine, err));
  return check_isa(model, out->isa, err);
}

/* --- the parts --------------------------------------------------------------------------- */

static vonk_status fail_parts(const vonk_plugin_model *model, const char *why,
                              vonk_error *err) {
  return vonk_kit_fail(err, VONK_MODEL,
                       "'%s': is no complete AOTInductor package: %s: make it with "
                       "torch._inductor.aoti_compile_and_package",
                       model->path, why);
}

/* "data/aotinductor/model/" of the one model in the package. */
static vonk_status find_folder(const vonk_plugin_model *model, char *out, size_t capacity,
                               vonk_error *err) {
  const zip_archive *archive = &model->archive;
  out[0] = '\0';
  for (uint32_t i = vonk_torch_zip_first(archive, MODELS); i < archive->n_entries; ++i) {
    const char *name = archive->entries[i].name;
    const char *slash = strncmp(name, MODELS, strlen(MODELS)) == 0
                            ? strchr(name + strlen(MODELS), '/')
                            : NULL;
    if (slash == NULL) {
      break;
    }
    size_t n = (size_t)(slash - name) + 1;
    if (n >= capacity || (out[0] != '\0' && strncmp(out, name, n) != 0)) {
      return fail_parts(model, "it holds several models, vonk takes packages of one",
                        err);
    }
    memcpy(out, name, n);
    out[n] = '\0';
  }
  return out[0] == '\0' ? fail_parts(model, "it holds no model", err) : VONK_OK;
}

static bool is_library(kit_slice bytes) {
  Elf64_Ehdr head;
  if (bytes.size < sizeof head) {
    return false;
  }
  memcpy(&head, bytes.data, sizeof head);
#if defined(__x86_64__)
  Elf64_Half machine = EM_X86_64;
#else
  Elf64_Half machine = EM_AARCH64;
#endif
  return memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 &&
         head.e_ident[EI_CLASS] == ELFCLASS64 && head.e_type == ET_DYN &&
         head.e_machine == machine;
}

static vonk_status read_library(vonk_plugin_model *model, const char *folder,
                                package_facts *out, vonk_error *err) {
  const zip_archive *archive = &model->archive;
  const zip_entry *library = vonk_torch_zip_find_end(archive, folder, ".wrapper.so");
  if (library == NULL) {
    library = vonk_torch_zip_find_end(archive, folder, ".so");
  }
  if (library == NULL) {
    return fail_parts(model,
                      "the compiled library is missing (packages of C++ text "
                      "alone have to be compiled first)",
                      err);
  }
  VONK_TRY(vonk_torch_zip_unpack(archive, library, SIZE_MAX / 2, &model->arena,
                                 &out->library, err));
  out->library_sum = library->crc;
  if (!is_library(out->library)) {
    return fail_parts(model, "its library is no library of this machine", err);
  }
  /* Operators beyond PyTorch's C functions are called through an object that only C++ can
   * make; without it the call would end the process. */
  static const char proxy[] = "aoti_torch_proxy_executor_call_function";
  if (memmem(out->library.data, out->library.size, proxy, sizeof proxy) != NULL) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': uses operators that PyTorch offers to C++ only: convert "
                         "the model to ONNX or TorchScript",
                         model->path);
  }
  return VONK_OK;
}

/* An entry's bytes where they are, or nothing if it is not there. */
static vonk_status read_part(vonk_plugin_model *model, const char *folder,
                             const char *end, kit_slice *out, vonk_error *err) {
  const zip_entry *entry = vonk_torch_zip_find_end(&model->archive, folder, end);
  return entry == NULL ? VONK_OK
                       : vonk_torch_zip_unpack(&model->archive, entry, SIZE_MAX / 2,
                                               &model->arena, out, err);
}

vonk_status vonk_torch_package_check(vonk_plugin_model *model, package_facts *out,
                                     vonk_error *err) {
  if (!model->allow_native_code) {
    return vonk_kit_fail(
        err, VONK_UNSUPPORTED,
        "'%s': is an AOTInductor package: it is machine code, and opening it runs it "
        "with "
        "all your rights: if you trust where it comes from, give the option "
        "allow_native_code=1",
        model->path);
  }
  char folder[512];
  VONK_TRY(find_folder(model, folder, sizeof folder, err));
  const zip_entry *metadata =
      vonk_torch_zip_find_end(&model->archive, folder, ".wrapper_metadata.json");
  if (metadata == NULL) {
    metadata = vonk_torch_zip_find_end(&model->archive, folder, "_metadata.json");
  }
  VONK_TRY(check_metadata(model, metadata, out, err));
  VONK_TRY(read_library(model, folder, out, err));
  VONK_TRY(read_part(model, folder, ".wrapper.cpp", &out->source, err));
  return read_part(model, folder, ".blob", &out->weights, err);
}
