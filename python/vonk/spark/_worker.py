"""What runs in Spark's Python workers: predicting batch by batch.

How it works: Spark calls :class:`Scorer` with one Arrow array per argument. Arrow memory goes to the C library as it
is and the predictions come back as Arrow memory; the interpreter's lock is released meanwhile.
"""

from __future__ import annotations

import time
from typing import Any

import pyarrow

from vonk.spark._cache import open_source
from vonk.spark._metrics import Meter
from vonk.spark._spec import Binding, Source


class Scorer:
    """The function of a UDF. Its arguments are Arrow arrays of one length, its result is one more."""

    def __init__(self, source: Source, binding: Binding, meter: Meter | None = None) -> None:
        self._source = source
        self._binding = binding
        self._meter = meter

    def __call__(self, *columns: pyarrow.Array) -> pyarrow.Array:
        model = open_source(self._source)
        rows = pyarrow.RecordBatch.from_arrays(list(columns), list(self._binding.columns))
        begin, before = time.perf_counter_ns(), model.stats
        predictions = _one_column(model.predict(rows, **self._binding.options()), self._binding)
        if self._meter is not None:
            self._meter.count(before, model.stats, time.perf_counter_ns() - begin)
        return predictions


def _one_column(predictions: Any, binding: Binding) -> pyarrow.Array:
    """One output as it is; several as a struct."""
    if predictions.num_columns == 1:
        return predictions.column(0)
    return pyarrow.StructArray.from_arrays(predictions.columns, fields=list(predictions.schema))
