"""TensorFlow, PyTorch and Spark are extras: without them all else works, and what needs them says how to get them.

`make test` makes build/deps/bare, an environment as `make setup` without EXTRAS makes it: vonk, ONNX Runtime, NumPy.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import saved_models
import vonk
from program import reference

ROOT = Path(__file__).resolve().parents[2]
BARE = ROOT / "build" / "deps" / "bare"
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
#: how a user gets a framework, in every message about one that is missing
WAYS = {
    "tensorflow": ("make setup EXTRAS=tensorflow", "pip install tensorflow-cpu", "VONK_TENSORFLOW_LIBRARY"),
    "torch": ("make setup EXTRAS=torch", "pip install torch", "VONK_TORCH_LIBRARY"),
}
#: a model of each, and the options it needs
MODELS = {"tensorflow": ("saved", {}), "torch": ("script.pt", {"inputs": "input:f32[-1,3]"})}


@pytest.fixture(scope="module", autouse=True)
def bare():
    if not (BARE / "bin" / "vonk").is_file():
        pytest.fail(f"{BARE}: missing: 'make test' makes it")


def run(*command, env=None):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VONK_", "PYTHON"))}
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, env={**kept, **(env or {})}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def program(*args):
    return run(BARE / "bin" / "vonk", *args)


def check_ways(message, name):
    for way in WAYS[name]:
        assert way in message, f"{way!r} is not in: {message}"


# --- without them ---


def test_the_bare_environment_has_no_other_framework():
    found = run(BARE / "bin" / "python", "-c", "import importlib.util as i; print([i.find_spec(n) for n in "
                "('tensorflow', 'torch', 'pyarrow', 'duckdb')])")  # fmt: skip
    assert found.stdout.strip() == "[None, None, None, None]", found.stdout + found.stderr


@pytest.mark.parametrize("name", WAYS)
def test_plugins_says_how_to_get_it(name):
    done = program("plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert found["onnx"]["error"] is None, found["onnx"]
    assert found[name]["formats"] and found[name]["runtime_version"] is None
    check_ways(found[name]["error"], name)
    check_ways(program("plugins").stdout, name)


@pytest.mark.parametrize("name", WAYS)
def test_a_model_of_it_gives_one_clear_error_in_the_program(name):
    file, options = MODELS[name]
    words = [word for pair in options.items() for word in ("--option", "=".join(pair))]
    done = program("inspect", saved_models.folder() / file, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("vonk inspect: ") and done.stderr.count("\n") == 1, done.stderr
    check_ways(done.stderr, name)


@pytest.mark.parametrize("name", WAYS)
def test_a_model_of_it_gives_one_clear_error_in_python(name):
    file, options = MODELS[name]
    code = (
        "import sys, vonk\n"
        f"try: vonk.open(sys.argv[1], **{options!r})\n"
        "except vonk.UnsupportedError as error: print(error)\n"
    )
    done = run(BARE / "bin" / "python", "-c", code, saved_models.folder() / file)
    assert done.returncode == 0, done.stderr
    check_ways(done.stdout, name)


def test_onnx_works_in_the_program_and_in_sql(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    packed = "measurements=a::FLOAT,b::FLOAT,c::FLOAT,d::FLOAT"
    done = program("run", IRIS, rows, "-o", "-", "--input", packed, "--output", "species=species", "--select", "")
    assert (done.returncode, done.stdout.split()) == (0, ["species", "setosa", "virginica"]), done.stderr
    done = program("sql", "-m", f"iris={IRIS}", "--csv", "SELECT iris(5.1, 3.5, 1.4, 0.2).species AS s")
    assert (done.returncode, done.stdout.split()) == (0, ["s", "setosa"]), done.stderr


@pytest.mark.parametrize("env", [{}, {"VONK_PATHS_CONF": "/nonexistent"}], ids=["recorded", "not recorded"])
def test_onnx_works_in_python(env):
    code = (
        "import sys, numpy, vonk\n"
        "rows = numpy.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype='f4')\n"
        "print(vonk.open(sys.argv[1]).predict(rows, outputs=['probabilities']).tolist())\n"
    )
    done = run(BARE / "bin" / "python", "-c", code, IRIS, env=env)
    assert done.returncode == 0, done.stderr
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)
    expected = next(out for out in reference(IRIS, measurements=rows) if out.dtype == np.float32)
    assert np.array(json.loads(done.stdout)) == pytest.approx(expected, abs=1e-6)


def test_the_plugins_are_built_where_no_framework_is(tmp_path):
    """But for TorchScript's part, which needs PyTorch's headers. The sources stand where there is no .venv."""
    source = tmp_path / "source"
    source.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in {".venv", "build", ".git"}:
            (source / entry.name).symlink_to(entry)
    build = tmp_path / "build"
    cmake = [shutil.which("cmake", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}") or "cmake"]
    options = [f"-DVONK_DEPS_DIR={ROOT}/build/deps", "-DVONK_BUILD_CLI=OFF", "-DCMAKE_BUILD_TYPE=Debug"]
    options += ["-DCMAKE_C_FLAGS=-O0 -g0"]
    done = run(*cmake, "-S", source, "-B", build, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    targets = ["vonk_onnx", "vonk_tensorflow", "vonk_torch"]
    done = run(*cmake, "--build", build, "-j", 2, "--target", *targets)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    folder = build / "lib" / "vonk" / "plugins"
    built = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.so"))
    assert built == [f"{target}.so" for target in targets]
    targets = run(*cmake, "--build", build, "--target", "help").stdout
    assert "torchscript" not in targets


@pytest.mark.parametrize(
    ("source", "name", "package"),
    [("checkpoint.pt", "torch", "torch"), ("estimator.joblib", "sklearn", "joblib")],
)
def test_packing_without_it_says_how_to_get_it(source, name, package, tmp_path):
    """Sources that are recognised by content alone; nothing of them is read before the package is there."""
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w") as file:
        file.writestr("checkpoint/data.pkl", b"\x80\x02}q\x00.")
    (tmp_path / "estimator.joblib").write_bytes(b"\x80\x04}\x94.")
    code = (
        "import sys, vonk\n"
        "try: vonk.pack(sys.argv[1], sys.argv[2], trust=True)\n"
        "except vonk.Error as error: print(error)\n"
    )
    done = run(BARE / "bin" / "python", "-c", code, tmp_path / source, tmp_path / "out.vonk")
    assert done.returncode == 0, done.stderr
    assert f"make setup EXTRAS={name}" in done.stdout and f"pip install {package}" in done.stdout, done.stdout
    assert done.stdout.count("\n") == 1 and not (tmp_path / "out.vonk").exists()


# --- with them ---


def test_with_the_extras_the_wheel_has_torchscript_s_part_for_this_torch():
    parts = vonk.installation()
    torch = parts.frameworks["torch"].parents[1] / "version.py"
    version = next(line.split("'")[1] for line in torch.read_text().splitlines() if line.startswith("__version__"))
    minor = ".".join(version.split(".")[:2])
    assert (parts.plugins / "torch" / f"vonk_torchscript-{minor}.so").is_file()


def test_with_the_extras_every_plugin_finds_its_framework():
    done = run(vonk.installation().program, "plugins", "--json")
    found = {plugin["name"]: plugin["error"] for plugin in json.loads(done.stdout)}
    assert found == {"onnx": None, "tensorflow": None, "torch": None}


def test_the_program_s_list_survives_a_framework_that_crashes(tmp_path):
    """Loading it ends a process; the list is made in another."""
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void crash(void) { abort(); }\n")
    library = tmp_path / "libtorch_cpu.so"
    made = run("cc", "-shared", "-fPIC", "-o", library, source)
    assert made.returncode == 0, made.stderr
    shutil.copy(library, tmp_path / "libc10.so")
    shutil.copy(library, tmp_path / "libtorch.so")
    done = run(vonk.installation().program, "plugins", "--json", env={"VONK_TORCH_LIBRARY": str(library)})
    assert done.returncode == 0, done.stderr
    found = {plugin["name"]: plugin["error"] for plugin in json.loads(done.stdout)}
    assert "ended the process with signal 6" in found["torch"], found
    assert found["onnx"] is None and found["tensorflow"] is None, found


# --- set-up itself ---

sys.path.insert(0, str(ROOT / "tools"))
import extras  # noqa: E402 - tools/extras.py


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None), (" ", None), ("none", []), ("torch", ["torch"]), ("torch,tensorflow", ["tensorflow", "torch"]),
        ("ALL", ["tensorflow", "torch", "sklearn", "huggingface", "spark"]),
        ("torch, all", ["tensorflow", "torch", "sklearn", "huggingface", "spark"]), ("spark,torch", ["torch", "spark"]),
        ("torch tensorflow,", ["tensorflow", "torch"]), ("sklearn", ["sklearn"]),
    ],
)  # fmt: skip
def test_extras_are_read(text, wanted):
    assert extras.parse(text) == wanted


@pytest.mark.parametrize("text", ["tensroflow", "torch,pytorch", "none,torch", "all,none", "*"])
def test_a_wrong_extra_is_answered_with_the_choices(text):
    done = run("make", "setup", f"EXTRAS={text}")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("setup: ")]
    assert len(lines) == 1 and "choose from tensorflow, torch, sklearn, huggingface, spark, all or none" in lines[0], (
        done.stderr
    )
    with pytest.raises(extras.ExtrasError):
        extras.parse(text)


def test_extras_are_remembered_and_what_they_brought_is_known(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / "numpy-2.0.dist-info").mkdir(parents=True)
    assert extras.remembered(tmp_path) == []
    extras.remember(tmp_path, ["torch"])
    assert extras.remembered(tmp_path) == ["torch"]
    before = extras.distributions(tmp_path)
    (site / "Some_Package-1.0.dist-info").mkdir()
    extras.note(tmp_path, "torch", before)
    (tmp_path / "requirements.txt").write_text("# a comment\ntorch==2.13.0\n")
    assert extras.noted(tmp_path, "torch", tmp_path / "requirements.txt") == {"torch", "some-package"}
    assert extras.library(tmp_path, "torch") is None
    (site / "torch" / "lib").mkdir(parents=True)
    (site / "torch" / "lib" / "libtorch_cpu.so").touch()
    assert extras.library(tmp_path, "torch") == site / "torch" / "lib" / "libtorch_cpu.so"


def test_an_extra_without_a_library_is_known_by_its_package(tmp_path):
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "skl2onnx"
    assert extras.installed(tmp_path, "sklearn") is None
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert extras.installed(tmp_path, "sklearn") == package / "__init__.py"
    assert extras.library(tmp_path, "sklearn") is None  # nothing for paths.conf


def test_every_package_that_packing_imports_is_in_a_pinned_file():
    pinned = {
        re.split(r"[=;]", line)[0]
        for name in ("", "-tensorflow", "-torch", "-sklearn")
        for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    }
    wanted = {"numpy", "onnx", "onnxruntime", "onnxscript", "tf2onnx", "skl2onnx", "scikit-learn", "joblib"}
    assert wanted <= pinned, wanted - pinned


def test_pip_s_large_downloads_are_told_and_silence_is_broken(tmp_path, capsys):
    script = (
        "import time\n"
        "print('Downloading torch-2.13.0-cp311.whl (180.5 MB)', flush=True)\n"
        "print('  Downloading https://mirror/packages/pyspark-4.3.0.tar.gz (460.3 MB)')\n"
        "print('  Building wheel for pyspark (pyproject.toml): started')\n"
        "print('Downloading six-1.17.0-py2.whl (11 kB)')\n"
        "print('Installing collected packages: six, torch', flush=True)\n"
        "time.sleep(0.5)\n"
        "raise SystemExit(3)\n"
    )
    status, output = extras.run_shown([sys.executable, "-c", script], dict(os.environ), tmp_path, silence=0.2)
    said = capsys.readouterr().out.splitlines()
    assert status == 3 and "six-1.17.0" in output
    assert said[:2] == [
        "setup:   downloading: torch 2.13.0 (180.5 MB)",
        "setup:   downloading: pyspark 4.3.0 (460.3 MB)",
    ]
    assert said[2:4] == ["setup:   building pyspark", "setup:   installing 2 packages"]
    assert said[4].startswith("setup:   still installing 2 packages, ")
