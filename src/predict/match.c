/* Which columns feed which input, by the rules that vonk.h lists.
 *
 * How it works. `candidates` are the columns to choose from: the top-level ones, or, if
 * the only column is a struct and no input bears its name, the struct's fields. An
 * explicit map is applied first, and takes its inputs out of the game. Then names, then
 * positions, then packing are tried on the inputs that are left; each rule fits all of
 * them or none. */
#include <inttypes.h>
#include <string.h>

#include "predict/plan.h"

typedef struct candidate {
  const vonk_type *type;
  const vonk_error *unreadable;
  int64_t path[MAX_PATH];
  size_t path_size;
} candidate;

typedef struct matching {
  vonk_predictor *predictor;
  candidate *candidates;
  size_t n;
  bool are_fields;
} matching;

/* --- looking columns up --- */

static vonk_status top_candidates(matching *m, vonk_error *err) {
  vonk_predictor *p = m->predictor;
  vonk_delete(m->candidates);
  m->candidates = NULL;
  VONK_TRY(vonk_new(p->n_columns, sizeof *m->candidates, &m->candidates, err));
  m->n = p->n_columns;
  for (size_t i = 0; i < p->n_columns; i++) {
    m->candidates[i] = (candidate){.type = &p->columns[i].type,
                                   .unreadable = p->columns[i].unreadable,
                                   .path = {(int64_t)i},
                                   .path_size = 1};
  }
  return VONK_OK;
}

/* The fields of the only column take its place. */
static vonk_status field_candidates(matching *m, vonk_error *err) {
  const vonk_type *parent = m->candidates[0].type;
  candidate *fields = NULL;
  VONK_TRY(vonk_new((size_t)parent->n_children, sizeof *fields, &fields, err));
  for (int64_t i = 0; i < parent->n_children; i++) {
    fields[i] = m->candidates[0];
    fields[i].type = &parent->children[i];
    fields[i].path[fields[i].path_size++] = i;
  }
  vonk_delete(m->candidates);
  m->candidates = fields;
  m->n = (size_t)parent->n_children;
  m->are_fields = true;
  return VONK_OK;
}

static const candidate *by_name(const matching *m, const char *name, size_t size) {
  for (size_t i = 0; i < m->n; i++) {
    const char *candidate_name = m->candidates[i].type->name;
    if (strlen(candidate_name) == size && strncmp(candidate_name, name, size) == 0) {
      return &m->candidates[i];
    }
  }
  return NULL;
}

/* "a.b.c": the longest column name that is a prefix wins, the rest are fields. */
static bool by_path(const matching *m, const char *text, size_t size, candidate *out) {
  for (size_t end = size; end > 0; end--) {
    if (end != size && text[end] != '.') {
      continue;
    }
    const candidate *found = by_name(m, text, end);
    if (found == NULL) {
      continue;
    }
    candidate c = *found;
    size_t at = end;
    while (at < size && c.type->kind == VONK_TYPE_STRUCT && c.path_size < MAX_PATH) {
      size_t start = at + 1, field_size = 0;
      while (start + field_size < size && text[start + field_size] != '.') {
        field_size++;
      }
      const vonk_type *parent = c.type;
      for (int64_t f = 0; f < parent->n_children && c.type == parent; f++) {
        const char *name = parent->children[f].name;
        if (strlen(name) == field_size && strncmp(name, text + start, field_size) == 0) {
          c.type = &parent->children[f];
          c.path[c.path_size++] = f;
        }
      }
      if (c.type == parent) {
        break;
      }
      at = start + field_size;
    }
    if (at == size) {
      *out = c;
      return true;
    }
  }
  return false;
}

static void list_columns(const matching *m, vonk_text *out) {
  for (size_t i = 0; i < m->n; i++) {
    vonk_text type = {.size = 0};
    if (m->candidates[i].unreadable == NULL) {
      vonk_type_describe(m->candidates[i].type, &type);
    } else {
      vonk_text_add(&type, "not a tensor's type");
    }
    vonk_text_add(out, "%s%s (%s)", i == 0 ? "" : ", ", m->candidates[i].type->name,
                  type.data);
  }
  if (m->n == 0) {
    vonk_text_add(out, "none");
  }
}

