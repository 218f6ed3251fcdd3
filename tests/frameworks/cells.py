"""The cells of the dtype table: how each framework's identity of a dtype and shape is opened and fed.

UNSUPPORTED is the data of docs/dtypes.md: what cannot be done, and the error that says so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import pyarrow as pa
import zoo

sys.path.insert(0, str(nets.ROOT / "tests" / "predict"))

from capi import Model, Predictor, VonkError

MAKERS = tuple(zoo.PACKAGES)
TITLES = {"onnx": "ONNX", "tensorflow": "TensorFlow", "torchscript": "TorchScript", "aoti": "AOTInductor"}

#: (maker, dtype) -> the error on opening such a model, behind its path; "" = there can be no such model
UNSUPPORTED: dict[tuple[str, str], str] = {
    ("torchscript", "string"): "input 'x' is string: PyTorch has no such tensors",
    ("aoti", "string"): "",
}

#: vonk's dtype -> the Arrow type that comes out, and that goes in without a conversion (bf16: Arrow has no such type)
ARROW = {
    "bool": pa.bool_(), "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(),
    "u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(),
    "f16": pa.float16(), "bf16": pa.float32(), "f32": pa.float32(), "f64": pa.float64(), "string": pa.string(),
}  # fmt: skip


class Cell:
    """One framework's identity y = x of a dtype and shape."""

    def __init__(self, maker: str, dtype: str, shape: str) -> None:
        self.maker, self.dtype, self.shape = maker, dtype, shape
        self.names = ["x"]
        folder = zoo.models(maker)
        dims = ",".join(map(str, nets.SHAPES[shape]))
        if maker == "onnx":
            self.path, self.options = folder / f"{dtype}_{shape}.onnx", {}
        elif maker == "tensorflow":
            self.path, self.options = folder / "dtypes", {"signature": f"{dtype}_{shape}"}
        elif maker == "torchscript":
            tensor = f"{dtype}[{dims}]"
            self.path, self.options = folder / "identity.pt", {"inputs": f"x:{tensor}", "outputs": f"y:{tensor}"}
        else:
            self.path, self.options = folder / "identities.pt2", {"allow_native_code": "1"}
            shapes = [name for name in nets.SHAPES if name != "fixed"]
            if shape == "fixed":
                self.path, shapes = folder / "fixed.pt2", ["fixed"]
            dtypes = [name for name in nets.DTYPES if name != "string"]
            self.names = [f"{d}_{s}" for d in dtypes for s in shapes]
        self.index = self.names.index(f"{dtype}_{shape}") if maker == "aoti" else 0

    def __str__(self) -> str:
        return f"{self.maker} {self.dtype} {self.shape}"

    def open(self) -> Model:
        return Model(self.path, **self.options)

    def rows(self, rows: int = nets.ROWS, nulls: tuple[int, ...] = ()) -> pa.RecordBatch:
        """The sample of this cell with NULL in some rows, and whatever else the model wants."""
        columns = []
        for i, name in enumerate(self.names):
            dtype, shape = (self.dtype, self.shape) if name == "x" else name.split("_")
            values = nets.sample(dtype, shape)[:rows]
            columns.append(column(values, ARROW[dtype], nulls if i == self.index else ()))
        # by position: what an AOTInductor package calls its inputs does not matter here
        names = ["x"] if self.maker != "aoti" else [f"column{i}" for i in range(len(self.names))]
        return pa.RecordBatch.from_arrays(columns, names=names)

    def expected(self) -> Any:
        """What the framework says in Python, for all rows of the sample."""
        shape = "vector" if self.shape == "fixed" else self.shape
        return zoo.results(self.maker)[f"{self.dtype}_{shape}"]

    def predict(self, rows: pa.RecordBatch, **options: Any) -> pa.Array:
        predictor = Predictor(shared_model(self), rows.schema, **options)
        return predictor(rows).column(self.index)


_models: dict[tuple[Path, str], Model] = {}


def shared_model(cell: Cell) -> Model:
    """The model, opened once: vonk shares it anyway, but closes it with its last user."""
    key = cell.path, str(cell.options)
    if key not in _models:
        _models[key] = cell.open()
    return _models[key]


def column(values: Any, type_: pa.DataType, nulls: tuple[int, ...] = ()) -> pa.Array:
    """[rows, a, b...] as one list level per dimension after the rows, NULL in some rows."""
    flat = values.reshape(-1)
    array = pa.array(flat.tolist() if flat.dtype.kind == "U" else flat, type=type_)
    for d in range(values.ndim - 1, 0, -1):
        lists = int(np.prod(values.shape[:d]))
        array = pa.ListArray.from_arrays(np.arange(lists + 1, dtype=np.int32) * np.int32(values.shape[d]), array)
    if nulls:
        index = [None if i in nulls else i for i in range(len(values))]
        array = array.take(pa.array(index, pa.int64()))
    return array


def values_of(array: pa.Array, shape: str) -> Any:
    """A result without NULLs as [rows, ...]."""
    assert array.null_count == 0
    rows = len(array)
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    dims = (rows, *nets.SHAPES[shape][1:])
    if pa.types.is_string(array.type):
        return np.array(array.to_pylist(), dtype=np.str_).reshape(dims)
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(dims)


def same_bits(found: Any, expected: Any, what: str) -> None:
    """The same dtype, shape and bits, the payload of a NaN included; prints both where they differ."""
    if expected.dtype.kind == "U":
        assert found.tolist() == expected.tolist(), what
        return
    assert found.dtype == expected.dtype, f"{what}: dtype {found.dtype}, expected {expected.dtype}"
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    size = found.dtype.itemsize
    a = np.ascontiguousarray(found).reshape(-1).view(np.uint8).reshape(-1, size)
    b = np.ascontiguousarray(expected).reshape(-1).view(np.uint8).reshape(-1, size)
    wrong = np.flatnonzero((a != b).any(axis=1))
    assert len(wrong) == 0, (
        f"{what}: element {wrong[0]} is {found.reshape(-1)[wrong[0]]!r}, expected {expected.reshape(-1)[wrong[0]]!r}"
    )


__all__ = [
    "ARROW", "MAKERS", "TITLES", "UNSUPPORTED", "Cell", "Model", "Predictor", "VonkError", "column", "same_bits",
    "shared_model", "values_of",
]  # fmt: skip
