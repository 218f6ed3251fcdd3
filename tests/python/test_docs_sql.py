"""The SQL blocks of docs/sql.md run as they stand, in their order, and give the results that stand below them."""

import csv
import re

import pytest
from program import ROOT

BLOCK = re.compile(r"^```sql\n(.*?)^```\n(?:```csv\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def as_text(value):
    """A value the way the page shows it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture
def connection(monkeypatch):
    import vonk.duckdb  # noqa: PLC0415 - the page also says how to do without Python

    monkeypatch.chdir(ROOT)
    (ROOT / "build/tour").mkdir(parents=True, exist_ok=True)
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
