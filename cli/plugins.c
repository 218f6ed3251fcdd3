/* `vonk plugins`: what is installed, and whether it works. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/conformance.h"
#include "plugin/plugin.h"

typedef struct probes {
  int n, failed;
} probes;

/* Files, not loaded plug-ins: loading one here could be the end of this process. */
/* Loads the framework in a child process, so that one that crashes is a line of text. */
static bool probe_runtime(const char *path) {
  (void)fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    (void)printf("  no process to load its framework in can be made: %s\n",
                 strerror(errno));
    return false;
  }
  if (child == 0) {
    vonk_error err = VONK_ERROR_INIT;
    const char *version, *library;
    bool works = vonk_plugin_runtime(path, &version, &library, &err) == VONK_OK;
    (void)(works ? printf("  framework: version %s, %s\n", version, library)
                 : printf("  framework: not usable: %s\n", err.message));
    (void)fflush(stdout);
    _exit(works ? 0 : 1);
  }
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    (void)printf("  framework: ended the process with signal %d (%s)\n", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool probe_plugin(void *arg, const char *path) {
  probes *p = arg;
  p->n++;
  bool works = vonk_cli_probe(path, stdout) == 0 && probe_runtime(path);
  p->failed += works ? 0 : 1;
  return true;
}

/* A path typed by a user means the file in the current folder; the library wants it said
 * in full. */
static int test_conformance(const vonk_cli_args *args, const char *path) {
  vonk_error err = VONK_ERROR_INIT;
  char *whole;
  vonk_cli_model_options options;
  if (vonk_cli_model_options_read(args, &options, &err) != VONK_OK) {
    return vonk_cli_misuse("plugins", &err);
  }
  if (vonk_path_resolve(path, &whole, &err) != VONK_OK) {
    vonk_cli_model_options_clear(&options);
    return vonk_cli_fail("plugins", &err, VONK_EXIT_FILES);
  }
  const trial_subject subject = {.path = whole,
                                 .model = vonk_cli_value(args, "model", NULL),
                                 .options = options.kvs,
                                 .n_options = options.n};
  int failed = vonk_cli_conformance(&subject, stdout);
  vonk_cli_model_options_clear(&options);
  vonk_delete(whole);
  return failed == 0 ? VONK_EXIT_OK : VONK_EXIT_FAILED;
}

int vonk_cli_plugins(const vonk_cli_args *args) {
  vonk_error err = VONK_ERROR_INIT;
  const char *path = vonk_cli_value(args, "conformance", NULL);
  if (path != NULL) {
    return test_conformance(args, path);
  }
  static const char *const only_there[] = {"model", "option"};
  for (size_t i = 0; i < sizeof(only_there) / sizeof(only_there[0]); i++) {
    if (vonk_cli_value(args, only_there[i], NULL) != NULL) {
      (void)vonk_fail(&err, VONK_INVALID, "--%s: only goes with --conformance",
                      only_there[i]);
      return vonk_cli_misuse("plugins", &err);
    }
  }
  if (vonk_cli_flag(args, "probe")) {
    probes p = {0};
    vonk_status status = vonk_plugin_files(probe_plugin, &p, &err);
    if (status != VONK_OK) {
      return vonk_cli_fail("plugins", &err, VONK_EXIT_FAILED);
    }
    return p.failed == 0 ? VONK_EXIT_OK : VONK_EXIT_FAILED;
  }
  vonk_status status = vonk_cli_plugin_list(vonk_cli_flag(args, "json"), &err);
  return status == VONK_OK ? VONK_EXIT_OK
                           : vonk_cli_fail("plugins", &err, VONK_EXIT_FAILED);
}
