"""The model's outputs as columns, against onnxruntime and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capi import Model, Predictor, predict
from reference import ARROW, assert_equal, batch, models, nested, rows_of, run, sample, save, values_of

RNG = np.random.default_rng(5)
X = RNG.standard_normal((600, 12)).astype(np.float32)


def reshaped(path: Path, dims: list[int]) -> Path:
    """y [n, *dims] = x [n, product]."""
    return save(
        models.model(
            [models.node("Reshape", ["x", "shape"], ["y"])],
            [models.value("x", ["n", int(np.prod(dims))])],
            [models.value("y", ["n", *dims])],
            {"shape": np.array([-1, *dims], np.int64)},
        ),
        path,
    )


def fixed_list(*dims: int) -> pa.DataType:
    type_ = pa.float32()
    for dim in reversed(dims):
        type_ = pa.list_(pa.field("item", type_), dim)
    return type_


@pytest.mark.parametrize("dims", [[12], [3, 4], [2, 3, 2], [1, 12], [12, 1], [2, 1, 3, 2]])
def test_dims_after_the_rows_are_nested_fixed_lists(tmp_path: Path, dims: list[int]) -> None:
    path = reshaped(tmp_path / "m.onnx", dims)
    result = predict(path, batch(x=rows_of(X, "list")))
    assert result.schema == pa.schema({"y": fixed_list(*dims)})
    assert_equal(values_of(result.column("y")), run(path, x=X)[0])


@pytest.mark.parametrize(
    ("dims", "left"), [([12], [12]), ([1, 12], [12]), ([12, 1], [12]), ([1, 3, 1, 4], [3, 4]), ([1, 12, 1, 1], [12])]
)
def test_squeeze_drops_dims_of_one(tmp_path: Path, dims: list[int], left: list[int]) -> None:
    path = reshaped(tmp_path / "m.onnx", dims)
    result = predict(path, batch(x=rows_of(X, "list")), squeeze=True)
    assert result.schema == pa.schema({"y": fixed_list(*left)})
    assert_equal(values_of(result.column("y")), X.reshape(-1, *left))


@pytest.mark.parametrize("dtype", ["f32", "bool", "string", "i64"])
def test_rows_by_one_is_a_list_of_one_or_squeezed_a_scalar(tmp_path: Path, dtype: str) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", 1]), tmp_path / "m.onnx")
    values = sample(dtype, (90, 1))
    rows = batch(x=pa.array(values[:, 0].tolist(), ARROW[dtype]))
    kept, squeezed = predict(path, rows).column("y"), predict(path, rows, squeeze=True).column("y")
    assert kept.type == pa.list_(pa.field("item", ARROW[dtype]), 1)
    assert_equal(values_of(kept), values)
    assert squeezed.type == ARROW[dtype]
    assert_equal(values_of(squeezed), values[:, 0])


# --- lists of free length -------------------------------------------------------------------------

LENGTHS = [3, 0, 1, 3, 7, 1, 0, 3]


@pytest.mark.parametrize("dtype", ["f32", "bool", "string", "i8"])
def test_a_free_dim_is_a_list(tmp_path: Path, dtype: str) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", "t"]), tmp_path / "m.onnx")
    rows = [sample(dtype, (n,), seed=i).tolist() for i, n in enumerate(LENGTHS)]
    column = pa.array(rows, pa.list_(ARROW[dtype]))
    result = predict(path, batch(x=column))
    assert result.schema.field("y").type == pa.list_(pa.field("item", ARROW[dtype]))
    assert repr(result.column("y").to_pylist()) == repr(rows), "a NaN is a NaN"


def test_free_and_fixed_dims_nest(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", "t", 2]), tmp_path / "m.onnx")
    rows = [[[i + 0.5, float(k)] for k in range(n)] for i, n in enumerate(LENGTHS)]
    result = predict(path, batch(x=pa.array(rows, pa.list_(pa.list_(pa.float32())))))
    assert result.schema.field("y").type == pa.list_(fixed_list(2))
    assert result.column("y").to_pylist() == rows


def test_a_free_dim_below_a_fixed_one(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", 2, "t"]), tmp_path / "m.onnx")
    rows = [[[float(i)] * n, [2.0] * n] for i, n in enumerate(LENGTHS)]
    result = predict(path, batch(x=pa.array([*rows, None], pa.list_(pa.list_(pa.float32())))))
    assert result.schema.field("y").type == pa.list_(pa.field("item", pa.list_(pa.field("item", pa.float32()))), 2)
    assert result.column("y").to_pylist() == [*rows, None]


def test_squeeze_of_ragged_rows(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", 1, "t", 1]), tmp_path / "m.onnx")
    rows = [[[[float(k)] for k in range(n)]] for n in LENGTHS]
    type_ = pa.list_(pa.list_(pa.list_(pa.float32())))
    result = predict(path, batch(x=pa.array(rows, type_)), squeeze=True)
    assert result.column("y").to_pylist() == [[float(k) for k in range(n)] for n in LENGTHS]


# --- several outputs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of four kinds from x [n, 12]: sum, double, top (bool) and words."""
    return save(
        models.model(
            [
                models.node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
                models.node("Add", ["x", "x"], ["double"]),
                models.node("Greater", ["x", "zero"], ["positive"]),
                models.node("Cast", ["ten"], ["unused"], to=models.ELEMENT_TYPES["i64"]),
                models.node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
                models.node("Gather", ["names", "best"], ["word"]),
            ],
            [models.value("x", ["n", 12])],
            [
                models.value("sum", ["n"]),
                models.value("double", ["n", 12]),
                models.value("positive", ["n", 12], models.ELEMENT_TYPES["bool"]),
                models.value("word", ["n"], models.ELEMENT_TYPES["string"]),
            ],
            {
                "axis": np.array([1], np.int64),
                "zero": np.array(0, np.float32),
                "ten": np.array(10, np.float32),
                "names": np.array([f"number {i}" for i in range(12)], dtype=object),
            },
        ),
        tmp_path_factory.mktemp("four") / "four.onnx",
    )


