"""What the pieces of Python in a child process share: run with `from guest import *`."""

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb

EXTENSION = os.environ["GUEST_EXTENSION"]
MOCKS = Path(os.environ["GUEST_MOCKS"])
IRIS = os.environ["GUEST_IRIS"]
__all__ = [
    "EXTENSION", "IRIS", "MOCKS", "Path", "close_all", "connect", "ctypes", "descriptors", "duckdb", "gc",
    "interrupted", "load_slow", "opens_elsewhere", "os", "resident", "sys", "tasks", "threading", "time", "until",
]  # fmt: skip


def connect(path=":memory:", load=True, **config):
    con = duckdb.connect(path, config={"allow_unsigned_extensions": "true", **config})
    con.execute("SET enable_progress_bar = false")  # it is drawn after two seconds, which a busy machine may need
    if load:
        con.execute(f"LOAD '{EXTENSION}'")
    return con


def load_slow(con, name="slow", **options):
    """A model that takes 50 ms for each row and stops at once when it is asked to."""
    model = Path(f"{name}.mock")
    model.write_text("input x f32 -1 4\noutput y = sum x\n")
    more = "".join(f", {key} := {value}" for key, value in options.items())
    con.execute(f"FROM vonk_load('{name}', '{model}', plugin := '{MOCKS / 'mock_slow.so'}', batch := 1{more})")


def tasks():
    """The names of this process's threads, sorted."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            names.append((task / "comm").read_text().strip())
    return sorted(names)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def until(condition, seconds=10.0):
    """Waits for a condition: whether it came true, and after how long."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"still not so after {seconds} s")
        time.sleep(0.001)
    return time.monotonic() - began


def opens_elsewhere(path):
    """Whether a process that just starts can open this file for writing, at once."""
    code = f"import duckdb; duckdb.connect({str(path)!r}).execute('CREATE OR REPLACE TABLE elsewhere AS SELECT 1')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0


def interrupted(con, query):
    """Runs a query that never ends by itself and interrupts it: the seconds until it returned, and the error."""
    asked = []

    def interrupt():
        time.sleep(0.5)
        asked.append(time.monotonic())
        con.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        con.execute(query).fetchall()
        raise AssertionError("the query was not interrupted")
    except duckdb.Error as error:
        seconds = time.monotonic() - asked[0] if asked else -1.0
        message = f"{type(error).__name__}: {error}"
    thread.join()
    return seconds, message


def close_all(*connections):
    for con in connections:
        con.close()
    del connections
    gc.collect()
