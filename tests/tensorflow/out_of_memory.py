"""Opens and runs models while the n-th allocation of the plug-in fails, for n = 1, 2, ... until nothing fails.

`python out_of_memory.py PLUGIN LIBRARY MODEL...` prints how many calls failed and how many models came through.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abi import BYTES, DTYPES, NOMEM, Model, Plugin, PluginError, Session


def zeros(model: Model) -> list[NDArray[Any]]:
    """Two rows for each input."""
    arrays = []
    for io in model.inputs:
        shape = [2 if n < 0 else n for n in io.shape or []]
        arrays.append(np.full(shape, b"text", object) if io.dtype == BYTES else np.zeros(shape, DTYPES[io.dtype]))
    return arrays


def attempt(plugin: Plugin, path: str, n: int) -> bool:
    """Whether everything worked although (or because) the n-th allocation was to fail."""
    before = plugin.n_held
    options = {"signature": "string"} if "/dtypes/" in path else {}
    model: Model | None = None
    session: Session | None = None
    plugin.fail_at = n
    try:
        model = plugin.open(path, **options)
        session = model.session()
        session.run(*zeros(model))
        return plugin.fail_at > 0
    except PluginError as error:
        assert error.code == NOMEM and "out of memory" in str(error), str(error)
        return False
    finally:
        plugin.fail_at = 0
        if session is not None:
            session.close()
        if model is not None:
            model.close()
        assert plugin.n_held == before, f"{path}: allocation {n} failed, and {plugin.n_held - before} blocks leaked"


def main() -> None:
    plugin = Plugin(sys.argv[1], {"tensorflow": sys.argv[2]})
    plugin.runtime()
    failed, opened = 0, 0
    for path in sys.argv[3:]:
        n = 1
        while not attempt(plugin, path, n):
            failed += 1
            # the dtype model has hundreds of functions, each with tables of its own: the first and last are enough
            n += 1 if n < 60 else 7
        opened += 1
    print(failed, opened)


if __name__ == "__main__":
    main()
