"""Outputs as classes, without and with a bundle's labels: the N largest and the label of the largest, against Python's
own sorting."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, predict, set_threads
from reference import ARROW, Array, batch, models, rows_of, sample, save, values_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from bundle_files import onnx_bundle  # tests/bundle/bundle_files.py

RNG = np.random.default_rng(6)
DTYPES = ["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool"]
SCORES = {"f16": pa.float32(), "bf16": pa.float32()}
LENGTHS = [3, 0, 1, 3, 7, 1, 0, 3]


def entry_type(score: pa.DataType) -> pa.DataType:
    fields = [pa.field("index", pa.int64()), pa.field("label", pa.string()), pa.field("score", score)]
    return pa.list_(pa.field("item", pa.struct(fields)))


def largest(row: Any, n: int, labels: list[str] | None = None) -> list[dict[str, Any]]:
    """The n largest of a list of numbers: a NaN before any number, of equal ones the first."""
    values = list(row)
    order = sorted(range(len(values)), key=lambda i: (values[i] == values[i], -values[i], i))
    return [{"index": i, "label": None if labels is None else labels[i], "score": values[i]} for i in order[:n]]


def same(found: Any, expected: Any) -> None:
    """Lists of entries; a NaN is a NaN."""
    assert repr(found) == repr(expected)


def difficult(dtype: str, shape: tuple[int, ...]) -> Array:
    """Ties, both zeros, NaN, infinities, extremes."""
    values = sample("f32" if dtype == "bf16" else dtype, shape, seed=3)
    values[::3] = np.sort(values[::3], axis=1)[:, ::-1]
    values[::5, 1:] = values[::5, :1]
    if values.dtype.kind == "f":
        values[::7, 2] = np.nan
        values[1::7, 1:4] = np.nan
        values[2::7, ::2] = 0.0
        values[2::7, 1::2] = -0.0
    return values


# --- the N largest --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_top_n_is_sorted_with_nan_first_and_ties_by_index(tmp_path: Path, dtype: str, n: int) -> None:
    path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", 7]), tmp_path / "m.onnx")
    values = difficult(dtype, (211, 7))
    given = "f32" if dtype == "bf16" else dtype
    rows = batch(x=rows_of(values, "list", ARROW[given]))
    result = predict(path, rows, as_=f"top{n}")
    assert result.schema == pa.schema({"y": entry_type(SCORES.get(dtype, ARROW[given]))})
    plain = predict(path, rows, half_as_float=True).column("y").to_pylist()
    found = result.column("y").to_pylist()
    for row, entries in zip(plain, found, strict=True):
        same(entries, largest(row, n))
    best = predict(path, rows, as_="argmax").column("y").to_pylist()
    assert [entries[0]["index"] for entries in found] == best, "the first is argmax's"


@pytest.mark.parametrize("n", [3, 10, 999])
def test_top_n_of_a_thousand_classes_in_any_order(tmp_path: Path, n: int) -> None:
    path = save(models.identity(models.F32, ["n", 1000]), tmp_path / "m.onnx")
    values = RNG.integers(-40, 40, (40, 1000)).astype(np.float32)
    values[0] = np.arange(1000)
    values[1] = np.arange(1000)[::-1]
    values[2] = 7.0
    result = predict(path, batch(x=rows_of(values, "fixed")), as_=f"top{n}").column("y").to_pylist()
    for row, entries in zip(values.tolist(), result, strict=True):
        same(entries, largest(row, n))


def test_top_n_of_integers_beyond_doubles(tmp_path: Path) -> None:
    for dtype, top in (("i64", 2**62), ("u64", 2**63)):
        path = save(models.identity(models.ELEMENT_TYPES[dtype], ["n", 3]), tmp_path / f"{dtype}.onnx")
        rows = [[top, top + 1, top], [top + 2, top + 1, top]]
        found = predict(path, batch(x=pa.array(rows, pa.list_(ARROW[dtype]))), as_="top2").column("y").to_pylist()
        same(found, [largest(row, 2) for row in rows])


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("dims", [[3, 4], [2, 3, 2], [1, 12], [2, 6, 1]])
def test_top_n_takes_the_last_dimension_and_squeeze_the_others(tmp_path: Path, dims: list[int], squeeze: bool) -> None:
    values = RNG.standard_normal((90, 12)).astype(np.float32)
    path = save(
        models.model(
            [models.node("Reshape", ["x", "shape"], ["y"])],
            [models.value("x", ["n", 12])],
            [models.value("y", ["n", *dims])],
            {"shape": np.array([-1, *dims], np.int64)},
        ),
        tmp_path / "m.onnx",
    )
    found = predict(path, batch(x=rows_of(values, "list")), as_="top2", squeeze=squeeze).column("y").to_pylist()
    kept = [dim for dim in dims[:-1] if not (squeeze and dim == 1)]
    groups = [largest(group, 2) for group in values.reshape(-1, dims[-1]).tolist()]
    expected: Any = groups
    for dim in reversed(kept):
        expected = [expected[i : i + dim] for i in range(0, len(expected), dim)]
    same(found, expected)


def test_top_n_of_rows_of_different_lengths(tmp_path: Path) -> None:
    free = save(models.identity(models.F32, ["n", "t"]), tmp_path / "free.onnx")
    rows = [RNG.integers(0, 4, n).astype(np.float32).tolist() for n in LENGTHS]
    column = pa.array([*rows, None], pa.list_(pa.float32()))
    found = predict(free, batch(x=column), as_="top2").column("y")
    assert found.type == entry_type(pa.float32())
    same(found.to_pylist(), [*[largest(row, 2) for row in rows], None])
    outer = save(models.identity(models.F32, ["n", "t", 3]), tmp_path / "outer.onnx")
    nested = [RNG.standard_normal((n, 3)).astype(np.float32).tolist() for n in LENGTHS]
    result = predict(outer, batch(x=pa.array([None, *nested], pa.list_(pa.list_(pa.float32())))), as_="top2")
    same(result.column("y").to_pylist(), [None, *[[largest(group, 2) for group in row] for row in nested]])


def test_null_rows_bad_rows_and_their_reports(tmp_path: Path) -> None:
    path = onnx_bundle(tmp_path / "b.vonk", models.identity(models.F32, ["n", 3]), {"y": ["a", "b", "c"]})
    rows = batch(x=pa.array([[1, 2, 3], None, [1, 2], [3, 2, 1]], pa.list_(pa.float32())))
    for as_, first, last in (
        ("label", "c", "a"),
        ("top2", largest([1.0, 2.0, 3.0], 2, list("abc")), largest([3.0, 2.0, 1.0], 2, list("abc"))),
    ):
        result = predict(path, rows, as_=as_, row_errors=2)
        assert result.column("y").to_pylist() == [first, None, None, last]
        errors = result.column("error").to_pylist()
        assert errors[0] is None
        assert errors[3] is None
        assert "has 2 elements" in errors[2]
        with pytest.raises(VonkError, match="has 2 elements"):
            predict(path, rows, as_=as_)


# --- labels ---------------------------------------------------------------------------------------

WORDS = ["", "zero", "é", "日本語", "a,b", "x" * 300, "last"]


@pytest.mark.parametrize("suffix", [".vonk", ""])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_label_is_that_of_the_largest(tmp_path: Path, dtype: str, suffix: str) -> None:
    words = [*WORDS[1:], "end"]
    model = models.identity(models.ELEMENT_TYPES[dtype], ["n", 7])
    path = onnx_bundle(tmp_path / f"b{suffix}", model, {"y": words})
    values = difficult(dtype, (211, 7))
    given = "f32" if dtype == "bf16" else dtype
    rows = batch(x=rows_of(values, "list", ARROW[given]))
    result = predict(path, rows, as_="label")
    assert result.schema == pa.schema({"y": pa.string()})
    plain = values_of(predict(path, rows).column("y"))
    assert result.column("y").to_pylist() == [words[i] for i in np.argmax(plain, axis=1)]
    for row, entries in zip(plain.tolist(), predict(path, rows, as_="top3").column("y").to_pylist(), strict=True):
        same(entries, largest(row, 3, words))


def test_labels_of_free_and_of_nested_classes(tmp_path: Path) -> None:
    free = onnx_bundle(tmp_path / "free.vonk", models.identity(models.F32, ["n", "t"]), {"y": WORDS})
    rows = [RNG.standard_normal(n).astype(np.float32).tolist() for n in (3, 7, 1, 7)]
    column = batch(x=pa.array([*rows, None], pa.list_(pa.float32())))
    assert predict(free, column, as_="label").column("y").to_pylist() == [
        *[WORDS[int(np.argmax(row))] for row in rows],
        None,
    ]
    same(predict(free, column, as_="top2").column("y").to_pylist(), [*[largest(row, 2, WORDS) for row in rows], None])
    outer = onnx_bundle(tmp_path / "outer.vonk", models.identity(models.F32, ["n", "t", 3]), {"y": ["a", "b", "c"]})
    nested = [RNG.standard_normal((n, 3)).astype(np.float32) for n in LENGTHS]
    column = batch(x=pa.array([row.tolist() for row in nested], pa.list_(pa.list_(pa.float32()))))
    result = predict(outer, column, as_="label").column("y")
    assert result.type == pa.list_(pa.field("item", pa.string()))
    assert result.to_pylist() == [["abc"[i] for i in np.argmax(row, axis=1)] for row in nested]


def test_more_classes_than_labels_are_an_error_and_no_guess(tmp_path: Path) -> None:
    free = onnx_bundle(tmp_path / "free.vonk", models.identity(models.F32, ["n", "t"]), {"y": ["a", "b"]})
    rows = batch(x=pa.array([[1, 2], [3, 4, 5]], pa.list_(pa.float32())))
    for as_ in ("label", "top2"):
        with pytest.raises(VonkError) as caught:
            predict(free, rows, as_=as_)
        assert caught.value.code == "VONK_MODEL"
        assert caught.value.message == (
            "output 'y': came with 3 classes along its last dimension where the bundle has 2 labels: pack it with a "
            "label for every class"
        )
    assert predict(free, rows, as_="argmax").column("y").to_pylist() == [1, 2], "which needs no labels"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("as_", ["label", "top3"])
def test_batches_cut_anywhere_give_the_same(tmp_path: Path, as_: str, threads: int) -> None:
    words = [f"class {i}" for i in range(12)]
    path = onnx_bundle(tmp_path / "b.vonk", models.identity(models.F32, ["n", 12]), {"y": words})
    values = RNG.integers(0, 5, (700, 12)).astype(np.float32)
    rows = batch(x=rows_of(values, "list"))
    expected = [largest(row, 3, words) for row in values.tolist()]
    want = [entries[0]["label"] for entries in expected] if as_ == "label" else expected
    set_threads(threads)
    try:
        predictor = Predictor(Model(path), rows.schema, as_=as_, batch_rows=64)
        assert predictor(rows).column("y").to_pylist() == want
        for start, size in ((0, 1), (1, 63), (5, 130), (690, 10), (700, 0)):
            found = predictor(rows.slice(start, size)).column("y").to_pylist()
            assert found == want[start : start + size], (start, size)
    finally:
        set_threads(0)


# --- several outputs ------------------------------------------------------------------------------


def pair() -> onnx.ModelProto:
    """double = 2 x, half = x / 2, of [n, 3]."""
    return models.model(
        [models.node("Add", ["x", "x"], ["double"]), models.node("Mul", ["x", "c"], ["half"])],
        [models.value("x", ["n", 3])],
        [models.value("double", ["n", 3]), models.value("half", ["n", 3])],
        {"c": np.array(0.5, np.float32)},
    )


def test_the_output_with_labels_is_meant(tmp_path: Path) -> None:
    rows = batch(x=pa.array([[1, 3, 2], [9, 3, 2]], pa.list_(pa.float32())))
    one = onnx_bundle(tmp_path / "one.vonk", pair(), {"half": ["a", "b", "c"]})
    assert predict(one, rows, as_="label").to_pydict() == {"half": ["b", "a"]}
    assert predict(one, rows, as_="argmax").to_pydict() == {"half": [1, 0]}
    assert predict(one, rows, as_="top1").to_pydict() == {
        "half": [largest([0.5, 1.5, 1.0], 1, list("abc")), largest([4.5, 1.5, 1.0], 1, list("abc"))]
    }
    chosen = predict(one, rows, as_="top1", outputs={"double": "d"}).column("d").to_pylist()
    assert chosen == [largest([2.0, 6.0, 4.0], 1), largest([18.0, 6.0, 4.0], 1)], "its labels are not the other's"
    with pytest.raises(VonkError, match="as='label': output 'double' has no labels, for the bundle has none"):
        predict(one, rows, as_="label", outputs={"double": "d"})
    assert sorted(predict(one, rows).schema.names) == ["double", "half"], "without as: all"
    two = onnx_bundle(tmp_path / "two.vonk", pair(), {"half": ["a", "b", "c"], "double": ["d", "e", "f"]})
    with pytest.raises(VonkError, match=r"the model has 2 outputs, .*: choose one in the output map"):
        predict(two, rows, as_="label")
    assert predict(two, rows, as_="label", outputs={"double": "kind"}).to_pydict() == {"kind": ["e", "d"]}


@pytest.mark.parametrize("as_", ["top0", "top", "top05", "top1001", "top5x", "Top5", "top-1", "label ", "labels"])
def test_what_as_can_be(tmp_path: Path, as_: str) -> None:
    path = save(models.identity(models.F32, ["n", 3]), tmp_path / "m.onnx")
    with pytest.raises(VonkError) as caught:
        predict(path, batch(x=pa.array([[1, 2, 3]], pa.list_(pa.float32()))), as_=as_)
    assert caught.value.message == (
        f"as='{as_}': is not known: it can be 'argmax', 'label', 'top5' (or another number, up to 1000), or be left "
        "out for the tensor"
    )


def test_a_label_needs_labels(tmp_path: Path) -> None:
    raw = save(models.identity(models.F32, ["n", 3]), tmp_path / "m.onnx")
    rows = batch(x=pa.array([[1, 2, 3]], pa.list_(pa.float32())))
    with pytest.raises(VonkError) as caught:
        predict(raw, rows, as_="label")
    assert caught.value.message == (
        "as='label': output 'y' has no labels, for the model is no bundle: pack it with --labels FILE, or use "
        "as='argmax' for the number of the class"
    )
