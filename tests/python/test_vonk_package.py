"""The package as such: its description of models and itself, its words for failures, its documentation."""

import ast
import doctest
import importlib
import inspect
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import vonk
from package import IRIS, MNIST, ROOT, mock, python
from vonk import _core

# --- models about themselves ---


def test_a_model_says_what_it_takes_and_gives():
    model = vonk.open(IRIS)
    assert model.inputs == (vonk.Tensor("measurements", "float32", ("N", 4)),)
    assert model.outputs == (
        vonk.Tensor("probabilities", "float32", ("N", 3)),
        vonk.Tensor("species", "string", ("N",)),
    )
    assert str(model.inputs[0]) == "measurements: float32[N, 4]"
    assert model.path == IRIS
    assert repr(model) == (
        "<vonk.Model 'iris.onnx': measurements float32[N, 4] -> probabilities float32[N, 3], species string[N]>"
    )


def test_the_summary_is_that_of_vonk_inspect():
    from program import vonk as program  # noqa: PLC0415

    shown = repr(vonk.open(MNIST).summary())
    printed = program("inspect", MNIST, check=0).stdout.decode().partition("\n\n")[0]
    assert shown.splitlines() == printed.splitlines()


def test_the_summary_is_a_table_in_a_notebook():
    page = vonk.open(MNIST)._repr_html_()
    assert page.startswith("<table>")
    assert page.endswith("</table>")
    assert "<code>pixels: float32[N, 784]</code>" in page
    assert page == vonk.open(MNIST).summary()._repr_html_()


def test_text_of_a_model_file_cannot_steer_terminal_or_page(tmp_path):
    model = mock(
        tmp_path, "echo", "input x f32 N 2\noutput y = copy x\nproducer \x1b[2J<script>\nmetadata k \x1b]0;t\n"
    )
    for text in (repr(model.summary()), model._repr_html_()):
        assert "\x1b" not in text
    assert "<script>" not in model._repr_html_()
    assert model.summary().producer == "\x1b[2J<script>"


def test_sha256_is_that_of_the_file():
    import hashlib  # noqa: PLC0415

    assert vonk.open(MNIST).sha256 == hashlib.sha256(MNIST.read_bytes()).hexdigest()


def test_content_can_be_pinned():
    digest = vonk.open(IRIS).sha256
    assert vonk.open(f"{IRIS}#sha256={digest}").path == IRIS
    with pytest.raises(vonk.ModelError, match="sha256"):
        vonk.open(f"{IRIS}#sha256={'0' * 64}")


def test_options_reach_the_plugin():
    x = np.array([[5.1, 3.5, 1.4, 0.2]], dtype="f4")
    plain = vonk.open(IRIS, threads_per_run=2, device="cpu", graph_optimization="disable").predict(x)
    np.testing.assert_allclose(plain["probabilities"], vonk.open(IRIS).predict(x)["probabilities"], rtol=1e-6)
    with pytest.raises(vonk.InvalidError, match="colour"):
        vonk.open(IRIS, colour="red")


def test_plugins_are_listed(tmp_path):
    found = {plugin.name: plugin for plugin in vonk.plugins()}
    onnx = found["onnx"]
    assert onnx.formats == ("onnx", "ort")
    assert onnx.error is None
    assert "graph_optimization" in onnx.options
    assert str(onnx) == f"onnx {onnx.version}: onnx, ort ({onnx.path})"
    (tmp_path / "vonk_broken.so").write_text("no library")
    said = python(
        "import vonk; print([str(plugin) for plugin in vonk.plugins() if plugin.error])",
        env={"VONK_PLUGIN_PATH": str(tmp_path)},
    )
    assert f"{tmp_path}/vonk_broken.so: " in said


def test_threads_are_a_budget_of_the_process():
    before = vonk.get_threads()
    try:
        vonk.set_threads(3)
        assert vonk.get_threads() == 3
        vonk.open(IRIS, threads=2)
        assert vonk.get_threads() == 2
    finally:
        vonk.set_threads(0)
    assert vonk.get_threads() == before
    for wrong in (-1, 1 << 32):
        with pytest.raises(vonk.InvalidError, match=f"threads: {wrong} is no number of threads"):
            vonk.set_threads(wrong)


def test_weights_can_be_bounded():
    try:
        vonk.set_model_memory(1)
        with pytest.raises(vonk.OutOfMemoryError) as caught:
            vonk.open(MNIST, graph_optimization="extended")
        assert isinstance(caught.value, MemoryError)
    finally:
        vonk.set_model_memory(0)


def test_progress_is_a_bar_on_a_terminal():
    said = python(
        """
        import os, pty, sys, numpy, pyarrow, vonk
        reader, terminal = pty.openpty()
        os.dup2(terminal, 2)
        model = vonk.open("examples/mnist/mnist.onnx", batch=64)
        part = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(numpy.zeros(784 * 4000, dtype="f4")), 784)
        table = pyarrow.table({"pixels": pyarrow.chunked_array([part] * 8)})
        vonk.set_threads(1)
        assert pyarrow.table(model.predict_stream(table, progress=True)).num_rows == 32000
        os.write(2, b"end")
        text = b""
        while b"end" not in text:
            text += os.read(reader, 4096)
        print(repr(text.decode()))
        """
    )
    text = ast.literal_eval(said)
    lines = text.split("\r\033[K")
    assert lines[0] == ""
    assert re.fullmatch(r"32,000 rows, [\d,]+ rows/s, \d+\.\d s\r\nend", lines[-1]), lines
    for line in lines[1:-1]:
        assert re.fullmatch(r"\[#* *\] [\d,]+ rows, [\d,]+ rows/s, \d+ s left", line), lines


