"""What 1,000 broken rows among 100,000 cost `vonk run`, against the same file without them.

A third of the broken rows are NULL, a third too short, a third hold a token index that the model itself refuses (its
first node, Gather, fails for the whole micro-batch). Clean and broken runs take turns; the medians and their ratio are
printed, and that exactly 1,000 rows have an error while the other 99,000 predictions keep their bits.

    .venv/bin/python bench/broken_rows.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from program import PROGRAM

ROWS, BROKEN, TOKENS, VOCABULARY, WIDTH = 100_000, 1_000, 32, 1_000, 64
PASSES = 7


def write_model(path: Path) -> None:
    """Token ids [N, 32] -> embeddings -> 2048-512-10 network -> softmax."""
    rng = np.random.default_rng(0)
    shapes = {
        "embedding": (VOCABULARY, WIDTH),
        "w1": (TOKENS * WIDTH, 512),
        "b1": (512,),
        "w2": (512, 10),
        "b2": (10,),
    }
    tensors = [
        numpy_helper.from_array((rng.standard_normal(shape) / 16).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    tensors.append(numpy_helper.from_array(np.array([0, TOKENS * WIDTH], dtype=np.int64), "flat"))
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["embedded"]),
        helper.make_node("Reshape", ["embedded", "flat"], ["features"]),
        helper.make_node("Gemm", ["features", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["activations"]),
        helper.make_node("Gemm", ["activations", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", TOKENS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_rows(clean: Path, broken: Path) -> NDArray[np.int64]:
    """Writes both files; returns which rows are broken, in order."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCABULARY, (ROWS, TOKENS))
    bad = np.sort(rng.choice(ROWS, BROKEN, replace=False))
    rows: list[NDArray[np.int64] | None] = list(tokens)
    for k, row in enumerate(bad):
        kind = k % 3
        if kind == 0:
            rows[row] = None
        elif kind == 1:
            rows[row] = tokens[row][: TOKENS - 1 - k % 7]
        else:
            wrong = tokens[row].copy()
            wrong[k % TOKENS] = VOCABULARY + k
            rows[row] = wrong
    kind_of_column = pa.list_(pa.int64())
    pq.write_table(pa.table({"tokens": pa.array(list(tokens), kind_of_column)}), clean)
    pq.write_table(pa.table({"tokens": pa.array(rows, kind_of_column)}), broken)
    return bad


def score(model: Path, rows: Path, out: Path) -> float:
    """Seconds for one run of the program."""
    began = time.perf_counter()
    command = [PROGRAM, "run", str(model), str(rows), "-o", str(out), "--select", "", "--on-error", "report", "--quiet"]
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def check(clean: Path, broken: Path, bad: NDArray[np.int64]) -> None:
    """Exactly the broken rows have errors; the others equal the clean run's bit by bit."""
    expected, found = pq.read_table(clean), pq.read_table(broken)
    errors = np.flatnonzero(found.column("error").is_valid().to_numpy())
    if not np.array_equal(errors, bad):
        sys.exit(f"broken_rows: {len(errors)} rows have an error, expected {len(bad)}")
    good = np.setdiff1d(np.arange(ROWS), bad)
    if not expected.column("probabilities").take(good).equals(found.column("probabilities").take(good)):
        sys.exit("broken_rows: a good row's prediction differs from the clean run's")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        model, clean, broken = (Path(folder) / name for name in ("tokens.onnx", "clean.parquet", "broken.parquet"))
        write_model(model)
        bad = write_rows(clean, broken)
        times: dict[Path, list[float]] = {clean: [], broken: []}
        for _ in range(PASSES):
            for rows, seconds in times.items():
                seconds.append(score(model, rows, rows.with_suffix(".out.parquet")))
        check(clean.with_suffix(".out.parquet"), broken.with_suffix(".out.parquet"), bad)
    clean_median, broken_median = (statistics.median(values) for values in times.values())
    print(f"{BROKEN:,} broken rows among {ROWS:,}, {PASSES} passes in turn, medians of whole processes:")
    print(
        f"clean {clean_median:.3f} s, broken {broken_median:.3f} s, broken / clean {broken_median / clean_median:.3f}"
    )
    print(f"exactly {BROKEN:,} rows have an error; the other {ROWS - BROKEN:,} are bit-equal to the clean run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
