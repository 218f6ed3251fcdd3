"""The ONNX plug-in alone, over its C interface, against ONNX Runtime's own Python package."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_hostile
import models
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper

import abi

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent.parent


def find_plugin() -> Path:
    """In VONK_TEST_PLUGIN_DIR, as ctest says for each preset; by hand, the developer build's."""
    return Path(os.environ.get("VONK_TEST_PLUGIN_DIR", ROOT / "build/dev/lib/vonk/plugins")) / "vonk_onnx.so"


def find_library() -> Path:
    return next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))


@pytest.fixture(scope="session")
def by_path() -> abi.Plugin:
    return abi.Plugin(find_plugin(), {"onnxruntime": str(find_library())})


@pytest.fixture(scope="session", params=["path", "memory"])
def plugin(request: pytest.FixtureRequest, by_path: abi.Plugin) -> abi.Plugin:
    """The plug-in, which is given paths or files in memory."""
    return by_path.in_memory() if request.param == "memory" else by_path


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def reference(path: Path, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    results: list[NDArray[Any]] = onnxruntime.InferenceSession(str(path), options).run(None, feeds)
    return results


def same_bits(a: NDArray[Any] | None, b: NDArray[Any]) -> bool:
    return a is not None and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("how", ["loaded", "variable"])
def test_library_is_found_without_a_record(how: str) -> None:
    """A copy that is already in the process, else the one VONK_ONNXRUNTIME_LIBRARY names."""
    code = (
        "import sys, ctypes, abi\n"
        f"library = ctypes.CDLL(sys.argv[2]) if {how == 'loaded'} else None\n"
        "print(abi.Plugin(sys.argv[1], {}).runtime()[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    environment.pop("VONK_ONNXRUNTIME_LIBRARY", None)
    if how == "variable":
        environment["VONK_ONNXRUNTIME_LIBRARY"] = str(find_library())
    command = [sys.executable, "-c", code, str(find_plugin()), str(find_library())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(find_library().resolve()), "")


def test_library_that_is_no_onnx_runtime_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"no library")
    code = "import sys, abi\nabi.Plugin(sys.argv[1], {}).runtime()"
    command = [sys.executable, "-c", code, str(find_plugin())]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS), "VONK_ONNXRUNTIME_LIBRARY": str(tmp_path / "x.so")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert f"ONNX Runtime: VONK_ONNXRUNTIME_LIBRARY says '{tmp_path}/x.so': " in done.stderr
    assert "pip install onnxruntime" in done.stderr


def test_mlp_gives_the_bits_of_onnx_runtime(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.mlp((784, 512, 10)), tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((256, 784)).astype(np.float32)
    model = plugin.open(path)
    session = model.session()
    into = np.empty((256, 10), np.float32)
    session.run(x, into={0: into})
    (adopted,) = session.run(x)
    (expected,) = reference(path, x=x)
    assert same_bits(into, expected), np.abs(into - expected).max()
    assert same_bits(adopted, expected)
    for rows in (1, 2, 3, 7, 100, 255):
        (part,) = session.run(np.ascontiguousarray(x[5 : 5 + rows]))
        assert same_bits(part, expected[5 : 5 + rows]), rows
    session.close()
    model.close()


def test_convolution_agrees_with_onnx_runtime(plugin: abi.Plugin, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weights = {
        "k": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(8).astype(np.float32),
    }
    built = models.model(
        [
            models.node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1]),
            models.node("GlobalAveragePool", ["c"], ["y"]),
        ],
        [models.value("x", ["n", 3, 16, 16])],
        [models.value("y", ["n", 8, 1, 1])],
        weights,
    )
    path = save(built, tmp_path / "m.onnx")
    x = rng.standard_normal((5, 3, 16, 16)).astype(np.float32)
    (found,) = plugin.open(path).session().run(x)
    (expected,) = reference(path, x=x)
    assert same_bits(found, expected), (found, expected)


