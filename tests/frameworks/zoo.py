"""The models of tests/frameworks, made once per version of their makers and of the frameworks.

`models("tensorflow")` gives the folder with TensorFlow's models and `results.npz`, what TensorFlow itself says in
Python for the rows of networks.py. Making them needs the framework's Python package and takes seconds (AOTInductor: a
minute), so a child process does it, once for all build trees and test processes; the framework is never loaded into the
test.

`python zoo.py` makes all that can be made here.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / "build" / "frameworks"

DAY = 86400

#: maker -> the Python package that it needs
PACKAGES = {"onnx": "onnxruntime", "tensorflow": "tensorflow", "torchscript": "torch", "aoti": "torch"}
#: the same of makers whose models are bundles by vonk.pack
PACKED = {"packed_keras": "tensorflow", "packed_torch": "torch", "packed_sklearn": "sklearn"}
#: maker -> the plug-in that opens what it makes; of a bundle: that must be here for its framework to be
PLUGINS = {
    "onnx": "onnx", "tensorflow": "tensorflow", "torchscript": "torch", "aoti": "torch", "packed_keras": "tensorflow",
    "packed_torch": "torch", "packed_sklearn": "onnx",
}  # fmt: skip
#: what converters of vonk.pack are made of, besides the framework
CONVERTERS = ("onnx", "onnxruntime", "onnxscript", "tf2onnx", "skl2onnx")


def is_here(maker: str) -> bool:
    """Whether the framework is installed: as the build tree says, if it is asked for one (VONK_TEST_FRAMEWORKS)."""
    told = os.environ.get("VONK_TEST_FRAMEWORKS")
    if maker in PACKED and (importlib.util.find_spec(PACKED[maker]) is None or os.environ.get("VONK_TEST_SANITIZE")):
        return False  # vonk.pack is Python, which an instrumented library cannot be loaded into
    if maker == "packed_sklearn" and importlib.util.find_spec("skl2onnx") is None:
        return False
    if told is not None:
        return PLUGINS[maker] in told.split(",")
    return importlib.util.find_spec((PACKAGES | PACKED)[maker]) is not None


def version(package: str) -> str:
    """The installed version; a distribution may be called otherwise than its package (tensorflow-cpu)."""
    for name in importlib.metadata.packages_distributions().get(package, [package]):
        return f"{name} {importlib.metadata.version(name)}"
    raise LookupError(package)


def digest(maker: str) -> str:
    package = (PACKAGES | PACKED)[maker]
    names = {package, "numpy"} | ({"keras"} if package == "tensorflow" else set())
    names |= {name for name in CONVERTERS if maker in PACKED and importlib.util.find_spec(name) is not None}
    parts = [version(name).encode() for name in sorted(names)]
    files = [HERE / "networks.py", HERE / f"make_{maker}.py"]
    files += [HERE.parent / "onnx" / "models.py"] if maker == "onnx" else []
    files += [HERE / "torch_networks.py"] if package == "torch" else []
    if maker in PACKED:
        files += [HERE / "make_tensorflow.py", *sorted((HERE.parents[1] / "python" / "vonk" / "packing").glob("*.py"))]
    parts += [path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def quiet_environment(**more: str) -> dict[str, str]:
    """Without a sanitizer's library, which the test itself may have been started with."""
    dropped = {"LD_PRELOAD", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"}
    kept = {key: text for key, text in os.environ.items() if key not in dropped}
    return {**kept, **more, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}


def remove_old(maker: str) -> None:
    """Models of other versions; not those of today, which a test of another checkout may be reading."""
    for old in CACHE.glob(f"{maker}-*"):
        if time.time() - old.stat().st_mtime > DAY:
            shutil.rmtree(old, ignore_errors=True)


@functools.cache
def models(maker: str) -> Path:
    """The folder of the models that make_<maker>.py writes."""
    folder = CACHE / f"{maker}-{digest(maker)}"
    with locked(CACHE / f"{maker}.lock"):
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            cache = part / "cache"
            cache.mkdir(parents=True)
            done = subprocess.run(
                [sys.executable, str(HERE / f"make_{maker}.py"), str(part)],
                env=quiet_environment(TORCHINDUCTOR_CACHE_DIR=str(cache), TMPDIR=str(cache)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"make_{maker}.py: exit {done.returncode}:\n{done.stdout}")
            shutil.rmtree(cache)
            (part / "made.txt").write_text(done.stdout)
            part.rename(folder)
            remove_old(maker)
    return folder


@functools.cache
def results(maker: str) -> Mapping[str, Any]:
    """What the framework said in Python, by the model's name."""
    with np.load(models(maker) / "results.npz") as file:
        return dict(file)


if __name__ == "__main__":
    for name in sys.argv[1:] or PACKAGES | PACKED:
        if is_here(name):
            print(f"{name}: {models(name)}")
