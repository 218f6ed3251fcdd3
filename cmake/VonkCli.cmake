# The vonk program: our static library, what it shares with the extension, DuckDB's library at run time.

file(GLOB VONK_CLI_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/*.c)
if(VONK_CLI_SOURCES AND TARGET vonk_core)
  add_executable(vonk_cli ${VONK_CLI_SOURCES} $<TARGET_OBJECTS:vonk_duckdb_objects>)
  set_target_properties(vonk_cli PROPERTIES OUTPUT_NAME vonk)
  target_include_directories(vonk_cli PRIVATE ${PROJECT_SOURCE_DIR})
  target_include_directories(vonk_cli SYSTEM PRIVATE ${VONK_DUCKDB_INCLUDE_DIR} ${VONK_YYJSON_DIR})
  target_compile_definitions(vonk_cli PRIVATE VONK_VERSION="${PROJECT_VERSION}")
  target_link_libraries(vonk_cli PRIVATE vonk_flags vonk_core)
  if(TARGET vonk_onnx)
    add_dependencies(vonk_cli vonk_onnx)
  endif()

  # The manual page is what the program says about itself.
  set(VONK_MAN ${PROJECT_BINARY_DIR}/share/man/man1/vonk.1)
  add_custom_command(OUTPUT ${VONK_MAN}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/share/man/man1
    COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:vonk_cli> -DOUTPUT=${VONK_MAN}
            -P ${PROJECT_SOURCE_DIR}/cmake/make_man.cmake
    DEPENDS vonk_cli ${PROJECT_SOURCE_DIR}/cmake/make_man.cmake
    COMMENT "Writing vonk.1" VERBATIM)
  add_custom_target(vonk_man ALL DEPENDS ${VONK_MAN})
endif()
