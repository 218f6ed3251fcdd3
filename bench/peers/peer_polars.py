"""Polars: `Expr.map_batches` over a lazy scan, on the in-memory or the streaming engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from session import Classifier, flat


def prepare(model: str, intra: int, cut: int, streaming: int) -> Callable[[str], Any]:
    classify = Classifier(model, intra, cut)

    def digits(pixels: pl.Series) -> pl.Series:
        return pl.Series(classify(flat(pixels.to_arrow())), dtype=pl.Int64)

    expression = pl.col("pixels").map_batches(digits, return_dtype=pl.Int64, is_elementwise=True).alias("digit")

    def score(path: str) -> Any:
        plan = pl.scan_parquet(path).select("id", expression)
        return plan.collect(engine="streaming" if streaming else "in-memory").to_arrow()

    return score
