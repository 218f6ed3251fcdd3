"""Models that are open in this worker process.

How it works: a worker lives as long as Spark reuses it, and models are kept in it by :attr:`Source.key`: tasks, jobs
and reruns of a cell share them.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from pathlib import Path

from pyspark import SparkFiles, TaskContext

import vonk
from vonk.spark._spec import Source

_models: dict[Hashable, vonk.Model] = {}
_lock = threading.Lock()


def open_source(source: Source) -> vonk.Model:
    """The model, opened once per process.

    Raises
    ------
    vonk.Error
        The file is missing here, or not the one that the driver saw.
    """
    with _lock:
        model = _models.get(source.key)
        if model is None:
            context = TaskContext.get()
            if context is not None:
                vonk.set_threads(max(1, context.cpus()))
            model = vonk.open(f"{locate(source)}#sha256={source.sha256}", **dict(source.options))  # type: ignore[arg-type]
            _models[source.key] = model
        return model


def locate(source: Source) -> str:
    """Where the model's file is on this node."""
    assert source.file is not None
    return source.file if Path(source.file).is_absolute() else SparkFiles.get(source.file)
