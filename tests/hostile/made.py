"""The corpus, made once per version of its makers and of the frameworks, for all build trees and test processes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path[:0] = [str(HERE), str(TESTS / "frameworks")]

import zoo  # noqa: E402 - tests/frameworks/zoo.py
from corpus import Case, load  # noqa: E402

#: what said of a case is read from here where the makers leave it open ("'")
MESSAGES = HERE / "messages.json"
MAKERS = [
    *sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_")),
    *sorted(TESTS.glob("*/make_hostile.py")), TESTS / "onnx/models.py", TESTS / "tensorflow/make_models.py",
]  # fmt: skip


def digest() -> str:
    parts = [sys.version.encode()]
    for name in ("numpy", "onnx", "tensorflow", "tensorflow-cpu", "keras"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{name} {importlib.metadata.version(name)}".encode())
    parts += [path.read_bytes() for path in MAKERS]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@functools.cache
def folder() -> Path:
    """With `corpus/`, its twin `fired/`, and `fired.json`: the cases whose payload ran when it was set off."""
    made = zoo.CACHE / f"hostile-{digest()}"
    with zoo.locked(zoo.CACHE / "hostile.lock"):
        if not (made / "done").exists():
            shutil.rmtree(made, ignore_errors=True)
            command = [sys.executable, str(HERE / "make_corpus.py"), str(made)]
            done = subprocess.run(command, env=zoo.quiet_environment(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"make_corpus.py: exit {done.returncode}:\n{done.stderr[-3000:]}")
            (made / "done").touch()
            zoo.remove_old("hostile")
    return made


def corpus() -> Path:
    return folder() / "corpus"


@functools.cache
def cases() -> tuple[Case, ...]:
    told = json.loads(MESSAGES.read_text())
    found = []
    for case in load(corpus() / "cases.json"):
        better = told.get(case.name, {})
        found.append(Case(**{**case.__dict__, **better}))
    return tuple(found)


def is_pytorch_here() -> bool:
    return zoo.is_here("torchscript")
