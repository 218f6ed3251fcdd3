/* What a file or folder is, by its name and first bytes. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tf_plugin.h"

static bool has_file(const char *folder, const char *name) {
  char path[PATH_MAX];
  struct stat facts;
  int n = snprintf(path, sizeof path, "%s/%s", folder, name);
  return n > 0 && n < (int)sizeof path && stat(path, &facts) == 0 &&
         S_ISREG(facts.st_mode);
}

int32_t vonk_tf_recognise(const char *path, const uint8_t *head, size_t n_head) {
  (void)n_head;
  if (head == NULL) {
    return has_file(path, "saved_model.pb") ? 2 : 0;
  }
  return 0;
}