EXTREMES: dict[str, list[Any]] = {
    "f16": [1.0, -0.0, 65504.0, 6e-8, np.inf, 0.1], "f32": [1.5, -0.0, 3.4e38, 1e-45, np.inf, np.nan],
    "f64": [1.5, -0.0, 1.7e308, 5e-324, np.inf, np.nan], "i8": [-128, 127, 0, -1, 1, 5],
    "i16": [-32768, 32767, 0, -1, 1, 5], "i32": [-(2**31), 2**31 - 1, 0, -1, 1, 5],
    "i64": [-(2**63), 2**63 - 1, 2**53 + 1, -1, 1, 5], "u8": [0, 255, 1, 2, 3, 4], "u16": [0, 65535, 1, 2, 3, 4],
    "u32": [0, 2**32 - 1, 1, 2, 3, 4], "u64": [0, 2**64 - 1, 2**53 + 1, 2, 3, 4],
    "bool": [True, False, True, True, False, False], "bf16": [0x3F80, 0x0001, 0x7F7F, 0xFF80, 0x7FC1, 0x8000],
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_every_dtype_goes_in_and_out_unchanged(plugin: abi.Plugin, tmp_path: Path, name: str) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[name]), tmp_path / "m.onnx")
    model = plugin.open(path)
    dtype = np.dtype(abi.DTYPES[model.inputs[0].dtype])
    x = np.array(EXTREMES[name], dtype=dtype).reshape(2, 3)
    session = model.session()
    (adopted,) = session.run(x)
    into = np.zeros_like(x)
    session.run(x, into={0: into})
    assert same_bits(adopted, x), (adopted, x)
    assert same_bits(into, x), (into, x)


def test_casts_agree_with_onnx_runtime(plugin: abi.Plugin, tmp_path: Path) -> None:
    names = [name for name in EXTREMES if name != "bf16"]
    built = models.model(
        [models.node("Cast", ["x"], [name], to=models.ELEMENT_TYPES[name]) for name in names],
        [models.value("x", ["n"])],
        [models.value(name, ["n"], models.ELEMENT_TYPES[name]) for name in names],
    )
    path = save(built, tmp_path / "m.onnx")
    x = np.array([0.0, 1.0, 2.5, 77.0], np.float32)
    for name, found, expected in zip(names, plugin.open(path).session().run(x), reference(path, x=x), strict=True):
        assert same_bits(found, expected), (name, found, expected)


def test_strings_go_in_and_out(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.identity(TensorProto.STRING, ["n", 2]), tmp_path / "m.onnx")
    texts = ["", "spark", "naïve", "火花", "x" * 1000, "a b"]
    x = np.array([text.encode() for text in texts], dtype=object).reshape(3, 2)
    (found,) = plugin.open(path).session().run(x)
    (expected,) = reference(path, x=np.array(texts, dtype=object).reshape(3, 2))
    assert found is not None
    assert [value.decode() for value in found.reshape(-1)] == list(expected.reshape(-1))
    assert found.shape == (3, 2)
    (none,) = plugin.open(path).session().run(np.empty((0, 2), dtype=object))
    assert none is not None and none.shape == (0, 2)


def test_signature_is_told_as_the_file_says(plugin: abi.Plugin, tmp_path: Path) -> None:
    built = models.model(
        [models.node("Concat", ["a", "a"], ["y"], axis=1), models.node("Shape", ["b"], ["s"])],
        [models.value("a", ["rows", 3]), models.value("b", [None, 2, "w"], TensorProto.INT64)],
        [models.value("y", ["rows", 6]), models.value("s", [3], TensorProto.INT64)],
    )
    built.producer_version = "7"
    built.metadata_props.add(key="author", value="Ada")
    built.metadata_props.add(key="labels", value='["a", "é"]')
    model = plugin.open(save(built, tmp_path / "m.onnx"))
    a, b = model.inputs
    assert (a.name, a.dtype, a.shape, a.dim_names) == ("a", 3, [-1, 3], ["rows", None])
    assert (b.name, b.dtype, b.shape, b.dim_names) == ("b", 8, [-1, 2, -1], [None, None, "w"])
    assert [(io.name, io.dtype, io.shape) for io in model.outputs] == [("y", 3, [-1, 6]), ("s", 8, [3])]
    assert model.info.format == b"onnx"
    assert model.info.producer == b"vonk tests 7"
    assert model.metadata == {"author": "Ada", "labels": '["a", "é"]'}


