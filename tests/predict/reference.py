"""What the predict tests share: ONNX models, onnxruntime as the independent reference, Arrow columns from NumPy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "onnx"))

import models  # tests/onnx/models.py

Array = NDArray[Any]

#: vonk's dtype -> NumPy's and Arrow's; bfloat16 is in neither
NUMPY = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f16": np.float16, "f32": np.float32, "f64": np.float64, "string": np.object_,
}  # fmt: skip
ARROW = {
    "bool": pa.bool_(), "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(),
    "u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(),
    "f16": pa.float16(), "f32": pa.float32(), "f64": pa.float64(), "string": pa.string(),
}  # fmt: skip


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def run(path: Path, **feeds: Array) -> list[Array]:
    """The model's outputs as onnxruntime gives them, single-threaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, feeds)]


def sample(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Values of a dtype that hit its ends: the extremes, zeros, NaN and infinity for floats, then random ones."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    values: Array
    if dtype == "string":
        words = ["", "a", "vonk", "é", "日本語", "x" * 40]
        values = np.array([words[i] for i in rng.integers(0, len(words), n)], dtype=object)
    elif dtype == "bool":
        values = rng.integers(0, 2, n).astype(np.bool_)
    elif dtype.startswith("f"):
        edges = [0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, np.finfo(NUMPY[dtype]).max]
        values = np.resize(np.concatenate([edges, rng.standard_normal(n) * 100]), n).astype(NUMPY[dtype])
    else:
        ends = np.iinfo(NUMPY[dtype])
        values = rng.integers(ends.min, ends.max, n, dtype=NUMPY[dtype], endpoint=True)
        values[: min(n, 2)] = [ends.min, ends.max][: min(n, 2)]
    return values.reshape(shape)


def flat_array(values: Array, type_: pa.DataType | None = None) -> pa.Array:
    return pa.array(values.reshape(-1).tolist() if values.dtype == object else values.reshape(-1), type=type_)


def nested(values: Array, *, fixed: bool = False, type_: pa.DataType | None = None) -> pa.Array:
    """[rows, a, b...] as one list level per dimension after the rows."""
    array = flat_array(values, type_)
    for d in range(values.ndim - 1, 0, -1):
        lists = int(np.prod(values.shape[:d]))
        if fixed:
            array = pa.FixedSizeListArray.from_arrays(array, values.shape[d])
        else:
            offsets = np.arange(lists + 1, dtype=np.int32) * np.int32(values.shape[d])
            array = pa.ListArray.from_arrays(offsets, array)
    return array


def rows_of(values: Array, layout: str, type_: pa.DataType | None = None) -> pa.Array:
    """[rows, n] as a column of lists in one of Arrow's list layouts."""
    n_rows, n = values.shape
    items = flat_array(values, type_)
    starts = np.arange(n_rows + 1) * n
    if layout == "fixed":
        return pa.FixedSizeListArray.from_arrays(items, n)
    if layout == "list":
        return pa.ListArray.from_arrays(starts.astype(np.int32), items)
    if layout == "large_list":
        return pa.LargeListArray.from_arrays(starts.astype(np.int64), items)
    sizes = np.full(n_rows, n)
    if layout == "list_view":
        return pa.ListViewArray.from_arrays(starts[:-1].astype(np.int32), sizes.astype(np.int32), items)
    assert layout == "large_list_view", layout
    return pa.LargeListViewArray.from_arrays(starts[:-1].astype(np.int64), sizes.astype(np.int64), items)


LAYOUTS = ("list", "large_list", "fixed", "list_view", "large_list_view")


def batch(**columns: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def values_of(array: pa.Array) -> Array:
    """A result column without NULLs as [rows, a, b...]; its lists must be even."""
    dims = [len(array)]
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
        dims.append(len(array) // int(np.prod(dims)) if np.prod(dims) > 0 else 0)
    assert array.null_count == 0
    if pa.types.is_string(array.type):
        return np.array(array.to_pylist(), dtype=object).reshape(dims)
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(dims)


def assert_equal(found: Array, expected: Array, what: str = "") -> None:
    """Same dtype, shape and bits (a NaN is a NaN, 0 is not -0)."""
    assert found.dtype == expected.dtype, f"{what}: dtype {found.dtype}, expected {expected.dtype}"
    np.testing.assert_array_equal(found, expected, err_msg=what, strict=True)
    if found.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected), err_msg=f"{what}: sign")


__all__ = [
    "ARROW", "LAYOUTS", "NUMPY", "Array", "assert_equal", "batch", "flat_array", "models", "nested", "rows_of",
    "run", "sample", "save", "values_of",
]  # fmt: skip
