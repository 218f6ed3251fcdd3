"""The data of the notebooks: all of it is on this machine after set-up.

How it works: VONK_NOTEBOOK_ROWS in the environment is an upper bound of rows, for a quick run: the tests set it. What a
notebook writes goes into a temporary folder that ends with the notebook's kernel.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "mnist"))

from digits import read_digits  # noqa: E402 - it lies there

#: So that the two workers both have something to read.
FILES = 4


def at_most(rows: int) -> int:
    """`rows`, or VONK_NOTEBOOK_ROWS if that is less."""
    return min(rows, int(os.environ.get("VONK_NOTEBOOK_ROWS") or rows))


def epochs(wanted: int) -> int:
    """`wanted`, or 1 in a quick run."""
    return 1 if os.environ.get("VONK_NOTEBOOK_ROWS") else wanted


def new_folder() -> Path:
    """An empty folder for what the notebook writes."""
    folder = Path(tempfile.mkdtemp(prefix="notebook-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def write_digits(rows: int) -> str:
    """Writes the first of MNIST's 10,000 test digits as Parquet files, and returns their folder.

    The columns are id (int64), label (int64, 0 to 9) and pixels (list of 784 float32, row by row, 0 is paper, 1 ink).
    """
    pixels, labels = (values[:rows] for values in read_digits("t10k"))
    offsets = pa.array(np.arange(0, pixels.size + 1, pixels.shape[1], dtype=np.int32))
    lists = pa.ListArray.from_arrays(offsets, pa.array(pixels.reshape(-1)))
    return write(pa.table({"id": np.arange(len(labels)), "label": labels, "pixels": lists}), "digits")


def write(table: pa.Table, name: str) -> str:
    """Writes a table as Parquet files, and returns their folder."""
    folder = new_folder() / name
    folder.mkdir()
    for i in range(FILES):
        first, last = i * len(table) // FILES, (i + 1) * len(table) // FILES
        pq.write_table(table.slice(first, last - first), folder / f"{i}.parquet")
    return str(folder)
