/* The rows that a box shows, as text.
 *
 * How it works: chunks are counted as they stream past, and only the first and the last
 * ones are kept, so that a result of any length takes little memory. DuckDB's CAST turns
 * the rows of those into text, nothing else; so a list of 784 numbers is formatted for
 * forty rows and not for sixty thousand. */
#include <string.h>

#include "cli/sql.h"

/* --- which rows --- */

/* Chunks of the beginning and of the end; in between some are gone. */
typedef struct kept {
  duckdb_data_chunk *chunks;
  size_t n, capacity;
  size_t n_first;             /* that hold the first rows */
  int64_t first_rows, n_rows; /* in these; in all chunks, those gone included */
  int64_t gone_rows;
} kept;

static int64_t size_of(duckdb_data_chunk chunk) {
  return (int64_t)duckdb_data_chunk_get_size(chunk);
}

static vonk_status keep(kept *k, duckdb_data_chunk chunk, vonk_error *err) {
  if (k->n == k->capacity) {
    size_t capacity = k->capacity == 0 ? 16 : 2 * k->capacity;
    duckdb_data_chunk *grown;
    VONK_TRY(vonk_new(capacity, sizeof(duckdb_data_chunk), &grown, err));
    if (k->n > 0) {
      memcpy(grown, k->chunks, k->n * sizeof(duckdb_data_chunk));
    }
    vonk_delete(k->chunks);
    k->chunks = grown;
    k->capacity = capacity;
  }
  k->chunks[k->n++] = chunk;
  k->n_rows += size_of(chunk);
  return VONK_OK;
}

/* Drops the oldest chunks after the first ones, as long as most_rows remain. */
static void drop_middle(kept *k, int64_t most_rows) {
  while (k->n > k->n_first) {
    int64_t size = size_of(k->chunks[k->n_first]);
    if (k->n_rows - k->gone_rows - k->first_rows - size < most_rows) {
      return;
    }
    duckdb_destroy_data_chunk(&k->chunks[k->n_first]);
    k->n--;
    memmove(k->chunks + k->n_first, k->chunks + k->n_first + 1,
            (k->n - k->n_first) * sizeof(duckdb_data_chunk));
    k->gone_rows += size;
  }
}

static vonk_status keep_all(vonk_cli_relay *relay, int64_t most_rows, kept *k,
                            vonk_error *err) {
  duckdb_data_chunk chunk;
  while ((chunk = vonk_cli_relay_fetch(relay)) != NULL) {
    vonk_status status = keep(k, chunk, err);
    if (status != VONK_OK) {
      duckdb_destroy_data_chunk(&chunk);
      return status;
    }
    if (most_rows == 0 || k->first_rows < most_rows) {
      k->n_first = k->n;
      k->first_rows = k->n_rows;
    } else {
      drop_middle(k, most_rows);
    }
  }
  return VONK_OK;
}

static void kept_clear(kept *k) {
  for (size_t i = 0; i < k->n; i++) {
    duckdb_destroy_data_chunk(&k->chunks[i]);
  }
  vonk_delete(k->chunks);
}

/* --- text --- */

static vonk_status add_rows(vonk_cli_box *box, size_t n, vonk_error *err) {
  if (box->n_shown + n <= box->capacity) {
    return VONK_OK;
  }
  size_t rows = box->n_shown + n + box->capacity, cells;
  char **grown;
  VONK_TRY(vonk_size_mul(rows, box->n_columns, &cells, err));
  VONK_TRY(vonk_new(cells, sizeof(char *), &grown, err));
  if (box->n_shown > 0) {
    memcpy(grown, box->cells, box->n_shown * box->n_columns * sizeof(char *));
  }
  vonk_delete(box->cells);
  box->cells = grown;
  box->capacity = rows;
  return VONK_OK;
}

/* One line, whatever is in it: control characters are written as in C. */
static vonk_status copy_text(const char *text, uint32_t length, char **out,
                             vonk_error *err) {
  static const char digits[] = "0123456789abcdef";
  char *copy;
  size_t n = 0;
  VONK_TRY(vonk_new((size_t)length * 4 + 1, 1, &copy, err));
  for (uint32_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= ' ' && c != 0x7f) {
      copy[n++] = (char)c;
      continue;
    }
    copy[n++] = '\\';
    if (c == '\n' || c == '\t' || c == '\r') {
      copy[n++] = "tn--r"[c - '\t']; /* 9, 10 and 13 */
      continue;
    }
    copy[n++] = 'x';
    copy[n++] = digits[c >> 4];
    copy[n++] = digits[c & 15];
  }
  *out = copy;
  return VONK_OK;
}

static vonk_status copy_column(duckdb_vector vector, size_t n, char **cells,
                               size_t stride, vonk_error *err) {
  duckdb_string_t *texts = duckdb_vector_get_data(vector);
  const uint64_t *valid = duckdb_vector_get_validity(vector);
  for (size_t i = 0; i < n; i++) {
    if (valid == NULL || (valid[i / 64] >> (i % 64) & 1) != 0) {
      VONK_TRY(copy_text(duckdb_string_t_data(&texts[i]), texts[i].value.inlined.length,
                         &cells[i * stride], err));
    }
  }
  return VONK_OK;
}

