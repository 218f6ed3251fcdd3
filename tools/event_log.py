"""What a Spark application did, from its event log: stages, tasks, rows, CPU and Python time, shuffle, spill.

    python tools/event_log.py build/mnist/spark-events/APPLICATION

How it works: with spark.eventLog.enabled, Spark writes one JSON object a line: a job's start names its stages and its
description, a task's end has what the task used. Here a task's figures are added to the description of the job that
first had its stage. What Python cost stands among the task's accumulables, under the names that Spark's web page shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

#: Accumulables of Spark's Python nodes -> attribute of Work, and what one unit is.
PYTHON = {
    "time to run Python workers": ("python_s", 1e-3),
    "data sent to Python workers": ("sent_bytes", 1),
}
TITLES = ["", "jobs", "stages", "tasks", "failed", "rows read", "executor CPU s", "in Python s", "to Python"]
TITLES += ["shuffled", "spilled"]


class EventLogError(Exception):
    """The file is no event log that can be read here; the message says why."""


@dataclass
class Work:
    """Sums over the tasks of some jobs.

    Attributes
    ----------
    jobs, stages, tasks, failed
        Jobs and stages that had tasks; tasks that ended, and of these those that failed.
    rows
        Records that tasks read from files or a cache.
    executor_s
        CPU time of the executors' JVMs, seconds. Python workers are processes of their own and not in it.
    python_s
        Time that tasks spent in Python workers, waiting for rows included, seconds.
    sent_bytes
        What went to Python workers.
    shuffled_bytes, spilled_bytes
        Written for other stages; written for want of memory.
    """

    jobs: int = 0
    stages: int = 0
    tasks: int = 0
    failed: int = 0
    rows: int = 0
    executor_s: float = 0.0
    python_s: float = 0.0
    sent_bytes: float = 0.0
    shuffled_bytes: int = 0
    spilled_bytes: int = 0

    def add_task(self, event: dict[str, Any]) -> None:
        """Adds what a SparkListenerTaskEnd says."""
        info, metrics = event["Task Info"], event.get("Task Metrics") or {}
        self.tasks += 1
        self.failed += bool(info.get("Failed") or info.get("Killed"))
        self.rows += metrics.get("Input Metrics", {}).get("Records Read", 0)
        self.executor_s += metrics.get("Executor CPU Time", 0) * 1e-9
        self.shuffled_bytes += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
        self.spilled_bytes += metrics.get("Disk Bytes Spilled", 0)
        for one in info.get("Accumulables", []):
            if one.get("Name") in PYTHON:
                name, unit = PYTHON[one["Name"]]
                setattr(self, name, getattr(self, name) + float(one.get("Update", 0)) * unit)

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Work)))


def events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a log: a file, or the folder that Spark makes of one where it rolls them.

    Raises
    ------
    EventLogError
        It is compressed, or none.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("events_*"), key=lambda file: int(file.name.split("_")[1]))
    if not files:
        raise EventLogError(f"{path}: holds no events: not an event log")
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError as error:
                    if line.endswith(b"\n") or line[:1] != b"{":
                        wanted = "an event log that was written with spark.eventLog.compress=false"
                        raise EventLogError(f"{file}: is no JSON: expected {wanted}") from error
                    return  # the application is writing it


def read(path: Path) -> dict[str, Work]:
    """What an application's jobs cost, by their descriptions (SparkContext.setJobDescription), first jobs first."""
    return collect(events(path))


def collect(found: Iterable[dict[str, Any]]) -> dict[str, Work]:
    works: dict[str, Work] = {}
    whose: dict[int, str] = {}  # stage -> description
    began: set[int] = set()
    for event in found:
        if event.get("Event") == "SparkListenerJobStart":
            name = (event.get("Properties") or {}).get("spark.job.description") or "(no description)"
            works.setdefault(name, Work()).jobs += 1
            for stage in event.get("Stage IDs", []):
                whose.setdefault(stage, name)
        elif event.get("Event") == "SparkListenerTaskEnd":
            stage = event["Stage ID"]
            work = works.setdefault(whose.get(stage, "(no job)"), Work())
            work.stages += stage not in began
            began.add(stage)
            work.add_task(event)
    return works


def size(n: float) -> str:
    """Bytes as a reader wants them."""
    if n < 1000:
        return f"{n:.0f} B"
    power = next(p for p in (1, 2, 3) if n < 1000 ** (p + 1) or p == 3)
    return f"{n / 1000**power:.1f} {' kMG'[power]}B"


def table(works: dict[str, Work]) -> list[str]:
    """The lines of a table: a row for each description, and their sum."""
    rows = [TITLES]
    total = sum(works.values(), Work())
    for name, work in [*works.items(), *([("all", total)] if len(works) > 1 else [])]:
        counts = [work.jobs, work.stages, work.tasks, work.failed, work.rows]
        seconds = [f"{work.executor_s:.2f}", f"{work.python_s:.2f}"]
        sizes = [work.sent_bytes, work.shuffled_bytes, work.spilled_bytes]
        rows.append([name, *(f"{n:,}" for n in counts), *seconds, *map(size, sizes)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])] for name, *cells in rows]
    return ["  ".join(line) for line in lines]


def main() -> int:
    parser = argparse.ArgumentParser(description="Sums up what a Spark application did, from its event log.")
    parser.add_argument("log", type=Path, help="file or folder below spark.eventLog.dir")
    try:
        print("\n".join(table(read(parser.parse_args().log))))
    except (EventLogError, OSError) as error:
        print(f"event_log: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
