"""vonk in SQL: DuckDB's Python package with vonk's extension, one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vonk.duckdb


def prepare(model: str) -> Callable[[str], Any]:
    connection = vonk.duckdb.connect(threads=2)
    connection.execute("FROM vonk_load('digit', ?, as_ := 'argmax')", [model]).fetchall()

    def score(path: str) -> Any:
        return connection.sql(f"SELECT id, digit(pixels) AS digit FROM '{path}'").to_arrow_table()

    return score
