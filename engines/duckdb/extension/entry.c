/* What DuckDB calls when vonk is LOADed: one connection registers our functions and the
 * models of $VONK_MODELS, and is given back. */
#include <stdlib.h>

#include "engines/duckdb/extension/extension.h"

DUCKDB_CAPI_ENTRY_VISIBILITY bool vonk_init_c_api(duckdb_extension_info info,
                                                  struct duckdb_extension_access *access);

static vonk_status start(duckdb_database database, vonk_error *err) {
  duckdb_connection connection = NULL;
  if (duckdb_connect(database, &connection) != DuckDBSuccess) {
    return vonk_fail(err, VONK_BACKEND, "vonk: DuckDB gives no connection");
  }
  vonk_sql *sql = NULL;
  vonk_status status = vonk_sql_create(database, connection, &sql, err);
  if (status == VONK_OK) {
    vonk_sql_load_listed(sql, getenv("VONK_MODELS"));
    status = vonk_guest_move_in(database, connection, sql, err);
  }
  if (status != VONK_OK && sql != NULL) {
    vonk_sql_detach(sql, "LOAD failed");
  }
  duckdb_disconnect(&connection);
  vonk_sql_release(sql); /* the functions hold references of their own */
  return status;
}

bool vonk_init_c_api(duckdb_extension_info info, struct duckdb_extension_access *access) {
  vonk_error err = VONK_ERROR_INIT;
  bool explained = false;
  vonk_status status = vonk_host_adopt(info, access, &explained, &err);
  if (status == VONK_OK) {
    const duckdb_database *database = access->get_database(info);
    explained = database == NULL;
    status = database == NULL ? VONK_BACKEND : start(*database, &err);
  }
  if (status != VONK_OK && !explained) {
    access->set_error(info, err.message);
  }
  return status == VONK_OK;
}
