"""ONNX models, packed: they stay as they are, byte for byte, and predict what ONNX Runtime predicts from the source."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import vonk
from onnx import TensorProto, helper, numpy_helper
from vonk.packing import PackError

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


def linear(weights):
    """y = x w, with w outside of the node."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


WEIGHTS = np.random.default_rng(1).standard_normal((32, 16)).astype(np.float32)


def says(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip((port.name for port in session.get_outputs()), session.run(None, inputs), strict=True))


def refused(source, tmp_path, **options):
    with pytest.raises(PackError) as caught:
        vonk.pack(source, tmp_path / "m.vonk", **options)
    assert not (tmp_path / "m.vonk").exists()
    message = str(caught.value)
    assert "\n" not in message, message
    return message


def test_a_file_stays_byte_for_byte_and_predicts_the_same(tmp_path):
    report = vonk.pack(IRIS, tmp_path / "m.vonk")
    assert (report.format, report.largest_difference) == ("onnx", 0.0)
    with zipfile.ZipFile(tmp_path / "m.vonk") as bundle:
        assert bundle.read("model/iris.onnx") == IRIS.read_bytes()
    found = vonk.open(tmp_path / "m.vonk").predict({"measurements": FLOWERS})
    expected = says(IRIS, measurements=FLOWERS)
    assert found["species"].tolist() == expected["species"].tolist() == ["setosa", "virginica"]
    assert (found["probabilities"] == expected["probabilities"]).all()


def test_a_model_in_memory(tmp_path):
    vonk.pack(linear(WEIGHTS), tmp_path / "m.vonk", outputs=["y=scores"])
    model = vonk.open(tmp_path / "m.vonk")
    assert [str(port) for port in (*model.inputs, *model.outputs)] == ["x: float32[N, 32]", "scores: float32[N, 16]"]
    x = np.random.default_rng(2).standard_normal((9, 32)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x), x @ WEIGHTS, atol=1e-5)


@pytest.fixture
def external(tmp_path):
    """A model, a link to it elsewhere, and its weights in a folder beside it."""
    folder = tmp_path / "there"
    (folder / "weights").mkdir(parents=True)
    path = folder / "odd name (1).onnx"
    onnx.save_model(linear(WEIGHTS), str(path), save_as_external_data=True, location="weights/w.bin", size_threshold=0)
    assert (folder / "weights" / "w.bin").stat().st_size == WEIGHTS.nbytes
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked.onnx").symlink_to(path)
    return path


@pytest.mark.parametrize("folder", [False, True])
def test_external_data_comes_along(folder, external, tmp_path):
    x = np.random.default_rng(2).standard_normal((9, 32)).astype(np.float32)
    expected = says(external, x=x)["y"]
    for i, source in enumerate((external, tmp_path / "here" / "linked.onnx")):
        target = tmp_path / f"m{i}.vonk"
        vonk.pack(source, target, folder=folder)
        if not folder:
            with zipfile.ZipFile(target) as bundle:
                names = sorted(name for name in bundle.namelist() if name.startswith("model/"))
                assert names == [["model/odd_name_1.onnx", "model/linked.onnx"][i], "model/weights/w.bin"]
                assert bundle.read(names[0]) == external.read_bytes()
                assert bundle.read(names[1]) == WEIGHTS.tobytes()
        found = vonk.open(target).predict(x)
        assert (found == expected).all(), np.abs(found - expected).max()


def test_missing_and_stray_external_data_is_refused(external, tmp_path):
    model = onnx.load(str(external), load_external_data=False)
    (external.parent / "weights" / "w.bin").rename(tmp_path / "w.bin")
    assert "weights/w.bin" in refused(external, tmp_path)
    for location in ("../w.bin", str(tmp_path / "w.bin")):
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        external.write_bytes(model.SerializeToString())
        message = refused(external, tmp_path)
        assert location in message, message


def test_an_ort_file_stays_as_it_is(tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "iris.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(IRIS), options, providers=["CPUExecutionProvider"])
    report = vonk.pack(tmp_path / "iris.ort", tmp_path / "m.vonk")
    assert report.format == "ort"
    found = vonk.open(tmp_path / "m.vonk").predict({"measurements": FLOWERS})
    assert found["species"].tolist() == ["setosa", "virginica"]


def test_another_target_is_refused(tmp_path):
    assert "stays as it is" in refused(IRIS, tmp_path, to="savedmodel")
    assert "stays as it is" in refused(IRIS, tmp_path, to="ort")


def test_a_damaged_file_is_refused_with_the_plug_in_s_words(tmp_path):
    (tmp_path / "cut.onnx").write_bytes(IRIS.read_bytes()[:-100])
    message = refused(tmp_path / "cut.onnx", tmp_path)
    assert "cut.onnx" in message, message


def test_no_telemetry_is_left_on(tmp_path):
    """ONNX Runtime 1.31 reports to its makers unless it is told not to before it starts."""
    code = (
        "import sys, os, vonk\n"
        f"vonk.pack({str(IRIS)!r}, sys.argv[1])\n"
        "import glob, json\n"
        "found = glob.glob(os.environ['HOME'] + '/**/*', recursive=True, include_hidden=True)\n"
        "print(json.dumps(found))\n"
    )
    home = tmp_path / "home"
    home.mkdir()

    kept = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "m.vonk")],
        env={**kept, "HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = [name for name in json.loads(done.stdout) if name != f"{home}/"]
    assert files == [], files
