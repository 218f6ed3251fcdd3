#!/bin/sh
# First half of set-up: the system's packages. The second half, tools/setup.py, runs in Python.
#
# A package is asked for only when what we need of it is missing (a compiler counts, whoever installed it). As root, or
# with password-less sudo, the missing ones are installed; otherwise the one command to run is printed and we stop.
#
# usage: tools/setup.sh STAGE...     (see tools/setup.py --help)
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { # need PACKAGE COMMAND...: PACKAGE is missing unless COMMAND succeeds
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
java_is_new() { # Spark 4 needs Java 17
  version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 17 ]
}
has_file() { for path in "$@"; do [ -e "$path" ] && return 0; done; return 1; }

need gcc cc --version
need g++ c++ --version
need libc6-dev has_file /usr/include/stdlib.h
need pkg-config pkg-config --version
need python3 python3 -c 'import sys; assert sys.version_info >= (3, 10)'
need python3-venv python3 -c 'import ensurepip, venv'
need python3-dev python3 -c 'import os, sysconfig as s; assert os.path.exists(s.get_path("include") + "/Python.h")'
need npm npm --version
need zlib1g-dev has_file /usr/lib/*/libz.a /usr/lib/libz.a
case " $* " in *" test "*) need libcmocka-dev pkg-config --exists cmocka ;; esac
case " $* " in *" test "*) need strace strace -V ;; esac
case " $* " in *" check "*) need abigail-tools abidw --version ;; esac
case " $* " in *" check "*) need git git --version ;; esac
case " $* " in *" fuzz "*) need clang clang --version ;; esac

# Java for the extra "spark", asked for now or by a former set-up. Where the default Java is older, 17 is there beside it.
extras=" $(echo "${EXTRAS:-}" | tr 'A-Z,' 'a-z ') $(tr '\n' ' ' 2>/dev/null <.venv/.extras || :) "
case "$extras" in
*" none "*) ;;
*" spark "* | *" all "*)
  if apt-cache depends default-jre-headless 2>/dev/null | grep -q 'openjdk-\(8\|11\)-'; then
    need openjdk-17-jre-headless java_is_new
  else
    need default-jre-headless java_is_new
  fi
  ;;
esac

if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ]; then
    as_root=""
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
  else
    as_root="no"
  fi
  if [ "$as_root" = no ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: these packages are missing:$missing" >&2
    echo "setup: please run this once, then the same make command again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
  fi
  echo "setup: installing$missing"
  install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -qq"
  # The package lists may be absent or stale (a fresh container): refresh them only when the first try fails.
  # shellcheck disable=SC2086
  if ! $install $missing >/dev/null 2>&1; then
    $as_root apt-get update -qq
    $install $missing >/dev/null
  fi
fi
case "$missing" in
*jre*)
  if ! java_is_new; then
    echo "setup: ${JAVA_HOME:+$JAVA_HOME/bin/}java: is not Java 17 or later, although such a one was installed:" \
      "set JAVA_HOME to it, or 'sudo update-alternatives --config java'" >&2
    exit 1
  fi
  ;;
esac

exec python3 tools/setup.py "$@"
