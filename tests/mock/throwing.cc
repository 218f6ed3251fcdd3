// Lets an exception out of its entry function, which is the plug-in's fault and ends the
// process: nobody can catch it in C.
#include <stdexcept>

#include "vonk/plugin.h"

extern "C" VONK_PLUGIN_EXPORT vonk_status vonk_plugin_init_v1(const vonk_host *,
                                                              vonk_plugin_v1 *,
                                                              vonk_error *) {
  throw std::runtime_error("thrown by the mock");
}
