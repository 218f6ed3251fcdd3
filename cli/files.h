/* The tables that `vonk run` reads and writes, as files. */
#ifndef VONK_CLI_FILES_H
#define VONK_CLI_FILES_H

#include "cli/database.h"

typedef enum {
  VONK_FORMAT_UNKNOWN,
  VONK_FORMAT_PARQUET,
  VONK_FORMAT_CSV,
  VONK_FORMAT_TSV,
  VONK_FORMAT_JSON,      /* an array of objects, or one object a line */
  VONK_FORMAT_JSON_LINES /* one object a line */
} vonk_cli_format;

/* By the end of the name, a .gz or .zst after it set aside; *compression is "gzip",
 * "zstd" or NULL. */
vonk_cli_format vonk_cli_format_of(const char *path, const char **compression);
/* "parquet", "csv", "tsv", "json", "jsonl" or "ndjson"; VONK_INVALID names `option`. */
vonk_status vonk_cli_format_parse(const char *option, const char *text,
                                  vonk_cli_format *out, vonk_error *err);

/* --- inputs (source.c) --- */

typedef struct vonk_cli_file {
  char *path;
  vonk_cli_format format;
  const char *compression; /* what the name does not tell; NULL = none, or by the name */
  uint64_t device, inode;
} vonk_cli_file;

typedef struct vonk_cli_source {
  vonk_cli_file *files;
  size_t n_files, capacity;
  int spool;  /* the standard input, copied to a file without a name; -1 = not read */
  char *name; /* for messages: the file, or "3 files" */
  vonk_cli_sql relation; /* what stands after FROM */
} vonk_cli_source;

/* Checks that every input is there and readable, and finds out its format. forced:
 * VONK_FORMAT_UNKNOWN = each its own. Patterns are expanded, in the order of the names.
 */
vonk_status vonk_cli_source_open(duckdb_connection connection, const char *const *inputs,
                                 size_t n, vonk_cli_format forced, vonk_cli_source *out,
                                 vonk_error *err);
void vonk_cli_source_close(vonk_cli_source *);
/* How many rows there are, -1 where only reading would tell. */
int64_t vonk_cli_source_count(const vonk_cli_source *, duckdb_connection connection);

/* --- the output (target.c) --- */

typedef struct vonk_cli_target {
  char *final; /* where the file is to be, links resolved; NULL = the standard output */
  char *temporary;  /* where it is written; NULL = straight to `path` */
  const char *path; /* what DuckDB writes to */
  char *pipe_path;
  vonk_cli_format format;
  const char *compression;
  int pipe_end; /* standard output: the end of the pipe that DuckDB writes to; -1 = none
                 */
  void *pump;   /* and the thread that empties it */
} vonk_cli_target;

/* Chooses where to write; creates nothing but a pipe. */
vonk_status vonk_cli_target_open(const char *output, vonk_cli_format forced,
                                 vonk_cli_target *out, vonk_error *err);
/* VONK_INVALID if the output is one of the inputs. */
vonk_status vonk_cli_target_check(const vonk_cli_target *, const vonk_cli_source *,
                                  vonk_error *err);
/* The COPY statement that writes the rows of `relation`; row_group: rows of a Parquet row
 * group. */
void vonk_cli_target_sql(const vonk_cli_target *, const char *relation,
                         uint64_t row_group, vonk_cli_sql *out);
/* Everything is written: makes it durable and gives it its final name. */
vonk_status vonk_cli_target_commit(vonk_cli_target *, vonk_error *err);
/* Removes what was not committed. */
void vonk_cli_target_close(vonk_cli_target *);

#endif /* VONK_CLI_FILES_H */
