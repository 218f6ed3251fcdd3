"""Opens and runs models while the n-th allocation of the plug-in fails, for n = 1, 2, ... until nothing fails.

`python out_of_memory.py PLUGIN FRAMEWORK=LIBRARY MODEL[?OPTION=VALUE]...` prints how many calls failed and how many
models came through.
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


def attempt(plugin: Plugin, path: str, options: dict[str, str], n: int) -> bool:
    """Whether everything worked although (or because) the n-th allocation was to fail."""
    before = plugin.n_held
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
    plugin = Plugin(sys.argv[1], dict([sys.argv[2].split("=", 1)]))
    plugin.runtime()
    failed, opened = 0, 0
    for argument in sys.argv[3:]:
        path, _, option = argument.partition("?")
        options = dict([option.split("=", 1)]) if option else {}
        n = 1
        while not attempt(plugin, path, options, n):
            failed += 1
            # large models have hundreds of functions with tables of their own: the first and then some are enough
            n += 1 if n < 100 else 7
        opened += 1
    print(failed, opened)


if __name__ == "__main__":
    main()
