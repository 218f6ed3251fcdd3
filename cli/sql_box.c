/* A result as a box of lines, like that of DuckDB's shell.
 *
 * How it works: each column wants the width of its widest cell. If that is more than the
 * terminal has, the wide ones give way, all down to the same width, as far as it must be;
 * and if that would leave less than LEAST, columns in the middle are left out. Text that
 * does not fit ends with "…". */
#include <inttypes.h>
#include <string.h>

#include "cli/sql.h"

enum {
  LEAST = 12,  /* columns of a terminal that a cell is never cut below */
  MOST = 1000, /* and above, on no terminal at all */
  BORDER = 3,  /* "│ " and " " around a cell */
  GAP = 4      /* what "│ … " takes, for columns left out */
};

static const char ELLIPSIS[] = "…";
static const char NULL_TEXT[] = "NULL";

typedef struct layout {
  const vonk_cli_box *box;
  const vonk_cli_box_style *style;
  FILE *out;
  size_t *widths;         /* of the cells of each column */
  size_t n_left, n_right; /* columns shown before and after those left out */
} layout;

/* --- widths --- */

static size_t text_width(const char *text) {
  return text == NULL ? strlen(NULL_TEXT) : vonk_cli_width(text, strlen(text));
}

static const char *type_of(const vonk_cli_box_column *c) {
  return c->type == NULL ? "" : c->type;
}

static size_t wanted_width(const vonk_cli_box *box, size_t column) {
  size_t widest = text_width(box->columns[column].name);
  size_t type = text_width(type_of(&box->columns[column]));
  widest = type > widest ? type : widest;
  for (size_t row = 0; row < box->n_shown; row++) {
    size_t width = text_width(box->cells[row * box->n_columns + column]);
    widest = width > widest ? width : widest;
  }
  return widest == 0 ? 1 : widest > MOST ? MOST : widest;
}

static bool is_shown(const layout *l, size_t column) {
  return column < l->n_left || column + l->n_right >= l->box->n_columns;
}

static bool has_gap(const layout *l) {
  return l->n_left + l->n_right < l->box->n_columns;
}

/* Of the whole box, if no cell is wider than most. */
static size_t total_width(const layout *l, size_t most) {
  size_t total = has_gap(l) ? 1 + GAP : 1;
  for (size_t i = 0; i < l->box->n_columns; i++) {
    if (is_shown(l, i)) {
      total += BORDER + (l->widths[i] < most ? l->widths[i] : most);
    }
  }
  return total;
}

static bool fits(const layout *l, size_t most) {
  return total_width(l, most) <= l->style->width;
}

/* Leaves columns out, from the middle on, until the others fit at their least. */
static void choose_columns(layout *l) {
  l->n_left = l->box->n_columns;
  l->n_right = 0;
  while (!fits(l, LEAST) && l->n_left + l->n_right > 1) {
    size_t n = l->n_left + l->n_right - 1;
    l->n_left = n - n / 2;
    l->n_right = n / 2;
  }
}

static void choose_widths(layout *l) {
  if (l->style->width == 0 || fits(l, MOST)) {
    return;
  }
  choose_columns(l);
  size_t most = 1;
  while (most < MOST && fits(l, most + 1)) {
    most++;
  }
  for (size_t i = 0; i < l->box->n_columns; i++) {
    l->widths[i] = l->widths[i] < most ? l->widths[i] : most;
  }
}

/* --- lines --- */

typedef enum { LEFT, RIGHT, CENTRE } alignment;

static void repeat(const layout *l, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    (void)fputs(text, l->out);
  }
}

static void print_cell(const layout *l, const char *text, size_t width, alignment how,
                       bool is_dim) {
  size_t taken = text_width(text), nbytes = strlen(text);
  bool is_cut = taken > width;
  if (is_cut) {
    nbytes = vonk_cli_width_cut(text, width - 1, &taken);
    taken++;
  }
  size_t space = width - taken;
  size_t before = how == RIGHT ? space : how == CENTRE ? space / 2 : 0;
  bool is_coloured = is_dim && l->style->has_colour;
  (void)fprintf(l->out, "%*s%s%.*s%s%s%*s", (int)before, "", is_coloured ? "\033[2m" : "",
                (int)nbytes, text, is_cut ? ELLIPSIS : "", is_coloured ? "\033[0m" : "",
                (int)(space - before), "");
}

