"""A model in a bundle predicts what the same raw file predicts, bit for bit: through the program, SQL and Python, from
zip files and folders, under other names and in another order; and a zip file is opened where it is.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import manifest, write

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "frameworks"))
import networks  # noqa: E402 - beside it
import zoo  # noqa: E402

PROGRAM = os.environ["VONK_PROGRAM"]
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
ROWS = ["5.1,3.5,1.4,0.2", "6.2,2.9,4.3,1.3", "7.3,2.9,6.3,1.8", "4.9,2.5,4.5,1.7"]
COLUMNS = ["a", "b", "c", "d"]


def run(*words: Any, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [PROGRAM, *map(str, words)], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stderr


@functools.cache
def inspected(path: Path, options: tuple[tuple[str, str], ...]) -> Any:
    words = [word for key, text in options for word in ("--option", f"{key}={text}")]
    return json.loads(run("inspect", "--json", path, *words))


def ports(described: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """What `vonk inspect --json` says of a raw model, under other names and in their order."""
    by_name = {port["name"]: port for port in described}
    return [
        {
            "name": name,
            "tensor": tensor,
            "dtype": by_name[tensor]["dtype"],
            "shape": None
            if by_name[tensor]["shape"] is None
            else [dim if isinstance(dim, int) else -1 for dim in by_name[tensor]["shape"]],
        }
        for tensor, name in names.items()
    ]


def content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {f"model/{path.name}": path.read_bytes()}
    return {f"model/{file.relative_to(path)}": file.read_bytes() for file in path.rglob("*") if file.is_file()}


def bundle(target: Path, raw: Path, names: dict[str, str] | None = None, options: dict[str, str] | None = None) -> Path:
    """names: the model's tensors -> what users see; the others are left out."""
    options = {} if options is None else options
    said = inspected(raw, tuple(options.items()))
    if names is None:
        names = {port["name"]: f"{port['name']} (packed)" for port in said["inputs"] + said["outputs"]}
    inputs = {port["name"] for port in said["inputs"]}
    described = manifest(
        ports(said["inputs"], {old: new for old, new in names.items() if old in inputs}),
        ports(said["outputs"], {old: new for old, new in names.items() if old not in inputs}),
        model=f"model/{raw.name}" if raw.is_file() else "model",
        format=said["format"],
        plugin=said["plugin"],
        options={key: text for key, text in options.items() if key != "allow_native_code"},
    )
    return write(target, described, content(raw))


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """The second output first, under other names."""
    names = {"measurements": "flower", "species": "kind", "probabilities": "p"}
    bundle(tmp_path / "folder", IRIS, names)
    return bundle(tmp_path / "iris.vonk", IRIS, names)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([",".join(COLUMNS), *ROWS]) + "\n")
    return path


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- the program ---


def test_the_program_predicts_the_same(iris: Path, rows: Path) -> None:
    columns = ",".join(COLUMNS)
    raw = table(run("run", IRIS, rows, "--input", f"measurements={columns}", "--select", "", "-o", "-"))
    assert list(raw[0]) == ["probabilities", "species"]
    for path in (iris, iris.with_name("folder")):
        found = table(run("run", path, rows, "--input", f"flower={columns}", "--select", "", "-o", "-"))
        assert list(found[0]) == ["kind", "p"]
        assert [(row["p"], row["kind"]) for row in found] == [
            (row["probabilities"], row["species"]) for row in raw
        ]  # fmt: skip
        one = table(
            run("run", path, rows, "--input", f"flower={columns}", "--select", "", "--output", "kind=k", "-o", "-")
        )
        assert one == [{"k": row["species"]} for row in raw]


def test_a_hidden_output_is_not_there(tmp_path: Path, rows: Path) -> None:
    path = bundle(tmp_path / "hidden.vonk", IRIS, {"measurements": "x", "species": "kind"})
    found = table(run("run", path, rows, "--input", "x=a,b,c,d", "--select", "", "-o", "-"))
    assert [row["kind"] for row in found] == ["setosa", "versicolor", "virginica", "versicolor"]
    assert list(found[0]) == ["kind"]
    text = run("run", path, rows, "--input", "x=a,b,c,d", "--output", "probabilities=p", "-o", "-", status=4)
    assert "'probabilities'" in text and "kind" in text