/* Appends the rows of a query of text columns. */
static vonk_status add_texts(vonk_cli_box *box, duckdb_connection connection,
                             const char *sql, vonk_error *err) {
  duckdb_result result;
  vonk_status status = VONK_OK;
  if (duckdb_query(connection, sql, &result) != DuckDBSuccess) {
    status = vonk_cli_duckdb_fail(err, VONK_BACKEND, "the rows cannot be shown",
                                  duckdb_result_error(&result));
  }
  duckdb_data_chunk chunk;
  while (status == VONK_OK && (chunk = duckdb_fetch_chunk(result)) != NULL) {
    size_t n = duckdb_data_chunk_get_size(chunk), row = box->n_shown;
    status = add_rows(box, n, err);
    box->n_shown += status == VONK_OK ? n : 0;
    for (size_t i = 0; status == VONK_OK && i < box->n_columns; i++) {
      status = copy_column(duckdb_data_chunk_get_vector(chunk, i), n,
                           box->cells + row * box->n_columns + i, box->n_columns, err);
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
  return status;
}

vonk_status vonk_cli_box_query(duckdb_connection connection, const char *sql,
                               size_t n_columns, vonk_cli_box *out, vonk_error *err) {
  vonk_cli_box box = {.n_columns = n_columns};
  vonk_status status = add_texts(&box, connection, sql, err);
  if (status != VONK_OK) {
    vonk_cli_box_clear(&box);
    return status;
  }
  *out = box;
  return VONK_OK;
}

vonk_status vonk_cli_box_describe(duckdb_connection connection, vonk_cli_box *out,
                                  vonk_error *err) {
  return vonk_cli_box_query(
      connection,
      "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM " VONK_CLI_RESULT ")",
      2, out, err);
}

/* The rows of the kept chunks that satisfy `slice`: "LIMIT 20", "OFFSET 4". */
static vonk_status add_slice(vonk_cli_box *box, vonk_cli_relay *relay,
                             duckdb_connection connection, const char *slice,
                             int64_t number, vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_cli_sql_add(
      &sql, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (SELECT * FROM " VONK_CLI_RESULT);
  vonk_cli_sql_add(&sql, slice);
  vonk_cli_sql_number(&sql, (uint64_t)number);
  vonk_cli_sql_add(&sql, ")");
  vonk_status status = vonk_cli_sql_check(&sql, err);
  if (status == VONK_OK) {
    relay->next_chunk = 0;
    status = add_texts(box, connection, vonk_cli_sql_get(&sql), err);
  }
  vonk_cli_sql_release(&sql);
  return status;
}

/* --- columns --- */

static bool is_number(duckdb_type id) {
  switch (id) {
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL:
      return true;
    default:
      return false;
  }
}

/* Names of the types, from DuckDB, which alone knows all of them. */
static vonk_status read_columns(vonk_cli_box *box, const vonk_cli_relay *relay,
                                duckdb_connection connection, vonk_error *err) {
  vonk_cli_box types;
  VONK_TRY(vonk_new(relay->n_columns, sizeof(*box->columns), &box->columns, err));
  box->n_columns = relay->n_columns;
  VONK_TRY(vonk_cli_box_describe(connection, &types, err));
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < box->n_columns; i++) {
    vonk_cli_box_column *c = &box->columns[i];
    status = copy_text(relay->names[i], (uint32_t)strlen(relay->names[i]), &c->name, err);
    if (status == VONK_OK && i < types.n_shown && types.cells[2 * i + 1] != NULL) {
      status = vonk_new_string(types.cells[2 * i + 1], &c->type, err);
    }
    c->is_number = is_number(duckdb_get_type_id(relay->types[i]));
  }
  vonk_cli_box_clear(&types);
  return status;
}

/* --- the box --- */

static vonk_status fill(vonk_cli_box *box, vonk_cli_relay *relay, const kept *k,
                        duckdb_connection connection, int64_t most_rows,
                        vonk_error *err) {
  VONK_TRY(read_columns(box, relay, connection, err));
  bool is_whole = most_rows == 0 || k->n_rows <= most_rows;
  int64_t top = is_whole ? k->n_rows : most_rows - most_rows / 2;
  box->n_rows = k->n_rows;
  if (k->n_rows > 0) {
    VONK_TRY(add_slice(box, relay, connection, " LIMIT ", top, err));
  }
  box->n_top = box->n_shown;
  int64_t skipped = k->n_rows - k->gone_rows - most_rows / 2;
  return is_whole || most_rows < 2
             ? VONK_OK
             : add_slice(box, relay, connection, " OFFSET ", skipped, err);
}

vonk_status vonk_cli_box_read(vonk_cli_relay *relay, duckdb_connection connection,
                              int64_t most_rows, vonk_cli_box *out, vonk_error *err) {
  kept k = {.n = 0};
  vonk_cli_box box = {.n_rows = 0};
  vonk_status status = keep_all(relay, most_rows, &k, err);
  if (status == VONK_OK && relay->failure == NULL) {
    static duckdb_data_chunk empty;
    relay->chunks = k.chunks == NULL ? &empty : k.chunks;
    relay->n_chunks = k.n;
    status = fill(&box, relay, &k, connection, most_rows, err);
    relay->chunks = NULL;
  }
  kept_clear(&k);
  if (status != VONK_OK) {
    vonk_cli_box_clear(&box);
    return status;
  }
  *out = box;
  return VONK_OK;
}

void vonk_cli_box_clear(vonk_cli_box *box) {
  for (size_t i = 0; box->columns != NULL && i < box->n_columns; i++) {
    vonk_delete(box->columns[i].name);
    vonk_delete(box->columns[i].type);
  }
  for (size_t i = 0; i < box->n_shown * box->n_columns; i++) {
    vonk_delete(box->cells[i]);
  }
  vonk_delete(box->columns);
  vonk_delete(box->cells);
  *box = (vonk_cli_box){0};
}
