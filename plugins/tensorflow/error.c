/* Error messages of the TensorFlow plug-in.
 *
 * TensorFlow's messages are kept, for they say what is wrong with which tensor, but its
 * notation is made readable: "{{node a/b}}" becomes "node 'a/b'"; a node that is written
 * out with all its attributes, up to whole weights, is cut to its name; the stack of
 * functions at the end is left out but for the innermost node; advice to TensorFlow's
 * developers and the computer's name go. "x is bad\n\t [[{{function_node __inference_f_9}}
 * {{node a/b}}]]" becomes "x is bad (node 'a/b')".
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tf_plugin.h"

/* Text that grows up to its capacity. */
typedef struct writer {
  char *text;
  size_t used, capacity;
} writer;

static void put(writer *w, const char *bytes, size_t n) {
  for (size_t i = 0; i < n && w->used + 1 < w->capacity; ++i) {
    bool is_space =
        bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\t' || bytes[i] == ' ';
    if (!is_space) {
      w->text[w->used++] = bytes[i];
    } else if (w->used > 0 && w->text[w->used - 1] != ' ') {
      w->text[w->used++] = ' ';
    }
  }
}

static bool starts(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

/* Where the text ends for a user. */
static const char *find_end(const char *text) {
  static const char *const ends[] = {
      " in binary running on ",   "\n\t [[",        "\n  (1) ",
      "\n\nOriginal stack trace", "\n1 successful", "\n0 successful",
      "Please fix your script"};
  const char *end = text + strlen(text);
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; ++i) {
    const char *found = strstr(text, ends[i]);
    end = found != NULL && found < end ? found : end;
  }
  return end;
}

/* The beginning: several errors are found as a rule where one thing is wrong, and the
 * first one is it. */
static const char *find_start(const char *text) {
  const char *first = strstr(text, "root error(s) found.\n  (0) ");
  const char *colon = first == NULL ? NULL : strstr(first, ": ");
  return colon == NULL ? text : colon + 2;
}

/* After "{{node a}}": the end of " = Op[...](...)'", which is the node written out. */
static const char *skip_written_out(const char *text, const char *end) {
  if (!starts(text, " = ")) {
    return text;
  }
  for (const char *p = text; p + 1 < end; ++p) {
    if (p[0] == ')' && p[1] == '\'') {
      return p + 1;
    }
  }
  return end;
}

/* Replaces TensorFlow's "{{...}}" at text; returns text itself if there is none. */
static const char *put_node(writer *w, const char *text, const char *end) {
  const char *close = strstr(text, "}}");
  if (close == NULL || close >= end || close - text > 500) {
    return text;
  }
  if (starts(text, "{{function_node ")) {
    return close + 2;
  }
  if (!starts(text, "{{node ")) {
    return text;
  }
  bool is_quoted = w->used > 0 && w->text[w->used - 1] == '\'';
  w->used -= is_quoted;
  put(w, "node '", 6);
  put(w, text + 7, (size_t)(close - text) - 7);
  put(w, "'", 1);
  close = skip_written_out(close + 2, end);
  return is_quoted && *close == '\'' ? close + 1 : close;
}

static void make_readable(const char *message, char *out, size_t capacity) {
  writer w = {out, 0, capacity};
  const char *text = find_start(message);
  const char *end = find_end(text);
  while (text < end) {
    const char *next = starts(text, "{{") ? put_node(&w, text, end) : text;
    if (next == text) {
      put(&w, text++, 1);
    } else {
      text = next;
    }
  }
  while (w.used > 0 && (out[w.used - 1] == ' ' || out[w.used - 1] == '.')) {
    --w.used;
  }
  /* the innermost node of the stack */
  const char *stack = starts(end, "\n\t [[") ? strstr(end, "{{node ") : NULL;
  const char *close = stack == NULL ? NULL : strstr(stack, "}}");
  if (close != NULL) {
    put(&w, " (node '", 8);
    put(&w, stack + 7, (size_t)(close - stack) - 7);
    put(&w, "')", 2);
  }
  out[w.used] = '\0';
}

static vonk_status code_of(int tf_code) {
  switch (tf_code) {
    case TF_CODE_CANCELLED:
      return VONK_CANCELLED;
    case TF_CODE_INVALID_ARGUMENT:
    case TF_CODE_OUT_OF_RANGE:
      return VONK_INVALID;
    case TF_CODE_NOT_FOUND:
    case TF_CODE_PERMISSION_DENIED:
      return VONK_IO;
    case TF_CODE_RESOURCE_EXHAUSTED:
      return VONK_NOMEM;
    case TF_CODE_UNIMPLEMENTED:
      return VONK_UNSUPPORTED;
    case TF_CODE_DATA_LOSS:
      return VONK_MODEL;
    default:
      return VONK_BACKEND;
  }
}

vonk_status vonk_tf_check(const tf_runtime *runtime, const tf_status *status,
                          vonk_error *err, const char *format, ...) {
  int tf_code = runtime->api.GetCode(status);
  if (tf_code == TF_CODE_OK) {
    return VONK_OK;
  }
  vonk_status code = code_of(tf_code);
  if (err != NULL) {
    char what[512], why[1024], text[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    make_readable(runtime->api.Message(status), why, sizeof why);
    snprintf(text, sizeof text, "%s: %s", what, why);
    (void)vonk_kit_fail_text(err, code, tf_code, text);
  }
  return code;
}
