"""``vonk.spark.stats`` through Spark Connect, which has no accumulators: it says so, and functions work as ever."""

from conftest import ROOT
from vonk.spark import model_udf, stats

IRIS = ROOT / "examples" / "iris" / "iris.onnx"


def test_stats_say_that_connect_does_not_count(spark):
    predict = model_udf(IRIS, outputs=["species"])
    rows = spark.range(3).selectExpr("array(6.7f, 3.0f, 5.2f, 2.3f) AS x")
    assert [row[0] for row in rows.select(predict("x")).collect()] == ["virginica"] * 3
    for counts in (stats(), stats(predict), stats(reset=True)):
        assert counts.rows == 0
        assert "Spark Connect has no accumulators" in repr(counts)
        assert "Spark Connect has no accumulators" in counts._repr_html_()
