"""DuckDB: a Python function of the type 'arrow', called for every chunk of 2,048 rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType
from session import Classifier, flat


def prepare(model: str, intra: int, cut: int) -> Callable[[str], Any]:
    classify = Classifier(model, intra, cut)

    def digit(pixels: Any) -> Any:
        return pa.array(classify(flat(pixels)))

    connection = duckdb.connect(config={"threads": 2})
    connection.create_function("digit", digit, ["FLOAT[]"], "BIGINT", type=PythonUDFType.ARROW)

    def score(path: str) -> Any:
        return connection.sql(f"SELECT id, digit(pixels) AS digit FROM '{path}'").to_arrow_table()

    return score
