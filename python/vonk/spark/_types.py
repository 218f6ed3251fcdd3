"""Types both ways: what a model predicts, as a type of Spark; whether columns of a DataFrame fit a model.

How it works: the C library binds the model to columns, without rows, and tells what does not fit, or what the
predictions would be; nothing about dtypes is decided twice. Its messages advise in SQL's words and are put into
Spark's here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import (
    ArrayType,
    ByteType,
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StructType,
)

import vonk
from vonk.spark._columns import Arrangement, one_column
from vonk.spark._spec import Binding

if TYPE_CHECKING:
    from vonk.spark._shipment import Shipment

_ARROW = {
    "bool": pyarrow.bool_(),
    "int8": pyarrow.int8(),
    "int16": pyarrow.int16(),
    "int32": pyarrow.int32(),
    "int64": pyarrow.int64(),
    "uint8": pyarrow.uint8(),
    "uint16": pyarrow.uint16(),
    "uint32": pyarrow.uint32(),
    "uint64": pyarrow.uint64(),
    "float16": pyarrow.float32(),
    "bfloat16": pyarrow.float32(),
    "float32": pyarrow.float32(),
    "float64": pyarrow.float64(),
    "string": pyarrow.string(),
}
#: Numbers that hold all values of another: each of those to its right.
_WIDENINGS: tuple[tuple[type[DataType], ...], ...] = (
    (ByteType, ShortType, IntegerType, LongType),
    (ByteType, ShortType, FloatType, DoubleType),
    (IntegerType, DoubleType),
)


@dataclass(frozen=True)
class Signature:
    """What a call must know of a model: its inputs, and the type of its predictions."""

    inputs: tuple[vonk.Tensor, ...]
    returns: DataType


def describe(model: vonk.Model, binding: Binding) -> Signature:
    """What the model takes, and what a function over it gives for a row."""
    options = binding.options() | {"inputs": None}
    predictor = model.bind(ideal_columns(model), **options)
    return Signature(model.inputs, from_arrow_type(result_type(predictor, binding)))


def return_type(model: vonk.Model, binding: Binding) -> DataType:
    """What a function over the model gives for a row."""
    return describe(model, binding).returns


def ideal_columns(model: vonk.Model) -> pyarrow.Schema:
    """Columns that the model takes as they are, one per input, named as the inputs."""
    fields = []
    for tensor in model.inputs:
        kind: Any = _ARROW[tensor.dtype]
        for _ in (tensor.shape or ())[1:]:
            kind = pyarrow.list_(kind)
        fields.append(pyarrow.field(tensor.name, kind))
    return pyarrow.schema(fields)


def result_type(predictor: vonk.Predictor, binding: Binding) -> Any:
    """The Arrow type of a worker's results."""
    none = pyarrow.schema(predictor.schema).empty_table().to_batches()
    rows = none[0] if none else pyarrow.RecordBatch.from_pylist([], schema=pyarrow.schema(predictor.schema))
    return one_column(rows, binding).type


# --- before the job ---


def check(model: vonk.Model | Shipment, schema: StructType, binding: Binding) -> DataType:
    """Checks columns against a model before there is a job.

    Parameters
    ----------
    model
        The model. What is shipped with a loader is asked on a worker, in one small job.
    schema
        The arguments of the call, in order; their names are the binding's, if it has any.
    binding
        How they meet the model.

    Returns
    -------
    DataType
        Of the result.

    Raises
    ------
    vonk.InvalidError
        What does not fit: the column, what it is, what the model wants, what to write.
    """
    if not isinstance(model, vonk.Model):
        from vonk.spark import _session  # noqa: PLC0415 - the driver's; workers import this module, too

        return model.ask(_session.active(), partial(check, schema=schema, binding=binding))
    names = binding.columns or tuple(schema.names)
    kinds = [arrow_type(field.dataType, name) for field, name in zip(schema, (*names, *schema.names), strict=False)]
    arrangement = Arrangement(kinds, binding if binding.columns else _named(binding, names))
    try:
        predictor = model.bind(arrangement.schema, **binding.options())
    except vonk.Error as error:
        raise type(error)(in_words_of_spark(error.message), error.code, error.row, error.native_code) from None
    return from_arrow_type(result_type(predictor, binding))


def _named(binding: Binding, names: tuple[str, ...]) -> Binding:
    return Binding(**{**vars(binding), "columns": names})


