"""Scores the 10,000 MNIST test digits with the `vonk` program and checks the answer against the labels.

make demo
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from digits import LOWEST_ACCURACY, ROOT, read_digits

PROGRAM = Path(os.environ.get("VONK_PROGRAM", ".venv/bin/vonk"))
MODEL = Path("examples/mnist/mnist.onnx")
ROWS = Path("build/mnist/test.parquet")
PREDICTIONS = Path("build/mnist/predictions.parquet")
ROWS_SHOWN = 10


def write_rows(path: Path) -> None:
    """Writes the test digits as Parquet: id int64, label int64, pixels list<float> of 784 values, 0 to 1."""
    pixels, labels = read_digits("t10k")
    rows, width = pixels.shape
    offsets = pa.array(np.arange(0, rows * width + 1, width, dtype=np.int32))
    table = pa.table(
        {
            "id": pa.array(np.arange(rows, dtype=np.int64)),
            "label": pa.array(labels),
            "pixels": pa.ListArray.from_arrays(offsets, pa.array(pixels.reshape(-1))),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    pq.write_table(table, partial)
    partial.replace(path)


def quoted(word: str) -> str:
    """As a user would type it: SQL in double quotes, for it has single ones."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def run(*arguments: str | Path) -> None:
    """Shows a command as a user would type it, and runs it."""
    command = [str(PROGRAM), *map(str, arguments)]
    print(f"$ {' '.join(map(quoted, command))}", flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"demo: the command above ended with status {done.returncode}")
    print(flush=True)


def read_predictions() -> tuple[pa.Table, float]:
    """The predictions and the share of them that equal the label.

    Raises
    ------
    SystemExit
        Rows are missing or in another order than they were given.
    """
    table = pq.read_table(ROOT / PREDICTIONS)
    rows = pq.read_metadata(ROOT / ROWS).num_rows
    ids = table.column("id").to_numpy()
    if not np.array_equal(ids, np.arange(rows)):
        sys.exit(f"demo: {PREDICTIONS} should hold the ids 0 to {rows - 1} in order, but holds {len(ids)} rows")
    hits = table.column("digit").to_numpy() == table.column("label").to_numpy()
    return table, float(np.mean(hits))


def show(table: pa.Table, accuracy: float, seconds: float) -> None:
    """Prints the first predictions beside the labels, and what to type next."""
    print("first predictions:")
    print("   id  label  digit")
    for row in table.slice(0, ROWS_SHOWN).to_pylist():
        note = "" if row["label"] == row["digit"] else "   <- wrong"
        print(f"{row['id']:5d} {row['label']:6d} {row['digit']:6d}{note}")
    print()
    print(f"accuracy:  {accuracy:.4f} of {len(table):,} test digits")
    print(f"speed:     {len(table) / seconds:,.0f} rows/s, program start, reading and writing included")
    print(f"all of it: {PREDICTIONS}")
    print()
    print("next, try:")
    print(f"  {PROGRAM} run {MODEL} {ROWS} -o build/mnist/probabilities.parquet      # the ten probabilities")
    print(f"  {PROGRAM} run {MODEL} {ROWS} -o build/mnist/digits.csv --as argmax --select id")
    question = f"SELECT digit(pixels) AS d, count(*) AS n FROM '{ROWS}' GROUP BY d ORDER BY d"
    print(f'  {PROGRAM} sql -m digit={MODEL} --as argmax "{question}"')
    print(f"  {PROGRAM} bench {MODEL}                                                # against the bare framework")
    print(f"  {PROGRAM} --help")


def main() -> int:
    if not (ROOT / ROWS).exists():
        print(f"demo: writing {ROWS}")
        write_rows(ROOT / ROWS)
    (ROOT / PREDICTIONS).unlink(missing_ok=True)
    run("inspect", MODEL)
    began = time.monotonic()
    run(
        "run",
        MODEL,
        ROWS,
        "-o",
        PREDICTIONS,
        "--as",
        "argmax",
        "--output",
        "probabilities=digit",
        "--select",
        "id,label",
        "--stats",
    )
    seconds = time.monotonic() - began
    table, accuracy = read_predictions()
    show(table, accuracy, seconds)
    if accuracy < LOWEST_ACCURACY:
        print(
            f"demo: accuracy {accuracy:.4f} is below {LOWEST_ACCURACY}: something is wrong",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
