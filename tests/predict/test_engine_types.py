"""Types that engines have: bytes, signed integers alone, decimals, lists with offsets. Against NumPy and fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, predict
from reference import ARROW, NUMPY, assert_equal, batch, flat_array, models, nested, rows_of, sample, values_of

NULL, REPORT = 1, 2
NUMBERS = [dtype for dtype in models.ELEMENT_TYPES if dtype != "string"]
UNSIGNED = {"u8": "i16", "u16": "i32", "u32": "i64", "u64": "i64"}


def raw(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Sample values in the bytes of a tensor."""
    return sample("f32", shape, seed).astype(ml_dtypes.bfloat16) if dtype == "bf16" else sample(dtype, shape, seed)


def as_result(values: Any) -> Any:
    return values.astype(np.float32) if values.dtype == ml_dtypes.bfloat16 else values


def texts(result: pa.RecordBatch) -> list[str | None]:
    return list(result.column("error").to_pylist())


# --- binary columns ---


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_binary_values_are_the_rows_of_a_tensor(identity: Any, dtype: str, shape: tuple[int, ...]) -> None:
    values = raw(dtype, (300, *shape))
    path = identity(dtype, ["n", *shape])
    for kind in (pa.binary(), pa.large_binary()):
        column = pa.array([row.tobytes() for row in values], kind)
        predictor = Predictor(Model(path), pa.schema({"x": kind}))
        assert_equal(values_of(predictor(batch(x=column)).column("y")), as_result(values), f"{dtype} from {kind}")
        assert_equal(values_of(predictor(batch(x=column[7:90])).column("y")), as_result(values[7:90]), "a slice")


def test_binary_values_of_one_length_are_not_copied_where_they_are_aligned(identity: Any) -> None:
    for dtype in ("f32", "f64", "i64", "u8", "f16"):
        values = sample(dtype, (5000, 6))
        column = pa.array([row.tobytes() for row in values], pa.binary())
        predictor = Predictor(Model(identity(dtype, ["n", 6])), pa.schema({"x": pa.binary()}))
        predictor(batch(x=column))
        assert (predictor.stats().bytes_in, predictor.stats().bytes_copied) == (values.nbytes, 0), dtype


def test_binary_values_at_any_address_are_read(identity: Any) -> None:
    values = sample("f64", (100, 3))
    for shift in range(1, 8):
        data = pa.py_buffer(b"\xff" * shift + values.tobytes())
        at = pa.py_buffer((np.arange(101) * 24 + shift).astype(np.int32).tobytes())
        column = pa.Array.from_buffers(pa.binary(), 100, [None, at, data])
        predictor = Predictor(Model(identity("f64", ["n", 3])), pa.schema({"x": pa.binary()}))
        assert_equal(values_of(predictor(batch(x=column)).column("y")), values, f"shifted by {shift}")
        assert predictor.stats().bytes_copied == values.nbytes


def test_a_binary_value_of_another_length_is_a_bad_row(identity: Any) -> None:
    values = sample("f32", (7, 3))
    rows = [row.tobytes() for row in values]
    rows[1], rows[3], rows[4], rows[6] = rows[1][:11], b"", None, rows[6] + b"\0" * 4
    predictor = Predictor(Model(identity("f32", ["n", 3])), pa.schema({"x": pa.binary()}), row_errors=REPORT)
    result = predictor(batch(x=pa.array(rows, pa.binary())))
    good = [0, 2, 5]
    assert_equal(values_of(result.column("y").take(good)), values[good])
    assert result.column("y").is_null().to_pylist() == [i not in good for i in range(7)]
    assert texts(result) == [
        None,
        "column 'x': has 11 bytes, input 'x' wants float32[3], 12 bytes",
        None,
        "column 'x': has 0 bytes, input 'x' wants float32[3], 12 bytes",
        "column 'x': is NULL",
        None,
        "column 'x': has 16 bytes, input 'x' wants float32[3], 12 bytes",
    ]
    with pytest.raises(VonkError, match="has 11 bytes") as caught:
        predict(identity("f32", ["n", 3]), batch(x=pa.array(rows, pa.binary())))
    assert caught.value.row == 1


