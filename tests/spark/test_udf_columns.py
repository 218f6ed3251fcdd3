"""How a worker turns arguments into rows: ML vectors, structs, packed columns. No Spark session is needed."""

import numpy
import pyarrow
import pytest
import vonk
from pyspark.ml.linalg import Vectors, VectorUDT
from vonk.spark import _columns
from vonk.spark._columns import Arrangement, densify
from vonk.spark._spec import Binding, make_binding

UDT = VectorUDT()
KIND = pyarrow.struct(
    [
        ("type", pyarrow.int8()), ("size", pyarrow.int32()), ("indices", pyarrow.list_(pyarrow.int32())),
        ("values", pyarrow.list_(pyarrow.float64())),
    ]
)  # fmt: skip


def vectors(given):
    """As Spark sends them."""
    names = [field.name for field in KIND]
    rows = [None if one is None else dict(zip(names, UDT.serialize(one), strict=True)) for one in given]
    return pyarrow.array(rows, KIND)


def some(n, width=20, seed=1):
    """Dense, sparse and missing vectors, some of them empty, and their values."""
    rng = numpy.random.default_rng(seed)
    found = []
    for i in range(n):
        values = rng.integers(-5, 5, width + i % 3) * (rng.random(width + i % 3) < 0.2) * 1.0
        places = numpy.flatnonzero(values)
        found.append(
            [
                Vectors.dense(values),
                Vectors.sparse(len(values), places, values[places]),
                None,
                Vectors.sparse(4, [], []),
            ][i % 4]
        )
    return found, [None if one is None else one.toArray().tolist() for one in found]


def test_vectors_become_the_lists_that_spark_itself_makes_of_them():
    given, expected = some(200)
    assert densify(vectors(given)).to_pylist() == expected
    for first, n in ((0, 0), (3, 50), (199, 1)):
        assert densify(vectors(given).slice(first, n)).to_pylist() == expected[first : first + n], (first, n)


def test_dense_vectors_are_taken_where_they_lie():
    column = vectors([Vectors.dense([1.0, 2.0]), Vectors.dense([3.0, 4.0])])
    found = densify(column)
    assert found.to_pylist() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.values.buffers()[1].address == column.field("values").values.buffers()[1].address


def test_vectors_in_a_struct():
    given, expected = some(12)
    rows = pyarrow.StructArray.from_arrays(
        [vectors(given), pyarrow.array(range(12))], ["v", "n"], mask=pyarrow.array([i == 5 for i in range(12)])
    )
    found = densify(rows).to_pylist()
    assert found == [None if i == 5 else {"v": expected[i], "n": i} for i in range(12)]


@pytest.mark.parametrize("place", [-1, 4, 2**31 - 1])
def test_an_index_beyond_the_vector_is_refused(place):
    rows = [{"type": 0, "size": 4, "indices": [1, place], "values": [1.0, 2.0]}]
    with pytest.raises(vonk.InvalidError, match="a sparse vector has an index that is not below its size"):
        densify(pyarrow.array(rows, KIND))


def test_indices_and_values_of_different_length_are_refused():
    rows = [{"type": 0, "size": 4, "indices": [1], "values": [1.0, 2.0]}]
    with pytest.raises(vonk.InvalidError, match="a sparse vector has an index"):
        densify(pyarrow.array(rows, KIND))


def test_sparse_vectors_are_spread_out_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(_columns, "_SPREAD", 100)
    given, expected = some(200)
    column = vectors(given)
    arrangement = Arrangement([column.type], Binding(columns=("v",)))
    parts = list(arrangement.rows([column]))
    assert len(parts) > 10
    assert max(len(part.column(0).flatten()) for part in parts) < 400
    assert [row for part in parts for row in part.column(0).to_pylist()] == expected
    assert all(part.schema.equals(arrangement.schema) for part in parts)


def test_a_null_among_packed_values_makes_the_row_null():
    packed = pyarrow.array([[1.0, 2.0], [None, 3.0], [4.0, 5.0], [6.0, None]], pyarrow.list_(pyarrow.float32()))
    arrangement = Arrangement([packed.type], Binding(columns=("x",), packed=("x",)))
    (rows,) = arrangement.rows([packed])
    assert rows.column(0).to_pylist() == [[1.0, 2.0], None, [4.0, 5.0], None]
    (rows,) = arrangement.rows([packed.slice(1, 2)])
    assert rows.column(0).to_pylist() == [None, [4.0, 5.0]]
    (rows,) = arrangement.rows([packed.slice(2, 1)])
    assert rows.column(0).to_pylist() == [[4.0, 5.0]]


STRUCT = pyarrow.array([{"a": 1, "b": 2, "c": 3}, None, {"a": 4, "b": 5, "c": None}])


@pytest.mark.parametrize(
    ("inputs", "columns", "wanted"),
    [
        (["c", "a"], (), ["c", "a"]),
        ({"x": ["a", "b"]}, ("s",), ["a", "b", "c"]),
        ({"x": ["s.a", "s.b"]}, ("s",), ["s"]),
        ({"x": "s"}, ("s",), ["s"]),
        (None, ("s",), ["s"]),
    ],
)
def test_fields_of_the_only_struct_are_the_columns_where_inputs_name_them(inputs, columns, wanted):
    binding = make_binding(inputs, None)
    binding = binding if binding.columns else Binding(**{**vars(binding), "columns": columns})
    arrangement = Arrangement([STRUCT.type], binding)
    (rows,) = arrangement.rows([STRUCT])
    assert arrangement.schema.names == wanted
    whole = [{"s": row} for row in STRUCT.to_pylist()]
    chosen = [row and {name: row[name] for name in wanted} for row in STRUCT.to_pylist()] if wanted != ["s"] else whole
    assert rows.to_pylist() == chosen


def test_what_inputs_name_must_be_there():
    with pytest.raises(
        vonk.InvalidError, match=r"struct: has no field 'd', which inputs= names: its fields are a, b, c"
    ):
        Arrangement([STRUCT.type], make_binding(["a", "d"], None))
    with pytest.raises(vonk.InvalidError, match=r"3 were given where inputs= names 2 \(a, b\)"):
        Arrangement([pyarrow.int32()] * 3, make_binding(["a", "b"], None))
