"""SQL against the bare ONNX Runtime loop, and tiny models against DuckDB's Python functions: processor time.

Two parts, on each release of DuckDB at hand, threads = 1:
 - the network of examples/mnist over a LIST and an ARRAY column of 784 numbers, in tables in memory, 60,000 and
   600,000 rows; ratio = bare loop / SQL, 1.00 is the framework's own speed (wanted: at least 0.95), against the bare
   loop at the micro-batch that is best for it, and at 2,048 rows, which is what DuckDB hands over at a time. The scan
   of the column alone, which the bare loop does not do, stands beside it;
 - ten number columns into one number (a linear model and a small network), vonk's function against a Python function of
   the type 'arrow' around onnxruntime; ratio = Python / vonk (wanted: at least 5).

    .venv/bin/python bench/sql.py [--versions 1.5.6,2.0.0] [--rows 60000,600000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from bare import Bare, in_turn
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from program import ROOT

MODEL = ROOT / "examples" / "mnist" / "mnist.onnx"
BLOCK, WIDTH = 60_000, 784
CHUNK = 2_048  # rows that DuckDB hands over at a time
TINY_ROWS, TINY_WIDTH = 1_000_000, 10


def library_of(version: str) -> Path | None:
    """The folder of a release of DuckDB's Python package: VONK_TEST_DUCKDB_1_5_6, or where set-up puts it."""
    variable = "VONK_TEST_DUCKDB_" + version.replace(".", "_")
    folder = Path(os.environ.get(variable, ROOT / "build" / "deps" / "duckdb-python" / version))
    return folder if folder.is_dir() else None


# --- in the child: one release of DuckDB ---


def connect() -> Any:
    import vonk.duckdb  # noqa: PLC0415 - the release of DuckDB is the child's

    return vonk.duckdb.connect(threads=1)


def fill(con: Any, kind: str, values: NDArray[np.float32], blocks: int) -> None:
    """Table t with the column pixels of a type, `blocks` times the values."""
    offsets = pa.array(np.arange(0, values.size + 1, WIDTH, dtype=np.int32))
    con.register("block", pa.table({"pixels": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))}))
    con.execute(f"CREATE OR REPLACE TABLE t (pixels {kind})").fetchall()
    for _ in range(blocks):
        con.execute("INSERT INTO t FROM block").fetchall()
    con.unregister("block")


def compare_sums(what: str, found: float, expected: float) -> None:
    if not np.isclose(found, expected, rtol=1e-4):
        sys.exit(f"{what}: the predictions add up to {found}, those of onnxruntime to {expected}")


