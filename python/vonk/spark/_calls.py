"""What a call of a model's function says: the names of its arguments, and which of them travel as one array.

How it works: Spark's functions take columns by name or as expressions, and neither their types nor their values are
known here. Sending many columns of single values to a Python worker costs ten times what one array of them costs, so
where they are to become one tensor ``[rows, N]`` they are packed by Spark itself. What would then be converted without
being asked for, such as text to numbers, is refused by a condition on their types that Spark settles when it plans the
query.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import DataType, StructType

import vonk
from vonk.spark._spec import Binding

_WHOLE = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = ("boolean", *_WHOLE, "float", "double", "decimal", "void")
#: dtype -> the type of Spark that its values are packed as, None for what they have in common; the types that may be.
_ELEMENTS: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "float16": ("double", _NUMBERS),
    "bfloat16": ("double", _NUMBERS),
    "float32": ("float", _NUMBERS),
    "float64": ("double", _NUMBERS),
    "bool": (None, ("boolean", "void")),
    "string": (None, ("string", "binary", "void")),
}
_INTEGERS = (None, ("boolean", *_WHOLE, "void"))
_KINDS = {_NUMBERS: "numbers", ("boolean", "void"): "booleans", ("string", "binary", "void"): "text"}
#: Longer texts of expressions are no names that anybody means.
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Call:
    """Columns for Spark, in order, and what a worker must know of them.

    Attributes
    ----------
    columns
        Of the call.
    binding
        Their names.
    text
        How the arguments were written, if Spark would show them otherwise.
    """

    columns: tuple[str | Column, ...]
    binding: Binding
    text: str | None = None


def read(columns: Sequence[str | Column], named: Mapping[str, str | Column], binding: Binding) -> Call:
    """The call as it was written.

    Raises
    ------
    vonk.InvalidError
        No column, or not as many as ``inputs=`` names.
    TypeError
        An argument is no column.
    """
    given = (*columns, *named.values())
    if not given:
        raise vonk.InvalidError("arguments: there are none: give the columns of the model's inputs, f('column')")
    for column in given:
        if not isinstance(column, str | Column):
            raise TypeError(
                f"arguments: {column!r} is a {type(column).__name__}: give names of columns, or columns (F.col, F.lit)"
            )
    if not binding.columns:
        names = (*(name_of(column, i) for i, column in enumerate(columns)), *named)
        return Call(given, replace(binding, columns=names))
    if named or len(given) not in (1, len(binding.columns)):
        raise vonk.InvalidError(
            f"arguments: inputs= names {len(binding.columns)} ({_some(binding.columns)}), {len(given)} were given: give"
            " one for each, in that order, or one struct with fields of those names"
        )
    return Call(given, binding)


def pack(call: Call, inputs: Sequence[vonk.Tensor] | None) -> Call:
    """The call with columns of single values packed into arrays, where they are to become one tensor.

    Parameters
    ----------
    call
        As it was written.
    inputs
        Of the model; None if they are not known here: then nothing is packed.

    Raises
    ------
    vonk.InvalidError
        Several columns for a tensor that takes another number of them.
    """
    if not inputs or len(call.columns) == 1:
        return call
    if call.binding.inputs is not None:
        return _pack_mapped(call, {tensor.name: tensor for tensor in inputs})
    names = call.binding.columns
    tensor = inputs[0]
    if len(inputs) > 1 or tensor.name in names:
        return call
    if tensor.shape is None or len(tensor.shape) != 2 or tensor.shape[1] not in (len(names), None, *_free(tensor)):
        raise vonk.InvalidError(
            f"arguments: {len(names)} were given ({_some(names)}), the model takes one input, {tensor.name}"
            f" {tensor.type}: {_advice(tensor)}"
        )
    binding = replace(call.binding, columns=(tensor.name,), packed=(tensor.name,))
    return Call((_array(call.columns, names, tensor),), binding, _some(names))


def _pack_mapped(call: Call, tensors: Mapping[str, vonk.Tensor]) -> Call:
    """Packs what ``inputs={tensor: [columns]}`` lists, if all of it is there by those names."""
    columns = dict(zip(call.binding.columns, call.columns, strict=True))
    assert call.binding.inputs is not None
    mapped: list[tuple[str, tuple[str, ...]]] = []
    packed: dict[str, Column] = {}
    for name, given in call.binding.inputs:
        tensor = tensors.get(name)
        if len(given) > 1 and tensor is not None and all(column in columns for column in given):
            label = name if name not in columns else f"{name} packed"
            packed[label] = _array([columns[column] for column in given], given, tensor)
            mapped.append((name, (label,)))
        else:
            mapped.append((name, given))
    if not packed:
        return call
    still_used = {column for name, given in mapped for column in given}
    mapped_away = {column for _, given in call.binding.inputs for column in given} - still_used
    kept = {name: column for name, column in columns.items() if name not in mapped_away}
    binding = replace(call.binding, columns=(*kept, *packed), packed=tuple(packed), inputs=tuple(mapped))
    return Call((*kept.values(), *packed.values()), binding, _some(call.binding.columns))


def _array(columns: Sequence[str | Column], names: Sequence[str], tensor: vonk.Tensor) -> Column:
    """One array of the columns; the query fails if one of them is of a type that the model does not take."""
    element, takes = _ELEMENTS.get(tensor.dtype, _INTEGERS)
    values = [F.col(column) if isinstance(column, str) else column for column in columns]
    # The type of a struct of all of them: Spark knows it, and drops the condition, before there is a row.
    kinds = F.typeof(F.named_struct(*itertools.chain.from_iterable((F.lit("_"), value) for value in values)))
    others = F.regexp_replace(kinds, rf"_:({'|'.join(takes)})(\(\d+,\d+\))?[,>]", "")
    message = (
        f"vonk: arguments ({_some(names)}): not all are {_KINDS.get(takes, 'whole numbers')}, and input '{tensor.name}'"
        f" wants {tensor.type}: cast those that are not, as in F.col('name').cast('{element or takes[-2]}')"
    )
    array = F.array(*[value.cast(element) if element else value for value in values])
    return F.when(others == "struct<", array).otherwise(F.raise_error(F.lit(message)))


def _free(tensor: vonk.Tensor) -> tuple[str, ...]:
    """The name of its second dimension, if that is a name."""
    return tuple(dim for dim in (tensor.shape or ())[1:2] if isinstance(dim, str))


def _advice(tensor: vonk.Tensor) -> str:
    if tensor.shape is not None and len(tensor.shape) == 2:
        return f"give one array of {tensor.shape[1]}, or {tensor.shape[1]} columns of single values"
    return "give one column"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, ... {names[-1]}"


def name_of(column: str | Column, place: int) -> str:
    """What the column is called: a name, an alias, or the text of an expression."""
    if isinstance(column, str):
        return column.replace("`", "")
    found = re.fullmatch(r"Column<'(.*)'>", repr(column), re.DOTALL)
    text = found[1] if found else ""
    alias = re.fullmatch(r".* AS ([^\s()]+)", text, re.DOTALL)
    name = (alias[1] if alias else text).replace("`", "")
    return name if 0 < len(name) <= _LONGEST_NAME else f"argument {place + 1}"


# --- types, where they are known ---


def types_of(rows: DataFrame | StructType, columns: Sequence[str | Column]) -> list[DataType]:
    """The columns' types in a DataFrame or a schema.

    Raises
    ------
    vonk.InvalidError
        A schema has no such column, or cannot tell an expression's type.
    """
    if isinstance(rows, DataFrame):
        return [field.dataType for field in rows.select(*columns).schema]
    found = []
    for i, column in enumerate(columns):
        name = name_of(column, i)
        kind = _type_at(rows, column if isinstance(column, str) else name)
        if kind is None:
            raise vonk.InvalidError(
                f"column '{name}': is not in the schema ({_some(rows.names)}): give the DataFrame if it is an"
                " expression"
            )
        found.append(kind)
    return found


def _type_at(kind: DataType, path: str) -> DataType | None:
    """Of ``"a"``, ``"s.f"``, ```a.b```."""
    if not isinstance(kind, StructType):
        return None
    whole = path.replace("`", "")
    if whole in kind.names:
        return kind[whole].dataType
    first, dot, rest = path.partition(".")
    return _type_at(kind[first].dataType, rest) if dot and first in kind.names else None
