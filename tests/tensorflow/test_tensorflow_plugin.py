"""The TensorFlow plug-in alone, over its C interface, against TensorFlow's own results (make_models.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, ROOT
from numpy.typing import NDArray

import abi

DTYPE_NAMES = ["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool", "string"]


def find_plugin() -> Path:
    """In VONK_TEST_PLUGIN_DIR, as ctest says for each preset; by hand, the developer build's."""
    return Path(os.environ.get("VONK_TEST_PLUGIN_DIR", ROOT / "build/dev/lib/vonk/plugins")) / "vonk_tensorflow.so"


@pytest.fixture(scope="session")
def by_path(library: Path) -> abi.Plugin:
    return abi.Plugin(find_plugin(), {"tensorflow": str(library)})


@pytest.fixture(scope="session", params=["path", "memory"])
def plugin(request: pytest.FixtureRequest, by_path: abi.Plugin) -> abi.Plugin:
    """The plug-in, which is given paths or files in memory."""
    return by_path.in_memory() if request.param == "memory" else by_path


def recorded(models: Path, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Inputs and outputs of TensorFlow itself."""
    with np.load(models / f"{name}.npz", allow_pickle=True) as arrays:
        return ({key[3:]: arrays[key] for key in arrays if key.startswith("in_")},
                {key[4:]: arrays[key] for key in arrays if key.startswith("out_")})  # fmt: skip


def run(model: abi.Model, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    session = model.session()
    found = session.run(*[np.ascontiguousarray(inputs[io.name]).reshape(inputs[io.name].shape) for io in model.inputs])
    session.close()
    return {io.name: value for io, value in zip(model.outputs, found, strict=True) if value is not None}


def check(model: abi.Model, models: Path, name: str, tolerance: float = 1e-6) -> None:
    inputs, expected = recorded(models, name)
    found = run(model, inputs)
    assert list(found) == [io.name for io in model.outputs] and set(found) == set(expected), (found, expected)
    for key, value in expected.items():
        assert found[key].shape == value.shape, (key, found[key], value)
        if value.dtype == object:
            assert found[key].tolist() == value.tolist(), (key, found[key], value)
        else:
            np.testing.assert_allclose(found[key], value, rtol=0, atol=tolerance, err_msg=key)


def in_a_process(code: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent / 'onnx'}", **environment}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


# --- opening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_keras_exports_agree_with_keras(plugin: abi.Plugin, models: Path, name: str) -> None:
    check(plugin.open(models / name), models, name)


@pytest.mark.parametrize(
    ("path", "options", "reference"),
    [
        ("v1", {}, "v1"), ("v1/saved_model.pb", {}, "v1"), ("frozen.pb", {"inputs": "x"}, "v1"),
        ("checkpoint/model.meta", {"outputs": "y"}, "v1"), ("checkpoint/step-7.meta", {"outputs": "y:0"}, "v1"),
        ("checkpoint/model.meta", {"inputs": "x:f32[-1,4],rate", "outputs": "y"}, "v1_half"),
    ],
)  # fmt: skip
def test_models_of_tensorflow_1_agree_with_it(
    plugin: abi.Plugin, models: Path, path: str, options: dict[str, str], reference: str
) -> None:
    model = plugin.open(models / path, **options)
    check(model, models, reference)
    assert (model.inputs[0].name, model.inputs[0].shape) == ("x", [-1, 4])
    assert model.info.n_params == 4 * 3 + 3
    assert model.info.weight_bytes == 4 * (4 * 3 + 3)


def test_frozen_graph_needs_no_options(plugin: abi.Plugin, models: Path) -> None:
    """The placeholder that has a default value is no input."""
    model = plugin.open(models / "frozen.pb")
    assert [(io.name, io.shape) for io in model.inputs] == [("x", [-1, 4])]
    assert [(io.name, io.shape) for io in model.outputs] == [("y", [-1, 3])]
    assert (model.info.format, model.info.n_metadata) == (b"graphdef", 0)


@pytest.mark.parametrize("signature", ["text", "mix"])
def test_signatures_are_chosen_by_name(plugin: abi.Plugin, models: Path, signature: str) -> None:
    model = plugin.open(models / "text", signature=signature)
    check(model, models, f"text.{signature}")
    assert model.metadata == {"signatures": "mix, text", "signature": signature, "tags": "serve"}
    assert model.info.producer is not None and model.info.producer.startswith(b"tensorflow 2.")
    assert model.info.n_params == (2 if signature == "mix" else 0)


def test_a_signature_that_is_not_there_is_told_with_the_others(plugin: abi.Plugin, models: Path) -> None:
    with pytest.raises(abi.PluginError, match="has no signature 'serving_default': it has: mix, text") as failure:
        plugin.open(models / "text")
    assert failure.value.code == abi.INVALID
    with pytest.raises(abi.PluginError, match="has no signature 'nope': it has: mix, text"):
        plugin.open(models / "text", signature="nope")
    with pytest.raises(abi.PluginError, match="the file has no signatures"):
        plugin.open(models / "frozen.pb", signature="mix")
    with pytest.raises(abi.PluginError, match="has no signatures, so it does not say"):
        plugin.open(models / "no_signature")


def test_graphs_are_chosen_by_tags(plugin: abi.Plugin, models: Path) -> None:
    words = np.array([b"spark", b"a", b"?"], dtype=object)
    for tags, factor in ((None, 3), ("serve", 3), ("double, serve", 6)):
        model = plugin.open(models / "v1_tables", **({} if tags is None else {"tags": tags}))
        assert run(model, {"words": words})["found"].tolist() == [2 * factor, 0, -factor]
    with pytest.raises(abi.PluginError, match=r"no graph with the tags 'gpu': it has: \{serve\} \{\w+,\w+\}"):
        plugin.open(models / "v1_tables", tags="gpu")


def test_a_table_in_a_meta_file_is_filled(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "checkpoint/table.meta", outputs="found")
    assert run(model, {"words": np.array([b"b", b"z", b"a"], dtype=object)})["found"].tolist() == [20, -1, 10]


def test_names_are_in_the_order_of_their_numbers(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "shapes", signature="many")
    assert [io.name for io in model.outputs] == [f"output_{i}" for i in range(12)]
    found = run(model, {"x": np.zeros((1, 2), np.float32)})
    assert [found[f"output_{i}"][0, 0] for i in range(12)] == list(range(12))


def test_parameters_are_those_of_the_signature(plugin: abi.Plugin, models: Path) -> None:
    """As Keras counts: 4*8+8, four times 8 of the normalisation, 8*3+3."""
    info = plugin.open(models / "mlp").info
    assert (info.n_params, info.weight_bytes) == (40 + 32 + 27, 4 * (40 + 32 + 27))
    assert plugin.open(models / "cnn").info.n_params == 3 * 3 * 3 * 6 + 6 + 6 * 2 + 2 + 6 * 5 + 5


def test_a_shape_that_the_model_leaves_open_is_said_by_option(plugin: abi.Plugin, models: Path) -> None:
    with pytest.raises(abi.PluginError, match=r"input 'x': the model does not say its shape: .*inputs='x:f32\[-1,4\]'"):
        plugin.open(models / "shapes", signature="loose")
    model = plugin.open(models / "shapes", signature="loose", inputs="x:f32[-1,4]", outputs="y:f32[-1,1]")
    assert (model.inputs[0].shape, model.outputs[0].shape) == ([-1, 4], [-1, 1])
    assert run(model, {"x": np.ones((3, 4), np.float32)})["y"].tolist() == [[4.0]] * 3
    unknown = plugin.open(models / "shapes", signature="loose", inputs="x:f32[-1,4]")
    assert unknown.outputs[0].shape is None
    for inputs, why in (("x:i64[-1,4]", "is said to be i64: the model has f32"), ("z", "has no 'z': it has: x")):
        with pytest.raises(abi.PluginError, match=why):
            plugin.open(models / "shapes", signature="loose", inputs=inputs)
    with pytest.raises(abi.PluginError, match=r"shape \[-1, 4\]: the model has \[4, 3\]"):
        plugin.open(models / "shapes", signature="fixed", inputs="x:f32[-1,4]")


def test_options_are_checked(plugin: abi.Plugin, models: Path) -> None:
    with pytest.raises(abi.PluginError, match="'fast': the TensorFlow plug-in has signature, tags, inputs and outputs"):
        plugin.open(models / "mlp", fast="1")
    with pytest.raises(abi.PluginError, match="has no node 'nowhere', which the option outputs names"):
        plugin.open(models / "frozen.pb", outputs="nowhere")


def test_a_training_graph_says_what_to_choose_from(plugin: abi.Plugin, models: Path) -> None:
    with pytest.raises(abi.PluginError, match=r"saved for training.*outputs='y': candidates are y, loss$"):
        plugin.open(models / "checkpoint/model.meta")
    with pytest.raises(abi.PluginError, match="has variables, and a graph alone does not hold their values"):
        plugin.open(models / "unfrozen.pb", outputs="y")


def test_a_model_behind_links_of_one_cache_is_opened(by_path: abi.Plugin, models: Path, tmp_path: Path) -> None:
    """As in the Hugging Face cache: a snapshot's files are links into a folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/1"
    blobs.mkdir()
    for file in sorted(p for p in (models / "text").rglob("*") if p.is_file()):
        link = snapshot / file.relative_to(models / "text")
        link.parent.mkdir(parents=True, exist_ok=True)
        (blobs / file.name).write_bytes(file.read_bytes())
        link.symlink_to(blobs / file.name)
    check(by_path.open(snapshot, signature="text"), models, "text.text")


def test_recognise_looks_at_the_content(plugin: abi.Plugin, models: Path, tmp_path: Path) -> None:
    for name in ("mlp", "v1", "frozen.pb", "unfrozen.pb", "checkpoint/model.meta", "mlp/saved_model.pb", "mlp.keras"):
        assert plugin.recognise(models / name) == 2, name
    (tmp_path / "x").write_bytes((models / "frozen.pb").read_bytes())
    (tmp_path / "y").write_bytes((models / "checkpoint/model.meta").read_bytes())
    (tmp_path / "z.pb").write_bytes(b"hello")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "b.txt").write_bytes(b"hello")
    assert [plugin.recognise(tmp_path / name) for name in ("x", "y", "z.pb", "a.h5", "b.txt")] == [2, 2, 1, 1, 0]
    assert plugin.recognise(tmp_path) == 0
    assert plugin.recognise(models / "checkpoint") == 1
    for file in sorted((ROOT / "tests/data").glob("*.onnx")):
        assert plugin.recognise(file) == 0, file


