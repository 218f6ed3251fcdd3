"""``vonk.spark.model_udf``: the calls that users write, against what onnxruntime gives."""

import decimal
import json
import re

import numpy
import pyarrow
import pytest
import vonk
from onnx import TensorProto
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import SparseVector, Vectors, VectorUDT
from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import ArrayType, DoubleType, FloatType, IntegerType, StructField, StructType
from udf_models import FLOWERS, IRIS, MNIST, column, identity, linear, run, save, sides
from vonk.spark import model_udf

PROBABILITIES = run(IRIS, measurements=FLOWERS)["probabilities"]
SPECIES = run(IRIS, measurements=FLOWERS)["species"].tolist()


@pytest.fixture(scope="module")
def flowers(spark):
    """The flowers in every form a column can have."""
    schema = StructType(
        [
            StructField("id", IntegerType()),
            *(StructField(name, DoubleType()) for name in "abcd"),
            StructField("floats", ArrayType(FloatType())),
            StructField("doubles", ArrayType(DoubleType())),
            StructField("vector", VectorUDT()),
        ]
    )
    forms = [Vectors.dense, lambda row: SparseVector(4, range(4), row)]
    rows = [
        (i, *map(float, row), row.tolist(), row.tolist(), forms[i % 2](row.tolist())) for i, row in enumerate(FLOWERS)
    ]
    return spark.createDataFrame(rows, schema).withColumn("s", F.struct("a", "b", "c", "d")).coalesce(1).cache()


@pytest.fixture(scope="module")
def iris(spark):
    return model_udf(IRIS, outputs=["probabilities"], spark=spark)


def test_every_way_to_write_one_input_gives_what_the_framework_gives(flowers, iris):
    floats = F.col("floats")
    calls = {
        "name": iris("floats"),
        "column": iris(F.col("floats")),
        "attribute": iris(flowers.floats),
        "keyword": iris(measurements="floats"),
        "doubles": iris("doubles"),
        "vector": iris("vector"),
        "vector_to_array": iris(vector_to_array("vector")),
        "scalars": iris("a", "b", "c", "d"),
        "unpacked": iris(*[F.col(name) for name in "abcd"]),
        "array": iris(F.array("a", "b", "c", "d")),
        "struct": iris(F.struct("a", "b", "c", "d")),
        "aliased struct": iris(F.struct("a", "b", "c", "d").alias("features")),
        "struct of an array": iris(F.struct(floats.alias("measurements"))),
        "struct of a vector": iris(F.struct(F.col("vector").alias("measurements"))),
        "struct column": iris("s"),
        "binary": iris(F.lit(b"".join([FLOWERS[0].tobytes()]))),
        "literals": iris(*[F.lit(float(value)) for value in FLOWERS[0]]),
        "fields": iris("s.a", "s.b", "s.c", "s.d"),
    }
    rows = flowers.orderBy("id").select([call.alias(name) for name, call in calls.items()]).collect()
    for name in calls:
        expected = PROBABILITIES[[0] * 4] if name in ("binary", "literals") else PROBABILITIES
        found = column(rows, name).astype("f4")
        assert found.tolist() == expected.tolist(), f"{name}: {found} for {expected}"


def test_inputs_are_mapped_by_list_by_mapping_and_by_the_fields_of_a_struct(flowers, spark):
    listed = model_udf(IRIS, inputs=["a", "b", "c", "d"], outputs=["species"], spark=spark)
    mapped = model_udf(IRIS, inputs={"measurements": ["a", "b", "c", "d"]}, outputs=["species"], spark=spark)
    field = model_udf(IRIS, inputs={"measurements": "t.x"}, outputs=["species"], spark=spark)
    nested = F.struct(F.col("floats").alias("x"), F.col("id").alias("y"))
    calls = {
        "listed": listed("a", "b", "c", "d"),
        "listed struct": listed(F.struct("d", "c", "b", "a")),
        "mapped": mapped("a", "b", "c", "d"),
        "mapped in another order": mapped("d", "c", "id", "b", "a"),
        "mapped struct": mapped(F.struct("d", "c", "b", "a")),
        "mapped field": field(nested.alias("t")),
    }
    rows = flowers.orderBy("id").select([call.alias(name) for name, call in calls.items()]).collect()
    for name in calls:
        assert column(rows, name).tolist() == SPECIES, name


