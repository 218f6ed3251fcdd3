"""The bound of what a worker's models may take.

How it works: Spark runs one worker process per task at a time, so the models of a machine are in memory as often as it
has cores. A bound that somebody set (``spark.vonk.modelMemory``, ``VONK_SPARK_MODEL_MEMORY``) is kept to: a model that
exceeds it alone is refused. The default only decides how many are kept open: half of the memory, shared by the cores.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import vonk

SETTING = "spark.vonk.modelMemory"
VARIABLE = "VONK_SPARK_MODEL_MEMORY"

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class Bound:
    """Bytes, and who said so; by default nobody did."""

    nbytes: int
    origin: str | None = None

    def check(self, nbytes: int, title: str) -> None:
        """Refuses a model that does not fit even alone.

        Raises
        ------
        vonk.OutOfMemoryError
            It is larger than a bound that was set.
        """
        if self.origin is not None and nbytes > self.nbytes:
            raise vonk.OutOfMemoryError(
                f"model '{title}': needs {nbytes:,} bytes, and {self.origin} allows a worker's models {self.nbytes:,}: "
                "raise it, or leave it out for the default",
                "VONK_NOMEM",
            )


def parse(text: str, origin: str) -> int:
    """A size as Spark writes it, ``"512m"``; bytes without a unit.

    Raises
    ------
    vonk.InvalidError
        It is no size.
    """
    found = re.fullmatch(r"\s*(\d+)\s*([bkmgt]?)b?\s*", text.lower())
    if found is None or int(found[1]) == 0:
        raise vonk.InvalidError(f"{origin}: {text!r} is no size: write bytes, or a number with k, m, g or t: 512m")
    return int(found[1]) * _UNITS[found[2]]


def bound(of_session: int | None) -> Bound:
    """What holds here: the session's setting, else the worker's environment, else the default."""
    if of_session is not None:
        return Bound(of_session, SETTING)
    text = os.environ.get(VARIABLE)
    if text:
        return Bound(parse(text, VARIABLE), VARIABLE)
    return Bound(_default())


@cache
def _default() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(file).read_text()))
        except (OSError, ValueError):  # "max", or no cgroup
            continue
    return memory // 2 // max(1, len(os.sched_getaffinity(0)))
