/* Fuzz target: the ONNX plug-in's look into a model file.
 *
 * The input is the file. It is checked as if it lay in a folder that does not exist, so
 * that no reference to a file outside can be followed, and as one in memory with two
 * files beside it; a copy of it, cut as the host cuts
 * a file's head, goes through the recogniser. What comes out is held against what
 * onnx_file.h promises: texts are text, numbers are not negative, a failure has a
 * message. */
#include "plugins/onnx/onnx_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "tests/kit/host.h"

static void check_facts(const onnx_file_facts *facts) {
  int64_t least = facts->is_ort_format ? -1 : 0;
  CHECK(facts->n_params >= least && facts->weight_bytes >= least);
  CHECK(facts->producer == NULL ||
        vonk_kit_is_text(facts->producer, strlen(facts->producer)));
  for (uint32_t i = 0; i < facts->n_companions; ++i) {
    CHECK(facts->companions[i].bytes.size == 16 || facts->companions[i].bytes.size == 0);
    CHECK(i == 0 ||
          strcmp(facts->companions[i - 1].location, facts->companions[i].location) < 0);
  }
  for (uint32_t i = 0; i < facts->n_metadata; ++i) {
    const vonk_kv *row = &facts->metadata[i];
    CHECK(vonk_kit_is_text(row->key, strlen(row->key)));
    CHECK(vonk_kit_is_text(row->value, strlen(row->value)));
  }
}

static void check_file(const kit_source *source, kit_slice file) {
  kit_arena arena = {0};
  onnx_file_facts facts;
  vonk_error err = {.struct_size = (uint32_t)sizeof err};
  vonk_status status = vonk_onnx_file_check(source, file, &arena, &facts, &err);
  if (status == VONK_OK) {
    check_facts(&facts);
  } else {
    CHECK(err.code == status);
    CHECK(strncmp(err.message, "'/nowhere/m.onnx': ", 19) == 0);
    CHECK(vonk_kit_is_text(err.message, strlen(err.message)));
  }
  vonk_kit_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  vonk_kit_set_host(&plain_host);
  check_file(&(kit_source){"/nowhere/m.onnx", NULL}, (kit_slice){data, size});
  static const vonk_file beside[] = {{"w.bin", "0123456789abcdef", 16}, {"x/y", NULL, 0}};
  const vonk_files files = {.struct_size = (uint32_t)sizeof files,
                            .n_files = 2,
                            .path = "/nowhere/m.onnx",
                            .main = "m.onnx",
                            .files = beside};
  check_file(&(kit_source){files.path, &files}, (kit_slice){data, size});

  size_t n_head = size < 4096 ? size : 4096;
  uint8_t *head = malloc(n_head == 0 ? 1 : n_head);
  CHECK(head != NULL);
  if (n_head != 0) {
    memcpy(head, data, n_head);
  }
  int32_t sure = vonk_onnx_recognise("/nowhere/m.onnx", head, n_head);
  CHECK(sure == 1 || sure == 2);
  free(head);
  return 0;
}
