"""The bare ONNX Runtime loop that SQL and Python are measured against, and how it is done.

The loop is Python's, which costs it a few microseconds for each run of hundreds of rows, and runs at the micro-batch
that proves best for it; rows lie in one array, results are kept by nobody. One thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

BATCHES = (64, 128, 256, 512, 1024, 2048)


class Bare:
    """A model over rows in memory.

    Parameters
    ----------
    model
        ONNX file with one float32 input.
    rows
        float32 [n, width].
    """

    def __init__(self, model: Path, rows: NDArray[np.float32]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[0].name
        self.rows = rows
        self.batch = 256

    def find_best_batch(self) -> None:
        times = {}
        for self.batch in BATCHES:
            times[self.batch] = statistics.median(cpu_of(self.run) for _ in range(3))
        self.batch = min(times, key=lambda batch: times[batch])

    def run(self, times: int = 1, batch: int | None = None) -> None:
        """All rows, `times` times over, in micro-batches of `batch` or the best one."""
        step = batch or self.batch
        for _ in range(times):
            for i in range(0, len(self.rows), step):
                self.session.run([self.output], {self.name: self.rows[i : i + step]})

    def results(self) -> NDArray[np.float32]:
        """The output for all rows, in one run."""
        found: NDArray[np.float32] = self.session.run([self.output], {self.name: self.rows})[0]
        return found


def cpu_of(work: Callable[[], Any]) -> float:
    """Processor seconds of a call, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(works: dict[str, Callable[[], Any]], passes: int) -> dict[str, float]:
    """Median processor seconds of each, after one pass unmeasured; they take turns, so that a busy machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for i in range(passes + 1):
        for name, work in works.items():
            spent = cpu_of(work)
            if i > 0:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}
