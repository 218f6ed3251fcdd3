"""Small ONNX models for tests, made with the onnx package; the same bytes every time.

`python tests/onnx/models.py FOLDER` writes those that the C tests need (tests/data/onnx, committed).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT

#: the ONNX element types that vonk has, by vonk's name
ELEMENT_TYPES = {
    "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "f32": F32, "f64": TensorProto.DOUBLE,
    "i8": TensorProto.INT8, "i16": TensorProto.INT16, "i32": TensorProto.INT32, "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8, "u16": TensorProto.UINT16, "u32": TensorProto.UINT32, "u64": TensorProto.UINT64,
    "bool": TensorProto.BOOL, "string": TensorProto.STRING,
}  # fmt: skip


def value(name: str, shape: list[Any] | None, element_type: int = F32) -> onnx.ValueInfoProto:
    """An input or output; a dimension is a number, a name, or None (free and unnamed)."""
    return helper.make_tensor_value_info(name, element_type, shape)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, NDArray[Any]] | None = None,
    **more: Any,
) -> onnx.ModelProto:
    """A model of opset 17 (ai.onnx.ml 3) with these weights as initializers."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    more.setdefault("opset_imports", [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    made: onnx.ModelProto = helper.make_model(graph, ir_version=9, producer_name="vonk tests", **more)
    return made


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, **attributes)


def identity(element_type: int, shape: list[Any] | None = None) -> onnx.ModelProto:
    """y = x, of any element type."""
    shape = ["n", 3] if shape is None else shape
    return model([node("Identity", ["x"], ["y"])], [value("x", shape, element_type)], [value("y", shape, element_type)])


def mlp(sizes: tuple[int, ...] = (4, 8, 3), seed: int = 1) -> onnx.ModelProto:
    """x [n, sizes[0]] -> MatMul, Add, Relu ... -> y [n, sizes[-1]]."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], {}, "x"
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        is_last = i == len(sizes) - 2
        weights[f"w{i}"] = (rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32)
        weights[f"b{i}"] = rng.standard_normal(b).astype(np.float32)
        nodes.append(node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(node("Add", [f"m{i}", f"b{i}"], ["y" if is_last else f"a{i}"]))
        if not is_last:
            nodes.append(node("Relu", [f"a{i}"], [f"r{i}"]))
            last = f"r{i}"
    return model(nodes, [value("x", ["n", sizes[0]])], [value("y", ["n", sizes[-1]])], weights)


def two_sided() -> onnx.ModelProto:
    """total = a + b, ids = id + 1, width = shape of a: two dtypes in, three outputs."""
    return model(
        [node("Add", ["a", "b"], ["total"]), node("Add", ["id", "one"], ["next"]), node("Shape", ["a"], ["width"])],
        [value("a", ["n", 2]), value("b", ["n", 2]), value("id", ["n"], TensorProto.INT64)],
        [value("total", ["n", 2]), value("next", ["n"], TensorProto.INT64), value("width", [2], TensorProto.INT64)],
        {"one": np.array(1, np.int64)},
    )


def gather(rows: int = 10) -> onnx.ModelProto:
    """y[i] = table[index[i]], table[r] = r: fails on an index outside."""
    return model(
        [node("Gather", ["table", "index"], ["y"])],
        [value("index", ["n"], TensorProto.INT64)],
        [value("y", ["n"])],
        {"table": np.arange(rows, dtype=np.float32)},
    )


def chain(depth: int, width: int) -> onnx.ModelProto:
    """x [n, width] times the same matrix, depth times: a run that takes long."""
    matrix = (np.eye(width) + 1e-3).astype(np.float32)
    nodes = [
        node("MatMul", [f"h{i}" if i else "x", "w"], ["y" if i == depth - 1 else f"h{i + 1}"]) for i in range(depth)
    ]
    return model(nodes, [value("x", ["n", width])], [value("y", ["n", width])], {"w": matrix})


def constant_output() -> onnx.ModelProto:
    """y = x, k = a constant of the model, x itself an output as well."""
    return model(
        [node("Identity", ["x"], ["y"])],
        [value("x", ["n"])],
        [value("y", ["n"]), value("x", ["n"]), value("k", [3])],
        {"k": np.array([1, 2, 3], np.float32)},
    )


#: what the C tests need
COMMITTED: dict[str, Callable[[], onnx.ModelProto]] = {
    "mlp.onnx": mlp,
    "two_sided.onnx": two_sided,
    "gather.onnx": gather,
    "chain.onnx": lambda: chain(64, 24),
    "constant_output.onnx": constant_output,
    "identity_string.onnx": lambda: identity(TensorProto.STRING),
    "identity_f16.onnx": lambda: identity(TensorProto.FLOAT16),
}


def main(folder: Path) -> None:
    """Writes COMMITTED."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in COMMITTED.items():
        (folder / name).write_bytes(make().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
