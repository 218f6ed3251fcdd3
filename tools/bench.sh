#!/bin/sh
# Builds the benchmarks in release mode and runs them: bench/run.py when there is one, else every program in turn.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH

cmake --preset release >build/release.log 2>&1 || { cat build/release.log; exit 1; }
cmake --build --preset release
if [ -f bench/run.py ]; then
  exec python bench/run.py "$@"
fi
for program in build/release/bench/*; do
  [ -x "$program" ] || continue
  echo "== ${program##*/}"
  "$program"
done
