"""Spark 4.0, which has no ``arrow_udf``: a model's function goes row by row there, and a stage through ``mapInArrow``.

How it works: a plain Python UDF gets a row's values as Python objects. Each becomes an Arrow array of one row, of the
type that Spark's ``typeof`` tells the worker, and the same function scores it that scores batches elsewhere. Of a stage
all columns are known, so it keeps its batches.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow
import pyspark
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType, StructType

_TYPES = {
    "boolean": pyarrow.bool_(), "tinyint": pyarrow.int8(), "smallint": pyarrow.int16(), "int": pyarrow.int32(),
    "bigint": pyarrow.int64(), "float": pyarrow.float32(), "double": pyarrow.float64(), "string": pyarrow.string(),
    "binary": pyarrow.binary(), "date": pyarrow.date32(), "timestamp": pyarrow.timestamp("us", tz="UTC"),
    "timestamp_ntz": pyarrow.timestamp("us"), "void": pyarrow.null(),
}  # fmt: skip


def has_arrow_udf() -> bool:
    """Whether Spark sends columns to functions as Arrow arrays: from 4.1 on."""
    return hasattr(F, "arrow_udf")


def to_arrow(kind: DataType) -> Any:
    """What Spark sends for a column of this type.

    Raises
    ------
    pyspark.errors.PySparkException
        It does not send such columns.
    """
    if "timezone" in inspect.signature(to_arrow_type).parameters:
        return to_arrow_type(kind, timezone="UTC")
    return to_arrow_type(kind)


def column_function(function: Callable[..., Any], return_type: DataType) -> Callable[..., Column]:
    """A function of Arrow arrays as a function of columns, which ``spark.udf.register`` takes too."""
    if has_arrow_udf():
        return F.arrow_udf(function, return_type)  # type: ignore[no-any-return]
    _warn_once()
    return _RowFunction(function, return_type)


class Registrable:
    """A function of columns that ``spark.udf.register`` takes: it looks for what PySpark's own functions have."""

    @property
    def sql_function(self) -> Any:
        """PySpark's own function."""
        raise NotImplementedError

    @property
    def func(self) -> Callable[..., Any]:
        """Of Arrow arrays."""
        return self.sql_function.func  # type: ignore[no-any-return]

    @property
    def evalType(self) -> int:  # noqa: N802 - the name is PySpark's
        """In what way Spark calls it."""
        return self.sql_function.evalType  # type: ignore[no-any-return]

    @property
    def deterministic(self) -> bool:
        """Whether equal rows give equal results."""
        return self.sql_function.deterministic  # type: ignore[no-any-return]

    @property
    def asNondeterministic(self) -> Callable[[], Any]:  # noqa: N802 - the name is PySpark's
        """PySpark's own function, not deterministic."""
        return self.sql_function.asNondeterministic  # type: ignore[no-any-return]


@cache
def _warn_once() -> None:
    warnings.warn(
        f"vonk: Spark {pyspark.__version__} has no functions of Arrow columns, so this one is called row by row, which"
        " is many times slower: use Spark 4.1 or later, or the stage vonk.spark.Model, which is as fast here",
        stacklevel=5,
    )


def map_columns(
    dataset: DataFrame,
    columns: Sequence[Column],
    function: Callable[..., Any],
    schema: StructType,
    paths: Sequence[tuple[str, ...]],
) -> DataFrame:
    """The dataset with the parts of a function's value beside it, in one pass over whole batches.

    Parameters
    ----------
    dataset
        All its columns go to the workers and back.
    columns
        Of the dataset: the function's arguments.
    function
        Of Arrow arrays.
    schema
        Of the result: the dataset's columns, then one for each path.
    paths
        Where in the function's value each is: names of fields, none for all of it.
    """
    width, names = len(columns), schema.names

    def score(batches):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - pickled by value: plain
        for batch in batches:
            value = function(*batch.columns[-width:])
            found = []
            for path in paths:
                part = value
                for name in path:
                    part = part.flatten()[part.type.get_field_index(name)]
                found.append(part)
            yield pyarrow.RecordBatch.from_arrays([*batch.columns[:-width], *found], names)

    arguments = [column.alias(f"vonk argument {i}") for i, column in enumerate(columns)]
    return dataset.select("*", *arguments).mapInArrow(score, schema)


class _RowFunction:
    """A function of Arrow arrays, called with one row at a time."""

    def __init__(self, function: Callable[..., Any], return_type: DataType) -> None:
        self.__name__ = function.__name__
        self._typed = F.udf(_by_row(function, has_types=True), return_type, useArrow=False)
        #: What ``spark.udf.register`` looks at. SQL gives the values only: whole numbers are bigint, others double.
        untyped = F.udf(_by_row(function, has_types=False), return_type, useArrow=False)
        self.returnType, self.func, self.evalType = untyped.returnType, untyped.func, untyped.evalType
        self.deterministic, self.asNondeterministic = untyped.deterministic, untyped.asNondeterministic

    def __call__(self, *columns: str | Column) -> Column:
        values = [F.col(column) if isinstance(column, str) else column for column in columns]
        return self._typed(*[F.typeof(value) for value in values], *values)


def _by_row(function: Callable[..., Any], *, has_types: bool) -> Callable[..., Any]:
    def predict(*given):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202 - pickled by value: plain
        if "vonk" not in known:
            try:
                from vonk.spark import _compat  # noqa: PLC0415, PLW0406 - in the worker
            except ImportError:
                return function()  # says what is missing
            known["vonk"] = _compat
        compat = known["vonk"]
        half = len(given) // 2 if has_types else 0
        kinds = [compat.parse(text) for text in given[:half]] or [None] * len(given)
        arrays = [compat.one_row(value, kind) for value, kind in zip(given[half:], kinds, strict=True)]
        return function(*arrays)[0].as_py()

    known: dict[str, Any] = {}
    predict.__name__ = function.__name__
    return predict


# --- on a worker ---


@cache
def parse(text: str) -> Any:
    """The Arrow type that a worker gets for a column of this type of Spark's; None for one that is not known here."""
    word, _, inner = text.partition("<")
    if word == "array":
        element = parse(inner[:-1])
        return None if element is None else pyarrow.list_(pyarrow.field("element", element))
    if word == "struct":
        parts = [part.partition(":") for part in _split(inner[:-1])]
        kinds = [parse(kind) for _, _, kind in parts]
        if None in kinds:
            return None
        return pyarrow.struct([pyarrow.field(name, kind) for (name, _, _), kind in zip(parts, kinds, strict=True)])
    if text.startswith("decimal("):
        precision, scale = text[8:-1].split(",")
        return pyarrow.decimal128(int(precision), int(scale))
    return _TYPES["string"] if text.startswith(("char(", "varchar(")) else _TYPES.get(text)


def _split(text: str) -> Iterator[str]:
    """``a:int,b:struct<c:int,d:int>`` at the outer commas."""
    depth = start = 0
    for i, letter in enumerate(text):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    if text:
        yield text[start:]


def one_row(value: Any, kind: Any) -> Any:
    """A value of Spark's as an Arrow array of one row."""
    return pyarrow.array([_plain(value)], kind)


def _plain(value: Any) -> Any:
    """Rows as mappings, ML Vectors as the struct that Spark stores."""
    if hasattr(value, "__UDT__"):
        udt = value.__UDT__
        return dict(zip(udt.sqlType().names, udt.serialize(value), strict=True))
    if hasattr(value, "asDict"):
        return {name: _plain(one) for name, one in value.asDict().items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
