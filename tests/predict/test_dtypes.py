"""Every dtype in every layout, converted and not, against onnxruntime and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, predict
from reference import (
    ARROW,
    LAYOUTS,
    NUMPY,
    assert_equal,
    batch,
    flat_array,
    models,
    nested,
    rows_of,
    run,
    sample,
    save,
    values_of,
)

TENSORS = list(models.ELEMENT_TYPES)


@pytest.mark.parametrize("dtype", NUMPY)
def test_a_scalar_column_goes_through_unchanged(identity: Any, dtype: str) -> None:
    values = sample(dtype, (700,))
    path = identity(dtype, ["n"])
    result = predict(path, batch(x=flat_array(values, ARROW[dtype])))
    assert result.schema.field("y").type == ARROW[dtype]
    assert_equal(values_of(result.column("y")), values, dtype)
    assert_equal(values_of(result.column("y")), run(path, x=values)[0], f"{dtype} against onnxruntime")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NUMPY)
def test_a_list_column_of_any_layout_goes_through_unchanged(identity: Any, dtype: str, layout: str) -> None:
    values = sample(dtype, (500, 3))
    result = predict(identity(dtype, ["n", 3]), batch(x=rows_of(values, layout, ARROW[dtype])))
    assert result.schema.field("y").type == pa.list_(pa.field("item", ARROW[dtype]), 3)
    assert_equal(values_of(result.column("y")), values, f"{dtype} as {layout}")


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "i16", "f32", "f64", "string"])
def test_a_nested_list_column_gives_the_dimensions(identity: Any, dtype: str, fixed: bool) -> None:
    values = sample(dtype, (90, 2, 3, 4))
    result = predict(identity(dtype, ["n", 2, 3, 4]), batch(x=nested(values, fixed=fixed, type_=ARROW[dtype])))
    assert_equal(values_of(result.column("y")), values, dtype)


def can_hold(source: str, target: str) -> bool:
    """The rule of vonk.h from NumPy's limits: no value may change, but a float may become a narrower float."""
    if source == target:
        return True
    if "string" in (source, target) or target == "bool":
        return False
    if source == "bool":
        return True
    if source[0] == "f" or target[0] in "fb":
        if source[0] == "f":
            return target[0] in "fb"
        info = np.iinfo(NUMPY[source])
        digits = ml_dtypes.finfo(ml_dtypes.bfloat16 if target == "bf16" else NUMPY[target]).nmant + 1
        return max(-info.min, info.max) <= 2**digits
    a, b = np.iinfo(NUMPY[source]), np.iinfo(NUMPY[target])
    return b.min <= a.min and a.max <= b.max