def test_inspect_shows_the_bundle(iris: Path) -> None:
    for path in (iris, iris.with_name("folder")):
        said = json.loads(run("inspect", "--json", "--sha256", path))
        assert [port["name"] for port in said["inputs"] + said["outputs"]] == ["flower", "kind", "p"]
        assert said["bundle"]["labels"] == [] and said["bundle"]["selftest"] is None
        if path.is_file():
            assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(run("inspect", "--json", IRIS))["bundle"] is None


def test_bench_takes_a_bundle(iris: Path) -> None:
    assert "rows/s" in run("bench", iris, "--seconds", "0.2")


def test_sql_takes_bundles_wherever_it_takes_models(iris: Path, rows: Path) -> None:
    by_name = f"SELECT iris([a, b, c, d]).p AS p FROM '{rows}'"
    expected = table(run("sql", "-m", f"iris={IRIS}", by_name.replace(".p AS", ".probabilities AS")))
    assert len(expected) == len(ROWS)
    assert table(run("sql", "-m", f"iris={iris}", by_name)) == expected
    assert table(run("sql", "-m", f"iris={iris.with_name('folder')}", by_name)) == expected
    assert table(run("sql", "-m", iris, by_name)) == expected
    models = iris.parent / "models"
    models.mkdir()
    shutil.copy(iris, models / "iris.vonk")
    shutil.copytree(iris.with_name("folder"), models / "other")
    assert table(run("sql", by_name, VONK_MODELS=str(models))) == expected
    assert table(run("sql", by_name.replace("iris(", "other("), VONK_MODELS=str(models))) == expected
    loaded = f"FROM vonk_load('iris', '{iris}'); {by_name}"
    assert run("sql", loaded).endswith(run("sql", "-m", f"iris={iris}", by_name))
    signature = table(run("sql", f"SELECT name FROM '{iris}'"))
    assert [row["name"] for row in signature] == ["flower", "kind", "p"]


def test_a_pin_holds_or_fails(iris: Path) -> None:
    digest = hashlib.sha256(iris.read_bytes()).hexdigest()
    run("inspect", f"{iris}#sha256={digest}")
    other = ("0" if digest[0] != "0" else "1") + digest[1:]
    assert f"sha256 is {digest}, expected {other}" in run("inspect", f"{iris}#sha256={other}", status=3)


# --- every framework, in Python ---

MLP_SPEC = {"inputs": "pixels:f32[-1,784]", "outputs": "probabilities:f32[-1,10]"}
FORMATS = [
    ("onnx", "mlp.onnx", {}),
    ("tensorflow", "mlp", {}),
    ("tensorflow", "mlp.pb", {}),
    ("tensorflow", "mlp_checkpoint", {}),
    ("torchscript", "mlp.pt", MLP_SPEC),
    ("aoti", "mlp.pt2", {"allow_native_code": "1"}),
]
every_format = pytest.mark.parametrize(
    ("maker", "name", "options"),
    [
        pytest.param(
            *case, id=case[1], marks=pytest.mark.skipif(not zoo.is_here(case[0]), reason=f"{case[0]}: not installed")
        )
        for case in FORMATS
    ],
)


def same_bits(found: Any, expected: Any) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes(), f"found {found[0]}, expected {expected[0]}"


