"""The PyTorch plug-in alone, over its C interface, against PyTorch's own results (make_models.py)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent.parent
sys.path.append(str(ROOT / "tests/onnx"))  # what drives any plug-in

import make_hostile  # noqa: E402

import abi  # noqa: E402

BUILD = Path(os.environ.get("VONK_BUILD_DIR", ROOT / "build/dev"))
PLUGIN = Path(os.environ.get("VONK_TEST_PLUGIN_DIR", BUILD / "lib/vonk/plugins")) / "vonk_torch.so"


def configured_library() -> Path | None:
    """The libtorch_cpu.so that the build found; the tests run without PyTorch where it found none."""
    lines = (BUILD / "lib/vonk/paths.conf").read_text().splitlines()
    return next((Path(line.removeprefix("torch=")) for line in lines if line.startswith("torch=")), None)


LIBRARY = configured_library()
needs_torch = pytest.mark.skipif(LIBRARY is None, reason="this build was configured without PyTorch")


@pytest.fixture(scope="session")
def by_path() -> abi.Plugin:
    return abi.Plugin(PLUGIN, {"torch": str(LIBRARY)} if LIBRARY else {})


@pytest.fixture(scope="session", params=["path", "memory"])
def plugin(request: pytest.FixtureRequest, by_path: abi.Plugin) -> abi.Plugin:
    """The plug-in, which is given paths or files in memory."""
    return by_path.in_memory() if request.param == "memory" else by_path


@pytest.fixture(scope="session")
def models() -> Path:
    """The files of make_models.py, made once for each version of it."""
    script = TOOLS / "make_models.py"
    folder = BUILD / "torch-models" / hashlib.sha256(script.read_bytes()).hexdigest()[:16]
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "ASAN_OPTIONS")}
        environment["TMPDIR"] = f"{folder}.tmp"  # where the compiler keeps what it has compiled
        Path(environment["TMPDIR"]).mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, str(script), str(folder)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / "done").touch()
    return folder


def recorded(models: Path, name: str) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    arrays = np.load(models / f"{name}.npz")
    count = {kind: sum(key.startswith(kind) for key in arrays) for kind in ("in_", "out_")}
    inputs = [arrays[f"in_{i}"] for i in range(count["in_"])]
    return inputs, [arrays[f"out_{i}"] for i in range(count["out_"])]


def assert_same(found: list[NDArray[Any] | None], expected: list[NDArray[Any]], tolerance: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert (one.shape, one.dtype.itemsize) == (other.shape, other.dtype.itemsize)
        if other.dtype.kind == "f":
            np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)
        else:
            np.testing.assert_array_equal(one.view(other.dtype), other)


MODELS = {
    # file, its options, outputs it has: name and shape
    "mlp": ("mlp.pt", "x:f32[-1,6]", [("output", [-1, 3])]),
    "cnn": ("cnn.pt", "image:f32[-1,3,12,12]", [("output", [-1, 2])]),
    "traced": ("traced.pt", None, [("output", [-1, 2])]),
    "attention": ("attention.pt", "mask:f32[-1,-1],ids:i64[-1,-1]", [("output_0", [-1, 4]), ("output_1", [-1, -1, 4])]),
    "attention_plain": ("attention_plain.pt", "ids:i64[-1,6]", [("output_0", [-1, 4]), ("output_1", [-1, 6, 4])]),
    "named": ("named.pt", "x:f32[-1,3]", [("score", [-1]), ("label", [-1])]),
    "dictionary": ("dictionary.pt", "x:f32[-1,3]", [("also", [-1, 3]), ("big", [-1, 3]), ("sum", [-1])]),
    "row": ("row.pt", "x:f32[-1,3]", [("output_0", [-1, 3]), ("output_1", [-1, 3]), ("output_2", [-1, 2])]),
    "writer": ("writer.pt", "x:f32[-1,3]", [("output", [-1, 3])]),
    "scalars": ("scalars.pt", "x:f32[-1,3],factor:f32[]", [("output_0", [-1, 3]), ("output_1", [3])]),
    "package_mlp": ("mlp.pt2", None, [("output", [-1, 3])]),
    "package_named": ("named.pt2", None, [("score", [-1, 3]), ("same", [-1, 4]), ("total", [-1])]),
    "package_in_place": ("in_place.pt2", None, [("output", [-1, 4])]),
}


def open_model(plugin: abi.Plugin, models: Path, name: str) -> abi.Model:
    file, inputs, _ = MODELS[name]
    options = {} if inputs is None else {"inputs": inputs}
    return plugin.open(models / file, **options, **({"allow_native_code": "1"} if file.endswith(".pt2") else {}))


@needs_torch
@pytest.mark.parametrize("name", MODELS)
def test_runs_give_what_pytorch_gives(plugin: abi.Plugin, models: Path, name: str, capfd: Any) -> None:
    model = open_model(plugin, models, name)
    assert [(io.name, list(io.shape)) for io in model.outputs] == MODELS[name][2]
    session = model.session()
    inputs, expected = recorded(models, name)
    for _ in range(3):
        given = [array.copy() for array in inputs]
        assert_same(session.run(*given), expected)
        for array, before in zip(given, inputs, strict=True):
            np.testing.assert_array_equal(array, before, "an input was written")
    session.close()
    model.close()
    assert capfd.readouterr() == ("", "")


@needs_torch
@pytest.mark.parametrize("name", ["mlp", "cnn", "attention", "package_mlp", "package_named"])
def test_any_number_of_rows_gives_each_row_its_result(plugin: abi.Plugin, models: Path, name: str) -> None:
    model = open_model(plugin, models, name)
    session = model.session()
    inputs, expected = recorded(models, name)
    for rows in (0, 1, 2, 3):
        found = session.run(*[array[:rows] for array in inputs])
        assert_same(found, [array[:rows] for array in expected])
    many = 1000
    large = [np.concatenate([array] * (many // len(array) + 1))[:many] for array in inputs]
    found = session.run(*large)
    assert_same(found, [np.concatenate([a] * (many // len(a) + 1))[:many] for a in expected])
    session.close()
    model.close()


@needs_torch
def test_inputs_need_no_alignment_beyond_the_elements(plugin: abi.Plugin, models: Path) -> None:
    model = open_model(plugin, models, "mlp")
    session = model.session()
    inputs, expected = recorded(models, "mlp")
    room = np.empty(inputs[0].size + 16, dtype=np.float32)
    for shift in range(16):
        shifted = room[shift : shift + inputs[0].size].reshape(inputs[0].shape)
        shifted[:] = inputs[0]
        assert_same(session.run(shifted), expected)
    session.close()
    model.close()


@needs_torch
@pytest.mark.parametrize("dtype", "f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool".split())
def test_every_dtype_comes_back_bit_for_bit(plugin: abi.Plugin, models: Path, dtype: str) -> None:
    model = plugin.open(models / "identity.pt", inputs=f"x:{dtype}[-1,2]")
    session = model.session()
    (array,), (expected,) = recorded(models, f"identity_{dtype}")
    (found,) = session.run(array)
    assert found is not None
    assert (found.shape, found.tobytes()) == (expected.shape, expected.tobytes())
    session.close()
    model.close()


@needs_torch
def test_strings_are_refused(plugin: abi.Plugin, models: Path) -> None:
    with pytest.raises(abi.PluginError, match="'x' is string: PyTorch has no such tensors"):
        plugin.open(models / "identity.pt", inputs="x:string[-1]")


@needs_torch
def test_a_model_that_changes_itself_keeps_its_results_apart(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "counter.pt", inputs="x:f32[-1,2]", outputs="y:f32[-1,2],calls:f32[1],w:f32[2]")
    session = model.session()
    x = np.ones((2, 2), dtype=np.float32)
    keep: list[Any] = []
    tensors = []
    for _ in range(3):
        outputs = [abi.Tensor(struct_size=abi.c.sizeof(abi.Tensor)) for _ in range(3)]
        session.run_raw([abi.tensor_of(x, model.inputs[0].dtype, keep)], list(outputs))
        tensors.append(outputs)
    calls = [float(abi.array_of(outputs[1])[0]) for outputs in tensors]
    assert calls == [1.0, 2.0, 3.0], "outputs that are the model's own state change later"
    for outputs in tensors:
        for tensor in outputs:
            tensor.release(abi.c.byref(tensor))
    session.close()
    model.close()


@needs_torch
def test_threads_share_one_session(plugin: abi.Plugin, models: Path) -> None:
    for name in ("cnn", "package_mlp"):
        model = open_model(plugin, models, name)
        session = model.session()
        inputs, expected = recorded(models, name)
        failures: list[Any] = []

        def work(session: Any = session, inputs: Any = inputs, expected: Any = expected, out: Any = failures) -> None:
            try:
                for _ in range(30):
                    assert_same(session.run(*inputs), expected)
            except BaseException as error:
                out.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        session.close()
        model.close()


@needs_torch
def test_the_summary_says_what_is_in_the_file(plugin: abi.Plugin, models: Path) -> None:
    model = open_model(plugin, models, "mlp")
    numbers = 6 * 8 + 8 + 8 * 3 + 3
    assert (model.info.n_params, model.info.weight_bytes) == (numbers, 4 * numbers)
    assert model.info.format == b"torchscript"
    assert model.metadata == {"labels.txt": "cat,dog,bird"}
    model.close()
    model = open_model(plugin, models, "package_mlp")
    assert (model.info.format, model.metadata) == (b"aotinductor", {"isa": "AVX2"})
    assert model.info.n_params == 6 * 8 + 8 * 3, "the compiler wrote the small biases into its code"
    model.close()


# --- what has to be said ---------------------------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize(
    ("file", "options", "part"),
    [
        ("mlp.pt", {}, "(x): say it with the option inputs, such as --option inputs='x:f32[-1,784]'"),
        ("attention.pt", {}, "(ids): say it"),
        ("mlp.pt", {"inputs": "y:f32[-1,6]"}, "has no input 'y': it has x"),
        ("mlp.pt", {"inputs": "x"}, "say it with the option inputs"),
        ("mlp.pt", {"inputs": "x:f32[-1,7]"}, "mat1 and mat2 shapes cannot be multiplied (2x7 and 6x8)"),
        ("mlp.pt", {"inputs": "x:i64[-1,6]"}, "failed: "),
        ("mlp.pt", {"inputs": "x:f32[-1,6]", "outputs": "a,b"}, "names 2 outputs"),
        ("mlp.pt", {"inputs": "x:f32[-1,6]", "outputs": "a:i64"}, "'a' is f32, not i64"),
        ("dictionary.pt", {"inputs": "x:f32[-1,3]", "outputs": "none"}, "has no 'none'"),
        ("mlp.pt2", {}, "allow_native_code=1"),
        ("mlp.pt2", {"allow_native_code": "yes"}, "0 and 1 are possible"),
        ("mlp.pt2", {"allow_native_code": "1", "inputs": "x:f64[-1,6]"}, "'x' is f32[-1, 6] in"),
        ("by_cpp.pt2", {"allow_native_code": "1"}, "uses operators that PyTorch offers to C++ only"),
        ("quantized.pt", {"inputs": "x:f32[-1,6]"}, "torch.classes"),
    ],
)
def test_errors_say_what_to_do(plugin: abi.Plugin, models: Path, file: str, options: dict[str, str], part: str) -> None:
    with pytest.raises(abi.PluginError) as caught:
        plugin.open(models / file, **options)
    text = str(caught.value)
    assert part in text
    assert "Traceback" not in text and "\n" not in text and ".cpp" not in text, text


@needs_torch
@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (b"x: Tensor)", b"x: Tensor, n: int)", "argument 'n' is of type int: vonk can give it tensors only"),
        (
            b"x: Tensor) -> Tensor:\n    return torch.neg(x)",
            b"x: List[Tensor]) -> Tensor:\n    return torch.neg(x[0])",
            "argument 'x' is of type List[Tensor]",
        ),
        (b"-> Tensor:\n    return torch.neg(x)", b'-> str:\n    return "a"', "forward returns str"),
        (b"-> Tensor:\n    return torch.neg(x)", b"-> Tuple[Tensor, int]:\n    return (x, 1)", "forward returns Tuple"),
        (b"def forward", b"def backward", "has no forward"),
        (b"torch.neg(x)", b"torch.nothing(x)", "nothing"),
    ],
)
def test_modules_that_do_not_fit_say_what_they_are(
    plugin: abi.Plugin, tmp_path: Path, old: bytes, new: bytes, part: str
) -> None:
    path = tmp_path / "odd.pt"
    assert old in make_hostile.CODE
    path.write_bytes(make_hostile.script(make_hostile.CODE.replace(old, new)).end())
    with pytest.raises(abi.PluginError) as caught:
        plugin.open(path, inputs="x:f32[-1,2]")
    assert part in str(caught.value)
    assert str(caught.value).startswith(f"'{path}': ")


@needs_torch
def test_an_error_of_a_run_names_the_reason_alone(plugin: abi.Plugin, models: Path, capfd: Any) -> None:
    model = plugin.open(models / "narrow.pt", inputs="x:f32[-1,2]")
    session = model.session()
    with pytest.raises(abi.PluginError) as caught:
        session.run(np.full((2, 2), -1, dtype=np.float32))
    assert "x has negative numbers" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    (found,) = session.run(np.ones((2, 2), dtype=np.float32))
    np.testing.assert_array_equal(found, np.ones((2, 2), dtype=np.float32))
    session.close()
    model.close()
    assert capfd.readouterr() == ("", "")


@needs_torch
def test_names_come_from_the_options(plugin: abi.Plugin, models: Path) -> None:
    model = plugin.open(models / "dictionary.pt", inputs="x:f32[-1,3]", outputs="sum,big")
    assert [io.name for io in model.outputs] == ["sum", "big"]
    session = model.session()
    inputs, (_, big, total) = recorded(models, "dictionary")
    assert_same(session.run(*inputs), [total, big])
    session.close()
    model.close()
    model = plugin.open(models / "mlp.pt2", allow_native_code="1", inputs="rows", outputs="share")
    assert ([io.name for io in model.inputs], [io.name for io in model.outputs]) == (["rows"], ["share"])
    model.close()


@needs_torch
def test_another_device_is_refused(plugin: abi.Plugin, models: Path) -> None:
    model = open_model(plugin, models, "mlp")
    with pytest.raises(abi.PluginError, match="runs on the CPU only"):
        model.session(device=(2, 0))
    model.close()


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("exported.pt2", "is an exported program"),
        ("state_dict.pt", "is a checkpoint or pickled module"),
        ("pickled.pth", "is a checkpoint or pickled module"),
        ("legacy.pt", "is a checkpoint or pickled module"),
        ("last.ckpt", "is a checkpoint or pickled module"),
    ],
)
@needs_torch
def test_files_that_do_not_run_are_named_with_the_line_to_type(
    plugin: abi.Plugin, models: Path, file: str, part: str
) -> None:
    assert plugin.recognise(models / file) == 2
    with pytest.raises(abi.PluginError) as caught:
        plugin.open(models / file)
    assert part in str(caught.value)
    assert f"vonk pack {file} -o {file.rpartition('.')[0]}.vonk" in str(caught.value)


def test_safetensors_and_strangers(plugin: abi.Plugin, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert plugin.recognise(weights) == 2
    with pytest.raises(abi.PluginError, match="is a safetensors file, weights without a network"):
        plugin.open(weights)
    pointer = tmp_path / "model.pt"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert plugin.recognise(pointer) == 1
    with pytest.raises(abi.PluginError, match="git lfs pull"):
        plugin.open(pointer)
    for name, content in {
        "a.onnx": b"\x08\x07",
        "b.keras": make_hostile.Zip().add("m/config.json", b"{}").end(),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert plugin.recognise(tmp_path / name) == 0


# --- PyTorch's versions and threads ----------------------------------------------------------------------------------


@needs_torch
def test_without_a_half_for_this_version_packages_still_run(models: Path, tmp_path: Path) -> None:
    alone = abi.Plugin(shutil.copy(PLUGIN, tmp_path / "vonk_torch.so"), {"torch": str(LIBRARY)})
    version = alone.runtime()[0]
    minor = ".".join(version.split(".")[:2])
    with pytest.raises(abi.PluginError) as caught:
        alone.open(models / "mlp.pt", inputs="x:f32[-1,6]")
    text = str(caught.value)
    assert f"uses version {version}" in text and f"not built for TorchScript with {minor}" in text, text
    half = tmp_path / "torch" / f"vonk_torchscript-{minor}.so"
    half.parent.mkdir()
    half.write_bytes(b"no library")
    with pytest.raises(abi.PluginError, match="does not fit version"):
        alone.open(models / "mlp.pt", inputs="x:f32[-1,6]")
    model = alone.open(models / "mlp.pt2", allow_native_code="1")
    session = model.session()
    inputs, expected = recorded(models, "package_mlp")
    assert_same(session.run(*inputs), expected)
    session.close()
    model.close()


THREADS = """
import sys, threading, time
sys.path.append(sys.argv[1])
import numpy as np, torch, abi
torch.set_num_threads(2)
plugin = abi.Plugin(sys.argv[2], {"torch": sys.argv[3]})
def run(model, *arrays):
    session = model.session()
    session.run(*arrays)
    cpu, own = time.process_time(), time.thread_time()
    for _ in range(20):
        session.run(*arrays)
    used, own = time.process_time() - cpu, time.thread_time() - own
    print(round(used / own, 2), torch.get_num_threads())
