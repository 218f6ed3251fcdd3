#!/bin/sh
# Runs all tests and ends with the runners' own summaries. Everything is built first and every suite is run even when an
# earlier one failed, so that one run shows all there is to fix.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH

for preset in dev asan; do
  cmake --preset "$preset" >build/"$preset".log 2>&1 || { cat build/"$preset".log; exit 1; }
  cmake --build --preset "$preset"
done

status=0
JDK_JAVA_OPTIONS="${JDK_JAVA_OPTIONS:+$JDK_JAVA_OPTIONS }$(python tools/jvm_options.py build/deps/jvm)"
export JDK_JAVA_OPTIONS
ctest --preset asan || status=1
ctest --preset dev || status=1
python -m pytest -q tests/tools tests/python tests/predict || status=1
# In processes of their own: Spark's classic session and its Connect client exclude each other.
python -m pytest -q tests/spark --ignore=tests/spark/connect || status=1
python -m pytest -q tests/spark/connect || status=1
python -m pytest -q tests/sparkext || status=1
python -m pytest -q tests/notebooks || status=1
exit $status
