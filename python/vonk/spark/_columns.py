"""The arguments of a model's function as rows that the C library takes, and its predictions as one column.

How it works: on a worker, an :class:`Arrangement` is made for the types of the arguments, once per task. Most arguments
go to the library as they are. Two kinds are not what they stand for: an ML Vector is a struct of its sparse or dense
form and becomes a list of numbers, and an array that the driver has packed from several columns is NULL where one of
those was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
import pyarrow
import pyarrow.compute

import vonk
from vonk.spark._spec import Binding

#: What Spark ML's VectorUDT is in Arrow: type 0 is sparse, 1 is dense.
_VECTOR = (
    ("type", pyarrow.int8()),
    ("size", pyarrow.int32()),
    ("indices", pyarrow.int32()),
    ("values", pyarrow.float64()),
)
#: Elements of vectors that are spread out at a time: sparse ones may stand for many times their size.
_SPREAD = 8 << 20


class Arrangement:
    """How arguments of certain types become rows.

    Parameters
    ----------
    kinds
        The arguments' Arrow types.
    binding
        Their names, and how columns meet the model.

    Attributes
    ----------
    schema
        Of the rows.

    Raises
    ------
    vonk.InvalidError
        There are more or fewer arguments than names.
    """

    def __init__(self, kinds: Sequence[Any], binding: Binding) -> None:
        names = list(binding.columns or (f"argument {i + 1}" for i in range(len(kinds))))
        self._fields: list[int] | None = None  # of the only argument, a struct: they are the columns
        if len(kinds) == 1 and pyarrow.types.is_struct(kinds[0]) and not is_vector(kinds[0]):
            self._fields = _fields_of(kinds[0], names, binding)
        elif len(kinds) == 1 and binding.by_position:
            names = names if len(names) == 1 else ["argument 1"]  # the names are those of what is in it
        if len(names) != len(kinds) and self._fields is None:
            raise vonk.InvalidError(
                f"arguments: {len(kinds)} were given where inputs= names {len(names)} ({', '.join(names)}): give one"
                " for each name"
            )
        self._is_packed = [name in binding.packed for name in names]
        plain = [dense_type(kind) for kind in kinds]
        self._has_vectors = plain != list(kinds)
        if self._fields is not None:
            fields = [plain[0].field(place) for place in self._fields]
            if binding.by_position:
                fields = [field.with_name(name) for field, name in zip(fields, names, strict=True)]
            self._is_whole = fields == list(plain[0])
        else:
            fields = [pyarrow.field(name, kind) for name, kind in zip(names, plain, strict=True)]
        self.schema = pyarrow.schema(fields)

    def rows(self, columns: Sequence[Any]) -> Iterator[Any]:
        """The arguments as a batch; as several, where vectors would take up much more memory than they do now.

        Raises
        ------
        vonk.InvalidError
            A sparse vector has an element beyond its size.
        """
        if not self._has_vectors:
            yield self._batch(columns)
            return
        n_rows = len(columns[0])
        elements = sum(_vector_elements(column) for column in columns)
        n_parts = max(1, min(n_rows, -(-elements // _SPREAD)))
        cuts = [n_rows * i // n_parts for i in range(n_parts + 1)]
        for first, last in itertools.pairwise(cuts):
            yield self._batch([densify(column.slice(first, last - first)) for column in columns])

    def _batch(self, columns: Sequence[Any]) -> Any:
        if self._fields is not None:
            struct = columns[0]
            return struct if self._is_whole else _pick(struct, self._fields, self.schema)  # with its own NULL rows
        arrays = [
            _null_rows(column) if is_packed else column
            for column, is_packed in zip(columns, self._is_packed, strict=True)
        ]
        return pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)


def _fields_of(kind: Any, names: Sequence[str], binding: Binding) -> list[int] | None:
    """Places of the fields that take the place of the only argument; None: it is a column like any other."""
    fields = [field.name for field in kind]
    if binding.by_position:
        if len(fields) == len(names):
            return list(range(len(fields)))
        if len(names) > 1:
            raise vonk.InvalidError(
                f"struct: has {len(fields)} fields ({', '.join(fields)}), the names given are {len(names)}"
                f" ({', '.join(names)}): give one for each"
            )
    if len(names) > 1:
        missing = [name for name in names if name not in fields]
        if missing:
            raise vonk.InvalidError(
                f"struct: has no field '{missing[0]}', which inputs= names: its fields are {', '.join(fields)}"
            )
        return [fields.index(name) for name in names]
    if binding.inputs is None:
        return None  # the library looks into a struct by itself
    given = [column for _, columns in binding.inputs for column in columns]
    is_column = any(column == names[0] or column.startswith(f"{names[0]}.") for column in given)
    return None if is_column else list(range(len(fields)))


def _pick(struct: Any, places: Sequence[int], schema: Any) -> Any:
    """A struct of some fields, called as in a schema, whose rows are NULL where the struct's are."""
    chosen = [struct.field(place) for place in places]
    mask = struct.is_null() if struct.null_count else None
    return pyarrow.StructArray.from_arrays(chosen, fields=list(schema), mask=mask)


