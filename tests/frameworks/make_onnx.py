"""Writes the ONNX models of tests/frameworks and what onnxruntime says for them: `make_onnx.py FOLDER`.

Built node by node from the arrays of networks.py: no exporter takes part.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(nets.ROOT / "tests" / "onnx"))

from models import ELEMENT_TYPES, identity, model, node, value

I64 = ELEMENT_TYPES["i64"]


def mlp(net: nets.MLP) -> onnx.ModelProto:
    return model(
        [
            node("Gemm", ["pixels", "w0", "b0"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w1", "b1"], ["z"]),
            node("Softmax", ["z"], ["probabilities"]),
        ],
        [value("pixels", ["n", 784])],
        [value("probabilities", ["n", 10])],
        {"w0": net.w0, "b0": net.b0, "w1": net.w1, "b1": net.b1},
    )


def cnn(net: nets.CNN) -> onnx.ModelProto:
    return model(
        [
            node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
            node("Conv", ["nchw", "kernel", "kernel_bias"], ["c"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["bn"], epsilon=net.epsilon),
            node("Relu", ["bn"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Transpose", ["p"], ["nhwc"], perm=[0, 2, 3, 1]),
            node("Flatten", ["nhwc"], ["flat"]),
            node("Gemm", ["flat", "w", "b"], ["z"]),
            node("Softmax", ["z"], ["scores"]),
        ],
        [value("image", ["n", 12, 12, 3])],
        [value("scores", ["n", 5])],
        {
            "kernel": np.ascontiguousarray(net.kernel.transpose(3, 2, 0, 1)), "kernel_bias": net.kernel_bias,
            "gamma": net.gamma, "beta": net.beta, "mean": net.mean, "variance": net.variance, "w": net.w, "b": net.b,
        },
    )  # fmt: skip


def embedding(net: nets.Embedding) -> onnx.ModelProto:
    return model(
        [
            node("Gather", ["table", "tokens"], ["rows"]),
            node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
            node("MatMul", ["mean", "w"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("MatMul", ["r", "v"], ["y"]),
        ],
        [value("tokens", ["n", "t"], I64)],
        [value("y", ["n", 4])],
        {"table": net.table, "w": net.w, "v": net.v},
    )


def dense(net: nets.Dense) -> onnx.ModelProto:
    return model(
        [
            node("Gemm", ["x", "w0", "b0"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w1", "b1"], ["y"]),
        ],
        [value("x", ["n", 16])],
        [value("y", ["n", 4])],
        {"w0": net.w0, "b0": net.b0, "w1": net.w1, "b1": net.b1},
    )


def two() -> onnx.ModelProto:
    return model(
        [
            node("MatMul", ["b", "w"], ["bw"]),
            node("Add", ["a", "bw"], ["total"]),
            node("Add", ["id", "one"], ["next"]),
        ],
        [value("a", ["n", 2]), value("b", ["n", 3]), value("id", ["n"], I64)],
        [value("next", ["n"], I64), value("total", ["n", 2])],
        {"w": nets.TWO_WEIGHT, "one": np.array(1, np.int64)},
    )


def plain() -> onnx.ModelProto:
    """No parameter at all: y = softmax(x)."""
    return model([node("Softmax", ["x"], ["y"])], [value("x", ["n", 3])], [value("y", ["n", 3])])


def gather() -> onnx.ModelProto:
    return model(
        [node("Gather", ["table", "index"], ["y"])],
        [value("index", [nets.GATHER_ROWS], I64)],
        [value("y", [nets.GATHER_ROWS])],
        {"table": nets.GATHER_TABLE},
    )


def run(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """The model's outputs by name, from one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def main(folder: Path) -> None:
    mlp_net, cnn_net = nets.MLP(), nets.CNN()
    made = {
        "mlp": mlp(mlp_net), "cnn": cnn(cnn_net), "embedding": embedding(nets.Embedding()),
        "dense": dense(nets.Dense()), "two": two(), "plain": plain(), "gather": gather(),
    }  # fmt: skip
    for dtype, element_type in ELEMENT_TYPES.items():
        for shape, dims in nets.SHAPES.items():
            made[f"{dtype}_{shape}"] = identity(element_type, ["n" if d < 0 else d for d in dims])
    for name, proto in made.items():
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    results = {
        "mlp": run(folder / "mlp.onnx", {"pixels": mlp_net.rows()})["probabilities"],
        "cnn": run(folder / "cnn.onnx", {"image": cnn_net.rows()})["scores"],
        "dense": run(folder / "dense.onnx", {"x": nets.Dense().rows()})["y"],
        "two.total": run(folder / "two.onnx", nets.two_rows())["total"],
        "two.next": run(folder / "two.onnx", nets.two_rows())["next"],
    }
    for dtype in nets.DTYPES:
        for shape in ("scalar", "vector", "rank3"):
            values = nets.sample(dtype, shape)
            if dtype == "bf16":  # NumPy has no such type to give it: made from float32 in the graph
                results[f"{dtype}_{shape}"] = bfloat16_identity(folder, values)
                continue
            feed = values.astype(object) if dtype == "string" else values
            found = run(folder / f"{dtype}_{shape}.onnx", {"x": feed})["y"]
            results[f"{dtype}_{shape}"] = found.astype(np.str_) if dtype == "string" else found
    np.savez(folder / "results.npz", **results)


def bfloat16_identity(folder: Path, values: Any) -> Any:
    """What the identity of bfloat16 gives, with casts around it since Python cannot hold the type."""
    bf16 = ELEMENT_TYPES["bf16"]
    nodes = [
        node("Cast", ["x"], ["half"], to=bf16),
        node("Identity", ["half"], ["same"]),
        node("Cast", ["same"], ["y"], to=ELEMENT_TYPES["f32"]),
    ]
    shape = ["n", *values.shape[1:]]
    path = folder / "with_casts.onnx"
    path.write_bytes(model(nodes, [value("x", shape)], [value("y", shape)]).SerializeToString())
    result = run(path, {"x": values})["y"]
    path.unlink()
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]))
