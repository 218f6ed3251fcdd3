/* A forked child is told so, but only if the process had started something. */
#define _POSIX_C_SOURCE 200809L

#include <sys/wait.h>
#include <unistd.h>

#include "plugin/plugin.h"
#include "unit.h"

/* What vonk_process_check returns in a child, or in a child's child. */
static int check_in_child(int depth) {
  pid_t child = fork();
  if (child == 0) {
    vonk_error err = VONK_ERROR_INIT;
    if (depth > 1) {
      _exit(check_in_child(depth - 1));
    }
    vonk_process_mark_started(); /* changes nothing in a child of a started process */
    vonk_status status = vonk_process_check(&err);
    _exit(status == VONK_OK || strstr(err.message, "'spawn'") != NULL ? status : 99);
  }
  int state = 0;
  assert_int_equal(waitpid(child, &state, 0), child);
  assert_true(WIFEXITED(state));
  return WEXITSTATUS(state);
}

static void test_only_children_of_a_started_process_are_told(void **state) {
  (void)state;
  assert_int_equal(vonk_process_check(NULL), VONK_OK);
  assert_int_equal(check_in_child(1), VONK_OK);
  vonk_process_mark_started();
  vonk_process_mark_started();
  assert_int_equal(vonk_process_check(NULL), VONK_OK);
  assert_int_equal(check_in_child(1), VONK_FORKED);
  assert_int_equal(check_in_child(2), VONK_FORKED);
  assert_int_equal(vonk_process_check(NULL), VONK_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_only_children_of_a_started_process_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
