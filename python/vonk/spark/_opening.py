"""Opening a model on a worker: a file that Spark brought, a file that every node has, or what a loader gives."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from pyspark import SparkFiles

import vonk
from vonk.spark._spec import Source


class Opening:
    """A model about to be opened: its size on disk is known first, so that room can be made for it.

    Attributes
    ----------
    nbytes
        Of its file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._path = locate(source)
        self.nbytes = _file_bytes(self._path)

    def __enter__(self) -> Opening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def open(self) -> vonk.Model:
        """Opens it.

        Raises
        ------
        vonk.Error
            It is not the one that the driver saw, or cannot be opened here.
        """
        pin = f"#sha256={self._source.sha256}" if self._source.sha256 else ""
        return vonk.open(f"{self._path}{pin}", **dict(self._source.options))  # type: ignore[arg-type]


def locate(source: Source) -> str:
    """Where the model's file is on this node."""
    assert source.file is not None
    return source.file if Path(source.file).is_absolute() else SparkFiles.get(source.file)


def weight_bytes(model: vonk.Model) -> int:
    """Of an open model; the size of its file where the format does not say."""
    summary = model.summary()
    return summary.weight_bytes or summary.file_bytes


def _file_bytes(path: str) -> int:
    try:
        if Path(path).is_file():
            return Path(path).stat().st_size
        return sum(Path(top, name).stat().st_size for top, _, names in os.walk(path) for name in names)
    except OSError:
        return 0  # opening it says what is wrong
