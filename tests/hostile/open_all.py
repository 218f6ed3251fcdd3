"""Opens the models of standard input, one JSON object a line, and prints what was said: `open_all.py`.

A process of its own, since one crash must not hide the others. What opens is also run on a few rows of zeros, and
tested if it has a self-test. VONK_LIBRARY names the library.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "predict")]

from capi import Model, VonkError  # noqa: E402
from tracing import mark  # noqa: E402


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        mark(asked["name"])
        answer = {"name": asked["name"], "code": "OK", "message": ""}
        try:
            model = Model(asked["path"], **asked["options"])
            del model
        except VonkError as failure:
            answer |= {"code": failure.code, "message": failure.message}
        mark("between")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
