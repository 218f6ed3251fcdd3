"""What runs in Spark's Python workers: opening a model once, and predicting batch by batch.

How it works: Spark calls :class:`Scorer` with one Arrow array per argument. Arrow memory goes to the C library as it
is and the predictions come back as Arrow memory; the interpreter's lock is released meanwhile. Models are kept in this
process as long as it lives, by :attr:`Source.key`, so tasks, jobs and reruns of a cell share them.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pyarrow
from pyspark import SparkFiles, TaskContext

import vonk
from vonk.spark._spec import Binding, Source

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


class Scorer:
    """The function of a UDF. Its arguments are Arrow arrays of one length, its result is one more."""

    def __init__(self, source: Source, binding: Binding) -> None:
        self._source = source
        self._binding = binding

    def __call__(self, *columns: pyarrow.Array) -> pyarrow.Array:
        model = open_source(self._source)
        rows = pyarrow.RecordBatch.from_arrays(list(columns), list(self._binding.columns))
        return _one_column(model.predict(rows, **self._binding.options()), self._binding)


def _one_column(predictions: Any, binding: Binding) -> pyarrow.Array:
    """One output as it is; several as a struct."""
    if predictions.num_columns == 1:
        return predictions.column(0)
    return pyarrow.StructArray.from_arrays(predictions.columns, fields=list(predictions.schema))
