#!/bin/sh
# Line and branch coverage of src/, plugins/, cli/ and engines/ by the C tests.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH

cmake --preset coverage >/dev/null
find build/coverage -name '*.gcda' -delete
cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete
ctest --preset coverage
mkdir -p build/coverage/report
gcovr --root . build/coverage --gcov-ignore-parse-errors=suspicious_hits.warn --filter src/ --filter plugins/ --filter cli/ --filter engines/ \
  --html-details build/coverage/report/index.html --print-summary
echo "report: build/coverage/report/index.html"
