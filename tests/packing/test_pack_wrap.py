"""A model that is several files as one, as it is: what engines send to machines that see one file."""

import json
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
from vonk.packing._wrap import wrap
from vonk.packing.onnx import files_of
from vonk.packing.onnx_weights import locations

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "frameworks"))
import networks  # noqa: E402
import zoo  # noqa: E402

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
WEIGHTS = np.random.default_rng(1).standard_normal((32, 16)).astype(np.float32)
X = np.random.default_rng(2).standard_normal((9, 32)).astype(np.float32)


def linear():
    """y = x w"""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def external(tmp_path):
    (tmp_path / "there" / "weights").mkdir(parents=True)
    path = tmp_path / "there" / "net.onnx"
    onnx.save_model(linear(), str(path), save_as_external_data=True, location="weights/w.bin", size_threshold=0)
    return path


def test_external_data_comes_along_and_equal_models_give_equal_bytes(external, tmp_path):
    expected = onnxruntime.InferenceSession(str(external)).run(None, {"x": X})[0]
    for name in ("a.vonk", "b.vonk"):
        options = {"threads_per_run": 2, "batch": 8, "graph_optimization": "basic"}
        assert wrap(external, tmp_path / name, options) == options
    assert (tmp_path / "a.vonk").read_bytes() == (tmp_path / "b.vonk").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.vonk") as bundle:
        assert bundle.namelist() == ["manifest.json", "model/net.onnx", "model/weights/w.bin"]
        assert bundle.read("model/weights/w.bin") == WEIGHTS.tobytes()
    found = vonk.open(tmp_path / "a.vonk")
    assert [str(port) for port in (*found.inputs, *found.outputs)] == ["x: float32[N, 32]", "y: float32[N, 16]"]
    assert (found.predict(X) == expected).all(), np.abs(found.predict(X) - expected).max()


def test_a_single_file_is_left_alone(tmp_path):
    assert wrap(IRIS, tmp_path / "m.vonk", {"device": "cpu"}) == {"device": "cpu"}
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_a_folder_becomes_the_same_as_a_file(tmp_path):
    vonk.pack(IRIS, tmp_path / "folder.vonk", folder=True, licence="Apache-2.0")
    wrap(tmp_path / "folder.vonk", tmp_path / "file.vonk", {})
    with zipfile.ZipFile(tmp_path / "file.vonk") as bundle:
        assert json.loads(bundle.read("manifest.json")) == json.loads(
            (tmp_path / "folder.vonk" / "manifest.json").read_text()
        )
    with vonk.open(tmp_path / "file.vonk") as model:
        assert model.bundle.licence == "Apache-2.0"
        assert model.selftest() <= model.bundle.selftest_tolerance


def test_what_is_missing_is_said_and_nothing_is_written(external, tmp_path):
    (external.parent / "weights" / "w.bin").unlink()
    with pytest.raises(vonk.Error, match=r"weights/w\.bin"):
        wrap(external, tmp_path / "m.vonk", {})
    assert not list(tmp_path.glob("*.vonk")) + list(tmp_path.glob(".*.vonk*"))


def test_weights_outside_the_folder_are_refused(external, tmp_path):
    model = onnx.load(str(external), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    external.write_bytes(model.SerializeToString())
    assert locations(external) == ["../secret"]
    with pytest.raises(vonk.Error, match="secret"):
        wrap(external, tmp_path / "m.vonk", {})
    with pytest.raises(PackError, match="not in the model's folder"):
        files_of(external, "onnx")


@pytest.mark.parametrize("place", ["initializer", "attribute", "branch", "function", "sparse"])
def test_files_of_weights_are_found_wherever_tensors_stand(place, tmp_path):
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", f"{place}.bin"), ("offset", "0"), ("length", str(WEIGHTS.nbytes))):
        tensor.external_data.add(key=key, value=value)
    model = linear()
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.append(constant)
    elif place == "branch":
        branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", 1, None)])
        model.graph.node.append(helper.make_node("If", ["x"], ["y2"], then_branch=branch, else_branch=branch))
    elif place == "function":
        model.functions.append(onnx.FunctionProto(name="f", domain="d", node=[constant]))
    else:
        model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, dims=[32, 16]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert locations(path) == [f"{place}.bin"]


def test_files_that_are_no_onnx_name_no_weights(tmp_path):
    for content in (b"", b"\x80\x04", b"PK\3\4" + bytes(60), b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", bytes(99)):
        (tmp_path / "m").write_bytes(content)
        assert locations(tmp_path / "m") == []
    assert locations(IRIS) == []


@pytest.mark.skipif(not zoo.is_here("tensorflow"), reason="make setup EXTRAS=tensorflow")
@pytest.mark.parametrize(
    ("source", "options", "reference"),
    [
        ("mlp", {}, "mlp"),
        ("mlp/saved_model.pb", {}, "mlp"),
        ("mlp_checkpoint/model.meta", {"outputs": "probabilities"}, "mlp_v1"),
    ],
)
def test_tensorflows_folders_and_checkpoints(source, options, reference, tmp_path):
    assert wrap(zoo.models("tensorflow") / source, tmp_path / "m.vonk", {**options, "device": "cpu"}) == {
        "device": "cpu"
    }
    found = vonk.open(tmp_path / "m.vonk").predict(networks.MLP().rows())
    expected = zoo.results("tensorflow")[reference]
    np.testing.assert_allclose(found, expected, atol=1e-5)