def test_a_free_dimension_is_as_long_as_the_bytes(identity: Any) -> None:
    parts = [sample("i32", (length, 3), length) for length in (2, 5, 1, 0, 2, 5, 9)]
    column = pa.array([part.tobytes() for part in parts] + [b"\0" * 13], pa.binary())
    predictor = Predictor(Model(identity("i32", ["n", "k", 3])), pa.schema({"x": pa.binary()}), row_errors=REPORT)
    result = predictor(batch(x=column))
    assert result.column("y").to_pylist() == [part.tolist() for part in parts] + [None]
    assert texts(result)[-1] == "column 'x': has 13 bytes, input 'x' wants int32[free, 3], a multiple of 12 bytes"


def test_bools_in_bytes_are_0_or_1(identity: Any) -> None:
    column = pa.array([b"\0\1\1", b"\0\2\1", b"\1\0\0"], pa.binary())
    predictor = Predictor(Model(identity("bool", ["n", 3])), pa.schema({"x": pa.binary()}), row_errors=REPORT)
    result = predictor(batch(x=column))
    assert result.column("y").to_pylist() == [[False, True, True], None, [True, False, False]]
    assert texts(result)[1] == "column 'x': byte 1 is 2, input 'x' wants bool, 0 or 1"


def test_binary_values_run_with_a_fixed_batch_and_in_a_dictionary(identity: Any) -> None:
    values = sample("f32", (10, 3))
    column = pa.array([row.tobytes() for row in values], pa.binary())
    assert_equal(values_of(predict(identity("f32", [4, 3]), batch(x=column)).column("y")), values)
    encoded = column.take(pa.array([3, 3, 1, 9, 0])).dictionary_encode()
    assert_equal(values_of(predict(identity("f32", ["n", 3]), batch(x=encoded)).column("y")), values[[3, 3, 1, 9, 0]])


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (pa.list_(pa.binary()), ["n", 3], r"is list<binary>, input 'x' wants float32\[3\]: write CAST"),
        (pa.string(), ["n", 3], r"is string, input 'x' wants float32\[3\]: write CAST"),
        (pa.binary(), ["n", "a", "b"], "bytes cannot say two free dimensions: give nested lists"),
    ],
)
def test_bytes_that_cannot_be_a_row_are_refused(identity: Any, kind: Any, shape: list[Any], said: str) -> None:
    with pytest.raises(VonkError, match=said):
        Predictor(Model(identity("f32", shape)), pa.schema({"x": kind}))


def test_binary_columns_are_not_packed(identity: Any) -> None:
    with pytest.raises(VonkError, match="only single values can be packed"):
        Predictor(Model(identity("f32", ["n", 2])), pa.schema({"a": pa.binary(), "b": pa.binary()}))


# --- engines without unsigned types ---


@pytest.mark.parametrize("layout", ["scalar", "list", "list_view", "fixed", "dictionary"])
@pytest.mark.parametrize("target", UNSIGNED)
@pytest.mark.parametrize("source", ["i8", "i16", "i32", "i64"])
def test_signed_integers_feed_an_unsigned_tensor_if_they_fit(
    identity: Any, source: str, target: str, layout: str
) -> None:
    width = 1 if layout in ("scalar", "dictionary") else 3
    values = sample(source, (200, width), seed=5)
    least = min(np.iinfo(NUMPY[source]).max, np.iinfo(NUMPY[target]).max)
    values[::3] = np.random.default_rng(6).integers(0, int(least), values[::3].shape, endpoint=True)  # rows that fit
    column = flat_array(values, ARROW[source]) if width == 1 else rows_of(values, layout, ARROW[source])
    column = column.dictionary_encode() if layout == "dictionary" else column
    path = identity(target, ["n"] if width == 1 else ["n", width])
    predictor = Predictor(Model(path), pa.schema({"x": column.type}), signed_integers=True, row_errors=REPORT)
    result = predictor(batch(x=column))
    most = np.iinfo(NUMPY[target]).max
    fits = ((values >= 0) & (values.astype(object) <= int(most))).all(axis=1)
    assert fits.sum() > 0
    assert result.column("y").is_valid().to_pylist() == fits.tolist()
    found = values_of(result.column("y").filter(pa.array(fits)))
    assert_equal(found.reshape(-1, width), values[fits].astype(NUMPY[UNSIGNED[target]]))
    for said, row, fit in zip(texts(result), values, fits, strict=True):
        at = next((i for i, value in enumerate(row.tolist()) if not 0 <= value <= int(most)), None)
        where = f"element {at} is" if width > 1 else "is"
        name = f"uint{np.iinfo(NUMPY[target]).bits}"
        expected = None if fit else f"column 'x': {where} {row[at or 0]}, out of {name}'s range from 0 to {most}"
        assert said == expected


