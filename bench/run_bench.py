"""`vonk run` from end to end: two threads against one, memory of ten times the rows.

Prints a table; passes and fails nothing. Rows are 784 float32 numbers in a list column, one row group, as in MNIST; the
model is a network 784-512-10. Wall and processor time are those of the whole process, the best of several runs.

    .venv/bin/python bench/run_bench.py [--rows 60000] [--runs 7]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from program import PROGRAM

WIDTH = 784

#: Runs its arguments and prints wall and processor seconds and peak memory in MB. A process of its own, for a child
#: starts with the peak of the process that made it, and this one has held all the rows.
LAUNCHER = """
import json, os, sys, time
start = time.monotonic()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
figures = [time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]
print(json.dumps([os.waitstatus_to_exitcode(status), *figures]))
"""


@dataclass(frozen=True)
class Run:
    """One run of the program: seconds of wall and of processor time, peak memory in MB."""

    wall: float
    cpu: float
    peak: float


def write_rows(path: Path, rows: int, row_group: int) -> None:
    """Random rows; `row_group` of them in memory at a time."""
    rng = np.random.default_rng(1)
    values = rng.random((row_group, WIDTH), dtype=np.float32)
    schema = pa.schema({"label": pa.int64(), "pixels": pa.list_(pa.float32())})
    with pq.ParquetWriter(path, schema, use_dictionary=["label"]) as writer:
        for start in range(0, rows, row_group):
            n = min(row_group, rows - start)
            offsets = pa.array(np.arange(0, (n + 1) * WIDTH, WIDTH, dtype=np.int32))
            pixels = pa.ListArray.from_arrays(offsets, pa.array(values[:n].ravel()))
            label = pa.array(rng.integers(0, 10, n))
            writer.write_table(pa.table([label, pixels], schema=schema), row_group_size=row_group)


def write_model(path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.standard_normal(shape) / 28).astype(np.float32), name)
        for name, shape in {"w1": (WIDTH, 512), "b1": (512,), "w2": (512, 10), "b2": (10,)}.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["pixels", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["activations"]),
        helper.make_node("Gemm", ["activations", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def run(folder: Path, name: str, *options: str) -> Run:
    words = [PROGRAM, "run", "model.onnx", name, "-o", "out.parquet", "--quiet", *options]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *words], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    code, wall, cpu, peak = json.loads(done.stdout)
    if code != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {code}")
    return Run(wall, cpu, peak)


def best(runs: list[Run]) -> Run:
    return Run(min(r.wall for r in runs), min(r.cpu for r in runs), max(r.peak for r in runs))


def line(what: str, rows: int, r: Run) -> None:
    print(f"{what:<34} {r.wall:7.3f} s {rows / r.wall:11,.0f} rows/s {r.cpu / rows * 1e6:6.2f} us/row {r.peak:6.0f} MB")


def measure(folder: Path, rows: int, repeats: int) -> None:
    write_model(folder / "model.onnx")
    write_rows(folder / "rows.parquet", rows, rows)
    found: dict[str, list[Run]] = {"1": [], "2": []}
    for _ in range(repeats):  # alternating, so that whatever else the machine does hits both
        for threads, runs in found.items():
            runs.append(run(folder, "rows.parquet", "--select", "label", "--threads", threads))
    one, two = best(found["1"]), best(found["2"])
    print(f"{rows:,} rows of {WIDTH} floats in one row group, whole processes, best of {repeats}\n")
    line("one thread", rows, one)
    line("two threads", rows, two)
    print(f"{'two threads / one':<34} {one.wall / two.wall:7.2f}   (wanted: at least 1.6)")
    everything = best([run(folder, "rows.parquet", "--threads", "2") for _ in range(3)])
    line("two threads, all columns kept", rows, everything)
    write_rows(folder / "ten.parquet", 10 * rows, rows)
    ten = run(folder, "ten.parquet", "--select", "label", "--threads", "2")
    line("two threads, ten times the rows", 10 * rows, ten)
    print(f"{'more memory for ten times the rows':<34} {ten.peak - two.peak:7.0f} MB (wanted: less than 100)")


def main() -> None:
    parser = argparse.ArgumentParser(description="vonk run from end to end", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vonk-bench-") as folder:
        measure(Path(folder), args.rows, args.runs)


if __name__ == "__main__":
    main()
