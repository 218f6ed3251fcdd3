/* The inputs of `vonk run`.
 *
 * How it works. Patterns are expanded by DuckDB's glob(), so that they mean what they
 * mean in SQL. A file's format is told by its name, else by its first bytes. The standard
 * input is copied to a file that has no name (it is unlinked at once, so that nothing is
 * left whatever happens) and read as /proc/self/fd/N. All files of one format become one
 * call of a reader function; several formats are united by column name. */
#define _GNU_SOURCE /* mkostemp */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"

/* --- formats --- */

static const struct {
  const char *name;
  vonk_cli_format format;
} formats[] = {
    {"parquet", VONK_FORMAT_PARQUET},  {"csv", VONK_FORMAT_CSV},
    {"tsv", VONK_FORMAT_TSV},          {"json", VONK_FORMAT_JSON},
    {"jsonl", VONK_FORMAT_JSON_LINES}, {"ndjson", VONK_FORMAT_JSON_LINES},
};

static vonk_cli_format find_format(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
    if (strlen(formats[i].name) == length &&
        strncasecmp(formats[i].name, name, length) == 0) {
      return formats[i].format;
    }
  }
  return VONK_FORMAT_UNKNOWN;
}

vonk_cli_format vonk_cli_format_of(const char *path, const char **compression) {
  const char *slash = strrchr(path, '/');
  const char *base = slash == NULL ? path : slash + 1;
  size_t length = strlen(base);
  *compression = NULL;
  if (length > 3 && strcasecmp(base + length - 3, ".gz") == 0) {
    *compression = "gzip";
    length -= 3;
  } else if (length > 4 && strcasecmp(base + length - 4, ".zst") == 0) {
    *compression = "zstd";
    length -= 4;
  }
  size_t dot = length;
  while (dot > 0 && base[dot - 1] != '.') {
    dot--;
  }
  return dot == 0 ? VONK_FORMAT_UNKNOWN : find_format(base + dot, length - dot);
}

vonk_status vonk_cli_format_parse(const char *option, const char *text,
                                  vonk_cli_format *out, vonk_error *err) {
  vonk_cli_format format = find_format(text, strlen(text));
  if (format == VONK_FORMAT_UNKNOWN) {
    return vonk_fail(err, VONK_INVALID,
                     "--%s: '%s' is not parquet, csv, tsv, json or jsonl", option, text);
  }
  *out = format;
  return VONK_OK;
}

/* By the first bytes: Parquet and compressed files have a mark, JSON starts with a
 * bracket, anything else is CSV. */
static vonk_cli_format sniff(const uint8_t *head, size_t n, const char **compression) {
  if (n >= 4 && memcmp(head, "PAR1", 4) == 0) {
    return VONK_FORMAT_PARQUET;
  }
  if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b) {
    *compression = "gzip";
    return VONK_FORMAT_UNKNOWN;
  }
  if (n >= 4 && memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0) {
    *compression = "zstd";
    return VONK_FORMAT_UNKNOWN;
  }
  size_t i = n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
  while (i < n &&
         (head[i] == ' ' || head[i] == '\n' || head[i] == '\r' || head[i] == '\t')) {
    i++;
  }
  return i < n && (head[i] == '{' || head[i] == '[') ? VONK_FORMAT_JSON : VONK_FORMAT_CSV;
}

/* --- files --- */

static vonk_status add_file(vonk_cli_source *s, vonk_cli_file file, vonk_error *err) {
  if (s->n_files == s->capacity) {
    size_t capacity = s->capacity == 0 ? 8 : 2 * s->capacity;
    vonk_cli_file *files;
    VONK_TRY(vonk_new(capacity, sizeof(*files), &files, err));
    if (s->n_files > 0) {
      memcpy(files, s->files, s->n_files * sizeof(*files));
    }
    vonk_delete(s->files);
    s->files = files;
    s->capacity = capacity;
  }
  s->files[s->n_files++] = file;
  return VONK_OK;
}

