/* A shared library, but no plug-in. */
#include "vonk/plugin.h"

VONK_PLUGIN_EXPORT int something_else(void);
int something_else(void) { return 42; }
