/* The table of DuckDB's functions, and whose it is.
 *
 * How it works: DuckDB hands an extension a struct of pointers. It only grows, so what an
 * older DuckDB hands out is the beginning of ours: DuckDB 1.2 to 1.5.5 promise the first
 * band of it, 1.5.6 and later the second one too. Asking an old DuckDB for the second
 * band fails the LOAD, so its version is looked at first; there the second band stays
 * NULL, which is how the rest of the code knows that it is missing.
 *
 * The table is one per copy of this shared object, and the loader keeps one copy per file
 * and process. Two DuckDB libraries in a process (libduckdb beside DuckDB's Python
 * module) that LOAD the same file would share it, and one library would be called with
 * the other's objects: the second one is refused. */
#define _GNU_SOURCE /* dladdr */

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "engines/duckdb/extension/extension.h"

duckdb_ext_api_v1 duckdb_ext_api;

/* The header makes a call through duckdb_ext_api of these names; here they are fields. */
#undef duckdb_create_instance_cache
#undef duckdb_library_version

/* Bytes of the band that DuckDB 1.2 to 1.5.5 have. */
#define FIRST_BAND offsetof(duckdb_ext_api_v1, duckdb_create_instance_cache)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool adopted;

/* The file of the library that a function of its table lies in. */
static const char *library_of(const duckdb_ext_api_v1 *api) {
  Dl_info info;
  const char *(*function)(void) = api->duckdb_library_version;
  void *address;
  memcpy(&address, &function, sizeof(address));
  return dladdr(address, &info) != 0 && info.dli_fname != NULL ? info.dli_fname
                                                               : "(unknown)";
}

static vonk_status adopt_table(const duckdb_ext_api_v1 *api, size_t nbytes,
                               vonk_error *err) {
  if (!adopted) {
    memcpy(&duckdb_ext_api, api, nbytes);
    adopted = true;
    return VONK_OK;
  }
  if (duckdb_ext_api.duckdb_library_version == api->duckdb_library_version) {
    return VONK_OK;
  }
  return vonk_fail(
      err, VONK_UNSUPPORTED,
      "vonk: this process has two DuckDB libraries, %s (%s) and %s (%s), and "
      "this file serves the first already: LOAD a copy of the file in the "
      "second",
      library_of(&duckdb_ext_api), duckdb_ext_api.duckdb_library_version(),
      library_of(api), api->duckdb_library_version());
}

vonk_status vonk_host_adopt(duckdb_extension_info info,
                            const struct duckdb_extension_access *access, bool *explained,
                            vonk_error *err) {
  const duckdb_ext_api_v1 *api = access->get_api(info, "v1.2.0");
  bool second =
      api != NULL && vonk_duckdb_is_since(api->duckdb_library_version(), 1, 5, 6);
  if (second) {
    api = access->get_api(info, "v1.5.6");
  }
  if (api == NULL) {
    *explained = true;
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "vonk: this DuckDB has not the functions "
                     "that vonk needs: DuckDB 1.4 or later has");
  }
  pthread_mutex_lock(&lock);
  vonk_status status = adopt_table(api, second ? sizeof(*api) : FIRST_BAND, err);
  pthread_mutex_unlock(&lock);
  return status;
}
