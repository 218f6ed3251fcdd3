"""vonk over each framework against the framework's own best loop, and how long the first row takes.

    .venv/bin/python bench/frameworks.py [--rounds 5] [--formats onnx,tensorflow,torchscript,aoti]

The models are the MLP and the small CNN of tests/frameworks, made at the first run. Rows are float32 in memory.

ratio is (own loop's time a row) / (vonk's): 1.00 is the framework's own speed. With one thread it is processor time, so
that a busy machine tells the truth; with two it is wall time. The loops take turns; a ratio is the median of those of
the rounds.

rows a call: how many rows the caller has at a time. 1 is a service that predicts each row as it comes, 10,000 a table.
The own loop of a table runs in the micro-batches that prove best for it; vonk chooses its own. With two threads, calls
of a few rows come from two callers, a table is shared out over both threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from program import ROOT

sys.path.insert(0, str(ROOT / "tests" / "frameworks"))
import zoo  # type: ignore[import-not-found]

BUILD = Path(os.environ.get("VONK_BENCH_BUILD", ROOT / "build" / "release"))
LOOPS = ROOT / "bench" / "loops" / "python_loops.py"
CUTS = (64, 128, 256, 512, 1024, 2048, 0)
CALL_ROWS = (1, 256, 10_000)
ROUND_SECONDS = 0.04
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": "-1"}

EXTRAS = {"onnx": "", "tensorflow": "tensorflow", "torchscript": "torch", "aoti": "torch"}
NAMES = {"onnx": "ONNX", "tensorflow": "SavedModel", "torchscript": "TorchScript", "aoti": "AOTInductor"}
FILES = {"onnx": "{}.onnx", "tensorflow": "{}", "torchscript": "{}.pt", "aoti": "{}.pt2"}
SIGNATURES = {
    "mlp": ["inputs=pixels:f32[-1,784]", "outputs=probabilities:f32[-1,10]"],
    "cnn": ["inputs=image:f32[-1,12,12,3]", "outputs=scores:f32[-1,5]"],
}


def options_of(form: str, model: str) -> list[str]:
    """What vonk must be told: TorchScript has no shapes, a package of AOTInductor is native code."""
    return {"torchscript": SIGNATURES[model], "aoti": ["allow_native_code=1"]}.get(form, [])


class Worker:
    """A process that times loops on demand; see bench/loops/main.c and python_loops.py."""

    def __init__(self, command: list[Any]) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **QUIET},
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        if not self.stdout.readline().startswith("ready"):
            raise RuntimeError(f"{command[0]}: {self.process.communicate()[1].strip()}")

    def time(self, loop: str, rows: int, threads: int, calls: int, cut: int = 0) -> tuple[float, float]:
        """Seconds of `calls` calls, wall and processor."""
        print(loop, rows, threads, calls, cut, file=self.stdin, flush=True)
        wall, cpu = map(float, self.stdout.readline().split())
        return wall, cpu

    def best_cut(self) -> int:
        """The micro-batch at which the own loop is fastest on a table."""
        times: dict[int, list[float]] = {cut: [] for cut in CUTS}
        for _ in range(3):
            for cut in CUTS:
                times[cut].append(self.time("own", CALL_ROWS[-1], 1, 1, cut)[1])
        return min(times, key=lambda cut: statistics.median(times[cut]))

    def close(self) -> None:
        self.stdin.close()
        self.process.wait()


class Contest:
    """vonk and the own loops of one model; loops are (worker, what to ask it, its micro-batch on a table)."""

    def __init__(self, form: str, model: str, rounds: int) -> None:
        path = zoo.models(form) / FILES[form].format(model)
        native = Worker([BUILD / "bench" / "bench_loops", form, path, CALL_ROWS[-1], *options_of(form, model)])
        self.workers = [native]
        self.loops: dict[str, tuple[Worker, str, int]] = {"vonk": (native, "vonk", 0)}
        self.loops["C++" if EXTRAS[form] == "torch" else "C"] = (native, "own", native.best_cut())
        if importlib.util.find_spec(zoo.PACKAGES[form]) is not None:
            python = Worker([sys.executable, LOOPS, form, path])
            self.workers.append(python)
            self.loops["Python"] = (python, "own", python.best_cut())
        self.rounds = rounds

    def time(self, name: str, rows: int, threads: int, calls: int) -> tuple[float, float]:
        worker, loop, cut = self.loops[name]
        wall, cpu = worker.time(loop, rows, threads, calls, cut if rows == CALL_ROWS[-1] else 0)
        return wall / (rows * calls) * 1e6, cpu / (rows * calls) * 1e6

    def run(self, rows: int, threads: int) -> tuple[str, dict[str, list[tuple[float, float]]]]:
        """The name of the fastest own loop, and the times of all: microseconds a row, wall and processor."""
        warm = {name: min(self.time(name, rows, threads, 2)[0] for _ in range(3)) for name in self.loops}
        calls = max(2, round(ROUND_SECONDS / (warm["vonk"] * rows * 1e-6) / 2) * 2)
        fastest = min(warm[name] for name in self.loops if name != "vonk")
        names = [name for name in self.loops if name == "vonk" or warm[name] < 1.5 * fastest]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in range(self.rounds):
            for name in names:
                times[name].append(self.time(name, rows, threads, calls))
        clock = 1 if threads == 1 else 0
        own = min((name for name in names if name != "vonk"), key=lambda name: middle(times[name], clock))
        return own, times

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def middle(times: list[tuple[float, float]], clock: int) -> float:
    return statistics.median(t[clock] for t in times)


def ratio(own: list[tuple[float, float]], vonk: list[tuple[float, float]], clock: int) -> float:
    return statistics.median(a[clock] / b[clock] for a, b in zip(own, vonk, strict=True))


def compare(form: str, rounds: int) -> None:
    for model in ("mlp", "cnn"):
        contest = Contest(form, model, rounds)
        for threads in (1, 2):
            for rows in CALL_ROWS:
                own, times = contest.run(rows, threads)
                clock = 1 if threads == 1 else 0
                cut = contest.loops[own][2] if rows == CALL_ROWS[-1] else 0
                print(
                    f"{NAMES[form]:<12} {model:<4} {rows:>7,} {threads:>8}  {own + (f' x {cut}' if cut else ''):<13}"
                    f" {middle(times[own], clock):>9.3f} {middle(times['vonk'], clock):>9.3f}"
                    f" {ratio(times[own], times['vonk'], clock):>7.2f} {ratio(times[own], times['vonk'], 1):>9.2f}",
                    flush=True,
                )
        contest.close()


def first_row(command: list[Any], runs: int = 3) -> list[float]:
    """Median seconds from the start of a process to its first row, and MB of memory: private, of files."""
    figures = []
    for _ in range(runs):
        start = time.clock_gettime(time.CLOCK_MONOTONIC)
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, env={**os.environ, **QUIET}
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
        end, *rest = map(float, done.stdout.split())
        figures.append([(end - start) * 1e3, *rest])
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def cold_starts(form: str) -> None:
    path, options = zoo.models(form) / FILES[form].format("mlp"), options_of(form, "mlp")
    ways: list[tuple[str, list[Any]]] = [("vonk, C", [BUILD / "bench" / "bench_first_row", path, *options])]
    if importlib.util.find_spec("vonk") is not None:
        ways.append(("vonk, Python", [sys.executable, LOOPS, "--first-row", "vonk", form, path, *options]))
    if importlib.util.find_spec(zoo.PACKAGES[form]) is not None:
        ways.append(("own Python", [sys.executable, LOOPS, "--first-row", "own", form, path]))
    for name, command in ways:
        ms, private, files, *parts = first_row(command)
        inside = f"   open {parts[0]:.0f} ms, first row {parts[1]:.0f} ms" if parts else ""
        print(f"{NAMES[form]:<12} {name:<13} {ms:>9.0f} {private:>11.0f} {files:>10.0f}{inside}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="vonk against each framework's own loop", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default=",".join(NAMES))
    parser.add_argument("--only", choices=("speed", "start"))
    args = parser.parse_args()
    wanted = args.formats.split(",")
    here = [form for form in wanted if zoo.is_here(form)]
    for extra in sorted({EXTRAS[form] for form in wanted if form not in here}):
        forms = ", ".join(NAMES[form] for form in wanted if EXTRAS[form] == extra)
        print(f"left out: {forms}; to have them: make setup EXTRAS={extra}")
    for form in here:
        zoo.models(form)
    if args.only != "start":
        print(
            f"{'':<12} {'':<4} {'rows a':>7} {'':>8}  {'best own':<13} {'own':>9} {'vonk':>9} {'':>7} {'processor':>9}"
        )
        print(
            f"{'format':<12} {'':<4} {'call':>7} {'threads':>8}  {'loop':<13} {'us/row':>9} {'us/row':>9}"
            f" {'ratio':>7} {'ratio':>9}"
        )
        for form in here:
            compare(form, args.rounds)
        print()
    if args.only != "speed":
        print("from the start of a process to its first row (mlp), medians of 3, files in the page cache")
        print(f"{'format':<12} {'':<13} {'ms':>9} {'private MB':>11} {'file MB':>10}")
        for form in here:
            cold_starts(form)
    return 0


if __name__ == "__main__":
    sys.exit(main())
