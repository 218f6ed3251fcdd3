"""Whatever rows come in, and giving predictions back in the same kind.

How it works: the library that an object comes from is read off its class; nothing is imported to find out, and none of
the libraries is a dependency. Everything else speaks the Arrow PyCapsule protocol.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any

from vonk import _core, _numpy
from vonk._errors import InvalidError
from vonk._summary import Tensor
from vonk._table import Table

#: predictions -> what the caller gets
Restore = Callable[[_core.Batches], Any]

_ACCEPTED = (
    "pass a table of pyarrow, polars, pandas or DuckDB, any other object with __arrow_c_stream__, "
    "a NumPy array, or a dict of NumPy arrays"
)


#: Package to library
_LIBRARIES = {name: name for name in ("pyarrow", "polars", "pandas", "numpy", "duckdb")} | {"_duckdb": "duckdb"}
#: Rows in a batch of a DuckDB query that is read lazily; DuckDB's own choice is a million.
_DUCKDB_ROWS = 8192

#: What _library found, by class
_known: dict[type, str] = {}


def _library(kind: type) -> str:
    """The library that a class, or the class it is derived from, belongs to; "" if it is none we know."""
    if kind in _known:
        return _known[kind]
    roots = [base.__module__.partition(".")[0] for base in kind.__mro__]
    libraries = [_LIBRARIES[root] for root in roots if root in _LIBRARIES]
    found = libraries[0] if libraries else "mapping" if issubclass(kind, Mapping) else ""
    if len(_known) < 256:
        _known[kind] = found
    return found


def open_source(data: Any, inputs: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    """A source of rows, and how to give predictions back.

    Parameters
    ----------
    data
        The caller's rows.
    inputs
        The model's: an array alone goes to the only one.

    Raises
    ------
    TypeError
        The object is none that rows can be read from.
    """
    return _READERS[_library(type(data))](data, inputs)


def open_stream(data: Any, inputs: tuple[Tensor, ...]) -> _core.Source:
    """A source of rows that is read a batch at a time: as :func:`open_source`, and a DuckDB query is not run first."""
    if _library(type(data)) == "duckdb":
        lazy = getattr(data, "to_arrow_reader", None) or getattr(data, "fetch_arrow_reader", None)
        if lazy is not None and importlib.util.find_spec("pyarrow") is not None:
            return _core.source_from_stream(lazy(_DUCKDB_ROWS).__arrow_c_stream__())
    return open_source(data, inputs)[0]


def columns_of(data: Any) -> _core.Source:
    """The columns of rows that are to come: a source without rows.

    Raises
    ------
    TypeError
        The object has no Arrow schema.
    """
    if not hasattr(data, "__arrow_c_schema__"):
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise TypeError(
            f"columns: a {kind} has no Arrow schema: pass a pyarrow.Schema, or any object with __arrow_c_schema__"
        )
    return _core.source_from_schema(data.__arrow_c_schema__())


def batch_of(rows: Any) -> _core.Source:
    """One batch of rows.

    Raises
    ------
    TypeError
        The object is not one batch in Arrow memory.
    """
    if not hasattr(rows, "__arrow_c_array__"):
        kind = f"{type(rows).__module__}.{type(rows).__qualname__}"
        raise TypeError(
            f"rows: a {kind} is not one batch in Arrow memory: pass a pyarrow.RecordBatch, or any object with "
            "__arrow_c_array__"
        )
    return _core.source_from_array(*rows.__arrow_c_array__())


def _from_protocol(data: Any, restore: Restore) -> tuple[_core.Source, Restore]:
    if hasattr(data, "__arrow_c_stream__"):
        return _core.source_from_stream(data.__arrow_c_stream__()), restore
    if hasattr(data, "__arrow_c_array__"):
        return _core.source_from_array(*data.__arrow_c_array__()), restore
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    if hasattr(data, "collect"):
        raise TypeError(f"data: a {kind} is a query, not rows: call .collect() first")
    raise TypeError(f"data: cannot read rows from a {kind}: {_ACCEPTED}")


def _from_other(data: Any, _: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    return _from_protocol(data, Table)


# --- pyarrow ---


def _to_pyarrow_table(batches: _core.Batches) -> Any:
    return sys.modules["pyarrow"].table(Table(batches))


def _to_pyarrow_batch(batches: _core.Batches) -> Any:
    return sys.modules["pyarrow"].record_batch(Table(batches))


def _from_pyarrow(data: Any, _: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    if hasattr(data, "__arrow_c_array__"):  # RecordBatch, StructArray: one batch in, one out
        return _core.source_from_array(*data.__arrow_c_array__()), _to_pyarrow_batch
    return _from_protocol(data, _to_pyarrow_table)


# --- polars ---


def _to_polars(batches: _core.Batches) -> Any:
    return sys.modules["polars"].DataFrame(Table(batches))


def _from_polars(data: Any, _: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    return _from_protocol(data, _to_polars)


# --- pandas ---


def _to_pandas(batches: _core.Batches, index: Any) -> Any:
    pandas, table = sys.modules["pandas"], _to_pyarrow_table(batches)
    # A NULL would turn integers into floats: pandas' own nullable types keep them.
    nullable = {
        "int8": pandas.Int8Dtype, "int16": pandas.Int16Dtype, "int32": pandas.Int32Dtype, "int64": pandas.Int64Dtype,
        "uint8": pandas.UInt8Dtype, "uint16": pandas.UInt16Dtype, "uint32": pandas.UInt32Dtype,
        "uint64": pandas.UInt64Dtype, "bool": pandas.BooleanDtype,
    }  # fmt: skip
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = nullable.get(str(column.type)) if column.null_count else None
        columns[name] = column.to_pandas(types_mapper=None if kind is None else (lambda _, kind=kind: kind()))
    frame = pandas.DataFrame(columns)
    frame.index = index
    return frame


def _from_pandas(data: Any, _: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    try:
        import pyarrow  # noqa: PLC0415 - pandas reaches Arrow through it
    except ImportError:
        raise TypeError(
            "data: a pandas object is read through pyarrow, which is missing: pip install pyarrow"
        ) from None
    frame = data.to_frame() if not hasattr(data, "columns") else data
    # The index is no column: it is put back on the result instead.
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    source = _core.source_from_stream(table.__arrow_c_stream__())
    return source, functools.partial(_to_pandas, index=frame.index)


# --- NumPy ---


def _to_array(batches: _core.Batches) -> Any:
    columns = _numpy.arrays(batches)
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _from_numpy(data: Any, inputs: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    if len(inputs) != 1:
        names = ", ".join(f"'{tensor.name}': ..." for tensor in inputs)
        raise InvalidError(f"data: is one array where the model has {len(inputs)} inputs: pass a dict, {{{names}}}")
    if data.dtype.names:  # a structured array is columns
        return _numpy.source({name: data[name] for name in data.dtype.names}), _numpy.arrays
    return _numpy.source({inputs[0].name: data}), _to_array


def _from_mapping(data: Mapping[str, Any], _: tuple[Tensor, ...]) -> tuple[_core.Source, Restore]:
    if hasattr(data, "__arrow_c_stream__"):
        return _from_protocol(data, Table)
    return _numpy.source(data), _numpy.arrays


_READERS: dict[str, Callable[[Any, tuple[Tensor, ...]], tuple[_core.Source, Restore]]] = {
    "pyarrow": _from_pyarrow,
    "polars": _from_polars,
    "pandas": _from_pandas,
    "numpy": _from_numpy,
    "mapping": _from_mapping,
    "duckdb": _from_other,
    "": _from_other,
}
