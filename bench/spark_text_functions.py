"""The peers of bench/spark_text.py: what one would write by hand. Workers import this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import pyarrow as pa
from pyspark.sql.functions import pandas_udf


@lru_cache(maxsize=1)
def encoder(folder: str) -> Any:
    """The model, opened once in a worker process; one thread, as a task has one processor."""
    import torch  # noqa: PLC0415 - on a worker, once
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    torch.set_num_threads(1)
    return SentenceTransformer(folder, device="cpu")


def with_pandas(folder: str) -> Any:
    """A function of a column that gives `encode` each batch of Spark's."""

    def embed(texts: pd.Series) -> pd.Series:
        return pd.Series(list(encoder(folder).encode(texts.tolist(), show_progress_bar=False)))

    return pandas_udf(embed, "array<float>")


def with_arrow(folder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The same for mapInArrow: id and text in, id and v out."""

    def embed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors = encoder(folder).encode(batch.column("text").to_pylist(), show_progress_bar=False)
            width = vectors.shape[1] if len(vectors) else 0
            offsets = pa.array(range(0, width * len(vectors) + 1, width or 1), pa.int32())
            lists = pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32()))
            yield pa.RecordBatch.from_arrays([batch.column("id"), lists], ["id", "v"])

    return embed
