# Compiler and linker flags of everything we build: the interface targets vonk_warnings, vonk_flags, vonk_shared_flags.

add_library(vonk_warnings INTERFACE)
target_compile_options(vonk_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wundef -Wvla -Wformat=2
  -Wwrite-strings -Wdouble-promotion -Wnull-dereference -Wimplicit-fallthrough
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  $<$<OR:$<COMPILE_LANG_AND_ID:C,GNU>,$<COMPILE_LANG_AND_ID:CXX,GNU>>:-Wduplicated-cond>
  $<$<OR:$<COMPILE_LANG_AND_ID:C,GNU>,$<COMPILE_LANG_AND_ID:CXX,GNU>>:-Wlogical-op>)
if(VONK_SANITIZE) # gcc warns of what its own instrumentation adds; the other presets keep these two
  target_compile_options(vonk_warnings INTERFACE
    -Wno-null-dereference $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
if(VONK_WERROR)
  target_compile_options(vonk_warnings INTERFACE -Werror)
endif()

# What every object gets. -Wl,-z,defs finds a missing symbol at link time, not in a user's process; sanitizers keep
# their run-time library out of shared objects, so there it cannot be asked for.
add_library(vonk_flags INTERFACE)
target_link_libraries(vonk_flags INTERFACE vonk_warnings)
target_link_options(vonk_flags INTERFACE -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(vonk_flags INTERFACE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(VONK_SANITIZE)
  target_compile_options(vonk_flags INTERFACE
    -fsanitize=${VONK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(vonk_flags INTERFACE -fsanitize=${VONK_SANITIZE})
endif()
if(VONK_COVERAGE)
  target_compile_options(vonk_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(vonk_flags INTERFACE --coverage)
endif()

# What a shared object gets besides: nothing of it is unloaded, nothing of its static libraries shows.
add_library(vonk_shared_flags INTERFACE)
target_link_libraries(vonk_shared_flags INTERFACE vonk_flags)
target_link_options(vonk_shared_flags INTERFACE -Wl,-z,nodelete -Wl,--exclude-libs,ALL)
if(NOT VONK_SANITIZE AND NOT VONK_FUZZ)
  target_link_options(vonk_shared_flags INTERFACE -Wl,-z,defs)
endif()
# An inline static of C++ becomes a process-wide unique symbol otherwise, in spite of RTLD_LOCAL.
target_compile_options(vonk_shared_flags INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique> $<$<COMPILE_LANGUAGE:CXX>:-fvisibility-inlines-hidden>)

# vonk_export_only(target map-file): exports what the version script names and nothing else.
function(vonk_export_only target map)
  target_link_options(${target} PRIVATE -Wl,--version-script=${map})
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${map})
endfunction()