def arrow_type(kind: DataType, name: str) -> Any:
    """What a worker gets for a column of this type.

    Raises
    ------
    vonk.InvalidError
        Spark sends no such columns to Python.
    """
    from vonk.spark import _compat  # noqa: PLC0415 - of the driver

    try:
        return _compat.to_arrow(kind)
    except PySparkException as error:
        raise vonk.InvalidError(
            f"column '{name}': is {kind.simpleString()}, which Spark does not send to Python workers: take its parts,"
            " or cast it to numbers, text or arrays of those"
        ) from error


#: The types that the library's advice names, as Spark has them.
_SPARK_NAMES = {
    "FLOAT": "float",
    "DOUBLE": "double",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "UTINYINT": "smallint",
    "USMALLINT": "int",
    "UINTEGER": "bigint",
    "UBIGINT": "bigint",
    "VARCHAR": "string",
    "BOOLEAN": "boolean",
}


def in_words_of_spark(message: str) -> str:
    """A message of the library's, which advises in SQL, with what to write in Spark."""
    message = re.sub(r"write CAST\((.*) AS (\w+)((?:\[\])*)\)", _cast, message)
    message = _calls_of_spark(message)
    message = re.sub(r"as in ([^\s=]+)=([\w.]+)", r"as in inputs={'\1': '\2'}", message)
    message = re.sub(r"to another name, (\S+)=NAME", r"to another name, outputs={'\1': 'NAME'}", message)
    message = message.replace("nulls := 'null' gives such a row a NULL", "nulls='null' gives such a row a NULL")
    return message.replace("the try_ function goes on", "on_error='null' or 'report' goes on")


#: Functions of SQL that the library's advice names, and Spark's for the same.
_SPARK_FUNCTIONS = {"epoch": "unix_timestamp", "map_values": "map_values"}


def _calls_of_spark(message: str) -> str:
    """``write epoch(day)``, ``write [epoch(x) for x in days]`` and ``(epoch)`` in Spark's words."""
    names = "|".join(_SPARK_FUNCTIONS)
    if "is a duration" in message:  # unix_timestamp takes none
        return re.sub(r"write epoch\(([\w.]+)\)", r"write F.col('\1').cast('interval second').cast('bigint')", message)

    def call(found: re.Match[str]) -> str:
        return f"write F.{_SPARK_FUNCTIONS[found[1]]}('{found[2]}')"

    def each(found: re.Match[str]) -> str:
        return f"write F.transform('{found[2]}', lambda x: F.{_SPARK_FUNCTIONS[found[1]]}(x))"

    message = re.sub(rf"write ({names})\(([\w.]+)\)", call, message)
    message = re.sub(rf"write \[({names})\(x\) for x in ([\w.]+)\]", each, message)
    return re.sub(rf"\(({names})\)", lambda found: f"(F.{_SPARK_FUNCTIONS[found[1]]})", message)


def _cast(found: re.Match[str]) -> str:
    name, word, lists = found.groups()
    kind = _SPARK_NAMES.get(word, word.lower())
    for _ in range(len(lists) // 2):
        kind = f"array<{kind}>"
    is_name = re.fullmatch(r"[\w.]+", name)
    return f"write F.col('{name}').cast('{kind}')" if is_name else f"write .cast('{kind}') after it"


# --- the type that the user gives ---


def agree(derived: DataType, declared: DataType, title: str) -> None:
    """Checks a ``return_type`` against what the model gives: the same, or wider.

    Raises
    ------
    vonk.InvalidError
        It is another type.
    """
    if not widens(derived, declared):
        raise vonk.InvalidError(
            f"return_type: is {declared.simpleString()}, {title} gives {derived.simpleString()}: leave return_type out,"
            " and cast the result"
        )


def widens(derived: DataType, declared: DataType) -> bool:
    """Whether every value of one type is one of the other."""
    if isinstance(derived, ArrayType) and isinstance(declared, ArrayType):
        return widens(derived.elementType, declared.elementType)
    if isinstance(derived, StructType) and isinstance(declared, StructType):
        pairs = zip(derived, declared, strict=False)
        return derived.names == declared.names and all(widens(a.dataType, b.dataType) for a, b in pairs)
    if type(derived) is type(declared):
        return True
    row = (type(derived), type(declared))
    return any(set(row) <= set(kinds) and kinds.index(row[0]) < kinds.index(row[1]) for kinds in _WIDENINGS)
