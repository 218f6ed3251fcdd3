# Tests run by ctest: one process per C test file, each with a time limit.

find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_program(VONK_PYTHON NAMES python3 python HINTS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)

set(VONK_MOCK_FOLDER ${PROJECT_BINARY_DIR}/mock)
set(VONK_TEST_DATA_FOLDER ${PROJECT_SOURCE_DIR}/tests/data)
set(VONK_TEST_SECONDS 120)
if(VONK_SANITIZE)
  set(VONK_TEST_SECONDS 600)
endif()
# Frameworks are not instrumented: their own leaks and synchronisation are not ours to report.
set(VONK_TEST_ENV
  "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:ignore_noninstrumented_modules=1:suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp"
  "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/lsan.supp:print_suppressions=0")

# vonk_add_test(name command...): registers with the time limit and environment all tests share.
function(vonk_add_test name)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${VONK_TEST_SECONDS} ENVIRONMENT "${VONK_TEST_ENV}")
endfunction()

# vonk_add_test_program(target source): a cmocka program over the static library. It stands two folders deep, so that it
# does not find the build tree's plug-ins as "beside the library": a test sees the plug-ins it names.
function(vonk_add_test_program target source)
  add_executable(${target} ${source})
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
                        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/${folder})
  target_compile_definitions(${target} PRIVATE
    VONK_MOCK_DIR="${VONK_MOCK_FOLDER}" VONK_PLUGIN_DIR="${VONK_PLUGIN_FOLDER}"
    VONK_TEST_DATA="${VONK_TEST_DATA_FOLDER}" VONK_PROGRAM="${PROJECT_BINARY_DIR}/bin/vonk"
    VONK_EXAMPLES_DIR="${PROJECT_SOURCE_DIR}/examples")
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE vonk_flags vonk_core PkgConfig::CMOCKA)
  if(VONK_ONNXRUNTIME)
    target_compile_definitions(${target} PRIVATE VONK_TEST_ONNXRUNTIME="${VONK_ONNXRUNTIME}")
  endif()
  # tests/<framework> reaches into that framework's plug-in; all find the plug-ins as files.
  if(VONK_FRAMEWORK_PLUGINS)
    add_dependencies(${target} ${VONK_FRAMEWORK_PLUGINS})
  endif()
  if(TARGET vonk_${folder}_core)
    target_link_libraries(${target} PRIVATE vonk_${folder}_core)
  endif()
  if(TARGET vonk_mocks)
    add_dependencies(${target} vonk_mocks)
  endif()
endfunction()

# --- public headers alone, as the languages we promise ------------------------------------------------------------
foreach(header IN LISTS VONK_PUBLIC_HEADERS)
  get_filename_component(name ${header} NAME)
  string(MAKE_C_IDENTIFIER ${name} id)
  foreach(language c cc)
    set(file ${PROJECT_BINARY_DIR}/headers/${id}.${language})
    file(CONFIGURE OUTPUT ${file} CONTENT "#include <vonk/@name@>\nint vonk_header_@id@(void);\n" @ONLY)
    list(APPEND VONK_HEADER_FILES_${language} ${file})
  endforeach()
endforeach()
if(VONK_PUBLIC_HEADERS)
  add_library(vonk_headers_c OBJECT ${VONK_HEADER_FILES_c})
  set_target_properties(vonk_headers_c PROPERTIES C_STANDARD 11)
  add_library(vonk_headers_cxx OBJECT ${VONK_HEADER_FILES_cc})
  foreach(target vonk_headers_c vonk_headers_cxx)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  endforeach()
endif()

