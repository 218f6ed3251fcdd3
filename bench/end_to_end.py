"""`vonk run` from end to end: two threads against one, memory of ten times the rows.

Prints a table; passes and fails nothing. Rows are 784 float32 numbers in a list column, one row group, as in MNIST; the
model is the network 784-512-10 of examples/mnist. Wall and processor time are those of the whole process, medians of
several runs that take turns.

    .venv/bin/python bench/end_to_end.py [--rows 60000] [--runs 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from program import PROGRAM, ROOT

WIDTH = 784
MODEL = ROOT / "examples" / "mnist" / "mnist.onnx"

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


def run(folder: Path, name: str, *options: str) -> Run:
    words = [PROGRAM, "run", str(MODEL), name, "-o", "out.parquet", "--quiet", *options]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *words], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    code, wall, cpu, peak = json.loads(done.stdout)
    if code != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {code}")
    return Run(wall, cpu, peak)


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(getattr(r, figure) for r in runs) for figure in ("wall", "cpu", "peak")))


def line(what: str, rows: int, r: Run) -> None:
    print(f"{what:<34} {r.wall:7.3f} s {rows / r.wall:11,.0f} rows/s {r.cpu / rows * 1e6:6.2f} us/row {r.peak:6.0f} MB")


def measure(folder: Path, rows: int, repeats: int) -> None:
    write_rows(folder / "rows.parquet", rows, rows)
    found: dict[str, list[Run]] = {"1": [], "2": []}
    for _ in range(repeats):  # alternating, so that whatever else the machine does hits both
        for threads, runs in found.items():
            runs.append(run(folder, "rows.parquet", "--select", "label", "--threads", threads))
    one, two = median(found["1"]), median(found["2"])
    print(f"{rows:,} rows of {WIDTH} floats in one row group, whole processes, medians of {repeats}\n")
    line("one thread", rows, one)
    line("two threads", rows, two)
    print(f"{'two threads / one':<34} {one.wall / two.wall:7.2f}   (wanted: at least 1.6)")
    everything = median([run(folder, "rows.parquet", "--threads", "2") for _ in range(3)])
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
