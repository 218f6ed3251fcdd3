"""A model as a Python function of DuckDB, where its extension cannot be loaded.

How it works: DuckDB calls a function of the type "arrow" with one Arrow array for each argument, at most 2,048 rows at
a time, and takes an Arrow array back. The function is registered for any arguments, since Python functions cannot be
overloaded; :meth:`vonk.Model.predict` checks them against the model. What SQL converts by itself elsewhere is converted
here: integers and decimals become floats where the model wants floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from vonk._errors import Error
from vonk._model import Model
from vonk._model import open as open_model

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError(
        "vonk.duckdb.register: this connection may not load vonk's extension, and DuckDB's Arrow functions need "
        "pyarrow: pip install pyarrow, or open the database with vonk.duckdb.connect",
        name="pyarrow",
    ) from error

#: Options of vonk_load: those for opening the file, and those for predicting, by the name that Model.predict has.
_OPENING = ("device", "plugin", "threads_per_run", "signature")
_PREDICTING = {"as_": "as_", "batch": "batch", "nulls": "nulls", "on_error": "on_error", "squeeze": "squeeze"}
_OTHERS = ("output", "lists", "options")

#: dtypes of the model that pyarrow has by another name.
_ARROW_NAMES = {"bfloat16": "float32", "string": "binary", "bool": "bool_"}

_SQL_TYPES = {
    pa.bool_(): "BOOLEAN", pa.float16(): "FLOAT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.utf8(): "VARCHAR",
    pa.large_utf8(): "VARCHAR", pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER",
    pa.int64(): "BIGINT", pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
}  # fmt: skip


def create_function(con: duckdb.DuckDBPyConnection, name: str, path: str, options: dict[str, Any]) -> str:
    """Registers the function of a model.

    Parameters
    ----------
    con
        Where to.
    name
        Of the function.
    path
        The model's file.
    options
        Of ``vonk_load``.

    Returns
    -------
    str
        The signature, for people.

    Raises
    ------
    ValueError
        An option that nobody knows.
    vonk.Error
        The model cannot be opened.
    duckdb.Error
        DuckDB has a function of that name.
    """
    from duckdb.func import FunctionNullHandling, PythonUDFType  # noqa: PLC0415 - another module before DuckDB 1.4

    known = (*_OPENING, *_PREDICTING, *_OTHERS)
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(f"model '{name}': there is no option '{unknown[0]}': use one of {', '.join(known)}")
    opening = {key: options[key] for key in _OPENING if key in options} | dict(options.get("options", {}))
    function = _Function(name, open_model(path, **opening), options)
    kind = _sql_type(function.kind)
    con.create_function(
        name, function.call, None, kind, type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL
    )
    return f"{name}(ANY...) -> {kind}"


class _Function:
    """What DuckDB calls; `kind` is the Arrow type of the results."""

    def __init__(self, name: str, model: Model, options: dict[str, Any]) -> None:
        self.name = name
        self.model = model
        self.lists = bool(options.get("lists", False))
        self.reports = options.get("on_error") == "report"
        self.gives_null = options.get("nulls", "null") == "null"
        self.options = {_PREDICTING[key]: value for key, value in options.items() if key in _PREDICTING}
        self.options["half_as_float"] = True
        if "output" in options:
            self.options["outputs"] = [options["output"]]
        self.kind: Any = self._predict([_empty(tensor.dtype, len(tensor.shape or ())) for tensor in model.inputs]).type
        # DuckDB looks at the annotations: an instance with __call__ has none that it could read.
        self.call: Callable[..., Any] = lambda *columns: self._predict([_one_array(column) for column in columns])

    def _predict(self, columns: Sequence[Any]) -> Any:
        inputs = self.model.inputs
        if self.gives_null and any(pa.types.is_null(column.type) for column in columns):
            return pa.nulls(len(columns[0]), self.kind)
        is_each = len(columns) == len(inputs)
        names = [tensor.name for tensor in inputs] if is_each else [f"argument {i + 1}" for i in range(len(columns))]
        dtypes = [tensor.dtype for tensor in inputs] if is_each else [inputs[0].dtype] * len(columns)
        arrays = [
            _to_floats(column) if "float" in dtype else column for column, dtype in zip(columns, dtypes, strict=True)
        ]
        try:
            result = self.model.predict(pa.RecordBatch.from_arrays(arrays, names), **self.options)
        except Error as error:
            # its row counts in this chunk: the query has other numbers
            raise type(error)(f"model '{self.name}': {error.message}", error.code, None, error.native_code) from error
        return self._shape(result)

    def _shape(self, result: Any) -> Any:
        """One array of the columns of predictions."""
        columns = [_as_list(column) if self.lists else column for column in result.columns]
        names = list(result.schema.names)
        reasons = columns.pop() if self.reports else None
        value = columns[0]
        if len(columns) > 1:
            value = pa.StructArray.from_arrays(columns, names[: len(columns)])
        return value if reasons is None else pa.StructArray.from_arrays([value, reasons], ["value", "error"])


def _one_array(column: Any) -> Any:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _empty(dtype: str, rank: int) -> Any:
    """No rows of a column that feeds such a tensor."""
    kind = getattr(pa, _ARROW_NAMES.get(dtype, dtype))()
    return pa.array([], kind if rank < 2 else pa.list_(kind))


def _float_type(kind: Any) -> Any:
    """The type with floats in the place of integers and decimals."""
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return pa.float64() if kind.bit_width > 32 or pa.types.is_decimal(kind) else pa.float32()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_float_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_float_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _float_type(field.type)) for field in kind])
    return kind


def _to_floats(column: Any) -> Any:
    kind = _float_type(column.type)
    return column if kind == column.type else column.cast(kind, safe=False)


def _as_list(column: Any) -> Any:
    kind = column.type
    return column.cast(pa.list_(kind.value_type)) if pa.types.is_fixed_size_list(kind) else column


def _sql_type(kind: Any) -> str:
    """DuckDB's name of an Arrow type."""
    if pa.types.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ('"' + field.name.replace('"', '""') + '" ' + _sql_type(field.type) for field in kind)
        return f"STRUCT({', '.join(fields)})"
    return _SQL_TYPES[kind]
