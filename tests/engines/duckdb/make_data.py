"""The models and data that the .test files use, and what ONNX Runtime itself predicts from them.

`python make_data.py FOLDER` writes FOLDER/models/*.onnx and *.vonk, FOLDER/digits.parquet and FOLDER/flowers.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "onnx"))
from models import gather, identity, model, node, value  # noqa: E402

sys.path.insert(0, str(ROOT / "tests" / "bundle"))
from bundle_files import onnx_bundle  # noqa: E402

F32, I64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DIGITS = 5000
FLOWERS = 150
SPECIES = ["setosa", "versicolor", "virginica"]


def times(factor: float, width: int = 3) -> onnx.ModelProto:
    """y = factor * x, a row of width numbers."""
    return model(
        [node("Mul", ["x", "factor"], ["y"])],
        [value("x", ["N", width])],
        [value("y", ["N", width])],
        {"factor": np.array(factor, np.float32)},
    )


def house() -> onnx.ModelProto:
    """price = 1000 * area + 5000 * rooms: two inputs, a number per row each."""
    return model(
        [
            node("Cast", ["rooms"], ["n"], to=F32),
            node("Mul", ["n", "per_room"], ["for_rooms"]),
            node("Mul", ["area", "per_metre"], ["for_area"]),
            node("Add", ["for_area", "for_rooms"], ["price"]),
        ],
        [value("area", ["N"]), value("rooms", ["N"], I64)],
        [value("price", ["N"])],
        {"per_room": np.array(5000, np.float32), "per_metre": np.array(1000, np.float32)},
    )


def stats() -> onnx.ModelProto:
    """total = the sum of a row of any length, doubled = 2 * the row: two outputs."""
    return model(
        [node("ReduceSum", ["x", "axis"], ["total"], keepdims=0), node("Add", ["x", "x"], ["doubled"])],
        [value("x", ["N", "length"])],
        [value("total", ["N"]), value("doubled", ["N", "length"])],
        {"axis": np.array([1], np.int64)},
    )


def transpose() -> onnx.ModelProto:
    """A matrix of 2 by 3 per row, and back comes one of 3 by 2."""
    return model(
        [node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], [value("x", ["N", 2, 3])], [value("y", ["N", 3, 2])]
    )


def species() -> onnx.ModelProto:
    """0, 1, 2 -> the names of iris's species, anything else -> 'unknown'."""
    encode = helper.make_node(
        "LabelEncoder",
        ["number"],
        ["name"],
        domain="ai.onnx.ml",
        keys_int64s=[0, 1, 2],
        values_strings=SPECIES,
        default_string="unknown",
    )
    return model([encode], [value("number", ["N"], I64)], [value("name", ["N"], STRING)])


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "double": lambda: times(2),
    "triple": lambda: times(3),
    "wide": lambda: times(2, width=4),
    "column": lambda: times(10, width=1),
    "house": house,
    "stats": stats,
    "transpose": transpose,
    "species": species,
    "lookup": gather,
    "words": lambda: identity(STRING, ["N"]),
    "half": lambda: identity(TensorProto.FLOAT16, ["N", 2]),
}


def write_bundles(folder: Path) -> None:
    """digit.vonk: the digit network with its numbers' names, pixels from 0 to 1; bytes.vonk: the same, from 0 to 255.

    weather.vonk: two outputs of three numbers, of which scores, half of x, has labels. plain.vonk has none.
    """
    mnist = onnx.load(ROOT / "examples" / "mnist" / "mnist.onnx")
    output = mnist.graph.output[0].name
    onnx_bundle(folder / "digit.vonk", mnist, {output: NUMBERS})
    scaled = [{"op": "rescale", "input": mnist.graph.input[0].name, "scale": 1 / 255}]
    onnx_bundle(folder / "bytes.vonk", mnist, {output: NUMBERS}, preprocess=scaled)
    two = model(
        [node("Add", ["x", "x"], ["doubled"]), node("Mul", ["x", "half"], ["scores"])],
        [value("x", ["N", 3])],
        [value("doubled", ["N", 3]), value("scores", ["N", 3])],
        {"half": np.array(0.5, np.float32)},
    )
    onnx_bundle(folder / "weather.vonk", two, {"scores": ["sun", "rain", "snow"]})
    onnx_bundle(folder / "plain.vonk", two)


def run(path: Path, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    """What ONNX Runtime says, by itself and on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    results: list[NDArray[Any]] = onnxruntime.InferenceSession(str(path), options).run(None, feeds)
    return results


def lists(array: NDArray[Any]) -> pa.Array:
    """A list column of a matrix's rows."""
    n, width = array.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * width), pa.array(array.ravel()))


def write_digits(folder: Path) -> None:
    """Drawings of a few strokes: id, pixels, and the network's probabilities and digit. One row group."""
    rng = np.random.default_rng(4)
    images = np.zeros((DIGITS, 28, 28), np.float32)
    for image in images:
        for _ in range(rng.integers(2, 6)):
            y, x = rng.integers(4, 20, 2)
            height, width = (rng.integers(2, 4), rng.integers(4, 9))[:: rng.choice([1, -1])]
            image[y : y + height, x : x + width] = rng.uniform(0.5, 1.0)
    pixels = images.reshape(DIGITS, 784)
    probabilities = run(ROOT / "examples" / "mnist" / "mnist.onnx", pixels=pixels)[0]
    table = pa.table(
        {
            "id": pa.array(np.arange(DIGITS)),
            "pixels": lists(pixels),
            "probabilities": lists(probabilities),
            "digit": pa.array(probabilities.argmax(axis=1)),
        }
    )
    pyarrow.parquet.write_table(table, folder / "digits.parquet", row_group_size=DIGITS)


def write_flowers(folder: Path) -> None:
    """Four measurements, and the classifier's probabilities and species."""
    rng = np.random.default_rng(5)
    measurements = rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (FLOWERS, 4)).round(1).astype(np.float32)
    probabilities, names = run(ROOT / "examples" / "iris" / "iris.onnx", measurements=measurements)
    columns: dict[str, Any] = {"id": np.arange(FLOWERS)}
    for i, name in enumerate(["sepal_length", "sepal_width", "petal_length", "petal_width"]):
        columns[name] = measurements[:, i].astype(np.float64).round(1)
    columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(SPECIES)}
    columns["species"] = [str(name) for name in names]
    pyarrow.csv.write_csv(pa.table(columns), folder / "flowers.csv")


def main(folder: Path) -> None:
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        (folder / "models" / f"{name}.onnx").write_bytes(make().SerializeToString(deterministic=True))
    (folder / "models" / "broken.onnx").write_bytes(b"this is no model")
    write_bundles(folder / "models")
    write_digits(folder)
    write_flowers(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
