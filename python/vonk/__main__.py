"""``python -m vonk pack ...``: the one command of the ``vonk`` program that runs in Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code."""
    if not arguments or arguments[0] != "pack":
        print("vonk: in Python there is 'python -m vonk pack SRC -o NAME.vonk'; for all else: vonk", file=sys.stderr)
        return 2
    try:
        from vonk.packing import _command  # noqa: PLC0415 - needs NumPy
    except ImportError as error:
        print(f"vonk pack: {error}: pip install {error.name or 'numpy'}", file=sys.stderr)
        return 1
    return _command.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
