"""Small things that the frameworks' modules share."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import vonk

#: Keywords that functions take besides those of old: most are those of ``vonk.spark.model_udf``.
KEYWORDS = (
    "input_shape", "trust", "outputs", "return_type", "nulls", "on_error", "as_", "squeeze", "pack", "spark",
    "device", "plugin", "signature", "threads_per_run", "allow_native_code",
)  # fmt: skip


def batched(rows: Any, batch_size: int) -> Iterator[Any]:
    """Parts of a DataFrame, list or array, in order, of so many rows; the last may be shorter.

    Parameters
    ----------
    rows
        Anything that has a length and slices.
    batch_size
        Below 1, or not below the number of rows: all rows at once.
    """
    step = batch_size if 0 < batch_size < len(rows) else max(1, len(rows))
    cut = rows.iloc if hasattr(rows, "iloc") else rows
    for first in range(0, max(1, len(rows)), step):
        yield cut[first : first + step]


def chosen(keywords: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Keywords that ``vonk.spark.model_udf`` and ``vonk.open`` know; the others are left out, with a warning.

    The old functions took any keyword and used none.
    """
    unknown = sorted(set(keywords) - set(KEYWORDS))
    if unknown:
        warnings.warn(
            f"{where}: {', '.join(unknown)}: not known, and left out: it takes {', '.join(KEYWORDS)}",
            stacklevel=4,
        )
    return {name: value for name, value in keywords.items() if name in KEYWORDS}


def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def needs(package: str, where: str) -> Iterator[None]:
    """Says which framework is missing, if something fails and it is.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        yield
    except (vonk.Error, ImportError) as error:
        if is_installed(package) or isinstance(error, vonk.FileError | vonk.InvalidError):
            raise
        raise ImportError(
            f"{where}: {package} cannot be imported: pip install {package}, here and on the workers: {error}",
            name=package,
        ) from error
