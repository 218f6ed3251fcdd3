"""``vonk.spark.model_summary``: what a model takes and gives, in Spark's words."""

import os
import subprocess
import sys

import numpy
import onnx
import pytest
import vonk
from pyspark.sql.types import ArrayType, FloatType, LongType, StringType, StructField, StructType
from udf_models import IRIS, MNIST, identity, save, sides
from vonk.spark import Model, ModelSummary, model_summary, model_udf


def load_iris():
    """A model_loader: what it names is on every node here."""
    return str(IRIS)


def numbers(path):
    """Trained numbers in an ONNX file: those that are no text."""
    tensors = onnx.load(path).graph.initializer
    return sum(int(numpy.prod(one.dims)) for one in tensors if one.data_type == onnx.TensorProto.FLOAT)


def test_types_come_from_the_signature():
    iris = model_summary(IRIS)
    assert isinstance(iris, ModelSummary)
    assert iris.num_params == numbers(IRIS) == 15
    assert [(one.name, one.dtype, one.shape) for one in iris.inputs] == [("measurements", "float32", ("N", 4))]
    assert [(one.name, one.dtype, one.shape) for one in iris.outputs] == [
        ("probabilities", "float32", ("N", 3)),
        ("species", "string", ("N",)),
    ]
    assert iris.return_type == StructType(
        [StructField("probabilities", ArrayType(FloatType())), StructField("species", StringType())]
    )
    assert iris.ddl() == iris.simpleString() == "struct<probabilities:array<float>,species:string>"
    assert model_summary(MNIST).num_params == numbers(MNIST) == 407050
    assert model_summary(MNIST, as_="argmax").return_type == LongType()
    assert model_summary(IRIS, outputs={"species": "s"}).ddl() == "string"
    assert model_summary(IRIS, outputs=["species"], on_error="report").ddl() == "struct<value:string,error:string>"


def test_it_is_shown_as_text_and_as_a_table():
    shown = repr(model_summary(IRIS))
    assert shown.splitlines()[0] == "iris.onnx"
    for words in ("parameters 15", "measurements: float32[N, 4]", "array<float>", "4 columns of single values"):
        assert words in shown, shown
    table = model_summary(IRIS)._repr_html_()
    assert table.startswith("<table><caption>iris.onnx</caption>") and "array&lt;float&gt;" in table


def test_the_columns_that_are_named_are_those_that_a_call_takes(spark, tmp_path):
    file = tmp_path / "sides.onnx"
    file.write_bytes(sides().SerializeToString())
    summary = model_summary(file)
    assert [columns.input for columns in summary.columns] == ["image", "scale"]
    assert [columns.types[0].simpleString() for columns in summary.columns] == ["array<array<float>>", "float"]
    assert [columns.count for columns in summary.columns] == [None, None]
    function = model_udf(file)
    image, scale = (columns.types for columns in summary.columns)
    every = ["boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "date"]
    for element in every:
        for kind, named in ((f"array<array<{element}>>", image), (element, scale)):
            other = StructField("scale", FloatType()) if named is image else StructField("image", image[0])
            given = StructField("image" if named is image else "scale", type_of(spark, kind))
            fields = [given, other] if named is image else [other, given]
            is_named = kind in [one.simpleString() for one in named]
            assert is_named == is_taken(function, StructType(fields)), (kind, named)


def test_a_single_value_feeds_a_tensor_of_one_number_a_row(spark, tmp_path):
    path = save(identity(onnx.TensorProto.FLOAT, [1]), tmp_path / "one.onnx")
    [columns] = model_summary(path).columns
    named = [one.simpleString() for one in columns.types]
    assert named[:2] == ["float", "array<float>"] and len(set(named)) == len(named), named
    function = model_udf(path)
    for kind in ("float", "array<float>", "double", "int", "string", "date", "array<string>"):
        taken = is_taken(function, StructType([StructField("x", type_of(spark, kind))]))
        assert taken == (kind in named), (kind, named)


def type_of(spark, text):
    return spark.sql(f"SELECT CAST(NULL AS {text}) AS x").schema[0].dataType


def is_taken(function, schema):
    try:
        function.check(schema)
    except vonk.Error:
        return False
    return True


def test_it_agrees_with_the_function_for_every_source(spark, tmp_path):
    expected = model_udf(IRIS).returnType
    uri = f"file://{IRIS}"
    stage = Model(IRIS, inputCol="x")
    for summary in (
        model_summary(str(IRIS)),
        model_summary(uri),
        model_summary(vonk.open(IRIS)),
        model_summary(None, model_loader=load_iris),
        model_summary(stage),
        stage.summary(),
    ):
        assert summary.return_type == expected
        assert (summary.num_params, summary.format) == (15, "onnx")
    assert model_summary(uri).title == "iris.onnx"
    with pytest.raises(vonk.ModelError):
        model_summary(f"{IRIS}#sha256={'0' * 64}")


def test_a_live_model_is_packed(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    summary = model_summary(model, pack={"inputs": "x:f32[-1,3]"})
    assert (summary.ddl(), summary.num_params, summary.title) == ("array<float>", 8, "Linear")


def test_no_session_is_needed():
    script = (
        "from vonk.spark import Model, model_summary; from pyspark.sql import SparkSession; import sys;"
        "Model(sys.argv[1], inputCol='x').explainParams();"
        "print(model_summary(sys.argv[1]).ddl(), SparkSession.getActiveSession())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(IRIS)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split() == ["struct<probabilities:array<float>,species:string>", "None"], done.stderr
