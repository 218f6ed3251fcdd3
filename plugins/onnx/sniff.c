/* What a file is, by its first bytes.
 *
 * People point at the wrong file all the time: a Git LFS pointer, a login page that was
 * saved under the model's name, the checkpoint instead of the export. Each gets its own
 * answer.
 */
#include <string.h>

#include "onnx_file.h"

static bool starts(const uint8_t *head, size_t n_head, const char *text, size_t n_text) {
  return n_head >= n_text && memcmp(head, text, n_text) == 0;
}

static bool is_web_page(const uint8_t *head, size_t n_head) {
  size_t i = starts(head, n_head, "\xef\xbb\xbf", 3) ? 3 : 0;
  while (i < n_head && (head[i] == ' ' || (head[i] >= '\t' && head[i] <= '\r'))) {
    ++i;
  }
  if (n_head - i < 5 || head[i] != '<') {
    return false;
  }
  char text[10] = {0};
  for (size_t j = 0; j < sizeof text - 1 && i + j < n_head; ++j) {
    uint8_t c = head[i + j];
    text[j] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  return memcmp(text, "<html", 5) == 0 || memcmp(text, "<!doctype", 9) == 0 ||
         memcmp(text, "<?xml", 5) == 0 || memcmp(text, "<head", 5) == 0;
}

const char *vonk_onnx_what_else(const uint8_t *head, size_t n_head) {
  static const struct {
    const char *text;
    size_t n_text, at;
    const char *answer;
  } known[] = {
      {"version https://git-lfs", 23, 0,
       "is a Git LFS pointer, not the model itself: run 'git lfs pull' in its folder"},
      {"\x1f\x8b", 2, 0, "is compressed with gzip: unpack it first"},
      {"BZh", 3, 0, "is compressed with bzip2: unpack it first"},
      {"\xfd"
       "7zXZ",
       5, 0, "is compressed with xz: unpack it first"},
      {"\x28\xb5\x2f\xfd", 4, 0, "is compressed with zstd: unpack it first"},
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
  if (is_web_page(head, n_head)) {
    return "is a web page, not a model: the download went wrong (a login or error page?)";
  }
  return NULL;
}

static bool ends(const char *path, const char *extension) {
  size_t n_path = strlen(path), n_extension = strlen(extension);
  return n_path >= n_extension && strcmp(path + n_path - n_extension, extension) == 0;
}

/* Whether the head reads as the beginning of an ONNX model: an ir_version of some size
 * first or nearly so, and no field that such a model does not have. */
static bool looks_like_onnx(const uint8_t *head, size_t n_head) {
  onnx_slice rest = {head, n_head};
  onnx_slice unread = rest;
  onnx_field field;
  bool has_version = false;
  while (vonk_wire_next(&rest, &field) == 1) {
    unread = rest;
    bool is_number = field.number == 1 || field.number == 5;
    bool is_known = field.number <= 8 || field.number == 14 || field.number == 20 ||
                    field.number == 25 || field.number == 26;
    if (!is_known || is_number != (field.wire == WIRE_VARINT) ||
        (!is_number && field.wire != WIRE_BYTES)) {
      return false;
    }
    bool is_short_text = field.number >= 2 && field.number <= 4;
    if (is_short_text &&
        !vonk_onnx_is_text((const char *)field.bytes.data, field.bytes.size)) {
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
  return ends(path, ".onnx") || ends(path, ".ort") ? 1 : 0;
}