# --- running -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPE_NAMES)
def test_every_dtype_goes_in_and_out_unchanged(plugin: abi.Plugin, models: Path, name: str) -> None:
    model = plugin.open(models / "dtypes", signature=name)
    inputs, expected = recorded(models, f"dtypes.{name}")
    found = run(model, inputs)
    for key in ("same", "twice"):
        value = expected[key]
        assert found[key].shape == value.shape and found[key].dtype == value.dtype, (found[key], value)
        same = found[key].tolist() == value.tolist() if name == "string" else found[key].tobytes() == value.tobytes()
        assert same, (found[key], value)
    empty = run(model, {"x": np.empty((0, 3), inputs["x"].dtype)})
    assert (empty["same"].shape, empty["twice"].shape) == ((0, 3), (0, 6))


def test_ranks_from_0_to_8(plugin: abi.Plugin, models: Path) -> None:
    for rank in (1, 3, 8):
        x = np.random.default_rng(rank).random([3] + [2] * (rank - 1), np.float32)
        found = run(plugin.open(models / "dtypes", signature=f"rank{rank}"), {"x": x})["y"]
        assert np.array_equal(found, x * 2), (found, x * 2)
    x = np.arange(3, dtype=np.float32)
    found = run(plugin.open(models / "dtypes", signature="scalar"), {"a": np.float32(2.5).reshape(()), "x": x})["y"]
    assert found.tolist() == [0.0, 2.5, 5.0]
    with pytest.raises(abi.PluginError, match="'x': has 9 dimensions: at most 8 are possible"):
        plugin.open(models / "shapes", signature="nine")