def test_parameters_are_counted_wherever_they_are(plugin: abi.Plugin, tmp_path: Path) -> None:
    inner = helper.make_graph(
        [models.node("Add", ["x", "v"], ["t"])], "then", [], [models.value("t", ["n", 5])],
        [onnx.numpy_helper.from_array(np.ones((5,), np.float32), "v")],
    )  # fmt: skip
    other = helper.make_graph([models.node("Identity", ["x"], ["e"])], "else", [], [models.value("e", ["n", 5])])
    built = models.model(
        [
            models.node("If", ["c"], ["i"], then_branch=inner, else_branch=other),
            models.node("Reshape", ["i", "to"], ["y"]),
        ],
        [models.value("x", ["n", 5]), models.value("c", [1], TensorProto.BOOL)],
        [models.value("y", ["n", 5])],
        {"to": np.array([-1, 5], np.int64), "unused_half": np.ones((2, 3), np.float16)},
    )
    model = plugin.open(save(built, tmp_path / "m.onnx"))
    assert model.info.n_params == 5 + 6  # the shape is no trained number
    assert model.info.weight_bytes == 5 * 4 + 6 * 2 + 2 * 8


def test_parameters_that_operators_have_as_attributes_are_counted(plugin: abi.Plugin, tmp_path: Path) -> None:
    """As converters of scikit-learn write them: a scaler of three columns, a regression of those."""
    scaler = helper.make_node(
        "Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0], scale=[4.0, 5.0, 6.0]
    )
    regressor = helper.make_node(
        "LinearRegressor", ["scaled"], ["y"], domain="ai.onnx.ml", coefficients=[0.5, 1.5, 2.5], intercepts=[7.0]
    )
    built = models.model([scaler, regressor], [models.value("x", ["n", 3])], [models.value("y", ["n", 1])])
    model = plugin.open(save(built, tmp_path / "m.onnx"))
    assert model.info.n_params == 3 + 3 + 3 + 1
    assert model.info.weight_bytes == 4 * model.info.n_params


@pytest.mark.parametrize("depth", [1, 3])
def test_functions_in_the_file_are_run(plugin: abi.Plugin, tmp_path: Path, depth: int) -> None:
    """Functions that call the next one ten times, 10 ** depth nodes in all."""
    path = save(make_hostile.exploding_functions(depth), tmp_path / "m.onnx")
    x = np.array([[-1, 2, -3, 4]], np.float32)
    (found,) = plugin.open(path).session().run(x)
    assert found is not None and found.tolist() == [[0, 2, 0, 4]]


def test_weights_in_every_place_are_used(plugin: abi.Plugin, tmp_path: Path) -> None:
    """What the hostile models hide a location in, with the data inside or properly beside."""
    (tmp_path / "w.bin").write_bytes(np.array([1, 2, 3, 4], np.float32).tobytes())
    x = np.ones((1, 4), np.float32)
    for place in ("initializer", "constant", "function"):
        build = make_hostile.PLACES[place]
        inside = onnx.numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "w")
        beside = make_hostile.external("w.bin")
        for tensor in (inside, beside) if place == "initializer" else (inside,):
            (found,) = plugin.open(save(build(tensor), tmp_path / f"{place}.onnx")).session().run(x)
            assert found is not None and found.tolist() == [[2, 3, 4, 5]], place


