"""NumPy arrays as columns and columns as NumPy arrays, without copying where the memory allows it.

How it works: an array ``[rows, n, ...]`` is a fixed-size list column over the same memory, described to C by its
address. A result is an array over the result's own memory. NumPy is never imported unless the data came from it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from vonk import _core
from vonk._errors import InvalidError

#: NumPy's kind and size -> Arrow's format; what is here is passed as it is
_FORMATS = {
    "f2": "e", "f4": "f", "f8": "g", "i1": "c", "i2": "s", "i4": "i", "i8": "l", "u1": "C", "u2": "S", "u4": "I",
    "u8": "L",
}  # fmt: skip
_TYPES = {format_: "<" + kind for kind, format_ in _FORMATS.items()}

_Node = tuple[str, int, int, tuple[int, ...], Any]


@functools.cache
def _numpy() -> ModuleType:
    import numpy  # noqa: PLC0415 - only for users who have it

    return numpy


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


# --- arrays as columns ---


def source(data: Mapping[str, Any]) -> _core.Source:
    """Columns over the memory of arrays.

    Parameters
    ----------
    data
        Column name to array; the first dimension counts rows.

    Raises
    ------
    InvalidError
        An array has no rows, another number of rows than the first, or a dtype that no column can have.
    """
    np = _numpy()
    keep: list[Any] = []
    columns = tuple((str(name), _column(np, str(name), np.asanyarray(value), keep)) for name, value in data.items())
    lengths = {name: node[1] for name, node in columns}
    for name, length in lengths.items():
        first = columns[0][0]
        if length != lengths[first]:
            raise InvalidError(
                f"column '{name}': has {length} rows where column '{first}' has {lengths[first]}: "
                "the first dimension of every array counts rows"
            )
    return _core.source_from_columns(columns, keep)


def _column(np: ModuleType, name: str, array: Any, keep: list[Any]) -> _Node:
    if array.ndim == 0:
        raise InvalidError(f"column '{name}': is a single value: the first dimension counts rows: pass array[None]")
    missing = _missing_rows(np, array)
    array = np.asarray(array)
    node = _leaf(np, name, array, keep)
    shape = array.shape
    for i in range(len(shape) - 1, 0, -1):
        node = (f"+w:{shape[i]}", math.prod(shape[:i]), 0, (0,), node)
    if missing is not None:
        validity = np.packbits(~missing, bitorder="little")
        keep.append(validity)
        node = (node[0], node[1], int(missing.sum()), (_address(validity), *node[3][1:]), node[4])
    return node


def _missing_rows(np: ModuleType, array: Any) -> Any:
    """Which rows have a masked element; None if there is no mask."""
    if type(array) is np.ndarray:  # numpy.ma is imported when it is first named
        return None
    mask = np.ma.getmask(array) if isinstance(array, np.ma.MaskedArray) else np.ma.nomask
    return None if mask is np.ma.nomask else mask.reshape(len(array), -1).any(axis=1)


def _leaf(np: ModuleType, name: str, array: Any, keep: list[Any]) -> _Node:
    kind = array.dtype.kind
    if kind == "V" and array.dtype.name == "bfloat16":  # of ml_dtypes; Arrow has none, float32 holds every value
        array = array.astype(np.float32)
        kind = "f"
    if kind in "OUST":
        return _text(np, name, array, keep)
    if kind == "b":
        bits = np.packbits(array.reshape(-1), bitorder="little")
        keep.append(bits)
        return ("b", array.size, 0, (0, _address(bits)), None)
    format_ = _FORMATS.get(f"{kind}{array.dtype.itemsize}")
    if format_ is None:
        raise InvalidError(
            f"column '{name}': is {array.dtype}, which no tensor can hold: cast it, "
            f"array.astype({'numpy.int64' if kind in 'mM' else 'numpy.float32'})"
        )
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    keep.append(array)
    return (format_, array.size, 0, (0, _address(array)), None)


def _text(np: ModuleType, name: str, array: Any, keep: list[Any]) -> _Node:
    """Strings of any of NumPy's kinds as large utf8, bytes as large binary; None is NULL."""
    values = array.reshape(-1).tolist()
    is_bytes = array.dtype.kind == "S" or any(isinstance(v, bytes) for v in values)
    encoded: list[bytes] = []
    for value in values:
        if value is None:
            encoded.append(b"")
        elif isinstance(value, bytes if is_bytes else str):
            encoded.append(value if isinstance(value, bytes) else str(value).encode())
        else:
            raise InvalidError(
                f"column '{name}': has {value!r} of type {type(value).__name__} in an array of objects: "
                "make it an array of numbers or of strings"
            )
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(e) for e in encoded], out=offsets[1:])
    text = np.frombuffer(b"".join(encoded) or b"\0", dtype=np.uint8)
    missing = np.array([v is None for v in values], dtype=bool)
    validity = np.packbits(~missing, bitorder="little") if missing.any() else None
    keep += [offsets, text, validity]
    buffers = (0 if validity is None else _address(validity), _address(offsets), _address(text))
    return ("Z" if is_bytes else "U", len(encoded), int(missing.sum()), buffers, None)


# --- columns as arrays ---


