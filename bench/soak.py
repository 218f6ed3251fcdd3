"""10,000 queries over eight connections of one database, with loads, unloads, errors and cancellations: `make soak`.

How it is judged. The threads work in rounds; between two rounds nothing runs, and memory (resident, after glibc has
given back what is free), descriptors and threads of the process are counted. After the first tenth of the rounds,
the warm-up,
 - memory: allocators keep more or less of what was freed, so the floor is judged: the least of the last third of the
   later samples may not lie above the least of the first third by more than 1 kB a query, or 16 MB in a short run;
 - descriptors and threads: none of the later samples may exceed the largest of the warm-up;
 - when all connections are closed, descriptors and threads must be as many as after a first database that was opened,
   used and closed before.
Every query has one outcome that is right, the sum of the predictions that onnxruntime makes or a certain error, and
anything else ends the run.

    .venv/bin/python bench/soak.py [--queries 10000] [--connections 8] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import vonk.duckdb
from numpy.typing import NDArray
from program import ROOT

MNIST = ROOT / "examples" / "mnist" / "mnist.onnx"
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
ROWS, WIDTH, ROUNDS = 2_100, 784, 50
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """Of this process, between two rounds: bytes, descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


def count_now() -> Sample:
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # the folder itself is open
    return Sample(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, len(thread_names()))


def thread_names() -> list[str]:
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            names.append((task / "comm").read_text().strip())
    return sorted(names)


def count_at_rest() -> Sample:
    """As few descriptors and threads as there are within a fifth of a second: a thread that was joined takes a moment
    to leave the kernel's list."""
    samples = []
    for _ in range(5):
        samples.append(count_now())
        time.sleep(0.04)
    return Sample(*(min(getattr(s, what) for s in samples) for what in ("memory", "descriptors", "threads")))


def settle(wanted: Sample, seconds: float) -> Sample:
    """Waits until no more than the wanted descriptors and threads are there, or time is up."""
    end = time.monotonic() + seconds
    while True:
        found = count_now()
        if (found.descriptors <= wanted.descriptors and found.threads <= wanted.threads) or time.monotonic() > end:
            return found
        time.sleep(0.02)


# --- what is asked ---


@dataclass
class Expected:
    """What onnxruntime says of the rows: sums of the first output column and of the most likely digits."""

    first: float
    digits: int


class WrongError(Exception):
    """A query had another outcome than the right one."""


