"""`make demo` as a user sees it: the right answers, and what it prints about them."""

import re
import subprocess
import sys
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
