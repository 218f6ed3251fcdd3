/* DuckDB's C functions through a table of pointers, `duckdb_ext_api`, which whoever holds
 * this code fills: the vonk program from a libduckdb it opened, an extension from what
 * DuckDB hands it. The macros of DuckDB's own header make each call look like a plain
 * one, so nothing here links DuckDB. */
#ifndef VONK_ENGINES_DUCKDB_API_H
#define VONK_ENGINES_DUCKDB_API_H

#include <duckdb_extension.h>

DUCKDB_EXTENSION_EXTERN

/* Every function of DuckDB that our code calls, without its "duckdb_". A call of one that
 * is missing here would be a call of NULL; tests/python/test_cli_sources.py compares. */
#define VONK_DUCKDB_FUNCTIONS(X)            \
  X(array_type_array_size)                  \
  X(array_type_child_type)                  \
  X(array_vector_get_child)                 \
  X(bind_add_result_column)                 \
  X(bind_get_extra_info)                    \
  X(bind_set_error)                         \
  X(close)                                  \
  X(connect)                                \
  X(create_array_type)                      \
  X(create_config)                          \
  X(create_list_type)                       \
  X(create_logical_type)                    \
  X(create_struct_type)                     \
  X(create_table_function)                  \
  X(data_chunk_get_size)                    \
  X(data_chunk_get_vector)                  \
  X(data_chunk_set_size)                    \
  X(destroy_config)                         \
  X(destroy_data_chunk)                     \
  X(destroy_logical_type)                   \
  X(destroy_pending)                        \
  X(destroy_prepare)                        \
  X(destroy_result)                         \
  X(destroy_table_function)                 \
  X(disconnect)                             \
  X(enum_dictionary_size)                   \
  X(enum_dictionary_value)                  \
  X(enum_internal_type)                     \
  X(execute_pending)                        \
  X(fetch_chunk)                            \
  X(free)                                   \
  X(function_get_extra_info)                \
  X(function_set_error)                     \
  X(get_type_id)                            \
  X(init_set_max_threads)                   \
  X(interrupt)                              \
  X(library_version)                        \
  X(list_type_child_type)                   \
  X(list_vector_get_child)                  \
  X(list_vector_get_size)                   \
  X(list_vector_reserve)                    \
  X(list_vector_set_size)                   \
  X(open_ext)                               \
  X(pending_error)                          \
  X(pending_prepared_streaming)             \
  X(prepare)                                \
  X(prepare_error)                          \
  X(prepared_statement_column_count)        \
  X(prepared_statement_column_logical_type) \
  X(prepared_statement_column_name)         \
  X(query)                                  \
  X(register_table_function)                \
  X(result_error)                           \
  X(set_config)                             \
  X(string_t_data)                          \
  X(struct_type_child_count)                \
  X(struct_type_child_name)                 \
  X(struct_type_child_type)                 \
  X(struct_vector_get_child)                \
  X(table_function_set_bind)                \
  X(table_function_set_extra_info)          \
  X(table_function_set_function)            \
  X(table_function_set_init)                \
  X(table_function_set_name)                \
  X(vector_assign_string_element_len)       \
  X(vector_ensure_validity_writable)        \
  X(vector_get_data)                        \
  X(vector_size)                            \
  X(vector_get_validity)                    \
  X(vector_reference_vector)

#endif /* VONK_ENGINES_DUCKDB_API_H */
