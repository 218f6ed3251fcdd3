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
ctest --preset asan || status=1
ctest --preset dev --label-exclude once || status=1 # "once": what the sanitized build has just run whole

# Two lanes side by side: a Spark cluster of two cores waits more than it works. Spark's classic session and its Connect
# client exclude each other, so each suite is a process of its own.
# (A shell ignores SIGINT in what it starts with "&", and our tests send it.)
suite() { env --default-signal=INT python -m pytest -q "$@" || echo failed >>build/failed; }
rm -f build/failed
{
  suite tests/spark --ignore=tests/spark/connect
  suite tests/spark/connect
} >build/spark.log 2>&1 &
suite tests/tools tests/python tests/predict
suite tests/sparkext
suite tests/notebooks
echo "the tests of Spark, which ran beside those:"
wait
cat build/spark.log
[ ! -e build/failed ] || status=1
exit $status