static void list_inputs(const vonk_predictor *p, vonk_text *out) {
  for (size_t i = 0; i < p->n_inputs; i++) {
    vonk_text type = {.size = 0};
    vonk_plan_describe(p->inputs[i].io->dtype, p->inputs[i].rank, p->inputs[i].shape,
                       &type);
    vonk_text_add(out, "%s%s (%s)", i == 0 ? "" : ", ", p->inputs[i].io->name, type.data);
  }
}

/* --- giving a column to an input --- */

static vonk_status set_source(source *s, const candidate *c, const char *name,
                              size_t name_size, vonk_error *err) {
  if (c->unreadable != NULL) {
    vonk_error_copy(err, c->unreadable);
    return c->unreadable->code;
  }
  VONK_TRY(vonk_new(name_size + 1, 1, &s->name, err));
  memcpy(s->name, name, name_size);
  memcpy(s->path, c->path, sizeof s->path);
  s->path_size = c->path_size;
  s->type = c->type;
  return VONK_OK;
}

static vonk_status give(input_plan *input, const candidate *c, vonk_error *err) {
  VONK_TRY(vonk_new(1, sizeof *input->sources, &input->sources, err));
  input->n_sources = 1;
  return set_source(&input->sources[0], c, c->type->name, strlen(c->type->name), err);
}

/* Which of several columns of one name is meant is nothing to guess. */
static vonk_status check_unique(const matching *m, const candidate *c, vonk_error *err) {
  for (size_t i = 0; i < m->n; i++) {
    const candidate *other = &m->candidates[i];
    if (other->path[0] != c->path[0] && c->path_size == 1 &&
        strcmp(other->type->name, c->type->name) == 0) {
      return vonk_fail(err, VONK_INVALID,
                       "column '%s': several columns have that name: rename one of them",
                       c->type->name);
    }
  }
  return VONK_OK;
}

/* One column of an explicit entry. */
static vonk_status give_part(matching *m, input_plan *input, size_t i, const char *word,
                             size_t size, vonk_error *err) {
  candidate c;
  if (size == 0) {
    return vonk_fail(err, VONK_INVALID,
                     "input map: input '%s' is given an empty column name: write "
                     "%s=COLUMN, or %s=A,B,C to pack columns of single values",
                     input->io->name, input->io->name, input->io->name);
  }
  if (!by_path(m, word, size, &c)) {
    vonk_text columns = {.size = 0};
    list_columns(m, &columns);
    return vonk_fail(err, VONK_INVALID,
                     "input map: input '%s' is given column '%.*s', which is not there: "
                     "the columns are %s",
                     input->io->name, (int)size, word, columns.data);
  }
  VONK_TRY(check_unique(m, &c, err));
  return set_source(&input->sources[i], &c, word, size, err);
}

/* An explicit entry, "column", "struct.field" or "a,b,c". A column whose own name has a
 * comma or dot is found whole. */
static vonk_status give_explicit(matching *m, input_plan *input, const char *text,
                                 vonk_error *err) {
  size_t n = 1, size = strlen(text);
  candidate c;
  if (!by_path(m, text, size, &c)) {
    for (const char *comma = text; (comma = strchr(comma, ',')) != NULL; comma++) {
      n++;
    }
  }
  VONK_TRY(vonk_new(n, sizeof *input->sources, &input->sources, err));
  input->n_sources = n;
  const char *at = text;
  for (size_t i = 0; i < n; i++) {
    size_t part = n == 1 ? size : strcspn(at, ",");
    const char *word = at;
    at += part + 1;
    while (n > 1 && part > 0 && *word == ' ') {
      word++;
      part--;
    }
    VONK_TRY(give_part(m, input, i, word, part, err));
  }
  return VONK_OK;
}

