"""Packs the models of standard input, one JSON object a line, and prints what was said: `pack_all.py FOLDER`.

One process for all, since importing the frameworks takes longer than all the models together; `warm` in an object says
that it is a good model, which makes the process load its framework before anything is looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import vonk  # noqa: E402
from tracing import mark  # noqa: E402
from vonk.packing import PackError  # noqa: E402


def main(folder: Path) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        target = folder / f"{asked['name']}.vonk"
        mark(asked["name"])
        answer = {"name": asked["name"], "code": "OK", "message": ""}
        try:
            vonk.pack(asked["path"], target, **asked["request"])
        except PackError as failure:
            answer |= {"code": "PackError", "message": str(failure)}
        except BaseException as failure:
            answer |= {"code": type(failure).__name__, "message": str(failure)}
        mark("between")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
