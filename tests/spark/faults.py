"""What the fault tests share: actions that end in time, functions that break a worker, rows with a known answer.

Functions that go to workers are made inside functions, so that Spark pickles them by value: workers have no tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy
import onnxruntime
import pyarrow
import pytest
from conftest import ROOT
from pyspark.sql.functions import arrow_udf

sys.path.insert(0, str(ROOT / "tests" / "onnx"))
import models

#: A second of a quiet machine may be many of a busy one; this is what a job of a second or two is given.
PATIENCE = 240.0


def within(spark, action, seconds=PATIENCE):
    """What action() gives or raises; if it takes too long, its jobs are cancelled and the test fails.

    The action runs in a thread of its own, so that not even a call that never returns can hold up the tests.
    """
    group = f"fault-{uuid.uuid4().hex[:8]}"
    outcome = {}

    def run():
        spark.sparkContext.setJobGroup(group, "a fault test", interruptOnCancel=True)
        try:
            outcome["value"] = action()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        spark.sparkContext.cancelJobGroup(group)
        thread.join(20)
        pytest.fail(f"did not end within {seconds} s{'' if thread.is_alive() else '; it could be cancelled'}")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def failure(spark, action, seconds=PATIENCE):
    """The text of what action() raises."""
    with pytest.raises(Exception) as caught:  # Spark has many classes; tests look at the text
        within(spark, action, seconds)
    if isinstance(caught.value, pytest.fail.Exception):
        raise caught.value
    print(caught.value, file=sys.stderr)  # pytest shows it should the test fail
    return str(caught.value)


def needs_cluster(spark):
    if spark.sparkContext.master.startswith("local["):
        pytest.skip("the executor is the driver here: needs a cluster")


# --- rows with a known answer -----------------------------------------------------------------------------------------

#: Row i of the test data is these, as floats: small whole numbers, so that sums are exact in whatever order.
X = "array({})".format(", ".join(f"CAST(id % {n} AS FLOAT)" for n in (97, 89, 83, 79)))


def save_model(path, seed=1, outputs=3):
    """y = x W + b, four to `outputs`, weights small whole numbers: predictions are exact."""
    rng = numpy.random.default_rng(seed)
    weights = {
        "w": rng.integers(-9, 9, (4, outputs)).astype("f4"),
        "b": rng.integers(-9, 9, outputs).astype("f4"),
    }
    nodes = [models.node("MatMul", ["x", "w"], ["xw"]), models.node("Add", ["xw", "b"], ["y"])]
    made = models.model(nodes, [models.value("x", ["n", 4])], [models.value("y", ["n", outputs])], weights)
    path.write_bytes(made.SerializeToString())
    return path


def save_greedy_model(path):
    """A small file that wants 4 GiB for each row: y = the sum of 2^28 copies of it."""
    nodes = [
        models.node("Unsqueeze", ["x", "first"], ["one"]),
        models.node("Expand", ["one", "size"], ["many"]),
        models.node("ReduceSum", ["many", "first"], ["y"], keepdims=0),
    ]
    weights = {"first": numpy.array([0], "i8"), "size": numpy.array([1 << 28, 1, 4], "i8")}
    made = models.model(nodes, [models.value("x", ["n", 4])], [models.value("y", ["n", 4])], weights)
    path.write_bytes(made.SerializeToString())
    return path


def save_slow_model(path, turns=100_000):
    """Multiplies each row with a matrix, for minutes: y = x W W W ..., W the unit matrix."""
    body = models.helper.make_graph(
        [
            models.node("MatMul", ["h", "w"], ["next"]),
            models.node("Identity", ["on"], ["on_next"]),
        ],
        "turn",
        [
            models.value("turn", [], models.TensorProto.INT64),
            models.value("on", [], models.TensorProto.BOOL),
            models.value("h", ["n", 1024]),
        ],
        [models.value("on_next", [], models.TensorProto.BOOL), models.value("next", ["n", 1024])],
    )
    nodes = [
        models.node("MatMul", ["x", "wide"], ["first"]),
        models.node("Loop", ["turns", "", "first"], ["last"], body=body),
        models.node("MatMul", ["last", "narrow"], ["y"]),
    ]
    weights = {
        "wide": numpy.eye(4, 1024, dtype="f4"),
        "w": numpy.eye(1024, dtype="f4"),
        "narrow": numpy.eye(1024, 4, dtype="f4"),
        "turns": numpy.array(turns, "i8"),
    }
    made = models.model(nodes, [models.value("x", ["n", 4])], [models.value("y", ["n", 4])], weights)
    path.write_bytes(made.SerializeToString())
    return path


def expected(path, rows):
    """What ONNX Runtime says of rows 0..rows-1, as an array [rows, outputs]."""
    ids = numpy.arange(rows)
    x = numpy.stack([ids % n for n in (97, 89, 83, 79)], axis=1).astype("f4")
    return onnxruntime.InferenceSession(path).run(["y"], {"x": x})[0]


def collect(spark, frame, seconds=PATIENCE):
    """A DataFrame's rows as an Arrow table in the order of its column `id`."""
    return within(spark, frame.toArrow, seconds).sort_by("id")


def values(column):
    """A column of float lists, without NULLs, as an array [rows, length]."""
    column = column.combine_chunks()
    assert column.null_count == 0, f"{column.null_count} rows are NULL"
    return numpy.asarray(column.flatten()).reshape(len(column), -1)


def noop(frame):
    frame.write.format("noop").mode("overwrite").save()


# --- what breaks a worker ---------------------------------------------------------------------------------------------


def breaker(number, row, marker=None):
    """A function (id, x) -> x that ends its own process by a signal when it sees the row; with a marker file, once."""

    def pass_on(ids, x):
        if row in ids.to_pylist():
            try:
                if marker is not None:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), number)
                time.sleep(60)
            except FileExistsError:
                pass
        return x

    return arrow_udf(pass_on, "array<float>")


def executor_pids(spark, tasks=8):
    """Processes of the executors that ran a small job: the parents of the workers' parents."""

    def look(ids):
        def parent(pid):
            return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])  # noqa: PTH123

        time.sleep(0.05)  # so that each executor gets some of the tasks
        return pyarrow.array([parent(os.getppid())] * len(ids), pyarrow.int32())

    frame = spark.range(tasks, numPartitions=tasks)
    found = set()
    for _ in range(5):  # one that is busy may get no task of the first job
        found |= {row[0] for row in within(spark, lambda: frame.select(arrow_udf(look, "int")("id")).collect())}
        if len(found) >= 2:
            break
    return found


def wait_for(condition, seconds=30.0):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def alive(pid):
    """Whether there is such a process and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


KILL, SEGV = int(signal.SIGKILL), int(signal.SIGSEGV)
