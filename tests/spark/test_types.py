"""Types both ways: of results, of the user's return_type, of columns before there is a job."""

from dataclasses import replace

import pyarrow
import pytest
import vonk
from onnx import TensorProto
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DateType,
    DayTimeIntervalType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    YearMonthIntervalType,
    _parse_datatype_string,
)
from udf_models import FLOWERS, IRIS, MNIST, identity, models, run, save, sides, trap
from vonk.spark import _types, model_udf
from vonk.spark._worker import make_function

DTYPES = {
    "bool": ("boolean", True), "i8": ("tinyint", -8), "i16": ("smallint", -16), "i32": ("int", -32),
    "i64": ("bigint", -64), "u8": ("smallint", 200), "u16": ("int", 60000), "u32": ("bigint", 2**32 - 1),
    "u64": ("bigint", 2**63 - 1), "f16": ("float", 0.5), "bf16": ("float", 0.5), "f32": ("float", 0.25),
    "f64": ("double", 0.1), "string": ("string", "é"),
}  # fmt: skip


def result_of(model, *columns):
    """What the function gives, run here as a worker runs it, and the schema that Spark's worker compares it with."""
    source = replace(model._shipment.source, file=str(model._shipment.path))  # the driver has no copy of Spark's
    function = make_function(source, model._binding, None, None)
    declared = to_arrow_schema(StructType([StructField("_0", model.returnType)]), timezone="UTC")
    return pyarrow.RecordBatch.from_arrays([function(*columns)], ["_0"]), declared


@pytest.mark.parametrize("options", [{}, {"on_error": "report"}], ids=["plain", "report"])
@pytest.mark.parametrize("shape", [[], [1], [3], [2, 3], ["free"]], ids=str)
def test_results_have_exactly_the_type_that_spark_declared(spark, tmp_path, shape, options):
    made = models.identity(TensorProto.FLOAT, ["n", *shape])
    model = model_udf(save(made, tmp_path / "m.onnx"), spark=spark, **options)
    row = 1.5
    for size in reversed(shape):
        row = [row] * (size if isinstance(size, int) else 2)
    kind = pyarrow.array([row]).type
    found, declared = result_of(model, pyarrow.array([row, None, row], kind))
    assert found.schema.equals(declared, check_metadata=False), f"{found.schema}\nis not\n{declared}"
    expected = [row, None, row]
    values = [entry["value"] for entry in found["_0"].to_pylist()] if options else found["_0"].to_pylist()
    assert values == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_a_type_in_spark_and_results_need_no_cast(spark, tmp_path, dtype):
    word, value = DTYPES[dtype]
    made = models.identity(models.ELEMENT_TYPES[dtype], ["n", 2])
    model = model_udf(save(made, tmp_path / "m.onnx"), spark=spark)
    assert model.returnType.simpleString() == f"array<{word}>"
    kind = _types.arrow_type(_parse_datatype_string(f"array<{word}>"), "x")
    found, declared = result_of(model, pyarrow.array([[value, value]], kind))
    assert found.schema.equals(declared, check_metadata=False), f"{found.schema}\nis not\n{declared}"
    assert found["_0"].to_pylist() == [[value, value]]


@pytest.mark.parametrize(
    ("path", "options", "type_"),
    [
        (IRIS, {}, "struct<probabilities:array<float>,species:string>"),
        (IRIS, {"outputs": {"species": "kind"}}, "string"),
        (IRIS, {"outputs": {"species": "kind", "probabilities": "p"}}, "struct<kind:string,p:array<float>>"),
        (IRIS, {"on_error": "report"}, "struct<value:struct<probabilities:array<float>,species:string>,error:string>"),
        (MNIST, {"as_": "argmax"}, "bigint"),
        (MNIST, {"as_": "top3"}, "array<struct<index:bigint,label:string,score:float>>"),
    ],
)
def test_result_types_follow_outputs_and_options(spark, path, options, type_):
    model = model_udf(path, spark=spark, **options)
    assert model.returnType.simpleString() == type_
    width = 784 if path == MNIST else 4
    found, declared = result_of(model, pyarrow.array([[0.5] * width, None]))
    assert found.schema.equals(declared, check_metadata=False), f"{found.schema}\nis not\n{declared}"
    assert found["_0"].is_valid().to_pylist() == [True, "error" in type_]


def test_squeeze_makes_a_number_of_an_array_of_one(spark, tmp_path):
    path = save(identity(TensorProto.FLOAT, [1]), tmp_path / "m.onnx")
    assert model_udf(path, spark=spark).returnType.simpleString() == "array<float>"
    assert model_udf(path, squeeze=True, spark=spark).returnType.simpleString() == "float"


# --- return_type ---


@pytest.mark.parametrize("given", ["array<float>", "array<double>", ArrayType(FloatType(), containsNull=False)])
def test_a_return_type_may_be_the_models_or_wider(spark, given):
    model = model_udf(IRIS, outputs=["probabilities"], return_type=given, spark=spark)
    rows = spark.createDataFrame([(row.tolist(),) for row in FLOWERS], "x array<float>").coalesce(1)
    found = [row[0] for row in rows.select(model("x")).collect()]
    assert found == run(IRIS, measurements=FLOWERS)["probabilities"].tolist()
    wanted = given if isinstance(given, ArrayType) else _parse_datatype_string(given)
    assert rows.select(model("x")).schema[0].dataType.elementType == wanted.elementType


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"outputs": ["probabilities"]}, "array<int>"),
        ({"outputs": ["probabilities"]}, "string"),
        ({"outputs": ["species"]}, "array<string>"),
        ({}, "struct<probabilities:array<float>>"),
        ({"outputs": ["probabilities"], "as_": "argmax"}, "int"),
    ],
)
def test_any_other_return_type_is_refused(spark, options, given):
    with pytest.raises(vonk.InvalidError) as caught:
        model_udf(IRIS, return_type=given, spark=spark, **options)
    derived = model_udf(IRIS, spark=spark, **options).returnType.simpleString()
    assert str(caught.value) == (
        f"return_type: is {given}, iris.onnx gives {derived}: leave return_type out, and cast the result"
    )


