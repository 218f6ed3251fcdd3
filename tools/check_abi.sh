#!/bin/sh
# Compares the plug-in interface in include/vonk/plugin.h with its recorded description, abi/plugin_v1.abi.
# usage: tools/check_abi.sh [--update | HEADER-FOLDER]
#
# How it works: a small shared object is compiled that uses every struct of the header and, because a compiler keeps no
# record of a constant nobody stores, declares for each enumerator an array of that many elements. abidw describes it,
# abidiff compares two descriptions. Only fields appended to a struct marked "grows" may be recorded after the freeze;
# anything else is a new interface (vonk_plugin_init_v2).
set -eu
cd "$(dirname "$0")/.."
recorded=abi/plugin_v1.abi
work=build/abi
include=include
update=no
case "${1:-}" in
  --update) update=yes ;;
  ?*) include=$1 ;;
esac
mkdir -p "$work"
python3 tools/abi_source.py "$include"/vonk/plugin.h >"$work"/plugin_v1.c
"${CC:-cc}" -std=c11 -g -gdwarf-4 -O0 -fPIC -shared -Wl,-soname,vonk_plugin_v1.so -I"$include" \
  -o "$work"/plugin_v1.so "$work"/plugin_v1.c

if [ $update = yes ]; then
  mkdir -p abi
  abidw --no-corpus-path --no-comp-dir-path --no-show-locs --short-locs --out-file "$recorded" "$work"/plugin_v1.so
  sed -i -E "s/ path='[^']*'//" "$recorded"
  echo "recorded $recorded"
  exit 0
fi
if ! abidiff --no-show-locs "$recorded" "$work"/plugin_v1.so; then
  echo "abi: include/vonk/plugin.h differs from $recorded, see above" >&2
  exit 1
fi
echo "abi: plug-in interface unchanged"