class _Memory:
    """Memory that `owner` keeps, for ``numpy.asarray``."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address: int, typestr: str, shape: tuple[int, ...], owner: object) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, False), "typestr": typestr, "shape": shape}
        self.owner = owner


def _view(np: ModuleType, address: int, typestr: str, shape: tuple[int, ...], owner: object) -> Any:
    if address == 0 or 0 in shape:
        return np.empty(shape, dtype=typestr)
    return np.asarray(_Memory(address, typestr, shape, owner))


def _bits(np: ModuleType, address: int, start: int, count: int, owner: object) -> Any:
    packed = _view(np, address, "|u1", ((start + count + 7) // 8,), owner)
    return np.unpackbits(packed, bitorder="little")[start : start + count].astype(bool)


def arrays(batches: _core.Batches) -> dict[str, Any]:
    """The columns of a result as arrays ``[rows, ...]``.

    Returns
    -------
    dict
        Column name to array. Where a row is NULL, floating-point arrays hold NaN, arrays of text hold None, and
        arrays of any other dtype are ``numpy.ma.MaskedArray``. A column of lists of different lengths is an array of
        objects, one array (or None) for each row. Structs are structured arrays: ``top["label"]`` is a field of them.
    """
    np = _numpy()
    names = [name for name, _ in batches.columns()]
    parts: list[list[Any]] = [[] for _ in names]
    for node in batches.nodes():
        for i, child in enumerate(node[6]):
            parts[i].append(_array(np, child, batches))
    return {name: _join(np, part) for name, part in zip(names, parts, strict=True)}


def _join(np: ModuleType, parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0)
    is_masked = any(isinstance(p, np.ma.MaskedArray) for p in parts)
    return np.ma.concatenate(parts) if is_masked else np.concatenate(parts)


def _array(np: ModuleType, node: Any, owner: object) -> Any:
    length, offset, nulls, buffers = node[2:6]
    values = _values(np, node, offset, length, owner)
    if nulls == 0 or not buffers or buffers[0] == 0:
        return values
    missing = ~_bits(np, buffers[0], offset, length, owner)
    if values.dtype.kind == "f":
        values[missing] = np.nan
        return values
    if values.dtype.kind == "O":
        values[missing] = None
        return values
    mask = np.broadcast_to(missing.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    return np.ma.MaskedArray(values, mask=mask)


def _values(np: ModuleType, node: Any, start: int, count: int, owner: object) -> Any:
    """Elements start to start + count of a node, [count, ...]."""
    format_, _, _, _, _, buffers, children = node
    if format_.startswith("+w:"):
        size = int(format_[3:])
        child = children[0]
        flat = _values(np, child, child[3] + start * size, count * size, owner)
        return flat.reshape(count, size, *flat.shape[1:])
    if format_ in ("+l", "+L"):
        return _lists(np, node, start, count, owner)
    if format_ == "+s":
        return _structs(np, children, start, count, owner)
    if format_ in ("u", "U", "z", "Z"):
        return _strings(np, node, start, count, owner)
    if format_ == "b":
        return _bits(np, buffers[1], start, count, owner)
    size = int(_TYPES[format_][2:])
    return _view(np, buffers[1] + start * size if buffers[1] else 0, _TYPES[format_], (count,), owner)


def _offsets(np: ModuleType, node: Any, start: int, count: int, owner: object) -> Any:
    size = 8 if node[0] in ("U", "Z", "+L") else 4
    if count == 0 or not node[5][1]:
        return np.zeros(count + 1, dtype=np.int64)
    return _view(np, node[5][1] + start * size, f"<i{size}", (count + 1,), owner)


def _lists(np: ModuleType, node: Any, start: int, count: int, owner: object) -> Any:
    offsets = _offsets(np, node, start, count, owner)
    child = node[6][0]
    first, last = int(offsets[0]), int(offsets[-1])
    flat = _values(np, child, child[3] + first, last - first, owner)
    sizes = np.diff(offsets)
    if count and (sizes == sizes[0]).all():
        return flat.reshape(count, int(sizes[0]), *flat.shape[1:])
    out = np.empty(count, dtype=object)
    for i in range(count):
        out[i] = flat[int(offsets[i]) - first : int(offsets[i + 1]) - first]
    return out


def _structs(np: ModuleType, fields: Any, start: int, count: int, owner: object) -> Any:
    """A structured array; a NULL text is None. Numbers in structs are never NULL."""
    columns = []
    for field in fields:
        values, nulls, buffers = _values(np, field, field[3] + start, count, owner), field[4], field[5]
        if nulls and buffers[0] and values.dtype.kind == "O":
            values[~_bits(np, buffers[0], field[3] + start, count, owner)] = None
        columns.append(values)
    names = [field[1] for field in fields]
    out = np.empty(count, dtype=[(name, column.dtype) for name, column in zip(names, columns, strict=True)])
    for name, column in zip(names, columns, strict=True):
        out[name] = column
    return out


def _strings(np: ModuleType, node: Any, start: int, count: int, owner: object) -> Any:
    offsets = _offsets(np, node, start, count, owner).tolist()
    first = offsets[0]
    text = _view(np, node[5][2] + first if node[5][2] else 0, "|u1", (offsets[-1] - first,), owner).tobytes()
    out = np.empty(count, dtype=object)
    for i in range(count):
        value = text[offsets[i] - first : offsets[i + 1] - first]
        out[i] = value if node[0] in ("z", "Z") else value.decode()
    return out
