"""Many connections, threads and bad rows at once, on each release."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import hosts
import make_data
import numpy as np
import onnxruntime
import pytest


@pytest.mark.parametrize("version", hosts.versions())
def test_a_chunk_is_predicted_by_one_model_while_others_exchange_it(version: str, data: Path, tmp_path: Path) -> None:
    """What vonk promises: a running query sees one model per chunk of 2,048 rows, the old one or the new one."""
    child = subprocess.run(
        [
            sys.executable,
            str(hosts.HERE / "crowd.py"),
            str(hosts.extension()),
            str(data / "models"),
            str(tmp_path / "a.db"),
        ],
        env=hosts.environment(version),
        check=False,
        capture_output=True,
        text=True,
        timeout=hosts.PATIENCE,
    )
    assert child.returncode == 0, f"DuckDB {version}: status {child.returncode}\n{child.stderr}"
    outcome = json.loads(child.stdout)
    assert outcome["faults"] == []
    counts = outcome["counts"]
    assert counts["reloads"] == 60 and counts["unloads"] == 30 and counts["new names"] == 30 and counts["errors"] == 60
    for happened in ("chunks times 2", "chunks times 3", "guest there"):
        assert counts.get(happened, 0) > 0, f"{happened}: never, of {counts}"


def batches(host: hosts.Host, name: str) -> int:
    n = host.value(f"SELECT micro_batches FROM vonk_models() WHERE name = '{name}'")
    assert isinstance(n, int)
    return n


def test_a_bad_row_is_found_by_halving_not_row_by_row(host: hosts.Host, data: Path) -> None:
    """20 chunks of 8 micro-batches; one is refused and halved until its bad row is alone: 2 * log2(256) more runs."""
    host.open(":memory:", threads=1)
    host.sql(f"FROM vonk_load('lookup', '{data}/models/lookup.onnx', batch := 256)")
    host.sql("CREATE TABLE t AS SELECT i, CASE WHEN i = 30000 THEN 99 ELSE i % 10 END AS x FROM range(40960) r(i)")
    rows = host.sql(
        "SELECT count(*), count(r.value), max(i) FILTER (r.error IS NOT NULL) "
        "FROM (SELECT i, try_lookup(x) AS r FROM t)"
    )
    assert rows == [(40960, 40959, 30000)]
    runs = batches(host, "lookup")
    assert 160 <= runs <= 160 + 2 * 8 + 2


def test_duckdbs_own_try_runs_the_chunk_row_by_row(host: hosts.Host, data: Path) -> None:
    """Why there is try_lookup: the same result by TRY costs a run per row of the chunk."""
    host.open(":memory:", threads=1)
    host.sql(f"FROM vonk_load('lookup', '{data}/models/lookup.onnx', batch := 256)")
    host.sql("CREATE TABLE t AS SELECT CASE WHEN i = 1000 THEN 99 ELSE i % 10 END AS x FROM range(2048) r(i)")
    assert host.sql("SELECT count(*), count(TRY(lookup(x))) FROM t") == [(2048, 2047)]
    assert batches(host, "lookup") > 1000


def test_good_rows_beside_a_bad_one_keep_their_bits(host: hosts.Host, tmp_path: Path) -> None:
    """gather + matrix: the rows of a chunk with a bad row are what ONNX Runtime gives for good rows alone."""
    model = make_data.model(
        [make_data.node("Gather", ["table", "index"], ["y"])],
        [make_data.value("index", ["n"], make_data.I64)],
        [make_data.value("y", ["n", 8])],
        {"table": np.random.default_rng(1).standard_normal((1000, 8)).astype(np.float32)},
    )
    path = tmp_path / "rows.onnx"
    path.write_bytes(model.SerializeToString())
    index = np.arange(1000)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"index": index})[0]
    host.open(":memory:")
    host.sql(f"FROM vonk_load('rows', '{path}', on_error := 'null')")
    rows = host.sql(
        "SELECT i, rows(CASE WHEN i % 97 = 5 THEN -5000 ELSE i END)::FLOAT[] FROM range(1000) t(i) ORDER BY i"
    )
    assert [row[0] for row in rows if row[1] is None] == [i for i in range(1000) if i % 97 == 5]
    for i, values in rows:
        assert values is None or np.array(values, np.float32).tobytes() == expected[i].tobytes(), f"row {i}"


def test_one_row_group_is_predicted_by_all_threads_of_the_database(host: hosts.Host, tmp_path: Path) -> None:
    """One chunk, which DuckDB gives to one thread; the mock counts how many of its runs were going on at a time."""
    library = hosts.mock_folder() / "mock_slow.so"
    (tmp_path / "slow.mock").write_text("input x f32 n 4\noutput y = sum x\n")
    host.open(":memory:", threads=1)
    load = f"FROM vonk_load('slow', '{tmp_path}/slow.mock', plugin := '{library}', batch := 256)"
    host.sql(load)
    host.sql(f"COPY (SELECT [i, i, i, i]::FLOAT[] AS x FROM range(2048) r(i)) TO '{tmp_path}/one.parquet'")
    query = f"SELECT sum(slow(x)) FROM '{tmp_path}/one.parquet'"
    assert host.value(query) == 4 * 2047 * 1024
    alone = host.counters(library)
    host.open(":memory:", threads=2)
    host.sql(load)
    assert host.value(query) == 4 * 2047 * 1024
    together = host.counters(library)
    assert (alone["runs"], together["runs"]) == (8, 16)
    assert (alone["most_running"], together["most_running"]) == (1, 2)


def test_several_databases_have_their_own_models(data: Path, tmp_path: Path) -> None:
    """One process, two databases, one name: each has what was loaded into it."""
    script = f"""
import duckdb
made = []
for i, model in enumerate(["double", "triple"]):
    con = duckdb.connect(r"{tmp_path}/" + str(i) + ".db", config={{"allow_unsigned_extensions": "true"}})
    con.execute("LOAD '{hosts.extension()}'")
    con.execute(f"FROM vonk_load('scale', '{data}/models/{{model}}.onnx')")
    made.append(con)
print([con.execute("SELECT scale([1, 1, 1]::FLOAT[])[1]").fetchone()[0] for con in made])
made[0].close()
print(made[1].execute("SELECT scale([1, 1, 1]::FLOAT[])[1], (SELECT count(*) FROM vonk_models())").fetchone())
"""
    for version in hosts.versions():
        child = subprocess.run(
            [sys.executable, "-c", script],
            env=hosts.environment(version),
            check=False,
            capture_output=True,
            text=True,
            timeout=hosts.PATIENCE,
        )
        assert (child.stdout, child.returncode) == ("[2.0, 3.0]\n(3.0, 1)\n", 0), f"DuckDB {version}: {child.stderr}"