@pytest.mark.parametrize("shared", ["0", "1"])
def test_external_data_is_used(plugin: abi.Plugin, tmp_path: Path, shared: str) -> None:
    built = models.mlp((64, 64, 4))
    path = save(built, tmp_path / "plain.onnx")
    outside = tmp_path / "big.onnx"
    (tmp_path / "data").mkdir()
    external_data_helper.convert_model_to_external_data(built, location="data/w.bin", size_threshold=0)
    onnx.save(built, str(outside))
    x = np.random.default_rng(1).standard_normal((7, 64)).astype(np.float32)
    model = plugin.open(outside, shared_weights=shared)
    (found,) = model.session().run(x)
    (expected,) = reference(path, x=x)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if shared == "1" else 0)
    assert model.info.n_params == 64 * 64 + 64 + 64 * 4 + 4


def test_external_data_behind_links_of_one_cache_is_used(by_path: abi.Plugin, tmp_path: Path) -> None:
    """As in the Hugging Face cache: a snapshot's files are links into a folder of blobs."""
    built = models.mlp((16, 4))
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    external_data_helper.convert_model_to_external_data(built, location="m.onnx_data", size_threshold=0)
    onnx.save(built, str(blobs / "m.onnx"))
    (blobs / "m.onnx").rename(blobs / "aaaa")
    (blobs / "m.onnx_data").rename(blobs / "bbbb")
    (snapshot / "m.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "m.onnx_data").symlink_to("../../blobs/bbbb")
    x = np.ones((2, 16), np.float32)
    (found,) = by_path.open(snapshot / "m.onnx").session().run(x)
    (expected,) = reference(save(models.mlp((16, 4)), tmp_path / "plain.onnx"), x=x)
    assert same_bits(found, expected), (found, expected)


def test_ort_format_is_read_whatever_its_name(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.mlp((16, 8, 4)), tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(path), options)
    x = np.random.default_rng(2).standard_normal((3, 16)).astype(np.float32)
    (expected,) = reference(path, x=x)
    (tmp_path / "m.model").write_bytes((tmp_path / "m.ort").read_bytes())
    for name in ("m.ort", "m.model"):
        assert plugin.recognise(tmp_path / name) == 2
        model = plugin.open(tmp_path / name)
        assert (model.info.format, model.info.n_params, model.info.producer) == (b"ort", -1, b"vonk tests")
        (found,) = model.session().run(x)
        assert same_bits(found, expected), (found, expected)


@pytest.mark.parametrize("shared", ["0", "1"])
@pytest.mark.parametrize("shift", [0, 1])
def test_ort_file_in_memory_is_used_where_it_is(by_path: abi.Plugin, tmp_path: Path, shift: int, shared: str) -> None:
    """At an address that suits ONNX Runtime, and at one that does not."""
    path = save(models.mlp((64, 32, 4)), tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(path), options)
    x = np.random.default_rng(4).standard_normal((5, 64)).astype(np.float32)
    (expected,) = reference(path, x=x)
    files = {"m.ort": (tmp_path / "m.ort").read_bytes()}
    model = by_path.in_memory().open_files(tmp_path / "m.ort", "m.ort", files, shift, shared_weights=shared)
    for threads in (1, 2):  # the second makes a session of its own
        session = model.session(threads=threads)
        (found,) = session.run(x)
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        session.close()
    model.close()


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/../w.bin", "sub//w.bin", "x.bin"])
def test_external_data_in_memory_are_found_by_name(by_path: abi.Plugin, tmp_path: Path, location: str) -> None:
    """The model's own file lies in a folder of the bundle, and nothing is looked for in the working folder."""
    memory = by_path.in_memory()
    weights = np.array([1, 2, 3, 4], np.float32).tobytes()
    content = make_hostile.PLACES["initializer"](make_hostile.external(location)).SerializeToString()
    files = {"a/m.onnx": content, "a/w.bin": weights, "a/sub/w.bin": weights, "w.bin": b"", "x.bin": weights}
    path = tmp_path / "a/m.onnx"
    if ".." in location or location == "x.bin":
        why = "leaves the model's folder" if ".." in location else "No such file or directory"
        with pytest.raises(abi.PluginError, match=why):
            memory.open_files(path, "a/m.onnx", files)
        return
    model = memory.open_files(path, "a/m.onnx", files)
    (found,) = model.session().run(np.ones((1, 4), np.float32))
    assert found is not None and found.tolist() == [[2, 3, 4, 5]]


def test_external_data_of_no_weight_are_refused_in_memory(by_path: abi.Plugin, tmp_path: Path) -> None:
    """ONNX Runtime would look for them in the working folder."""
    weights = np.array([1, 2, 3, 4], np.float32).tobytes()
    for place in sorted(set(make_hostile.PLACES) - {"initializer"}):
        files = {"m.onnx": make_hostile.PLACES[place](make_hostile.external("w.bin")).SerializeToString()}
        files["w.bin"] = weights
        with pytest.raises(abi.PluginError, match="is no weight of the main graph"):
            by_path.in_memory().open_files(tmp_path / "m.onnx", "m.onnx", files)


def test_recognise_looks_at_the_content(plugin: abi.Plugin, tmp_path: Path) -> None:
    good = save(models.mlp((784, 512, 10)), tmp_path / "a.bin")
    assert plugin.recognise(good) == 2
    (tmp_path / "b.onnx").write_bytes(b"<html>")
    assert plugin.recognise(tmp_path / "b.onnx") == 1
    (tmp_path / "c.txt").write_bytes(b"hello")
    assert plugin.recognise(tmp_path / "c.txt") == 0
    saved_model = b"\x08\x01\x12" + make_hostile.varint(100_000) + bytes(5000)
    (tmp_path / "saved_model.pb").write_bytes(saved_model)
    assert plugin.recognise(tmp_path / "saved_model.pb") == 0
    assert plugin.recognise(tmp_path) == 0


def test_output_that_is_no_tensor_is_hidden(plugin: abi.Plugin, tmp_path: Path) -> None:
    """A classifier as skl2onnx writes them: labels, and a list of maps."""
    built = models.model(
        [models.node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
         helper.make_node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])],
        [models.value("x", ["n", 3])],
        [models.value("label", ["n"], TensorProto.INT64),
         helper.make_value_info("maps", helper.make_sequence_type_proto(
             helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))))],
    )  # fmt: skip
    model = plugin.open(save(built, tmp_path / "m.onnx"))
    assert [io.name for io in model.outputs] == ["label"]
    assert "'maps': is a sequence: vonk has tensors only" in plugin.logged[-1][1]
    (label,) = model.session().run(np.array([[0, 9, 1], [5, 0, 0]], np.float32))
    assert label is not None and label.tolist() == [1, 0]
    del built.graph.node[0], built.graph.output[0]
    with pytest.raises(abi.PluginError, match="'maps': is a sequence") as failure:
        plugin.open(save(built, tmp_path / "none.onnx"))
    assert failure.value.code == abi.UNSUPPORTED


