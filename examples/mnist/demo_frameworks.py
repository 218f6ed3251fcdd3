"""Packs the digit networks that Keras and PyTorch trained, and scores the 10,000 test digits with all in one SQL query.

make demo-frameworks

How it works: `vonk pack` turns digit.keras into a SavedModel, which TensorFlow runs, and into ONNX; and the weights in
digit_torch.pt with their class into ONNX and into TorchScript, which PyTorch runs. So each network is there twice, and
the two must agree; the networks themselves were trained apart and differ in a few digits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from demo import ROWS, run, write_rows
from digits import LOWEST_ACCURACY, ROOT
from numpy.typing import NDArray

HERE = Path("examples/mnist")
OUT = Path("build/mnist")
PREDICTIONS = OUT / "frameworks.parquet"
LARGEST_DIFFERENCE = 1e-5
ROWS_SHOWN = 10

CLASS = f"{HERE}/digit_torch.py:Digit"
#: a state_dict does not say which class it is of, nor PyTorch what its inputs are
TORCH = ["--module", CLASS, "--input", "pixels:f32[-1,784]", "--output", "output=probabilities"]
#: column -> the source, its target, what runs it, and more words for vonk pack
PACKED: dict[str, tuple[str, str, str, Sequence[str]]] = {
    "keras_tensorflow": ("digit.keras", "savedmodel", "TensorFlow", []),
    "keras_onnx": ("digit.keras", "onnx", "ONNX Runtime", []),
    "torch_onnx": ("digit_torch.pt", "onnx", "ONNX Runtime", TORCH),
    "torch_pytorch": ("digit_torch.pt", "torchscript", "PyTorch", TORCH),
}
#: the columns that are one network in two frameworks
SAME = [("keras_tensorflow", "keras_onnx"), ("torch_onnx", "torch_pytorch")]


def bundle(column: str) -> Path:
    return OUT / f"{column}.vonk"


def pack() -> None:
    (ROOT / OUT).mkdir(parents=True, exist_ok=True)
    for column, (source, target, _, words) in PACKED.items():
        run("pack", HERE / source, "-o", bundle(column), "--to", target, *words)


def score() -> float:
    """Runs the one query; seconds, the program's start and the loading of three frameworks included."""
    columns = ",\n         ".join(f"{column}(pixels) AS {column}" for column in PACKED)
    models = [word for column in PACKED for word in ("-m", f"{column}={bundle(column)}")]
    began = time.monotonic()
    query = f"COPY (\n  SELECT id, label,\n         {columns}\n  FROM '{ROWS}' ORDER BY id\n) TO '{PREDICTIONS}'"
    run("sql", *models, query)
    return time.monotonic() - began


def read() -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """The labels, and each column's probabilities [rows, 10].

    Raises
    ------
    SystemExit
        Rows are missing.
    """
    table = pq.read_table(ROOT / PREDICTIONS)
    rows = pq.read_metadata(ROOT / ROWS).num_rows
    if not np.array_equal(table.column("id").to_numpy(), np.arange(rows)):
        sys.exit(f"demo: {PREDICTIONS} should hold the ids 0 to {rows - 1} in order, but holds {len(table)} rows")
    found = {column: np.stack(table.column(column).to_numpy()) for column in PACKED}
    return table.column("label").to_numpy(), found


def show_rows(labels: NDArray[np.int64], found: dict[str, NDArray[np.float32]]) -> None:
    print("first predictions:")
    print("   id  label  " + "  ".join(PACKED))
    for row in range(ROWS_SHOWN):
        cells = "  ".join(f"{int(found[column][row].argmax()):{len(column)}d}" for column in PACKED)
        print(f"{row:5d} {labels[row]:6d}  {cells}")
    print()


def check(labels: NDArray[np.int64], found: dict[str, NDArray[np.float32]]) -> list[str]:
    """Prints accuracy and agreement; what is wrong with them."""
    wrong = []
    digits = {column: values.argmax(axis=1) for column, values in found.items()}
    for column, (source, target, framework, _) in PACKED.items():
        accuracy = float(np.mean(digits[column] == labels))
        print(f"accuracy:   {column:17} {accuracy:.4f}   {source} as {target}, run by {framework}")
        if accuracy < LOWEST_ACCURACY:
            wrong.append(f"accuracy of {column} is {accuracy:.4f}, below {LOWEST_ACCURACY}")
    pairs = [*SAME, ("keras_tensorflow", "torch_pytorch")]
    for first, second in pairs:
        equal = float(np.mean(digits[first] == digits[second]))
        largest = float(np.max(np.abs(found[first] - found[second])))
        what = "one network" if (first, second) in SAME else "two networks"
        print(f"agreement:  {first} and {second}: {equal:.4f} of the digits equal, "
              f"largest difference of probabilities {largest:.1e} ({what})")  # fmt: skip
        if (first, second) in SAME and largest > LARGEST_DIFFERENCE:
            wrong.append(f"{first} and {second} differ by {largest:.1e}, more than {LARGEST_DIFFERENCE}")
        if equal < LOWEST_ACCURACY:
            wrong.append(f"{first} and {second} agree on {equal:.4f} of the digits only")
    return wrong


def main() -> int:
    if not (ROOT / ROWS).exists():
        print(f"demo: writing {ROWS}")
        write_rows(ROOT / ROWS)
    (ROOT / PREDICTIONS).unlink(missing_ok=True)
    pack()
    seconds = score()
    labels, found = read()
    show_rows(labels, found)
    wrong = check(labels, found)
    n = len(labels) * len(PACKED)
    print(f"speed:      {n / seconds:,.0f} predictions/s: {n:,} in {seconds:.1f} s, start of three frameworks included")
    print(f"all of it:  {PREDICTIONS}")
    for text in wrong:
        print(f"demo: {text}: something is wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
