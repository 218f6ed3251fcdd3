"""A Python process with one release of DuckDB, whose queries have models of three frameworks: `sql_host.py JSON`.

JSON holds: extension; models: [[name, path, options], ...]; rows: a Parquet file with `id` and `x`; expected: .npy;
interruptible: whether this release stops a query while a model runs. Prints "good", or ends with what is wrong.
"""

import json
import sys
import threading
import time

import duckdb
import numpy as np

TOLERANCE = 1e-5
request = json.loads(sys.argv[1])
expected = np.load(request["expected"])
names = [name for name, _, _ in request["models"]]


def load(con):
    for name, path, options in request["models"]:
        pairs = ", ".join(f"'{key}': '{text}'" for key, text in options.items())
        more = f", options := MAP {{{pairs}}}" if pairs else ""
        con.execute(f"FROM vonk_load('{name}', '{path}'{more})").fetchall()


def ask(con, repeats=1):
    """All models of all rows in one query; the largest difference to what is expected, and to each other."""
    columns = ", ".join(f"{name}(x) AS {name}" for name in names)
    rows = f"(SELECT id, x FROM '{request['rows']}', range({repeats}))"
    found = con.execute(f"SELECT id, {columns} FROM {rows}").fetchall()
    assert len(found) == repeats * len(expected), len(found)
    ids = np.array([row[0] for row in found])
    arrays = [np.array([row[1 + i] for row in found]) for i in range(len(names))]
    worst = max(float(np.abs(array - expected[ids]).max()) for array in arrays)
    between = max(float(np.abs(a - b).max()) for a in arrays for b in arrays)
    if not (worst <= TOLERANCE and between <= TOLERANCE):
        sys.exit(f"{names}: differ by {worst} from what is expected and by {between} from each other")


def ask_in_threads(con, n=4, rounds=3):
    wrong = []

    def work(cursor):
        try:
            for _ in range(rounds):
                ask(cursor, 5)
        except BaseException as error:  # shown by the main thread
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(con.cursor(),)) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit("; ".join(wrong))


def interrupt_often(con, times=4):
    """Queries that would take long are stopped, while another connection goes on."""
    stopped = 0
    other = threading.Thread(target=lambda: ask(con.cursor(), 20))
    other.start()
    for i in range(times):
        cursor = con.cursor()
        timer = threading.Timer(0.05 + 0.1 * i, cursor.interrupt)
        timer.start()
        began = time.monotonic()
        try:
            sums = ", ".join(f"sum({name}(x)[1])" for name in names)
            cursor.execute(f"SELECT {sums} FROM '{request['rows']}', range(20000)").fetchall()
        except duckdb.Error as error:
            stopped += "nterrupted" in str(error)
        seconds = time.monotonic() - began
        timer.join()
        if seconds > 30:
            sys.exit(f"an interrupted query went on for {seconds:.0f} s")
    other.join()
    if stopped != times:
        sys.exit(f"{stopped} of {times} queries were stopped")


con = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": 2})
con.execute(f"LOAD '{request['extension']}'")
load(con)
ask(con)
ask_in_threads(con)
interrupt_often(con)
ask(con)
print("good")
