"""How columns meet inputs: input_columns are given to them by position, in whatever form a call has them."""

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.sql.functions import array, col, struct
from small_onnx import difference, save, weighted
from sparkext.onnx import model_summary, model_udf


@pytest.fixture
def frame(spark):
    rows = np.arange(12.0).reshape(4, 3).tolist()
    return spark.createDataFrame(rows, "one float, two float, three float").coalesce(1)


@pytest.fixture
def minus(tmp_path):
    return save(difference(), tmp_path / "difference.onnx")


@pytest.fixture
def wide(tmp_path):
    return save(weighted([1.0, 10.0, 100.0]), tmp_path / "wide.onnx")


def values(frame, column):
    return [row.p for row in frame.select(column.alias("p")).collect()]


def test_names_of_inputs_in_the_order_of_the_columns(frame, minus):
    """d = left - right."""
    function = model_udf(minus, input_columns=["right", "left"])
    expected = [1.0] * 4  # right is "one", left is "two"
    assert values(frame, function("one", "two")) == expected
    assert values(frame, function(struct("one", "two"))) == expected
    # names in the struct do not count, as of old
    swapped = struct(col("one").alias("left"), col("two").alias("right"))
    assert values(frame, function(swapped)) == expected


def test_without_names_their_order_counts(frame, minus):
    assert values(frame, model_udf(minus)("one", "two")) == [-1.0] * 4


def test_spark_registers_a_function_for_sql(spark, frame, minus):
    """As it did with the pandas functions of old."""
    frame.createOrReplaceTempView("numbers")
    spark.udf.register("minus", model_udf(minus, input_columns=["right", "left"]))
    assert [row.d for row in spark.sql("SELECT minus(one, two) AS d FROM numbers").collect()] == [1.0] * 4


def test_columns_of_one_tensor(frame, wide):
    expected = [[210.0], [543.0], [876.0], [1209.0]]
    function = model_udf(wide, input_columns=["a", "b", "c"])
    assert values(frame, function("one", "two", "three")) == expected
    assert values(frame, function(struct("one", "two", "three"))) == expected
    assert values(frame, function(array("one", "two", "three"))) == expected
    assert values(frame, model_udf(wide)(struct("one", "two", "three"))) == expected
    assert values(frame, model_udf(wide)(struct(array("one", "two", "three")))) == expected


def test_a_name_for_each_input(frame, minus):
    function = model_udf(minus, input_columns=["left", "right"])
    with pytest.raises(PythonException, match=r"struct: has 3 fields .*the names given are 2"):
        values(frame, function(struct("one", "two", "three")))
    with pytest.raises(ValueError, match="inputs= names 2"):
        function("one", "two", "three")


def test_a_size_of_batches_that_is_none(minus):
    assert repr(model_udf(minus, batch_size=None)) == repr(model_udf(minus))
    with pytest.raises(ValueError, match="batch_size: is 'all': give a number"):
        model_udf(minus, batch_size="all")


def test_a_keyword_that_nobody_knows_is_said(minus):
    with pytest.warns(UserWarning, match="verbose: not known, and left out"):
        model_udf(minus, verbose=True)


def test_keywords_of_vonk_spark_hold(spark, minus):
    frame = spark.createDataFrame([(1.0, None), (3.0, 1.0)], "a float, b float").coalesce(1)
    function = model_udf(minus, on_error="report", nulls="error", outputs={"d": "e"}, return_type=None)
    first, second = values(frame, function("a", "b"))
    assert (second.value, second.error) == (2.0, None)
    assert first.value is None
    assert "NULL" in first.error


def test_a_summary_of_several_inputs(minus):
    summary = model_summary(minus, on_error="report", return_type="double")
    assert [(one.name, one.shape, one.dtype) for one in summary.inputs] == [
        ("left", [-1], "float"),
        ("right", [-1], "float"),
    ]
    assert summary.get_return_type() == summary.return_type == "float"
    assert summary.get_return_type(names=True) == summary.get_return_type(return_names=True) == "d float"