def test_more_inputs_than_the_stack_holds(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "shapes", signature="wide")
    assert [io.name for io in model.inputs] == [f"x{i}" for i in range(40)]
    found = run(model, {f"x{i}": np.full(2, i, np.float32) for i in range(40)})
    assert (found["total"].tolist(), found["first"].tolist()) == ([780.0, 780.0], [0.0, 0.0])


def test_outputs_that_nobody_wants_are_not_computed(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "shapes", signature="many")
    session = model.session()
    x = np.ones((2, 2), np.float32)
    found = session.run(x, skip=tuple(i for i in range(12) if i != 7))
    assert [value is None for value in found] == [i != 7 for i in range(12)]
    assert found[7] is not None and found[7].tolist() == [[8.0, 8.0]] * 2


def test_unaligned_inputs_give_the_same_bits(plugin: abi.Plugin, models: Path) -> None:
    inputs, _ = recorded(models, "mlp")
    session = plugin.open(models / "mlp").session()
    (expected,) = session.run(inputs["x"])
    assert expected is not None
    raw = np.zeros(inputs["x"].nbytes + 256, np.uint8)
    for shift in range(0, 72, 4):
        place = raw[shift : shift + inputs["x"].nbytes].view(np.float32).reshape(inputs["x"].shape)
        place[...] = inputs["x"]
        (found,) = session.run(place)
        assert found is not None and found.tobytes() == expected.tobytes(), (shift, found, expected)


