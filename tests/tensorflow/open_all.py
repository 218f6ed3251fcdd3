"""Opens every path of standard input with the plug-in, makes a session, and prints one JSON line for each as it goes.

`python open_all.py PLUGIN LIBRARY path|memory`: a process of its own, so that a crash is one line too few. A model that
opens is also run on a few rows of zeros where its inputs allow that.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from abi import BYTES, DTYPES, Plugin, PluginError


def main() -> None:
    plugin = Plugin(sys.argv[1], {"tensorflow": sys.argv[2]})
    if sys.argv[3] == "memory":
        plugin = plugin.in_memory()
    for line in sys.stdin:
        path = line.rstrip("\n")
        answer: dict[str, object] = {"path": path, "status": 0}
        options = {"signature": "text"} if "/asset_" in path or "/table_" in path else {}
        model = session = None
        try:
            model = plugin.open(path, **options)
            session = model.session()
            shapes = [[2 if n < 0 else n for n in io.shape or []] for io in model.inputs]
            if all(np.prod(shape, dtype=object) < 10**6 for shape in shapes):
                session.run(*[np.full(s, b"a", object) if io.dtype == BYTES else np.zeros(s, DTYPES[io.dtype])
                              for s, io in zip(shapes, model.inputs, strict=True)])  # fmt: skip
        except PluginError as failure:
            answer |= {"status": failure.status, "message": str(failure)}
        if session is not None:
            session.close()
        if model is not None:
            model.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
