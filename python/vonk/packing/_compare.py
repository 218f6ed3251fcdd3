"""The bundle's predictions against the original's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vonk
from vonk.packing._plan import Array, PackError, Port
from vonk.packing._samples import Samples

#: Rows of the runs, besides all of them.
_BATCHES = (1, 7)


def difference(found: Array, expected: Array) -> float:
    """The largest ``|found - expected| / max(1, |expected|)``; infinite if anything but floats differs.

    NaN equals NaN, and an infinity one of the same sign.
    """
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if _texts(found) == _texts(expected) else float("inf")
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.abs(a - b) / np.maximum(1.0, np.abs(b))
    away = np.where(same, 0.0, np.where(np.isfinite(away), away, np.inf))
    return float(away.max(initial=0.0))


def compare(bundle: Path, samples: Sequence[Samples], outputs: Sequence[Port], options: Mapping[str, Any]) -> float:
    """Opens the bundle as users do and predicts the samples, in several batch sizes.

    Returns
    -------
    float
        The largest difference from the original, over all outputs.

    Raises
    ------
    PackError
        The bundle cannot be opened, or fails for rows that the original takes.
    """
    try:
        with vonk.open(bundle, **options) as model:
            return max(_one(model, rows, n, outputs) for rows in samples for n in _sizes(rows.rows))
    except PackError:
        raise
    except vonk.Error as error:
        raise PackError(_without(str(error), bundle), error.code) from error


def verify(bundle: Path, options: Mapping[str, Any], *, has_selftest: bool) -> None:
    """That the finished file opens and passes its own self-test."""
    try:
        with vonk.open(bundle, **options) as model:
            if has_selftest:
                model.selftest()
    except vonk.Error as error:
        raise PackError(_without(str(error), bundle), error.code) from error


def _sizes(rows: int) -> list[int]:
    return sorted({min(n, rows) for n in (*_BATCHES, rows)})


def _one(model: vonk.Model, samples: Samples, n: int, outputs: Sequence[Port]) -> float:
    found = model.predict({name: array[:n] for name, array in samples.inputs.items()})
    found = found if isinstance(found, Mapping) else {outputs[0].name: found}
    return max(difference(np.asarray(found[port.name]), samples.outputs[port.name][:n]) for port in outputs)


def _texts(array: Array) -> list[object]:
    """Values to compare; bytes as text."""
    values = array.reshape(-1).tolist()
    return [value.decode(errors="surrogateescape") if isinstance(value, bytes) else value for value in values]


def _without(message: str, bundle: Path) -> str:
    """A message about the temporary file, without its name."""
    return message.replace(f"{os.fspath(bundle)}: ", "")
