/* Which DuckDB this is. */
#include <stdlib.h>

#include "engines/duckdb/duckdb.h"

bool vonk_duckdb_is_since(const char *version, int major, int minor, int patch) {
  const int least[3] = {major, minor, patch};
  const char *at = version[0] == 'v' ? version + 1 : version;
  for (int i = 0; i < 3; i++) {
    char *end;
    long part = strtol(at, &end, 10);
    if (end == at) {
      return false;
    }
    if (part != least[i]) {
      return part > least[i];
    }
    at = *end == '.' ? end + 1 : end;
  }
  return true;
}
