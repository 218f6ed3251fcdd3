"""`Model.predict` on Arrow tables against the bare ONNX Runtime loop: processor time, one thread.

60,000 rows of 784 float32 numbers as list<float> and as a fixed-size list, the network of examples/mnist; ratio =
bare loop / predict, 1.00 is the framework's own speed (wanted: at least 0.97).

    .venv/bin/python bench/python_api.py [--passes 11]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import vonk
from bare import Bare, in_turn
from program import ROOT

MODEL = ROOT / "examples" / "mnist" / "mnist.onnx"
ROWS, WIDTH = 60_000, 784


def main() -> int:
    parser = argparse.ArgumentParser(description="Model.predict against the bare loop", allow_abbrev=False)
    parser.add_argument("--passes", type=int, default=11)
    args = parser.parse_args()
    vonk.set_threads(1)
    values = np.random.default_rng(1).random((ROWS, WIDTH), dtype=np.float32)
    bare = Bare(MODEL, values)
    bare.find_best_batch()
    model = vonk.open(MODEL)
    flat = pa.array(values.ravel())
    offsets = pa.array(np.arange(0, values.size + 1, WIDTH, dtype=np.int32))
    tables = {
        "list<float>": pa.table({"pixels": pa.ListArray.from_arrays(offsets, flat)}),
        "fixed-size list": pa.table({"pixels": pa.FixedSizeListArray.from_arrays(flat, WIDTH)}),
    }
    expected = bare.results()
    for name, table in tables.items():
        column = model.predict(table).column(0).combine_chunks()
        found = column.flatten().to_numpy().reshape(expected.shape)
        if not np.allclose(found, expected, atol=1e-6):
            sys.exit(f"{name}: predictions differ from onnxruntime's by {np.abs(found - expected).max()}")
    works: dict[str, Callable[[], Any]] = {name: partial(model.predict, table) for name, table in tables.items()}
    works["numpy"] = partial(model.predict, {"pixels": values})
    times = in_turn({**works, "bare": bare.run}, args.passes)
    per_row = {name: seconds / ROWS * 1e6 for name, seconds in times.items()}
    print(f"{ROWS:,} rows, one thread, CPU us/row, medians of {args.passes} passes in turn")
    print(f"{'bare loop, batch ' + str(bare.batch):<34} {per_row['bare']:7.3f}")
    for name in works:
        ratio = per_row["bare"] / per_row[name]
        print(f"{'Model.predict, ' + name:<34} {per_row[name]:7.3f}   bare / predict {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
