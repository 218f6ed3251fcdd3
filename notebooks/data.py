"""The data of the notebooks: all of it is on this machine after set-up.

How it works: VONK_NOTEBOOK_ROWS in the environment is an upper bound of rows, for a quick run: the tests set it. What a
notebook writes goes into a temporary folder that ends with the notebook's kernel.
"""

from __future__ import annotations

import ast
import atexit
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "examples" / "mnist"), str(ROOT / "examples" / "huggingface")]

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


def docstrings(per_library: int) -> pa.Table:
    """The descriptions of functions and classes of NumPy, pandas and scikit-learn, as these are installed here.

    How it works: the libraries' files are parsed, not imported. The columns are id (int64), library, name (with module
    and class) and text: the docstring up to its list of parameters, in one line. Texts of less than five words, and
    those that stand in several places, are left out. Rows are in a random order that is always the same.
    """
    rows: dict[str, dict[str, str]] = {}
    for package, library in {"numpy": "NumPy", "pandas": "pandas", "sklearn": "scikit-learn"}.items():
        found = 0
        for module, path in _modules(package):
            for name, text in _described(ast.parse(path.read_text(encoding="utf-8")), module):
                if found < per_library and len(text.split()) >= 5 and text not in rows:
                    rows[text] = {"library": library, "name": name, "text": text}
                    found += 1
            if found == per_library:
                break
    table = list(rows.values())
    random.Random(2).shuffle(table)
    return pa.Table.from_pylist([{"id": i, **row} for i, row in enumerate(table)])


def _modules(package: str) -> list[tuple[str, Path]]:
    """Names and files of a package's modules but for its tests, in a random order that is always the same."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
    files = [path for path in files if not {"tests", "testing", "_testing", "externals"} & set(path.parts)]
    files = [path for path in files if path.name != "conftest.py"]
    random.Random(1).shuffle(files)
    return [
        (".".join([package, *path.with_suffix("").parts]).removesuffix(".__init__"), folder / path) for path in files
    ]


def _described(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the public functions and classes in a parsed file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            inner = f"{name}.{child.name}"
            text = (ast.get_docstring(child) or "").partition("\n\nParameters\n")[0].partition("\n\nExamples\n")[0]
            yield inner, re.sub(r"\s+", " ", re.sub(r"\n\n\.\. .*(\n    .*)*", "", text)).strip()
            if isinstance(child, ast.ClassDef):
                yield from _described(child, inner)
