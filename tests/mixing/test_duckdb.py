"""Models of three frameworks as columns of one SQL query: in each release of DuckDB, in its shell and in vonk's."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import sys
from pathlib import Path

import mixing
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.skipif(bool(mixing.SANITIZED), reason="DuckDB is not instrumented; tests/engines runs it so")

VERSIONS = ("1.4.5", "1.5.6", "2.0.0")
DEPS = Path(os.environ.get("VONK_DEPS_DIR", mixing.ROOT / "build" / "deps"))
EXTENSION = mixing.BUILD / "lib" / "vonk.duckdb_extension"


@functools.cache
def table() -> tuple[str, str]:
    """A Parquet file of rows, and what is expected of them."""
    folder = Path(mixing.files()[0]).parent
    rows, expected = mixing.rows()
    x = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table({"id": pa.array(range(len(rows))), "x": x}), folder / "rows.parquet")
    np.save(folder / "answers.npy", expected)
    return str(folder / "rows.parquet"), str(folder / "answers.npy")


@pytest.mark.parametrize("version", VERSIONS)
def test_three_frameworks_in_one_query(version):
    """Also in four connections at once, and with queries that are interrupted meanwhile."""
    mixing.need(*mixing.FRAMEWORKS)
    request = {
        "extension": str(EXTENSION),
        "models": [[f"m_{name}", mixing.model(name)[0], mixing.options(name)] for name in mixing.FRAMEWORKS],
        "rows": table()[0],
        "expected": table()[1],
    }
    command = [sys.executable, mixing.HERE / "sql_host.py", json.dumps(request)]
    done = mixing.start(command, PYTHONPATH=DEPS / "duckdb-python" / version)
    assert (done.returncode, done.stdout) == (0, "good\n"), f"{done.returncode}: {done.stdout}{done.stderr}"


def statements() -> str:
    """The models are loaded, and all asked for all rows; the query's result is the last one."""
    text = ""
    for name in mixing.FRAMEWORKS:
        path, options = mixing.model(name)[0], mixing.options(name)
        pairs = ", ".join(f"'{key}': '{value}'" for key, value in options.items())
        text += f"CREATE TABLE l_{name} AS FROM vonk_load('m_{name}', '{path}', options := MAP {{{pairs}}});\n"
    columns = ", ".join(f"unnest(m_{name}(x)::FLOAT[]) AS {name}" for name in mixing.FRAMEWORKS)
    return text + f"SELECT id, {columns} FROM '{table()[0]}';\n"


def check_csv(text: str) -> None:
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["id", *mixing.FRAMEWORKS]
    expected = mixing.rows()[1]
    found = np.array(lines[1:], dtype="f8")
    ids = found[:, 0].astype(int)
    assert np.bincount(ids).tolist() == [expected.shape[1]] * len(expected)
    for i, name in enumerate(mixing.FRAMEWORKS):
        values = found[np.argsort(ids, kind="stable"), 1 + i].reshape(expected.shape)
        worst = float(np.abs(values - expected).max())
        assert worst <= 1e-5, f"{name}: {worst}"


def test_three_frameworks_in_vonk_sql(tmp_path):
    mixing.need(*mixing.FRAMEWORKS)
    mixing.run([mixing.BUILD / "bin" / "vonk", "sql", "-o", tmp_path / "out.csv", statements()])
    check_csv((tmp_path / "out.csv").read_text())


def test_three_frameworks_in_duckdbs_shell():
    mixing.need(*mixing.FRAMEWORKS)
    shell = Path(sys.executable).with_name("duckdb")
    if not shell.is_file():
        pytest.skip("DuckDB's shell is not installed")
    check_csv(mixing.run([shell, "-unsigned", "-csv", "-c", f"LOAD '{EXTENSION}';\n{statements()}"]))
