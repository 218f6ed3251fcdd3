/* What DuckDB calls when vonk is LOADed.
 *
 * How it works: one connection registers our functions and is kept (kept.c), because
 * vonk_load registers more of them later and DuckDB gives an extension no other way to
 * get at the database. With VONK_NO_PIN=1 it is given back at once: the functions of now
 * and of $VONK_MODELS are all there will be, and no thread is started. */
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb/extension/extension.h"

DUCKDB_CAPI_ENTRY_VISIBILITY bool vonk_init_c_api(duckdb_extension_info info,
                                                  struct duckdb_extension_access *access);

/* Takes the connection and our reference over. */
static vonk_status settle(duckdb_database database, duckdb_connection connection,
                          vonk_sql *sql, vonk_error *err) {
  const char *no_pin = getenv("VONK_NO_PIN");
  if (no_pin == NULL || no_pin[0] == '\0' || strcmp(no_pin, "0") == 0) {
    return vonk_kept_add(database, connection, sql, err);
  }
  vonk_sql_detach(sql, "VONK_NO_PIN is set: name the models in VONK_MODELS before LOAD");
  duckdb_disconnect(&connection);
  vonk_sql_release(sql);
  return VONK_OK;
}

static vonk_status start(duckdb_database database, vonk_error *err) {
  duckdb_connection connection = NULL;
  if (duckdb_connect(database, &connection) != DuckDBSuccess) {
    return vonk_fail(err, VONK_BACKEND, "vonk: DuckDB gives no connection");
  }
  vonk_interrupt_learn(connection);
  vonk_sql *sql = NULL;
  vonk_status status = vonk_sql_create(database, connection, &sql, err);
  if (status != VONK_OK) {
    goto done;
  }
  vonk_sql_load_listed(sql, getenv("VONK_MODELS"));
  status = settle(database, connection, sql, err);
  if (status != VONK_OK) {
    vonk_sql_detach(sql, "LOAD failed");
    goto done;
  }
  return VONK_OK;

done:
  duckdb_disconnect(&connection);
  vonk_sql_release(sql);
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