@dataclass
class Client:
    """One connection and its thread. The model `own_N` is its own; `shared` is reloaded by everyone."""

    con: Any
    number: int
    expected: Expected
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)
    slowest_stop: float = 0.0

    @property
    def own(self) -> str:
        return f"own_{self.number}"

    def number_of(self, query: str, wanted: float) -> None:
        found = self.con.execute(query).fetchall()[0][0]
        if not np.isclose(found, wanted, rtol=1e-4):
            raise WrongError(f"{query}: {found}, expected {wanted}")

    def fails(self, query: str, part: str) -> None:
        try:
            found = self.con.execute(query).fetchall()
        except duckdb.Error as error:
            if part not in str(error):
                raise WrongError(f"{query}: {error}, expected a message with '{part}'") from error
            return
        raise WrongError(f"{query}: gives {str(found)[:200]}, expected an error with '{part}'")

    # predictions

    def typed(self) -> None:
        self.number_of("SELECT sum(shared(pixels)[1]) FROM rows", self.expected.first)

    def argmax(self) -> None:
        self.number_of(f"SELECT sum({self.own}(pixels)) FROM rows", self.expected.digits)

    def generic(self) -> None:
        self.number_of("SELECT sum(vonk_predict('shared', pixels)[1]) FROM rows", self.expected.first)

    def by_path(self) -> None:
        self.number_of(f"SELECT sum(vonk_predict_label('{MNIST}', pixels)) FROM rows", self.expected.digits)

    def tried(self) -> None:
        self.number_of("SELECT count(*) FILTER (p.error IS NOT NULL) FROM (SELECT try_shared(x) p FROM bad)", 2)

    # loading

    def reload_shared(self) -> None:
        self.con.execute(f"FROM vonk_load('shared', '{MNIST}')").fetchall()

    def reload_own(self) -> None:
        self.con.execute(f"FROM vonk_load('{self.own}', '{MNIST}', as_ := 'argmax')").fetchall()

    def unload_own(self) -> None:
        self.con.execute(f"FROM vonk_unload('{self.own}')").fetchall()
        self.fails(f"SELECT {self.own}(pixels) FROM rows", "not loaded")
        self.reload_own()

    def look(self) -> None:
        if len(self.con.execute("FROM vonk_models()").fetchall()) == 0:
            raise WrongError("vonk_models(): is empty")
        self.con.execute(f"FROM vonk_describe('{IRIS}')").fetchall()
        self.con.execute("FROM vonk_plugins()").fetchall()

    # errors

    def short_row(self) -> None:
        self.fails("SELECT shared(x) FROM bad", "784")

    def wrong_type(self) -> None:
        self.fails("SELECT shared('text'::VARCHAR)", "shared(VARCHAR)")

    def missing_file(self) -> None:
        self.fails("FROM vonk_load('none', 'no/such/file.onnx')", "no/such/file.onnx")

    def missing_path(self) -> None:
        self.fails("SELECT vonk_predict('no/such/file.onnx', pixels) FROM rows", "no/such/file.onnx")

    def other_types(self) -> None:
        self.fails(f"FROM vonk_load('shared', '{IRIS}')", "shared")

    def cancelled(self) -> None:
        """A long query, interrupted from outside."""
        stopped: list[float] = []

        def interrupt() -> None:
            stopped.append(time.monotonic())
            self.con.interrupt()

        timer = threading.Timer(self.random.uniform(0.001, 0.05), interrupt)
        timer.start()
        try:
            self.con.execute("SELECT sum(shared(pixels)[1]) FROM rows, range(50)").fetchall()
        except duckdb.InterruptException:
            self.slowest_stop = max(self.slowest_stop, time.monotonic() - stopped[0])
        except duckdb.Error as error:
            if "INTERRUPT" not in str(error).upper() and "cancel" not in str(error):
                raise WrongError(f"an interrupted query: {error}") from error
            self.done[f"interrupted: {type(error).__name__}"] += 1
        finally:
            timer.join()

    def work(self, queries: int) -> None:
        kinds: list[Callable[[], None]] = list(WEIGHTS_OF(self))
        for kind in self.random.choices(kinds, weights=list(WEIGHTS_OF(self).values()), k=queries):
            kind()
            self.done[kind.__name__] += 1


def WEIGHTS_OF(c: Client) -> dict[Callable[[], None], int]:  # noqa: N802
    """How often each kind is asked, in parts of a hundred."""
    predictions = {c.typed: 22, c.argmax: 15, c.generic: 8, c.by_path: 4, c.tried: 8}
    loading = {c.reload_shared: 8, c.reload_own: 6, c.unload_own: 4, c.look: 4}
    errors = {c.short_row: 6, c.wrong_type: 4, c.missing_file: 3, c.missing_path: 2, c.other_types: 2}
    return {**predictions, **loading, **errors, c.cancelled: 4}


# --- the run ---


