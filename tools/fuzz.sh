#!/bin/sh
# usage: tools/fuzz.sh SECONDS [TARGET...]: runs libFuzzer on each target. New inputs go to build/fuzz/corpus, the
# committed ones in fuzz/corpus seed it; a crash leaves its input in build/fuzz/ and ends with a failure.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
seconds=$1
shift

cmake --preset fuzz >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
cmake --build --preset fuzz
[ $# -gt 0 ] || set -- $(cd build/fuzz/fuzz && ls)
status=0
for target in "$@"; do
  found=build/fuzz/corpus/$target
  mkdir -p "$found"
  seeds=fuzz/corpus/${target#fuzz_}
  [ -d "$seeds" ] || seeds=fuzz/corpus/$target
  [ -d "$seeds" ] || seeds=""
  echo "== $target, $seconds s"
  build/fuzz/fuzz/"$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/"$target"- "$found" $seeds || status=1
done
exit $status
