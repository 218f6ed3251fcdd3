/* What a file is, by its first bytes.
 *
 * People point at the wrong file all the time, such as the checkpoint instead of the
 * export. Each gets its own answer.
 */
#include <string.h>

#include "onnx_file.h"

static bool starts(const uint8_t *head, size_t n_head, const char *text, size_t n_text) {
  return n_head >= n_text && memcmp(head, text, n_text) == 0;
}

const char *vonk_onnx_what_else(const uint8_t *head, size_t n_head) {
  static const struct {
    const char *text;
    size_t n_text, at;
    const char *answer;
  } known[] = {
      {"PK\x03\x04", 4, 0,
       "is a zip archive, not an ONNX file (PyTorch's .pt and Keras's .keras are zip "
       "archives): "
       "unpack it, or export the model to ONNX"},
      {"\x89HDF\r\n\x1a\n", 8, 0,
       "is an HDF5 file, as Keras writes them, not an ONNX file: export the model to "
       "ONNX"},
      {"GGUF", 4, 0, "is a GGUF file, not an ONNX file: export the model to ONNX"},
      {"TFL3", 4, 4,
       "is a TensorFlow Lite file, not an ONNX file: export the model to ONNX"},
      {"\x7f"
       "ELF",
       4, 0, "is a program or library, not an ONNX file"},
      {"{\"", 2, 8,
       "is a safetensors file, weights without a network: export the model to ONNX"},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (n_head > known[i].at && starts(head + known[i].at, n_head - known[i].at,
                                       known[i].text, known[i].n_text)) {
      return known[i].answer;
    }
  }
  if (n_head >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5) {
    return "is a Python pickle, which vonk never loads, not an ONNX file: export the "
           "model to "
           "ONNX";
  }
  return vonk_kit_what_else(head, n_head);
}

/* Whether the head reads as the beginning of an ONNX model: an ir_version of some size
 * first or nearly so, and no field that such a model does not have. */
static bool looks_like_onnx(const uint8_t *head, size_t n_head) {
  kit_slice rest = {head, n_head};
  kit_slice unread = rest;
  kit_field field;
  bool has_version = false;
  while (vonk_kit_wire_next(&rest, &field) == 1) {
    unread = rest;
    bool is_number = field.number == 1 || field.number == 5;
    bool is_known = field.number <= 8 || field.number == 14 || field.number == 20 ||
                    field.number == 25 || field.number == 26;
    if (!is_known || is_number != (field.wire == KIT_WIRE_VARINT) ||
        (!is_number && field.wire != KIT_WIRE_BYTES)) {
      return false;
    }
    bool is_short_text = field.number >= 2 && field.number <= 4;
    if (is_short_text &&
        !vonk_kit_is_text((const char *)field.bytes.data, field.bytes.size)) {
      return false;
    }
    if (field.number == 1) {
      has_version = field.value >= 1 && field.value < 1000;
    }
    if (field.number == 7) {
      break;
    }
  }
  /* In a TensorFlow SavedModel, which also begins with a version, the second field is a
   * large message; read as a name it is no text, or goes beyond the head. */
  bool ends_in_name = unread.size > 0 && unread.data[0] == 0x12;
  return has_version && !ends_in_name;
}

int32_t vonk_onnx_recognise(const char *path, const uint8_t *head, size_t n_head) {
  if (head == NULL) {
    return 0; /* a folder */
  }
  if (n_head >= 8 && memcmp(head + 4, "ORTM", 4) == 0) {
    return 2;
  }
  if (vonk_onnx_what_else(head, n_head) == NULL && looks_like_onnx(head, n_head)) {
    return 2;
  }
  return vonk_kit_has_extension(path, ".onnx") || vonk_kit_has_extension(path, ".ort")
             ? 1
             : 0;
}