def converted(values: Any, target: str) -> Any:
    """astype; bfloat16 comes back as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        if target == "bf16":
            return values.astype(ml_dtypes.bfloat16).astype(np.float32)
        return values.astype(NUMPY[target])


@pytest.mark.parametrize("target", TENSORS)
@pytest.mark.parametrize("source", NUMPY)
def test_a_dtype_converts_if_and_only_if_no_value_can_change(identity: Any, source: str, target: str) -> None:
    values = sample(source, (64, 3), seed=7)
    rows = {"list": rows_of(values, "list", ARROW[source]), "scalar": flat_array(values, ARROW[source])}
    for layout, shape in (("list", ["n", 3]), ("scalar", ["n"])):
        expected = values if layout == "list" else values.reshape(-1)
        if can_hold(source, target):
            result = predict(identity(target, shape), batch(x=rows[layout]))
            assert_equal(values_of(result.column("y")), converted(expected, target), f"{source} -> {target}")
        else:
            with pytest.raises(VonkError, match="column 'x': is ") as caught:
                predict(identity(target, shape), batch(x=rows[layout]))
            assert caught.value.code == "VONK_INVALID"


def test_all_bfloat16_outputs_are_float32(identity: Any) -> None:
    predictor = Predictor(Model(identity("bf16", ["n"])), pa.schema({"x": pa.float32()}))
    assert predictor.schema() == pa.schema({"y": pa.float32()})


def test_half_as_float_turns_float16_outputs_into_float32(identity: Any) -> None:
    values = sample("f16", (300, 3))
    result = predict(identity("f16", ["n", 3]), batch(x=rows_of(values, "list")), half_as_float=True)
    assert_equal(values_of(result.column("y")), values.astype(np.float32))


def test_large_strings_and_binary_feed_string_tensors(identity: Any) -> None:
    values = sample("string", (400,))
    for type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        texts = [value.encode() if "binary" in str(type_) else value for value in values]
        result = predict(identity("string", ["n"]), batch(x=pa.array(texts, type_)))
        assert result.column("y").to_pylist() == values.tolist(), type_


# --- dictionaries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"])
def test_a_dictionary_column_is_its_values(identity: Any, index: str) -> None:
    indices = np.random.default_rng(3).integers(0, 4, 300).astype(NUMPY[index])
    numbers = np.array([1.5, -2.0, np.nan, 7.0], np.float32)
    column = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(numbers))
    assert_equal(values_of(predict(identity("f32", ["n"]), batch(x=column)).column("y")), numbers[indices])
    words = ["red", "", "blue", "grün"]
    column = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(words))
    result = predict(identity("string", ["n"]), batch(x=column))
    assert result.column("y").to_pylist() == [words[i] for i in indices]


def test_dictionary_values_convert_like_columns(identity: Any) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1], pa.int8()), pa.array([True, False, True]))
    assert predict(identity("f64", ["n", 1]), batch(x=column)).column("y").to_pylist() == [[1.0], [1.0], [0.0]]


def test_a_null_in_index_or_dictionary_is_a_null_row(identity: Any) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0], pa.uint64()), pa.array([5.0, None]))
    predictor = Predictor(Model(identity("f64", ["n"])), pa.schema({"x": column.type}))
    assert predictor(batch(x=column)).column("y").to_pylist() == [5.0, None, None, 5.0]
    assert predictor.stats().null_rows == 2


# --- slices: an offset at every level -------------------------------------------------------------


def slices(column: pa.Array) -> list[tuple[int, int]]:
    n = len(column)
    return [(0, n), (1, n - 1), (n - 1, 1), (5, 0), (3, n // 2), (n, 0)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["bool", "i8", "f32", "f64", "string"])
def test_sliced_lists_start_where_the_slice_does(identity: Any, dtype: str, layout: str) -> None:
    values = sample(dtype, (100, 3))
    items = flat_array(np.concatenate([values.reshape(-1)[:5], values.reshape(-1)]), ARROW[dtype])[5:]
    column = rows_of(values, layout, ARROW[dtype])
    if layout == "list":  # the items' own array has an offset too
        column = pa.ListArray.from_arrays(np.arange(101, dtype=np.int32) * np.int32(3), items)
    elif layout == "fixed":
        column = pa.FixedSizeListArray.from_arrays(items, 3)
    predictor = Predictor(Model(identity(dtype, ["n", 3])), pa.schema({"x": column.type}))
    for start, length in slices(column):
        result = predictor(batch(x=column.slice(start, length)))
        expected = values[start : start + length]
        assert_equal(values_of(result.column("y")).reshape(expected.shape), expected, f"{start}, {length}")
        result = predictor(batch(x=column).slice(start, length))
        assert_equal(values_of(result.column("y")).reshape(expected.shape), expected, f"batch {start}, {length}")


def test_sliced_structs_of_sliced_columns(identity: Any, tmp_path: Path) -> None:
    a, b = sample("f32", (60, 2), 1), sample("i64", (60,), 2)
    path = save(
        models.model(
            [models.node("Identity", ["a"], ["u"]), models.node("Identity", ["b"], ["v"])],
            [models.value("a", ["n", 2]), models.value("b", ["n"], models.ELEMENT_TYPES["i64"])],
            [models.value("u", ["n", 2]), models.value("v", ["n"], models.ELEMENT_TYPES["i64"])],
        ),
        tmp_path / "pair.onnx",
    )
    struct = pa.StructArray.from_arrays([rows_of(a, "list")[10:], pa.array(b)[10:]], names=["a", "b"])
    predictor = Predictor(Model(path), pa.schema({"s": struct.type}))
    for start, length in slices(struct):
        result = predictor(batch(s=struct.slice(start, length)))
        expected = slice(10 + start, 10 + start + length)
        assert_equal(values_of(result.column("u")).reshape(length, 2), a[expected])
        assert_equal(values_of(result.column("v")), b[expected])


def test_a_nested_list_sliced_at_each_level(identity: Any) -> None:
    values = sample("f32", (40, 2, 3))
    leaf = flat_array(np.concatenate([np.full(7, 9, np.float32), values.reshape(-1)]))[7:]
    inner = pa.ListArray.from_arrays(np.arange(81, dtype=np.int32) * np.int32(3), leaf)
    inner = pa.concat_arrays([inner[:4], inner])[4:]
    outer = pa.ListArray.from_arrays(np.arange(41, dtype=np.int32) * np.int32(2), inner)
    predictor = Predictor(Model(identity("f32", ["n", 2, 3])), pa.schema({"x": outer.type}))
    for start, length in slices(outer):
        result = predictor(batch(x=outer.slice(start, length)))
        expected = values[start : start + length]
        assert_equal(values_of(result.column("y")).reshape(expected.shape), expected, f"{start}, {length}")


def test_list_views_may_share_and_reorder_elements(identity: Any) -> None:
    items = pa.array(np.arange(10, dtype=np.float32))
    column = pa.ListViewArray.from_arrays(
        pa.array([7, 0, 0, 4, 1], pa.int32()), pa.array([3, 3, 3, 3, 3], pa.int32()), items
    )
    result = predict(identity("f32", ["n", 3]), batch(x=column))
    assert result.column("y").to_pylist() == [[7, 8, 9], [0, 1, 2], [0, 1, 2], [4, 5, 6], [1, 2, 3]]


# --- memory that does not lie as a framework wants it ---------------------------------------------


@pytest.mark.parametrize("dtype", ["i16", "f32", "f64", "i64"])
def test_values_at_an_odd_address_are_realigned(identity: Any, dtype: str) -> None:
    values = sample(dtype, (50, 3))
    shifted = pa.py_buffer(b"\0" + values.tobytes())[1:]
    items = pa.Array.from_buffers(ARROW[dtype], values.size, [None, shifted])
    column = pa.FixedSizeListArray.from_arrays(items, 3)
    predictor = Predictor(Model(identity(dtype, ["n", 3])), pa.schema({"x": column.type}))
    assert_equal(values_of(predictor(batch(x=column)).column("y")), values)
    assert predictor.stats().bytes_copied == values.nbytes


def test_offsets_at_an_odd_address_are_read(identity: Any) -> None:
    values = sample("f32", (50, 3))
    offsets = pa.py_buffer(b"\0" + (np.arange(51, dtype=np.int32) * 3).astype(np.int32).tobytes())[1:]
    column = pa.Array.from_buffers(pa.list_(pa.float32()), 50, [None, offsets], children=[flat_array(values)])
    assert_equal(values_of(predict(identity("f32", ["n", 3]), batch(x=column)).column("y")), values)
    words = sample("string", (50,))
    joined = "".join(words).encode()
    at = np.cumsum([0] + [len(word.encode()) for word in words]).astype(np.int32)
    text = pa.Array.from_buffers(pa.string(), 50, [None, pa.py_buffer(b"\0" + at.tobytes())[1:], pa.py_buffer(joined)])
    assert predict(identity("string", ["n"]), batch(x=text)).column("y").to_pylist() == words.tolist()