def test_results_stay_when_the_session_and_the_input_are_gone(plugin: abi.Plugin, models: Path) -> None:
    """An output may be the model's own constant, or the input's memory."""
    model = plugin.open(models / "dtypes", signature="f32")
    session = model.session()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    keep: list[Any] = []
    outputs: list[abi.Tensor | None] = [abi.Tensor(struct_size=abi.c.sizeof(abi.Tensor)) for _ in model.outputs]
    session.run_raw([abi.tensor_of(x, abi_f32(), keep)], outputs)
    expected = x.copy()
    x[...] = -1
    session.close()
    for tensor in outputs:
        assert tensor is not None and tensor.data % 4 == 0
        found = abi.array_of(tensor)
        assert np.array_equal(found[:, :3], expected), (found, expected)
        tensor.release(abi.c.byref(tensor))
    model.close()


def abi_f32() -> int:
    return next(number for number, name in abi.DTYPES.items() if name == "f4")


def test_memory_that_the_model_keeps_is_not_the_callers(plugin: abi.Plugin, models: Path) -> None:
    """The model stores its input in a variable; the caller's memory changes afterwards."""
    model = plugin.open(models / "shapes", signature="keep")
    session = model.session()
    raw = np.zeros(64, np.float32)
    start = (-raw.ctypes.data % 64) // 4
    x = raw[start : start + 3]
    x[...] = [1, 2, 3]
    session.run(x)
    x[...] = 9
    (stored,) = session.run(x)
    assert stored is not None and stored.tolist() == [1.0, 2.0, 3.0]
    session.close()
    model.close()


@pytest.mark.parametrize(
    ("signature", "value", "why"),
    [
        ("reshape", np.ones((5, 2), np.float32), r"10 values, but the requested shape has 12 \(node 'Reshape'\)$"),
        (
            "number",
            np.array([b"1", b"zz"], object),
            r"could not correctly convert string: zz \(node 'StringToNumber'\)",
        ),
        ("gather", np.array([0, 7], np.int32), r"indices\[1\] = 7 is not in \[0, 2\) \(node 'GatherV2'\)$"),
        ("check", np.array([1, -1], np.float32), "x must be positive"),
    ],
)
def test_a_run_that_fails_says_why(
    plugin: abi.Plugin, models: Path, signature: str, value: NDArray[Any], why: str
) -> None:
    model = plugin.open(models / "failing", signature=signature)
    session = model.session()
    with pytest.raises(abi.PluginError, match=why) as failure:
        session.run(value)
    assert failure.value.code == abi.BACKEND and failure.value.native_code == 3
    assert "{{" not in str(failure.value) and "\n" not in str(failure.value)


