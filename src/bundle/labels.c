/* The classes of an output: a text file, one a line. */
#include <inttypes.h>
#include <string.h>

#include "bundle/internal.h"

enum { MOST_LABELS = 1 << 20, MOST_BYTES = 64 << 20 };

static vonk_status fail(const vonk_bundle *bundle, const bundle_file *file,
                        const char *why, vonk_error *err) {
  char shown[VONK_SHOWN];
  return vonk_bundle_fail(bundle, err, VONK_MODEL,
                          "labels '%s': %s: pack the model again",
                          vonk_bundle_show(file->name, strlen(file->name), shown), why);
}

/* A last line may lack its end; a line may end as on Windows. */
static size_t count_lines(const char *text, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    count += text[i] == '\n';
  }
  return count + (n > 0 && text[n - 1] != '\n');
}

static vonk_status split(vonk_bundle *bundle, const bundle_file *file, vonk_port *port,
                         vonk_error *err) {
  size_t n = (size_t)file->size;
  char *text;
  const char **labels;
  size_t count = count_lines((const char *)file->data, n);
  VONK_TRY(vonk_bundle_new(bundle, n + 1, 1, &text, err));
  VONK_TRY(vonk_bundle_new(bundle, count, sizeof *labels, &labels, err));
  memcpy(text, file->data, n);
  for (size_t i = 0; i < count; i++) {
    char *end = strchr(text, '\n');
    labels[i] = text;
    if (end == NULL) {
      break;
    }
    *end = '\0';
    if (end > text && end[-1] == '\r') {
      end[-1] = '\0';
    }
    text = end + 1;
  }
  port->labels = labels;
  port->n_labels = (uint32_t)count;
  return VONK_OK;
}

static vonk_status load(vonk_bundle *bundle, const bundle_file *file, vonk_port *port,
                        vonk_error *err) {
  size_t n = (size_t)file->size;
  const char *text = (const char *)file->data;
  char shown[VONK_SHOWN];
  if (n == 0) {
    return fail(bundle, file, "is empty", err);
  }
  if (n > MOST_BYTES || count_lines(text, n) > MOST_LABELS) {
    return fail(bundle, file, "has more than 1048576 lines, or 64 MiB", err);
  }
  if (memchr(text, '\0', n) != NULL || !vonk_text_is_utf8(text, n)) {
    return fail(bundle, file, "is no text in UTF-8", err);
  }
  VONK_TRY(split(bundle, file, port, err));
  int64_t classes = port->rank > 0 ? port->shape[port->rank - 1] : -1;
  if (classes >= 0 && (uint64_t)classes != port->n_labels) {
    return vonk_bundle_fail(
        bundle, err, VONK_MODEL,
        "labels '%s': has %" PRIu32
        " lines, the last dimension of output '%s' has %" PRId64 ": pack the model again",
        file->name, port->n_labels,
        vonk_bundle_show(port->name, strlen(port->name), shown), classes);
  }
  return VONK_OK;
}

vonk_status vonk_labels_load(vonk_bundle *bundle, vonk_error *err) {
  for (uint32_t i = 0; i < bundle->manifest.n_outputs; i++) {
    if (bundle->label_sources[i].file != NULL) {
      VONK_TRY(
          load(bundle, bundle->label_sources[i].file, &bundle->output_ports[i], err));
    }
  }
  return VONK_OK;
}