def test_signed_columns_are_packed_for_an_unsigned_row(identity: Any) -> None:
    columns = {"a": pa.array([1, -1, 255], pa.int16()), "b": pa.array([2, 3, 4], pa.int64())}
    predictor = Predictor(
        Model(identity("u8", ["n", 2])), batch(**columns).schema, signed_integers=True, row_errors=REPORT
    )
    result = predictor(batch(**columns))
    assert result.column("y").to_pylist() == [[1, 2], None, [255, 4]]
    assert texts(result)[1] == "column 'a': is -1, out of uint8's range from 0 to 255"


def test_signed_rows_of_free_length_are_checked_too(identity: Any) -> None:
    column = pa.array([[1, 2], [3], [4, -5, 6], [], [7, 300]], pa.list_(pa.int32()))
    predictor = Predictor(
        Model(identity("u8", ["n", "k"])), pa.schema({"x": column.type}), signed_integers=True, row_errors=NULL
    )
    assert predictor(batch(x=column)).column("y").to_pylist() == [[1, 2], [3], None, [], None]


def test_other_conversions_to_integers_stay_refused(identity: Any) -> None:
    for source, target, options in (
        ("i32", "u32", {}), ("i64", "i32", {"signed_integers": True}), ("u16", "u8", {"signed_integers": True}),
        ("f32", "u8", {"signed_integers": True}),
    ):  # fmt: skip
        with pytest.raises(VonkError, match="the conversion could change values"):
            Predictor(Model(identity(target, ["n"])), pa.schema({"x": ARROW[source]}), **options)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_outputs_become_signed_ones(identity: Any, dtype: str, shape: tuple[int, ...]) -> None:
    values = sample(dtype, (400, *shape))
    most = np.iinfo(NUMPY[UNSIGNED[dtype]]).max
    path = identity(dtype, ["n", *shape])
    column = nested(values, type_=ARROW[dtype]) if shape else flat_array(values, ARROW[dtype])
    predictor = Predictor(Model(path), pa.schema({"x": column.type}), signed_integers=True, row_errors=REPORT)
    result = predictor(batch(x=column))
    fits = (values <= most).reshape(400, -1).all(axis=1)
    assert fits.all() == (dtype != "u64")
    assert result.column("y").is_valid().to_pylist() == fits.tolist()
    found = values_of(result.column("y").filter(pa.array(fits)))
    assert_equal(found, values[fits].astype(NUMPY[UNSIGNED[dtype]]))
    assert predictor.stats().error_rows == int((~fits).sum())


def test_an_output_beyond_int64_says_so_and_which_row_it_is(identity: Any) -> None:
    column = pa.array([[1, 2], [3, 2**63], [5, 6]], pa.list_(pa.uint64()))
    said = "output 'y': element 1 is 9223372036854775808, more than 9223372036854775807, the most that int64 holds"
    for shape in (["n", 2], ["n", "k"]):
        with pytest.raises(VonkError, match=said) as caught:
            predict(identity("u64", shape), batch(x=column), signed_integers=True)
        assert caught.value.row == 1
        assert caught.value.message == f"{said}: on_error='null' or 'report' goes on without such rows"
        result = predict(identity("u64", shape), batch(x=column), signed_integers=True, row_errors=REPORT)
        assert result.column("y").to_pylist() == [[1, 2], None, [5, 6]]
        assert texts(result) == [None, said, None]
    result = predict(identity("u64", ["n", 2]), batch(x=column), signed_integers=True, as_="argmax")
    assert result.column("y").to_pylist() == [1, 1, 1]


def test_int8_and_bool_outputs_stay_what_they_are(identity: Any) -> None:
    for dtype in ("i8", "bool", "i64"):
        predictor = Predictor(Model(identity(dtype, ["n"])), pa.schema({"x": ARROW[dtype]}), signed_integers=True)
        assert predictor.schema() == pa.schema({"y": ARROW[dtype]})


# --- decimals ---

#: digits, least exponent, largest number
FLOATS = {"f16": (11, -24), "bf16": (8, -133), "f32": (24, -149), "f64": (53, -1074)}
LARGEST = {"f16": 65504, "bf16": int(float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)), "f32": int(np.finfo("f4").max)}


