/* Fuzz target: the PyTorch plug-in's look into a file.
 *
 * The input is a zip file; or else it is taken for what such a file has inside: program
 * text, a pickle, a deflate stream, the C++ text of a package. What comes out is held
 * against what the headers promise. */
#include "plugins/torch/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "plugins/torch/package.h"
#include "plugins/torch/script_file.h"
#include "tests/kit/host.h"

enum { MAX_UNPACKED = 4096 };
#define PATH "/nowhere/m.pt"

static void check_error(vonk_status status, const vonk_error *err) {
  CHECK(err->code == status);
  CHECK(strncmp(err->message, "'" PATH "': ", strlen(PATH) + 4) == 0 ||
        status == VONK_NOMEM);
  CHECK(vonk_kit_is_text(err->message, strlen(err->message)));
}

static void check_archive(const zip_archive *archive, kit_slice file) {
  for (uint32_t i = 0; i < archive->n_entries; ++i) {
    const zip_entry *entry = &archive->entries[i];
    CHECK(vonk_kit_is_text(entry->name, strlen(entry->name)));
    CHECK(vonk_torch_zip_find(archive, entry->name) == entry);
    CHECK(entry->data.data >= file.data &&
          entry->data.size <= file.size - (size_t)(entry->data.data - file.data));
  }
}

static void try_archive(kit_slice file, kit_arena *arena) {
  zip_archive archive;
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  vonk_status status = vonk_torch_zip_read(PATH, file, arena, &archive, &err);
  if (status != VONK_OK) {
    check_error(status, &err);
    return;
  }
  check_archive(&archive, file);
  torch_file_kind kind = vonk_torch_kind_of_archive(&archive);
  if (kind == TORCH_FILE_SCRIPT) {
    script_file facts;
    status = vonk_torch_script_check(&archive, arena, &facts, &err);
  } else if (kind == TORCH_FILE_PACKAGE) {
    vonk_plugin_model model = {
        .path = PATH, .archive = archive, .allow_native_code = true};
    package_facts facts = {0};
    status = vonk_torch_package_check(&model, &facts, &err);
    vonk_kit_arena_release(&model.arena);
  }
  if (status != VONK_OK) {
    check_error(status, &err);
  }
}

static void try_parts(kit_slice bytes, kit_arena *arena) {
  char room[200];
  const char *why = vonk_torch_code_check(bytes, room, sizeof room);
  CHECK(why == NULL || strlen(why) > 0);
  const zip_archive nothing = {.path = PATH};
  const pickle_tensor *tensors = NULL;
  uint32_t n_tensors = 0;
  if (vonk_torch_pickle_check(&nothing, bytes, NULL, arena, &tensors, &n_tensors, NULL) ==
      VONK_OK) {
    for (uint32_t i = 0; i < n_tensors; ++i) {
      CHECK(tensors[i].rank >= 0 && tensors[i].rank <= VONK_MAX_RANK);
    }
  }
  uint8_t out[MAX_UNPACKED];
  (void)vonk_torch_inflate(bytes, out, bytes.size % sizeof out);
  source_input input = vonk_torch_source_input(bytes, 0);
  CHECK(!input.is_known || (input.spec.rank >= 0 && input.spec.rank <= VONK_MAX_RANK));
  CHECK(vonk_torch_source_constant(bytes, 0) >= -1);
}

/* A call specification is text that ends. */
static void try_specification(kit_slice bytes, kit_arena *arena) {
  char *text = malloc(bytes.size + 1);
  CHECK(text != NULL);
  if (bytes.size != 0) {
    memcpy(text, bytes.data, bytes.size);
  }
  text[bytes.size] = '\0';
  for (int is_input = 0; is_input < 2; ++is_input) {
    const char *const *names = NULL;
    uint32_t n = 0;
    (void)vonk_torch_spec_keys(arena, text, is_input != 0, &names, &n, NULL);
    for (uint32_t i = 0; i < n; ++i) {
      CHECK(vonk_kit_is_text(names[i], strlen(names[i])));
    }
  }
  const kit_spec *specs = NULL;
  uint32_t n_specs = 0;
  if (vonk_kit_spec_parse(arena, "inputs", text, &specs, &n_specs, NULL) == VONK_OK) {
    CHECK(n_specs >= 1);
  }
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  vonk_kit_set_host(&plain_host);
  kit_arena arena = {0};
  kit_slice bytes = {data, size};
  if (vonk_torch_is_zip(data, size)) {
    try_archive(bytes, &arena);
  } else {
    (void)vonk_torch_kind_of_head(data, size);
    try_parts(bytes, &arena);
    try_specification(bytes, &arena);
  }
  vonk_kit_arena_release(&arena);
  return 0;
}
