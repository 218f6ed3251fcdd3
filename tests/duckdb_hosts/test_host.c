/* The extension in a program written in C that holds libduckdb: it loads, predicts, stops
 * when it is interrupted, and lets go of the database however the program closes it. */
#define _GNU_SOURCE /* mkdtemp, nanosleep */

#include <dirent.h>
#include <dlfcn.h>
#include <duckdb.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit/unit.h"

/* What is called of libduckdb, found when it is opened. */
#define FUNCTIONS(X)       \
  X(create_config)         \
  X(set_config)            \
  X(destroy_config)        \
  X(open_ext)              \
  X(connect)               \
  X(query)                 \
  X(interrupt)             \
  X(result_error)          \
  X(fetch_chunk)           \
  X(data_chunk_get_vector) \
  X(vector_get_data)       \
  X(destroy_data_chunk)    \
  X(destroy_result)        \
  X(disconnect)            \
  X(close)

#define FIELD(name) __typeof__(duckdb_##name) *name;
static struct {
  FUNCTIONS(FIELD)
} db;

static char folder[] = "/tmp/vonk_host_XXXXXX";

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_ms(long ms) {
  nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int open_library(void **state) {
  (void)state;
  void *library = dlopen(VONK_TEST_DUCKDB, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return -1;
  }
#define FIND(name)                                   \
  {                                                  \
    void *address = dlsym(library, "duckdb_" #name); \
    assert_non_null(address);                        \
    memcpy(&db.name, &address, sizeof(address));     \
  }
  FUNCTIONS(FIND)
  return mkdtemp(folder) == NULL || chdir(folder) != 0 ? -1 : 0;
}

/* The number of this process's threads with that name. */
static int count_threads(const char *name) {
  int n = 0;
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  for (const struct dirent *task; (task = readdir(tasks)) != NULL;) {
    char path[300], found[32] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
      n += fgets(found, sizeof(found), file) != NULL &&
                   strncmp(found, name, strlen(name)) == 0
               ? 1
               : 0;
      fclose(file);
    }
  }
  closedir(tasks);
  return n;
}

static int remove_folder(void **state) {
  (void)state;
  double began = seconds();
  while (count_threads("vonk-watch") >
         0) { /* it ends a second after the last prediction */
    if (seconds() - began > 20.0) {
      fprintf(stderr, "vonk's thread is still there 20 s after the last prediction\n");
      return -1;
    }
    pause_ms(10);
  }
  char command[128];
  snprintf(command, sizeof(command), "rm -r '%s'", folder);
  return system(command) == 0 ? 0 : -1;
}

static duckdb_database open_database(const char *path) {
  duckdb_config config;
  duckdb_database database;
  char *error = NULL;
  assert_int_equal(db.create_config(&config), DuckDBSuccess);
  db.set_config(config, "allow_unsigned_extensions", "true");
  if (db.open_ext(path, &database, config, &error) != DuckDBSuccess) {
    fail_msg("%s: %s", path, error);
  }
  db.destroy_config(&config);
  return database;
}

static duckdb_connection join(duckdb_database database) {
  duckdb_connection connection;
  assert_int_equal(db.connect(database, &connection), DuckDBSuccess);
  return connection;
}

/* Runs a query that must succeed. */
static void do_query(duckdb_connection connection, const char *text) {
  duckdb_result result;
  if (db.query(connection, text, &result) != DuckDBSuccess) {
    fail_msg("%s: %s", text, db.result_error(&result));
  }
  db.destroy_result(&result);
}

static double number_of(duckdb_connection connection, const char *text) {
  duckdb_result result;
  if (db.query(connection, text, &result) != DuckDBSuccess) {
    fail_msg("%s: %s", text, db.result_error(&result));
  }
  duckdb_data_chunk chunk = db.fetch_chunk(result);
  assert_non_null(chunk);
  double number = *(double *)db.vector_get_data(db.data_chunk_get_vector(chunk, 0));
  db.destroy_data_chunk(&chunk);
  db.destroy_result(&result);
  return number;
}

static void load(duckdb_connection connection) {
  do_query(connection, "LOAD '" VONK_EXTENSION "'");
}

/* A model that takes 50 ms for each row. */
static void load_slow(duckdb_connection connection) {
  FILE *file = fopen("slow.mock", "w");
  assert_non_null(file);
  fputs("input x f32 -1 4\noutput y = sum x\n", file);
  fclose(file);
  do_query(connection, "FROM vonk_load('slow', 'slow.mock', plugin := '" VONK_MOCK_DIR
                       "/mock_slow.so', batch := 1)");
}

/* Whether nobody holds a lock on the file: asked from another process, as locks are
 * never in the way of the process that holds them. */
static bool is_free(const char *path) {
  pid_t child = fork();
  if (child == 0) {
    int file = open(path, O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _exit(file >= 0 && fcntl(file, F_SETLK, &lock) == 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

static void assert_let_go(const char *path) {
  double began = seconds();
  char journal[64];
  snprintf(journal, sizeof(journal), "%s.wal", path);
  while (access(journal, F_OK) == 0 || !is_free(path)) {
    if (seconds() - began > 20.0) {
      fail_msg("%s: still %s after 20 s", path,
               is_free(path) ? "has a journal" : "locked");
    }
    pause_ms(1);
  }
}

/* --- facts ------------------------------------------------------------------------------ */

static void it_predicts_and_lets_go_when_all_is_closed(void **state) {
  (void)state;
  duckdb_database database = open_database("a.db");
  duckdb_connection connection = join(database);
  load(connection);
  do_query(connection, "FROM vonk_load('iris', '" VONK_EXAMPLES_DIR
                       "/iris/iris.onnx', output := 'probabilities')");
  do_query(connection,
           "CREATE TABLE t AS SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) AS p "
           "FROM range(3000)");
  double sum = number_of(connection, "SELECT sum(list_sum(p::FLOAT[])) FROM t");
  if (fabs(sum - 3000.0) > 0.01) {
    fail_msg("the probabilities of 3000 rows sum to %f, expected 3000", sum);
  }
  assert_false(is_free("a.db"));
  db.disconnect(&connection);
  db.close(&database);
  assert_let_go("a.db");
}

static void *interrupt_later(void *connection) {
  pause_ms(500);
  db.interrupt(*(duckdb_connection *)connection);
  return NULL;
}

static void a_query_stops_inside_a_chunk(void **state) {
  (void)state;
  duckdb_database database = open_database(NULL);
  duckdb_connection connection = join(database);
  load(connection);
  load_slow(connection);
  pthread_t thread;
  duckdb_result result;
  double began = seconds();
  assert_int_equal(pthread_create(&thread, NULL, interrupt_later, &connection), 0);
  duckdb_state done = db.query(
      connection, "SELECT sum(slow([i, 1, 2, 3]::FLOAT[])) FROM range(100000) t(i)",
      &result);
  double took = seconds() - began - 0.5;
  pthread_join(thread, NULL);
  assert_int_equal(done, DuckDBError);
  printf("returned %.3f s after the interrupt: %s\n", took, db.result_error(&result));
  if (took > 5.0) { /* a chunk takes 100 s */
    fail_msg("returned %.3f s after the interrupt", took);
  }
  db.destroy_result(&result);
  double sum = number_of(connection, "SELECT slow([1, 2, 3, 4]::FLOAT[])::DOUBLE");
  if (fabs(sum - 10.0) > 1e-6) {
    fail_msg("afterwards the connection predicts %f, expected 10", sum);
  }
  db.disconnect(&connection);
  db.close(&database);
}

/* As a server does that opens its database once. */
static void a_connection_for_each_request(void **state) {
  (void)state;
  duckdb_database database = open_database("a.db");
  duckdb_connection connection = join(database);
  load(connection);
  do_query(connection, "FROM vonk_load('iris', '" VONK_EXAMPLES_DIR "/iris/iris.onnx')");
  db.disconnect(&connection);
  for (int i = 0; i < 10; i++) {
    pause_ms(30); /* nobody is connected */
    connection = join(database);
    do_query(connection, "SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(100)");
    db.disconnect(&connection);
  }
  connection = join(database);
  do_query(connection, "FROM vonk_load('new', '" VONK_EXAMPLES_DIR "/iris/iris.onnx')");
  do_query(connection, "SELECT new([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(100)");
  do_query(connection, "FROM vonk_load('iris', '" VONK_EXAMPLES_DIR "/iris/iris.onnx')");
  db.disconnect(&connection);
  db.close(&database);
  assert_let_go("a.db");
}

/* Runs a piece of program in a child that ends through exit(). */
static void in_a_program_that_exits(void (*body)(void)) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    body();
    exit(0);
  }
  double began = seconds();
  int status = -1;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (seconds() - began > 60.0) {
      fail_msg("the program has not ended after 60 s");
    }
    pause_ms(5);
  }
  assert_int_equal(status, 0);
}

static void open_and_leave_all_open(void) {
  duckdb_connection connection = join(open_database("b.db"));
  load(connection);
  do_query(connection, "CREATE OR REPLACE TABLE t AS SELECT 7 AS i");
}

static void open_and_close_at_the_last_moment(void) {
  duckdb_database database = open_database("c.db");
  duckdb_connection connection = join(database);
  load(connection);
  do_query(connection, "CREATE OR REPLACE TABLE t AS SELECT 7 AS i");
  db.disconnect(&connection);
  db.close(&database);
}

static void a_program_may_exit_without_closing(void **state) {
  (void)state;
  in_a_program_that_exits(open_and_leave_all_open);
  assert_true(is_free("b.db"));
  duckdb_database database = open_database("b.db");
  duckdb_connection connection = join(database);
  assert_int_equal((int)number_of(connection, "SELECT sum(i)::DOUBLE FROM t"), 7);
  db.disconnect(&connection);
  db.close(&database);
}

static void a_program_that_closes_and_exits_at_once_leaves_no_journal(void **state) {
  (void)state;
  in_a_program_that_exits(open_and_close_at_the_last_moment);
  assert_int_equal(access("c.db", F_OK), 0);
  assert_int_not_equal(access("c.db.wal", F_OK), 0);
}

int main(void) {
  /* The programs that exit are forked before this one has threads of DuckDB's. */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_program_that_closes_and_exits_at_once_leaves_no_journal),
      cmocka_unit_test(a_program_may_exit_without_closing),
      cmocka_unit_test(it_predicts_and_lets_go_when_all_is_closed),
      cmocka_unit_test(a_query_stops_inside_a_chunk),
      cmocka_unit_test(a_connection_for_each_request),
  };
  return cmocka_run_group_tests(tests, open_library, remove_folder);
}