def test_several_inputs_by_name_by_position_and_in_a_struct(spark, tmp_path):
    path = save(sides(), tmp_path / "sides.onnx")
    images, scales = numpy.arange(24, dtype="f4").reshape(4, 2, 3), numpy.arange(4, dtype="f4") * 100
    expected = run(path, image=images, scale=scales)
    rows = [(i, image.tolist(), float(scale)) for i, (image, scale) in enumerate(zip(images, scales, strict=True))]
    data = spark.createDataFrame(rows, "id int, image array<array<float>>, scale float").coalesce(1)
    both = model_udf(path, spark=spark)
    assert both.returnType.simpleString() == "struct<sum:float,twice:array<array<float>>>"
    calls = {
        "by name": both("scale", "image"),
        "by position": both(F.col("image").alias("p"), F.col("scale").alias("q")),
        "by keyword": both(scale=F.col("scale") + 0, image="image"),
        "in a struct": both(F.struct("scale", "image")),
        "flat": both(F.flatten("image"), F.col("scale").cast("int")),
    }
    found = data.orderBy("id").select([call.alias(name) for name, call in calls.items()]).collect()
    for name in calls:
        sums, twice = ([row[name][field] for row in found] for field in ("sum", "twice"))
        assert sums == expected["sum"].tolist(), name
        assert twice == expected["twice"].tolist(), name


def test_text_and_binary_columns(spark, tmp_path):
    text = model_udf(save(identity(TensorProto.STRING, [2]), tmp_path / "text.onnx"), spark=spark)
    raw = model_udf(save(identity(TensorProto.INT32, [3]), tmp_path / "raw.onnx"), spark=spark)
    numbers = numpy.array([[1, -2, 3], [2**31 - 1, 0, -(2**31)]], "<i4")
    rows = [("é", "", numbers[0].tobytes()), ("日本語", "x", numbers[1].tobytes())]
    data = spark.createDataFrame(rows, "a string, b string, r binary").coalesce(1)
    found = data.select(
        text("a", "b").alias("scalars"), text(F.array("a", "b")).alias("array"), raw("r").alias("raw")
    ).collect()
    assert [row.scalars for row in found] == [row.array for row in found] == [["é", ""], ["日本語", "x"]]
    assert column(found, "raw").tolist() == numbers.tolist()


# --- ML vectors ---


def test_sparse_dense_and_missing_vectors(spark, tmp_path):
    width = 50
    path = save(linear(width), tmp_path / "linear.onnx")
    rng = numpy.random.default_rng(3)
    dense = rng.integers(-9, 9, (300, width)) * (rng.random((300, width)) < 0.2)
    rows, expected = [], run(path, x=dense.astype("f4"))["y"].tolist()
    for i, values in enumerate(dense.astype(float)):
        places = numpy.flatnonzero(values)
        vector = [Vectors.dense(values), Vectors.sparse(width, places, values[places]), None][i % 3]
        rows.append((i, vector))
        expected[i] = None if vector is None else expected[i]
    schema = StructType([StructField("id", IntegerType()), StructField("v", VectorUDT())])
    data = spark.createDataFrame(rows, schema).coalesce(1)
    model = model_udf(path, spark=spark)
    found = data.orderBy("id").select(model("v").alias("y"), model(F.struct("v")).alias("z")).collect()
    assert [row.y for row in found] == expected
    assert [row.z for row in found] == expected


# --- columns of single values, packed by Spark ---


def test_packed_columns_are_converted_as_the_library_converts_separate_ones(spark, tmp_path):
    big = 2**53 + 1
    rows = [(2**24 + 1, big, 0.1, 3.3, True, decimal.Decimal("0.1")), (-7, -big, 1e300, -0.0, False, None)]
    rows += [(None, 1, 1.0, 1.0, True, decimal.Decimal(1)), (1, 2, 3.0, float("nan"), None, decimal.Decimal("9.99"))]
    data = spark.createDataFrame(rows, "a int, b bigint, c double, d float, e boolean, f decimal(3,2)").coalesce(1)
    schema = pyarrow.schema(
        {
            "a": pyarrow.int32(), "b": pyarrow.int64(), "c": pyarrow.float64(), "d": pyarrow.float32(),
            "e": pyarrow.bool_(), "f": pyarrow.decimal128(3, 2),
        }
    )  # fmt: skip
    columns = [pyarrow.array(values, kind) for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True)]
    batch = pyarrow.RecordBatch.from_arrays(columns, schema=schema)
    for element in (TensorProto.FLOAT, TensorProto.DOUBLE):
        path = save(identity(element, [6]), tmp_path / f"{element}.onnx")
        found = [row[0] for row in data.select(model_udf(path, spark=spark)(*schema.names)).collect()]
        bound = vonk.open(path).bind(schema, sql_casts=True, variable_lists=True)
        expected = pyarrow.record_batch(bound.predict(batch))["y"].to_pylist()
        assert repr(found) == repr(expected), f"{element}: {found} for {expected}"


