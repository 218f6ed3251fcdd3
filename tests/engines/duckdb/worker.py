"""The child process behind hosts.Host: DuckDB, asked through pickles on standard input and output.

Runs with whatever DuckDB PYTHONPATH names and imports nothing else but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from typing import Any

import duckdb

COUNTERS = (
    "models live_models sessions live_sessions outputs live_outputs runs failed_runs rows largest_run running "
    "most_running preallocated stopped shutdowns last_input"
).split()


class Worker:
    def __init__(self) -> None:
        self.connection: Any = None

    def open(self, path: str, extension: str, config: dict[str, Any]) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = duckdb.connect(path, config={"allow_unsigned_extensions": "true"} | config)
        self.connection.execute("LOAD '" + extension.replace("'", "''") + "'")

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.connection.execute(text).fetchall()
        return rows

    def types(self, text: str) -> list[str]:
        return [str(row[1]) for row in self.connection.execute("DESCRIBE " + text).fetchall()]

    def counters(self, library: str) -> dict[str, int]:
        """What tests/mock/counters.h declares; of the copy that is in this process already, or it is opened."""
        values = (ctypes.c_int64 * len(COUNTERS))()
        ctypes.CDLL(library).mock_counters_read(values)
        return dict(zip(COUNTERS, values, strict=True))


def main() -> None:
    # Whatever a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker()
    while True:
        try:
            what, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (False, getattr(worker, what)(*arguments))
        except duckdb.Error as error:
            answer = (True, str(error))
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
