"""Small models for the tests of model_udf, and what ONNX Runtime says of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "onnx"))
import models  # noqa: E402 - tests/onnx/models.py

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
MNIST = ROOT / "examples" / "mnist" / "mnist.onnx"
FLOWERS = numpy.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5], [7.7, 2.6, 6.9, 2.3]], "f4")


def run(path, **feeds):
    """The model's outputs, by name, as onnxruntime gives them."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def linear(width: int, element: int = TensorProto.FLOAT):
    """y [n, 2] = x [n, width] times 1, 2, 3, ... and times -1: whole numbers stay exact."""
    kind = {TensorProto.FLOAT: "f4", TensorProto.DOUBLE: "f8"}[element]
    weights = numpy.stack([numpy.arange(1, width + 1), -numpy.ones(width)], axis=1).astype(kind)
    return models.model(
        [models.node("MatMul", ["x", "w"], ["y"])],
        [models.value("x", ["n", width], element)],
        [models.value("y", ["n", 2], element)],
        {"w": weights},
    )


def sides():
    """sum [n] = the sum of image [n, 2, 3] + scale [n]; twice [n, 2, 3] = image + image."""
    return models.model(
        [
            models.node("ReduceSum", ["image", "axes"], ["total"], keepdims=0),
            models.node("Add", ["total", "scale"], ["sum"]),
            models.node("Add", ["image", "image"], ["twice"]),
        ],
        [models.value("image", ["n", 2, 3]), models.value("scale", ["n"])],
        [models.value("sum", ["n"]), models.value("twice", ["n", 2, 3])],
        {"axes": numpy.array([1, 2], "i8")},
    )


def trap():
    """y [n, 2] = linear(x [n, 4]); t [n] = a table of ten at k [n]: ONNX Runtime fails on a k outside it."""
    model = linear(4)
    model.graph.node.append(models.node("Gather", ["table", "k"], ["t"]))
    model.graph.input.append(models.value("k", ["n"], TensorProto.INT64))
    model.graph.output.append(models.value("t", ["n"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(numpy.arange(10, dtype="f4") * 1.5, "table"))
    return model


def identity(element: int, shape):
    return models.identity(element, ["n", *shape])


def column(rows, name):
    """A column of collected rows as an array."""
    return numpy.array([row[name] for row in rows])