def _null_rows(packed: Any) -> Any:
    """A list is NULL where one of its elements is: each was a column, and a row with a NULL is a NULL."""
    if packed.values.null_count == 0 or len(packed) == 0:
        return packed
    values = packed.flatten()
    width = len(values) // len(packed)
    mask = values.is_null().to_numpy(zero_copy_only=False).reshape(len(packed), width).any(axis=1)
    offsets = pyarrow.array(numpy.arange(len(packed) + 1, dtype="i4") * width)
    return pyarrow.ListArray.from_arrays(offsets, values, type=packed.type, mask=pyarrow.array(mask))


# --- ML vectors ---


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is that of Spark ML's vectors."""
    if not pyarrow.types.is_struct(kind) or [field.name for field in kind] != [name for name, _ in _VECTOR]:
        return False
    found = [field.type.value_type if pyarrow.types.is_list(field.type) else field.type for field in kind]
    return found == [wanted for _, wanted in _VECTOR]


def dense_type(kind: Any) -> Any:
    """The type with lists of double in place of vectors, also in structs."""
    if is_vector(kind):
        return kind.field("values").type
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([field.with_type(dense_type(field.type)) for field in kind])
    return kind


def densify(column: Any) -> Any:
    """The column with a list of all its elements in place of each vector.

    Dense vectors keep their memory. Of sparse ones, elements that are not stored are 0.

    Raises
    ------
    vonk.InvalidError
        A sparse vector has an element beyond its size.
    """
    if is_vector(column.type):
        kinds, sizes, indices, values = column.flatten()  # with the NULL rows of the struct
        are_dense = pyarrow.compute.all(pyarrow.compute.equal(kinds, 1), min_count=0).as_py()
        return values if are_dense else _scatter(kinds, sizes, indices, values)
    wanted = dense_type(column.type)
    if wanted == column.type:
        return column
    fields = [densify(column.field(i)) for i in range(column.type.num_fields)]
    mask = column.is_null() if column.null_count else None
    return pyarrow.StructArray.from_arrays(fields, fields=list(wanted), mask=mask)


def _scatter(kinds: Any, sizes: Any, indices: Any, values: Any) -> Any:
    stored = _lengths(values)
    is_sparse = kinds.fill_null(1).to_numpy() == 0
    lengths = numpy.where(is_sparse, sizes.fill_null(0).to_numpy(), stored)
    starts = numpy.concatenate([[0], numpy.cumsum(lengths, dtype="i8")])
    row = numpy.repeat(numpy.arange(len(stored)), stored)
    place = numpy.arange(len(row)) - numpy.repeat(numpy.cumsum(stored) - stored, stored)
    of_sparse = is_sparse[row]
    listed = indices.filter(pyarrow.array(is_sparse)).flatten().to_numpy()
    if len(listed) == numpy.count_nonzero(of_sparse):
        place[of_sparse] = listed
    else:
        place[of_sparse] = -1
    if ((place < 0) | (place >= lengths[row])).any():
        raise vonk.InvalidError("vector: a sparse vector has an index that is not below its size: make it anew")
    out = numpy.zeros(starts[-1], "f8")
    out[starts[row] + place] = values.flatten().to_numpy()
    mask = kinds.is_null() if kinds.null_count else None
    return pyarrow.ListArray.from_arrays(pyarrow.array(starts.astype("i4")), out, type=values.type, mask=mask)


def _lengths(lists: Any) -> Any:
    return pyarrow.compute.list_value_length(lists).fill_null(0).to_numpy()


def _vector_elements(column: Any) -> int:
    """Elements of all vectors of a column when they are spread out."""
    if is_vector(column.type):
        return int(pyarrow.compute.sum(column.field("size"), min_count=0).as_py())
    if pyarrow.types.is_struct(column.type):
        return sum(_vector_elements(column.field(i)) for i in range(column.type.num_fields))
    return 0


# --- predictions ---


def one_column(predictions: Any, binding: Binding, path: str = "", title: str = "") -> Any:
    """One output as it is; several as a struct, NULL where the row has no prediction; the reports beside them.

    Reports that begin with the path of this worker's copy of the model name its title instead: they are data, and the
    same wherever a row was predicted.
    """
    columns, fields = list(predictions.columns), list(predictions.schema)
    reasons = columns.pop() if binding.on_error == "report" else None
    value = columns[0]
    if len(columns) > 1:
        mask = value.is_null() if value.null_count else None
        value = pyarrow.StructArray.from_arrays(columns, fields=fields[: len(columns)], mask=mask)
    if reasons is None:
        return value
    if path and reasons.null_count < len(reasons):
        reasons = pyarrow.compute.replace_substring(reasons, path, title)
    return pyarrow.StructArray.from_arrays(
        [value, reasons], fields=[pyarrow.field("value", value.type), pyarrow.field("error", reasons.type)]
    )