static vonk_status match_explicit(matching *m, const vonk_bind_options *options,
                                  vonk_error *err) {
  vonk_predictor *p = m->predictor;
  for (size_t k = 0; k < options->n_inputs; k++) {
    const vonk_kv *entry = &options->inputs[k];
    input_plan *input = NULL;
    for (size_t i = 0; i < p->n_inputs && entry->key != NULL; i++) {
      if (strcmp(p->inputs[i].io->name, entry->key) == 0) {
        input = &p->inputs[i];
      }
    }
    if (entry->key == NULL || entry->value == NULL) {
      return vonk_fail(err, VONK_INVALID, "input map: an entry has no %s",
                       entry->key == NULL ? "input" : "column");
    }
    if (input == NULL) {
      vonk_text inputs = {.size = 0};
      list_inputs(p, &inputs);
      return vonk_fail(err, VONK_INVALID,
                       "input map: the model has no input '%s': its inputs are %s",
                       entry->key, inputs.data);
    }
    if (input->n_sources != 0) {
      return vonk_fail(
          err, VONK_INVALID,
          "input map: input '%s' is mapped twice: give all its columns in one entry",
          entry->key);
    }
    VONK_TRY(give_explicit(m, input, entry->value, err));
  }
  return VONK_OK;
}

/* --- the rules --- */

static size_t count_left(const vonk_predictor *p) {
  size_t n = 0;
  for (size_t i = 0; i < p->n_inputs; i++) {
    n += p->inputs[i].n_sources == 0;
  }
  return n;
}

static size_t count_named(const matching *m) {
  size_t n = 0;
  for (size_t i = 0; i < m->predictor->n_inputs; i++) {
    const input_plan *input = &m->predictor->inputs[i];
    n += input->n_sources == 0 &&
         by_name(m, input->io->name, strlen(input->io->name)) != NULL;
  }
  return n;
}

static vonk_status match_names(matching *m, vonk_error *err) {
  for (size_t i = 0; i < m->predictor->n_inputs; i++) {
    input_plan *input = &m->predictor->inputs[i];
    if (input->n_sources == 0) {
      const candidate *c = by_name(m, input->io->name, strlen(input->io->name));
      VONK_TRY(check_unique(m, c, err));
      VONK_TRY(give(input, c, err));
    }
  }
  return VONK_OK;
}

static vonk_status match_positions(matching *m, vonk_error *err) {
  size_t at = 0;
  for (size_t i = 0; i < m->predictor->n_inputs; i++) {
    input_plan *input = &m->predictor->inputs[i];
    if (input->n_sources == 0) {
      VONK_TRY(give(input, &m->candidates[at++], err));
    }
  }
  return VONK_OK;
}

static bool is_scalar(const candidate *c) {
  return c->unreadable == NULL &&
         (c->type->kind == VONK_TYPE_VALUE || c->type->kind == VONK_TYPE_TEXT ||
          c->type->kind == VONK_TYPE_DECIMAL || c->type->kind == VONK_TYPE_DICTIONARY);
}

/* N scalar columns for the one input of shape [rows, N] that is left. */
static bool can_pack(const matching *m, const input_plan *input) {
  if (input == NULL || input->rank != 1 || m->n == 0 ||
      (input->shape[0] >= 0 && (size_t)input->shape[0] != m->n)) {
    return false;
  }
  for (size_t i = 0; i < m->n; i++) {
    if (!is_scalar(&m->candidates[i])) {
      return false;
    }
  }
  return true;
}

static vonk_status pack(matching *m, input_plan *input, vonk_error *err) {
  VONK_TRY(vonk_new(m->n, sizeof *input->sources, &input->sources, err));
  input->n_sources = m->n;
  for (size_t i = 0; i < m->n; i++) {
    const char *name = m->candidates[i].type->name;
    VONK_TRY(set_source(&input->sources[i], &m->candidates[i], name, strlen(name), err));
  }
  return VONK_OK;
}

/* The first input that has no column, and would have none by name. */
static const input_plan *first_unmapped(const matching *m, size_t n_named) {
  const vonk_predictor *p = m->predictor;
  for (size_t i = 0; i < p->n_inputs; i++) {
    const char *name = p->inputs[i].io->name;
    if (p->inputs[i].n_sources == 0 &&
        (n_named == 0 || by_name(m, name, strlen(name)) == NULL)) {
      return &p->inputs[i];
    }
  }
  return &p->inputs[0]; /* not reached: refuse is called because there is one */
}

