"""`vonk inspect`, `vonk plugins` and `vonk bench` say what is so."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper
from program import DATA, FAILED, MODEL, OK, complaint, dense, lists, model, value, vonk


@pytest.fixture
def mlp(tmp_path):
    made = dense(n_in=4, hidden=[8], n_out=3)
    helper.set_model_props(made, {"author": "Ada", "notes": "für Tests"})
    path = tmp_path / "mlp.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_json_says_what_the_onnx_package_says(mlp):
    found = json.loads(vonk("inspect", mlp, "--json", "--sha256", check=OK).stdout)
    loaded = onnx.load(mlp)
    assert found["path"] == str(mlp.resolve())
    assert (found["format"], found["plugin"], found["device"]) == ("onnx", "onnx", "cpu")
    assert found["producer"].split()[0] == loaded.producer_name
    assert found["runtime_version"] == onnxruntime.__version__
    assert found["parameters"] == sum(np.prod(w.dims) for w in loaded.graph.initializer) == 4 * 8 + 8 * 3
    assert found["weight_bytes"] == 4 * found["parameters"]
    assert found["file_bytes"] == mlp.stat().st_size
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 4]}]
    assert found["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["N", 3]}]
    assert found["metadata"] == {"author": "Ada", "notes": "für Tests"}
    assert found["sha256"] == hashlib.sha256(mlp.read_bytes()).hexdigest()


def test_the_text_shows_signature_size_and_what_to_type_next(mlp):
    said = vonk("inspect", mlp, check=OK).stdout.decode()
    for part in (
        "x: float32[N, 4]",
        "y: float32[N, 3]",
        "56 parameters, 224 bytes of weights",
        "author: Ada",
        f"vonk run {mlp.resolve()} ROWS.parquet -o PREDICTIONS.parquet",
        "--input x=A,B,...",
    ):
        assert part in said, f"{part!r} is not in:\n{said}"


def test_a_model_cannot_command_the_terminal(tmp_path):
    made = dense(name="x\x1b[31m", output="y\ny")
    helper.set_model_props(made, {"evil\x1b]0;": "\x1b[2Jgone\nnext " + "long " * 100})
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    said = vonk("inspect", "m.onnx", cwd=tmp_path, check=OK).stdout.decode()
    assert "\x1b" not in said
    assert "x?[31m: float32[N, 4]" in said and "y y: float32[N, 3]" in said
    line = next(line for line in said.splitlines() if "evil" in line)
    assert "?[2Jgone next long" in line and line.endswith("...") and len(line) < 130


def test_a_pinned_digest_is_checked(mlp):
    digest = hashlib.sha256(mlp.read_bytes()).hexdigest()
    vonk("inspect", f"{mlp}#sha256={digest}", check=OK)
    assert "sha256" in complaint("inspect", f"{mlp}#sha256={'0' * 64}", code=MODEL).lower()


def test_plugins_shows_onnx_and_its_runtime():
    said = vonk("plugins", check=OK).stdout.decode()
    assert "\n  formats    onnx, ort\n" in said
    assert f"\n  runtime    {onnxruntime.__version__} (/" in said
    found = {plugin["name"]: plugin for plugin in json.loads(vonk("plugins", "--json", check=OK).stdout)}
    assert found["onnx"]["formats"] == ["onnx", "ort"]
    assert found["onnx"]["error"] is None
    assert found["onnx"]["runtime_version"] == onnxruntime.__version__


def test_a_plugin_that_cannot_be_loaded_is_shown_with_its_reason(tmp_path):
    (tmp_path / "vonk_broken.so").write_bytes(b"this is no shared object")
    plugins = json.loads(vonk("plugins", "--json", env={"VONK_PLUGIN_PATH": str(tmp_path)}, check=OK).stdout)
    broken = [plugin for plugin in plugins if plugin["file"].startswith(str(tmp_path))]
    assert len(broken) == 1
    assert broken[0]["error"] and broken[0]["runtime_version"] is None


def test_probe_loads_the_framework():
    said = vonk("plugins", "--probe", check=OK).stdout.decode()
    assert onnxruntime.__version__ in said


def test_probe_fails_for_a_plugin_that_cannot_be_loaded(tmp_path):
    (tmp_path / "vonk_broken.so").write_bytes(b"this is no shared object")
    vonk("plugins", "--probe", env={"VONK_PLUGIN_PATH": str(tmp_path)}, check=FAILED)


@pytest.mark.parametrize("threads", [1, 2])
def test_bench_measures_both_sides(mlp, threads):
    args = ["bench", mlp, "--rows", 3000, "--batch", 100, "--seconds", 0.1, "--threads", threads, "--json"]
    found = json.loads(vonk(*args, check=OK).stdout)
    assert (found["rows"], found["batch"], found["threads"], found["synthetic"]) == (3000, 100, threads, True)
    assert found["passes"] >= 3
    ratio = found["vonk"]["rows_per_second"] / found["framework"]["rows_per_second"]
    assert found["ratio"] == pytest.approx(ratio)


def test_bench_takes_rows_from_a_file(mlp, tmp_path):
    pq.write_table(pa.table({"column": lists(np.ones((500, 4), np.float32))}), tmp_path / "in.parquet")
    args = ["bench", mlp, tmp_path / "in.parquet", "--input", "x=column", "--seconds", 0.1, "--json"]
    found = json.loads(vonk(*args, check=OK).stdout)
    assert (found["rows"], found["synthetic"]) == (500, False)


def test_bench_says_what_it_cannot_measure(tmp_path):
    graph = model(
        [helper.make_node("Identity", ["s"], ["t"])],
        [value("s", TensorProto.STRING, "N")],
        [value("t", TensorProto.STRING, "N")],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    message = complaint("bench", "m.onnx", code=DATA, cwd=tmp_path)
    assert message == "vonk bench: input s: string[N]: cannot be measured"