def make_rows() -> tuple[Any, Expected]:
    rows = np.random.default_rng(1).random((ROWS, WIDTH), dtype=np.float32)
    session = ort.InferenceSession(str(MNIST), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(["probabilities"], {session.get_inputs()[0].name: rows})[0]
    expected = Expected(float(scores[:, 0].sum(dtype=np.float64)), int(scores.argmax(axis=1).sum()))
    offsets = pa.array(np.arange(0, rows.size + 1, WIDTH, dtype=np.int32))
    return pa.table({"pixels": pa.ListArray.from_arrays(offsets, pa.array(rows.ravel()))}), expected


def open_database(rows: Any) -> Any:
    con = vonk.duckdb.connect(models={"shared": MNIST}, threads=2)
    con.register("given", rows)
    con.execute("CREATE TABLE rows AS FROM given").fetchall()
    con.unregister("given")
    con.execute("CREATE TABLE bad AS SELECT pixels AS x FROM rows LIMIT 100").fetchall()
    con.execute("INSERT INTO bad VALUES ([1.0::FLOAT]), (NULL)").fetchall()
    return con


def run_round(clients: list[Client], queries: int) -> None:
    failures: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            client.work(queries)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def soak(rows: Any, expected: Expected, args: Any) -> tuple[list[Sample], list[Client], int]:
    """Opens a database, works in rounds, closes; returns a sample after each round."""
    con = open_database(rows)
    each = max(args.queries // (args.connections * args.rounds), 1)
    clients = [Client(con.cursor(), i, expected, random.Random(args.seed * 1000 + i)) for i in range(args.connections)]
    for client in clients:
        client.reload_own()
    samples = []
    for _ in range(args.rounds):
        run_round(clients, each)
        samples.append(count_at_rest())
    for client in clients:
        client.con.close()
    con.close()
    return samples, clients, each * args.connections


def floors(samples: list[Sample]) -> tuple[int, int]:
    """The least memory in the first and in the last third of the samples."""
    third = max(len(samples) // 3, 1)
    return min(s.memory for s in samples[:third]), min(s.memory for s in samples[-third:])


def judge(samples: list[Sample], per_round: int, ends: tuple[Sample, Sample], warm_up: float) -> list[str]:
    """What is wrong, given the samples and those before the run and after it; prints the figures."""
    before, after = ends
    first = max(int(len(samples) * warm_up), 1)
    early, late = samples[:first], samples[first:]
    (low, lately), queries = floors(late), len(late) * per_round
    grown, bound = lately - low, max(queries * 1000, 16 * MIB)
    faults = []
    print(
        f"memory       {low / MIB:7.1f} MiB at least in the first third after the warm-up, {lately / MIB:.1f} in the "
        f"last: {grown / MIB:+.1f} over {queries:,} queries (bound {bound / MIB:.1f})"
    )
    if grown > bound:
        faults.append("memory grows")
    for what in ("descriptors", "threads"):
        most, later = (max(getattr(s, what) for s in part) for part in (early, late))
        found, wanted = getattr(after, what), getattr(before, what)
        print(f"{what:<12} {most:7} at most in the warm-up, {later} later; {found} after close, {wanted} before")
        if later > most:
            faults.append(f"{what} grow")
        if found > wanted:
            faults.append(f"{what} are left after close")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description="the soak", allow_abbrev=False)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=0.1, help="this part of the rounds sets what is normal")
    args = parser.parse_args()
    rows, expected = make_rows()
    warm = open_database(rows)
    warm.execute("SELECT sum(shared(pixels)[1]) FROM rows").fetchall()
    warm.close()
    time.sleep(0.2)
    before = count_now()
    began = time.monotonic()
    try:
        samples, clients, per_round = soak(rows, expected, args)
    except WrongError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    after = settle(before, 5.0)
    total: Counter[str] = sum((c.done for c in clients), Counter())
    print(f"DuckDB {duckdb.__version__}: {per_round * args.rounds:,} queries, {args.connections} connections, ", end="")
    print(f"{time.monotonic() - began:.0f} s, seed {args.seed}")
    print("  " + ", ".join(f"{name} {n}" for name, n in sorted(total.items())))
    print(f"slowest end of an interrupted query: {max(c.slowest_stop for c in clients):.3f} s")
    faults = judge(samples, per_round, (before, after), args.warm_up)
    if faults:
        print(f"soak: {'; '.join(faults)}; threads now: {', '.join(thread_names())}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
