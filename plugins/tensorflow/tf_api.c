/* The table of TensorFlow's entries, filled by name. */
#include "tf_api.h"

#include <dlfcn.h>
#include <string.h>

#define ROW(result, name, parameters) {"TF_" #name, offsetof(tf_api, name)},
static const struct {
  const char *symbol;
  size_t offset;
} entries[] = {VONK_TF_ENTRIES(ROW)};
#undef ROW

const char *vonk_tf_api_take(void *library, tf_api *out) {
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; ++i) {
    void *entry = dlsym(library, entries[i].symbol);
    if (entry == NULL) {
      return entries[i].symbol;
    }
    memcpy((char *)out + entries[i].offset, &entry, sizeof entry);
  }
  return NULL;
}
