/* Made for a later version of the interface, and for that alone. */
#include "vonk/plugin.h"

VONK_PLUGIN_EXPORT int vonk_plugin_init_v2(void);
int vonk_plugin_init_v2(void) { return 0; }
