/* The program text of a TorchScript file, searched for what no model needs.
 *
 * TorchScript is a programming language: a file can write others, and some of its code
 * runs while it is loaded. PyTorch has these ways out of a model: aten::save and
 * aten::from_file touch files; rpc_async, rpc_sync, rpc_remote and the c10d operators go
 * to the network; __setstate__ runs at load; operators of other libraries do whatever
 * they do. A name in this language may be given another name, so it is names that are
 * looked for, wherever they stand outside of texts, and getattr may name an attribute
 * only in plain words. The words are cut as PyTorch's own lexer does; where the two could
 * disagree (quotes in comments, texts without end), the file is refused.
 *
 * This is no sandbox. It keeps a model from quietly being something else.
 */
#include <stdio.h>
#include <string.h>

#include "script_file.h"

enum { MAX_GETATTR = 1024 };

typedef enum token_kind { END, WORD, TEXT, MARK, BAD } token_kind;

typedef struct token {
  token_kind kind;
  const char *start;
  size_t size;
} token;

/* What is left of the text. */
typedef struct reader {
  const char *at, *end;
} reader;

static bool is_word(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

static bool equals(token t, const char *text) {
  return t.size == strlen(text) && memcmp(t.start, text, t.size) == 0;
}

/* A text in one or three quotes of a kind, as PyTorch ends it. */
static token next_text(reader *r) {
  char quote = *r->at;
  size_t left = (size_t)(r->end - r->at);
  size_t n = left >= 3 && r->at[1] == quote && r->at[2] == quote ? 3 : 1;
  token t = {TEXT, r->at, 0};
  const char *at = r->at + n;
  while (at < r->end) {
    bool is_end = *at == quote && (size_t)(r->end - at) >= n &&
                  (n == 1 || (at[1] == quote && at[2] == quote));
    if (is_end) {
      t.size = (size_t)(at - t.start) + n;
      r->at = at + n;
      return t;
    }
    if (*at == '\n' && n == 1) {
      break;
    }
    at += *at == '\\' ? 2 : 1;
  }
  r->at = r->end;
  return (token){BAD, t.start, 0};
}

/* To the end of a comment; false if it has quotes. */
static bool skip_comment(reader *r) {
  while (r->at < r->end && *r->at != '\n') {
    if (*r->at == '"' || *r->at == '\'') {
      return false;
    }
    ++r->at;
  }
  return true;
}

static token next(reader *r) {
  for (; r->at < r->end; ++r->at) {
    char c = *r->at;
    if (c == '#') {
      if (strncmp(r->at, "# type:",
                  (size_t)(r->end - r->at) < 7 ? (size_t)(r->end - r->at) : 7) == 0) {
        continue; /* a type comment is read as code */
      }
      if (!skip_comment(r)) {
        return (token){BAD, r->at, 0};
      }
      --r->at;
      continue;
    }
    if (c == '"' || c == '\'') {
      return next_text(r);
    }
    if (is_word(c)) {
      token t = {WORD, r->at, 0};
      while (r->at < r->end && is_word(*r->at)) {
        ++r->at;
      }
      t.size = (size_t)(r->at - t.start);
      return t;
    }
    bool is_blank = c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
    if ((unsigned char)c >= 0x80 || ((unsigned char)c < 0x20 && !is_blank)) {
      return (token){BAD, r->at, 0};
    }
    if (!is_blank) {
      return (token){MARK, r->at++, 1};
    }
  }
  return (token){END, r->end, 0};
}

/* --- rules -------------------------------------------------------------------------------- */

static const struct {
  const char *word, *why;
} forbidden[] = {
    {"save", "writes files"},           {"from_file", "reads files"},
    {"load_tensor", "reads files"},     {"__setstate__", "runs while the file is loaded"},
    {"rpc_async", "uses the network"},  {"rpc_sync", "uses the network"},
    {"rpc_remote", "uses the network"},
};

static const char *why_forbidden(const char *word, size_t size) {
  for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; ++i) {
    if (strlen(forbidden[i].word) == size && memcmp(forbidden[i].word, word, size) == 0) {
      return forbidden[i].why;
    }
  }
  return NULL;
}

/* Operators that PyTorch itself has, by the name before the dot. */
static bool is_known_namespace(token t) {
  static const char *const known[] = {"aten",       "prim",   "quantized",
                                      "_quantized", "mkldnn", "mkldnn_prepacked",
                                      "onednn",     "sparse"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (equals(t, known[i])) {
      return true;
    }
  }
  return false;
}

/* Whether what follows "getattr" ends in `, "plain words")`. */
static bool is_plain_getattr(reader r) {
  if ((size_t)(r.end - r.at) > MAX_GETATTR) {
    r.end = r.at + MAX_GETATTR;
  }
  token before = {0}, last = {0}, t = next(&r);
  if (!equals(t, "(")) {
    return false;
  }
  for (int depth = 1; depth > 0;) {
    before = last;
    last = t;
    t = next(&r);
    if (t.kind == END || t.kind == BAD) {
      return false;
    }
    depth += t.kind != MARK ? 0 : *t.start == '(' ? 1 : *t.start == ')' ? -1 : 0;
  }
  return before.kind == MARK && *before.start == ',' && last.kind == TEXT &&
         last.size >= 2 && memchr(last.start, '\\', last.size) == NULL &&
         why_forbidden(last.start + 1, last.size - 2) == NULL &&
         last.start[1] != *last.start;
}

static const char *check_word(token t, char before, const reader *rest, char *room,
                              size_t capacity) {
  const char *why = why_forbidden(t.start, t.size);
  if (why != NULL) {
    snprintf(room, capacity, "its code uses '%.*s', which %s", (int)t.size, t.start, why);
    return room;
  }
  if (equals(t, "getattr") && !is_plain_getattr(*rest)) {
    return "its code uses 'getattr' in a way that PyTorch does not write";
  }
  if (equals(t, "ops") && before != '.') {
    reader r = *rest;
    token dot = next(&r), name = next(&r);
    if (!equals(dot, ".") || !is_known_namespace(name)) {
      snprintf(room, capacity, "its code uses operators of another library ('ops.%.*s')",
               (int)(name.size < 60 ? name.size : 60), name.start);
      return room;
    }
  }
  if (equals(t, "torch") && before == '.') {
    reader r = *rest;
    token dot = next(&r), name = next(&r);
    if (equals(dot, ".") && equals(name, "classes")) {
      return "its code uses classes written in C++ (torch.classes), as PyTorch's "
             "quantised modules do";
    }
  }
  return NULL;
}

const char *vonk_torch_code_check(kit_slice text, char *room, size_t capacity) {
  if (text.size == 0) {
    return NULL;
  }
  reader r = {(const char *)text.data, (const char *)text.data + text.size};
  char before = '\0';
  for (;;) {
    token t = next(&r);
    if (t.kind == END) {
      return NULL;
    }
    const char *why = t.kind == BAD    ? "its code cannot be read"
                      : t.kind == WORD ? check_word(t, before, &r, room, capacity)
                                       : NULL;
    if (why != NULL) {
      return why;
    }
    before = t.kind == MARK ? *t.start : 'a';
  }
}
