"""The Spark session of bench/spark.py, and the processor time of what serves it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from program import ROOT
from pyspark.sql import SparkSession

FOLDER = ROOT / "build" / "bench-spark"
TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a standalone cluster, two workers of one core each; it ends with the block."""
    command, folder = [str(ROOT / "tools" / "cluster")], ["--folder", str(FOLDER / "cluster")]
    up = [*command, "up", *folder, "--workers", "2", "--cores", "1", "--memory", "2g"]
    done = subprocess.run(up, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(up)} ended with status {done.returncode}")
    url = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("master:")), None)
    if url is None:
        raise SystemExit(
            f"bench: {done.stdout.strip()}: another one measures, or was killed: wait, or '{' '.join(command)} down"
            f" {' '.join(folder)}'"
        )
    try:
        yield url
    finally:
        subprocess.run([*command, "down", *folder], stdout=subprocess.DEVNULL, check=False)


@contextmanager
def quiet() -> Iterator[None]:
    """What Spark and its JVM write to the standard error goes into a log; of an error, Python's part is shown."""
    terminal = os.dup(2)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "driver.log").open("wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


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
        "spark.sql.warehouse.dir": str(FOLDER / "warehouse"),
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
