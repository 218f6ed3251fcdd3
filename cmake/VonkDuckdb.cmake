# DuckDB: what the vonk program and the extension share, as objects (vonk_duckdb_objects), and the loadable extension,
# lib/vonk.duckdb_extension. DuckDB's headers at compile time; nothing of it is linked.

set(VONK_DUCKDB_INCLUDE_DIR ${VONK_DEPS_DIR}/duckdb/include CACHE PATH "Folder of duckdb.h and duckdb_extension.h")
if(NOT EXISTS ${VONK_DUCKDB_INCLUDE_DIR}/duckdb_extension.h)
  message(FATAL_ERROR "duckdb_extension.h: not in ${VONK_DUCKDB_INCLUDE_DIR}: run 'make setup', "
                      "or configure with -DVONK_DUCKDB_INCLUDE_DIR=... or -DVONK_BUILD_CLI=OFF")
endif()

file(GLOB VONK_DUCKDB_SOURCES CONFIGURE_DEPENDS
     ${PROJECT_SOURCE_DIR}/engines/duckdb/*.c ${PROJECT_SOURCE_DIR}/engines/duckdb/functions/*.c)
add_library(vonk_duckdb_objects OBJECT ${VONK_DUCKDB_SOURCES})
target_include_directories(vonk_duckdb_objects PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src
                           ${PROJECT_SOURCE_DIR}/include)
target_include_directories(vonk_duckdb_objects SYSTEM PUBLIC ${VONK_DUCKDB_INCLUDE_DIR})
target_compile_definitions(vonk_duckdb_objects PRIVATE VONK_VERSION="${PROJECT_VERSION}")
target_link_libraries(vonk_duckdb_objects PRIVATE vonk_flags)

# DuckDB refuses an extension that was built for another platform than its own, by this name.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(VONK_DUCKDB_PLATFORM linux_arm64)
else()
  set(VONK_DUCKDB_PLATFORM linux_amd64)
endif()

# The file's name decides which entry point DuckDB looks for: vonk_init_c_api.
file(GLOB VONK_EXTENSION_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/engines/duckdb/extension/*.c)
add_library(vonk_duckdb MODULE ${VONK_EXTENSION_SOURCES} $<TARGET_OBJECTS:vonk_duckdb_objects>)
set_target_properties(vonk_duckdb PROPERTIES PREFIX "" OUTPUT_NAME vonk SUFFIX .duckdb_extension)
target_include_directories(vonk_duckdb PRIVATE ${PROJECT_SOURCE_DIR})
target_include_directories(vonk_duckdb SYSTEM PRIVATE ${VONK_DUCKDB_INCLUDE_DIR})
target_link_libraries(vonk_duckdb PRIVATE vonk_shared_flags vonk_core)
target_link_options(vonk_duckdb PRIVATE $<$<CONFIG:Release>:-s>) # nothing may strip it later: that removes the footer
vonk_export_only(vonk_duckdb ${PROJECT_SOURCE_DIR}/cmake/extension.map)
set(VONK_FOOTER ${PROJECT_SOURCE_DIR}/cmake/append_footer.sh)
set_property(TARGET vonk_duckdb APPEND PROPERTY LINK_DEPENDS ${VONK_FOOTER})
add_custom_command(TARGET vonk_duckdb POST_BUILD
  COMMAND ${VONK_FOOTER} $<TARGET_FILE:vonk_duckdb> ${VONK_DUCKDB_PLATFORM} ${PROJECT_VERSION} VERBATIM)
if(TARGET vonk_onnx)
  add_dependencies(vonk_duckdb vonk_onnx)
endif()
