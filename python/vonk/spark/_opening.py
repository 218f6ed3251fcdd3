"""Opening a model on a worker: a file that Spark brought, a file that every node has, or what a loader gives."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyspark import SparkFiles

import vonk
from vonk.spark import _loader
from vonk.spark._spec import Source

if TYPE_CHECKING:
    from vonk.spark._text_opening import TextOpening


def opening(source: Source) -> Opening | TextOpening:
    """What opens a source."""
    if source.kind is None:
        return Opening(source)
    from vonk.spark._text_opening import TextOpening  # noqa: PLC0415 - of workers with such models

    return TextOpening(source)


class Opening:
    """A model about to be opened: its size on disk is known first, so that room can be made for it.

    Attributes
    ----------
    nbytes
        Of its file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._options: dict[str, Any] = dict(source.options)
        self._work: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._path = self._load() if source.loader is not None else self._find()
            self.nbytes = _file_bytes(self._path)
        except BaseException:
            self._clean()
            raise

    def __enter__(self) -> Opening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    def open(self) -> vonk.Model:
        """Opens it.

        Raises
        ------
        vonk.Error
            It is not the one that the driver saw, or cannot be opened here.
        """
        pin = f"#sha256={self._source.sha256}" if self._source.sha256 else ""
        try:
            return vonk.open(f"{self._path}{pin}", **self._options)
        except vonk.Error as error:
            if self._source.loader is None:
                raise
            raise type(error)(
                f"model_loader {self._source.title}: {error.message}", error.code, error.row, error.native_code
            ) from None

    def weight_bytes(self, model: Any) -> int:
        """Of what it opened; the size of its file where the format does not say."""
        summary = model.summary()
        return summary.weight_bytes or summary.file_bytes or _file_bytes(Path(summary.path))

    def _find(self) -> Path:
        path = Path(locate(self._source))
        if not path.exists():
            is_everywhere = os.fspath(path) == self._source.file
            why = "'local:' says that every node has it" if is_everywhere else "Spark's copy of it was removed"
            raise vonk.FileError(f"model '{self._source.title}': {why}, but there is no '{path}' here", "VONK_IO")
        return path

    def _load(self) -> Path:
        self._work = tempfile.TemporaryDirectory(prefix="vonk-spark-")
        path, self._options = _loader.load(self._source, Path(self._work.name))
        return path

    def _clean(self) -> None:
        # What was packed here goes at once, for a worker's end is a signal: an open model keeps its mapped file.
        if self._work is not None:
            self._work.cleanup()


def locate(source: Source) -> str:
    """Where the model's file is on this node."""
    assert source.file is not None
    if Path(source.file).is_absolute():
        return source.file
    found = SparkFiles.get(source.file)
    # Once a classic session has artifacts, its workers look into a folder inside the one with the context's files.
    above = Path(SparkFiles.getRootDirectory()).parent / source.file
    return os.fspath(above) if not Path(found).exists() and above.exists() else found


def _file_bytes(path: Path) -> int:
    try:
        if path.is_file():
            return path.stat().st_size
        return sum(Path(top, name).stat().st_size for top, _, names in os.walk(path) for name in names)
    except OSError:
        return 0  # opening it says what is wrong
