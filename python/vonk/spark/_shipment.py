"""Bringing a model to the workers: one file, named by its digest, that Spark copies once to each executor.

How it works: whatever the user gives becomes one local file on the driver, ``<sha256>-<name>``, and is added to the
session's files. A worker opens its copy with the digest pinned.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

import vonk
from vonk.spark._spec import Options, Source


@dataclass(frozen=True)
class Shipment:
    """A model that workers can open, and its file on the driver."""

    source: Source
    path: Path

    def open(self) -> vonk.Model:
        """Opens it here, on the driver, for its signature."""
        return vonk.open(self.path, **dict(self.source.options))  # type: ignore[arg-type]


def ship(spark: SparkSession, model: Any, options: Options) -> Shipment:
    """Adds the model to the session's files; a model that is there already is not sent again.

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
    spark.sparkContext.addFile(os.fspath(staged))
    return Shipment(Source(path.name, staged.name, digest, options=options), staged)


@cache
def staging() -> Path:
    """A private folder of this process for what is shipped; gone with it."""
    folder = Path(tempfile.mkdtemp(prefix="vonk-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
