"""vonk against Daft, Polars, DuckDB's Python functions and Ray Data, from a Parquet file to a table.

`make bench-peers` runs it.

60,000 digits of 784 float32 numbers in a list column, 48 row groups, go through the network 784-512-10 of
examples/mnist; the result is the columns id and digit, the index of the largest output. Each tool runs on two threads,
as its own documentation advises, with the settings that proved best for it here (`--tune` tries all of them again). The
model is run by the same release of ONNX Runtime everywhere.

Each tool runs in a process of its own; one runs at a time, and they take turns. "cold" is from the start of the process
to the first complete result, "warm" a later call in the same process. The program `vonk run` has no second call:
each of its runs is a whole process, which also writes a Parquet file. Every result is compared with ONNX Runtime's own.
Nothing passes or fails but that.

    .venv/bin/python bench/bench_peers.py [--data mnist|random] [--rounds 5] [--tune] [--only TOOL,...]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from program import PROGRAM, ROOT

ROWS, WIDTH, ROW_GROUPS, WARM_RUNS = 60_000, 784, 48, 4
MODEL = ROOT / "examples" / "mnist" / "mnist.onnx"
PEERS = ROOT / "build" / "deps" / "peers" / "bin" / "python"
WORKER = ROOT / "bench" / "peers" / "worker.py"


@dataclass(frozen=True)
class Tool:
    """One line of the table; `grid` is what `--tune` tries, its first entries the best found."""

    name: str
    module: str
    grid: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return sys.executable if self.module.startswith("vonk") else str(PEERS)

    @property
    def best(self) -> dict[str, int]:
        return {key: values[0] for key, values in self.grid.items()}


#: intra: threads inside one run of the model; batch: rows that the tool hands over at a time (0 = its own choice);
#: cut: rows that one run gets of them (0 = all). The best comes first.
TOOLS = (
    Tool("vonk run", "program"),
    Tool("vonk, SQL in Python", "vonk_sql"),
    Tool("vonk, Model.predict", "vonk_python"),
    Tool("Daft", "peer_daft", {"intra": (1, 2), "batch": (4096, 2048, 0), "cut": (256, 0)}),
    Tool("Polars", "peer_polars", {"intra": (1, 2), "cut": (256, 0, 2048), "streaming": (0, 1)}),
    Tool("DuckDB, Arrow UDF", "peer_duckdb", {"intra": (1, 2), "cut": (0, 256)}),
    Tool("Ray Data", "peer_ray", {"intra": (1,), "batch": (4096, 1250, 10000), "cut": (256,), "actors": (0, 1, 2)}),
)


@dataclass
class Figures:
    """Seconds of wall and of processor time, run by run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        self.wall.append(wall)
        self.cpu.append(cpu)

    def medians(self) -> tuple[float, float]:
        return statistics.median(self.wall), statistics.median(self.cpu)


# --- rows ---


def make_pixels(data: str) -> NDArray[np.float32]:
    if data == "random":
        return np.random.default_rng(1).random((ROWS, WIDTH), dtype=np.float32)
    file = ROOT / "build" / "deps" / "mnist" / "train-images-idx3-ubyte"
    return np.fromfile(file, dtype=np.uint8, offset=16).reshape(ROWS, WIDTH).astype(np.float32) / np.float32(255)