NAMES = ["sum", "double", "positive", "word"]


def test_several_outputs_are_columns_in_the_models_order(four: Path) -> None:
    result = predict(four, batch(x=rows_of(X, "fixed")))
    assert result.schema.names == NAMES
    for name, expected in zip(NAMES, run(four, x=X), strict=True):
        assert_equal(values_of(result.column(name)), expected, name)


@pytest.mark.parametrize(
    "wanted",
    [{"word": "w"}, {"double": "double"}, {"positive": "p", "sum": "s"}, {"word": "a", "positive": "b", "sum": "word"}],
)
def test_the_output_map_chooses_orders_and_renames(four: Path, wanted: dict[str, str]) -> None:
    rows = batch(x=rows_of(X, "fixed"))
    result = predict(four, rows, outputs=wanted)
    assert result.schema.names == list(wanted.values())
    expected = dict(zip(NAMES, run(four, x=X), strict=True))
    for output, column in wanted.items():
        assert_equal(values_of(result.column(column)), expected[output], output)


def test_a_row_without_prediction_is_null_in_every_output(four: Path) -> None:
    column = pa.array([*X[:5].tolist(), None, *X[5:9].tolist()], pa.list_(pa.float32()))
    result = predict(four, batch(x=column))
    for name, expected in zip(NAMES, run(four, x=X[:9]), strict=True):
        found = result.column(name).to_pylist()
        assert found.pop(5) is None
        assert found == expected.tolist(), name
    values = np.frombuffer(result.column("sum").buffers()[1], np.float32)
    assert values[5] == 0, "what lies under a NULL is zero, not another row's prediction"


