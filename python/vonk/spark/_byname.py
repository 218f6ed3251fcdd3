"""Functions that Spark pickles whole, and that know of vonk by name only.

How it works: had such a function a reference to vonk's modules, a worker without vonk would fail while it unpickles,
and nothing could say what is missing. So it is defined inside another, which makes cloudpickle take it by value, holds
plain data, and imports what it names when it is first called, in each task.
"""

from __future__ import annotations

import pickle
import re
import zlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import vonk

#: Payloads above this are compressed: names of many columns shrink to a tenth.
_LARGE = 1000


def dump(*parts: Any) -> bytes:
    """Plain data as the payload of a function; :func:`load` gives the parts back."""
    plain = pickle.dumps(parts)
    return zlib.compress(plain) if len(plain) > _LARGE else plain


def load(payload: bytes) -> tuple[Any, ...]:
    """What was dumped."""
    parts: tuple[Any, ...] = pickle.loads(zlib.decompress(payload) if payload[:1] == b"x" else payload)
    return parts


def fields_given(spec: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their default."""
    return {field.name: value for field in fields(spec) if (value := getattr(spec, field.name)) != field.default}


def by_name(title: str, module: str, name: str, payload: bytes) -> Callable[..., Any]:
    """A function for workers: there, it is what ``module.name(payload)`` gives.

    Parameters
    ----------
    title
        Of the model, for messages.
    module, name
        Where the worker finds the function that makes it.
    payload
        What that function gets.
    """
    version = vonk.__version__
    made: list[Callable[..., Any]] = []

    def call(*columns, **named):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202 - Spark would read hints
        if not made:
            import importlib  # noqa: PLC0415 - in the worker
            import sys  # noqa: PLC0415

            try:
                found = importlib.import_module("vonk").__version__
                make = getattr(importlib.import_module(module), name) if found == version else None
            except ImportError as error:
                raise ImportError(
                    f"{title}: vonk is not installed in the Python of this worker ({sys.executable}: {error}): install"
                    " it on every node, or ship an environment (--archives); if it says 'failed to map', leave"
                    " spark.executor.pyspark.memory unset: docs/spark.md"
                ) from None
            if make is None:
                raise ImportError(
                    f"{title}: this worker ({sys.executable}) has vonk {found}, the driver {version}:"
                    " install the same on every node: docs/spark.md"
                )
            made.append(make(payload))
        return made[0](*columns, **named)

    call.__name__ = re.sub(r"\W+", "_", title.partition(".")[0]) or "predict"  # Spark names columns by it
    return call
