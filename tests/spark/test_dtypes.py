"""Every dtype of a tensor through Spark and back, as numbers, arrays, nested arrays and bytes: bit for bit.

All columns are in one DataFrame and all functions in one select, since a job costs more than its rows.
"""

import sys
from decimal import Decimal

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from udf_models import ROOT, models, save
from vonk.spark import model_udf

sys.path.append(str(ROOT / "tests" / "predict"))
from reference import sample  # tests/predict/reference.py

ROWS = 40
NULLS = (3, 4, 17)
SHAPES = {"scalar": (), "vector": (3,), "cube": (2, 3)}
#: dtype -> what Spark has for it, as NumPy calls it
SPARK = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "u8": np.int16, "u16": np.int32,
    "u32": np.int64, "u64": np.int64, "f16": np.float32, "bf16": np.float32, "f32": np.float32, "f64": np.float64,
    "string": np.object_,
}  # fmt: skip
NAMES = {
    np.bool_: "boolean", np.int8: "tinyint", np.int16: "smallint", np.int32: "int", np.int64: "bigint",
    np.float32: "float", np.float64: "double", np.object_: "string",
}  # fmt: skip
FLOATS = ("f16", "bf16", "f32", "f64")
PRICES = ["1.50", "-0.01", None, "99999999.99", "0.10", "16777217.00", "2049.00", "0.30"] * (ROWS // 8)


def values(dtype, shape):
    """What a tensor of the dtype holds, in its own bytes, its ends and halves among them."""
    if dtype == "bf16":
        return sample("f32", (ROWS, *shape)).astype(ml_dtypes.bfloat16)
    return sample(dtype, (ROWS, *shape), seed=len(shape))


def carried(dtype, array):
    """The same as Spark carries it, and which rows it cannot."""
    is_lost = np.zeros(ROWS, bool)
    if dtype == "u64":
        is_lost = (array > np.iinfo(np.int64).max).reshape(ROWS, -1).any(axis=1)
    return array.astype(SPARK[dtype]), is_lost


def column(array, holes=NULLS):
    """Rows as lists of lists, None for some."""
    rows = [None if i in holes else row.tolist() if isinstance(row, np.ndarray) else row for i, row in enumerate(array)]
    kind = pa.string() if array.dtype == object else pa.from_numpy_dtype(array.dtype)
    for _ in array.shape[1:]:
        kind = pa.list_(kind)
    return pa.array([row.item() if isinstance(row, np.generic) else row for row in rows], kind)


def spark_type(dtype, shape):
    name = NAMES[SPARK[dtype]]
    for _ in shape:
        name = f"array<{name}>"
    return name


def same_bits(found, expected):
    """Equal types, NULLs and bits; every NaN is a NaN."""
    assert found.type == expected.type
    assert found.is_valid().to_pylist() == expected.is_valid().to_pylist()
    pair = []
    for array in (found.drop_null(), expected.drop_null()):
        while pa.types.is_list(array.type):
            array = array.flatten()  # noqa: PLW2901 - down to the numbers
        assert array.null_count == 0
        pair.append(np.asarray(array.to_numpy(zero_copy_only=False)))
    np.testing.assert_array_equal(*pair, strict=True)
    if pair[0].dtype.kind == "f":
        np.testing.assert_array_equal(*map(np.signbit, pair))


@pytest.fixture(scope="module")
def results(spark, tmp_path_factory):
    """The names of the results to what Spark gave, and what NumPy says."""
    folder = tmp_path_factory.mktemp("identity")
    columns, calls, expected, types = {}, [], {}, {}

    def add(name, kind, shape, given, wanted):
        path = folder / f"{kind}_{len(shape)}.onnx"
        if not path.exists():
            save(models.identity(models.ELEMENT_TYPES[kind], ["n", *shape]), path)
        columns[name], expected[name], types[name] = given, wanted, spark_type(kind, shape)
        function = model_udf(path, spark=spark, on_error="null")
        calls.append(function(name).alias(name))

    for dtype, carrier in SPARK.items():
        for title, shape in SHAPES.items():
            array, is_lost = carried(dtype, values(dtype, shape))
            if dtype == "u64":
                array, is_lost = np.abs(array // 2), np.zeros(ROWS, bool)  # what a bigint can hold
            add(f"{dtype}_{title}", dtype, shape, column(array), column(array))
        if dtype != "string":
            raw = values(dtype, (2, 3))
            array, is_lost = carried(dtype, raw)
            holes = {*NULLS, *np.flatnonzero(is_lost), 20}
            data = [None if i in NULLS else row.tobytes() for i, row in enumerate(raw)]
            data[20] = data[20] + b"\0"  # no row of the tensor
            add(f"{dtype}_bytes", dtype, (2, 3), pa.array(data, pa.binary()), column(array, holes))
        if dtype in FLOATS:
            prices = [None if price is None else Decimal(price) for price in PRICES]
            kind = ml_dtypes.bfloat16 if dtype == "bf16" else {"f16": "f2", "f32": "f4", "f64": "f8"}[dtype]
            with np.errstate(over="ignore"):
                array = np.array([float(price or 0) for price in PRICES]).astype(kind).astype(carrier)
            holes = [i for i, price in enumerate(PRICES) if price is None]
            add(f"{dtype}_decimal", dtype, (), pa.array(prices, pa.decimal128(10, 2)), column(array, holes))
    frame = spark.createDataFrame(pa.table(columns)).coalesce(1).select(*calls)
    return dict(frame.dtypes), types, frame.toArrow(), expected


@pytest.mark.parametrize("form", [*SHAPES, "bytes", "decimal"])
@pytest.mark.parametrize("dtype", SPARK)
def test_a_dtype_goes_through_spark_unchanged(results, dtype, form):
    name = f"{dtype}_{form}"
    declared, types, found, expected = results
    if name not in expected:
        pytest.skip("there are no strings in bytes, and only floats have decimals")
    assert declared[name] == types[name]
    same_bits(found[name].combine_chunks(), expected[name])


def test_integers_out_of_an_unsigned_types_range_are_bad_rows(spark, tmp_path):
    path = save(models.identity(models.ELEMENT_TYPES["u8"], ["n"]), tmp_path / "byte.onnx")
    rows = spark.createDataFrame([(0,), (255,), (256,), (-1,), (None,)], "x bigint").coalesce(1)
    found = rows.select(model_udf(path, spark=spark, on_error="report")("x").alias("y")).select("y.*").collect()
    assert [row.value for row in found] == [0, 255, None, None, None]
    assert found[2].error == "column 'x': is 256, out of uint8's range from 0 to 255"
    assert found[3].error == "column 'x': is -1, out of uint8's range from 0 to 255"
