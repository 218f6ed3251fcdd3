#!/bin/sh
# Rewrites C, C++ and Python sources in the house format.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
git ls-files -z --cached --others --exclude-standard -- '*.c' '*.h' '*.cc' | xargs -0 -r clang-format -i
ruff format -q .
ruff check -q --fix .