def write_rows(path: Path, pixels: NDArray[np.float32]) -> None:
    offsets = pa.array(np.arange(0, (ROWS + 1) * WIDTH, WIDTH, dtype=np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(pixels.ravel()))
    table = pa.table({"id": pa.array(np.arange(ROWS)), "pixels": lists})
    pq.write_table(table, path, row_group_size=ROWS // ROW_GROUPS)


def reference(pixels: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each row's digit, and by how much its output leads the second one's."""
    session = ort.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    ordered = np.sort(scores, axis=1)
    return scores.argmax(axis=1), ordered[:, -1] - ordered[:, -2]


def check(tool: Tool, path: Path, expected: NDArray[np.int64], lead: NDArray[np.float32]) -> None:
    """All rows are there and have the reference's digit, save where two outputs are equal but for rounding."""
    found = pq.read_table(path).sort_by("id")
    if not np.array_equal(found.column("id").to_numpy(), np.arange(ROWS)):
        sys.exit(f"{tool.name}: has {found.num_rows} rows, or not the ids 0 to {ROWS - 1}")
    digits = found.column("digit").to_numpy()
    wrong = np.flatnonzero((digits != expected) & (lead > 1e-5))
    if len(wrong) > 0:
        row = wrong[0]
        sys.exit(f"{tool.name}: {len(wrong)} digits are wrong: row {row} is {digits[row]}, expected {expected[row]}")


# --- running ---


class Process:
    """A worker of one tool."""

    def __init__(self, tool: Tool, settings: dict[str, int]) -> None:
        pairs = [f"{key}={value}" for key, value in settings.items()]
        environment = os.environ | {"VONK_BENCH_PEER": f"{os.getpid()}-{time.time_ns()}", "POLARS_MAX_THREADS": "2"}
        self.tool = tool
        self.log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by close
        self.process = subprocess.Popen(
            [tool.python, str(WORKER), tool.module, str(MODEL), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )

    def ask(self, rows: Path, result: Path | None) -> tuple[float, float]:
        """Wall and processor seconds of one call."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"rows": str(rows), "result": result and str(result)}) + "\n")
        self.process.stdin.flush()
        figures = self._answer()
        self._answer()
        return figures["wall"], figures["cpu"]

    def ask_first(self, rows: Path, result: Path | None, began: float) -> tuple[float, float]:
        """Wall and processor seconds from the start of the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"rows": str(rows), "result": result and str(result)}) + "\n")
        self.process.stdin.flush()
        figures = self._answer()
        wall = time.perf_counter() - began
        self._answer()
        return wall, figures["cpu"]

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            sys.exit(f"{self.tool.name}: ended with {self.process.returncode}:\n{self.log.read()[-4000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def run_program(rows: Path, result: Path) -> tuple[float, float]:
    """One run of `vonk run`: a whole process, to its end."""
    words = [PROGRAM, "run", str(MODEL), str(rows), "-o", str(result), "--threads", "2", "--quiet"]
    words += ["--as", "argmax", "--output", "probabilities=digit", "--select", "id"]
    began = time.perf_counter()
    pid = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    if status != 0:
        sys.exit(f"{' '.join(words)}: ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


def run_tool(tool: Tool, settings: dict[str, int], rows: Path, result: Path, cold: Figures, warm: Figures) -> None:
    """One cold run, and several warm ones in the same process."""
    if tool.module == "program":
        for _ in range(1 + WARM_RUNS):
            cold.add(*run_program(rows, result))
        warm.wall[:], warm.cpu[:] = cold.wall, cold.cpu
        return
    began = time.perf_counter()
    process = Process(tool, settings)
    cold.add(*process.ask_first(rows, result, began))
    for _ in range(WARM_RUNS):
        warm.add(*process.ask(rows, None))
    process.close()


# --- reports ---


def combinations(tool: Tool) -> Iterator[dict[str, int]]:
    for values in itertools.product(*tool.grid.values()):
        yield dict(zip(tool.grid, values, strict=True))


def tune(tools: list[Tool], rows: Path, result: Path) -> None:
    """Every combination of settings, by the median of the warm runs of one process."""
    for tool in tools:
        found: list[tuple[float, float, dict[str, int]]] = []
        for settings in combinations(tool):
            warm = Figures()
            run_tool(tool, settings, rows, result, Figures(), warm)
            found.append((*warm.medians(), settings))
        for wall, cpu, settings in sorted(found, key=lambda f: f[0]):
            print(f"{tool.name:<22} warm {wall:6.3f} s wall {cpu:6.3f} s CPU  {settings}", flush=True)


def print_table(tools: list[Tool], cold: dict[str, Figures], warm: dict[str, Figures]) -> None:
    ours = [t.name for t in tools if t.python == sys.executable or t.module == "program"]
    print(f"{'':<22} {'cold wall':>10} {'CPU':>8}   {'warm wall':>10} {'CPU':>8} {'us/row CPU':>11}   warm wall over:")
    for tool in tools:
        cold_wall, cold_cpu = cold[tool.name].medians()
        wall, cpu = warm[tool.name].medians()
        ratios = "  ".join(
            f"{name.removeprefix('vonk').strip(', ')} {wall / warm[name].medians()[0]:.2f}" for name in ours
        )
        print(
            f"{tool.name:<22} {cold_wall:8.3f} s {cold_cpu:6.3f} s   {wall:8.3f} s {cpu:6.3f} s "
            f"{cpu / ROWS * 1e6:11.2f}   {ratios}"
        )


def measure(data: str, tools: list[Tool], rounds: int, tuning: bool, folder: Path) -> None:
    rows, result = folder / f"{data}.parquet", folder / "result.parquet"
    pixels = make_pixels(data)
    write_rows(rows, pixels)
    expected, lead = reference(pixels)
    del pixels
    print(f"{data}: {ROWS:,} rows, {ROW_GROUPS} row groups, {rows.stat().st_size / 1e6:.0f} MB, two threads")
    if tuning:
        tune([t for t in tools if t.grid], rows, result)
        return
    cold: dict[str, Figures] = {t.name: Figures() for t in tools}
    warm: dict[str, Figures] = {t.name: Figures() for t in tools}
    for _ in range(rounds):
        for tool in tools:
            result.unlink(missing_ok=True)
            run_tool(tool, tool.best, rows, result, cold[tool.name], warm[tool.name])
            check(tool, result, expected, lead)
    print_table(tools, cold, warm)
    print(
        f"medians of {rounds} cold and {rounds * WARM_RUNS} warm runs; every digit equals ONNX Runtime's own\n",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="vonk against other tools", allow_abbrev=False)
    parser.add_argument("--data", choices=("mnist", "random", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tune", action="store_true", help="try all settings of the other tools")
    parser.add_argument("--only", default="", help="tools by the name of their module, separated by commas")
    args: Any = parser.parse_args()
    wanted = args.only.split(",") if args.only else [t.module for t in TOOLS]
    tools = [t for t in TOOLS if t.module in wanted]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # children inherit it
    with tempfile.TemporaryDirectory(prefix="vonk-peers-") as folder:
        for data in ("mnist", "random") if args.data == "both" else (args.data,):
            measure(data, tools, args.rounds, args.tune, Path(folder))


if __name__ == "__main__":
    main()
