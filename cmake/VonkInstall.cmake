# PREFIX/{bin/vonk, lib/{libvonk.so*, vonk.duckdb_extension, vonk/plugins/, pkgconfig/, cmake/vonk/}, include/vonk/, share/man/}.
# scikit-build-core installs the same into a virtual environment: its scripts and data folders are that prefix.

if(SKBUILD)
  set(VONK_BINDIR ${SKBUILD_SCRIPTS_DIR})
  set(VONK_PREFIX ${SKBUILD_DATA_DIR}/)
else()
  set(VONK_BINDIR ${CMAKE_INSTALL_BINDIR})
  set(VONK_PREFIX "")
endif()
set(VONK_LIBDIR ${VONK_PREFIX}${CMAKE_INSTALL_LIBDIR})

install(FILES ${VONK_PUBLIC_HEADERS} DESTINATION ${VONK_PREFIX}${CMAKE_INSTALL_INCLUDEDIR}/vonk)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION ${VONK_PREFIX}${CMAKE_INSTALL_DATADIR}/doc/vonk)
install(TARGETS ${VONK_FRAMEWORK_PLUGINS} LIBRARY DESTINATION ${VONK_LIBDIR}/vonk/plugins)
if(TARGET vonk_torchscript)
  install(TARGETS vonk_torchscript LIBRARY DESTINATION ${VONK_LIBDIR}/vonk/plugins/torch)
endif()
if(TARGET vonk_cli)
  install(TARGETS vonk_cli RUNTIME DESTINATION ${VONK_BINDIR})
  install(FILES ${VONK_MAN} DESTINATION ${VONK_PREFIX}${CMAKE_INSTALL_MANDIR}/man1)
endif()
# What is linked statically asks for its notice; Debian keeps it beside the package.
install(FILES ${VONK_YYJSON_DIR}/LICENSE RENAME yyjson.copyright DESTINATION ${VONK_PREFIX}${CMAKE_INSTALL_DATADIR}/doc/vonk OPTIONAL)
foreach(package zlib1g-dev)
  if(EXISTS /usr/share/doc/${package}/copyright)
    string(REGEX REPLACE "^lib|1g|-dev$" "" name ${package})
    install(FILES /usr/share/doc/${package}/copyright RENAME ${name}.copyright
            DESTINATION ${VONK_PREFIX}${CMAKE_INSTALL_DATADIR}/doc/vonk)
  endif()
endforeach()

if(TARGET vonk_duckdb) # as a file: `--strip` would take its footer off
  install(PROGRAMS $<TARGET_FILE:vonk_duckdb> DESTINATION ${VONK_LIBDIR})
endif()

if(TARGET vonk_shared)
  include(CMakePackageConfigHelpers)
  if(SKBUILD)
    # A wheel has no links: one file under the name the loader asks for, one under the name the linker asks for.
    install(PROGRAMS $<TARGET_FILE:vonk_shared> DESTINATION ${VONK_LIBDIR}
            RENAME $<TARGET_SONAME_FILE_NAME:vonk_shared>)
    install(PROGRAMS $<TARGET_FILE:vonk_shared> DESTINATION ${VONK_LIBDIR} RENAME libvonk.so)
  else()
    install(TARGETS vonk_shared LIBRARY DESTINATION ${VONK_LIBDIR})
  endif()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/vonk.pc.in ${PROJECT_BINARY_DIR}/vonk.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/vonk.pc DESTINATION ${VONK_LIBDIR}/pkgconfig)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/vonkConfig.cmake.in ${PROJECT_BINARY_DIR}/vonkConfig.cmake @ONLY)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/vonkConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/vonkConfig.cmake ${PROJECT_BINARY_DIR}/vonkConfigVersion.cmake
          DESTINATION ${VONK_LIBDIR}/cmake/vonk)
endif()
