# The library, as objects (vonk_objects), static for our own programs and tests (vonk_core), and shared (libvonk.so);
# and the plug-ins, which see include/ and nothing else of ours.

file(GLOB VONK_SOURCES CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/src/base/*.c ${PROJECT_SOURCE_DIR}/src/arrow/*.c ${PROJECT_SOURCE_DIR}/src/plugin/*.c
  ${PROJECT_SOURCE_DIR}/src/bundle/*.c ${PROJECT_SOURCE_DIR}/src/model/*.c ${PROJECT_SOURCE_DIR}/src/predict/*.c)
file(GLOB VONK_PUBLIC_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/vonk/*.h)

find_package(Threads REQUIRED)

set(VONK_DEPS_DIR ${PROJECT_SOURCE_DIR}/build/deps CACHE PATH "What set-up downloaded")

# JSON, compiled in: set-up brings the source.
set(VONK_YYJSON_DIR ${VONK_DEPS_DIR}/yyjson CACHE PATH "Folder of yyjson.c and yyjson.h")
if(NOT EXISTS ${VONK_YYJSON_DIR}/yyjson.c)
  message(FATAL_ERROR "yyjson.c: not in ${VONK_YYJSON_DIR}: run 'make setup', or configure with -DVONK_YYJSON_DIR=...")
endif()
add_library(vonk_yyjson OBJECT ${VONK_YYJSON_DIR}/yyjson.c)
target_include_directories(vonk_yyjson SYSTEM PUBLIC ${VONK_YYJSON_DIR})
target_compile_options(vonk_yyjson PRIVATE -w)

if(VONK_SOURCES)
  add_library(vonk_objects OBJECT ${VONK_SOURCES})
  target_include_directories(vonk_objects
    PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(vonk_objects PRIVATE VONK_BUILDING VONK_VERSION="${PROJECT_VERSION}")
  target_include_directories(vonk_objects SYSTEM PRIVATE ${VONK_YYJSON_DIR})
  target_link_libraries(vonk_objects PRIVATE vonk_flags)

  add_library(vonk_core STATIC $<TARGET_OBJECTS:vonk_objects> $<TARGET_OBJECTS:vonk_yyjson>)
  target_include_directories(vonk_core PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(vonk_core PUBLIC Threads::Threads ${CMAKE_DL_LIBS} m)

  add_library(vonk_shared SHARED $<TARGET_OBJECTS:vonk_objects> $<TARGET_OBJECTS:vonk_yyjson>)
  set_target_properties(vonk_shared PROPERTIES OUTPUT_NAME vonk EXPORT_NAME vonk
                        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_include_directories(vonk_shared PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(vonk_shared PRIVATE vonk_shared_flags Threads::Threads ${CMAKE_DL_LIBS} m)
  vonk_export_only(vonk_shared ${PROJECT_SOURCE_DIR}/cmake/vonk.map)
  add_library(vonk::vonk ALIAS vonk_shared)
endif()

# vonk_add_plugin(target folder sources...): one module that exports the plug-in entry point.
function(vonk_add_plugin target folder)
  add_library(${target} MODULE ${ARGN})
  set_target_properties(${target} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${folder})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${target} PRIVATE vonk_shared_flags Threads::Threads ${CMAKE_DL_LIBS} m)
  vonk_export_only(${target} ${PROJECT_SOURCE_DIR}/cmake/plugin.map)
endfunction()

set(VONK_PLUGIN_FOLDER ${PROJECT_BINARY_DIR}/lib/vonk/plugins)

# vonk_add_framework_objects(name sources...): the inside of one of our plug-ins, as objects first, so that tests and fuzz
# targets reach its inner functions through the library vonk_<name>_core.
function(vonk_add_framework_objects name)
  add_library(vonk_${name}_objects OBJECT ${ARGN})
  target_include_directories(vonk_${name}_objects PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/plugins)
  target_compile_definitions(vonk_${name}_objects PRIVATE VONK_VERSION="${PROJECT_VERSION}")
  target_link_libraries(vonk_${name}_objects PRIVATE vonk_flags)
  add_library(vonk_${name}_core STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:vonk_${name}_objects>)
  target_include_directories(vonk_${name}_core PUBLIC ${PROJECT_SOURCE_DIR}/plugins)
  target_link_libraries(vonk_${name}_core PUBLIC Threads::Threads ${CMAKE_DL_LIBS} m)
endfunction()

# What our plug-ins share; compiled into each of them.
file(GLOB VONK_KIT_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/plugins/kit/*.c)
vonk_add_framework_objects(kit ${VONK_KIT_SOURCES})

# vonk_onnx.so, vonk_tensorflow.so and vonk_torch.so need none of the frameworks to be built. Each has a function
# vonk_plugin_init_v1, so a program may be linked to the inside of one of them only.
set(VONK_FRAMEWORK_PLUGINS "")
foreach(name onnx tensorflow torch)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/plugins/${name}/*.c)
  if(sources)
    vonk_add_framework_objects(${name} ${sources})
    target_link_libraries(vonk_${name}_core PUBLIC vonk_kit_core)
    vonk_add_plugin(vonk_${name} ${VONK_PLUGIN_FOLDER} $<TARGET_OBJECTS:vonk_${name}_objects>
                    $<TARGET_OBJECTS:vonk_kit_objects>)
    list(APPEND VONK_FRAMEWORK_PLUGINS vonk_${name})
  endif()
endforeach()

# Where the frameworks of this checkout are: found in .venv (set-up puts them there), told to the build tree the same
# way as to an installation.
set(VONK_ONNXRUNTIME "" CACHE FILEPATH "libonnxruntime for the build tree; empty: the one in .venv")
set(VONK_DUCKDB "" CACHE FILEPATH "libduckdb for the build tree; empty: the one set-up downloaded")
if(NOT VONK_ONNXRUNTIME)
  file(GLOB VONK_ONNXRUNTIME ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*)
endif()
if(NOT VONK_DUCKDB)
  file(GLOB VONK_DUCKDB ${VONK_DEPS_DIR}/duckdb/lib/libduckdb.so)
endif()
set(VONK_TENSORFLOW "" CACHE FILEPATH "libtensorflow_cc for the build tree; empty: the one in .venv")
set(VONK_TORCH "" CACHE FILEPATH "libtorch_cpu for the build tree; empty: the one in .venv")
if(NOT VONK_TENSORFLOW)
  file(GLOB VONK_TENSORFLOW ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/tensorflow/libtensorflow_cc.so.2)
endif()
if(NOT VONK_TORCH)
  file(GLOB VONK_TORCH ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch/lib/libtorch_cpu.so)
endif()
set(VONK_PATHS "# Frameworks found at configure time: name=absolute path.\n")
foreach(name onnxruntime tensorflow torch duckdb)
  string(TOUPPER ${name} variable)
  if(VONK_${variable})
    string(APPEND VONK_PATHS "${name}=${VONK_${variable}}\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/lib/vonk/paths.conf CONTENT "${VONK_PATHS}" @ONLY)
