"""Daft: a class with a batch method, as its guide advises for models (`daft.cls`, `daft.method.batch`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import daft
from daft import DataType, Series


def prepare(model: str, intra: int, batch: int, cut: int) -> Callable[[str], Any]:
    @daft.cls(use_process=False)
    class Digit:
        def __init__(self) -> None:
            from session import Classifier, flat  # noqa: PLC0415 - made where it runs: a session cannot be pickled

            self.flat = flat
            self.classify = Classifier(model, intra, cut)

        @daft.method.batch(return_dtype=DataType.int64(), batch_size=batch or None)  # type: ignore[untyped-decorator]
        def __call__(self, pixels: Series) -> Any:
            return self.classify(self.flat(pixels.to_arrow()))

    digit = Digit()

    def score(path: str) -> Any:
        rows = daft.read_parquet(path)
        return rows.select(rows["id"], digit(rows["pixels"]).alias("digit")).to_arrow()

    return score
