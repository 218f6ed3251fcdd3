"""Eight connections at once, in a child process: `python crowd.py EXTENSION MODELS DATABASE`; prints JSON.

Half of them query, the others load, exchange and unload. Every answer is checked where it is read; what is counted
and what went wrong is printed: {"counts": {...}, "faults": [...]}.
"""

from __future__ import annotations

import collections
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import duckdb

ROUNDS = 30
ROWS = 20480  # ten chunks

#: For every chunk of the table: by which factors the model multiplied its rows.
FACTORS = "SELECT list_sort(list(DISTINCT {call}[3] / x[3])) FROM t GROUP BY rowid // 2048"


class Crowd:
    def __init__(self, connection: Any, models: str) -> None:
        self.connection = connection
        self.models = models
        self.counts: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.lock = threading.Lock()
        self.writers_left = 0

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def fault(self, what: str) -> None:
        with self.lock:
            self.faults.append(what)

    def check_factors(self, who: str, rows: list[tuple[Any, ...]]) -> None:
        """Each chunk was predicted by one of the two models, never by both."""
        if len(rows) != ROWS // 2048:
            self.fault(f"{who}: {len(rows)} chunks, expected {ROWS // 2048}")
        for (factors,) in rows:
            if factors not in ([2.0], [3.0]):
                self.fault(f"{who}: a chunk was multiplied by {factors}, expected [2.0] or [3.0]")
            else:
                self.count(f"chunks times {factors[0]:.0f}")

    def query(self, cursor: Any) -> None:
        self.check_factors("query", cursor.execute(FACTORS.format(call="scale(x)")).fetchall())

    def query_by_name(self, cursor: Any) -> None:
        self.check_factors("by name", cursor.execute(FACTORS.format(call="vonk_predict('scale', x)")).fetchall())

    def query_prepared(self, cursor: Any) -> None:
        self.check_factors("prepared", cursor.execute("EXECUTE factors").fetchall())

    def query_coming_and_going(self, cursor: Any) -> None:
        """A name that others load and unload: right, or a clear error."""
        try:
            total, n = cursor.execute("SELECT sum(guest(x)[1]), count(*) FROM t").fetchone()
        except duckdb.Error as error:
            if "model 'guest' is not loaded" not in str(error):
                self.fault(f"guest: {error}")
            self.count("guest away")
            return
        expected = ROWS * (ROWS + 1)  # twice the sum of 1 ... ROWS
        if (total, n) != (expected, ROWS):
            self.fault(f"guest: sum {total} of {n} rows, expected {expected} of {ROWS}")
        self.count("guest there")

    def reload(self, cursor: Any) -> None:
        for name in ("triple", "double"):
            cursor.execute(f"FROM vonk_load('scale', '{self.models}/{name}.onnx')").fetchall()
            self.count("reloads")

    def come_and_go(self, cursor: Any) -> None:
        cursor.execute(f"FROM vonk_load('guest', '{self.models}/double.onnx')").fetchall()
        cursor.execute("FROM vonk_models()").fetchall()
        cursor.execute("FROM vonk_unload('guest')").fetchall()
        self.count("unloads")

    def load_new(self, cursor: Any) -> None:
        with self.lock:
            self.counts["new names"] += 1
            number = self.counts["new names"]
        cursor.execute(f"FROM vonk_load('new_{number}', '{self.models}/lookup.onnx')").fetchall()
        ((value, error),) = cursor.execute(
            f"SELECT new_{number}(7), try_new_{number}(70).error FROM vonk_describe('new_{number}') LIMIT 1"
        ).fetchall()
        if value != 7 or not error:
            self.fault(f"new_{number}: {value} and {error}, expected 7 and a message")

    def fail(self, cursor: Any) -> None:
        for text in (
            "FROM vonk_load('broken', '{m}/broken.onnx')",
            "SELECT count(vonk_predict('{m}/lookup.onnx', 99::BIGINT))",
        ):
            try:
                cursor.execute(text.format(m=self.models)).fetchall()
                self.fault(f"no error: {text}")
            except duckdb.Error:
                self.count("errors")

    def writer(self, work: Callable[[Any], None]) -> None:
        self.loop(work, lambda done: done < ROUNDS)
        with self.lock:
            self.writers_left -= 1

    def reader(self, work: Callable[[Any], None]) -> None:
        """As long as somebody writes."""
        self.loop(work, lambda _: self.writers_left > 0)

    def loop(self, work: Callable[[Any], None], more: Callable[[int], bool]) -> None:
        cursor = self.connection.cursor()
        done = 0
        try:
            if work == self.query_prepared:
                cursor.execute("PREPARE factors AS " + FACTORS.format(call="scale(x)"))
            while more(done):
                work(cursor)
                done += 1
        except Exception as error:
            self.fault(f"{work.__name__}: {error}")
        finally:
            cursor.close()

    def run(self) -> None:
        writers = [self.reload, self.come_and_go, self.load_new, self.fail]
        readers = [self.query, self.query_by_name, self.query_prepared, self.query_coming_and_going]
        self.writers_left = len(writers)
        threads = [threading.Thread(target=self.writer, args=(work,)) for work in writers]
        threads += [threading.Thread(target=self.reader, args=(work,)) for work in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main(extension: str, models: str, database: str) -> None:
    connection = duckdb.connect(database, config={"allow_unsigned_extensions": "true", "threads": 2})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"CREATE TABLE t AS SELECT [i, i, 1]::FLOAT[] AS x FROM range(1, {ROWS + 1}) r(i)")
    for name in ("scale", "guest"):
        connection.execute(f"FROM vonk_load('{name}', '{models}/double.onnx')")
    crowd = Crowd(connection, models)
    crowd.run()
    connection.close()
    print(json.dumps({"counts": crowd.counts, "faults": crowd.faults}))


if __name__ == "__main__":
    main(*sys.argv[1:])
