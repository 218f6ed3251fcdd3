"""vonk in Python: a thread for each of two cores reads a row group with pyarrow and predicts for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import vonk


def prepare(path: str) -> Callable[[str], Any]:
    model = vonk.open(path, threads=2)
    pool = ThreadPoolExecutor(2)

    def score(path: str) -> Any:
        metadata = pq.read_metadata(path)

        def score_group(group: int) -> Any:
            with pq.ParquetFile(path, metadata=metadata, memory_map=True) as file:
                rows = file.read_row_group(group, use_threads=False)
            digits = model.predict(rows.select(["pixels"]), as_="argmax").column(0)
            return rows.select(["id"]).append_column("digit", digits)

        return pa.concat_tables(pool.map(score_group, range(metadata.num_row_groups)))

    return score
