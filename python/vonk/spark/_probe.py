"""Asking a model that only workers have, in one small job.

How it works: a query of one row runs a function that opens the model on a worker, as any task would, and gives the
pickled answer, or the pickled error, back as a binary value. The model stays open in that worker.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pyarrow
from pyspark import cloudpickle
from pyspark.sql import SparkSession

import vonk
from vonk.spark._spec import Source


def ask(spark: SparkSession, source: Source, question: Callable[[vonk.Model], Any]) -> Any:
    """What a function says of the open model, on one of the workers.

    Raises
    ------
    vonk.Error
        The model cannot be opened there, or what the function raised.
    """
    payload = cloudpickle.dumps((asdict(source), question))
    title = source.title

    def answer(batches):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - pickled by value: plain
        try:
            from vonk.spark._probe import respond  # noqa: PLC0415 - in the worker
        except ImportError as error:
            import sys  # noqa: PLC0415

            raise ImportError(
                f"{title}: vonk is not installed in the Python of this worker ({sys.executable}: {error}): install it"
                " on every node, or ship an environment (--archives): docs/spark.md"
            ) from None
        return respond(batches, payload)

    rows = spark.range(0, 1, 1, 1).mapInArrow(answer, "answer binary").collect()
    value = pickle.loads(rows[0].answer)
    if isinstance(value, vonk.Error):
        raise value
    return value


def respond(batches: Iterator[pyarrow.RecordBatch], payload: bytes) -> Iterator[pyarrow.RecordBatch]:
    """On a worker: opens the model, puts the question."""
    from vonk.spark._cache import lease  # noqa: PLC0415 - of workers

    given, question = pickle.loads(payload)
    for batch in batches:
        if batch.num_rows == 0:
            continue
        try:
            with lease(Source(**given)) as entry:
                value = question(entry.model)
        except vonk.Error as error:
            error.__cause__ = None
            value = error
        yield pyarrow.RecordBatch.from_arrays([pyarrow.array([pickle.dumps(value)], pyarrow.binary())], ["answer"])
