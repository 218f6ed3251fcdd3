"""The five ways columns meet inputs, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, predict
from reference import assert_equal, batch, flat_array, models, nested, rows_of, run, sample, save, values_of

RNG = np.random.default_rng(11)
A = RNG.standard_normal((300, 2)).astype(np.float32)
B = RNG.standard_normal((300, 2)).astype(np.float32)
ID = RNG.integers(-1000, 1000, 300)
#: what a - 2 * b and id + 1 are
OUTPUTS = {"total", "next"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """total = a - 2 * b, next = id + 1: swapped inputs show."""
    i64 = models.ELEMENT_TYPES["i64"]
    return save(
        models.model(
            [
                models.node("Mul", ["b", "two"], ["twice"]),
                models.node("Sub", ["a", "twice"], ["total"]),
                models.node("Add", ["id", "one"], ["next"]),
            ],
            [models.value("a", ["n", 2]), models.value("b", ["n", 2]), models.value("id", ["n"], i64)],
            [models.value("total", ["n", 2]), models.value("next", ["n"], i64)],
            {"two": np.array(2, np.float32), "one": np.array(1, np.int64)},
        ),
        tmp_path_factory.mktemp("three") / "three.onnx",
    )


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(models.mlp((4, 8, 3)), tmp_path_factory.mktemp("mlp") / "mlp.onnx")


LISTS = {"a": rows_of(A, "list"), "b": rows_of(B, "fixed"), "id": pa.array(ID)}


def struct(**fields: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))


def renamed(**names: str) -> dict[str, pa.Array]:
    return {names[name]: LISTS[name] for name in names}


#: case -> columns, the explicit map
CASES: dict[str, tuple[dict[str, pa.Array], dict[str, str] | None]] = {
    "by name": (LISTS, None),
    "by name in another order": ({name: LISTS[name] for name in ("id", "b", "a")}, None),
    "by name with columns left over": ({**LISTS, "noise": pa.array(ID), "when": pa.array(ID, pa.timestamp("s"))}, None),
    "by position when no name matches": (renamed(a="p", b="q", id="r"), None),
    "one struct, fields by name": ({"s": struct(id=LISTS["id"], b=LISTS["b"], a=LISTS["a"])}, None),
    "one struct with a field more": ({"s": struct(extra=LISTS["id"], **LISTS)}, None),
    "map of all": (renamed(a="p", b="q", id="r"), {"b": "q", "id": "r", "a": "p"}),
    "map against the names": ({"a": LISTS["b"], "b": LISTS["a"], "id": LISTS["id"]}, {"a": "b", "b": "a"}),
    "map of one, the others by name": (renamed(a="p", b="b", id="id"), {"a": "p"}),
    "map to fields": (
        {"s": struct(x=LISTS["a"], t=struct(y=LISTS["b"])), "id": LISTS["id"]},
        {"a": "s.x", "b": "s.t.y"},
    ),
    "map to a field, the rest by name": ({"s": struct(x=LISTS["a"]), "b": LISTS["b"], "id": LISTS["id"]}, {"a": "s.x"}),
    "map packs scalars": (
        {"a1": pa.array(A[:, 1]), "a0": pa.array(A[:, 0]), "b": LISTS["b"], "id": LISTS["id"]},
        {"a": "a0,a1"},
    ),
    "map packs fields, with blanks": (
        {"s": struct(u=pa.array(A[:, 0]), v=pa.array(A[:, 1])), "b": LISTS["b"], "id": LISTS["id"]},
        {"a": "s.u, s.v"},
    ),
    "names with commas and dots are whole": (
        {"a,0": LISTS["a"], "b.1": LISTS["b"], "id": LISTS["id"]},
        {"a": "a,0", "b": "b.1"},
    ),
    "a field whose struct's name has a dot": (
        {"s.t": struct(x=LISTS["a"]), "b": LISTS["b"], "id": LISTS["id"]},
        {"a": "s.t.x"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_meet_inputs(three: Path, case: str) -> None:
    columns, inputs = CASES[case]
    result = predict(three, batch(**columns), inputs=inputs)
    total, following = run(three, a=A, b=B, id=ID)
    assert set(result.schema.names) == OUTPUTS
    assert_equal(values_of(result.column("total")), total, case)
    assert_equal(values_of(result.column("next")), following, case)


def test_the_predictor_tells_which_columns_it_reads(three: Path) -> None:
    rows = batch(noise=pa.array(ID), **LISTS)
    assert Predictor(Model(three), rows.schema).columns() == [1, 2, 3]


X = RNG.standard_normal((500, 4)).astype(np.float32)


def test_n_scalar_columns_are_packed_in_column_order(mlp: Path) -> None:
    expected = run(mlp, x=X)[0]
    columns = {f"c{j}": pa.array(X[:, j]) for j in range(4)}
    assert_equal(values_of(predict(mlp, batch(**columns)).column("y")), expected)
    assert_equal(values_of(predict(mlp, batch(s=struct(**columns))).column("y")), expected, "fields of one struct")


def test_packed_scalars_of_several_dtypes_are_converted(mlp: Path) -> None:
    ints, bools = RNG.integers(-99, 99, 500).astype(np.int16), RNG.integers(0, 2, 500).astype(np.bool_)
    doubles = RNG.standard_normal(500)
    words = pa.DictionaryArray.from_arrays(pa.array(RNG.integers(0, 2, 500)), pa.array([2.5, -1.0], pa.float32()))
    expected = np.stack([ints, bools, doubles, words.to_numpy(zero_copy_only=False)], axis=1).astype(np.float32)
    rows = batch(i=pa.array(ints), b=pa.array(bools), d=pa.array(doubles), w=words)
    predictor = Predictor(Model(mlp), rows.schema)
    assert_equal(values_of(predictor(rows).column("y")), run(mlp, x=expected)[0])
    assert predictor.stats().bytes_copied == expected.nbytes


@pytest.mark.parametrize("dtype", ["i8", "i16", "f64", "string", "bool"])
def test_scalars_of_any_size_are_packed(tmp_path: Path, dtype: str) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[dtype]), tmp_path / "three.onnx")
    values = sample(dtype, (80, 3))
    result = predict(path, batch(**{name: flat_array(values[:, j]) for j, name in enumerate("pqr")}))
    assert_equal(values_of(result.column("y")), values)


def test_scalars_fill_a_free_dimension(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", "width"]), tmp_path / "free.onnx")
    result = predict(path, batch(p=pa.array(X[:, 0]), q=pa.array(X[:, 1]), r=pa.array(X[:, 2])))
    assert_equal(values_of(pa.array(result.column("y").to_pylist(), pa.list_(pa.float32(), 3))), X[:, :3])


@pytest.mark.parametrize("shape", [["n"], ["n", 1], ["n", 1, 1], ["n", None]])
def test_one_scalar_column_fills_an_input_of_one_element(tmp_path: Path, shape: list[Any]) -> None:
    path = save(models.identity(models.F32, shape), tmp_path / "one.onnx")
    result = predict(path, batch(anything=pa.array(X[:, 0])))
    leaves = result.column("y")
    for _ in shape[1:]:
        leaves = leaves.flatten()
    assert_equal(np.asarray(leaves), X[:, 0])


@pytest.mark.parametrize("layout", ["list", "fixed"])
def test_a_flat_list_fills_the_shape_in_row_major_order(tmp_path: Path, layout: str) -> None:
    path = save(models.identity(models.F32, ["n", 2, 3, 4]), tmp_path / "deep.onnx")
    values = RNG.standard_normal((50, 24)).astype(np.float32)
    result = predict(path, batch(image=rows_of(values, layout)))
    assert_equal(values_of(result.column("y")), values.reshape(50, 2, 3, 4))


@pytest.mark.parametrize("fixed", [False, True])
def test_nested_lists_give_the_dims(tmp_path: Path, fixed: bool) -> None:
    path = save(
        models.model(
            [models.node("Transpose", ["x"], ["y"], perm=[0, 2, 1])],
            [models.value("x", ["n", 2, 3])],
            [models.value("y", ["n", 3, 2])],
        ),
        tmp_path / "transpose.onnx",
    )
    values = RNG.standard_normal((70, 2, 3)).astype(np.float32)
    result = predict(path, batch(image=nested(values, fixed=fixed)))
    assert_equal(values_of(result.column("y")), run(path, x=values)[0])


def test_a_fixed_list_says_what_the_model_leaves_free(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", "t", 2]), tmp_path / "free.onnx")
    rows = batch(x=rows_of(RNG.standard_normal((40, 6)).astype(np.float32), "fixed"))
    predictor = Predictor(Model(path), rows.schema)
    assert predictor(rows).column("y").flatten().flatten() == rows.column("x").flatten()
    assert predictor.stats().micro_batches == 1


def test_an_unreadable_column_matters_only_if_it_is_asked_for(mlp: Path) -> None:
    when = pa.array(np.arange(500), pa.timestamp("us"))
    rows = batch(when=when, x=rows_of(X, "list"))
    assert_equal(values_of(predict(mlp, rows).column("y")), run(mlp, x=X)[0])
    with pytest.raises(VonkError, match="column 'when'"):
        predict(mlp, rows, inputs={"x": "when"})


def test_a_struct_that_is_null_makes_its_fields_null(mlp: Path) -> None:
    fields = struct(x=rows_of(X[:4], "list"))
    rows = batch(
        s=pa.StructArray.from_arrays([fields.field(0)], names=["x"], mask=pa.array([False, True, False, True]))
    )
    expected = run(mlp, x=X[:4])[0]
    result = predict(mlp, rows).column("y").to_pylist()
    assert result == [expected[0].tolist(), None, expected[2].tolist(), None]


def test_a_struct_array_with_nulls_of_its_own_is_a_batch(mlp: Path) -> None:
    """The batch itself may have NULL rows: other engines hand structs over as batches."""
    rows = pa.StructArray.from_arrays([rows_of(X[:3], "list")], names=["x"], mask=pa.array([False, True, False]))
    predictor = Predictor(Model(mlp), pa.schema({"x": rows.type.field(0).type}))
    result = predictor.predict_struct(rows)
    assert [value is None for value in result.column("y").to_pylist()] == [False, True, False]
    assert predictor.stats().null_rows == 1