@every_format
def test_python_predicts_the_same(maker: str, name: str, options: dict[str, str], tmp_path: Path) -> None:
    import vonk  # noqa: PLC0415 - the build tree's

    raw = zoo.models(maker) / name
    if name == "mlp_checkpoint":  # its .meta with the files beside it: another main file in the folder
        (tmp_path / "raw").mkdir()
        for file in raw.iterdir():
            shutil.copy(file, tmp_path / "raw")
        raw = tmp_path / "raw" / "model.meta"
    x = networks.MLP().rows()
    expected = np.asarray(vonk.open(raw, **options).predict(x))
    native = {key: text for key, text in options.items() if key == "allow_native_code"}
    for target in (tmp_path / "mlp.vonk", tmp_path / "folder"):
        packed = bundle(target, raw, options=options)
        if name == "mlp_checkpoint":
            with_variables(packed, raw)
        model = vonk.open(packed, **native)
        assert model.inputs[0].name.endswith(" (packed)") and model.outputs[0].name.endswith(" (packed)")
        same_bits(model.predict(x), expected)
        if native:
            with pytest.raises(vonk.Error, match="allow_native_code"):
                vonk.open(packed)
        again = vonk.open(packed, **native)
        same_bits(again.predict(x[:5]), expected[:5]) if maker == "onnx" else None


def with_variables(packed: Path, raw: Path) -> None:
    """The bundle again, with what lies beside the model's own file."""
    if packed.is_dir():
        described = json.loads((packed / "manifest.json").read_text())
    else:
        described = json.loads(_manifest_text(packed))
    described.pop("files")
    files = {f"model/{file.name}": file.read_bytes() for file in raw.parent.iterdir()}
    shutil.rmtree(packed) if packed.is_dir() else packed.unlink()
    write(packed, described, files)


def _manifest_text(path: Path) -> bytes:
    import zipfile  # noqa: PLC0415

    with zipfile.ZipFile(path) as archive:
        return archive.read("manifest.json")


# --- in place ---


@every_format
def test_a_zip_file_is_opened_where_it_is(maker: str, name: str, options: dict[str, str], tmp_path: Path) -> None:
    """No folder for temporary files exists, and no file is written or made anywhere."""
    raw = zoo.models(maker) / name
    if name == "mlp_checkpoint":
        raw = raw / "model.meta"
    packed = bundle(tmp_path / "mlp.vonk", raw, options=options)
    if name == "mlp_checkpoint":
        with_variables(packed, raw)
    words = ["--option", "allow_native_code=1"] if "allow_native_code" in options else []
    if os.environ.get("VONK_TEST_SANITIZE") or shutil.which("strace") is None or maker == "aoti":
        # AOTInductor's packages are shared objects, which only a file can be loaded as
        if maker != "aoti":
            run("inspect", packed, *words, TMPDIR="/no/such/folder")
        return
    log = tmp_path / "strace.log"
    calls = "open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod"
    done = subprocess.run(
        ["strace", "-f", "-s", "300", "-o", log, "-e", f"trace={calls}", PROGRAM, "inspect", packed, *words],
        capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": "/no/such/folder"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert any(str(packed) in line for line in lines)
    harmless = re.compile(r'"/dev/|"/proc/|= -1 ')
    written = [
        line
        for line in lines
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|mkdir|rename|link|creat\(|mknod", line) and not harmless.search(line)
    ]
    assert written == []
    inside = [line for line in lines if f"{packed}/" in line]
    assert inside == [], "there is no file inside a zip file to be opened"


# --- other zip files ---


@pytest.mark.skipif(not zoo.is_here("torchscript"), reason="PyTorch: not installed")
def test_a_torchscript_file_is_no_bundle_and_a_bundle_is_no_torchscript_file(tmp_path: Path) -> None:
    script = zoo.models("torchscript") / "mlp.pt"
    named_so = tmp_path / "script.vonk"
    shutil.copy(script, named_so)
    assert "its first entry is not manifest.json" in run("inspect", named_so, status=3)
    packed = bundle(tmp_path / "mlp.vonk", script, options=MLP_SPEC)
    other = tmp_path / "mlp.pt"
    shutil.copy(packed, other)
    assert json.loads(run("inspect", "--json", other))["bundle"] is not None
    words = [word for key, text in MLP_SPEC.items() for word in ("--option", f"{key}={text}")]
    assert json.loads(run("inspect", "--json", script, *words))["bundle"] is None
