"""Opens every path of standard input with a plug-in, and prints one JSON line for each as it goes.

`python open_all.py PLUGIN KEY=LIBRARY [memory]`: a process of its own, so that a crash is one line too few. "memory"
gives the plug-in the files' bytes instead. A model that opens is also run on a few rows of zeros where its inputs allow
that.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from abi import BYTES, DTYPES, Plugin, PluginError


def main() -> None:
    key, _, library = sys.argv[2].partition("=")
    plugin = Plugin(sys.argv[1], {key: library})
    if sys.argv[3:] == ["memory"]:
        plugin = plugin.in_memory()
    for line in sys.stdin:
        path = line.rstrip("\n")
        answer: dict[str, object] = {"path": path, "status": 0}
        try:
            model = plugin.open(path)
            if all(io.shape is not None and io.dtype != BYTES for io in model.inputs):
                shapes = [[2 if n < 0 else n for n in io.shape or []] for io in model.inputs]
                if all(np.prod(shape, dtype=object) < 10**6 for shape in shapes):
                    session = model.session()
                    session.run(*[np.zeros(s, DTYPES[io.dtype]) for s, io in zip(shapes, model.inputs, strict=True)])
                    session.close()
            model.close()
        except PluginError as failure:
            answer |= {"status": failure.status, "message": str(failure)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
