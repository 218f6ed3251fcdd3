"""A program that brought its own copy of a framework, or a part of one: vonk uses that one or says why not.

Loading a second copy of TensorFlow's or PyTorch's libraries by its path ends the process in a static initialiser. So
vonk never does: each case is a child process that must live.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import mixing
import pytest

pytestmark = pytest.mark.skipif(bool(mixing.SANITIZED), reason="about the loader; tests/kit runs our part of it so")

#: the files of a framework's copy: the library with the interface first, then what it brings along
FILES = {
    "onnx": ("libonnxruntime.so.*",),
    "tensorflow": ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2"),
    "torch": ("libtorch_cpu.so", "libc10.so", "libtorch.so", "libtorch_global_deps.so", "libgomp.so.1"),
}
KEYS = {"onnx": "onnxruntime", "tensorflow": "tensorflow", "torch": "torch"}
VARIABLES = {name: f"VONK_{key.upper()}_LIBRARY" for name, key in KEYS.items()}
#: a part of the framework, in which order its files may be loaded, and what is not among them
PARTS = {
    "tensorflow": ["libtensorflow_framework.so.2"],
    "torch": ["libtorch_global_deps.so", "libc10.so"],
}
each_with_parts = pytest.mark.parametrize(
    ("framework", "part"), [(name, part) for name, parts in PARTS.items() for part in parts]
)


def installed(framework: str) -> Path:
    """The library that the build tree uses."""
    mixing.need(framework)
    for line in (mixing.BUILD / "lib" / "vonk" / "paths.conf").read_text().splitlines():
        if line.startswith(KEYS[framework] + "="):
            return Path(line.split("=", 1)[1]).resolve()
    raise LookupError(framework)


def second(framework: str, *libraries: Path, **env: str | Path) -> str:
    """What the program printed."""
    command = [mixing.PROGRAMS / "second", *mixing.files(), mixing.spec(framework), *libraries]
    done = mixing.start(command, **env)
    assert done.returncode == 0, f"{command}\nended with {done.returncode}: {done.stdout}{done.stderr}"
    # what the copies say at load is the program's own doing
    return done.stdout.strip()


@pytest.fixture(scope="module", params=FILES)
def copy(request):
    """A framework, and a whole copy of its libraries: real files, for the loader knows a file by its inode."""
    library = installed(request.param)
    folder = mixing.BUILD / "tests" / "mixing" / f"copy-{request.param}"
    shutil.rmtree(folder, ignore_errors=True)
    size = sum(path.stat().st_size for name in FILES[request.param] for path in library.parent.glob(name))
    if shutil.disk_usage(mixing.BUILD).free < 3 * size:
        pytest.skip(f"no room for a copy of {size / 1e9:.1f} GB")
    folder.mkdir(parents=True)
    for name in FILES[request.param]:
        for path in library.parent.glob(name):
            shutil.copy(path, folder / path.name)
    yield request.param, folder / library.name
    shutil.rmtree(folder)


def test_the_copy_that_is_there_is_used_whatever_is_configured(copy, tmp_path):
    framework, path = copy
    assert second(framework, path) == str(path)
    assert second(framework, path, **{VARIABLES[framework]: installed(framework)}) == str(path)
    conf = tmp_path / "paths.conf"
    conf.write_text(f"{KEYS[framework]}={installed(framework)}\n")
    assert second(framework, path, VONK_PATHS_CONF=conf) == str(path)
    assert second(framework, installed(framework), **{VARIABLES[framework]: path}) == str(installed(framework))


def test_the_copy_that_is_configured_is_used_if_there_is_none(copy):
    framework, path = copy
    assert second(framework, **{VARIABLES[framework]: path}) == str(path)


def test_a_copy_under_another_name_is_found(copy):
    """By its SONAME, which a file keeps when it is renamed."""
    framework, path = copy
    renamed = path.with_name("another_name.so")
    renamed.hardlink_to(path)
    try:
        assert second(framework, renamed) == str(renamed)
    finally:
        renamed.unlink()


def test_beside_a_loaded_part_of_a_copy_is_the_copy_to_use(copy):
    framework, path = copy
    for part in PARTS.get(framework, []):
        found = second(framework, path.parent / part, **{VARIABLES[framework]: installed(framework)})
        assert found == str(path), part


@each_with_parts
def test_a_part_without_the_rest_is_refused(framework, part, tmp_path):
    """vonk cannot load a copy that fits; the error says what is loaded and what to do."""
    library = installed(framework)
    shutil.copy(library.parent / part, tmp_path / part)
    found = second(framework, tmp_path / part)
    assert found.startswith("VONK_UNSUPPORTED: ")
    assert f"has loaded '{tmp_path / part}'" in found
    assert "second copy" in found and "process of its own" in found


def test_several_names_of_one_file_are_one_copy(tmp_path):
    """Folders of links, as package managers make them."""
    for framework in ("tensorflow", "torch"):
        library = installed(framework)
        folder = tmp_path / framework
        folder.mkdir()
        for name in FILES[framework]:
            (folder / name).symlink_to(library.parent / name)
        assert second(framework, folder / library.name) == str(library)
        assert second(framework, library, **{VARIABLES[framework]: folder / library.name}) == str(library)


IMPORT = """
import sys
import vonk, numpy
path, options, rows = {path!r}, {options!r}, numpy.load({rows!r})
vonk.open(path, **options).predict(rows)
import {module}
print(float({code}))
vonk.open(path, **options).predict(rows)
"""


def test_a_package_imported_after_another_copy_of_its_libraries_uses_that_one(copy, tmp_path):
    """The loader finds libraries that others need by SONAME: a copy of the same version fits, whichever came first."""
    framework, path = copy
    if framework == "onnx":
        pytest.skip("the Python package has its own inside")
    module, code = {
        "tensorflow": ("tensorflow", "tensorflow.reduce_sum(tensorflow.ones(3))"),
        "torch": ("torch", "torch.ones(3).sum()"),
    }[framework]
    rows = tmp_path / "rows.npy"
    mixing.np.save(rows, mixing.rows()[0])
    program = IMPORT.format(
        path=mixing.model(framework)[0], options=mixing.options(framework), rows=str(rows), module=module, code=code
    )
    env = {VARIABLES[framework]: path, "PYTHONPATH": mixing.BUILD / "python", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = mixing.start([sys.executable, "-c", program], **env)
    assert (done.returncode, done.stdout) == (0, "3.0\n"), f"{done.returncode}: {done.stdout}{done.stderr}"
