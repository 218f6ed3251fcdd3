"""The DuckDB releases that the tests run on, and a child process in each.

How it works: only one DuckDB fits into a Python process, so each release lies in a folder of its own and a test talks
to a child process that has that folder in PYTHONPATH (worker.py). A crash is the end of the child, which the test that
caused it reports.

A release's folder is duckdb-python/<release> of VONK_DEPS_DIR (build/deps), which set-up fills, or
VONK_TEST_DUCKDB_<release>, with "_" for ".". The extension is VONK_EXTENSION, or the one of the build folder
(VONK_BUILD_DIR).
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
EXAMPLES = ROOT / "examples"
VERSIONS = ("1.4.5", "1.5.6", "2.0.0")
#: seconds that a child may take for one request; under a sanitizer and on a busy machine
PATIENCE = 300


def sanitized() -> bool:
    return bool(os.environ.get("VONK_TEST_SANITIZE"))


def versions() -> tuple[str, ...]:
    """All of them; under a sanitizer, where everything takes several times as long, the newest alone."""
    return VERSIONS[-1:] if sanitized() else VERSIONS


def build_folder() -> Path:
    return Path(os.environ.get("VONK_BUILD_DIR", ROOT / "build" / "dev"))


def extension() -> Path:
    """The extension under test."""
    path = Path(os.environ.get("VONK_EXTENSION", build_folder() / "lib" / "vonk.duckdb_extension"))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such extension: build it, or set VONK_EXTENSION")
    return path


def mock_folder() -> Path:
    return Path(os.environ.get("VONK_MOCK_DIR", build_folder() / "mock"))


def package_folder(version: str) -> Path:
    """Where DuckDB's Python package of this release is."""
    variable = "VONK_TEST_DUCKDB_" + version.replace(".", "_")
    deps = Path(os.environ.get("VONK_DEPS_DIR", ROOT / "build" / "deps"))
    path = Path(os.environ.get(variable, deps / "duckdb-python" / version))
    if not (path / "duckdb").is_dir():
        raise FileNotFoundError(f"{path}: holds no DuckDB {version}: run 'make deps', or set {variable}")
    return path


def environment(version: str, **more: str) -> dict[str, str]:
    """The environment of a child with this release; models that the caller's own environment names are left out."""
    env = {key: value for key, value in os.environ.items() if key not in ("VONK_MODELS", "VONK_NO_PIN")}
    return env | {"PYTHONPATH": str(package_folder(version)), "PYTHONUNBUFFERED": "1"} | more


class SqlError(Exception):
    """What DuckDB said."""


class Host:
    """A DuckDB of one release in a child process, with the extension loaded into each database it opens."""

    def __init__(self, version: str, **env: str) -> None:
        self.version = version
        self.number = tuple(int(part) for part in version.split("."))
        self._child = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(version, **env),
        )
        self.open(":memory:")

    def _ask(self, what: str, *arguments: Any) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            pickle.dump((what, arguments), self._child.stdin)
            self._child.stdin.flush()
            failed, answer = pickle.load(self._child.stdout)
        except (EOFError, BrokenPipeError) as error:
            code = self._child.wait(PATIENCE)
            raise AssertionError(f"DuckDB {self.version} ended with {code} during: {arguments}") from error
        if failed:
            raise SqlError(answer)
        return answer

    def open(self, path: str, **config: Any) -> None:
        """Closes what is open and opens a database with the extension."""
        self._ask("open", path, str(extension()), config)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of the last of these statements; Python's own values, as DuckDB's package makes them."""
        rows: list[tuple[Any, ...]] = self._ask("sql", text)
        return rows

    def value(self, text: str) -> Any:
        """The one value of a query."""
        rows = self.sql(text)
        assert len(rows) == 1 and len(rows[0]) == 1, (
            f"{text}: {len(rows)} rows of {len(rows[0]) if rows else 0} columns"
        )
        return rows[0][0]

    def types(self, text: str) -> list[str]:
        """The SQL types of a query's columns."""
        names: list[str] = self._ask("types", text)
        return names

    def error(self, text: str) -> str:
        """The message of a query that must fail."""
        try:
            rows = self.sql(text)
        except SqlError as error:
            return str(error)
        raise AssertionError(f"no error, but {len(rows)} rows, from: {text}")

    def counters(self, library: Path) -> dict[str, int]:
        """What a mock plug-in has counted in the child's process."""
        counters: dict[str, int] = self._ask("counters", str(library))
        return counters

    def close(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait(PATIENCE)
