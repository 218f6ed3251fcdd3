"""The Spark session of bench/spark.py, and the processor time of what serves it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from program import ROOT
from pyspark.sql import SparkSession

TICK = os.sysconf("SC_CLK_TCK")


def start(master: str, **settings: str) -> SparkSession:
    """A session with one task per core and workers that import vonk from where we do."""
    import vonk  # noqa: PLC0415 - only for its place

    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    modules = os.pathsep.join([str(Path(vonk.__file__).parents[1]), str(ROOT / "bench")])
    builder = SparkSession.builder.master(master).appName("vonk bench")
    fixed = {
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.files.openCostInBytes": "1024",  # 4 MB by default, by which a file of 2 MB is one partition
        "spark.executorEnv.PYTHONPATH": modules,
        "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
        "spark.sql.warehouse.dir": str(ROOT / "build" / "bench-spark" / "warehouse"),
    }
    for name, value in (fixed | settings).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def wait_for_executors(session: SparkSession, count: int, seconds: float = 60.0) -> None:
    """A fresh cluster starts its executors one by one; the first variant should not be the one to wait."""
    until = time.monotonic() + seconds
    while len(executors(session)) < count:
        if time.monotonic() > until:
            raise SystemExit(f"bench: {count} executors should have started within {seconds:.0f} s")
        time.sleep(0.2)
    session.range(count).repartition(count).write.format("noop").mode("overwrite").save()


def executors(session: SparkSession) -> list[int]:
    """Process ids of the session's executors on this machine."""
    application = session.sparkContext.applicationId.encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if application in words and b"CoarseGrainedExecutorBackend" in words:
            found.append(int(folder.name))
    return found


def cpu_seconds(roots: list[int]) -> float:
    """Processor seconds of processes and all their descendants, those that ended included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(folder.name)] = int(fields[1])
        ticks[int(folder.name)] = sum(map(int, fields[11:15]))  # utime, stime, and those of reaped children
    wanted = set(roots)
    return sum(n for pid, n in ticks.items() if _descends(pid, parents, wanted)) / TICK


def _descends(pid: int, parents: dict[int, int], wanted: set[int]) -> bool:
    while pid and pid not in wanted:
        pid = parents.get(pid, 0)
    return pid in wanted
