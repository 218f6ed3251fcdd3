"""The runner of .test files: what it takes as right and what not. Needs a DuckDB, but not the extension."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hosts
import pytest


def run(tmp_path: Path, text: str, version: str = hosts.VERSIONS[1]) -> tuple[int, str]:
    """The status and the output of a file with this text."""
    path = tmp_path / "some.test"
    path.write_text(text)
    child = subprocess.run(
        [sys.executable, str(hosts.HERE / "runner.py"), str(path), f"TEMP={tmp_path}"],
        env=hosts.environment(version),
        check=False,
        capture_output=True,
        text=True,
        timeout=hosts.PATIENCE,
    )
    return child.returncode, child.stdout + child.stderr


pytestmark = pytest.mark.skipif(hosts.sanitized(), reason="nothing here runs code of ours in C")

GOOD = [
    "statement ok\nSELECT 1",
    "query ITR\nSELECT 1, 'a b', 0.1::FLOAT\n----\n1\ta b\t0.1",
    "query RT\nSELECT [0.1, 1e-7, NULL]::FLOAT[], {'a': [1, 2]}\n----\n[0.1, 0, NULL]\t{'a': [1, 2]}",
    "query I rowsort\nSELECT unnest([3, 1, 2])\n----\n1\n2\n3",
    "query T\nSELECT 'one two three'\n----\none...three",
    "query I\nSELECT 1 WHERE false\n----",
    "statement error\nSELECT nowhere\n----\nBinder Error: ...nowhere...",
    "# a comment\n\nskipif duckdb=1.5.6\nstatement ok\nSELECT nowhere",
    "onlyif duckdb<1.5.6\nstatement ok\nSELECT nowhere",
    "require duckdb>=99\n\nstatement ok\nSELECT nowhere",
    "load ${TEMP}/a.db\n\nstatement ok\nCREATE TABLE t AS SELECT 7 AS i\n\nrestart\n\nquery I\nFROM t\n----\n7",
    "connection a\n\nstatement ok\nBEGIN; CREATE TABLE t (i INT)\n\n"
    "connection b\n\nstatement error\nFROM t\n----\n...not exist...",
    "env A_VARIABLE some text\n\nstatement ok\nSELECT 1",
]

#: a file, and what its output must say
BAD = [
    ("statement ok\nSELECT nowhere", "some.test:1: an error"),
    ("\n\nstatement error\nSELECT 1\n----\nsome message", "some.test:3: no error"),
    ("statement error\nSELECT nowhere\n----\nanother message", "some.test:1: another error"),
    ("statement error\nSELECT nowhere\n----\nnowhere", "some.test:1: another error"),
    ("query I\nSELECT 1\n----\n2", "-- expected:\n2\n-- actual:\n1\n"),
    ("query I\nSELECT unnest([2, 1])\n----\n1\n2", "some.test:1: another result"),
    ("query I\nSELECT 1\n----", "some.test:1: another result"),
    ("query I\nSELECT 1\n----\n1\n1", "some.test:1: another result"),
    ("query II\nSELECT 1\n----\n1\t1", "another number of columns"),
    ("query R\nSELECT 0.1002\n----\n0.1", "some.test:1: another result"),
    ("query R\nSELECT [1, 2]\n----\n[1]", "some.test:1: another result"),
    ("query R\nSELECT NULL\n----\n0", "some.test:1: another result"),
    ("query R\nSELECT 'nan'::FLOAT\n----\n0", "some.test:1: another result"),
    ("query I\nSELECT 1", "line 1: 'query' wants SQL and '----'"),
    ("statement ok\nSELECT 1\n----\n1", "line 1: 'statement' wants SQL and no '----'"),
    ("stetement ok\nSELECT 1", "line 1: 'stetement ok': not known"),
    ("statement ok\nSELECT '${UNKNOWN}'", "unknown variable in: SELECT '${UNKNOWN}'"),
    ("skipif duckdb~1\nstatement ok\nSELECT 1", "condition 'duckdb~1'"),
    ("skipif duckdb<1\n", "a condition, and nothing after it"),
    ("statement ok\nSELECT nowhere\n\nstatement ok\nSELECT neither", "some.test:4: an error"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_passes(tmp_path: Path, text: str) -> None:
    assert run(tmp_path, text) == (0, "")


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_wrong_fails_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    status, output = run(tmp_path, text)
    assert status != 0 and message in output, output


@pytest.mark.parametrize("version", hosts.versions())
def test_each_release_is_the_one_that_is_asked_for(tmp_path: Path, version: str) -> None:
    text = f"query T\nSELECT version()\n----\nv{version}\n\nskipif duckdb={version}\nstatement ok\nSELECT nowhere"
    assert run(tmp_path, text, version) == (0, "")