cnn = plugin.open(sys.argv[4] + "/cnn.pt", inputs="image:f32[-1,3,12,12]")
mlp = plugin.open(sys.argv[4] + "/mlp.pt2", allow_native_code="1")
for model, shape in ((cnn, (500, 3, 12, 12)), (mlp, (20000, 6))):
    arrays = [np.ones(shape, dtype=np.float32)]
    run(model, *arrays)
    thread = threading.Thread(target=run, args=(model, *arrays))
    thread.start()
    thread.join()
print(torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled())
"""


@needs_torch
def test_a_run_stays_in_its_thread_and_the_hosts_own_pytorch_is_left_alone(models: Path) -> None:
    """In a process that uses PyTorch itself with two threads; a ratio of 1.0 is one core."""
    command = [sys.executable, "-c", THREADS, str(ROOT / "tests/onnx"), str(PLUGIN), str(LIBRARY), str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    *runs, after = done.stdout.splitlines()
    assert len(runs) == 4
    for line in runs:
        ratio, threads = line.split()
        assert float(ratio) < 1.3, f"CPU time of the process ÷ of the thread: {line}"
        assert threads == "2"
    assert after == "2 True False"


@needs_torch
def test_out_of_memory_is_an_error_wherever_it_happens(plugin: abi.Plugin, models: Path) -> None:
    for name in ("attention", "dictionary", "package_named"):
        for n in range(1, 2000):
            held = plugin.n_held
            plugin.fail_at = n
            try:
                model = open_model(plugin, models, name)
            except abi.PluginError as error:
                assert "out of memory" in str(error), f"{name}, allocation {n}: {error}"
                assert plugin.n_held == held, f"{name}, allocation {n}: {plugin.n_held - held} blocks not freed"
                continue
            finally:
                plugin.fail_at = 0
            model.close()
            assert plugin.n_held == held
            assert n > 10
            break


# --- hostile files ---------------------------------------------------------------------------------------------------


def test_hostile_files_are_refused_before_pytorch_reads_them(plugin: abi.Plugin, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    wrong = []
    for name, content, part in make_hostile.hostile(str(canary)):
        path = tmp_path / name
        path.write_bytes(content)
        plugin.recognise(path)
        if LIBRARY is None and name == "elf_header.pt2":
            continue
        before = plugin.n_held
        try:
            plugin.open(path, allow_native_code="1", inputs="x:f32[-1,2]")
            wrong.append(f"{name}: was opened")
        except abi.PluginError as error:
            if part not in str(error):
                wrong.append(f"{name}: '{error}' lacks '{part}'")
        if plugin.n_held != before:
            wrong.append(f"{name}: {plugin.n_held - before} blocks were not freed")
        if canary.exists():
            wrong.append(f"{name}: wrote the canary")
            canary.unlink()
    assert not wrong, "\n".join(wrong)


@needs_torch
def test_cut_files_are_errors(plugin: abi.Plugin, models: Path, tmp_path: Path) -> None:
    whole = (models / "mlp.pt").read_bytes()
    path = tmp_path / "cut.pt"
    for size in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:size])
        with pytest.raises(abi.PluginError):
            plugin.open(path, inputs="x:f32[-1,6]")


@needs_torch
def test_changed_bytes_are_errors_or_harmless(plugin: abi.Plugin, models: Path, tmp_path: Path) -> None:
    whole = (models / "mlp.pt").read_bytes()
    path = tmp_path / "changed.pt"
    random = np.random.default_rng(1)
    for position in random.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(changed)
        with contextlib.suppress(abi.PluginError):
            plugin.open(path, inputs="x:f32[-1,6]").close()