def rounded(value: Fraction, dtype: str) -> float:
    """To the nearest float, ties to even, in whole numbers."""
    digits, least = FLOATS[dtype]
    if value == 0:
        return 0.0
    exponent = max(least, abs(value.numerator).bit_length() - value.denominator.bit_length() - digits - 1)
    while abs(value) / Fraction(2) ** exponent >= 2**digits:
        exponent += 1
    count = round(value / Fraction(2) ** exponent)  # Python rounds a Fraction's ties to even
    result = count * Fraction(2) ** exponent
    if dtype in LARGEST and abs(result) > LARGEST[dtype]:
        return np.inf if value > 0 else -np.inf
    return math.copysign(float(result), value)


def decimals(dtype: str, scale: int, n: int) -> list[int]:
    """Unscaled integers: of every size, and around what lies between two floats."""
    rng = np.random.default_rng(scale + 100)
    most = 10**38 - 1
    found = [0, 1, -1, most, -most, 2**53, 2**53 + 1, -(2**53) - 1, 2**64, 2**64 + 1, 10**22, 99999, -15]
    for _ in range(n):
        size = int(rng.integers(1, 38))
        found.append(int.from_bytes(rng.bytes(17), "little") % 10**size * (-1) ** int(rng.integers(2)))
    digits, least = FLOATS[dtype]
    for _ in range(n):  # ties: an odd count of half units, written in decimal, and its neighbours
        exponent = int(rng.integers(max(least, -30), 12))
        tie = Fraction(2 * int(rng.integers(2 ** (digits - 1), 2**digits)) + 1) * Fraction(2) ** (exponent - 1)
        unscaled = tie * Fraction(10) ** scale
        found += [int(unscaled) + step for step in (-1, 0, 1) if abs(unscaled) < most]
    return found


@pytest.mark.parametrize("scale", [0, 2, 10, 18, 23, 30, 37, 38, -3, -10])
@pytest.mark.parametrize("dtype", FLOATS)
def test_decimals_become_floats_rounded_once(identity: Any, dtype: str, scale: int) -> None:
    unscaled = decimals(dtype, scale, 150)
    data = b"".join(value.to_bytes(16, "little", signed=True) for value in unscaled)
    column = pa.Array.from_buffers(pa.decimal128(38, scale), len(unscaled), [None, pa.py_buffer(data)])
    result = predict(identity(dtype, ["n"]), batch(x=column), sql_casts=True)
    expected = [rounded(Fraction(value) / Fraction(10) ** scale, dtype) for value in unscaled]
    kind = np.float32 if dtype == "bf16" else NUMPY[dtype]
    assert_equal(values_of(result.column("y")), np.array(expected, kind), f"{dtype}, scale {scale}")
    with localcontext() as context:  # and against Python's decimals
        context.prec = 50
        texts = [str(Decimal(value).scaleb(-scale)) for value in unscaled]
    if dtype == "f64":
        assert_equal(values_of(result.column("y")), np.array([float(text) + 0.0 for text in texts]), "strtod")


def test_lists_of_decimals_feed_a_row_and_none_may_be_null(identity: Any) -> None:
    rows = [["1.50", "-2.25", "0.10"], ["1", None, "2"], None, ["-0.01", "99999999.99", "3"]]
    column = pa.array(rows, pa.list_(pa.string())).cast(pa.list_(pa.decimal128(12, 2)))
    predictor = Predictor(
        Model(identity("f32", ["n", 3])), pa.schema({"x": column.type}), sql_casts=True, row_errors=NULL
    )
    expected = [None if row is None or None in row else np.array(row, "f4").tolist() for row in rows]
    assert predictor(batch(x=column)).column("y").to_pylist() == expected
    assert predictor(batch(x=column[3:])).column("y").to_pylist() == expected[3:]


def test_decimal_columns_are_packed_with_others(identity: Any) -> None:
    columns = {"a": pa.array(["1.5", "2.5"]).cast(pa.decimal128(5, 1)), "b": pa.array([3, 4], pa.int64())}
    result = predict(identity("f64", ["n", 2]), batch(**columns), sql_casts=True)
    assert result.column("y").to_pylist() == [[1.5, 3.0], [2.5, 4.0]]


