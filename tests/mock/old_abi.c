/* Made for a version of the interface from before the first. */
#include "vonk/plugin.h"

VONK_PLUGIN_EXPORT int vonk_plugin_init_v0(void);
int vonk_plugin_init_v0(void) { return 0; }