# --- mock plug-ins --------------------------------------------------------------------------------------------------
file(GLOB VONK_MOCKS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/mock/*.c ${PROJECT_SOURCE_DIR}/tests/mock/*.cc)
if(VONK_MOCKS)
  add_custom_target(vonk_mocks)
  foreach(source IN LISTS VONK_MOCKS)
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^mock_" "" name ${name})
    add_library(mock_${name} MODULE ${source})
    set_target_properties(mock_${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${VONK_MOCK_FOLDER})
    target_include_directories(mock_${name} PRIVATE ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(mock_${name} PRIVATE vonk_shared_flags Threads::Threads ${CMAKE_DL_LIBS} m)
    add_dependencies(vonk_mocks mock_${name})
    if(name MATCHES "fast_?math") # what this one shows is what the compiler's start-up file does to the process
      target_link_options(mock_${name} PRIVATE -ffast-math)
    endif()
  endforeach()
endif()

# --- a framework in several copies, for tests/kit/test_library.c -----------------------------------------------------
# vonk_add_fake(target file soname copy): copy 0 has none of the framework's symbols.
set(VONK_FAKE_FOLDER ${PROJECT_BINARY_DIR}/tests/kit/fake)
function(vonk_add_fake target file soname copy)
  get_filename_component(folder ${file} DIRECTORY)
  get_filename_component(name ${file} NAME)
  add_library(${target} MODULE ${PROJECT_SOURCE_DIR}/tests/kit/fake/framework.c)
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX "" OUTPUT_NAME ${name}
                        LIBRARY_OUTPUT_DIRECTORY ${VONK_FAKE_FOLDER}/${folder})
  target_compile_definitions(${target} PRIVATE FAKE_COPY=${copy})
  target_link_options(${target} PRIVATE -Wl,-soname,${soname})
  target_link_libraries(${target} PRIVATE vonk_shared_flags)
endfunction()
vonk_add_fake(fake_first first/libvonk_fake.so.1 libvonk_fake.so.1 1)
vonk_add_fake(fake_second second/libvonk_fake.so.1 libvonk_fake.so.1 2)
vonk_add_fake(fake_renamed renamed/libvonk_fake-0a1b.so.1 libvonk_fake.so.1 3)
vonk_add_fake(fake_first_part first/libvonk_fake_part.so libvonk_fake_part.so 0)
vonk_add_fake(fake_lone_part part/libvonk_fake_part.so libvonk_fake_part.so 0)
vonk_add_fake(fake_other other/libvonk_other.so libvonk_other.so 0)

# --- C tests --------------------------------------------------------------------------------------------------------
# tests/<folder>/test_<name>.c is the test <folder>.test_<name>.
file(GLOB VONK_C_TESTS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/test_*.c)
foreach(source IN LISTS VONK_C_TESTS)
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  if(NOT TARGET vonk_core OR (folder STREQUAL "program" AND NOT TARGET vonk_cli))
    continue()
  endif()
  if(folder MATCHES "^duckdb_" AND NOT (TARGET vonk_duckdb AND VONK_DUCKDB AND VONK_ONNXRUNTIME))
    continue()
  endif()
  vonk_add_test_program(${folder}_${name} ${source})
  vonk_add_test(${folder}.${name} ${folder}_${name})
  if(folder STREQUAL "program")
    add_dependencies(${folder}_${name} vonk_cli)
  elseif(folder STREQUAL "bundle")
    target_include_directories(${folder}_${name} SYSTEM PRIVATE ${VONK_YYJSON_DIR})
  elseif(folder STREQUAL "kit")
    add_dependencies(${folder}_${name} fake_first fake_second fake_renamed fake_first_part fake_lone_part fake_other)
    target_compile_definitions(${folder}_${name} PRIVATE VONK_FAKE_DIR="${VONK_FAKE_FOLDER}")
  elseif(folder STREQUAL "duckdb_hosts")
    add_dependencies(${folder}_${name} vonk_duckdb)
    target_include_directories(${folder}_${name} SYSTEM PRIVATE ${VONK_DUCKDB_INCLUDE_DIR})
    target_compile_definitions(${folder}_${name} PRIVATE
      VONK_EXTENSION="$<TARGET_FILE:vonk_duckdb>" VONK_TEST_DUCKDB="${VONK_DUCKDB}")
    if(VONK_SANITIZE MATCHES "thread")
      # libduckdb is not instrumented: whatever it hands from one of its threads to another looks like a race.
      set_property(TEST ${folder}.${name} PROPERTY DISABLED TRUE)
    endif()
  elseif(folder STREQUAL "duckdb_functions")
    target_sources(${folder}_${name} PRIVATE $<TARGET_OBJECTS:vonk_duckdb_objects>)
    target_include_directories(${folder}_${name} SYSTEM PRIVATE ${VONK_DUCKDB_INCLUDE_DIR})
    target_compile_definitions(${folder}_${name} PRIVATE VONK_TEST_DUCKDB="${VONK_DUCKDB}")
  endif()
endforeach()

# --- processes with several frameworks: C programs that tests/mixing/test_*.py runs ----------------------------------
file(GLOB VONK_MIXING_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/mixing/*.c)
foreach(source IN LISTS VONK_MIXING_SOURCES)
  get_filename_component(name ${source} NAME_WE)
  add_executable(mixing_${name} ${source})
  set_target_properties(mixing_${name} PROPERTIES OUTPUT_NAME ${name}
                        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/mixing)
  target_include_directories(mixing_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(mixing_${name} PRIVATE vonk_flags vonk_shared Threads::Threads ${CMAKE_DL_LIBS} m)
  add_dependencies(mixing_${name} ${VONK_FRAMEWORK_PLUGINS})
endforeach()

# --- tests in Python of what the build tree holds: the program (as a child process), library and plug-in (ctypes) ----
# tests/{notebooks,python,spark,sparkext,tools} are about the installed wheel and our tools: tools/test.sh runs those.
# tests/engines/<engine>/test_<name>.py is the test <engine>.test_<name>.
file(GLOB VONK_PYTESTS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/test_*.py
     ${PROJECT_SOURCE_DIR}/tests/engines/*/test_*.py)