def test_input_that_is_no_tensor_is_refused(plugin: abi.Plugin, tmp_path: Path) -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
    built = models.model(
        [models.node("SequenceLength", ["s"], ["y"])],
        [helper.make_value_info("s", kind)],
        [models.value("y", [], TensorProto.INT64)],
    )
    with pytest.raises(abi.PluginError, match="input 's': is a sequence: vonk has tensors only") as failure:
        plugin.open(save(built, tmp_path / "m.onnx"))
    assert failure.value.code == abi.UNSUPPORTED


def test_fixed_batch_is_told_and_kept(plugin: abi.Plugin, tmp_path: Path) -> None:
    model = plugin.open(save(models.identity(models.F32, [4, 3]), tmp_path / "m.onnx"))
    assert model.inputs[0].shape == [4, 3]
    session = model.session()
    (found,) = session.run(np.ones((4, 3), np.float32))
    assert found is not None and found.shape == (4, 3)
    with pytest.raises(abi.PluginError, match=r"input 'x': has shape \[5, 3\]: the model wants \[4, 3\]"):
        session.run(np.ones((5, 3), np.float32))


def test_rank_beyond_eight_is_refused(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.identity(models.F32, [1] * 9), tmp_path / "m.onnx")
    with pytest.raises(abi.PluginError, match="'x': has 9 dimensions: at most 8 are possible"):
        plugin.open(path)
    (found,) = (
        plugin.open(save(models.identity(models.F32, ["n", *[1] * 7]), tmp_path / "8.onnx"))
        .session()
        .run(np.ones((2, *[1] * 7), np.float32))
    )
    assert found is not None and found.shape == (2, *[1] * 7)


