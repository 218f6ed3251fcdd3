"""What Spark's Python workers run for bench/spark.py: each way of calling a model but vonk's, written with care.

Workers import this module by name, so a session of ONNX Runtime is opened once per worker process and shared by tasks.
Runs take 256 rows at a time, at which this network is fastest, and one thread: there is one task per core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

RUN = 256
OUTPUTS = 10


@cache
def session(model: str) -> Any:
    """ONNX Runtime over the model, one thread."""
    import onnxruntime as ort  # noqa: PLC0415 - on the worker, when it is needed

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: str, values: NDArray[Any]) -> NDArray[Any]:
    """The model's first output for rows, 256 at a time."""
    opened = session(model)
    name = opened.get_inputs()[0].name
    parts = [opened.run(None, {name: values[i : i + RUN]})[0] for i in range(0, len(values), RUN)]
    return np.concatenate(parts) if parts else np.empty((0, OUTPUTS), np.float32)


def as_lists(values: NDArray[np.float32]) -> pa.Array:
    """Rows [rows, n] as list<float>, no copy of the numbers."""
    rows, width = values.shape
    offsets = pa.array(np.arange(0, (rows + 1) * width, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))


def as_result(values: NDArray[Any]) -> pa.Array:
    """Lists for [rows, n] with n > 1, else numbers."""
    return as_lists(values) if values.ndim == 2 and values.shape[1] > 1 else pa.array(values.ravel())


def as_matrix(column: pa.Array) -> NDArray[Any]:
    """A list or binary column of one width as float32 [rows, width], strings as objects."""
    if pa.types.is_string(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_binary(column.type):
        offsets = np.frombuffer(column.buffers()[1], np.int32)
        raw = np.frombuffer(column.buffers()[2], np.uint8)[
            offsets[column.offset] : offsets[column.offset + len(column)]
        ]
        return raw.view(np.float32).reshape(len(column), -1)
    return np.asarray(column.flatten().to_numpy()).reshape(len(column), -1)


# --- functions of Arrow arrays ---


def arrow_nothing(column: pa.Array) -> pa.Array:
    """Reads nothing, gives as much as the model does."""
    return as_lists(np.zeros((len(column), OUTPUTS), np.float32))


def arrow_ort(model: str) -> Callable[..., pa.Array]:
    def predict(*columns: pa.Array) -> pa.Array:
        if len(columns) == 1:
            return as_result(run(model, as_matrix(columns[0])))
        return as_result(run(model, np.stack([np.asarray(column.to_numpy()) for column in columns], axis=1)))

    return predict


def map_nothing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_arrays([batch.column("id"), arrow_nothing(batch.column("x"))], ["id", "y"])


def map_ort(model: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            predictions = as_result(run(model, as_matrix(batch.column("x"))))
            yield pa.RecordBatch.from_arrays([batch.column("id"), predictions], ["id", "y"])

    return predict


# --- functions of pandas series ---


def as_series(values: NDArray[Any]) -> Any:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    return pd.Series(list(values))


def pandas_nothing(column: Any) -> Any:
    return as_series(np.zeros((len(column), OUTPUTS), np.float32))


def pandas_ort(model: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def predict(batches: Iterator[Any]) -> Iterator[Any]:
        for column in batches:
            yield as_series(run(model, np.stack(column.to_numpy())))

    return predict


# --- what predict_batch_udf calls, with 1,000 rows at most ---

Predict = Callable[..., NDArray[Any]]


def batch_ort(model: str) -> Callable[[], Predict]:
    def make() -> Predict:
        opened = session(model)
        name = opened.get_inputs()[0].name

        def predict(values: NDArray[Any]) -> NDArray[Any]:
            found: NDArray[Any] = opened.run(None, {name: values})[0]
            return found

        return predict

    return make


def batch_keras_predict(model: str) -> Callable[[], Predict]:
    def make() -> Predict:
        import keras  # noqa: PLC0415

        opened = keras.models.load_model(model)

        def predict(values: NDArray[np.float32]) -> NDArray[Any]:
            found: NDArray[Any] = opened.predict(values, verbose=0)
            return found

        return predict

    return make


def batch_keras_call(model: str) -> Callable[[], Predict]:
    def make() -> Predict:
        import keras  # noqa: PLC0415

        opened = keras.models.load_model(model)

        def predict(values: NDArray[np.float32]) -> NDArray[Any]:
            return np.asarray(opened(values))

        return predict

    return make
