"""The installed wheel: its parts are found, belong together and work from any folder."""

import ctypes
import platform
import subprocess
from importlib import metadata

import duckdb
import pytest
import vonk


@pytest.fixture(scope="module")
def parts():
    return vonk.installation()


def test_every_part_is_there(parts):
    assert parts.program.is_file()
    assert parts.library.is_file()
    assert (parts.include / "vonk" / "vonk.h").is_file()
    for name in ("onnx", "tensorflow", "torch"):
        assert (parts.plugins / f"vonk_{name}.so").is_file()


def test_duckdb_loads_the_extension_and_it_finds_the_plugins(parts):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{parts.extension}'")
    found = con.execute("SELECT path FROM vonk_plugins() WHERE name = 'onnx' AND error IS NULL").fetchall()
    assert found == [(str(parts.plugins / "vonk_onnx.so"),)]


def test_the_recorded_frameworks_exist(parts):
    assert set(parts.frameworks) == {"onnxruntime", "tensorflow", "torch", "duckdb"}
    for name, path in parts.frameworks.items():
        assert path.is_absolute() and path.is_file(), f"{name}: {path}"


def test_library_program_and_package_have_one_version(parts, tmp_path):
    library = ctypes.CDLL(str(parts.library))
    library.vonk_version.restype = ctypes.c_char_p
    printed = subprocess.run([parts.program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = {
        "package": vonk.__version__,
        "metadata": metadata.version("vonk"),
        "library": library.vonk_version().decode(),
        "program": printed.stdout.split()[1],
    }
    assert set(found.values()) == {vonk.__version__}, found


def test_one_wheel_is_for_every_cpython_from_3_10_on_this_platform():
    wheel = metadata.distribution("vonk").read_text("WHEEL")
    tags = [line.split(":")[1].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    assert len(tags) == 1, tags
    assert tags[0].startswith("cp310-abi3-"), tags
    assert tags[0].endswith(platform.machine()), tags