def lists_and_arrays(rows: list[int]) -> None:
    values = np.random.default_rng(1).random((BLOCK, WIDTH), dtype=np.float32)
    bare = Bare(MODEL, values)
    bare.find_best_batch()
    expected = float(bare.results()[:, 0].sum(dtype=np.float64))
    con = connect()
    con.execute("FROM vonk_load('digit', ?)", [str(MODEL)]).fetchall()
    query = "SELECT sum(digit(pixels)[1]) FROM t"
    head = f"{'rows':>9} {'SQL us/row':>11} {'scan us/row':>12} {'bare us/row':>12} {'bare/SQL':>9} {'bare 2,048':>11}"
    print(f"{'':<22} {head} {'bare/SQL':>9}   best bare batch {bare.batch}")
    for n in rows:
        blocks = max(n // BLOCK, 1)
        for kind in (f"FLOAT[{WIDTH}]", "FLOAT[]"):
            fill(con, kind, values, blocks)
            compare_sums(kind, con.execute(query).fetchall()[0][0] / blocks, expected)
            times = in_turn(
                {
                    "sql": lambda: con.execute(query).fetchall(),
                    "bare": partial(bare.run, blocks),
                    "chunks": partial(bare.run, blocks, CHUNK),
                    "scan": lambda: con.execute("SELECT sum(pixels[1]) FROM t").fetchall(),
                },
                9 if blocks == 1 else 3,
            )
            names = ("sql", "scan", "bare", "chunks")
            sql, scan, loop, chunks = (times[name] / (blocks * BLOCK) * 1e6 for name in names)
            figures = f" {blocks * BLOCK:>9,} {sql:11.3f} {scan:12.3f} {loop:12.3f} {loop / sql:9.2f}"
            print(f"digit({kind})".ljust(22) + figures + f" {chunks:11.3f} {chunks / sql:9.2f}", flush=True)
    con.close()


def write_tiny(path: Path, hidden: int) -> None:
    """float32 [N, 10] -> [N, 1]: linear, or with one hidden layer."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (TINY_WIDTH, hidden or 1), "b1": (hidden or 1,)}
    if hidden:
        shapes |= {"w2": (hidden, 1), "b2": (1,)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h" if hidden else "y"])]
    if hidden:
        nodes += [helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "w2", "b2"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", TINY_WIDTH])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def arrow_function(bare: Bare) -> Callable[..., Any]:
    """What somebody who knows NumPy writes: the columns into one array, one run for each chunk."""
    session, tensor = bare.session, bare.name

    def score(*columns: Any) -> Any:
        rows = np.empty((len(columns[0]), TINY_WIDTH), np.float32)
        for i, column in enumerate(columns):
            rows[:, i] = column.to_numpy()
        return pa.array(session.run(None, {tensor: rows})[0].ravel())

    return score


def tiny_models() -> None:
    from duckdb.func import PythonUDFType  # noqa: PLC0415 - the release of DuckDB is the child's

    columns = [f"c{i}" for i in range(TINY_WIDTH)]
    con = connect()
    values = np.random.default_rng(2).standard_normal((TINY_ROWS, TINY_WIDTH)).astype(np.float32)
    con.register("block", pa.table({name: values[:, i].copy() for i, name in enumerate(columns)}))
    con.execute("CREATE TABLE tiny AS FROM block").fetchall()
    arguments = ", ".join(columns)
    print(f"{'':<34} {'rows':>9} {'SQL us/row':>11} {'Arrow UDF':>12} {'UDF/SQL':>9}   bare us/row")
    for name, hidden in (("linear", 0), ("network", 16)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            write_tiny(path, hidden)
            bare = Bare(path, values)
            con.execute("FROM vonk_load(?, ?, squeeze := true)", [name, str(path)]).fetchall()
        bare.find_best_batch()
        con.create_function(f"{name}_udf", arrow_function(bare), None, "FLOAT", type=PythonUDFType.ARROW)
        queries = {way: f"SELECT sum({way}({arguments})) FROM tiny" for way in (name, f"{name}_udf")}
        for way, query in queries.items():
            found, expected = con.execute(query).fetchall()[0][0], bare.results().sum(dtype=np.float64)
            if abs(found - expected) > 1e-5 * TINY_ROWS:
                sys.exit(f"{way}: the predictions add up to {found}, those of onnxruntime to {expected}")
        works: dict[str, Any] = {way: lambda q=query: con.execute(q).fetchall() for way, query in queries.items()}
        times = in_turn({**works, "bare": bare.run}, 7)
        sql, udf, loop = (times[way] / TINY_ROWS * 1e6 for way in (name, f"{name}_udf", "bare"))
        print(
            f"{name}(10 x FLOAT)".ljust(34) + f" {TINY_ROWS:>9,} {sql:11.3f} {udf:12.3f} {udf / sql:9.2f}   {loop:.3f}"
        )
    con.close()


# --- all releases ---


def main() -> int:
    parser = argparse.ArgumentParser(description="SQL against the bare loop", allow_abbrev=False)
    parser.add_argument("--versions", default="1.5.6,2.0.0")
    parser.add_argument("--rows", default="60000,600000")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("lists", "tiny"))
    args = parser.parse_args()
    if args.child:
        import duckdb  # noqa: PLC0415

        print(f"DuckDB {duckdb.__version__}, one thread, CPU time, medians of passes in turn")
        if args.only != "tiny":
            lists_and_arrays([int(n) for n in args.rows.split(",")])
        if args.only != "lists":
            tiny_models()
        return 0
    failed = 0
    for version in args.versions.split(","):
        folder = library_of(version)
        if folder is None:
            print(f"DuckDB {version}: not at hand: 'make bench' fetches it")
            continue
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, __file__, *sys.argv[1:], "--child"]
        failed |= subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False).returncode
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