def test_more_inputs_than_the_stack_holds(plugin: abi.Plugin, tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(40)]
    built = models.model(
        [models.node("Sum", names, ["y"]), *[models.node("Neg", [name], [f"n{name}"]) for name in names]],
        [models.value(name, ["n"]) for name in names],
        [models.value("y", ["n"]), *[models.value(f"n{name}", ["n"]) for name in names]],
    )
    session = plugin.open(save(built, tmp_path / "m.onnx")).session()
    results = session.run(*[np.full(2, i, np.float32) for i in range(40)], skip=(3,))
    assert results[0] is not None and results[0].tolist() == [780.0, 780.0]
    assert results[3] is None
    last = results[40]
    assert last is not None and last.tolist() == [-39.0, -39.0]


def test_options_are_checked(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.mlp(), tmp_path / "m.onnx")
    x = np.ones((2, 4), np.float32)
    (expected,) = reference(path, x=x)
    for level in ("disable", "basic", "extended", "all"):
        (found,) = plugin.open(path, graph_optimization=level).session().run(x)
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    with pytest.raises(abi.PluginError, match="'fast': disable, basic, extended and all are possible"):
        plugin.open(path, graph_optimization="fast")
    with pytest.raises(abi.PluginError, match="shared_weights='yes': 0 and 1 are possible"):
        plugin.open(path, shared_weights="yes")


def test_two_threads_give_the_same_bits(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.mlp((128, 256, 8)), tmp_path / "m.onnx")
    x = np.random.default_rng(5).standard_normal((300, 128)).astype(np.float32)
    model = plugin.open(path)
    one, two = model.session(), model.session(threads=2)
    (a,), (b,) = one.run(x), two.run(x)
    assert b is not None and same_bits(a, b)


