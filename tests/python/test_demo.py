"""`make demo` and `make demo-frameworks` as a user sees it: the right answers, and what it prints about them."""

import importlib.util
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MNIST = ROOT / "build" / "mnist"


@pytest.fixture(scope="module")
def printed() -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "mnist" / "demo.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """The digits that ONNX Runtime itself gives for the same rows."""
    column = pq.read_table(MNIST / "test.parquet", columns=["pixels"]).column("pixels").combine_chunks()
    session = onnxruntime.InferenceSession(str(ROOT / "examples" / "mnist" / "mnist.onnx"))
    pixels = column.values.to_numpy().reshape(-1, 784)
    return session.run(None, {"pixels": pixels})[0].argmax(axis=1)


def test_every_prediction_is_the_framework_s_own(printed, expected):
    found = pq.read_table(MNIST / "predictions.parquet")
    assert found.column_names == ["id", "label", "digit"]
    assert found.column("id").to_pylist() == list(range(10_000))
    different = np.flatnonzero(found.column("digit").to_numpy() != expected)
    assert different.size == 0, f"rows {different[:10]} differ"


def test_it_prints_the_accuracy_of_those_predictions(printed, expected):
    labels = pq.read_table(MNIST / "test.parquet", columns=["label"]).column("label").to_numpy()
    accuracy = float(np.mean(expected == labels))
    assert accuracy >= 0.97
    assert f"accuracy:  {accuracy:.4f}" in printed


@pytest.mark.parametrize(
    "pattern",
    [
        r"pixels.*784",
        r"probabilities.*10",
        r"speed:\s+[\d,]+ rows/s",
        r"build/mnist/predictions\.parquet",
        r"first predictions:\n\s+id\s+label\s+digit\n\s+0\s+7\s+7\n\s+1\s+2\s+2\n",
        r"next, try:\n\s+\.venv/bin/vonk",
    ],
)
def test_it_prints_what_a_newcomer_needs(printed, pattern):
    assert re.search(pattern, printed), f"{pattern!r} not found in:\n{printed}"


# --- make demo-frameworks -------------------------------------------------------------------------------------------

needs_frameworks = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorflow", "torch")),
    reason="TensorFlow or PyTorch is not installed: make setup EXTRAS=tensorflow,torch",
)


@pytest.fixture(scope="module")
def compared() -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "mnist" / "demo_frameworks.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_frameworks
def test_two_networks_in_three_frameworks_read_the_digits(compared):
    """Keras' and PyTorch's own networks, computed anew with NumPy from the weights in their files."""
    table = pq.read_table(MNIST / "frameworks.parquet")
    columns = ["keras_tensorflow", "keras_onnx", "torch_onnx", "torch_pytorch"]
    assert table.column_names == ["id", "label", *columns]
    pixels = pq.read_table(MNIST / "test.parquet", columns=["pixels"]).column("pixels").combine_chunks()
    x = pixels.values.to_numpy().reshape(-1, 784).astype(np.float64)
    labels = table.column("label").to_numpy()
    for column in columns:
        w0, b0, w1, b1 = keras_weights() if column.startswith("keras") else torch_weights()
        logits = np.maximum(x @ w0 + b0, 0) @ w1 + b1
        expected = np.exp(logits - logits.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        found = np.stack(table.column(column).to_numpy())
        largest = np.abs(found - expected).max()
        assert largest <= 1e-5, f"{column}: differs by {largest}"
        accuracy = np.mean(found.argmax(axis=1) == labels)
        assert accuracy >= 0.97
        assert re.search(rf"accuracy: +{column} +{accuracy:.4f} ", compared), f"{column}: {accuracy:.4f}:\n{compared}"


def keras_weights() -> list[np.ndarray]:
    import h5py  # noqa: PLC0415 - comes with Keras

    with zipfile.ZipFile(ROOT / "examples/mnist/digit.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    found: list[np.ndarray] = []
    file.visititems(
        lambda _, item: found.append(item[()].astype(np.float64)) if isinstance(item, h5py.Dataset) else None
    )
    return sorted(found, key=lambda a: (a.size in (512 * 10, 10), a.ndim == 1))


def torch_weights() -> list[np.ndarray]:
    """torch.save's zip file keeps each tensor's numbers as they are, here float16, in the order of the state_dict."""
    with zipfile.ZipFile(ROOT / "examples/mnist/digit_torch.pt") as archive:
        raw = [np.frombuffer(archive.read(f"digit_torch/data/{i}"), np.float16).astype(np.float64) for i in range(4)]
    return [raw[0].reshape(512, 784).T, raw[1], raw[2].reshape(10, 512).T, raw[3]]


@needs_frameworks
@pytest.mark.parametrize(
    "pattern",
    [
        r"\$ .*vonk pack examples/mnist/digit\.keras -o build/mnist/keras_tensorflow\.vonk",
        r"\$ .*vonk pack examples/mnist/digit_torch\.pt .*--module examples/mnist/digit_torch\.py:Digit",
        r"keras_tensorflow\(pixels\) AS keras_tensorflow",
        r"agreement: +torch_onnx and torch_pytorch: 1\.0000 of the digits equal, largest difference .* \(one network\)",
        r"agreement: +keras_tensorflow and torch_pytorch: 0\.9\d+ of the digits equal",
        r"speed: +[\d,]+ predictions/s",
    ],
)
def test_it_prints_each_command_and_how_the_columns_agree(compared, pattern):
    assert re.search(pattern, compared), f"{pattern!r} not found in:\n{compared}"
