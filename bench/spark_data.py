"""Rows and models of bench/spark.py, made once in build/bench-spark.

The digits are MNIST's, as set-up brings them; all else is random with a fixed seed. Row groups hold 1,250 rows, those
of 784 columns half the file, so that two executors find work in one file.

    python bench/spark_data.py    (makes the Keras model; a process of its own, for Keras is slow to import and large)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from program import ROOT

FOLDER = ROOT / "build" / "bench-spark"
DIGITS = ROOT / "examples" / "mnist" / "mnist.onnx"
KERAS = FOLDER / "digit.keras"
WIDTH, GROUP = 784, 1250
SCALARS = tuple(f"f{i}" for i in range(10))
PIXELS = tuple(f"p{i}" for i in range(WIDTH))
WORDS = tuple(f"category_{i:03d}" for i in range(200))

Frame = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """A Parquet file or folder: its name, how many rows, and what the model should be given for them."""

    name: str
    rows: int
    make: Callable[[int], tuple[pa.Table, Frame]]
    copies: int = 1
    group: int = GROUP

    def path(self) -> Path:
        """The file, written now if it is missing."""
        path = FOLDER / f"{self.name}-{self.rows}.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            table, _ = self.make(self.rows // self.copies)
            partial = path.with_suffix(".partial")
            with pq.ParquetWriter(partial, table.schema) as writer:
                for _ in range(self.copies):
                    writer.write_table(table, row_group_size=self.group)
            partial.rename(path)
        return path


def pixels(rows: int) -> NDArray[np.float32]:
    """Training digits, float32 [rows, 784], 0 (paper) to 1 (ink)."""
    file = ROOT / "build" / "deps" / "mnist" / "train-images-idx3-ubyte"
    found = np.fromfile(file, dtype=np.uint8, offset=16, count=rows * WIDTH)
    return found.reshape(rows, WIDTH).astype(np.float32) / np.float32(255)


def make_arrays(rows: int) -> tuple[pa.Table, Frame]:
    values = pixels(rows)
    offsets = pa.array(np.arange(0, (rows + 1) * WIDTH, WIDTH, dtype=np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
    return pa.table({"id": pa.array(np.arange(rows)), "x": lists}), values


def make_binary(rows: int) -> tuple[pa.Table, Frame]:
    values = pixels(rows)
    raw = pa.array([row.tobytes() for row in values], pa.binary())
    return pa.table({"id": pa.array(np.arange(rows)), "x": raw}), values


def make_columns(rows: int) -> tuple[pa.Table, Frame]:
    values = pixels(rows)
    table = {"id": pa.array(np.arange(rows))} | {name: pa.array(values[:, i]) for i, name in enumerate(PIXELS)}
    return pa.table(table), values


def make_scalars(rows: int) -> tuple[pa.Table, Frame]:
    values = np.random.default_rng(1).random((rows, len(SCALARS)), dtype=np.float32)
    table = {"id": pa.array(np.arange(rows))} | {name: pa.array(values[:, i]) for i, name in enumerate(SCALARS)}
    return pa.table(table), values


def make_strings(rows: int) -> tuple[pa.Table, Frame]:
    chosen = np.array(WORDS, dtype=object)[np.random.default_rng(1).integers(0, len(WORDS), rows)]
    return pa.table({"id": pa.array(np.arange(rows)), "x": pa.array(chosen, pa.string())}), chosen


def scalar_model() -> Path:
    """A network 10-32-1 with ReLU: ten numbers in, one out."""
    rng = np.random.default_rng(2)
    weights = {
        "w1": rng.standard_normal((len(SCALARS), 32)), "b1": rng.standard_normal(32),
        "w2": rng.standard_normal((32, 1)), "b2": rng.standard_normal(1),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["h2"]),
        helper.make_node("Gemm", ["h2", "w2", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scalars",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", len(SCALARS)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return _save(graph, "scalars.onnx")


def string_model() -> Path:
    """The number of a word: a LabelEncoder, strings [rows] to int64 [rows]."""
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=list(WORDS),
        values_int64s=list(range(len(WORDS))), default_int64=-1,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "strings",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["N"])],
    )
    return _save(graph, "strings.onnx")


def _save(graph: onnx.GraphProto, name: str) -> Path:
    path = FOLDER / name
    if not path.exists():
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
    return path


def keras_model() -> Path:
    """The network of DIGITS with its weights, as Keras stores it."""
    if not KERAS.exists():
        subprocess.run([sys.executable, __file__], check=True)
    return KERAS


def save_keras() -> None:
    import keras  # noqa: PLC0415

    weights = [numpy_helper.to_array(one) for one in onnx.load(DIGITS).graph.initializer]
    network = keras.models.load_model(ROOT / "examples" / "mnist" / "digit.keras")
    network.set_weights(weights)
    network.save(KERAS)


if __name__ == "__main__":
    save_keras()
