"""`vonk pack`, whatever the framework: what is checked, what is written, and that nothing half-done is left.

The model is ONNX throughout, which every installation has; ONNX Runtime's own Python is the reference.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import vonk
from vonk.packing import _bundle, _compare, _quiet, _recognise, _samples, _steps, _zip, onnx
from vonk.packing._plan import Conversion, Port

ROOT = Path(__file__).resolve().parents[2]
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], "f4")
SPECIES = ["setosa", "versicolor", "virginica"]
PROGRAM = os.environ.get("VONK_PROGRAM", str(ROOT / "build" / "dev" / "bin" / "vonk"))


def original(rows: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(os.fspath(IRIS))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: rows}), strict=True))


def manifest(path: Path) -> dict:
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("manifest.json"))


def error_of(*arguments: object, **options: object) -> vonk.PackError:
    with pytest.raises(vonk.PackError) as caught:
        vonk.pack(*arguments, **options)
    print(caught.value.code, caught.value)
    return caught.value


def environment() -> dict[str, str]:
    return {**os.environ, "VONK_PYTHON": sys.executable}


def command(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """`vonk pack ...`, by the program."""
    return subprocess.run(
        [PROGRAM, "pack", *map(str, arguments)], cwd=cwd, env={**environment(), **env}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


# --- what is in a bundle ---


def test_a_bundle_predicts_what_the_original_predicts(tmp_path):
    report = vonk.pack(IRIS, tmp_path / "iris.vonk", licence="Apache-2.0", description="Iris by four measurements")
    with vonk.open(tmp_path / "iris.vonk") as model:
        found = model.predict(ROWS)
        bundle = model.bundle
    expected = original(ROWS)
    print(found, expected)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-6)
    assert found["species"].tolist() == expected["species"].tolist()
    assert (bundle.name, bundle.licence, bundle.selftest_rows) == ("iris", "Apache-2.0", 4)
    assert report.largest_difference <= 1e-6
    assert report.rows == _samples.ROWS


def test_the_file_is_a_plain_zip_with_the_manifest_first_and_content_at_multiples_of_64(tmp_path):
    path = tmp_path / "iris.vonk"
    vonk.pack(IRIS, path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        entries = file.infolist()
        assert entries[0].filename == "manifest.json"
        for entry in entries:
            data = file.read(entry)
            place = content.index(data)
            assert (entry.compress_type, entry.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            assert place % 64 == 0, (entry.filename, place)
        files = manifest(path)["files"]
        assert sorted(files) == sorted(entry.filename for entry in entries[1:])
        for name, told in files.items():
            data = file.read(name)
            assert told == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_the_manifest_says_where_the_model_came_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    report = vonk.pack(IRIS, tmp_path / "iris.vonk")
    told = manifest(tmp_path / "iris.vonk")
    assert told["provenance"]["source"] == "iris.onnx"
    assert told["provenance"]["source_sha256"] == hashlib.sha256(IRIS.read_bytes()).hexdigest()
    assert told["provenance"]["created"] == "1970-01-02T00:00:00Z"
    assert told["provenance"]["packed_by"] == f"vonk {vonk.__version__}"
    assert float(told["provenance"]["largest_difference"]) == pytest.approx(report.largest_difference, rel=0.1)


def test_equal_input_gives_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        vonk.pack(IRIS, tmp_path / name / "iris.vonk", labels=SPECIES)
    first, second = ((tmp_path / name / "iris.vonk").read_bytes() for name in ("a", "b"))
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()


def test_the_self_test_holds_what_the_original_said(tmp_path):
    path = tmp_path / "iris.vonk"
    vonk.pack(IRIS, path, samples={"measurements": ROWS})
    told = manifest(path)["selftest"]
    with zipfile.ZipFile(path) as file:
        rows = np.frombuffer(file.read(told["inputs"]["measurements"]["file"]), "<f4").reshape(-1, 4)
        found = np.frombuffer(file.read(told["outputs"]["probabilities"]["file"]), "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(rows, ROWS)  # the user's own rows come first
    expected = original(ROWS)
    np.testing.assert_array_equal(found, expected["probabilities"])
    assert told["outputs"]["species"]["values"] == expected["species"].tolist()
    with vonk.open(path) as model:
        assert model.selftest() <= 1e-5


def test_a_bundle_can_be_a_folder_and_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "iris.vonk"
    vonk.pack(IRIS, path, folder=True, name="first")
    vonk.pack(IRIS, path, folder=True, name="second")
    with vonk.open(path) as model:
        assert model.bundle.name == "second"
        assert model.predict(ROWS)["species"].tolist() == original(ROWS)["species"].tolist()
    assert [entry.name for entry in tmp_path.iterdir()] == ["iris.vonk"]
    assert "folder" in str(error_of(IRIS, path))


def test_entries_beyond_4_gib_have_zip64_fields_that_zipfile_and_vonk_read(tmp_path, monkeypatch):
    """With the bound put down to 1,000 bytes."""
    monkeypatch.setattr(_zip, "_LARGE", 1000)
    vonk.pack(IRIS, tmp_path / "iris.vonk")
    with zipfile.ZipFile(tmp_path / "iris.vonk") as file:
        assert file.testzip() is None
        assert any(entry.extract_version == 45 for entry in file.infolist())
    with vonk.open(tmp_path / "iris.vonk") as model:
        assert model.predict(ROWS)["species"].tolist() == original(ROWS)["species"].tolist()


# --- names, labels, steps ---


def test_outputs_get_the_names_that_the_user_gives(tmp_path):
    vonk.pack(IRIS, tmp_path / "iris.vonk", outputs=["probabilities=p", "species=kind"])
    with vonk.open(tmp_path / "iris.vonk") as model:
        assert [output.name for output in model.outputs] == ["p", "kind"]
        assert model.predict(ROWS)["kind"].tolist() == original(ROWS)["species"].tolist()
    assert "no output: probabilities, species" in str(error_of(IRIS, tmp_path / "x.vonk", outputs={"proba": "p"}))
    error = error_of(IRIS, tmp_path / "x.vonk", outputs={"probabilities": "species"})
    assert "two are called 'species'" in str(error)


def test_labels_belong_to_the_output_they_fit(tmp_path):
    file = tmp_path / "species.txt"
    file.write_bytes("\ufeff".encode() + "\r\n".join(SPECIES).encode())
    vonk.pack(IRIS, tmp_path / "iris.vonk", labels=file)
    with vonk.open(tmp_path / "iris.vonk") as model:
        found = model.predict(ROWS, outputs=["probabilities"], as_="label")
    expected = [SPECIES[i] for i in original(ROWS)["probabilities"].argmax(1)]
    assert np.asarray(found).tolist() == expected
    assert "4 labels fit no output" in str(error_of(IRIS, tmp_path / "x.vonk", labels=[*SPECIES, "rose"]))
    assert "line 2" in str(error_of(IRIS, tmp_path / "x.vonk", labels=["a", "", "c"]))
    assert "no output: probabilities" in str(error_of(IRIS, tmp_path / "x.vonk", labels={"proba": SPECIES}))
    error = error_of(IRIS, tmp_path / "x.vonk", labels=tmp_path / "missing.txt")
    assert (error.code, "missing.txt" in str(error)) == ("VONK_IO", True)


def test_steps_run_before_the_model(tmp_path):
    steps = ["rescale:scale=1/10,offset=-0.5", {"op": "normalize", "mean": [1, 2, 3, 4], "std": [0.5, 1, 2, 4]}]
    vonk.pack(IRIS, tmp_path / "iris.vonk", preprocess=steps)
    raw = np.random.default_rng(1).uniform(0, 80, (50, 4)).astype("f4")
    ready = raw * np.float32(0.1) + np.float32(-0.5)
    ready = (ready - np.array([1, 2, 3, 4], "f4")) / np.array([0.5, 1, 2, 4], "f4")
    with vonk.open(tmp_path / "iris.vonk") as model:
        found = model.predict(raw)["probabilities"]
    expected = original(ready)["probabilities"]
    print(abs(found - expected).max())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert abs(found - original(raw)["probabilities"]).max() > 0.01  # the steps matter
    (tmp_path / "steps.json").write_text(json.dumps(manifest(tmp_path / "iris.vonk")["preprocess"]))
    vonk.pack(IRIS, tmp_path / "again.vonk", preprocess=tmp_path / "steps.json")
    assert manifest(tmp_path / "again.vonk")["preprocess"] == manifest(tmp_path / "iris.vonk")["preprocess"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rescal:scale=2", "'rescal' is no step"),
        ("rescale:scale=x", "'x' is no number"),
        ("rescale:scale=1/0", "'1/0' is no number"),
        ("rescale:offset=1", "scale is missing"),
        ("rescale:scale=1,factor=2", "does not know 'factor'"),
        ("rescale:scale=2,input=pixels", "'pixels' is no input"),
        ("normalize:mean=[1,2],std=1", "2 numbers for dimension -1"),
        ("normalize:mean=0,std=0", "std is 0"),
        ("normalize:mean=[1,2,3,4],std=1,axis=0", "axis=0 is no dimension"),
        ("normalize:mean=[1,2,3,4],std=[1,2]", "lists of 4 and 2 numbers"),
    ],
)
def test_a_step_that_is_wrong_says_so(tmp_path, text, why):
    assert why in str(error_of(IRIS, tmp_path / "x.vonk", preprocess=text))


# --- rows to compare on ---


def test_given_rows_have_to_fit(tmp_path):
    target = tmp_path / "x.vonk"
    assert "no such input" in str(error_of(IRIS, target, samples={"x": ROWS}))
    assert "wants float32[N, 4]" in str(error_of(IRIS, target, samples={"measurements": ROWS[:, :3]}))
    assert "is <U1 where" in str(error_of(IRIS, target, samples={"measurements": np.full((2, 4), "a")}))
    np.save(tmp_path / "rows.npy", ROWS)
    np.savez(tmp_path / "rows.npz", measurements=ROWS)
    for file in ("rows.npy", "rows.npz"):
        assert vonk.pack(IRIS, target, samples=tmp_path / file).rows == _samples.ROWS + len(ROWS)
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 not one")
    assert "no .npz" in str(error_of(IRIS, target, samples=tmp_path / "bad.npz"))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    assert "no .npz" in str(error_of(IRIS, target, samples=tmp_path / "objects.npy"))  # a pickle


def test_random_rows_shrink_to_what_the_original_takes():
    """Ids of a table with three rows; a free length of at most 16; a logarithm that wants positive numbers."""
    table = np.arange(3.0, dtype="f4")

    def reference(inputs):
        ids, x = inputs["ids"], inputs["x"]
        if ids.max() >= len(table) or ids.shape[1] > 16:
            raise IndexError("out of range")
        with np.errstate(invalid="ignore"):
            return {"y": table[ids].sum(1) + np.where((x > 0).all(), np.log(np.abs(x)), np.nan)}

    ports = [Port("ids", "int64", (-1, -1)), Port("x", "float32", (-1,))]
    conversion = replace(fake(), inputs=ports, outputs=[Port("y", "float32", (-1,))], reference=reference)
    found = _samples.make(_samples.Original(conversion, ports, conversion.outputs), {})
    lengths = {rows.inputs["ids"].shape[1] for rows in found}
    assert lengths <= {12, 13, 5, 6, 1} and len(lengths) >= 2
    assert all(rows.inputs["ids"].max() == 1 for rows in found)
    assert all(np.isfinite(rows.outputs["y"]).all() for rows in found)


def test_the_original_is_fed_in_the_batches_that_it_has():
    seen = []

    def reference(inputs):
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"].sum(1)}

    ports = [Port("x", "float32", (4, 2))]
    conversion = replace(fake(), inputs=ports, outputs=[Port("y", "float32", (4,))], reference=reference)
    rows = np.arange(20.0, dtype="f4").reshape(10, 2)
    found = _samples.Original(conversion, ports, conversion.outputs).predict({"x": rows})
    np.testing.assert_array_equal(found["y"], rows.sum(1))
    assert seen == [4, 4, 4]


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.1], [0.2], 0.1),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], 0.0),
        ([np.inf], [-np.inf], np.inf),
        ([1.0], [np.nan], np.inf),
        ([1e38], [-1e38], 2.0),
    ],
)
def test_differences_are_relative_above_one(found, expected, difference):
    assert _compare.difference(np.array(found), np.array(expected)) == pytest.approx(difference)


def test_what_is_no_float_has_to_be_equal():
    assert _compare.difference(np.array([1, 2]), np.array([1, 2])) == 0
    assert _compare.difference(np.array([1, 2]), np.array([1, 3])) == np.inf
    assert _compare.difference(np.array(["a"], object), np.array([b"a"], object)) == 0
    assert _compare.difference(np.array(["a"], object), np.array(["b"], object)) == np.inf
    assert _compare.difference(np.zeros((2, 1), "f4"), np.zeros(2, "f4")) == np.inf


def test_a_step_is_the_arithmetic_of_the_inputs_dtype():
    ports = [Port("image", "float32", (-1, 3, 2))]
    (step,) = _steps.read("normalize:mean=[0.485,0.456,0.406],std=0.225,axis=1", ports)
    x = np.random.default_rng(0).random((5, 3, 2)).astype("f4")
    mean = np.array([0.485, 0.456, 0.406], "f4")[:, None]
    np.testing.assert_array_equal(step.apply(x), (x - mean) / np.float32(0.225))


# --- nothing half-done ---


def fake() -> Conversion:
    """A converter's result, of which a test exchanges a part."""
    return Conversion("onnx", "onnx", IRIS, [], [], lambda inputs: {})