def test_packed_columns_of_a_type_that_the_model_does_not_take_are_refused(flowers, iris, spark, tmp_path):
    with pytest.raises(Exception, match=r"arguments \(a, text, c, d\): not all are numbers.*float32\[N, 4\]"):
        flowers.withColumn("text", F.lit("1.5")).select(iris("a", "text", "c", "d")).collect()
    whole = model_udf(save(identity(TensorProto.INT64, [2]), tmp_path / "whole.onnx"), spark=spark)
    with pytest.raises(Exception, match="not all are whole numbers"):
        flowers.select(whole("id", "a")).collect()


def test_the_condition_on_packed_types_does_not_reach_the_plan(flowers, iris):
    plan = flowers.select(iris("a", "b", "c", "d"))._jdf.queryExecution().optimizedPlan().toString()
    assert "raise_error" not in plan and "regexp" not in plan, plan


def test_a_packed_result_has_a_short_name(flowers, iris, spark):
    assert flowers.select(iris("a", "b", "c", "d")).columns == ["iris(a, b, c, d)"]
    wide = flowers.select([F.lit(1.0).alias(f"p{i}") for i in range(784)])
    digit = model_udf(MNIST, spark=spark)
    assert wide.select(digit(*wide.columns)).columns == ["mnist(p0, p1, p2, p3, p4, p5, p6, p7, ... p783)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there are none"),
        (("a", "b"), r"2 were given \(a, b\), the model takes one input, measurements float32\[N, 4\]: give one array"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused_at_the_call(iris, arguments, message):
    with pytest.raises(vonk.InvalidError, match=message):
        iris(*arguments)


def test_what_is_no_column_is_refused(iris):
    with pytest.raises(TypeError, match=r"5\.1 is a float: give names of columns, or columns \(F.col, F.lit\)"):
        iris(5.1, 3.5, 1.4, 0.2)


# --- where a result can stand ---


@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_results_work_in_every_clause(flowers, spark, adaptive):
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", adaptive)
    data = session.createDataFrame([(i, row.tolist()) for i, row in enumerate(FLOWERS)], "id int, x array<float>")
    species = model_udf(IRIS, outputs=["species"], spark=session)
    kept = data.withColumn("p", species("x")).cache()
    assert [row.p for row in kept.orderBy("id").collect()] == SPECIES
    assert sorted(row.id for row in data.where(species("x") == "virginica").collect()) == [
        i for i, name in enumerate(SPECIES) if name == "virginica"
    ]
    counts = {row.p: row.n for row in data.groupBy(species("x").alias("p")).agg(F.count("*").alias("n")).collect()}
    assert counts == {name: SPECIES.count(name) for name in SPECIES}
    names = session.createDataFrame([(name, i) for i, name in enumerate(sorted(set(SPECIES)))], "name string, k int")
    joined = data.join(names, species("x") == names.name).select("id", "name").collect()
    assert {row.id: row.name for row in joined} == dict(enumerate(SPECIES))
    window = Window.partitionBy(species("x")).orderBy("id")
    ranked = data.select("id", F.row_number().over(window).alias("r")).collect()
    assert {row.id: row.r for row in ranked} == {i: SPECIES[: i + 1].count(name) for i, name in enumerate(SPECIES)}


def test_two_models_and_one_model_twice_in_one_select(flowers, iris, spark):
    argmax = model_udf(IRIS, outputs=["probabilities"], as_="argmax", spark=spark)
    rows = flowers.orderBy("id").select(iris("floats").alias("p"), argmax("floats").alias("k"), argmax("s").alias("l"))
    found = rows.collect()
    assert column(found, "p").astype("f4").tolist() == PROBABILITIES.tolist()
    assert [row.k for row in found] == [row.l for row in found] == PROBABILITIES.argmax(axis=1).tolist()


def test_calls_that_are_alike_are_evaluated_once(flowers, spark):
    both = model_udf(IRIS, spark=spark)
    for arguments in (("floats",), ("a", "b", "c", "d")):
        calls = both(*arguments)["species"].alias("s"), both(*arguments)["probabilities"].alias("p")
        plan = flowers.select("id", *calls)._jdf.queryExecution().optimizedPlan().toString()
        functions = re.search(r"ArrowEvalPython \[(.*)\], \[([^\]]*)\]", plan)
        assert functions, plan
        assert functions[2].count("pythonUDF") == 1, plan
        rows = flowers.orderBy("id").select(*calls).collect()
        assert column(rows, "s").tolist() == SPECIES
        assert column(rows, "p").astype("f4").tolist() == PROBABILITIES.tolist()


def test_it_says_what_it_is(iris):
    assert repr(iris) == "<ModelUDF iris.onnx: measurements float32[N, 4] -> array<float>>"
    assert json.loads(iris.returnType.json()) == {"type": "array", "elementType": "float", "containsNull": True}
