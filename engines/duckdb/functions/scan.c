/* FROM 'x.onnx': the path of a model file where a table is expected lists what the model
 * takes and gives. DuckDB asks for every table it does not know; what does not end like a
 * model file is left to others. */
#include "engines/duckdb/functions/internal.h"

static void replace(duckdb_replacement_scan_info info, const char *table, void *data) {
  (void)data;
  if (table == NULL || !vonk_sql_is_model_path(table)) {
    return;
  }
  duckdb_value path = duckdb_create_varchar(table);
  duckdb_replacement_scan_set_function_name(info, "vonk_describe");
  duckdb_replacement_scan_add_parameter(info, path);
  duckdb_destroy_value(&path);
}

void vonk_sql_scan_register(vonk_sql *sql, duckdb_database database) {
  vonk_sql_retain(sql);
  duckdb_add_replacement_scan(database, replace, sql, vonk_sql_release_info);
}
