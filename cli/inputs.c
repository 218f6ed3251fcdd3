/* The values of --input: TENSOR=COLUMN, TENSOR=A,B,C, TENSOR=COLUMN::TYPE.
 *
 * How it works: the value is cut at the commas outside brackets (a type may be DECIMAL(9,
 * 2)), and each part at its first
 * "::". Blanks around a part are dropped. */
#include <string.h>

#include "cli/plan.h"

static vonk_status copy_span(const char *begin, const char *end, char **out,
                             vonk_error *err) {
  while (begin < end && *begin == ' ') {
    begin++;
  }
  while (end > begin && end[-1] == ' ') {
    end--;
  }
  size_t n = (size_t)(end - begin);
  VONK_TRY(vonk_new(n + 1, 1, out, err));
  memcpy(*out, begin, n);
  return VONK_OK;
}

static const char *part_end(const char *text) {
  int depth = 0;
  for (; *text != '\0' && (*text != ',' || depth > 0); text++) {
    depth += (*text == '(' || *text == '[') - (*text == ')' || *text == ']');
  }
  return text;
}

static vonk_status read_part(const char *begin, const char *end, vonk_cli_part *out,
                             vonk_error *err) {
  const char *cast = strstr(begin, "::");
  cast = cast != NULL && cast < end ? cast : NULL;
  VONK_TRY(copy_span(begin, cast == NULL ? end : cast, &out->column, err));
  if (cast != NULL) {
    VONK_TRY(copy_span(cast + 2, end, &out->cast, err));
  }
  VONK_TRY(copy_span(begin, end, &out->name, err));
  if (out->column[0] == '\0' || (out->cast != NULL && out->cast[0] == '\0')) {
    return vonk_fail(err, VONK_INVALID, "--input: '%.*s' is not COLUMN or COLUMN::TYPE",
                     (int)(end - begin), begin);
  }
  return VONK_OK;
}

static vonk_status join_names(vonk_cli_mapping *m, vonk_error *err) {
  size_t size = 1;
  for (size_t i = 0; i < m->n_parts; i++) {
    size += strlen(m->parts[i].name) + 1;
  }
  VONK_TRY(vonk_new(size, 1, &m->names, err));
  char *at = m->names;
  for (size_t i = 0; i < m->n_parts; i++) {
    size_t n = strlen(m->parts[i].name);
    if (i > 0) {
      *at++ = ',';
    }
    memcpy(at, m->parts[i].name, n);
    at += n;
  }
  return VONK_OK;
}

static vonk_status read_mapping(const char *text, vonk_cli_mapping *out,
                                vonk_error *err) {
  const char *columns;
  VONK_TRY(vonk_cli_pair("input", text, "TENSOR=COLUMN", &out->tensor, &columns, err));
  size_t n = 1;
  for (const char *end = part_end(columns); *end != '\0'; end = part_end(end + 1)) {
    n++;
  }
  VONK_TRY(vonk_new(n, sizeof(*out->parts), &out->parts, err));
  const char *begin = columns;
  for (out->n_parts = 0; out->n_parts < n;) {
    const char *end = part_end(begin);
    vonk_cli_part *part = &out->parts[out->n_parts++];
    VONK_TRY(read_part(begin, end, part, err));
    begin = end + 1;
  }
  return join_names(out, err);
}

vonk_status vonk_cli_mappings_read(const vonk_cli_args *args, vonk_cli_mapping **out,
                                   size_t *n, vonk_error *err) {
  vonk_cli_mapping *mappings;
  VONK_TRY(vonk_new(args->n_given + 1, sizeof(*mappings), &mappings, err));
  size_t position = 0, count = 0;
  const char *text;
  while ((text = vonk_cli_next(args, "input", &position)) != NULL) {
    vonk_status status = read_mapping(text, &mappings[count++], err);
    if (status != VONK_OK) {
      vonk_cli_mappings_release(mappings, count);
      return status;
    }
  }
  *out = mappings;
  *n = count;
  return VONK_OK;
}

void vonk_cli_mappings_release(vonk_cli_mapping *mappings, size_t n) {
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < mappings[i].n_parts; j++) {
      vonk_delete(mappings[i].parts[j].column);
      vonk_delete(mappings[i].parts[j].cast);
      vonk_delete(mappings[i].parts[j].name);
    }
    vonk_delete(mappings[i].parts);
    vonk_delete(mappings[i].tensor);
    vonk_delete(mappings[i].names);
  }
  vonk_delete(mappings);
}