/* What to write instead. */
static void advise(const matching *m, const input_plan *input, size_t n_left,
                   vonk_text *out) {
  const char *name = input->io->name;
  vonk_text_add(out, "map it, as in %s=", name);
  if (m->are_fields) {
    vonk_text_add(out, "%s.FIELD", m->predictor->columns[0].type.name);
    return;
  }
  vonk_text_add(out, "COLUMN");
  bool can_be_packed = n_left == 1 && input->rank == 1;
  for (size_t i = 0; i < m->n; i++) {
    can_be_packed = can_be_packed && is_scalar(&m->candidates[i]);
  }
  if (can_be_packed && input->shape[0] > 1) {
    vonk_text_add(out, ", or give %" PRId64 " columns of single values", input->shape[0]);
  } else if (n_left == 1) {
    vonk_text_add(out, ", or give only the columns it takes");
  }
}

static vonk_status refuse(const matching *m, size_t n_left, size_t n_named,
                          vonk_error *err) {
  const vonk_predictor *p = m->predictor;
  const input_plan *input = first_unmapped(m, n_named);
  vonk_text inputs = {.size = 0}, columns = {.size = 0}, advice = {.size = 0};
  list_inputs(p, &inputs);
  if (m->n == 0) {
    return vonk_fail(
        err, VONK_INVALID, "input '%s': there is no column at all: the model's %s %s",
        input->io->name, p->n_inputs == 1 ? "input is" : "inputs are", inputs.data);
  }
  list_columns(m, &columns);
  advise(m, input, n_left, &advice);
  return vonk_fail(err, VONK_INVALID,
                   "input '%s': no %s %s it: the model's %s %s, the %s are %s: %s",
                   input->io->name, m->are_fields ? "field" : "column",
                   n_named > 0 ? "is named like" : "clearly belongs to",
                   p->n_inputs == 1 ? "input is" : "inputs are", inputs.data,
                   m->are_fields ? "fields" : "columns", columns.data, advice.data);
}

static vonk_status match_rest(matching *m, vonk_error *err) {
  size_t n_left = count_left(m->predictor);
  if (n_left == 0) {
    return VONK_OK;
  }
  size_t n_named = count_named(m);
  if (n_named == 0 && m->n == 1 && m->candidates[0].unreadable == NULL &&
      m->candidates[0].type->kind == VONK_TYPE_STRUCT) {
    VONK_TRY(field_candidates(m, err));
    n_named = count_named(m);
  }
  if (n_named == n_left) {
    return match_names(m, err);
  }
  input_plan *only = NULL;
  for (size_t i = 0; i < m->predictor->n_inputs; i++) {
    if (n_left == 1 && m->predictor->inputs[i].n_sources == 0) {
      only = &m->predictor->inputs[i];
    }
  }
  bool nothing_named = n_named == 0 && n_left == m->predictor->n_inputs;
  if (nothing_named && m->n > 1 && can_pack(m, only)) {
    return pack(m, only, err);
  }
  if (nothing_named && m->n == n_left && (!m->are_fields || m->n == 1)) {
    return match_positions(m, err);
  }
  return refuse(m, n_left, n_named, err);
}

/* --- which top-level columns are read --- */

static vonk_status collect_columns(vonk_predictor *p, vonk_error *err) {
  VONK_TRY(vonk_new(p->n_columns, sizeof *p->used_columns, &p->used_columns, err));
  for (size_t c = 0; c < p->n_columns; c++) {
    bool is_used = false;
    for (size_t i = 0; i < p->n_inputs; i++) {
      for (size_t s = 0; s < p->inputs[i].n_sources; s++) {
        is_used = is_used || p->inputs[i].sources[s].path[0] == (int64_t)c;
      }
    }
    if (is_used) {
      p->used_columns[p->n_used_columns++] = (int64_t)c;
    }
  }
  return VONK_OK;
}

vonk_status vonk_plan_match(vonk_predictor *p, const vonk_bind_options *options,
                            vonk_error *err) {
  matching m = {.predictor = p};
  vonk_status status = top_candidates(&m, err);
  if (status == VONK_OK) {
    status = match_explicit(&m, options, err);
  }
  if (status == VONK_OK) {
    status = match_rest(&m, err);
  }
  if (status == VONK_OK) {
    status = collect_columns(p, err);
  }
  vonk_delete(m.candidates);
  return status;
}