def test_tensors_that_do_not_fit_are_told(plugin: abi.Plugin, models: Path) -> None:
    session = plugin.open(models / "shapes", signature="fixed").session()
    with pytest.raises(abi.PluginError, match=r"input 'x': has shape \[5, 3\]: the model wants \[4, 3\]"):
        session.run(np.ones((5, 3), np.float32))
    with pytest.raises(abi.PluginError, match="runs on the cpu only"):
        plugin.open(models / "mlp").session(device=(abi.CUDA, 0))


def test_eight_threads_share_a_session(plugin: abi.Plugin, models: Path) -> None:
    inputs, _ = recorded(models, "mlp")
    session = plugin.open(models / "mlp").session()
    (expected,) = session.run(inputs["x"])
    faults: list[object] = []

    def work() -> None:
        for _ in range(50):
            (found,) = session.run(inputs["x"])
            if found is None or expected is None or found.tobytes() != expected.tobytes():
                faults.append(found)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_models_open_and_close_while_others_run(plugin: abi.Plugin, models: Path) -> None:
    faults: list[object] = []

    def work(name: str) -> None:
        try:
            for _ in range(5):
                model = plugin.open(models / name)
                check(model, models, name)
                model.close()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("mlp", "cnn", "mlp", "cnn")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


# --- manners -------------------------------------------------------------------------------------------------------

QUIET = """
import os, sys, threading, abi, numpy as np
before = dict(os.environ)
stop = threading.Event()
libc = abi.c.CDLL(None)
stream = abi.c.c_void_p.in_dll(libc, "stderr")
libc.fputs.argtypes = [abi.c.c_char_p, abi.c.c_void_p]
def talk():
    for i in range(200):
        libc.fputs(b"other thread\\n", stream)
        stop.wait(0.01)
        if stop.is_set():
            break
    print(i + 1)
thread = threading.Thread(target=talk)
thread.start()
plugin = abi.Plugin(sys.argv[1], {"tensorflow": sys.argv[2]})
model = plugin.open(sys.argv[3], signature="number")
session = model.session()
for value in (b"1", b"one"):
    try:
        session.run(np.array([value], object))
    except abi.PluginError:
        pass
stop.set()
thread.join()
environ = [c for c in abi.c.cast(abi.c.c_void_p.in_dll(libc, "environ"), abi.c.POINTER(abi.c.c_char_p))[:len(before)]]
assert dict(x.decode().split("=", 1) for x in environ) == before
libc.fputs(b"the end\\n", stream)
"""


def test_nothing_is_printed_and_what_others_print_is_kept(library: Path, models: Path) -> None:
    """Loading, a first session and a failing run, while another thread writes to C's stderr."""
    done = in_a_process(QUIET, find_plugin(), library, models / "failing")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["other thread"] * int(done.stdout) + ["the end"]


def test_a_users_own_tensorflow_logs_as_before(library: Path, models: Path) -> None:
    """Python's TensorFlow in the same process: its levels are what they were, inside a run they are not."""
    code = """
import sys, abi, numpy as np
plugin = abi.Plugin(sys.argv[1], {"tensorflow": sys.argv[2]})
session = plugin.open(sys.argv[3]).session()
session.run(np.zeros((1, 4), np.float32))
import tensorflow as tf
print(float(tf.reduce_sum(tf.ones([3]))))
import subprocess
base = abi.c.CDLL(sys.argv[2].replace("_cc", "_framework"))
listing = open(sys.argv[2].replace("_cc", "_framework"), "rb").read()
end = listing.index(b"11MinLogLevelEv\\0")
start = listing.rindex(b"\\0", 0, end) + 1
print(getattr(base, listing[start:end].decode() + "11MinLogLevelEv")())
session.run(np.zeros((1, 4), np.float32))
print(getattr(base, listing[start:end].decode() + "11MinLogLevelEv")())
"""
    done = in_a_process(code, find_plugin(), library, models / "mlp", CUDA_VISIBLE_DEVICES="")
    lines = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "3.0" and lines[1] == lines[2] and int(lines[1]) < 1000, done.stdout


@pytest.mark.parametrize("how", ["loaded", "variable"])
def test_library_is_found_without_a_record(library: Path, how: str) -> None:
    code = (
        "import sys, ctypes, abi\n"
        f"library = ctypes.CDLL(sys.argv[2]) if {how == 'loaded'} else None\n"
        "print(abi.Plugin(sys.argv[1], {}).runtime()[1])"
    )
    named = {"VONK_TENSORFLOW_LIBRARY": str(library) if how == "variable" else ""}
    done = in_a_process(code, find_plugin(), library, **named)
    assert done.stdout.strip() == str(library.resolve()), done.stderr


