"""What `vonk pack` chooses, against the framework's own ways to predict: an MLP (784-512-10) in Keras and in PyTorch.

    .venv/bin/python bench/pack.py [--rounds 5] [--frameworks keras,torch]

Processor time a row, all threads, with one thread asked for everywhere; the loops take turns, figures are medians over
the rounds. Rows are float32 in memory; every call has so many. `predict` is Keras' own with its batch of 32, "in 1,000"
the same with batch_size=1000; `model(x)` and PyTorch's modules take all rows of a call at once; vonk cuts them itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from program import ROOT

sys.path.insert(0, str(ROOT / "bench" / "loops"))
import pack_loops

LOOPS = ROOT / "bench" / "loops" / "pack_loops.py"
CALL_ROWS = (256, 1_000, 10_000)
ROUND_SECONDS = 0.1
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}
PACKAGES = {"keras": "tensorflow", "torch": "torch"}
EXTRAS = {"keras": "tensorflow", "torch": "torch"}
NAMES = {"keras": "Keras", "torch": "PyTorch"}
#: the framework's own loops: name -> what is printed
OWN = {
    "keras": {"predict": "model.predict", "predict-batch": "model.predict, in 1,000", "call": "model(x)"},
    "torch": {"eager": "module(x)", "jit": "torch.jit, traced and frozen"},
}
FIRST = {"keras": "predict", "torch": "eager"}  # what vonk's default is compared with


class Worker:
    """A process that times loops on demand."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(LOOPS), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, **QUIET, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        line = self.stdout.readline()
        while line and not line.startswith("ready"):
            line = self.stdout.readline()
        if not line:
            raise RuntimeError(f"{words[0]}: {self.process.communicate()[1].strip()[-2000:]}")

    def time(self, loop: str, rows: int, calls: int) -> float:
        """Processor microseconds a row."""
        print(loop, rows, calls, file=self.stdin, flush=True)
        return float(self.stdout.readline()) / (rows * calls) * 1e6

    def close(self) -> None:
        self.stdin.close()
        self.process.wait()


def contest(framework: str, folder: Path, rounds: int) -> None:
    """Prints a line for each way to predict."""
    own = Worker(framework, folder)
    ways: dict[str, tuple[Worker, str]] = {text: (own, loop) for loop, text in OWN[framework].items()}
    for to in pack_loops.TARGETS[framework]:
        text = f"vonk pack --to {to}" if to else "vonk pack"
        ways[text] = (Worker("vonk", folder / pack_loops.bundle_of(framework, to)), "predict")
    first = OWN[framework][FIRST[framework]]
    medians: dict[str, list[float]] = {text: [] for text in ways}
    ratios: dict[str, list[float]] = {text: [] for text in ways}
    for rows in CALL_ROWS:
        calls = {}
        for text, (worker, loop) in ways.items():
            worker.time(loop, rows, 2)
            calls[text] = max(1, round(ROUND_SECONDS / (worker.time(loop, rows, 1) * rows * 1e-6)))
        times: dict[str, list[float]] = {text: [] for text in ways}
        for _ in range(rounds):
            for text, (worker, loop) in ways.items():
                times[text].append(worker.time(loop, rows, calls[text]))
        for text, found in times.items():
            medians[text].append(statistics.median(found))
            ratios[text].append(statistics.median(a / b for a, b in zip(times[first], found, strict=True)))
    for text in ways:
        cells = "".join(f"{a:>10.2f} {r:>6.2f}x" for a, r in zip(medians[text], ratios[text], strict=True))
        print(f"{NAMES[framework]:<8} {text:<30}{cells}", flush=True)
    for worker, _ in ways.values():
        worker.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="vonk pack's choices against the frameworks", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frameworks", default=",".join(NAMES))
    args = parser.parse_args()
    here = []
    for framework in args.frameworks.split(","):
        if importlib.util.find_spec(PACKAGES[framework]) is None:
            print(f"left out: {NAMES[framework]}; to have it: make setup EXTRAS={EXTRAS[framework]}")
        else:
            here.append(framework)
    columns = "".join(f"{f'{rows:,} rows':>10} {'':>7}" for rows in CALL_ROWS)
    print(f"CPU us/row, one thread, medians of {args.rounds} rounds in turn; x: how much faster than the first line\n")
    print(f"{'':<39}{columns}")
    with tempfile.TemporaryDirectory(prefix="vonk-bench-") as folder:
        for framework in here:
            done = subprocess.run(
                [sys.executable, str(LOOPS), "make", framework, folder], capture_output=True, text=True, check=False,
                env={**os.environ, **QUIET},
            )  # fmt: skip
            if done.returncode != 0:
                raise RuntimeError(f"{framework}: {done.stderr.strip()[-2000:]}")
            contest(framework, Path(folder), args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
