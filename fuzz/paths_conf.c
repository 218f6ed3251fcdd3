/* paths.conf: whatever the text, every entry lies inside it, is not empty and has no
 * space around it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "plugin/internal.h"

static void check(const char *text, size_t size, const char *part) {
  if (part < text || part >= text + size || *part == '\0' ||
      isspace((unsigned char)*part) || isspace((unsigned char)part[strlen(part) - 1]) ||
      strchr(part, '\n') != NULL) {
    abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { CAPACITY = 8 };
  vonk_path_entry entries[CAPACITY];
  char *text = malloc(size + 1);
  if (text == NULL) {
    return 0;
  }
  if (size > 0) {
    memcpy(text, data, size);
  }
  text[size] = '\0';
  size_t n = vonk_paths_parse(text, entries, CAPACITY);
  if (n > CAPACITY) {
    abort();
  }
  for (size_t i = 0; i < n; i++) {
    check(text, size, entries[i].key);
    check(text, size, entries[i].value);
  }
  free(text);
  return 0;
}
