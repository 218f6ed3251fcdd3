#!/bin/sh
# All static checks. Each is run even when an earlier one failed; the last line says which did.
set -u
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
failed=""
check() { # check NAME COMMAND...
  name=$1
  shift
  "$@" || failed="$failed $name"
}
format() {
  wrong=$(git ls-files -z --cached --others --exclude-standard -- '*.c' '*.h' '*.cc' |
    xargs -0 -r clang-format --dry-run 2>&1 | sed -n 's/: *warning: code should be clang-formatted.*//p' |
    cut -d: -f1 | sort -u)
  if [ -n "$wrong" ]; then
    echo "clang-format: these files are not in the house format, 'make format' rewrites them:" >&2
    echo "$wrong" >&2
    return 1
  fi
  echo "clang-format: clean"
}
build() {
  cmake --preset dev >build/dev.log 2>&1 || { cat build/dev.log; return 1; }
  cmake --build --preset dev
}

check files python tools/check_files.py
check layers python tools/check_layers.py
check clang-format format
check ruff ruff check .
check ruff-format ruff format --check .
check mypy mypy python tools bench examples/mnist
check mypy-iris mypy examples/iris
check mypy-notebooks env MYPYPATH=examples/mnist mypy notebooks
check build build
check symbols python tools/check_symbols.py build/dev
check abi tools/check_abi.sh
check clang-tidy python tools/tidy.py build/dev

if [ -n "$failed" ]; then
  echo "check: failed:$failed" >&2
  exit 1
fi
echo "check: all static checks passed"
