"""``vonk.spark.stats``: what the workers counted, against what the data has."""

import numpy
import pytest
import vonk
from conftest import ROOT
from vonk.spark import model_udf, stats

IRIS = ROOT / "examples" / "iris" / "iris.onnx"


@pytest.fixture
def flowers(spark):
    """4,000 rows in 4 partitions: every 10th is NULL, every 16th of the others has three numbers, not four."""
    column = "IF(id % 10 = 0, NULL, IF(id % 16 = 1, array(1f, 2f, 3f), array(5.1f, 3.5f, 1.4f, 0.2f + id)))"
    return spark.range(0, 4000, numPartitions=4).selectExpr("id", f"{column} AS x")


def null_rows():
    return sum(i % 10 == 0 for i in range(4000))


def bad_rows():
    return sum(i % 16 == 1 and i % 10 != 0 for i in range(4000))


def noop(rows):
    rows.write.format("noop").mode("overwrite").save()


def test_counts_are_those_of_the_data(flowers):
    stats(reset=True)
    predict = model_udf(IRIS, outputs=["probabilities"], on_error="null")
    noop(flowers.select(predict("x")))
    counts = stats(predict)
    found = counts.rows, counts.null_rows, counts.bad_rows, counts.tasks, counts.batches
    assert found == (4000, null_rows(), bad_rows(), 4, 4)
    assert counts.runs >= 4
    assert counts.bytes_in >= (4000 - null_rows() - bad_rows()) * 4 * 4
    assert counts.infer > 0
    assert counts.convert + counts.infer + counts.emit + counts.wait <= counts.elapsed
    noop(flowers.select(predict("x")))
    assert stats(predict).rows == 8000
