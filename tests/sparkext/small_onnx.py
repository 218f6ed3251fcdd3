"""Small ONNX models for the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import onnx

sys.path.append(str(Path(__file__).resolve().parents[1] / "onnx"))
import models


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def weighted(weights, twice=False):
    """y [n, 1] = x [n, N] times the weights; if asked for, twice [n, 1] = 2 y."""
    nodes = [models.node("MatMul", ["x", "w"], ["y"])]
    outputs = [models.value("y", ["n", 1])]
    if twice:
        nodes.append(models.node("Add", ["y", "y"], ["twice"]))
        outputs.append(models.value("twice", ["n", 1]))
    column = numpy.array(weights, "f4")[:, None]
    return models.model(nodes, [models.value("x", ["n", len(weights)])], outputs, {"w": column})


def batch_counter():
    """y [n, 2] = the first of x [n, 2], and how many rows there are in this run."""
    return models.model(
        [
            models.node("Slice", ["x", "zero", "one", "one"], ["first"]),
            models.node("Shape", ["x"], ["shape"]),
            models.node("Slice", ["shape", "zero", "one"], ["rows"]),
            models.node("Cast", ["rows"], ["count"], to=onnx.TensorProto.FLOAT),
            models.node("Concat", ["rows", "one"], ["column"], axis=0),
            models.node("Expand", ["count", "column"], ["counts"]),
            models.node("Concat", ["first", "counts"], ["y"], axis=1),
        ],
        [models.value("x", ["n", 2])],
        [models.value("y", ["n", 2])],
        {"zero": numpy.array([0], "i8"), "one": numpy.array([1], "i8")},
    )


def identity(element):
    """y [n, 2] = x [n, 2]."""
    return models.identity(element, ["n", 2])


def difference():
    """d [n] = left [n] - right [n]."""
    return models.model(
        [models.node("Sub", ["left", "right"], ["d"])],
        [models.value("left", ["n"]), models.value("right", ["n"])],
        [models.value("d", ["n"])],
    )
