"""The committed digit network and the reader of its data."""

from pathlib import Path

import digits
import numpy as np
import onnx
import onnxruntime
import pytest

MODEL = Path(__file__).resolve().parent.parent.parent / "examples" / "mnist" / "mnist.onnx"


def test_idx_files_are_read_in_their_own_shape(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert digits.read_idx(file).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("data", [b"", b"PNG.", bytes([0, 0, 8, 1, 0, 0, 0, 9, 1])])
def test_a_damaged_idx_file_is_refused(tmp_path, data):
    file = tmp_path / "x"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=str(file)):
        digits.read_idx(file)


def test_the_network_is_small_and_has_the_documented_signature():
    assert MODEL.stat().st_size < 2_000_000
    graph = onnx.load(MODEL).graph
    signature = [
        (io.name, [d.dim_param or d.dim_value for d in io.type.tensor_type.shape.dim])
        for io in (*graph.input, *graph.output)
    ]
    assert signature == [("pixels", ["N", 784]), ("probabilities", ["N", 10])]


def test_the_network_reads_at_least_97_of_100_test_digits():
    pixels, labels = digits.read_digits("t10k")
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    probabilities = session.run(None, {"pixels": pixels})[0]
    accuracy = np.mean(probabilities.argmax(axis=1) == labels)
    assert accuracy >= 0.97, f"accuracy {accuracy:.4f}, expected at least 0.97"