# --- argmax ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool"]
)
def test_argmax_is_numpys_with_nan_and_ties(tmp_path: Path, dtype: str) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", 5]), tmp_path / "m.onnx")
    given = "f32" if dtype == "bf16" else dtype
    values = sample(given, (400, 5), seed=3)
    values[::3] = np.sort(values[::3], axis=1)[:, ::-1]
    values[::5, 1:] = values[::5, :1]  # ties everywhere
    if given[0] == "f":
        values[::7, 2] = np.nan
        values[1::7, 1:4] = np.nan
    result = predict(path, batch(x=rows_of(values, "list", ARROW[given])), as_="argmax")
    assert result.schema == pa.schema({"y": pa.int64()})
    seen = predict(path, batch(x=rows_of(values, "list", ARROW[given]))).column("y") if dtype == "bf16" else None
    expected = np.argmax(values if seen is None else values_of(seen), axis=1)
    assert_equal(values_of(result.column("y")), expected, dtype)


def test_argmax_of_integers_beyond_doubles(tmp_path: Path) -> None:
    for dtype, top in (("i64", 2**62), ("u64", 2**63)):
        path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", 3]), tmp_path / f"{dtype}.onnx")
        rows = pa.array([[top, top + 1, top], [top + 2, top + 1, top]], pa.list_(ARROW[dtype]))
        assert predict(path, batch(x=rows), as_="argmax").column("y").to_pylist() == [1, 0]


@pytest.mark.parametrize(("dims", "squeeze"), [([3, 4], False), ([2, 3, 2], False), ([1, 12], True), ([2, 1, 6], True)])
def test_argmax_takes_the_last_dimension(tmp_path: Path, dims: list[int], squeeze: bool) -> None:
    path = reshaped(tmp_path / "m.onnx", dims)
    result = predict(path, batch(x=rows_of(X, "list")), as_="argmax", squeeze=squeeze)
    expected = np.argmax(X.reshape(-1, *dims), axis=-1)
    kept = [dim for dim in dims[:-1] if not (squeeze and dim == 1)]
    assert_equal(values_of(result.column("y")), expected.reshape(-1, *kept))


def test_argmax_of_rows_of_different_lengths(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", "t", 3]), tmp_path / "m.onnx")
    arrays = [RNG.standard_normal((n, 3)).astype(np.float32) for n in LENGTHS]
    column = pa.array([array.tolist() for array in arrays], pa.list_(pa.list_(pa.float32())))
    result = predict(path, batch(x=column), as_="argmax")
    assert result.schema.field("y").type == pa.list_(pa.field("item", pa.int64()))
    assert result.column("y").to_pylist() == [np.argmax(array, axis=1).tolist() for array in arrays]
    free = save(models.identity(models.F32, ["n", "t"]), tmp_path / "free.onnx")
    lists = [[0.0] * k + [2.0, 1.0] for k in (0, 4, 1, 4, 2)]
    found = predict(free, batch(x=pa.array(lists, pa.list_(pa.float32()))), as_="argmax")
    assert found.column("y").to_pylist() == [0, 4, 1, 4, 2]


def test_argmax_of_one_of_several_outputs(four: Path) -> None:
    result = predict(four, batch(x=rows_of(X, "list")), outputs={"double": "best"}, as_="argmax")
    assert_equal(values_of(result.column("best")), np.argmax(X, axis=1))


# --- what the result owns -------------------------------------------------------------------------


def test_results_outlive_predictor_and_model(tmp_path: Path) -> None:
    path = reshaped(tmp_path / "m.onnx", [3, 4])
    kept: list[Any] = []
    for _ in range(3):
        rows = batch(x=rows_of(X, "list"))
        kept.append(Predictor(Model(path), rows.schema)(rows))
        del rows
    for result in kept:
        assert_equal(values_of(result.column("y")), X.reshape(-1, 3, 4))


def test_nested_input_of_zero_elements(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", 0]), tmp_path / "m.onnx")
    column = pa.array([[], None, []], pa.list_(pa.float32()))
    result = predict(path, batch(x=column))
    assert result.column("y").to_pylist() == [[], None, []]
    assert result.schema.field("y").type == pa.list_(pa.field("item", pa.float32()), 0)
    empty = nested(np.zeros((3, 0), np.float32))
    assert predict(path, batch(x=empty)).column("y").to_pylist() == [[], [], []]
