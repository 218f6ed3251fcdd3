"""Trains a small classifier of iris flowers on scikit-learn's data set and writes iris.onnx beside this file.

    make train

The trained model is committed; run this to make it again. One input of four measurements in centimetres, and two
outputs: the probabilities of the three species, and the name of the likeliest one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

MODEL = Path(__file__).resolve().parent / "iris.onnx"


def to_onnx(classifier: LogisticRegression, species: list[str]) -> onnx.ModelProto:
    """`measurements` [N, 4] float32 in; `probabilities` [N, 3] float32 and `species` [N] string out, N free."""
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(classifier.coef_.T, dtype=np.float32), "weight"),
        numpy_helper.from_array(classifier.intercept_.astype(np.float32), "bias"),
        numpy_helper.from_array(np.array(species, dtype=object), "names"),
    ]
    nodes = [
        helper.make_node("Gemm", ["measurements", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["likeliest"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "likeliest"], ["species"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "iris",
        [helper.make_tensor_value_info("measurements", TensorProto.FLOAT, ["N", 4])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("species", TensorProto.STRING, ["N"]),
        ],
        tensors,
        doc_string="Sepal length, sepal width, petal length, petal width, in cm.",
    )
    model = helper.make_model(
        graph,
        producer_name="vonk examples/iris/train.py",
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> int:
    data = load_iris()
    measurements = data.data.astype(np.float32)
    classifier = LogisticRegression(max_iter=1000).fit(measurements, data.target)
    species = [str(name) for name in data.target_names]
    onnx.save(to_onnx(classifier, species), MODEL)
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    found = session.run(["species"], {"measurements": measurements})[0]
    share = float(np.mean(found == np.array(species)[data.target]))
    print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes, {share:.3f} of the 150 training flowers right")
    return 0 if share > 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
