/* What vonk_model_open was asked for: the path with its optional content pin, the host's
 * options and the plug-in's. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

#define PIN_MARK "#sha256="
#define PIN_DIGITS 64u
#define MOST_THREADS 1024

/* Splits "model.onnx#sha256=<hex>" into path (to be freed) and pin. */
static vonk_status split_pin(const char *text, char **path, char pin[65],
                             vonk_error *err) {
  const char *mark = strstr(text, PIN_MARK);
  VONK_TRY(vonk_new_string(text, path, err));
  pin[0] = '\0';
  if (mark == NULL) {
    return VONK_OK;
  }
  (*path)[mark - text] = '\0';
  const char *hex = mark + strlen(PIN_MARK);
  bool ok = strlen(hex) == PIN_DIGITS;
  for (size_t i = 0; ok && i < PIN_DIGITS; i++) {
    ok = isxdigit((unsigned char)hex[i]) != 0;
    pin[i] = (char)tolower((unsigned char)hex[i]);
  }
  pin[PIN_DIGITS] = '\0';
  if (!ok) {
    vonk_delete(*path);
    return vonk_fail(err, VONK_INVALID,
                     "model path '%s': the pin after %s must be 64 hex digits", text,
                     PIN_MARK);
  }
  return VONK_OK;
}

static int compare_keys(const void *a, const void *b) {
  return strcmp(((const vonk_kv *)a)->key, ((const vonk_kv *)b)->key);
}

/* Which of the two would count is nothing to guess. */
static vonk_status check_options(const vonk_kv *options, size_t n, vonk_error *err) {
  if (n > 0 && options == NULL) {
    return vonk_fail(err, VONK_INVALID,
                     "model options: there is a count of %zu but no entry", n);
  }
  for (size_t i = 0; i < n; i++) {
    if (options[i].key == NULL || options[i].value == NULL) {
      return vonk_fail(err, VONK_INVALID, "model options: an entry has no %s",
                       options[i].key == NULL ? "key" : "value");
    }
    for (size_t k = 0; k < i; k++) {
      if (strcmp(options[k].key, options[i].key) == 0) {
        return vonk_fail(err, VONK_INVALID,
                         "option %s: is given twice, as '%s' and as '%s': give it once",
                         options[i].key, options[k].value, options[i].value);
      }
    }
  }
  return VONK_OK;
}

static vonk_status parse_threads(const char *text, uint32_t *out, vonk_error *err) {
  char *end = NULL;
  long n = strtol(text, &end, 10);
  if (end == text || *end != '\0' || n < 1 || n > MOST_THREADS) {
    return vonk_fail(err, VONK_INVALID,
                     "option threads_per_run: '%s' is no number from 1 to %d", text,
                     MOST_THREADS);
  }
  *out = (uint32_t)n;
  return VONK_OK;
}

/* Takes one option: a host key is used here, any other is kept for the plug-in. */
static vonk_status take_option(const vonk_kv *option, vonk_open_request *out,
                               vonk_error *err) {
  if (strcmp(option->key, "plugin") == 0) {
    out->plugin = option->value;
    return VONK_OK;
  }
  if (strcmp(option->key, "device") == 0) {
    return vonk_device_parse(option->value, &out->device, err);
  }
  if (strcmp(option->key, "threads_per_run") == 0) {
    return parse_threads(option->value, &out->threads, err);
  }
  out->options[out->n_options++] = *option;
  return VONK_OK;
}

vonk_status vonk_open_request_parse(const char *path, const vonk_kv *options,
                                    size_t n_options, vonk_open_request *out,
                                    vonk_error *err) {
  vonk_open_request request = {.device = {VONK_DEVICE_CPU, 0}, .threads = 1};
  char *given = NULL;
  if (path == NULL || path[0] == '\0') {
    return vonk_fail(err, VONK_INVALID,
                     "model path: is empty: give the path of a model file");
  }
  VONK_TRY(check_options(options, n_options, err));
  vonk_status status = split_pin(path, &given, request.pin, err);
  if (status != VONK_OK) {
    return status;
  }
  status = vonk_path_resolve(given, &request.path, err);
  if (status == VONK_OK) {
    status = vonk_tree_identify(request.path, &request.file, err);
  }
  if (status == VONK_OK) {
    status = vonk_new(n_options, sizeof *request.options, &request.options, err);
  }
  for (size_t i = 0; status == VONK_OK && i < n_options; i++) {
    status = take_option(&options[i], &request, err);
  }
  vonk_delete(given);
  if (status != VONK_OK) {
    vonk_open_request_clear(&request);
    return status;
  }
  if (request.n_options > 1) {
    qsort(request.options, request.n_options, sizeof *request.options, compare_keys);
  }
  *out = request;
  return VONK_OK;
}

void vonk_open_request_clear(vonk_open_request *request) {
  vonk_delete(request->path);
  vonk_delete(request->options);
  *request = (vonk_open_request){0};
}

vonk_status vonk_open_request_check_pin(const vonk_open_request *request,
                                        vonk_error *err) {
  if (request->pin[0] == '\0') {
    return VONK_OK;
  }
  char hex[65];
  VONK_TRY(vonk_tree_sha256(request->path, hex, err));
  if (strcmp(hex, request->pin) != 0) {
    return vonk_fail(err, VONK_MODEL,
                     "model '%s': its content is not the pinned one: sha256 is %s, "
                     "expected %s: it was changed or "
                     "damaged; get the right file or a new pin",
                     request->path, hex, request->pin);
  }
  return VONK_OK;
}
