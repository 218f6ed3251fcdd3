"""A client whose session ends. The server goes with it, so this file comes last."""

import warnings

import pytest
import vonk
from conftest import connect
from pyspark.sql import SparkSession
from test_shipping import X, save, times
from vonk.spark import model_udf


def scaled(spark, predict):
    rows = spark.createDataFrame([(x,) for x in X], "x float").coalesce(1)
    return [row[0] for row in rows.select(predict("x")).collect()]


def test_a_function_outlives_its_session(spark, tmp_path):
    predict = model_udf(save(tmp_path / "model.onnx", 42))
    assert scaled(spark, predict) == times(42)
    spark.stop()
    with pytest.raises(vonk.InvalidError, match="the Spark session was stopped"):
        predict("x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = connect()
    try:
        assert SparkSession.getActiveSession() is again is not spark
        assert scaled(again, predict) == times(42)
        assert scaled(again, predict) == times(42)
    finally:
        again.stop()
