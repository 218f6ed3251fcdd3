"""DuckDB: a Python function of the type 'arrow', called for every chunk of 2,048 rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType
from session import Classifier


def prepare(model: str, intra: int, cut: int) -> Callable[[str], Any]:
    classify = Classifier(model, intra, cut)

    def digit(pixels: Any) -> Any:
        column = pixels.combine_chunks() if isinstance(pixels, pa.ChunkedArray) else pixels
        return pa.array(classify(column.flatten().to_numpy(zero_copy_only=True)))

    connection = duckdb.connect(config={"threads": 2})
    connection.create_function("digit", digit, ["FLOAT[]"], "BIGINT", type=PythonUDFType.ARROW)

    def score(path: str) -> Any:
        return connection.sql(f"SELECT id, digit(pixels) AS digit FROM '{path}'").to_arrow_table()

    return score
