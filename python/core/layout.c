/* Whether rows are of the schema that a predictor was bound to.
 *
 * How it works: two trees are walked side by side. What says how memory is read (formats,
 * children, dictionaries) must be equal, and so must the names of columns and of struct
 * fields, since rows whose columns changed places would be predicted wrongly without a
 * word. The names of list elements mean nothing: every producer has its own. */
#include <stdio.h>
#include <string.h>

#include "core.h"

/* A type in words; what does not fit is cut off. */
typedef struct words {
  char data[200];
  size_t size;
} words;

static void say(words *w, const char *text) {
  const size_t room = sizeof w->data - 1 - w->size;
  const size_t size = strlen(text) < room ? strlen(text) : room;
  memcpy(w->data + w->size, text, size);
  w->size += size;
  w->data[w->size] = '\0';
}

static const char *word_of(const char *format) {
  static const char *const known[][2] = {
      {"b", "bool"},   {"c", "int8"},         {"C", "uint8"},   {"s", "int16"},
      {"S", "uint16"}, {"i", "int32"},        {"I", "uint32"},  {"l", "int64"},
      {"L", "uint64"}, {"e", "float16"},      {"f", "float32"}, {"g", "float64"},
      {"u", "string"}, {"U", "large string"}, {"z", "binary"},  {"Z", "large binary"},
      {"n", "null"},   {"+s", "struct"},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp(known[i][0], format) == 0) {
      return known[i][1];
    }
  }
  return NULL;
}

static void describe(const struct ArrowSchema *schema, words *w) {
  const char *word = word_of(schema->format);
  if (schema->dictionary != NULL) {
    say(w, "dictionary<");
    describe(schema->dictionary, w);
    say(w, ">");
  } else if (word != NULL) {
    say(w, word);
  } else if (schema->n_children == 1) {
    say(w, strcmp(schema->format, "+l") == 0 ? "list<" : schema->format);
    say(w, strcmp(schema->format, "+l") == 0 ? "" : "<");
    describe(schema->children[0], w);
    say(w, ">");
  } else {
    say(w, schema->format);
  }
}

static bool is_struct(const struct ArrowSchema *schema) {
  return strcmp(schema->format, "+s") == 0;
}

static const char *name_of(const struct ArrowSchema *schema) {
  return schema->name == NULL ? "" : schema->name;
}

static bool is_same(const struct ArrowSchema *a, const struct ArrowSchema *b) {
  if (strcmp(a->format, b->format) != 0 || a->n_children != b->n_children ||
      (a->dictionary == NULL) != (b->dictionary == NULL)) {
    return false;
  }
  for (int64_t i = 0; i < a->n_children; i++) {
    if (!is_same(a->children[i], b->children[i]) ||
        (is_struct(a) && strcmp(name_of(a->children[i]), name_of(b->children[i])) != 0)) {
      return false;
    }
  }
  return a->dictionary == NULL || is_same(a->dictionary, b->dictionary);
}

/* The first column at fault. */
static vonk_status refuse(const struct ArrowSchema *bound, const struct ArrowSchema *rows,
                          int64_t column, vonk_error *err) {
  const char *was = name_of(bound->children[column]);
  const char *now = name_of(rows->children[column]);
  words expected = {.size = 0}, found = {.size = 0};
  if (strcmp(was, now) != 0) {
    return vonk_py_fail(err, VONK_INVALID,
                        "rows: column %lld is '%s', the predictor was bound to '%s' "
                        "there: give the columns in that order, or bind the model to the "
                        "schema of these rows",
                        (long long)column + 1, now, was);
  }
  describe(bound->children[column], &expected);
  describe(rows->children[column], &found);
  if (strcmp(expected.data, found.data) == 0) {
    say(&found, " of another form");
  }
  return vonk_py_fail(err, VONK_INVALID,
                      "rows: column '%s' is %s, the predictor was bound to %s: cast it, "
                      "or bind the model to the schema of these rows",
                      was, found.data, expected.data);
}

vonk_status vonk_py_layout_check(const struct ArrowSchema *bound,
                                 const struct ArrowSchema *rows, vonk_error *err) {
  if (rows->n_children != bound->n_children) {
    return vonk_py_fail(err, VONK_INVALID,
                        "rows: have %lld columns, the predictor was bound to %lld: give "
                        "rows of the schema it was bound to",
                        (long long)rows->n_children, (long long)bound->n_children);
  }
  for (int64_t i = 0; i < bound->n_children; i++) {
    if (strcmp(name_of(bound->children[i]), name_of(rows->children[i])) != 0 ||
        !is_same(bound->children[i], rows->children[i])) {
      return refuse(bound, rows, i, err);
    }
  }
  return VONK_OK;
}
