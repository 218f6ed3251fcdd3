"""What the tests of tests/mixing share: one network in the formats of three frameworks, and child processes.

How it works: frameworks are never loaded into the test's own process. A test starts a child, a C program over libvonk
or a piece of Python, which prints what it found; a child that crashes, hangs, or writes to stderr fails its test.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("VONK_BUILD_DIR", ROOT / "build" / "dev"))
PROGRAMS = BUILD / "tests" / "mixing"
SANITIZED = os.environ.get("VONK_TEST_SANITIZE", "")
#: seconds for one child, on a busy machine
PATIENCE = 300 if SANITIZED else 110

sys.path.insert(0, str(HERE.parent / "frameworks"))

import networks  # noqa: E402 - tests/frameworks/networks.py
import zoo  # noqa: E402 - tests/frameworks/zoo.py

#: how the same network lies in each format: maker, file, options
FORMATS = {
    "onnx": ("onnx", "mlp.onnx", ""),
    "tensorflow": ("tensorflow", "mlp", ""),
    "torch": ("torchscript", "mlp.pt", ";inputs=pixels:f32[-1,784];outputs=probabilities:f32[-1,10]"),
    "aoti": ("aoti", "mlp.pt2", ";allow_native_code=1"),
    "graphdef": ("tensorflow", "mlp.pb", ""),
    "checkpoint": ("tensorflow", "mlp_checkpoint/model.meta", ";outputs=probabilities"),
}
#: one format of each framework, in the order of their names here
FRAMEWORKS = ("onnx", "tensorflow", "torch")


def need(*formats: str) -> None:
    """Skips the test where a framework is not installed."""
    for name in formats:
        if not zoo.is_here(FORMATS[name][0]):
            pytest.skip(f"{FORMATS[name][0]} is not installed")


@functools.cache
def model(name: str) -> tuple[str, str]:
    """A model's path, and its options as ";key=value"."""
    maker, file, options = FORMATS[name]
    return str(zoo.models(maker) / file), options


def spec(name: str) -> str:
    """PATH[;key=value]..., as the C programs take it."""
    return "".join(model(name))


#: the embedding, whose run fails for a token outside of its table
EMBEDDINGS = {
    "onnx": ("onnx", "embedding.onnx", ""),
    "tensorflow": ("tensorflow", "embedding", ""),
    "torch": ("torchscript", "embedding.pt", ";inputs=tokens:i64[-1,5];outputs=y:f32[-1,4]"),
}


def embedding(framework: str) -> str:
    """PATH[;key=value]..."""
    maker, file, options = EMBEDDINGS[framework]
    return f"{zoo.models(maker) / file}{options}"


def options(name: str) -> dict[str, str]:
    """The options, as vonk.open takes them."""
    return dict(text.split("=", 1) for text in model(name)[1].split(";") if text)


@functools.cache
def rows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows for the network, and what NumPy says."""
    network = networks.MLP()
    x = network.rows()
    return x, network(x).astype(np.float32)


@functools.cache
def files() -> tuple[str, ...]:
    """The rows and what is expected as files of floats, with their widths, as the C programs take them."""
    folder = Path(tempfile.mkdtemp(prefix="vonk-mixing-"))
    arguments: list[str] = []
    for name, array in zip(("in", "expected"), rows(), strict=True):
        array.tofile(folder / name)
        arguments += [str(folder / name), str(array.shape[1])]
    return tuple(arguments)


def environment(leaks: bool = False, **more: str | Path | None) -> dict[str, str]:
    """Of a child; None removes a variable. leaks: a sanitizer is to look for them."""
    env = {key: text for key, text in os.environ.items() if not key.startswith(("VONK_MODELS", "TF_", "OMP_"))}
    if "address" in SANITIZED:
        env["ASAN_OPTIONS"] = f"detect_leaks={int(leaks)}:strict_string_checks=1:allocator_may_return_null=1"
    for key, text in more.items():
        if text is None:
            env.pop(key, None)
        else:
            env[key] = str(text)
    return env


def run(command: list[str | Path], leaks: bool = False, **env: str | Path | None) -> str:
    """What the child printed, when it ended well and was quiet."""
    done = start(command, leaks, **env)
    assert done.returncode == 0, f"{command}\nended with {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr == "", f"{command}\nwrote to stderr: {done.stderr}"
    return done.stdout


def start(command: list[str | Path], leaks: bool = False, **env: str | Path | None) -> subprocess.CompletedProcess[str]:
    """Runs a child to its end."""
    try:
        return subprocess.run(
            [str(part) for part in command], env=environment(leaks, **env), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{command}\nhangs after printing: {error.stdout!r}{error.stderr!r}") from None
