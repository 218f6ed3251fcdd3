"""Child processes that are hosts of the extension, one DuckDB release each.

How it works: only one release of DuckDB's Python package fits into a process, so a test is a piece of Python that runs
in a child with that release and with guest.py (what such pieces share) in its path. What it prints is what the test
looks at; a child that crashes, hangs or writes to stderr fails its test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VERSIONS = ("1.4.5", "1.5.6", "2.0.0")
BUILD = Path(os.environ.get("VONK_BUILD_DIR", ROOT / "build" / "dev"))
EXTENSION = Path(os.environ.get("VONK_EXTENSION", BUILD / "lib" / "vonk.duckdb_extension"))
MOCKS = Path(os.environ.get("VONK_MOCK_DIR", BUILD / "mock"))
DEPS = Path(os.environ.get("VONK_DEPS_DIR", ROOT / "build" / "deps"))
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
#: seconds for one child; under a sanitizer and on a busy machine
PATIENCE = 100

each_version = pytest.mark.parametrize("version", VERSIONS)
#: A host whose queries can be stopped while the model runs.
each_interruptible = pytest.mark.parametrize("version", VERSIONS[1:])


def environment(version: str, **more: str | Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in ("VONK_MODELS", "VONK_NO_PIN")}
    env["PYTHONPATH"] = f"{DEPS / 'duckdb-python' / version}{os.pathsep}{HERE}"
    env |= {"GUEST_EXTENSION": str(EXTENSION), "GUEST_MOCKS": str(MOCKS), "GUEST_IRIS": str(IRIS)}
    return env | {key: str(value) for key, value in more.items()}


def start(version: str, code: str, folder: Path, **env: str | Path) -> subprocess.Popen[str]:
    """A child that runs this code in a folder, with `guest` imported."""
    return subprocess.Popen(
        [sys.executable, "-c", "from guest import *\n" + textwrap.dedent(code)],
        cwd=folder,
        env=environment(version, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str], status: int = 0) -> str:
    """What the child printed, when it has ended as it should."""
    try:
        out, err = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"hangs after printing: {out}{err}") from None
    # DuckDB's Python package of 2.0 tells of objects that were alive at exit, with or without us.
    noise = "\n".join(line for line in err.splitlines() if "nanobind" not in line and not line.startswith(" - "))
    assert child.returncode == status, f"ended with {child.returncode}, expected {status}: {out}{err}"
    assert noise == "", f"wrote to stderr: {noise}"
    return out


def run(version: str, code: str, folder: Path, **env: str | Path) -> str:
    return finish(start(version, code, folder, **env))
