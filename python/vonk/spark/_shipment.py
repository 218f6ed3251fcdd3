"""Bringing a model to the workers: one file, named by its digest, that Spark copies once to each executor.

How it works: whatever the user gives becomes one local file on the driver, ``<digest>-<name>``, and is added to the
session's files. A worker opens its copy with the digest pinned.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pyspark.sql import SparkSession

import vonk
from vonk.spark import _memory, _session
from vonk.spark._spec import Options, Source

Answer = TypeVar("Answer")

#: What was added to which session's files.
_sent: set[tuple[Hashable, str]] = set()


@dataclass(frozen=True)
class Shipment:
    """A model that workers can open.

    Attributes
    ----------
    source
        What travels in a function: plain data.
    path
        The one file on the driver; None with a loader.
    """

    source: Source
    path: Path | None

    def send(self, spark: SparkSession) -> None:
        """Adds the file to the session's files, unless it is there: before each use, for the session may be new."""
        name = self.source.file
        if name is None or self.path is None or Path(name).is_absolute():
            return
        key = _session.files_key(spark), name
        if key not in _sent:
            _session.add_file(spark, self.path)
            _sent.add(key)

    def ask(self, spark: SparkSession, question: Callable[[vonk.Model], Answer]) -> Answer:
        """The answer of a function to the open model: here on the driver; with a loader in one small job, and once.

        The function and its answer are pickled in that case: a function of a module, or a partial of one.
        """
        with self.open() as model:
            return question(model)

    def open(self) -> vonk.Model:
        """Opens it here, on the driver."""
        assert self.path is not None
        return vonk.open(self.path, **dict(self.source.options))  # type: ignore[arg-type]


def ship(
    spark: SparkSession,
    model: Any,
    options: Options,
    *,
    loader: Callable[..., Any] | None = None,
    pack: dict[str, Any] | None = None,
) -> Shipment:
    """Brings a model to one file and adds it to the session's files; one that is there already is not sent again.

    Parameters
    ----------
    spark
        The session.
    model
        A path, a URI, or a live model; with a loader its argument.
    options
        Of ``vonk.open``.
    loader
        Called on the workers instead: gives a path there, or a live model.
    pack
        Arguments of ``vonk.pack`` for what has to be packed first.

    Raises
    ------
    vonk.Error
        The model cannot be opened.
    """
    path = Path(os.path.abspath(os.fspath(model)))  # noqa: PTH100 - a path of the driver's folder, links kept
    with vonk.open(path, **dict(options)) as opened:  # type: ignore[arg-type]
        digest = opened.sha256
    staged = staging() / f"{digest[:16]}-{path.name}"
    if not staged.exists():
        shutil.copyfile(path, staged)
    source = Source(path.name, staged.name, digest, options=options, memory=_bound(spark))
    shipment = Shipment(source, staged)
    shipment.send(spark)
    return shipment


def _bound(spark: SparkSession) -> int | None:
    text = _session.setting(spark, _memory.SETTING)
    return None if text is None else _memory.parse(text, _memory.SETTING)


@cache
def staging() -> Path:
    """A private folder of this process for what is shipped; gone with it."""
    folder = Path(tempfile.mkdtemp(prefix="vonk-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
