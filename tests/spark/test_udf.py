"""``vonk.spark.model_udf``: the calls that users write."""

import numpy
import onnxruntime
from conftest import ROOT
from vonk.spark import model_udf

IRIS = ROOT / "examples" / "iris" / "iris.onnx"


def test_array_column_gives_what_the_framework_gives(spark):
    flowers = numpy.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], "f4")
    rows = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(flowers)], "id int, x array<float>")
    predict = model_udf(IRIS, outputs=["probabilities"])
    found = numpy.array([row[0] for row in rows.orderBy("id").select(predict("x")).collect()], "f4")
    expected = onnxruntime.InferenceSession(IRIS).run(["probabilities"], {"measurements": flowers})[0]
    assert found.tolist() == expected.tolist()
