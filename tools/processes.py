"""Processes that were started for one purpose: who they are, and ending them and no others.

How it works: whoever starts a process puts a marker of its own into its environment; all that it starts in turn
inherits it, whatever group or session they make. A process is one of ours if /proc shows the marker in its environment,
or if its number and start time are those that were written down. Signals go through a pidfd that was opened before the
process was looked at, so that a number that was given to another process meanwhile is never hit. Linux only.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MARKER = "VONK_CLUSTER"


class Process(NamedTuple):
    """A process and when it started, in clock ticks since the machine did: together they name it for good."""

    pid: int
    start: int


def find(pid: int) -> Process | None:
    """The process of that number; None if there is none, or it has ended and nobody asked for its status yet."""
    fields = stat(pid)
    return None if fields is None or fields[0] in "ZX" else Process(pid, int(fields[19]))


def parent(pid: int) -> int:
    """The number of a process's parent; 0 if it has ended."""
    fields = stat(pid)
    return 0 if fields is None else int(fields[1])


def stat(pid: int) -> list[str] | None:
    """/proc/PID/stat from the state on: its second field, the name, may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def command(pid: int) -> list[str]:
    """The words that a process was started with; [] if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def is_marked(pid: int, marker: str) -> bool:
    try:
        return f"{MARKER}={marker}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return False


def marked(marker: str) -> list[Process]:
    """All processes with the marker in their environment, but this one."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    found = [find(pid) for pid in sorted(pids) if pid != os.getpid() and is_marked(pid, marker)]
    return [process for process in found if process is not None]


def send(process: Process, number: signal.Signals) -> None:
    """Sends a signal to this very process, if it is still there."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if find(process.pid) == process:
            signal.pidfd_send_signal(fd, number)
    except OSError:  # it has just ended
        pass
    finally:
        os.close(fd)


def end(marker: str, others: Iterable[Process], patience: float) -> list[Process]:
    """Asks what has the marker, and `others`, to end; kills what is there after `patience` seconds.

    Returns
    -------
    list of Process
        Those that are there even so, as long again after it.
    """
    others = list(others)
    asked: set[Process] = set()
    began = time.monotonic()
    while True:
        reap(process.pid for process in others)
        left = sorted({*marked(marker), *(process for process in others if find(process.pid) == process)})
        waited = time.monotonic() - began
        if not left or waited > 2 * patience:
            return left
        for process in left:
            if waited > patience:
                send(process, signal.SIGKILL)
            elif process not in asked:
                send(process, signal.SIGTERM)
        asked.update(left)
        time.sleep(0.05)


def reap(pids: Iterable[int]) -> None:
    """Takes the status of children of ours that have ended."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
