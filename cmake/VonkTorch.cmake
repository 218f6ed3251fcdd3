# What the PyTorch plug-in needs besides the kit: zlib, for PyTorch's files are zip archives. Linked statically, like all
# libraries of ours.
find_path(VONK_ZLIB_INCLUDE_DIR zlib.h REQUIRED)
find_library(VONK_ZLIB_LIBRARY NAMES libz.a REQUIRED)
target_include_directories(vonk_torch_objects SYSTEM PRIVATE ${VONK_ZLIB_INCLUDE_DIR})
target_link_libraries(vonk_torch_core PUBLIC ${VONK_ZLIB_LIBRARY})
target_link_libraries(vonk_torch PRIVATE ${VONK_ZLIB_LIBRARY})

# The TorchScript half of the PyTorch plug-in: C++, tied to one minor version of PyTorch, built where VONK_TORCH is
# one with its headers, as in its wheel. It is linked to PyTorch's libraries by SONAME alone and has no search path: the
# plug-in has loaded them when it loads this.

set(VONK_TORCH_HEADER "")
if(VONK_TORCH)
  get_filename_component(VONK_TORCH_LIB ${VONK_TORCH} DIRECTORY)
  get_filename_component(VONK_TORCH_ROOT ${VONK_TORCH_LIB} DIRECTORY)
  set(VONK_TORCH_HEADER ${VONK_TORCH_ROOT}/include/torch/headeronly/version.h)
endif()
if(VONK_TORCH_HEADER AND EXISTS "${VONK_TORCH_HEADER}" AND EXISTS "${VONK_TORCH_LIB}/libc10.so")
  file(STRINGS ${VONK_TORCH_HEADER} lines REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" VONK_TORCH_MINOR "${lines}")
  add_library(vonk_torchscript MODULE ${PROJECT_SOURCE_DIR}/plugins/torch/script/script.cc)
  set_target_properties(vonk_torchscript PROPERTIES
    PREFIX "" OUTPUT_NAME vonk_torchscript-${VONK_TORCH_MINOR}
    LIBRARY_OUTPUT_DIRECTORY ${VONK_PLUGIN_FOLDER}/torch
    SKIP_BUILD_RPATH ON INSTALL_RPATH "")
  target_include_directories(vonk_torchscript PRIVATE ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(vonk_torchscript SYSTEM PRIVATE
    ${VONK_TORCH_ROOT}/include ${VONK_TORCH_ROOT}/include/torch/csrc/api/include)
  # Wheels since 2.7 use the C++11 strings. vptr checks would need PyTorch's type information.
  target_compile_definitions(vonk_torchscript PRIVATE _GLIBCXX_USE_CXX11_ABI=1)
  if(VONK_SANITIZE)
    target_compile_options(vonk_torchscript PRIVATE -fno-sanitize=vptr)
  endif()
  # A file's own options come last: PyTorch's inline code is compiled into ours and would be warned of.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/plugins/torch/script/script.cc
                              PROPERTIES COMPILE_OPTIONS -Wno-null-dereference)
  target_link_libraries(vonk_torchscript PRIVATE vonk_shared_flags ${VONK_TORCH} ${VONK_TORCH_LIB}/libc10.so)
  vonk_export_only(vonk_torchscript ${PROJECT_SOURCE_DIR}/cmake/torchscript.map)
endif()
