"""The SQL blocks of docs/sql.md run as they stand, in their order, and give the results that stand below them."""

import csv
import os
import re
import subprocess
import sys

import pytest
from program import ROOT, program

SHELL = re.compile(r"^```sh\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sql\n(.*?)^```\n(?:```csv\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def as_text(value):
    """A value the way the page shows it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_shell_blocks():
    """What the page makes before the SQL that uses it, with the program under test."""
    path = f"{program().parent}{os.pathsep}{os.environ['PATH']}"
    blocks = SHELL.findall((ROOT / "docs/sql.md").read_text())
    assert blocks
    for block in blocks:
        done = subprocess.run(
            ["/bin/sh", "-ec", block],
            env={**os.environ, "PATH": path, "VONK_PYTHON": sys.executable},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.fixture
def connection(monkeypatch):
    import vonk.duckdb  # noqa: PLC0415 - the page also says how to do without Python

    monkeypatch.chdir(ROOT)
    (ROOT / "build/tour").mkdir(parents=True, exist_ok=True)
    run_shell_blocks()
    with vonk.duckdb.connect() as con:
        yield con


def test_the_page_runs(connection):
    blocks = BLOCK.findall((ROOT / "docs/sql.md").read_text())
    assert len(blocks) >= 6
    compared = 0
    for sql, expected in blocks:
        for statement in filter(str.strip, sql.split(";\n")):
            result = connection.execute(statement)
        rows = [[column[0] for column in result.description]]
        rows += [[as_text(value) for value in row] for row in result.fetchall()]
        if expected:
            assert rows == list(csv.reader(expected.splitlines())), sql
            compared += 1
    assert compared >= 4