@pytest.mark.parametrize("thread", ["main", "other"])
def test_messages_reach_pythons_logging(thread):
    said = python(
        """
        import logging, sys, threading, time, vonk
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
        vonk.set_log("DEBUG")
        opening = threading.Thread(target=vonk.open, args=["examples/iris/iris.onnx"])
        if sys.argv[1] == "main":
            opening.run()
        else:
            opening.start()
            opening.join()
        time.sleep(0.01)  # the main thread hands over what other threads said
        vonk.set_log(None)
        """,
        thread,
    )
    assert "vonk DEBUG paths: " in said, said
    with pytest.raises(ValueError, match="'LOUD' is none"):
        vonk.set_log("LOUD")


# --- failures ---

NATURAL = {
    "InvalidError": ValueError,
    "OutOfMemoryError": MemoryError,
    "FileError": OSError,
    "UnsupportedError": NotImplementedError,
    "PluginError": RuntimeError,
    "ModelError": ValueError,
    "BackendError": RuntimeError,
    "CancelledError": RuntimeError,
    "DeviceError": RuntimeError,
    "ForkedError": RuntimeError,
}


@pytest.mark.parametrize("name", NATURAL)
def test_each_failure_is_a_builtin_one_too(name):
    kind = getattr(vonk, name)
    assert issubclass(kind, vonk.Error)
    assert issubclass(kind, NATURAL[name])
    assert kind.__module__ == "vonk"
    error = kind("what: why", "VONK_X", 3, 4)
    assert (str(error), error.code, error.row, error.native_code) == ("what: why", "VONK_X", 3, 4)


def test_failures_of_the_library_have_their_class(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (tmp_path / "bad.other").write_bytes(b"no model")
    for kind, path in [
        (vonk.FileError, "none.onnx"),
        (vonk.ModelError, "bad.onnx"),
        (vonk.UnsupportedError, "bad.other"),
    ]:
        with pytest.raises(kind) as caught:
            vonk.open(tmp_path / path)
        assert type(caught.value) is kind
        assert path in str(caught.value)
    with pytest.raises(vonk.DeviceError):
        vonk.open(IRIS, device="cuda:63")
    refusing = mock(tmp_path, "failing_row", "input x f32 N 2\noutput y = sum x\n")
    with pytest.raises(vonk.BackendError) as caught:
        refusing.predict(np.array([[1, 1], [2, 2], [-3, 1]], dtype="f4"))
    assert caught.value.row == 2


# --- the package about itself ---


def test_it_is_typed():
    folder = Path(vonk.__file__).parent
    assert (folder / "py.typed").is_file()
    assert any(str(file).endswith("vonk/py.typed") for file in metadata.files("vonk") or [])


def test_the_stub_names_what_the_module_has():
    tree = ast.parse((Path(vonk.__file__).parent / "_core.pyi").read_text())
    stub = {}
    for item in tree.body:
        if isinstance(item, ast.ClassDef):
            stub[item.name] = {method.name for method in item.body if isinstance(method, ast.FunctionDef)}
        elif isinstance(item, ast.FunctionDef):
            stub[item.name] = None
    found = {
        name: {m for m in vars(value) if not m.startswith("_")} if inspect.isclass(value) else None
        for name, value in vars(_core).items()
        if not name.startswith("_") and name != "VERSION"
    }
    assert stub == found


@pytest.mark.parametrize("name", ["Model", "Predictor", "Source", "Batches", "Stream"])
def test_the_parts_in_c_cannot_be_made_by_hand(name):
    with pytest.raises(TypeError, match="cannot create"):
        getattr(_core, name)()


def test_the_examples_in_docstrings_are_true(monkeypatch):
    monkeypatch.chdir(ROOT)
    attempted = 0
    for name in ("vonk", "vonk._model", "vonk._predictor", "vonk._table", "vonk._process"):
        result = doctest.testmod(importlib.import_module(name))
        assert result.failed == 0, f"{name}: its output is above"
        attempted += result.attempted
    assert attempted >= 20


def test_everything_public_is_documented():
    for name in vonk.__all__:
        value = getattr(vonk, name)
        if name != "__version__":
            assert (value.__doc__ or "").strip(), name


def test_the_guide_does_what_it_shows(tmp_path):
    """The python blocks of docs/python.md, run one after the other in one process, as a reader would."""
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    script = tmp_path / "guide.py"
    script.write_text("\n".join(blocks))
    python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")


def test_it_works_in_a_subinterpreter():
    said = python(
        """
        import sys, vonk
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            sub = interpreters.create("legacy")
        else:
            import _xxsubinterpreters as interpreters
            sub = interpreters.create(**({"isolated": False} if sys.version_info >= (3, 12) else {}))
        interpreters.run_string(sub, "import vonk; print(vonk.open('examples/iris/iris.onnx'), flush=True)")
        interpreters.destroy(sub)
        print(vonk.open("examples/iris/iris.onnx"))
        """
    )
    assert said.count("<vonk.Model 'iris.onnx'") == 2, said


def test_only_the_entry_point_is_exported(tmp_path):
    import subprocess  # noqa: PLC0415

    listed = subprocess.run(["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["PyInit__core"]
