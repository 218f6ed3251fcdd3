/* Keeping TensorFlow's log off stderr. */
#include "tf_plugin.h"

void vonk_tf_quiet_begin(void) {}
void vonk_tf_quiet_end(void) {}
bool vonk_tf_quiet_find(void *library) {
  (void)library;
  return false;
}