@pytest.mark.parametrize(
    ("kind", "dtype", "options", "said"),
    [
        (pa.decimal128(9, 2), "f32", {}, r"is decimal\(9, 2\), input 'x' wants float32, .*: write CAST\(x AS FLOAT\)"),
        (pa.decimal128(9, 0), "i64", {"sql_casts": True}, r"is decimal\(9, 0\), .*: write CAST\(x AS BIGINT\)"),
        (pa.decimal128(9, 2), "string", {"sql_casts": True}, r"wants string: write CAST\(x AS VARCHAR\)"),
        (pa.decimal256(9, 2), "f32", {"sql_casts": True}, r"is a decimal: write CAST\(x AS DOUBLE\)"),
    ],
)
def test_other_decimals_and_other_tensors_are_refused(
    identity: Any, kind: Any, dtype: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(VonkError, match=said):
        Predictor(Model(identity(dtype, ["n"])), pa.schema({"x": kind}), **options)


# --- lists with offsets ---


def with_offsets(kind: pa.DataType) -> pa.DataType:
    """The type that variable_lists makes of a type."""
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return pa.list_(pa.field("element", with_offsets(kind.value_type)))
    return kind


def names_of_elements(kind: pa.DataType) -> set[str]:
    found = set()
    while pa.types.is_list(kind):
        found.add(kind.value_field.name)
        assert kind.value_field.nullable
        kind = kind.value_type
    return found


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 3), (2, 1, 4), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("dtype", ["bool", "i16", "f32", "bf16", "string"])
def test_variable_lists_hold_what_fixed_ones_do(identity: Any, dtype: str, shape: tuple[int, ...]) -> None:
    values = sample("f32" if dtype == "bf16" else dtype, (50, *shape))
    column = nested(values, type_=ARROW["f32" if dtype == "bf16" else dtype])
    holes = pa.array([i % 7 == 3 for i in range(50)])
    column = pa.compute.if_else(holes, pa.scalar(None, column.type), column)
    path = identity(dtype, ["n", *shape])
    for squeeze in (False, True):
        for rows in (column, column[:0], column[3:4], column[4:9]):
            fixed, variable = (
                predict(path, batch(x=rows), variable_lists=is_variable, squeeze=squeeze)
                for is_variable in (False, True)
            )
            assert variable.schema.field("y").type == with_offsets(fixed.schema.field("y").type)
            assert names_of_elements(variable.schema.field("y").type) <= {"element"}
            assert repr(variable.column("y").to_pylist()) == repr(fixed.column("y").to_pylist())  # NaN is NaN


def test_variable_lists_copy_no_value(identity: Any) -> None:
    values = sample("f32", (3000, 5))
    predictor = Predictor(
        Model(identity("f32", ["n", 5])), pa.schema({"x": pa.list_(pa.float32())}), variable_lists=True
    )
    column = predictor(batch(x=rows_of(values, "list"))).column("y")
    assert predictor.stats().bytes_copied == 0
    assert_equal(np.asarray(column.values), values.reshape(-1))
    assert column.offsets.to_pylist() == list(range(0, 15001, 5))


def test_free_dimensions_and_entries_of_top_n_are_variable_as_ever(identity: Any) -> None:
    rows = pa.array([[1.0, 3.0], [], None, [2.0]], pa.list_(pa.float32()))
    result = predict(identity("f32", ["n", "k"]), batch(x=rows), variable_lists=True)
    assert result.column("y").to_pylist() == rows.to_pylist()
    assert names_of_elements(result.schema.field("y").type) == {"element"}
    square = nested(sample("f32", (4, 2, 5)))
    fixed, variable = (
        predict(identity("f32", ["n", 2, 5]), batch(x=square), as_="top2", variable_lists=flag)
        for flag in (False, True)
    )
    assert repr(variable.column("y").to_pylist()) == repr(fixed.column("y").to_pylist())
    kind = variable.schema.field("y").type
    assert names_of_elements(kind) == {"element"}
    assert kind.value_type.value_type == fixed.schema.field("y").type.value_type.value_type


# --- words ---


def test_messages_advise_in_the_callers_words(identity: Any) -> None:
    path, column = identity("f32", ["n", 2]), pa.array([[1.0]], pa.list_(pa.float32()))
    words: dict[int, Callable[[str], bool]] = {
        0: lambda said: said.endswith("on_error='null' or 'report' goes on without such rows"),
        1: lambda said: said.endswith("the try_ function goes on without such rows"),
    }
    for advice, fits in words.items():
        with pytest.raises(VonkError) as caught:
            predict(path, batch(x=column), sql_casts=True, advice=advice)
        assert fits(caught.value.message), caught.value.message
    with pytest.raises(VonkError, match="bind options: advice is 2"):
        predict(path, batch(x=column), advice=2)
