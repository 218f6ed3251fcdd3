"""One tool in a process of its own: started by bench/bench_peers.py, spoken to by lines of JSON.

    python worker.py TOOL MODEL [KEY=VALUE]...

TOOL is a module of this folder with ``prepare(model, **settings)``, which returns a function from the path of a
Parquet file to an Arrow table with the columns id and digit. Each line of the standard input is a request
{"rows": path, "result": path or null}; the answer {"wall": s, "cpu": s} has the seconds of that one call and, for the
first, the processor time since the process began. The table is written to "result" afterwards, unmeasured.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path

#: Marks this process and all that it starts, whoever adopts them.
TOKEN = "VONK_BENCH_PEER"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_of_others() -> float:
    """Processor seconds of all other processes that carry our token (Ray's daemons and workers)."""
    mark = f"{TOKEN}={os.environ[TOKEN]}".encode()
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        except OSError:  # ended meanwhile, or another user's
            continue
    return total / TICK


def cpu_seconds() -> float:
    return time.process_time() + cpu_of_others()


def main() -> None:
    tool, model, *pairs = sys.argv[1:]
    settings = {key: int(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tools print goes to the standard error
    score = importlib.import_module(tool).prepare(model, **settings)
    start = 0.0  # the first answer has the processor time of imports and set-up too
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        table = score(request["rows"])
        wall = time.perf_counter() - began
        print(json.dumps({"wall": wall, "cpu": cpu_seconds() - start}), file=answers, flush=True)
        if request["result"] is not None:
            import pyarrow.parquet as pq  # noqa: PLC0415 - not every tool pays for it in its first run

            pq.write_table(table, request["result"])
        table = None  # freed outside of what is measured, for all tools alike
        print(json.dumps({"done": True}), file=answers, flush=True)
        start = cpu_seconds()


if __name__ == "__main__":
    main()
