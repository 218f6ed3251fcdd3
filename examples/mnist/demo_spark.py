"""Scores the 10,000 MNIST test digits on a Spark cluster of this machine: by a function of columns, a Pipeline, SQL.

make demo-spark

How it works: tools/cluster starts a Master and two Workers of one core. The digits are Parquet files that two tasks
read; each task's Python worker opens the model once and predicts batch by batch. Each of the three ways runs once for
its predictions and then some times more without keeping them (Spark's "noop" sink), which gives the speed. What Spark
itself counted is read from its event log.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from digits import LOWEST_ACCURACY, ROOT, read_digits

sys.path.insert(0, str(ROOT / "tools"))
import event_log

MODEL = Path("examples/mnist/mnist.onnx")
OUT = Path("build/mnist")
ROWS = OUT / "digits.parquet"
STAGE = OUT / "digits.pipeline"
EVENTS = OUT / "spark-events"
DRIVER_LOG = OUT / "spark-driver.log"
CLUSTER = OUT / "cluster"
FILES = 4  # of Parquet, so that two tasks have work
WARM = 5  # runs whose median is the speed
ROWS_SHOWN = 5


def write_rows() -> None:
    """Writes the test digits as Parquet files: id int64, label int64, pixels list<float> of 784 values, 0 to 1."""
    pixels, labels = read_digits("t10k")
    offsets = pa.array(np.arange(0, pixels.size + 1, pixels.shape[1], dtype=np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(pixels.reshape(-1)))
    table = pa.table({"id": pa.array(np.arange(len(labels))), "label": pa.array(labels), "pixels": lists})
    partial = ROOT / OUT / "digits.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for i in range(FILES):
        first, last = i * len(labels) // FILES, (i + 1) * len(labels) // FILES
        pq.write_table(table.slice(first, last - first), partial / f"{i}.parquet")
    shutil.rmtree(ROOT / ROWS, ignore_errors=True)
    partial.rename(ROOT / ROWS)


@contextmanager
def cluster() -> Iterator[str]:
    """Its URL. It is ended whatever happens."""
    command = ["tools/cluster", "up", "--folder", str(CLUSTER), "--workers", "2", "--cores", "1"]
    print(f"$ {' '.join(command)}", flush=True)
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"demo: the command above ended with status {done.returncode}")
        facts = done.stdout.partition("\n\n")[0]
        print(facts, flush=True)
        yield next(line.split()[1] for line in facts.splitlines() if line.startswith("master:"))
    finally:
        command = ["tools/cluster", "down", "--folder", str(CLUSTER)]
        print(f"\n$ {' '.join(command)}", flush=True)
        subprocess.run(command, cwd=ROOT, check=False)


@contextmanager
def quiet() -> Iterator[None]:
    """What the JVM that starts in here writes goes into a log, for good."""
    terminal = os.dup(2)
    with (ROOT / DRIVER_LOG).open("wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def connect(master: str) -> Any:
    from pyspark.sql import SparkSession  # noqa: PLC0415 - warnings are chosen by then

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    events = ROOT / EVENTS
    shutil.rmtree(events, ignore_errors=True)
    events.mkdir(parents=True)
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.executor.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        # For Parquet, rows reach Python sooner as rows: docs/spark.md, "Speed and settings".
        "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
        "spark.sql.warehouse.dir": os.fspath(ROOT / OUT / "warehouse"),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    if path := os.environ.get("PYTHONPATH"):
        settings["spark.executorEnv.PYTHONPATH"] = path
    builder = SparkSession.builder.master(master).appName("vonk demo")
    for name, value in settings.items():
        builder = builder.config(name, value)
    with quiet():
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    return session


# --- the three ways -------------------------------------------------------------------------------------------------


def by_function(spark: Any, rows: Any) -> Any:
    from vonk.spark import model_udf  # noqa: PLC0415

    digit = model_udf(ROOT / MODEL, as_="argmax", spark=spark)
    return rows.select("id", "label", digit("pixels").alias("digit"))


def by_pipeline(spark: Any, rows: Any) -> Any:
    """The stage is saved with its model, and the one that predicts is what was loaded."""
    from pyspark.ml import Pipeline, PipelineModel  # noqa: PLC0415
    from vonk.spark import Model  # noqa: PLC0415

    stage = Model(ROOT / MODEL, inputCol="pixels", outputCol="digit", outputAs="argmax")
    Pipeline(stages=[stage]).fit(rows).write().overwrite().save((ROOT / STAGE).as_uri())
    loaded = PipelineModel.load((ROOT / STAGE).as_uri())
    return loaded.transform(rows).select("id", "label", "digit")


def by_sql(spark: Any, rows: Any) -> Any:
    from vonk.spark import register  # noqa: PLC0415

    register(spark, "digit", ROOT / MODEL, as_="argmax")
    rows.createOrReplaceTempView("digits")
    return spark.sql("SELECT id, label, digit(pixels) AS digit FROM digits")


WAYS: dict[str, Callable[[Any, Any], Any]] = {"model_udf": by_function, "Pipeline": by_pipeline, "SQL": by_sql}


def run_way(spark: Any, name: str, rows: Any) -> tuple[pa.Table, float, float]:
    """The predictions in order, seconds of the first run with all that comes before it, and of a later one."""
    spark.sparkContext.setJobDescription(name)
    began = time.monotonic()
    predicted = WAYS[name](spark, rows)
    table = predicted.toArrow().sort_by("id")
    first = time.monotonic() - began
    spark.sparkContext.setJobDescription(f"{name}, {WARM} x warm")
    times = []
    for _ in range(WARM):
        began = time.monotonic()
        predicted.write.format("noop").mode("overwrite").save()
        times.append(time.monotonic() - began)
    return table, first, statistics.median(times)


def show_rows(table: pa.Table) -> None:
    print("first predictions:")
    print("   id  label  digit")
    for row in table.slice(0, ROWS_SHOWN).to_pylist():
        print(f"{row['id']:5d} {row['label']:6d} {row['digit']:6d}")
    print()


def run_ways(spark: Any) -> tuple[int, list[str]]:
    """Runs all ways and prints what they gave: how many rows, and what is wrong."""
    spark.sparkContext.setJobDescription("the files' schema")
    rows = spark.read.parquet((ROOT / ROWS).as_uri())
    wrong: list[str] = []
    reference: pa.Table | None = None
    for name in WAYS:
        table, first, warm = run_way(spark, name, rows)
        if reference is None:
            reference = table
            show_rows(table)
        accuracy = float(np.mean(table.column("digit").to_numpy() == table.column("label").to_numpy()))
        print(
            f"{name + ':':10} accuracy {accuracy:.4f} of {len(table):,} digits, {len(table) / warm:8,.0f} rows/s "
            f"(first call {first:.1f} s, then {warm:.2f} s)",
            flush=True,
        )
        if table != reference:
            wrong.append(f"{name} gives other predictions than {next(iter(WAYS))}")
        if accuracy < LOWEST_ACCURACY:
            wrong.append(f"accuracy by {name} is {accuracy:.4f}, below {LOWEST_ACCURACY}")
    return len(table), wrong


def show_counts() -> None:
    """What vonk and Spark counted. The event log is complete once the session has stopped."""
    from vonk.spark import stats  # noqa: PLC0415

    print("\nvonk.spark.stats():")
    print(stats())
    log = next((ROOT / EVENTS).iterdir())
    print(f"\nSpark's event log ({log.relative_to(ROOT)}):")
    print("\n".join(event_log.table(event_log.read(log))))


def show_next(rows: int) -> None:
    print(f"\n{rows:,} rows are a small job for Spark: 'make bench-spark' measures larger ones.")
    print("next, try:")
    print("  tools/cluster up                          # a cluster to play with; it prints what to type in Python")
    print(f"  .venv/bin/python tools/event_log.py {EVENTS}/*")
    print("  less docs/spark.md                        # the guide: calls, types, Pipelines, SQL, settings, clusters")


def main() -> int:
    write_rows()
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
    with cluster() as master:
        spark = connect(master)
        print(f"driver:  Spark {spark.version}, its log: {DRIVER_LOG}\n", flush=True)
        try:
            count, wrong = run_ways(spark)
        finally:
            with quiet():
                spark.stop()
        show_counts()
    show_next(count)
    for text in wrong:
        print(f"demo: {text}: something is wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        sys.exit(130)
