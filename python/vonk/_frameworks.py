"""The frameworks of this interpreter's environment.

How it works: a process may hold only one copy of TensorFlow, and of PyTorch. If vonk loaded the copy that set-up
recorded, a later ``import torch`` of another one would end the process. So the library is told, before it first needs a
framework, where this interpreter would import it from. Nothing is imported for that, and what is loaded already or
named by ``VONK_TORCH_LIBRARY`` and its kin still comes first.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from vonk import _core

#: Package (also the name by which the library knows it) to its library in the package's folder.
_LIBRARIES = {
    "onnxruntime": "capi/libonnxruntime.so.*",
    "tensorflow": "libtensorflow_cc.so.*",
    "torch": "lib/libtorch_cpu.so",
}

_lock = threading.Lock()
_told_for: tuple[str, ...] | None = None


def tell() -> None:
    """Tells the library where this interpreter would import frameworks from; again when ``sys.path`` has changed."""
    global _told_for  # noqa: PLW0603 - of the process, as what is told
    path = tuple(sys.path)
    with _lock:
        if _told_for == path:
            return
        for name in _LIBRARIES:
            library = find(name)
            if library is not None:
                _core.set_framework(name, os.fspath(library))
        _told_for = path


def find(name: str) -> Path | None:
    """The library of a framework in the environment of this interpreter.

    Parameters
    ----------
    name
        ``"onnxruntime"``, ``"tensorflow"`` or ``"torch"``.

    Returns
    -------
    Path or None
        Absolute; None if the package is not installed here, or has no such library.
    """
    for folder in _folders(name):
        found = sorted(folder.glob(_LIBRARIES[name]))
        if found:
            return found[-1].absolute()
    return None


def _folders(name: str) -> Iterator[Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # a module of that name without a place, as tests make them
        return
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(folder)