static vonk_status detect(const char *shown, const char *path, vonk_cli_format forced,
                          vonk_cli_file *file, vonk_error *err) {
  uint8_t head[512];
  size_t n;
  const char *named_compression, *found_compression = NULL;
  vonk_cli_format named = vonk_cli_format_of(shown, &named_compression);
  VONK_TRY(vonk_file_head(path, head, sizeof(head), &n, err));
  vonk_cli_format found = sniff(head, n, &found_compression);
  file->format = forced != VONK_FORMAT_UNKNOWN  ? forced
                 : named != VONK_FORMAT_UNKNOWN ? named
                                                : found;
  file->compression = found_compression;
  if (file->format == VONK_FORMAT_UNKNOWN) {
    return vonk_fail(err, VONK_IO,
                     "%s: is compressed: name the format inside with --format", shown);
  }
  if (file->format == VONK_FORMAT_PARQUET && found != VONK_FORMAT_PARQUET) {
    return vonk_fail(
        err, VONK_IO,
        "%s: is not a Parquet file, or a damaged one: it does not begin with 'PAR1'",
        shown);
  }
  return VONK_OK;
}

static vonk_status add_path(vonk_cli_source *s, const char *path, vonk_cli_format forced,
                            vonk_error *err) {
  struct stat st;
  if (strstr(path, "://") != NULL) {
    return vonk_fail(err, VONK_IO,
                     "%s: is not on this machine: fetch it first, or pipe it in with -",
                     path);
  }
  if (stat(path, &st) != 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be read: %s", path, strerror(errno));
  }
  if (S_ISDIR(st.st_mode)) {
    return vonk_fail(err, VONK_IO,
                     "%s: is a folder: name the files in it, as in '%s/*.parquet'", path,
                     path);
  }
  if (access(path, R_OK) != 0) {
    return vonk_fail(err, VONK_IO, "%s: cannot be read: %s", path, strerror(errno));
  }
  vonk_cli_file file = {.device = st.st_dev, .inode = st.st_ino};
  VONK_TRY(detect(path, path, forced, &file, err));
  VONK_TRY(vonk_new_string(path, &file.path, err));
  vonk_status status = add_file(s, file, err);
  if (status != VONK_OK) {
    vonk_delete(file.path);
  }
  return status;
}