list(FILTER VONK_PYTESTS EXCLUDE REGEX "/tests/(notebooks|python|spark|sparkext|tools)/")
if(VONK_PYTESTS AND NOT VONK_PYTHON)
  message(FATAL_ERROR ".venv/bin/python3: missing, and ctest runs tests in Python: run 'make deps'")
endif()
# An instrumented plug-in can only be opened by a process that started with the sanitizer's library.
set(VONK_PRELOAD "")
if(VONK_SANITIZE MATCHES "address")
  # It wraps C++ exceptions, so it wants the C++ library beside it before a framework brings that along.
  foreach(library libasan.so libstdc++.so)
    execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=${library}
                    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(APPEND VONK_PRELOAD "${path} ")
  endforeach()
  string(STRIP "${VONK_PRELOAD}" VONK_PRELOAD)
endif()
# The plug-ins whose framework is here: tests of the others are left out, and of these never.
set(VONK_TEST_FRAMEWORKS "")
foreach(pair onnx=VONK_ONNXRUNTIME tensorflow=VONK_TENSORFLOW torch=VONK_TORCH)
  string(REGEX MATCH "^(.*)=(.*)$" pair ${pair})
  if(EXISTS "${${CMAKE_MATCH_2}}")
    list(APPEND VONK_TEST_FRAMEWORKS ${CMAKE_MATCH_1})
  endif()
endforeach()
list(JOIN VONK_TEST_FRAMEWORKS "," VONK_TEST_FRAMEWORKS)
foreach(source IN LISTS VONK_PYTESTS)
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  if((folder STREQUAL "program" AND NOT TARGET vonk_cli) OR (folder MATCHES "^duckdb" AND NOT TARGET vonk_duckdb))
    continue()
  endif()
  vonk_add_test(${folder}.${name} ${VONK_PYTHON} -m pytest -q -p no:cacheprovider ${source})
  set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT
    "VONK_BUILD_DIR=${PROJECT_BINARY_DIR}" "VONK_PROGRAM=${PROJECT_BINARY_DIR}/bin/vonk"
    "VONK_LIBRARY=${PROJECT_BINARY_DIR}/lib/libvonk.so"
    "VONK_MOCK_DIR=${VONK_MOCK_FOLDER}" "VONK_TEST_PLUGIN_DIR=${VONK_PLUGIN_FOLDER}"
    "VONK_TEST_SANITIZE=${VONK_SANITIZE}" "VONK_TEST_FRAMEWORKS=${VONK_TEST_FRAMEWORKS}")
  if(folder MATCHES "^(bundle|frameworks|packing)$")
    set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT "PYTHONPATH=${PROJECT_BINARY_DIR}/python"
      "VONK_EXTENSION=${PROJECT_BINARY_DIR}/lib/vonk.duckdb_extension")
    set_property(TEST ${folder}.${name} PROPERTY TIMEOUT 900) # the first of them makes the models
  endif()
  if(folder STREQUAL "hostile")
    set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT "PYTHONPATH=${PROJECT_BINARY_DIR}/python")
    set_property(TEST ${folder}.${name} PROPERTY TIMEOUT 900) # the first of them makes the models
  endif()
  if(folder STREQUAL "torch")
    set_property(TEST ${folder}.${name} PROPERTY TIMEOUT 900) # it makes its models, compiles some of them
  endif()
  if(folder STREQUAL "packing")
    set_property(TEST ${folder}.${name} PROPERTY SKIP_RETURN_CODE 5) # pytest's: the framework is not installed
  endif()
  if(folder STREQUAL "packing" AND VONK_SANITIZE)
    set_property(TEST ${folder}.${name} PROPERTY DISABLED TRUE) # whole frameworks in Python; tests/hostile looks at the C
  endif()
  if(folder STREQUAL "mixing")
    set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT "VONK_DEPS_DIR=${VONK_DEPS_DIR}")
    set_property(TEST ${folder}.${name} PROPERTY TIMEOUT 900) # many children, which load all frameworks
  endif()
  if(folder MATCHES "^duckdb")
    set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT
      "VONK_EXTENSION=${PROJECT_BINARY_DIR}/lib/vonk.duckdb_extension" "VONK_DEPS_DIR=${VONK_DEPS_DIR}")
    set_property(TEST ${folder}.${name} PROPERTY TIMEOUT 600) # on each release of DuckDB, one after the other
  endif()
  if(NOT folder STREQUAL "program" AND VONK_PRELOAD)
    # Leaks are those of the interpreter here; the C tests look for ours.
    set_property(TEST ${folder}.${name} APPEND PROPERTY ENVIRONMENT
      "LD_PRELOAD=${VONK_PRELOAD}" "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1")
  endif()
  if(NOT folder STREQUAL "program" AND VONK_SANITIZE MATCHES "thread")
    set_property(TEST ${folder}.${name} PROPERTY DISABLED TRUE) # the interpreter cannot run under this one
  endif()
