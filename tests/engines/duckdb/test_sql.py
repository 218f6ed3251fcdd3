"""The .test files of this folder, each on each release of DuckDB. They are a guide to the SQL functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hosts
import pytest

FILES = sorted(path.name for path in hosts.HERE.glob("*.test"))


def variables(data: Path, temporary: Path) -> list[str]:
    """What the files may name as ${...}."""
    return [
        f"EXTENSION={hosts.extension()}",
        f"EXAMPLES={hosts.EXAMPLES}",
        f"MODELS={data / 'models'}",
        f"DATA={data}",
        f"MOCK={hosts.mock_folder()}",
        f"PLUGINS={hosts.build_folder() / 'examples'}",
        f"TEMP={temporary}",
    ]


@pytest.mark.parametrize("version", hosts.versions())
@pytest.mark.parametrize("name", FILES)
def test_file(name: str, version: str, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(hosts.HERE / "runner.py"), str(hosts.HERE / name), *variables(data, tmp_path)]
    child = subprocess.run(
        command,
        env=hosts.environment(version),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=hosts.PATIENCE,
    )
    assert child.returncode == 0, f"DuckDB {version}: status {child.returncode}\n{child.stdout}\n{child.stderr}"
