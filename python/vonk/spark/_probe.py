"""Asking a model that only workers have, in one small job.

How it works: a query of one row runs a function that opens the model on a worker, as any task would, and gives the
pickled answer, or the pickled error, back as a binary value. The model stays open in that worker.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow
from pyspark import cloudpickle
from pyspark.sql import SparkSession

import vonk
from vonk.spark._byname import by_name
from vonk.spark._spec import Source


def ask(spark: SparkSession, source: Source, question: Callable[[vonk.Model], Any]) -> Any:
    """What a function says of the open model, on one of the workers.

    Raises
    ------
    vonk.Error
        The model cannot be opened there, or what the function raised.
    """
    payload = cloudpickle.dumps((asdict(source), question))
    answer = by_name(source.title, "vonk.spark._probe", "respond", payload)
    rows = spark.range(0, 1, 1, 1).mapInArrow(answer, "answer binary").collect()
    value = pickle.loads(rows[0].answer)
    if isinstance(value, vonk.Error):
        raise value
    return value


def respond(payload: bytes) -> Callable[[Iterator[pyarrow.RecordBatch]], Iterator[pyarrow.RecordBatch]]:
    """On a worker: the function that opens the model and puts the question."""
    return partial(_respond, payload)


def _respond(payload: bytes, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
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
