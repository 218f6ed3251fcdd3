#!/bin/sh
# Makes a shared object an extension of DuckDB: appends the 512 bytes that DuckDB reads before it loads one. Eight fields
# of 32 bytes, the last field first: three unused ones, the kind of interface, our version, the version of the interface
# we need, the platform, and the footer's own version "4"; then room for a signature, zeros where there is none.
#
# usage: append_footer.sh FILE PLATFORM VERSION
set -eu
file=$1 platform=$2 version=$3

zeros() { head -c "$1" /dev/zero; }
field() { # field TEXT: 32 bytes
  printf '%s' "$1"
  zeros $((32 - ${#1}))
}
{
  zeros 96
  field C_STRUCT
  field "v$version"
  field v1.2.0
  field "$platform"
  field 4
  zeros 256
} >>"$file"