static void print_rule(const layout *l, const char *left, const char *middle,
                       const char *right) {
  const char *between = left;
  for (size_t i = 0; i < l->box->n_columns; i++) {
    if (is_shown(l, i)) {
      (void)fputs(between, l->out);
      repeat(l, "─", l->widths[i] + 2);
      between = middle;
    }
    if (has_gap(l) && i + 1 == l->n_left) {
      (void)fprintf(l->out, "%s───", between);
    }
  }
  (void)fprintf(l->out, "%s\n", right);
}

typedef enum { NAMES, TYPES, DOTS, CELLS } line_kind;

static void print_column(const layout *l, line_kind kind, size_t row, size_t i) {
  const vonk_cli_box_column *c = &l->box->columns[i];
  alignment how = c->is_number ? RIGHT : LEFT;
  if (kind == NAMES || kind == TYPES) {
    print_cell(l, kind == NAMES ? c->name : type_of(c), l->widths[i], CENTRE,
               kind == TYPES);
  } else if (kind == DOTS) {
    print_cell(l, "·", l->widths[i], how, false);
  } else {
    const char *text = l->box->cells[row * l->box->n_columns + i];
    print_cell(l, text == NULL ? NULL_TEXT : text, l->widths[i], how, text == NULL);
  }
}

static void print_line(const layout *l, line_kind kind, size_t row) {
  for (size_t i = 0; i < l->box->n_columns; i++) {
    if (is_shown(l, i)) {
      (void)fputs("│ ", l->out);
      print_column(l, kind, row, i);
      (void)fputc(' ', l->out);
    }
    if (has_gap(l) && i + 1 == l->n_left) {
      (void)fprintf(l->out, "│ %s ", kind == TYPES ? " " : ELLIPSIS);
    }
  }
  (void)fputs("│\n", l->out);
}

static void print_rows(const layout *l) {
  for (size_t row = 0; row < l->box->n_shown; row++) {
    for (int i = 0; i < 3 && row == l->box->n_top; i++) {
      print_line(l, DOTS, 0);
    }
    print_line(l, CELLS, row);
  }
}

static void print_footer(const layout *l) {
  const vonk_cli_box *b = l->box;
  char count[32], shown[32];
  (void)fprintf(l->out, "%s row%s", vonk_cli_count(b->n_rows, count),
                b->n_rows == 1 ? "" : "s");
  if ((int64_t)b->n_shown < b->n_rows) {
    (void)fprintf(l->out, " (%s shown)", vonk_cli_count((int64_t)b->n_shown, shown));
  }
  if (has_gap(l)) {
    (void)fprintf(l->out, ", %zu columns (%zu shown)", b->n_columns,
                  l->n_left + l->n_right);
  }
  if (l->style->seconds >= 0.0) {
    (void)fprintf(l->out, ", %.*f s", l->style->seconds < 10.0 ? 2 : 1,
                  l->style->seconds);
  }
  (void)fputc('\n', l->out);
}

vonk_status vonk_cli_box_print(const vonk_cli_box *box, const vonk_cli_box_style *style,
                               FILE *out, vonk_error *err) {
  layout l = {.box = box, .style = style, .out = out, .n_left = box->n_columns};
  VONK_TRY(vonk_new(box->n_columns, sizeof(*l.widths), &l.widths, err));
  for (size_t i = 0; i < box->n_columns; i++) {
    l.widths[i] = wanted_width(box, i);
  }
  choose_widths(&l);
  print_rule(&l, "┌", "┬", "┐");
  print_line(&l, NAMES, 0);
  print_line(&l, TYPES, 0);
  if (box->n_shown > 0) {
    print_rule(&l, "├", "┼", "┤");
    print_rows(&l);
  }
  print_rule(&l, "└", "┴", "┘");
  if (style->has_footer) {
    print_footer(&l);
  }
  vonk_delete(l.widths);
  return VONK_OK;
}