static vonk_status add_matches(vonk_cli_source *s, duckdb_result *result,
                               vonk_cli_format forced, vonk_error *err) {
  duckdb_data_chunk chunk;
  vonk_status status = VONK_OK;
  while (status == VONK_OK && (chunk = duckdb_fetch_chunk(*result)) != NULL) {
    duckdb_string_t *names =
        duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    idx_t n = duckdb_data_chunk_get_size(chunk);
    for (idx_t i = 0; status == VONK_OK && i < n; i++) {
      char path[4096];
      (void)snprintf(path, sizeof(path), "%.*s", (int)names[i].value.inlined.length,
                     duckdb_string_t_data(&names[i]));
      status = add_path(s, path, forced, err);
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  return status;
}

static vonk_status add_pattern(vonk_cli_source *s, duckdb_connection connection,
                               const char *pattern, vonk_cli_format forced,
                               vonk_error *err) {
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_cli_sql_add(&sql, "SELECT file FROM glob(");
  vonk_cli_sql_text(&sql, pattern);
  vonk_cli_sql_add(&sql, ") ORDER BY file");
  size_t before = s->n_files;
  duckdb_result result;
  vonk_status status = vonk_cli_sql_check(&sql, err);
  if (status == VONK_OK) {
    if (duckdb_query(connection, vonk_cli_sql_get(&sql), &result) != DuckDBSuccess) {
      status = vonk_cli_duckdb_fail(err, VONK_IO, pattern, duckdb_result_error(&result));
    } else {
      status = add_matches(s, &result, forced, err);
    }
    duckdb_destroy_result(&result);
  }
  vonk_cli_sql_release(&sql);
  if (status == VONK_OK && s->n_files == before) {
    return vonk_fail(err, VONK_IO, "%s: no file matches this pattern", pattern);
  }
  return status;
}

/* --- the standard input --- */

static vonk_status copy_all(int from, int to, const char *folder, vonk_error *err) {
  enum { BLOCK = 1 << 18 };
  static char block[BLOCK];
  for (;;) {
    ssize_t n = read(from, block, BLOCK);
    if (n == 0) {
      return VONK_OK;
    }
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return vonk_fail(err, VONK_IO, "the standard input: cannot be read: %s",
                       strerror(errno));
    }
    for (ssize_t done = 0; done < n;) {
      ssize_t written = write(to, block + done, (size_t)(n - done));
      if (written < 0 && errno != EINTR) {
        return vonk_fail(err, VONK_IO,
                         "%s: the standard input cannot be kept there: %s: set TMPDIR to "
                         "another folder",
                         folder, strerror(errno));
      }
      done += written > 0 ? written : 0;
    }
  }
}

static vonk_status add_stdin(vonk_cli_source *s, vonk_cli_format forced,
                             vonk_error *err) {
  if (s->spool >= 0) {
    return vonk_fail(err, VONK_IO, "-: the standard input can be read once only");
  }
  const char *folder = getenv("TMPDIR");
  folder = folder == NULL || folder[0] == '\0' ? "/tmp" : folder;
  char path[4096];
  (void)snprintf(path, sizeof(path), "%s/vonk-stdin-XXXXXX", folder);
  s->spool = mkostemp(path, O_CLOEXEC);
  if (s->spool < 0) {
    return vonk_fail(
        err, VONK_IO,
        "%s: the standard input cannot be kept there: %s: set TMPDIR to another folder",
        folder, strerror(errno));
  }
  (void)unlink(path);
  VONK_TRY(copy_all(STDIN_FILENO, s->spool, folder, err));
  vonk_cli_file file = {.inode = 0};
  (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", s->spool);
  VONK_TRY(detect("-", path, forced, &file, err));
  VONK_TRY(vonk_new_string(path, &file.path, err));
  vonk_status status = add_file(s, file, err);
  if (status != VONK_OK) {
    vonk_delete(file.path);
  }
  return status;
}

/* --- SQL --- */

static const char *reader_of(vonk_cli_format format) {
  switch (format) {
    case VONK_FORMAT_PARQUET:
      return "read_parquet";
    case VONK_FORMAT_CSV:
    case VONK_FORMAT_TSV:
      return "read_csv";
    default:
      return "read_json";
  }
}

static bool same_reader(const vonk_cli_file *a, const vonk_cli_file *b) {
  bool same_compression = a->compression == b->compression ||
                          (a->compression != NULL && b->compression != NULL &&
                           strcmp(a->compression, b->compression) == 0);
  return a->format == b->format && same_compression;
}

/* Files [first, last), all of one kind. */
static void add_reader(vonk_cli_source *s, size_t first, size_t last) {
  vonk_cli_sql *sql = &s->relation;
  const vonk_cli_file *kind = &s->files[first];
  vonk_cli_sql_add(sql, reader_of(kind->format));
  vonk_cli_sql_add(sql, "([");
  for (size_t i = first; i < last; i++) {
    vonk_cli_sql_add(sql, i == first ? "" : ", ");
    vonk_cli_sql_text(sql, s->files[i].path);
  }
  vonk_cli_sql_add(sql, "]");
  if (last - first > 1) {
    vonk_cli_sql_add(sql, ", union_by_name = true");
  }
  if (kind->format == VONK_FORMAT_TSV) {
    vonk_cli_sql_add(sql, ", delim = '\t'");
  } else if (kind->format == VONK_FORMAT_JSON_LINES) {
    vonk_cli_sql_add(sql, ", format = 'newline_delimited'");
  }
  if (kind->compression != NULL && kind->format != VONK_FORMAT_PARQUET) {
    vonk_cli_sql_add(sql, ", compression = ");
    vonk_cli_sql_text(sql, kind->compression);
  }
  vonk_cli_sql_add(sql, ")");
}

static vonk_status build_relation(vonk_cli_source *s, vonk_error *err) {
  size_t groups = 1;
  for (size_t i = 1; i < s->n_files; i++) {
    groups += !same_reader(&s->files[i - 1], &s->files[i]);
  }
  vonk_cli_sql_add(&s->relation, groups > 1 ? "(" : "");
  for (size_t first = 0; first < s->n_files;) {
    size_t last = first + 1;
    while (last < s->n_files && same_reader(&s->files[first], &s->files[last])) {
      last++;
    }
    vonk_cli_sql_add(&s->relation, first == 0 ? "" : " UNION ALL BY NAME ");
    vonk_cli_sql_add(&s->relation, groups > 1 ? "SELECT * FROM " : "");
    add_reader(s, first, last);
    first = last;
  }
  vonk_cli_sql_add(&s->relation, groups > 1 ? ")" : "");
  return vonk_cli_sql_check(&s->relation, err);
}

static vonk_status name_source(vonk_cli_source *s, vonk_error *err) {
  char name[64];
  (void)snprintf(name, sizeof(name), "%zu input files", s->n_files);
  const char *single = s->spool >= 0 ? "the standard input" : s->files[0].path;
  return vonk_new_string(s->n_files == 1 ? single : name, &s->name, err);
}

vonk_status vonk_cli_source_open(duckdb_connection connection, const char *const *inputs,
                                 size_t n, vonk_cli_format forced, vonk_cli_source *out,
                                 vonk_error *err) {
  vonk_cli_source s = {.spool = -1};
  vonk_status status = VONK_OK;
  for (size_t i = 0; status == VONK_OK && i < n; i++) {
    if (strcmp(inputs[i], "-") == 0) {
      status = add_stdin(&s, forced, err);
    } else if (strstr(inputs[i], "://") == NULL && strpbrk(inputs[i], "*?[") != NULL &&
               access(inputs[i], F_OK) != 0) {
      status = add_pattern(&s, connection, inputs[i], forced, err);
    } else {
      status = add_path(&s, inputs[i], forced, err);
    }
  }
  if (status == VONK_OK && (status = name_source(&s, err)) == VONK_OK) {
    status = build_relation(&s, err);
  }
  if (status != VONK_OK) {
    vonk_cli_source_close(&s);
    return status;
  }
  *out = s;
  return VONK_OK;
}

void vonk_cli_source_close(vonk_cli_source *s) {
  for (size_t i = 0; i < s->n_files; i++) {
    vonk_delete(s->files[i].path);
  }
  vonk_delete(s->files);
  vonk_delete(s->name);
  vonk_cli_sql_release(&s->relation);
  if (s->spool >= 0) {
    (void)close(s->spool);
  }
  *s = (vonk_cli_source){.spool = -1};
}

int64_t vonk_cli_source_count(const vonk_cli_source *s, duckdb_connection connection) {
  vonk_cli_sql sql = {.status = VONK_OK};
  vonk_cli_sql_add(&sql, "SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata([");
  for (size_t i = 0; i < s->n_files; i++) {
    if (s->files[i].format != VONK_FORMAT_PARQUET) {
      vonk_cli_sql_release(&sql);
      return -1;
    }
    vonk_cli_sql_add(&sql, i == 0 ? "" : ", ");
    vonk_cli_sql_text(&sql, s->files[i].path);
  }
  vonk_cli_sql_add(&sql, "])");
  int64_t count = -1;
  duckdb_result result;
  if (duckdb_query(connection, vonk_cli_sql_get(&sql), &result) == DuckDBSuccess) {
    duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
    if (chunk != NULL) {
      const int64_t *value =
          duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
      count = value[0];
      duckdb_destroy_data_chunk(&chunk);
    }
  }
  duckdb_destroy_result(&result);
  vonk_cli_sql_release(&sql);
  return count;
}
