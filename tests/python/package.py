"""What the tests of the Python package share: models, onnxruntime as the reference, slow and failing models."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import vonk

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "predict"))

import reference  # noqa: E402 - tests/predict/reference.py

MNIST = ROOT / "examples" / "mnist" / "mnist.onnx"
IRIS = ROOT / "examples" / "iris" / "iris.onnx"


def mock(folder, plugin, text):
    """A model of one of the mock plug-ins (tests/mock), which the C build makes."""
    library = Path(os.environ.get("VONK_MOCK_DIR", ROOT / "build" / "dev" / "mock")) / f"mock_{plugin}.so"
    if not library.is_file():
        pytest.fail(f"{library}: missing: 'make dev' builds it")
    path = folder / f"{plugin}.mock"
    path.write_text(f"# vonk mock\n{textwrap.dedent(text)}")
    return vonk.open(path, plugin=str(library))


def identity(folder, dtype, shape):
    """y = x, of one of the element types of reference.NUMPY."""
    path = folder / f"{dtype}_{'x'.join(map(str, shape))}.onnx"
    if not path.exists():
        reference.save(reference.models.identity(reference.models.ELEMENT_TYPES[dtype], shape), path)
    return path


def pixels(n, seed=0):
    """Rows for the MNIST model, float32 [n, 784]."""
    return np.random.default_rng(seed).random((n, 784), dtype=np.float32)


def probabilities(values):
    """What onnxruntime says for them, run as vonk does: in one batch after the other."""
    return reference.run(MNIST, pixels=values)[0]


def python(code, *args, timeout=120, env=None):
    """Runs a program in a fresh interpreter and returns its output; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
