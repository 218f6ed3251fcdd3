"""vonk in Python processes that have frameworks of their own, imported before or after vonk used its."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import mixing
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(bool(mixing.SANITIZED), reason="the interpreter's frameworks are not instrumented")

#: what is imported before, and after, vonk's first predictions
CASES = {
    "nothing else": ([], []),
    "tensorflow before, torch after": (["tensorflow"], ["torch"]),
    "torch before, tensorflow after": (["torch"], ["tensorflow"]),
    "all before": (["onnxruntime", "tensorflow", "torch", "duckdb", "pyarrow", "pandas", "sklearn"], []),
    "all after": ([], ["sklearn", "pandas", "pyarrow", "duckdb", "torch", "tensorflow", "onnxruntime"]),
}


@functools.cache
def saved_rows() -> tuple[str, str]:
    folder = Path(mixing.files()[0]).parent
    for name, array in zip(("rows", "expected"), mixing.rows(), strict=True):
        np.save(folder / f"{name}.npy", array)
    return str(folder / "rows.npy"), str(folder / "expected.npy")


def host(before: list[str], after: list[str], models: tuple[str, ...]) -> dict[str, list[Any]]:
    """For each library what it gave when it was imported, and what in the end: [numbers, settings]."""
    request = {
        "before": before,
        "after": after,
        "models": [[mixing.model(name)[0], mixing.options(name)] for name in models],
        "onnx": mixing.model("onnx")[0],
        "extension": str(mixing.BUILD / "lib" / "vonk.duckdb_extension"),
        "rows": saved_rows()[0],
        "expected": saved_rows()[1],
    }
    command = [sys.executable, mixing.HERE / "python_host.py", json.dumps(request)]
    done = mixing.start(command, PYTHONPATH=mixing.BUILD / "python", TF_CPP_MIN_LOG_LEVEL="3", PYTHONWARNINGS="ignore")
    assert done.returncode == 0, f"{before} {after}: ended with {done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


@functools.cache
def alone(library: str) -> list[Any]:
    """What a library gives in a process without vonk: [numbers, settings]."""
    return host([library], [], ())[library][0]


@pytest.mark.parametrize("case", CASES)
def test_libraries_give_what_they_give_alone(case):
    mixing.need(*mixing.FRAMEWORKS)
    before, after = CASES[case]
    found = host(before, after, mixing.FRAMEWORKS)
    assert set(found) == {*before, *after}
    for library, (first, last) in found.items():
        numbers, settings = alone(library) if library in ("tensorflow", "torch") else first
        for when, now in (("when it was imported", first), ("in the end", last)):
            np.testing.assert_allclose(now[0], numbers, rtol=1e-5, atol=1e-7, err_msg=f"{library} {when}")
            assert now[1] == settings, f"{library} {when}"