def test_models_open_and_close_while_others_run(plugin: abi.Plugin, tmp_path: Path) -> None:
    path = save(models.mlp((32, 64, 4)), tmp_path / "m.onnx")
    x = np.random.default_rng(6).standard_normal((50, 32)).astype(np.float32)
    (expected,) = reference(path, x=x)
    faults: list[object] = []

    def work() -> None:
        for _ in range(20):
            model = plugin.open(path)
            session = model.session()
            (found,) = session.run(x)
            session.close()
            model.close()
            if not same_bits(found, expected):
                faults.append(found)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_running_out_of_memory_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    """The n-th allocation fails, for every n, in opening and running models of all kinds of outputs."""
    built = models.mlp()
    built.metadata_props.add(key="a", value="b")
    paths = [save(built, tmp_path / "m.onnx"), save(models.identity(TensorProto.STRING), tmp_path / "s.onnx"),
             save(make_hostile.exploding_functions(2), tmp_path / "f.onnx")]  # fmt: skip
    command = [
        sys.executable,
        str(TOOLS / "out_of_memory.py"),
        str(find_plugin()),
        f"onnxruntime={find_library()}",
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    failed, opened = map(int, done.stdout.split())
    assert (failed >= 50, opened) == (True, 3), done.stdout


# --- hostile files --------------------------------------------------------------------------------------------------

IN_OPEN, IN_ACCESS, IN_NONBLOCK = 0x20, 0x1, 0o4000


class Watch:
    """Tells whether anything in a folder was opened or read, by inotify."""

    def __init__(self, folder: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(IN_NONBLOCK)
        assert self.libc.inotify_add_watch(self.fd, bytes(folder), IN_OPEN | IN_ACCESS) >= 0

    def has_fired(self) -> bool:
        try:
            return len(os.read(self.fd, 65536)) > 0
        except BlockingIOError:
            return False


@pytest.fixture(scope="module", params=["path", "memory"])
def hostile(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[list[make_hostile.Case], dict[str, Any], Watch]]:
    """The corpus, and what a process of its own answered to each file."""
    folder = tmp_path_factory.mktemp("hostile")
    cases = make_hostile.make_all(folder)
    if request.param == "memory":  # where there are no links, pipes or folders
        nothing = "no such file or directory"
        absent = {"link out of the model's folder": nothing, "no regular file": nothing}
        cases = [dataclasses.replace(case, expected=absent.get(case.expected, case.expected)) for case in cases]
    watch = Watch(make_hostile.outside_of(folder))
    command = [sys.executable, str(TOOLS / "open_all.py"), str(find_plugin()), f"onnxruntime={find_library()}"]
    command += ["memory"] if request.param == "memory" else []
    paths = "".join(f"{case.path}\n" for case in cases)
    done = subprocess.run(command, input=paths, capture_output=True, text=True, timeout=300, check=False)
    answers = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers[answer["path"]] = answer
    missing = [case.name for case in cases if str(case.path) not in answers]
    assert done.returncode == 0, f"ended with {done.returncode} at {missing[:1]}: {done.stderr[-2000:]}"
    assert done.stderr == ""
    yield cases, answers, watch


def test_every_hostile_file_gives_one_clear_error(
    hostile: tuple[list[make_hostile.Case], dict[str, Any], Watch],
) -> None:
    cases, answers, _ = hostile
    assert len(cases) >= 90
    for case in cases:
        answer = answers[str(case.path)]
        assert answer["status"] in (abi.MODEL, abi.IO, abi.UNSUPPORTED), (case.name, answer)
        message = answer["message"]
        assert case.expected in message.lower(), (case.name, message)
        assert message.startswith(f"'{case.path}': ") and "\n" not in message, (case.name, message)
        assert ".cc:" not in message and "onnxruntime::" not in message, (case.name, message)


def test_nothing_outside_the_models_folder_is_opened(
    hostile: tuple[list[make_hostile.Case], dict[str, Any], Watch],
) -> None:
    cases, _, watch = hostile
    assert not watch.has_fired()
    canary = make_hostile.outside_of(cases[0].path.parent.parent) / "canary"
    canary.read_bytes()
    assert watch.has_fired(), "the watch itself does not work here"


@pytest.mark.parametrize("how", [[], ["memory"]], ids=["path", "memory"])
def test_broken_bytes_never_crash(tmp_path: Path, how: list[str]) -> None:
    """Single bytes of good models changed, and models cut off at every length: opened, or one error each."""
    paths = []
    rng = np.random.default_rng(11)
    for name, make in models.COMMITTED.items():
        good = make().SerializeToString(deterministic=True)
        for i in range(60):
            bad = bytearray(good)
            for _ in range(int(rng.integers(1, 4))):
                bad[int(rng.integers(min(len(bad), 600)))] = int(rng.integers(256))
            bad = bad if i % 2 else bad[: int(rng.integers(len(bad)))]
            path = tmp_path / f"{i}_{name}"
            path.write_bytes(bad)
            paths.append(str(path))
    command = [sys.executable, str(TOOLS / "open_all.py"), str(find_plugin()), f"onnxruntime={find_library()}", *how]
    done = subprocess.run(
        command, input="\n".join(paths) + "\n", capture_output=True, text=True, timeout=300, check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended with {done.returncode} at {paths[len(answers) :][:1]}: {done.stderr[-2000:]}"
    assert [answer["path"] for answer in answers] == paths
    assert sum(answer["status"] != 0 for answer in answers) > len(paths) // 2