endforeach()

# --- plug-ins against the interface's rules ---------------------------------------------------------------------------
if(TARGET vonk_cli)
  if(TARGET vonk_onnx)
    vonk_add_test(conformance.onnx vonk_cli plugins --conformance $<TARGET_FILE:vonk_onnx>)
  endif()
  # With models that tests/frameworks makes, each with the options that it needs.
  foreach(pair tensorflow=tensorflow torchscript=torch aoti=torch)
    string(REGEX MATCH "^(.*)=(.*)$" pair ${pair})
    set(maker ${CMAKE_MATCH_1})
    set(framework ${CMAKE_MATCH_2})
    set(name conformance.${maker})
    if(TARGET vonk_${framework} AND VONK_TEST_FRAMEWORKS MATCHES "${framework}")
      vonk_add_test(${name} ${VONK_PYTHON} ${PROJECT_SOURCE_DIR}/tests/frameworks/conformance.py ${maker}
                    $<TARGET_FILE:vonk_cli> $<TARGET_FILE:vonk_${framework}>)
      set_property(TEST ${name} PROPERTY TIMEOUT 900)
      set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "VONK_TEST_SANITIZE=${VONK_SANITIZE}")
    endif()
  endforeach()
endif()

# --- examples: the plug-in built like ours, the embedding program built by a stranger against an installation -----
file(GLOB VONK_EXAMPLE_PLUGIN CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/plugin/*.c)
# A plug-in's file is named after it: examples/plugin/linear.c is the plug-in "linear", vonk_linear.so.
add_custom_target(vonk_example_plugins)
foreach(source IN LISTS VONK_EXAMPLE_PLUGIN)
  get_filename_component(name ${source} NAME_WE)
  vonk_add_plugin(vonk_${name} ${PROJECT_BINARY_DIR}/examples ${source})
  add_dependencies(vonk_example_plugins vonk_${name})
  if(TARGET vonk_cli)
    vonk_add_test(conformance.example_${name} vonk_cli plugins --conformance $<TARGET_FILE:vonk_${name}>)
  endif()
endforeach()
file(GLOB VONK_EXAMPLE_EMBED CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/embed/*.c)
if(VONK_EXAMPLE_EMBED AND TARGET vonk_shared AND TARGET vonk_onnx AND NOT VONK_SANITIZE AND NOT VONK_COVERAGE)
  vonk_add_test(install.embed ${PROJECT_SOURCE_DIR}/tools/test_install.sh ${PROJECT_BINARY_DIR})
  set_property(TEST install.embed APPEND PROPERTY ENVIRONMENT "CC=${CMAKE_C_COMPILER}" "CMAKE=${CMAKE_COMMAND}")
endif()
