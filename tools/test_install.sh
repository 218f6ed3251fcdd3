#!/bin/sh
# usage: tools/test_install.sh BUILD-FOLDER
# Installs a build, moves the installation (it must not depend on where it was made), and does what a stranger would:
# builds examples/embed/*.c once through pkg-config and once through find_package(vonk), and runs them.
set -eu
cd "$(dirname "$0")/.."
source=$PWD
build=$1
cmake=${CMAKE:-cmake}
model=$source/examples/mnist/mnist.onnx
stage=$build/stage

rm -rf "$stage"
mkdir -p "$stage"
"$cmake" --install "$build" --prefix "$stage/first" >"$stage/install.log"
mv "$stage/first" "$stage/moved"
prefix=$stage/moved
for file in lib/libvonk.so include/vonk/vonk.h lib/pkgconfig/vonk.pc lib/cmake/vonk/vonkConfig.cmake \
  lib/vonk/plugins/vonk_onnx.so bin/vonk share/man/man1/vonk.1; do
  [ -e "$prefix/$file" ] || { echo "not installed: $file" >&2; exit 1; }
done
plugins_of() { (cd "$1/lib/vonk/plugins" && find . -name '*.so' | sort); }
[ "$(plugins_of "$prefix")" = "$(plugins_of "$build")" ] || {
  echo "installed plug-ins: $(plugins_of "$prefix"): expected $(plugins_of "$build")" >&2
  exit 1
}
cp "$build/lib/vonk/paths.conf" "$prefix/lib/vonk/paths.conf" # what set-up does

cd "$stage" # an embedding program knows nothing of our folders
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
LD_LIBRARY_PATH=$prefix/lib
export PKG_CONFIG_PATH LD_LIBRARY_PATH
[ "$(pkg-config --modversion vonk)" = "$("$prefix/bin/vonk" --version | awk 'NR == 1 { print $2 }')" ] || {
  echo "pkg-config and 'vonk --version' name different versions" >&2
  exit 1
}
"$prefix/bin/vonk" inspect "$model"
"$prefix/bin/vonk" plugins >plugins.txt
recorded=$(grep -cE '^(onnxruntime|tensorflow|torch)=' "$prefix/lib/vonk/paths.conf")
usable=$(grep -cE '^  runtime +[0-9]' plugins.txt)
[ "$usable" = "$recorded" ] || {
  echo "of $recorded frameworks that paths.conf names, $usable can be used:" >&2
  cat plugins.txt >&2
  exit 1
}

mkdir -p pkgconfig consumer
{
  echo "cmake_minimum_required(VERSION 3.25)"
  echo "project(consumer C)"
  echo "find_package(vonk 0.1 REQUIRED)"
} >consumer/CMakeLists.txt
for file in "$source"/examples/embed/*.c; do
  name=$(basename "$file" .c)
  # shellcheck disable=SC2046
  "${CC:-cc}" -std=c11 -Wall -Wextra -Werror -o "pkgconfig/$name" "$file" $(pkg-config --cflags --libs vonk)
  echo "add_executable($name $file)" >>consumer/CMakeLists.txt
  echo "target_link_libraries($name PRIVATE vonk::vonk)" >>consumer/CMakeLists.txt
done
"$cmake" -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="${CC:-cc}" >consumer.log
"$cmake" --build consumer/build >>consumer.log
for file in "$source"/examples/embed/*.c; do
  name=$(basename "$file" .c)
  "./pkgconfig/$name" "$model" >"$name.pkgconfig.txt"
  "consumer/build/$name" "$model" >"$name.cmake.txt"
  [ -s "$name.cmake.txt" ] || { echo "$name: printed nothing" >&2; exit 1; }
  cmp "$name.pkgconfig.txt" "$name.cmake.txt"
  cat "$name.cmake.txt"
done