class Wrong:
    """A converter whose original is not what was converted."""

    @staticmethod
    def convert(request, folder):
        print("chatter of a framework")
        os.write(2, b"chatter of its C++\n")
        conversion = onnx.convert(request, folder)

        def reference(inputs):
            found = dict(conversion.reference(inputs))
            return {**found, "probabilities": found["probabilities"] + np.float32(1e-3)}

        return replace(conversion, reference=reference)


def test_above_the_tolerance_nothing_is_written_and_what_was_there_stays(tmp_path, monkeypatch, capfd):
    path = tmp_path / "iris.vonk"
    vonk.pack(IRIS, path, name="before")
    before = path.read_bytes()
    monkeypatch.setattr(_recognise, "converter", lambda source: Wrong)
    error = error_of(IRIS, path)
    assert error.code == "VONK_BACKEND"
    assert "1.0e-03" in str(error) and "tolerance 1.0e-05" in str(error)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["iris.vonk"]
    assert "chatter of a framework" in error.printed and "chatter of its C++" in error.printed
    printed = capfd.readouterr()
    assert "chatter" not in printed.out + printed.err
    assert vonk.pack(IRIS, path, tolerance=0.01).largest_difference == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(tmp_path, number, code):
    text = (
        "import os, sys\n"
        "from vonk.packing import _command, _compare\n"
        f"_compare.compare = lambda *more: os.kill(os.getpid(), {int(number)})\n"
        f"sys.exit(_command.main([{os.fspath(IRIS)!r}, '-o', {os.fspath(tmp_path / 'x.vonk')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    print(done.stderr)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    path = tmp_path / "iris.vonk"
    vonk.pack(IRIS, path)
    before = path.read_bytes()
    text = (
        "import resource, sys\n"
        "from vonk.packing import _command, _bundle\n"
        "write = _bundle.Draft.write\n"
        "def limited(draft):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "    write(draft)\n"
        "_bundle.Draft.write = limited\n"
        f"sys.exit(_command.main([{os.fspath(IRIS)!r}, '-o', {os.fspath(path)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    print(done.stderr)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    assert "cannot be written: File too large" in done.stderr
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["iris.vonk"]


def test_targets_that_cannot_be_written_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(_recognise, "converter", lambda source: pytest.fail("work was done"))
    (tmp_path / "folder.vonk").mkdir()
    (tmp_path / "copy.vonk").write_bytes(IRIS.read_bytes())
    for target, code in (
        (tmp_path / "missing" / "x.vonk", "VONK_IO"),
        (tmp_path / "folder.vonk", "VONK_IO"),
        (tmp_path / "iris.zip", "VONK_INVALID"),
    ):
        assert error_of(IRIS, target).code == code
    assert error_of(tmp_path / "copy.vonk", tmp_path / "copy.vonk").code == "VONK_INVALID"
    assert error_of(tmp_path / "nothing.onnx", tmp_path / "x.vonk").code == "VONK_IO"


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "iris.vonk", tmp_path / "iris.vonk"
    vonk.pack(IRIS, real)
    real.chmod(0o640)
    link.symlink_to(real)
    vonk.pack(IRIS, link, name="second")
    assert link.is_symlink() and manifest(real)["name"] == "second"
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_framework_that_cannot_be_loaded_is_an_error(tmp_path):
    done = command(IRIS, "-o", tmp_path / "x.vonk", VONK_ONNXRUNTIME_LIBRARY="/nowhere/libonnxruntime.so")
    print(done.stderr)
    assert done.returncode == 3 and "/nowhere/libonnxruntime.so" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- sources ---


def test_what_is_no_model_is_named(tmp_path):
    files = {
        "empty.onnx": b"", "text.onnx": b"hello, this is no model", "broken.zip": b"PK\3\4" + bytes(30),
        "model.bin2": bytes(64),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        error = error_of(tmp_path / name, tmp_path / "x.vonk")
        assert name in str(error) and error.code == "VONK_MODEL"
    (tmp_path / "folder").mkdir()
    assert "saved_model.pb" in str(error_of(tmp_path / "folder", tmp_path / "x.vonk"))
    vonk.pack(IRIS, tmp_path / "iris.vonk")
    assert "is a bundle already" in str(error_of(tmp_path / "iris.vonk", tmp_path / "x.vonk"))
    assert "int: is no model" in str(error_of(7, tmp_path / "x.vonk"))
    assert "is a class" in str(error_of(Wrong, tmp_path / "x.vonk"))
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "void.zip").write_bytes(buffer.getvalue())
    assert error_of(tmp_path / "void.zip", tmp_path / "x.vonk").code == "VONK_MODEL"


def test_importing_vonk_imports_neither_numpy_nor_packing():
    text = "import sys, vonk; print([m for m in sys.modules if m.startswith(('numpy', 'vonk.packing'))], dir(vonk))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ") and "'pack'" in done.stdout


# --- the command ---


def test_program_and_python_explain_the_same_options():
    """The tables of cli/commands.c and of vonk.packing._command."""
    program = subprocess.run([PROGRAM, "help", "pack"], env=environment(), capture_output=True, text=True, check=True)
    python = subprocess.run(
        [sys.executable, "-m", "vonk", "pack", "--help"], capture_output=True, text=True, check=True
    )
    assert program.stdout.partition("Exit codes:")[0].split() == python.stdout.split()
    assert (
        program.stdout
        == subprocess.run(
            [PROGRAM, "pack", "--help"], env={"VONK_PYTHON": "/nowhere"}, capture_output=True, text=True, check=True
        ).stdout
    )


def test_the_program_packs(tmp_path):
    labels = tmp_path / "species.txt"
    labels.write_text("\n".join(SPECIES))
    done = command(
        IRIS, "-o", "iris.vonk", "--labels", labels, "--output", "probabilities=p", "--licence=MIT", "--preprocess",
        "rescale:scale=0.1", cwd=tmp_path,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert "largest difference from the original" in done.stdout
    inspect = subprocess.run([PROGRAM, "inspect", tmp_path / "iris.vonk"], capture_output=True, text=True, check=True)
    assert "MIT" in inspect.stdout and "p: float32[N, 3]" in inspect.stdout
    done = command(IRIS, "-o", "iris.vonk", "--json", "--folder", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    done = command(IRIS, "-o", "other.vonk", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["format"] == "onnx"
    assert command(IRIS, "-q", "-o", "other.vonk", cwd=tmp_path).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["-o", "x.vonk"], 2, "nothing to work on"),
        ([IRIS], 2, "where to?"),
        ([IRIS, "-o"], 2, "-o: needs a value"),
        ([IRIS, "-o", "x.vonk", "--trusted"], 2, "did you mean --trust?"),
        ([IRIS, "other", "-o", "x.vonk"], 2, "one argument too many"),
        ([IRIS, "-o", "x.vonk", "--trust=1"], 2, "takes no value"),
        ([IRIS, "-o", "x.vonk", "--tolerance", "much"], 2, "'much' is no number"),
        ([IRIS, "-o", "x.vonk", "--input", "x"], 2, "write NAME:DTYPE[DIMS]"),
        ([IRIS, "-o", "x.vonk", "--module", "net"], 2, "write FILE.py:CLASS"),
        ([IRIS, "-o", "x.vonk", "--to", "tflite"], 2, "--to tflite"),
        (["missing.onnx", "-o", "x.vonk"], 5, "no such file"),
    ],
)
def test_both_commands_refuse_the_same_with_the_same_exit_code(tmp_path, arguments, code, why):
    program = command(*arguments, cwd=tmp_path)
    python = subprocess.run(
        [sys.executable, "-m", "vonk", "pack", *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    print(program.stderr, python.stderr)
    assert (program.returncode, python.returncode) == (code, code)
    assert why in program.stderr and why in python.stderr
    assert "Traceback" not in program.stderr + python.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_program_says_which_python_it_wants(tmp_path):
    done = command(IRIS, "-o", tmp_path / "x.vonk", VONK_PYTHON="/nowhere/python3")
    assert done.returncode == 1 and "VONK_PYTHON: there is no program '/nowhere/python3'" in done.stderr
    bare = {"PATH": "/usr/bin:/bin", "VONK_PYTHON": sys.executable, "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    text = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vonk') is not None)"
    if subprocess.run([sys.executable, "-I", "-c", text], check=False).returncode == 0:
        done = subprocess.run(
            [PROGRAM, "pack", IRIS, "-o", tmp_path / "x.vonk"], env=bare, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and "cannot import vonk" in done.stderr


def test_modules_in_the_working_directory_are_not_run(tmp_path):
    """A folder of downloaded models may hold anything."""
    for name in ("vonk", "numpy", "onnx", "json", "keras"):
        (tmp_path / f"{name}.py").write_text("open('was_run', 'w').close()\n")
    done = command(IRIS, "-o", "iris.vonk", cwd=tmp_path)
    print(done.stderr)
    assert done.returncode == 0
    assert not (tmp_path / "was_run").exists()


def test_numbers_in_the_manifest_are_of_one_width():
    for value in (0.0, 1e-7, 8.94e-8, 1e-320, 0.5, 9.96e9):
        assert len(_bundle.number(value)) == 7


def test_what_a_library_logs_after_packing_reaches_the_stream_that_it_would_have_had(capsys):
    with _quiet.Quiet() as aside:
        handler = logging.StreamHandler()  # keeps sys.stderr, as that of absl does, which Keras imports
        handler.handle(logging.makeLogRecord({"msg": "meanwhile"}))
        print("meanwhile on standard output")
        said = aside.printed()
    handler.handle(logging.makeLogRecord({"msg": "later"}))
    assert said.splitlines() == ["meanwhile", "meanwhile on standard output"]
    assert tuple(capsys.readouterr()) == ("", "later\n")