def test_a_missing_tensorflow_says_how_to_get_it(models: Path) -> None:
    code = "import sys, abi\nabi.Plugin(sys.argv[1], {}).open(sys.argv[2])"
    done = in_a_process(code, find_plugin(), models / "mlp", VONK_TENSORFLOW_LIBRARY="")
    assert "TensorFlow: not found: " in done.stderr, done.stderr
    assert "make setup EXTRAS=tensorflow" in done.stderr, done.stderr


def test_running_out_of_memory_is_an_error_and_leaks_nothing(library: Path, models: Path) -> None:
    """The n-th allocation of the plug-in fails, for every n, in opening and running."""
    names = ["mlp", "dtypes/saved_model.pb?signature=string", "frozen.pb", "v1_tables"]
    done = subprocess.run(
        [sys.executable, str(HERE.parent / "onnx" / "out_of_memory.py"), str(find_plugin()), f"tensorflow={library}",
         *[str(models / name) for name in names]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    failed, opened = map(int, done.stdout.split())
    assert (failed >= 100, opened) == (True, len(names)), done.stdout


# --- hostile models ------------------------------------------------------------------------------------------------


HOW = pytest.mark.parametrize("how", ["path", "memory"])


def answers_to(library: Path, paths: list[str], how: str) -> list[dict[str, Any]]:
    """What a process of its own answered to each path, or to the files there in memory."""
    command = [sys.executable, str(HERE / "open_all.py"), str(find_plugin()), str(library), how]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "onnx")}
    done = subprocess.run(command, input="".join(f"{path}\n" for path in paths), env=environment,
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended with {done.returncode} at {paths[len(answers) :][:1]}: {done.stderr[-2000:]}"
    assert done.stderr == ""
    assert [answer["path"] for answer in answers] == paths
    return answers


@HOW
def test_every_hostile_model_gives_one_clear_error(library: Path, models: Path, how: str) -> None:
    cases = json.loads((models / "hostile/cases.json").read_text())
    assert len(cases) >= 90
    canary = models / "hostile/outside/canary"
    os.utime(canary, (1, 2))
    # where there are no links, pipes or folders
    absent = {"link out of the model's folder": "no such file", "no regular file": "no such file"}
    answers = answers_to(library, [case[1] for case in cases], how)
    for (name, path, expected), answer in zip(cases, answers, strict=True):
        part = absent.get(expected, expected) if how == "memory" else expected
        assert answer["status"] in (abi.MODEL, abi.IO, abi.UNSUPPORTED, abi.INVALID), (name, answer)
        message = answer["message"]
        assert part in message.lower(), (name, message)
        assert message.startswith(f"'{path}': ") and "\n" not in message, (name, message)
        assert ".cc:" not in message and "{{" not in message, (name, message)
    assert canary.stat().st_atime == 1, "the file outside was read"
    assert canary.read_text() == "a\nb\n"


@HOW
def test_broken_bytes_never_crash(library: Path, models: Path, tmp_path: Path, how: str) -> None:
    """Single bytes of good models changed, and models cut off at every length: opened, or one error each."""
    rng = np.random.default_rng(11)
    paths = []
    for name in ("frozen.pb", "checkpoint/table.meta", "mlp/saved_model.pb"):
        good = (models / name).read_bytes()
        for i in range(60):
            bad = bytearray(good)
            for _ in range(int(rng.integers(1, 4))):
                bad[int(rng.integers(min(len(bad), 4000)))] = int(rng.integers(256))
            bad = bad if i % 2 else bad[: int(rng.integers(len(bad)))]
            folder = tmp_path / f"{i}_{Path(name).stem}"
            folder.mkdir(exist_ok=True)
            path = folder / Path(name).name
            path.write_bytes(bad)
            paths.append(str(path))
    answers = answers_to(library, paths, how)
    assert sum(answer["status"] != 0 for answer in answers) > len(paths) // 2
