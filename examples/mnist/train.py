"""Trains the 784-512-10 digit network on the 60,000 MNIST training digits and writes mnist.onnx beside this file.

    make train        (about half a minute on two cores)

The trained model is committed; run this to make it again. Seeds are fixed; the last bits depend on the BLAS of the
machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from digits import read_digits, tell
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

SEED = 20261122
MODEL = Path(__file__).resolve().parent / "mnist.onnx"


def train() -> MLPClassifier:
    """Fits relu(784 x 512), softmax(512 x 10) with Adam."""
    pixels, labels = read_digits("train")
    network = MLPClassifier(
        hidden_layer_sizes=(512,),
        batch_size=200,
        learning_rate_init=1e-3,
        alpha=1e-4,
        max_iter=14,
        random_state=SEED,
        verbose=True,
    )
    return network.fit(pixels, labels)


def to_onnx(weights: list[NDArray[np.float32]], biases: list[NDArray[np.float32]]) -> onnx.ModelProto:
    """The network as ONNX: `pixels` [N, 784] float32 in, `probabilities` [N, 10] float32 out, N free."""
    nodes = [
        helper.make_node("Gemm", ["pixels", "hidden.weight", "hidden.bias"], ["hidden"], name="hidden"),
        helper.make_node("Relu", ["hidden"], ["activations"], name="relu"),
        helper.make_node("Gemm", ["activations", "digit.weight", "digit.bias"], ["logits"], name="digit"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1),
    ]
    tensors = [
        numpy_helper.from_array(array, f"{layer}.{kind}")
        for layer, weight, bias in zip(("hidden", "digit"), weights, biases, strict=True)
        for kind, array in (("weight", weight), ("bias", bias))
    ]
    graph = helper.make_graph(
        nodes,
        "mnist_784_512_10",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 784])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        tensors,
        doc_string="Handwritten digits: 28 x 28 pixels, row by row, 0 = paper, 1 = ink.",
    )
    model = helper.make_model(
        graph,
        producer_name="vonk examples/mnist/train.py",
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(path: Path) -> float:
    """Share of the 10,000 test digits that ONNX Runtime gets right with the written file."""
    pixels, labels = read_digits("t10k")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    probabilities = session.run(["probabilities"], {"pixels": pixels})[0]
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def main() -> int:
    began = time.monotonic()
    network = train()
    weights = [np.ascontiguousarray(w, dtype=np.float32) for w in network.coefs_]
    biases = [np.ascontiguousarray(b, dtype=np.float32) for b in network.intercepts_]
    onnx.save(to_onnx(weights, biases), MODEL)
    return tell(MODEL, accuracy(MODEL), began)


if __name__ == "__main__":
    sys.exit(main())
