"""Finds TensorFlow without importing it, and has the models made once per build folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "onnx")]  # abi.py drives a plug-in alone


def find_library() -> Path | None:
    spec = importlib.util.find_spec("tensorflow")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "libtensorflow_cc.so.2"


@pytest.fixture(scope="session")
def library() -> Path:
    found = find_library()
    if found is None:
        pytest.skip("TensorFlow is not installed: make setup EXTRAS=tensorflow")
    return found


@pytest.fixture(scope="session")
def models(library: Path) -> Path:
    """The folder of make_models.py."""
    version = (library.parent / "include/tensorflow/core/public/release_version.h").read_bytes()
    parts = [(HERE / name).read_bytes() for name in ("make_models.py", "make_hostile.py")]
    key = hashlib.sha256(b"".join([*parts, version])).hexdigest()[:16]
    build = Path(os.environ.get("VONK_BUILD_DIR", ROOT / "build/dev"))
    folder = build / "tests/tensorflow-models" / key
    if not (folder / "done").exists():
        shutil.rmtree(folder.parent, ignore_errors=True)
        environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "ASAN_OPTIONS")}
        done = subprocess.run([sys.executable, str(HERE / "make_models.py"), str(folder)], env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / "done").touch()
    return folder