@pytest.mark.parametrize(
    ("narrow", "wide", "holds"),
    [
        ("tinyint", "smallint", True), ("tinyint", "float", True), ("smallint", "float", True),
        ("int", "double", True), ("int", "bigint", True), ("float", "double", True),
        ("int", "float", False), ("bigint", "double", False), ("bigint", "int", False), ("double", "float", False),
        ("boolean", "int", False), ("array<int>", "array<bigint>", True), ("array<int>", "bigint", False),
        ("struct<a:int,b:string>", "struct<a:bigint,b:string>", True),
        ("struct<a:int>", "struct<b:int>", False), ("int", "string", False),
    ],
)  # fmt: skip
def test_wider_means_that_no_value_changes(narrow, wide, holds):
    assert _types.widens(_parse_datatype_string(narrow), _parse_datatype_string(wide)) is holds


# --- before the job ---

ANY = StructType(
    [
        StructField("id", IntegerType()), StructField("x", ArrayType(FloatType())), StructField("v", VectorUDT()),
        StructField("t", StringType()), StructField("ts", ArrayType(StringType())), StructField("day", DateType()),
        StructField("raw", BinaryType()), StructField("months", YearMonthIntervalType()),
        StructField("s", StructType([StructField("f", ArrayType(FloatType())), StructField("n", LongType())])),
        StructField("a.b", FloatType()), StructField("days", ArrayType(DateType())),
        StructField("took", DayTimeIntervalType()),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("ts", "is list<string>, input 'measurements' wants float32[4]: write F.col('ts').cast('array<float>')"),
        ("id", "column 'id': is int32, a row of input 'measurements' is float32[4]"),
        ("day", "column 'day': is a date, which no tensor can hold: write F.unix_timestamp('day')"),
        ("days", "write F.transform('days', lambda x: F.unix_timestamp(x))"),
        ("took", "write F.col('took').cast('interval second').cast('bigint')"),
        ("months", "column 'months': is interval year to month, which Spark does not send to Python workers"),
        ("nothing", "column 'nothing': is not in the schema (id, x, v, t, ts, day, raw, months, ... took)"),
        ("s", "map it, as in inputs={'measurements': 's.FIELD'}"),
    ],
)  # fmt: skip
def test_check_tells_what_does_not_fit_in_sparks_words(spark, column, message):
    with pytest.raises(vonk.InvalidError) as caught:
        try:
            model_udf(IRIS, spark=spark).check(ANY, column)
        except vonk.UnsupportedError as error:  # a type that the library does not know at all
            raise vonk.InvalidError(str(error)) from error
    assert message in str(caught.value)


def test_check_gives_the_type_of_the_result(spark, tmp_path):
    model = model_udf(IRIS, spark=spark)
    for call in ("x", "v", "s.f"):
        assert model.check(ANY, call) == model.returnType, call
    both = model_udf(save(sides(), tmp_path / "sides.onnx"), outputs=["sum"], spark=spark)
    assert both.check(ANY, image="x", scale="`a.b`") == FloatType()
    assert model_udf(save(trap(), tmp_path / "trap.onnx"), spark=spark).check(ANY, "s.f", "s.n").names == ["y", "t"]


def test_check_of_a_dataframe_starts_no_job(spark):
    tracker = spark.sparkContext.statusTracker()
    before = set(tracker.getJobIdsForGroup())
    model = model_udf(IRIS, outputs=["species"], spark=spark)
    rows = spark.range(3).selectExpr("array(id, id, id, id) AS x", "id AS a", "id AS b")
    assert model.check(rows, F.col("x").cast("array<float>")) == StringType()
    assert model.check(rows.select("a", "b", "a", "b")) == StringType(), "all columns"
    with pytest.raises(vonk.InvalidError, match=r"write \.cast\('array<float>'\) after it"):
        model.check(rows, F.col("x").cast("array<string>"))
    assert set(tracker.getJobIdsForGroup()) == before


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("write CAST(x AS FLOAT)", "write F.col('x').cast('float')"),
        ("write CAST(s.f AS INTEGER[][])", "write F.col('s.f').cast('array<array<int>>')"),
        ("map it, as in x=COLUMN, or give", "map it, as in inputs={'x': 'COLUMN'}, or give"),
        ("map it to another name, error=NAME", "map it to another name, outputs={'error': 'NAME'}"),
        ("the try_ function goes on without such rows", "on_error='null' or 'report' goes on without such rows"),
        ("nulls := 'null' gives such a row a NULL", "nulls='null' gives such a row a NULL"),
    ],
)
def test_advice_is_in_sparks_words(said, wanted):
    assert _types.in_words_of_spark(said) == wanted


@pytest.mark.parametrize("words", [{"nulls": "drop"}, {"on_error": "ignore"}])
def test_words_that_are_no_choice_are_refused_at_once(spark, words):
    with pytest.raises(vonk.InvalidError, match=r"is no choice: use one of '(null|raise)'"):
        model_udf(IRIS, spark=spark, **words)
