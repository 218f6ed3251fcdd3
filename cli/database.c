/* libduckdb, found and opened at run time.
 *
 * How it works: VONK_LIBDUCKDB, else what paths.conf says under "duckdb", else
 * PREFIX/lib/vonk/libduckdb.so, else the dynamic linker's libduckdb.so; the first that
 * exists must work, and what VONK_LIBDUCKDB names must exist. Each function in VONK_DUCKDB_FUNCTIONS is looked up into the table
 * that DuckDB's header declares for extensions, so code written for an extension runs
 * here unchanged. */
#define _GNU_SOURCE /* secure_getenv */
#include "cli/database.h"

#include <ctype.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin/plugin.h"

DUCKDB_EXTENSION_GLOBAL

enum { MAX_PATH_BYTES = 4096 };

static vonk_status fill_table(void *library, const char *path, vonk_error *err) {
  void *symbol;
#define LOAD(name)                                                                      \
  symbol = dlsym(library, "duckdb_" #name);                                             \
  if (symbol == NULL) {                                                                 \
    return vonk_fail(err, VONK_UNSUPPORTED,                                             \
                     "%s: has no function duckdb_%s: vonk needs DuckDB 1.5.6 or later", \
                     path, #name);                                                      \
  }                                                                                     \
  memcpy(&duckdb_##name, &symbol, sizeof(symbol));
  VONK_DUCKDB_FUNCTIONS(LOAD)
#undef LOAD
  return VONK_OK;
}

/* Opens one candidate; *library stays NULL if there is no such file. */
static vonk_status try_open(const char *path, void **library, vonk_error *err) {
  if (strchr(path, '/') != NULL && access(path, F_OK) != 0) {
    return VONK_OK;
  }
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (*library == NULL && strchr(path, '/') != NULL) {
    return vonk_fail(err, VONK_UNSUPPORTED, "%s: cannot be loaded: %s", path, dlerror());
  }
  return *library == NULL ? VONK_OK : fill_table(*library, path, err);
}

vonk_status vonk_cli_duckdb_load(vonk_error *err) {
  char beside[MAX_PATH_BYTES + 32], folder[MAX_PATH_BYTES];
  VONK_TRY(vonk_own_folder(folder, sizeof(folder), err));
  (void)snprintf(beside, sizeof(beside), "%s/../lib/vonk/libduckdb.so", folder);
  const char *named = secure_getenv("VONK_LIBDUCKDB");
  const char *recorded = vonk_paths_get("duckdb");
  const char *places[] = {named, recorded, beside, "libduckdb.so"};
  static const char *const origins[] = {"VONK_LIBDUCKDB", "paths.conf",
                                        "beside the program", "the system"};
  vonk_text searched = {.size = 0};
  for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
    void *library = NULL;
    if (places[i] == NULL || places[i][0] == '\0') {
      vonk_text_add(&searched, "%s%s: not set", i == 0 ? "" : "; ", origins[i]);
      continue;
    }
    VONK_TRY(try_open(places[i], &library, err));
    if (library != NULL) {
      return VONK_OK;
    }
    if (places[i] == named) {
      return vonk_fail(err, VONK_UNSUPPORTED,
                       "VONK_LIBDUCKDB: there is no %s: give the path of a libduckdb.so, "
                       "or unset it",
                       named);
    }
    vonk_text_add(&searched, "%s%s: no %s", i == 0 ? "" : "; ", origins[i], places[i]);
  }
  return vonk_fail(err, VONK_UNSUPPORTED,
                   "DuckDB, which reads and writes tables, is not installed (searched: "
                   "%s): run 'make setup', or set "
                   "VONK_LIBDUCKDB to the path of a libduckdb.so",
                   searched.data);
}

static vonk_status configure(const vonk_cli_database_settings *settings,
                             duckdb_config config, vonk_error *err) {
  char threads[16];
  (void)snprintf(threads, sizeof(threads), "%" PRIu32,
                 settings->n_threads == 0 ? 1 : settings->n_threads);
  /* A database in a file has a folder of its own for what does not fit into memory. */
  const char *const values[][2] = {
      {"threads", threads},
      {"autoinstall_known_extensions", "false"},
      {"autoload_known_extensions", "false"},
      {"access_mode", settings->is_read_only ? "READ_ONLY" : "AUTOMATIC"},
      {"temp_directory", settings->path == NULL ? "" : NULL}};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    if (values[i][1] != NULL &&
        duckdb_set_config(config, values[i][0], values[i][1]) != DuckDBSuccess) {
      return vonk_fail(err, VONK_UNSUPPORTED,
                       "DuckDB %s: has no setting '%s': vonk needs DuckDB 1.5.6 or later",
                       duckdb_library_version(), values[i][0]);
    }
  }
  return VONK_OK;
}

vonk_status vonk_cli_database_open(const vonk_cli_database_settings *settings,
                                   duckdb_database *out, vonk_error *err) {
  duckdb_config config;
  if (duckdb_create_config(&config) != DuckDBSuccess) {
    return vonk_fail_nomem(err, 0);
  }
  const char *path = settings->path;
  char *message = NULL;
  vonk_status status = configure(settings, config, err);
  if (status == VONK_OK &&
      duckdb_open_ext(path, out, config, &message) != DuckDBSuccess) {
    status = vonk_cli_duckdb_fail(err, path == NULL ? VONK_BACKEND : VONK_IO,
                                  path == NULL ? "DuckDB" : path, message);
    duckdb_free(message);
  }
  duckdb_destroy_config(&config);
  return status;
}

/* --- SQL text --- */

static void add_bytes(vonk_cli_sql *sql, const char *bytes, size_t n) {
  if (sql->status == VONK_OK) {
    sql->status = vonk_buffer_append(&sql->buffer, bytes, n, NULL);
  }
  if (sql->status == VONK_OK &&
      (sql->status = vonk_buffer_reserve(&sql->buffer, 1, NULL)) == VONK_OK) {
    sql->buffer.data[sql->buffer.size] = '\0';
  }
}

void vonk_cli_sql_add(vonk_cli_sql *sql, const char *text) {
  add_bytes(sql, text, strlen(text));
}

void vonk_cli_sql_number(vonk_cli_sql *sql, uint64_t value) {
  char digits[24];
  (void)snprintf(digits, sizeof(digits), "%" PRIu64, value);
  vonk_cli_sql_add(sql, digits);
}

static void add_quoted(vonk_cli_sql *sql, const char *text, char quote) {
  add_bytes(sql, &quote, 1);
  for (; *text != '\0'; text++) {
    if (*text == quote) {
      add_bytes(sql, &quote, 1);
    }
    add_bytes(sql, text, 1);
  }
  add_bytes(sql, &quote, 1);
}

void vonk_cli_sql_text(vonk_cli_sql *sql, const char *text) {
  add_quoted(sql, text, '\'');
}
void vonk_cli_sql_name(vonk_cli_sql *sql, const char *name) {
  add_quoted(sql, name, '"');
}

vonk_status vonk_cli_sql_check(const vonk_cli_sql *sql, vonk_error *err) {
  return sql->status == VONK_OK ? VONK_OK : vonk_fail_nomem(err, sql->buffer.size);
}

const char *vonk_cli_sql_get(const vonk_cli_sql *sql) {
  return sql->buffer.data == NULL ? "" : (const char *)sql->buffer.data;
}

void vonk_cli_sql_release(vonk_cli_sql *sql) { vonk_buffer_release(&sql->buffer); }

/* --- messages --- */

vonk_status vonk_cli_duckdb_code(const char *message) {
  static const char conversion[] = "Conversion Error";
  bool is_conversion =
      message != NULL && strncmp(message, conversion, sizeof(conversion) - 1) == 0;
  return is_conversion ? VONK_INVALID : VONK_IO;
}

/* Past "FLOAT, FLOAT, FLOAT": how often the word at text is repeated, and where the last
 * one ends. */
static size_t count_repeated(const char *text, size_t word, const char **end) {
  size_t n = 1;
  *end = text + word;
  while (strncmp(*end, ", ", 2) == 0 && strncmp(*end + 2, text, word) == 0 &&
         isalnum((unsigned char)(*end)[2 + word]) == 0) {
    *end += 2 + word;
    n++;
  }
  return n;
}

/* The next piece of a message, in one line; how many bytes of the message it stands for.
 * A list of candidates is separated by ';', and the parameters of one that takes 784 of
 * them are counted. */
static size_t read_piece(const char *text, char before, char out[64]) {
  enum { LONGEST_WORD = 32, MOST_REPEATED = 8 };
  size_t n_spaces = strspn(text, " \t\n");
  if (n_spaces > 0) {
    bool is_item = strncmp(text, "\n\t", 2) == 0 && before != ':' && before != '.';
    (void)snprintf(out, 64, "%s", text[n_spaces] == '\0' ? "" : is_item ? "; " : " ");
    return n_spaces;
  }
  size_t word = 0;
  while (isalnum((unsigned char)text[word]) != 0) {
    word++;
  }
  const char *end;
  size_t n = word > 0 && word < LONGEST_WORD ? count_repeated(text, word, &end) : 0;
  if (n > MOST_REPEATED) {
    (void)snprintf(out, 64, "%.*s x %zu", (int)word, text, n);
    return (size_t)(end - text);
  }
  word = word == 0 ? 1 : word < LONGEST_WORD ? word : LONGEST_WORD;
  (void)snprintf(out, 64, "%.*s", (int)word, text);
  return word;
}

/* Whether DuckDB's own drawing of the place begins here. */
static bool is_at_place(const char *text) {
  size_t n = strspn(text, " \t\n");
  return n > 0 && text[n - 1] == '\n' && strncmp(text + n, "LINE ", 5) == 0;
}

void vonk_cli_duckdb_reason(const char *message, char *out, size_t capacity) {
  /* "Binder Error: ...": the class says nothing to a user. */
  const char *text = strstr(message, " Error: ");
  text = text != NULL && text - message < 32 ? text + strlen(" Error: ") : message;
  size_t n = 0;
  char piece[64];
  out[0] = '\0';
  while (*text != '\0' && n + sizeof(piece) < capacity && !is_at_place(text)) {
    text += read_piece(text, n > 0 ? out[n - 1] : '\0', piece);
    n += (size_t)snprintf(out + n, capacity - n, "%s", piece);
  }
}

vonk_status vonk_cli_duckdb_fail(vonk_error *err, vonk_status code, const char *what,
                                 const char *message) {
  if (message == NULL) {
    return vonk_fail(err, code, "%s: failed without a reason", what);
  }
  char line[900];
  vonk_cli_duckdb_reason(message, line, sizeof(line));
  return vonk_fail(err, code, "%s: %s", what, line);
}
