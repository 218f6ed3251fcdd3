# vonk._core, the C half of the Python package: one file for every CPython from 3.10 on (stable ABI). It shares the
# installation's libvonk.so with everything else in the process, found beside it; no Python library is linked.

file(GLOB VONK_PYTHON_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/core/*.c)
file(GLOB VONK_PYTHON_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/vonk/*)
file(GLOB VONK_SPARKEXT_PACKAGES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/sparkext*) # of Python alone
if(NOT SKBUILD AND NOT Python_EXECUTABLE)
  find_program(Python_EXECUTABLE NAMES python3 python HINTS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
endif()
find_package(Python 3.10 COMPONENTS Interpreter Development.Module)
if(NOT Python_Development.Module_FOUND)
  if(SKBUILD)
    message(FATAL_ERROR "Python.h: missing for ${Python_EXECUTABLE}: install the interpreter's headers "
                        "(Debian and Ubuntu: apt-get install python3-dev)")
  endif()
  message(STATUS "Python.h: missing: vonk._core is not built")
  return()
endif()

set(VONK_PYTHON_FOLDER ${PROJECT_BINARY_DIR}/python/vonk)
add_library(vonk_python MODULE ${VONK_PYTHON_SOURCES})
set_target_properties(vonk_python PROPERTIES
  PREFIX "" OUTPUT_NAME _core SUFFIX .abi3.so LIBRARY_OUTPUT_DIRECTORY ${VONK_PYTHON_FOLDER}
  # PREFIX/lib/python3.x/site-packages/vonk of a virtual environment, and its lib64 twin
  INSTALL_RPATH "$ORIGIN/../../..;$ORIGIN/../../../../lib;$ORIGIN/../lib")
target_include_directories(vonk_python SYSTEM PRIVATE ${Python_INCLUDE_DIRS})
target_compile_definitions(vonk_python PRIVATE Py_LIMITED_API=0x030A0000)
target_link_libraries(vonk_python PRIVATE vonk_flags vonk_shared Threads::Threads)
target_link_options(vonk_python PRIVATE -Wl,--exclude-libs,ALL)
vonk_export_only(vonk_python ${PROJECT_SOURCE_DIR}/cmake/python.map)

if(SKBUILD)
  install(TARGETS vonk_python LIBRARY DESTINATION ${SKBUILD_PLATLIB_DIR}/vonk)
else()
  # The build tree's package: PYTHONPATH=build/dev/python
  file(MAKE_DIRECTORY ${VONK_PYTHON_FOLDER})
  foreach(file IN LISTS VONK_PYTHON_FILES)
    get_filename_component(name ${file} NAME)
    if(NOT name STREQUAL "__pycache__")
      file(CREATE_LINK ${file} ${VONK_PYTHON_FOLDER}/${name} SYMBOLIC)
    endif()
  endforeach()
  foreach(package IN LISTS VONK_SPARKEXT_PACKAGES)
    get_filename_component(name ${package} NAME)
    file(CREATE_LINK ${package} ${PROJECT_BINARY_DIR}/python/${name} SYMBOLIC)
  endforeach()
endif()
